"""Imported first by every command: if a later import fails or is interrupted, the command ends with one line."""

import os
import signal
import sys

from console.errors import what_is_missing
from console.process import end_interrupted, import_guard, warn


def _end(kind, error, traceback):
    """Replaces sys.excepthook."""
    if missing := what_is_missing(error):
        spec = sys.modules['__main__'].__spec__  # set by python -m
        warn(f'{spec.name.removesuffix(".__main__") if spec else os.path.basename(sys.argv[0])}: error: {missing}')
        sys.exit(1)
    sys.__excepthook__(kind, error, traceback)


for name in ('stdout', 'stderr'):
    if getattr(sys, name) is None:  # closed, as by `2>&-`: its number would become that of the next file
        setattr(sys, name, open(os.devnull, 'w'))
import_guard.callback(setattr, sys, 'excepthook', sys.excepthook)
sys.excepthook = _end
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not if Ctrl-C is ignored
    import_guard.callback(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, end_interrupted))
