"""The grader's side of the pipes to a solution: it sends requests, receives arrays, and checks every answer.

    with Server() as server:
        with server.open(folder) as solution:
            solution.ask('import_module', name='modules')

Each solution has its own process and folder. Threads write to its pipes and read them, and the process is ended after
the time limit. An exception of the solution becomes a SolutionError here, its end or silence a SolutionEnded.
"""

import contextlib
import io
import itertools
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from numbers import Real
from pathlib import Path

import numpy as np

from grading import sandbox, submissions
from grading.findings import Place
from grading.worker.messages import Ref, Unreadable, pack, read

START_UP_SECONDS = 120  # to import NumPy and PyTorch from a slow disk
STOP_SECONDS = 2
LOOK_SECONDS = 0.5  # how often the clock and the folder are looked at
KEPT_OUTPUT = 2000
STOPPED = 'the grading was stopped'
WORKER = Path(__file__).with_name('worker')
SIGNALS = {11: ' (a crash)', 24: ' (processor time)', 25: ' (file size)'}


class NoServer(RuntimeError):
    """Solutions cannot be run here at all; the message says why. Never a verdict."""


class NotGradable(Exception):
    """A problem of this machine, such as a full disk, too little memory or a missing package; the message names it."""


class SolutionError(Exception):
    """An exception in the solution."""

    def __init__(self, kind, message, places):
        super().__init__(f'{kind}: {message}' if message else kind)
        self.kind, self.message, self.places = kind, message, places

    def __str__(self):
        text = super().__str__()
        return f'{text} ({self.place})' if self.place and str(self.place) not in text else text

    @property
    def is_of_the_machine(self):
        """Is it something that this machine lacks: a package, a file, space on the disk, a GPU?"""
        return (self.kind in ('ModuleNotFoundError', 'FileNotFoundError') or 'No space left on device' in self.message
                or 'CUDA' in self.message or 'NVIDIA' in self.message
                or self.kind == 'ImportError' and 'cannot import name' not in self.message)

    @property
    def place(self):
        return Place(*self.places[-1]) if self.places else Place()


class SolutionEnded(Exception):
    """The process of the solution has ended, or does not answer, or answers nonsense."""

    place = Place()


ANSWERS = {  # operation → the form of its value in worker/operations.py, see has_form
    'signature': [(str, str, bool)],
    'classes': [(str, [str], [str], str)],
    'new': {'made': Ref, 'changed': object},
    'call': {'value': object, 'changed': object, 'shares': object},
    'missing': dict,
    'find': [(Ref, str)],
    'sizes': [(int, int)],
    'torch_facts': {'module': object},  # and more if it is one
    'torch_trace': {'passed': [(str, np.ndarray, np.ndarray)]},
    'torch_gradients': {'same': bool, 'none': [str], 'not_finite': [str]},
    'evaluate': {'result': object, 'training': object, 'grad': object, 'after': object, 'split': object},
    'train': {'outputs': dict, 'validation': [Real], 'test': float, 'steady': bool, 'made': [list], 'batch_sizes': [object],
              'modes': [str], 'start': float, 'trained_on': [str], 'reads': [(str, int)], 'trained': int,
              'unchanged': [str], 'largest': float, 'steps': [float], 'added': bool},
}


def has_form(value, form):
    """Does a value have a form: a type, [form] for a list of any length, (form, …) for a list with these items, or
    {key: form, …} for a dict with at least these keys?
    """
    if isinstance(form, dict):
        return isinstance(value, dict) and all(key in value and has_form(value[key], form[key]) for key in form)
    if isinstance(form, list):
        return isinstance(value, list) and all(has_form(item, form[0]) for item in value)
    if isinstance(form, tuple):
        return isinstance(value, list) and len(value) == len(form) and all(map(has_form, value, form))
    return isinstance(value, form)


