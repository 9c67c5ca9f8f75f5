"""Solutions that answer in the process of the tests, without pipes: a catalogue of mistakes in seconds.

Messages, questions and answers are those of grading.remote, whose own tests start processes. os._exit ends the solution,
not the tests. A solution that needs the names of an older NumPy needs a process.
"""

import contextlib
import io
import os
import sys
import warnings

import numpy as np
import pytest

from conftest import ROOT
from grading import remote
from grading.worker import imports, operations
from grading.worker.messages import pack, read


class Server:
    bubblewrap, timeout, stopped = False, 20, False

    def open(self, folder, preload=()):
        return Solution(self, str(folder))


class Solution(remote.Solution):
    def __init__(self, server, folder):
        self.server, self.folder, self.timeout, self.ended, self.printed, self.code = server, folder, 0, None, 0, None
        self.operations, self.patch = operations.Operations(folder), pytest.MonkeyPatch()
        for name in modules_of(str(ROOT)):
            if not name.startswith('grading'):
                self.patch.delitem(sys.modules, name)
        self.patch.setattr(sys, 'path', [path for path in sys.path if not path.startswith(str(ROOT))])
        self.patch.setattr(sys, 'meta_path', sys.meta_path.copy())
        self.patch.setattr(sys, 'dont_write_bytecode', True)  # a second solution may have files of the same names
        self.patch.setattr(os, '_exit', self._exit)
        imports.prepare_imports(folder)

    def _exit(self, code):
        self.code = code
        raise SystemExit

    def _exchange(self, request, timeout):
        reply, printed = io.BytesIO(), io.StringIO()
        with (np.errstate(), warnings.catch_warnings(), contextlib.redirect_stdout(printed),
              contextlib.redirect_stderr(printed)):
            operations.answer(self.operations, io.BytesIO(pack(request)), reply)
        self.printed += len(printed.getvalue().encode())
        if self.code is not None:
            raise remote.SolutionEnded(f'it ended its process (exit code {self.code})')
        return read(io.BytesIO(reply.getvalue()), lambda ref: ref)

    def close(self):
        stand_ins = [name for name, module in sys.modules.items() if isinstance(module, imports.StandIn)]
        for name in {imports.PACKAGE, 'cifar10_utils', *stand_ins, *modules_of(self.folder)}:
            sys.modules.pop(name, None)
        self.patch.undo()


def modules_of(folder):
    """The names of the imported modules whose file, or folder, is in a folder."""
    places = {name: [vars(module).get('__file__') or '', *(vars(module).get('__path__') or ())]
              for name, module in sys.modules.items() if hasattr(module, '__dict__')}
    return [name for name, its in places.items()
            if any(place.startswith(folder) and 'site-packages' not in place for place in its)]
