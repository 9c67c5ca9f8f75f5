"""The judge's end of the pipes to a solution: requests out, arrays in, every answer checked before it is used.

    with Server() as server:
        with server.open(folder) as solution:
            solution.ask('import_module', name='modules')

What the solution raises is a SolutionError here, its end or silence a SolutionEnded. worker/__init__.py has the protocol.
"""

import json
import math
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grading import sandbox
from grading.findings import Place

MAX_HEADER = 4 * sandbox.MEBIBYTE
MAX_ARRAYS = 256 * sandbox.MEBIBYTE
DTYPES = {'|b1', '|i1', '|u1', '<i2', '<u2', '<i4', '<u4', '<i8', '<u8', '<f2', '<f4', '<f8'}
START_UP_SECONDS = 120  # to import NumPy and PyTorch from a slow disk
STOP_SECONDS = 2
LOOK_SECONDS = 0.25  # how often the clock and the folder are looked at while there is no answer
KEPT_OUTPUT = 2000
LARGEST_COPIED = 2 * sandbox.MEBIBYTE  # larger files are data and weights
NOT_COPIED = {'.git', '__pycache__', 'data', 'venv', '.venv', 'env', 'node_modules', 'lightning_logs'}


def _not_copied(folder, names):
    return [name for name in names if name in NOT_COPIED]


def _copy(source, target):
    """A file of a solution, unless it is large, no file or not to be read: what imports it will see."""
    try:
        if os.path.isfile(source) and os.path.getsize(source) <= LARGEST_COPIED:
            shutil.copyfile(source, target)
    except OSError:
        pass


class SolutionError(Exception):
    """An exception in the solution."""

    def __init__(self, kind, message, places):
        super().__init__(f'{kind}: {message}' if message else kind)
        self.kind, self.message, self.places = kind, message, places

    def __str__(self):
        return f'{super().__str__()}{f" ({self.place})" if self.place else ""}'

    @property
    def place(self):
        return Place(*self.places[-1]) if self.places else Place()


class SolutionEnded(Exception):
    """The process of the solution has ended, or does not answer, or answers nonsense."""

    place = Place()


@dataclass(frozen=True)
class Ref:
    """An object that stays in the solution's process."""

    number: int
    type: str = ''


def _list_of(*tests):
    """Is a value a list of lists whose items pass these tests?"""
    return lambda value: isinstance(value, list) and all(
        isinstance(item, list) and len(item) == len(tests) and all(test(part) for test, part in zip(tests, item))
        for item in value)


def _is(kind):
    return lambda value: isinstance(value, kind)


def _names(value):
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


ANSWERS = {  # operation → is its value of the form that worker/operations.py gives it?
    'signature': _list_of(_is(str), _is(str), _is(bool)),
    'classes': _list_of(_is(str), _names, _names),
    'new': lambda value: isinstance(value, dict) and isinstance(value.get('made'), Ref) and 'changed' in value,
    'call': lambda value: isinstance(value, dict) and {'value', 'changed', 'shares'} <= set(value),
    'find': _list_of(_is(Ref), _is(int)),
    'sizes': lambda value: isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(size, int) for size in pair) for pair in value),
    'torch_facts': lambda value: isinstance(value, dict) and 'module' in value,
    'torch_trace': lambda value: isinstance(value, dict) and _list_of(
        _is(str), _is(np.ndarray), _is(np.ndarray))(value.get('passed')),
    'torch_gradients': lambda value: isinstance(value, dict) and _names(value.get('none')) and _names(
        value.get('not_finite')),
    'evaluate': lambda value: isinstance(value, dict) and {'result', 'training', 'grad', 'after'} <= set(value),
    'train': lambda value: isinstance(value, dict) and isinstance(value.get('outputs'), dict)
    and isinstance(value.get('validation'), list) and isinstance(value.get('test'), float),
}


class NoServer(RuntimeError):
    """Solutions can't be run here at all."""