class Server(contextlib.AbstractContextManager):
    """A temporary folder in which solutions run, each in its own folder and process. Threads may share it."""

    def __init__(self, bubblewrap=None, timeout=20):
        self.bubblewrap = sandbox.has_bubblewrap() if bubblewrap is None else bubblewrap
        change = not self.bubblewrap and sandbox.can_change_user()
        self.users = itertools.islice(itertools.cycle(sandbox.USERS if change else [0]), os.getpid(), None)
        self.timeout, self.stopped, self.running = timeout, False, set()
        _remove_leftovers()
        with _not_a_verdict():
            self.work = Path(tempfile.mkdtemp(prefix=submissions.PREFIX.format(os.getpid()))).resolve()
            self.work.chmod(0o711)  # other users pass through it, but see no names

    def __exit__(self, *exc_info):
        self.stop()
        shutil.rmtree(self.work, ignore_errors=True)

    def stop(self):
        """End all solutions at once; from now on, none is opened."""
        self.stopped = True
        with ThreadPoolExecutor(len(self.running) or 1) as executor:
            executor.map(Solution.close, list(self.running))

    def open(self, folder, preload=()):
        """The folder, copied, and a process for it that has imported the libraries `preload` → Solution."""
        with _not_a_verdict():
            room = Path(tempfile.mkdtemp(prefix='solution-', dir=self.work))
            room.chmod(0o711)
            (room / 'grading_worker').mkdir()
            for path in WORKER.glob('*.py'):
                (room / 'grading_worker' / path.name).write_bytes(path.read_bytes())
            _copy(Path(folder), room / 'solution')
        return Solution(self, room, preload)


def _copy(folder, target):
    """Copy the files that an import may need. Unreadable files are skipped; a failed write is an OSError."""
    target.mkdir()
    for name in submissions.files(folder):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError, FileNotFoundError):  # of reading
            (target / name).write_bytes((folder / name).read_bytes())


@contextlib.contextmanager
def _not_a_verdict():
    """An error of this machine, such as a full disk, ends the grading, because it is not the solution's error."""
    try:
        yield
    except OSError as error:
        raise NoServer(f'a solution cannot be copied to {tempfile.gettempdir()} ({error.strerror or error}): free space '
                       'there, or set TMPDIR') from error


