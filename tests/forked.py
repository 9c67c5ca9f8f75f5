"""Solutions in forks of the test process, which has imported NumPy and PyTorch already: a catalogue of mistakes in seconds.

Only the start of a process differs from grading.remote.Server, whose own tests start real ones. Without fork, it is that.
"""

import os
import subprocess
import sys

import pytest

from conftest import ROOT
from grading import remote, sandbox
from grading.worker import main

POPEN = subprocess.Popen


class Server(remote.Server):
    def __init__(self, timeout=20):
        super().__init__(bubblewrap=False, timeout=timeout)
        self.users = None

    def open(self, folder, preload=()):
        if not hasattr(os, 'fork'):
            return super().open(folder, preload)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(subprocess, 'Popen', fork)
            return super().open(folder)


def fork(command, cwd, **options):
    """A Popen whose process serves a solution and ends, instead of running the command."""
    return POPEN(command, preexec_fn=lambda: serve(cwd), **options)


def serve(room):
    try:
        os.closerange(3, 1024)  # Popen returns when its own pipe to the new process is closed
        requests, replies = os.dup(0), os.dup(1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(2, 1)
        become_a_new_python(room)
        main.serve(str(room / 'solution'), {'preload': (), 'user': 0, 'limits': sandbox.LIMITS}, requests, replies)
    finally:
        os._exit(0)


def become_a_new_python(room):
    """Forget the modules of this project and its tests, the capture of pytest, and the environment."""
    subprocess.Popen = POPEN
    os.environ.clear()
    os.environ.update(sandbox.environment(room))
    sys.stdout, sys.stderr = open(1, 'w', closefd=False), open(2, 'w', closefd=False)
    for name, module in list(sys.modules.items()):
        file = getattr(module, '__file__', None) or ''
        if file.startswith(f'{ROOT}{os.sep}') and 'site-packages' not in file and not name.startswith('grading'):
            del sys.modules[name]
    sys.path[:] = [path for path in sys.path if path and not os.path.abspath(path).startswith(str(ROOT)) or
                   'site-packages' in path]