class Server:
    """A process that forks one for each solution, on a copy of its folder. Not for several threads at a time."""

    def __init__(self, bubblewrap=None, timeout=20):
        self.bubblewrap = sandbox.has_bubblewrap() if bubblewrap is None else bubblewrap
        self.timeout = timeout
        self.work = Path(tempfile.mkdtemp(prefix='grading-'))
        self.process = self.control = None

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.stop()
        shutil.rmtree(self.work, ignore_errors=True)

    def start(self):
        ours, theirs = socket.socketpair()
        ours.settimeout(START_UP_SECONDS)
        shutil.copytree(Path(__file__).with_name('worker'), self.work / 'grading_worker', dirs_exist_ok=True,
                        ignore=_not_copied)
        packages = sandbox.packages()  # -I leaves out those of the user
        start = (f'import sys; sys.path = [{str(self.work)!r}, *sys.path, *{packages!r}]; '
                 'from grading_worker import server; server.main(')
        self.process = subprocess.Popen(
            sandbox.command(self.work, ['-c', f'{start}{theirs.fileno()})'], self.bubblewrap), cwd=self.work,
            env=sandbox.environment(self.work), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, pass_fds=[theirs.fileno()], start_new_session=True)
        theirs.close()
        self.control = ours

    def stop(self):
        if self.process:
            self.control.close()
            try:
                self.process.wait(timeout=STOP_SECONDS)  # it ends where the socket does
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def command(self, message, fds=()):
        """Send one message to the server → its answer; what has ended is started anew, but not to end a solution."""
        for _ in range(2):  # the solution before may have taken the server along
            if self.process is None or self.process.poll() is not None:
                self.stop()
                if not fds:
                    break
                self.start()
            try:
                socket.send_fds(self.control, [json.dumps(message).encode()], fds)
                answer = self.control.recv(65536)
            except OSError:
                answer = b''
            if answer:
                return json.loads(answer)
            self.stop()
        raise NoServer('the process that runs solutions ended at its start: can this Python import NumPy with '
                       f'{sys.executable} -I?')

    def open(self, folder, preload=()):
        """The folder, copied, in a process of its own that has the libraries `preload` → Solution."""
        copy = Path(tempfile.mkdtemp(prefix='solution-', dir=self.work))
        shutil.copytree(folder, copy, ignore=_not_copied, copy_function=_copy, dirs_exist_ok=True, symlinks=True)
        return Solution(self, copy, preload)


