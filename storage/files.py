"""Writing files so that a crash, a full disk or a second process never leaves a half-written one."""

import contextlib
import errno
import io
import json
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
    with _temporary_beside(path) as temporary:
        with _named(path), open(temporary, 'wb') as file:
            yield file
            _flush(file)
        os.replace(temporary, path)


def write_together(contents):
    """Write {path: bytes}, making the folders. Every file lies complete beside its place before the first one takes it.

    So a full disk leaves all that was there before, and no run's figure beside another run's numbers.
    """
    with contextlib.ExitStack() as stack:
        temporaries = {}
        for path, content in contents.items():
            path = Path(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            temporaries[path] = stack.enter_context(_temporary_beside(path))
            with _named(path), open(temporaries[path], 'wb') as file:
                file.write(content)
                _flush(file)
        for path, temporary in temporaries.items():
            os.replace(temporary, path)


@contextlib.contextmanager
def _temporary_beside(path):
    """A name in the folder of `path` that is free again, whatever happens, when the context ends."""
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _named(path):
    """An error that names no file, such as that of a full disk, names this one."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise


def _flush(file):
    file.flush()
    os.fsync(file.fileno())


def json_bytes(record):
    """A dict as JSON, a key a line, and of a list of dicts each a line: readable, and a change shows as a few lines.

    Raises ValueError for NaN and infinity, which JSON doesn't have.
    """
    def value_text(value):
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            return '[\n    ' + ',\n    '.join(json.dumps(item, allow_nan=False) for item in value) + '\n  ]'
        return json.dumps(value, allow_nan=False)

    lines = ',\n'.join(f'  {json.dumps(key)}: {value_text(value)}' for key, value in record.items())
    return f'{{\n{lines}\n}}\n'.encode()


def png_bytes(figure):
    """A figure of matplotlib as the bytes of a PNG."""
    image = io.BytesIO()
    figure.savefig(image, format='png', dpi=110)
    return image.getvalue()


@contextlib.contextmanager
def exclusive_lock(path, waiting_message):
    """Hold a lock on the file `path` among processes; the lock goes when its holder dies.

    Says `waiting_message` on standard error where another process holds it.
    """
    with open(path, 'wb') as file:
        try:
            _lock(file, wait=False)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):  # a file system without locks, say
                raise
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