def _remove_leftovers():
    """Remove the folders of graders that were killed."""
    for folder in Path(tempfile.gettempdir()).glob('grading-*'):
        ours = re.fullmatch(submissions.PREFIX.format(r'(\d{1,9})') + r'\w+', folder.name)
        with contextlib.suppress(OSError):
            if ours and not _is_running(int(ours[1]), folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_running(pid, folder):
    if os.name == 'nt':  # on Windows, os.kill(pid, 0) would end the process
        return time.time() - folder.stat().st_mtime < 24 * 3600
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


class Solution(contextlib.AbstractContextManager):
    """One solution in its process. ask() is the only way to it."""

    def __init__(self, server, room, preload=()):
        self.server, self.room, self.folder, self.timeout = server, room, room / 'solution', server.timeout
        self.output, self.printed, self.ended = b'', 0, None
        self._requests, self._replies = queue.SimpleQueue(), queue.SimpleQueue()
        self._closed = threading.Event()
        options = {'limits': sandbox.LIMITS, 'preload': list(preload), 'user': next(server.users)}
        start = (f'import sys; sys.path = [{str(room)!r}, *sys.path, *{sandbox.packages()!r}]; '
                 f'from grading_worker.main import main; main({str(self.folder)!r}, {options!r})')
        flags = {'creationflags': subprocess.CREATE_NEW_PROCESS_GROUP} if os.name == 'nt' else {'start_new_session': True}
        try:
            self._process = subprocess.Popen(
                sandbox.command(room, ['-c', start], server.bubblewrap), cwd=room, env=sandbox.environment(room),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0, **flags)
        except OSError as error:
            raise NoServer(f'{sys.executable} cannot be started: {error}') from error
        server.running.add(self)
        self._threads = [threading.Thread(target=target, daemon=True)
                         for target in (self._talk, self._read_output, self._watch)]
        for thread in self._threads:
            thread.start()
        try:
            if server.stopped:  # after its stop() looked at those that run
                raise NoServer(STOPPED)
            # It answers when it has imported its libraries.
            self._exchange({'op': 'has', 'target': None, 'name': ''}, START_UP_SECONDS)
        except BaseException as error:
            self.close()
            if not isinstance(error, SolutionEnded):
                raise
            said = self.output.decode(errors='replace').strip().rpartition('\n')[2]
            raise NoServer(f'the process of a solution cannot start ({error}{said and ": "}{said}): can {sys.executable} '
                           '-I import NumPy?') from error

    def __exit__(self, *exc_info):
        self.close()

    def _talk(self):
        """Send each request and read its reply, None at the end of the pipe."""
        with io.BufferedReader(self._process.stdout, 1 << 20) as pipe:
            try:
                while request := memoryview(self._requests.get()):
                    while request:  # blocks until the solution reads
                        request = request[self._process.stdin.write(request):]
                    self._replies.put(read(pipe, lambda ref: ref))
            except Unreadable as error:
                self._end(f'its process sent an answer that {error}')
            except (OSError, ValueError, MemoryError):  # a pipe is closed, or the reply is too large
                pass
        self._replies.put(None)

    def _read_output(self):
        with contextlib.suppress(OSError, ValueError):  # the pipe is closed
            while part := self._process.stderr.read(1 << 16):
                self.printed += len(part)
                self.output = (self.output + part)[:KEPT_OUTPUT]
                if self.printed > sandbox.MAX_OUTPUT_BYTES:
                    return self._end(f'it printed more than {sandbox.MAX_OUTPUT_BYTES // sandbox.MEBIBYTE} MB')

    def _watch(self):
        """End the process when its files are too large."""
        most = sandbox.bytes_in(self.room) + sandbox.MAX_FOLDER_BYTES
        while not self._closed.wait(LOOK_SECONDS):
            if sandbox.bytes_in(self.room) > most:
                return self._end(f'it wrote more than {sandbox.MAX_FOLDER_BYTES // sandbox.MEBIBYTE} MB of files')

    def _end(self, reason=''):
        """End the process and its child processes. reason: for the report."""
        self.ended = self.ended or reason or None
        if os.name == 'nt':
            with contextlib.suppress(OSError):
                subprocess.run(['taskkill', '/T', '/F', '/PID', str(self._process.pid)], capture_output=True)
        else:
            self._process.terminate()  # on Linux, a supervisor then ends all that the solution has started
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
            with contextlib.suppress(OSError, AttributeError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()

    def close(self):
        """End the process, with all that it has started."""
        if not self._closed.is_set():
            self._closed.set()
            self._requests.put(b'')
            self._end()
            with self._process:  # which closes the pipes
                deadline = time.monotonic() + STOP_SECONDS
                for thread in self._threads[:2]:  # a pipe is at its end when no process is left that has it
                    thread.join(max(deadline - time.monotonic(), 0))
            shutil.rmtree(self.room, ignore_errors=True)
            self.server.running.discard(self)

    def ask(self, op, timeout=None, **arguments):
        """One question of worker/operations.py → its value. Raises SolutionError, SolutionEnded or NotGradable."""
        if self.ended:
            raise SolutionEnded(self.ended)
        try:
            reply = self._exchange({'op': op, **arguments}, timeout or self.timeout)
        except (SolutionEnded, NotGradable) as ended:
            if self.server.stopped:
                raise NoServer(STOPPED) from ended
            self.ended = str(ended)
            raise
        if 'error' in reply:
            error = _failure(reply['error'])
            raise NotGradable(str(error)) if error.is_of_the_machine else error
        if not has_form(reply.get('value'), ANSWERS.get(op, object)):
            self.ended = 'its process answered what it was not asked'
            raise SolutionEnded(self.ended)
        return reply.get('value')

    def _exchange(self, request, timeout):
        deadline = time.monotonic() + timeout
        self._requests.put(pack(request))
        while (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                reply = self._replies.get(timeout=min(left, LOOK_SECONDS))  # Windows notices Ctrl-C in between
                if reply is None:
                    raise SolutionEnded(self.ended or self._how_it_ended())
                return reply
        self._end(f'no answer within {timeout:g} s, perhaps because of an endless loop')
        raise SolutionEnded(self.ended)

    def _how_it_ended(self):
        try:
            status = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:  # it has only closed its pipe
            return 'its process has closed its pipe'
        if status in (-9, 128 + 9):  # bubblewrap ends with the second
            raise NotGradable('its process was ended from outside, perhaps for lack of memory')
        if status < 0:
            return f'its process was ended by signal {-status}{SIGNALS.get(-status, "")}'
        return f'it ended its process (exit code {status})'


def _failure(error):
    """The SolutionError for the process's description of an exception, which may have any content."""
    if not has_form(error, {'type': str, 'message': str, 'places': [(str, int)]}):
        return SolutionError('Exception', '', [])
    kind, message = (' '.join(error[name].split()) for name in ('type', 'message'))
    return SolutionError(kind[:60], message[:300], [(name[:100], line) for name, line in error['places']])