class Solution:
    """One solution in its process. ask() is the only way to it."""

    def __init__(self, server, folder, preload):
        self.server, self.folder, self.timeout = server, folder, server.timeout
        self.output, self.printed = b'', 0
        self.ended = None
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        self._output, output = os.pipe()
        theirs = requests, replies, output
        try:
            server.command({'folder': str(folder), 'limits': sandbox.LIMITS, 'preload': list(preload)}, theirs)
        finally:
            for fd in theirs:
                os.close(fd)
        self.most_bytes = sandbox.bytes_in(server.work, 1 << 40) + sandbox.MAX_FOLDER_BYTES

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def close(self):
        """End the process, with all that it has started → how it had ended."""
        status = None
        if self._requests is not None:
            try:
                status = self.server.command({'end': True})['status']
            except (NoServer, ValueError, KeyError):  # it took the server with it
                self.server.stop()
            for fd in (self._requests, self._replies, self._output):
                os.close(fd)
            self._requests = None
            shutil.rmtree(self.folder, ignore_errors=True)
        return status

    def ask(self, op, timeout=None, **arguments):
        """One operation of worker/operations.py → its value. Raises SolutionError or SolutionEnded."""
        if self.ended:
            raise SolutionEnded(self.ended)
        arrays = []
        request = {'op': op, **{name: _encode(value, arrays) for name, value in arguments.items()}}
        text = json.dumps(request).encode()
        message = struct.pack('>Q', len(text)) + text + b''.join(array.tobytes() for array in arrays)
        try:
            reply = self._exchange(message, timeout or self.timeout)
        except SolutionEnded as gone:
            self.ended = str(gone)
            raise
        if 'error' in reply:
            raise _failure(reply['error'])
        if not ANSWERS.get(op, lambda value: True)(reply.get('value')):
            self.ended = 'its process answered what it was not asked'
            raise SolutionEnded(self.ended)
        return reply.get('value')

    def _exchange(self, message, timeout):
        self._timeout, self._deadline = timeout, time.monotonic() + timeout
        self._next_look = time.monotonic() + LOOK_SECONDS
        while message:
            self._wait(write=True)
            try:
                message = message[os.write(self._requests, message[:32768]):]
            except OSError:
                self._fail_ended()
        length, = struct.unpack('>Q', self._read(8))
        if length > MAX_HEADER:
            raise SolutionEnded('its process sent an answer that is too long')
        try:
            header = json.loads(self._read(length))
            if not isinstance(header, dict):
                raise ValueError
            self._bytes_left = MAX_ARRAYS
            return {key: self._decode(value) for key, value in header.items()}
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise SolutionEnded('its process sent an answer that can not be read') from error

    def _decode(self, value):
        """JSON to values, with checked arrays. Raises ValueError or TypeError where it isn't what was agreed."""
        if isinstance(value, list):
            return [self._decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        if 'array' in value:
            dtype, shape = value['array']
            if dtype not in DTYPES or len(shape) > 8 or not all(type(n) is int and 0 <= n < 1 << 31 for n in shape):
                raise ValueError
            count = math.prod(shape) * np.dtype(dtype).itemsize
            self._bytes_left -= count
            if self._bytes_left < 0:
                raise ValueError
            return np.frombuffer(self._read(count), dtype).reshape(shape).copy()
        if 'object' in value:
            return Ref(int(value['object']), str(value.get('type', '')))
        if 'dict' in value:
            return {str(key): self._decode(item) for key, item in value['dict']}
        return {key: self._decode(item) for key, item in value.items()}

    def _read(self, count):
        parts = []
        while count:
            self._wait()
            part = os.read(self._replies, min(count, 1 << 20))
            if not part:
                self._fail_ended()
            parts.append(part)
            count -= len(part)
        return b''.join(parts)

    def _wait(self, write=False):
        """Until the pipe is ready; meanwhile take what is printed, and look at the clock and the folder."""
        while True:
            readers = [self._output] + [self._replies] * (not write)
            ready, writable, _ = select.select(readers, [self._requests] * write, [], LOOK_SECONDS)
            if self._output in ready:
                self._take_output()
            if self._replies in ready or writable:
                return
            now = time.monotonic()
            if now > self._deadline:
                raise SolutionEnded(f'no answer within {self._timeout:g} s: an endless loop?')
            if now > self._next_look:
                self._next_look = now + 2 * LOOK_SECONDS
                if sandbox.bytes_in(self.folder.parent, self.most_bytes) > self.most_bytes:
                    raise SolutionEnded(f'it wrote more than {sandbox.MAX_FOLDER_BYTES // sandbox.MEBIBYTE} MB of '
                                        'files')

    def _take_output(self):
        part = os.read(self._output, 1 << 16)
        self.printed += len(part)
        self.output = (self.output + part)[:KEPT_OUTPUT]
        if self.printed > sandbox.MAX_OUTPUT_BYTES:
            raise SolutionEnded(f'it printed more than {sandbox.MAX_OUTPUT_BYTES // sandbox.MEBIBYTE} MB')
        if not part:  # closed at the other end, and from then on always ready
            time.sleep(0.005)

    def _fail_ended(self):
        status = self.close()
        if status is None:
            raise SolutionEnded('its process has ended')
        raise SolutionEnded(f'it ended its process (exit code {status})' if status >= 0 else
                   f'its process was ended by signal {-status}'
                   + {-9: ' (memory, or killed)', -11: ' (a crash)', -24: ' (processor time)',
                      -25: ' (file size)'}.get(status, ''))


def _encode(value, arrays):
    if isinstance(value, np.ndarray):
        arrays.append(np.ascontiguousarray(value))
        return {'array': [value.dtype.str, list(value.shape)]}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Ref):
        return {'object': value.number}
    if isinstance(value, (list, tuple)):
        return [_encode(item, arrays) for item in value]
    if isinstance(value, dict):
        return {key: _encode(item, arrays) for key, item in value.items()}
    return value


def _failure(error):
    """SolutionError, of what the process says about it, whatever that is."""
    try:
        places = [(str(name)[:100], int(line)) for name, line in error['places']]
        message = ' '.join(str(error['message']).split())[:300]
        return SolutionError(str(error['type'])[:60], message, places)
    except (TypeError, KeyError, ValueError):
        return SolutionError('Exception', '', [])
