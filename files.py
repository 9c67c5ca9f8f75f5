"""Writing files so that a crash, a full disk or a second process never leaves a half-written one."""

import contextlib
import os
import sys
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt


@contextlib.contextmanager
def atomic_write(path):
    """Give a binary file to write to; `path` appears, complete and flushed to disk, or stays as it was."""
    path = Path(path)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        with open(temporary, 'wb') as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # a full disk, say
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise


@contextlib.contextmanager
def exclusive_lock(path, waiting_message):
    """Hold a lock on the file `path` among processes; the lock goes when its holder dies.

    Says `waiting_message` on standard error where another process holds it.
    """
    with open(path, 'wb') as file:
        try:
            _lock(file, wait=False)
        except OSError:
            print(waiting_message, file=sys.stderr)
            _lock(file, wait=True)
        yield


def _lock(file, wait):
    if fcntl:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    while True:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
            return
        except OSError:  # LK_LOCK gives up after ten seconds
            if not wait:
                raise
