"""Solutions in forks of the test process, which has imported NumPy and PyTorch already: a catalogue of mistakes in seconds.

Only the start of a process differs from grading.remote.Server, whose own tests start real ones. Without fork, it is that.
"""

import os
import signal
import subprocess
import sys
import time

from conftest import ROOT
from grading import remote, sandbox
from grading.worker import main


POPEN = subprocess.Popen


class Server(remote.Server):
    def __init__(self, timeout=20):
        super().__init__(bubblewrap=False, timeout=timeout)
        self.users = None

    def open(self, folder, preload=()):
        if not hasattr(os, 'fork'):
            return super().open(folder, preload)
        subprocess.Popen = Fork
        try:
            return super().open(folder)
        finally:
            subprocess.Popen = POPEN


class Fork:
    """What grading.remote uses of a subprocess.Popen."""

    def __init__(self, command, cwd, **_):
        self.returncode = None
        (requests, into), (out, replies), (printed, output) = os.pipe(), os.pipe(), os.pipe()
        self.pid = os.fork()
        if not self.pid:
            try:
                for descriptor in (into, out, printed):
                    os.close(descriptor)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(output, 1)
                os.dup2(output, 2)
                become_a_new_python(cwd)
                main.serve(str(cwd / 'solution'), {'preload': (), 'user': 0, 'limits': sandbox.LIMITS}, requests, replies)
            finally:
                os._exit(0)
        for descriptor in (requests, replies, output):
            os.close(descriptor)
        self.stdin, self.stdout, self.stderr = open(into, 'wb', 0), open(out, 'rb', 0), open(printed, 'rb', 0)

    def poll(self):
        if self.returncode is None and os.waitpid(self.pid, os.WNOHANG)[0]:
            self.returncode = -signal.SIGKILL
        return self.returncode

    def wait(self, timeout=60):
        deadline = time.monotonic() + timeout
        while self.returncode is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.returncode = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                raise subprocess.TimeoutExpired('fork', timeout)
            else:
                time.sleep(0.001)
        return self.returncode

    def kill(self):
        if self.returncode is None:
            os.kill(self.pid, signal.SIGKILL)

    terminate = kill


def become_a_new_python(room):
    """Forget the modules of this project and its tests, the capture of pytest, and the environment."""
    os.setsid()
    subprocess.Popen = POPEN
    os.environ.clear()
    os.environ.update(sandbox.environment(room))
    sys.stdout, sys.stderr = open(1, 'w', closefd=False), open(2, 'w', closefd=False)
    for name, module in list(sys.modules.items()):
        file = getattr(module, '__file__', None) or ''
        if file.startswith(f'{ROOT}{os.sep}') and 'site-packages' not in file and not name.startswith('grading'):
            del sys.modules[name]
    sys.path[:] = [path for path in sys.path if path and not os.path.abspath(path).startswith(str(ROOT)) or
                   'site-packages' in path]
