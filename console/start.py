"""What a command imports before everything else: if its imports fail or are interrupted, it ends with one line."""

import os
import signal
import sys

from console.errors import what_is_missing
from console.process import end_interrupted, warn


def _end(kind, error, traceback):
    """In place of sys.excepthook."""
    if missing := what_is_missing(error):
        spec = sys.modules['__main__'].__spec__  # of what python -m runs
        warn(f'{spec.name.removesuffix(".__main__") if spec else os.path.basename(sys.argv[0])}: error: {missing}')
        sys.exit(1)
    sys.__excepthook__(kind, error, traceback)


sys.excepthook = _end
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not if Ctrl-C is ignored
    signal.signal(signal.SIGINT, end_interrupted)
