"""Imported first by every command: if a later import fails or is interrupted, the command ends with one line."""

import sys


def _end(kind, error, traceback):
    """Replaces sys.excepthook."""
    # Imported here, because the imports below can be interrupted, too.
    from console.errors import what_is_missing
    from console.process import end_interrupted, warn

    if kind is KeyboardInterrupt:
        end_interrupted()
    if missing := what_is_missing(error):
        spec = sys.modules['__main__'].__spec__  # set by python -m
        warn(f'{spec.name.removesuffix(".__main__") if spec else os.path.basename(sys.argv[0])}: error: {missing}')
        sys.exit(1)
    sys.__excepthook__(kind, error, traceback)


excepthook, sys.excepthook = sys.excepthook, _end

import os
import signal

from console.process import end_interrupted, import_guard

import_guard.callback(setattr, sys, 'excepthook', excepthook)
for name in ('stdout', 'stderr'):
    if getattr(sys, name) is None:  # closed, as by `2>&-`: its number would become that of the next file
        setattr(sys, name, open(os.devnull, 'w'))
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not if Ctrl-C is ignored
    import_guard.callback(signal.signal, signal.SIGINT, signal.signal(signal.SIGINT, end_interrupted))
