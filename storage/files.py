"""Safe writing of files: a crash, a full disk or a second process never leaves an incomplete file."""

import contextlib
import errno
import functools
import io
import json
import os
import shutil
import signal
import stat
import tempfile
import threading
import warnings
from pathlib import Path

from console.process import warn

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

NOT_SUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}  # by the file system


@contextlib.contextmanager
def atomic_write(path):
    """Yield a binary file to write to. At the end it replaces `path`; after an error `path` is unchanged."""
    path = Path(path)
    with _temporary_name(path) as temporary:
        with _named(path), open(temporary, 'wb') as file:
            yield file
            _flush(file)
        os.replace(temporary, path)


def write_together(contents):
    """Write {path: bytes} and make the folders. All files are written or, if an OSError is raised, none of them.

    Every file is first written under a temporary name in its folder. Then all are renamed. If one cannot be renamed (on
    Windows, if a viewer has the old file open), the old files are restored. Files of another program are renamed and
    kept. A group of files is ours if its JSON file has the first key of the new one.
    """
    contents = {Path(path): content for path, content in contents.items()}
    with contextlib.ExitStack() as stack:
        temporaries = {}
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporaries[path] = stack.enter_context(_temporary_name(path))
            with _named(path), open(temporaries[path], 'wb') as file:
                file.write(content)
                _flush(file)
        stack.enter_context(_signals_held_back())
        for path in _foreign(contents):
            warn(f'{path} was not written by this project: moved to {set_aside(path)}')
        _replace_all(temporaries, stack)


def write_or_rescue(contents):
    """write_together. If that fails, write to a new temporary folder, and raise an OSError that names the folder."""
    try:
        write_together(contents)
    except OSError as error:
        folder = _rescue(contents)
        if not folder:
            raise
        raise OSError(error.errno, f'{error.strerror}; the new files are in {folder}', error.filename) from error


def _rescue(contents):
    """The temporary folder with the files, or None if they cannot be written there either."""
    folder, umask = None, os.umask(0o077)  # with a umask such as 777, no new folder is writable
    try:
        folder = tempfile.mkdtemp(prefix='results-')
        write_together({Path(folder, Path(path).name): content for path, content in contents.items()})
        return folder
    except OSError:
        if folder:
            shutil.rmtree(folder, ignore_errors=True)
        return None
    finally:
        os.umask(umask)


def _replace_all(temporaries, stack):
    """Move each temporary file to its path; if that fails, restore the earlier files."""
    replaced = []  # (path, the copy of the earlier file or None)
    try:
        for path, temporary in temporaries.items():
            before = None
            if path.exists():
                before = stack.enter_context(_temporary_name(path, 'before'))
                try:
                    os.link(path, before)
                except OSError:  # a file system without hard links
                    shutil.copy2(path, before)
            os.replace(temporary, path)
            replaced.append((path, before))
    except OSError:
        for path, before in replaced:
            os.replace(before, path) if before else path.unlink()
        raise


def _foreign(contents):
    """The paths of {path: bytes} that hold a file of another program, judged by the JSON file among them."""
    for path, content in contents.items():
        if path.suffix == '.json':
            try:
                ours = next(iter(json.loads(content))) in json.loads(path.read_bytes())
            except FileNotFoundError:
                ours = False
            except (ValueError, TypeError):
                ours = False
            return [] if ours else [path for path in contents if path.is_file()]
    return []


def set_aside(path):
    """Rename the file to the first free name of PATH.aside, PATH.aside2, …; return the new path."""
    names = (path.with_name(f'{path.name}.aside{number if number > 1 else ""}') for number in range(1, 10_000))
    aside = next(name for name in names if not os.path.lexists(name))
    os.rename(path, aside)
    return aside


@contextlib.contextmanager
def _signals_held_back():
    """Ctrl-C and SIGTERM take effect when the context ends, so that they cannot interrupt between two renames."""
    if threading.current_thread() is not threading.main_thread():  # signals interrupt only the main thread
        yield
        return
    pending, before = [], {}
    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, lambda number, _: pending.append(number))
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)
        for number in pending[:1]:
            signal.raise_signal(number)


@contextlib.contextmanager
def _temporary_name(path, mark='tmp'):
    """A temporary name in the folder of `path`. A file of that name is removed when the context ends."""
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.{mark}')
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def _named(path):
    """Add the path to an error without a file name, such as the error of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            raise OSError(error.errno, error.strerror or str(error), str(path)) from error
        raise


def _flush(file):
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise
        _note(f'{Path(file.name).parent} is on a file system without fsync: after a power failure, new files may be '
              'incomplete')


@functools.cache
def _note(text):
    """Print a note to standard error, each text once."""
    warn(f'note: {text}')


def json_bytes(record):
    """A dict as JSON with one line for each key and for each dict in a list, so that a diff is short.

    Raises ValueError for NaN and infinity, because JSON has no such numbers.
    """
    def value_text(value):
        if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
            return '[\n    ' + ',\n    '.join(json.dumps(item, allow_nan=False) for item in value) + '\n  ]'
        return json.dumps(value, allow_nan=False)

    lines = ',\n'.join(f'  {json.dumps(key)}: {value_text(value)}' for key, value in record.items())
    return f'{{\n{lines}\n}}\n'.encode()


@contextlib.contextmanager
def plain_figures():
    """Draw and save figures with matplotlib's default settings instead of the user's. Also a decorator."""
    backend = os.environ.pop('MPLBACKEND', None)  # it may name a backend that is not installed, and fail the import
    try:
        import matplotlib
    finally:
        if backend is not None:
            os.environ['MPLBACKEND'] = backend
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


def png_bytes(figure):
    """A matplotlib figure as the bytes of a PNG."""
    image = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Glyph')  # a file name may have letters that the font lacks
        figure.savefig(image, format='png', dpi=110)
    return image.getvalue()


@contextlib.contextmanager
def exclusive_lock(path, waiting_message):
    """Hold a lock on the file `path` among processes. The lock is released if its holder dies.

    If another process holds the lock, print `waiting_message` on standard error and wait.
    """
    with _open_lock(path) as file:
        try:
            _lock(file, wait=False)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                warn(waiting_message)
                _lock(file, wait=True)
            elif error.errno in NOT_SUPPORTED:
                _note(f'{Path(path).parent} is on a file system without locks: do not start a second process that '
                      'writes there')
            else:
                raise
        yield


def _open_lock(path):
    """Open the lock file, or make it. OSError if its name belongs to another kind of file; a link is not followed."""
    def opener(name, flags):
        return os.open(name, flags | getattr(os, 'O_NOFOLLOW', 0) | getattr(os, 'O_NONBLOCK', 0), 0o666)

    file = open(path, 'a+b', buffering=0, opener=opener)
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EEXIST, 'is in the way of a lock file: it is not a regular file', str(path))


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
