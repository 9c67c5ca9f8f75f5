"""A process for each solution, forked from one that has imported the libraries; ended with all that it started."""

import ctypes
import fcntl
import importlib
import json
import os
import resource
import signal
import socket
import sys
import time
import warnings

import numpy as np

from .imports import prepare_imports
from .operations import Solution, serve


def limit(limits):
    """Set what the system allows this process; memory comes on top of what it has already."""
    with open('/proc/self/statm') as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    in_use = {'RLIMIT_AS': mapped, 'RLIMIT_NPROC': _tasks_of_this_user()}
    for name, value in limits.items():
        kind, value = getattr(resource, name), value + in_use.get(name, 0)
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))


def _tasks_of_this_user():
    tasks = 0
    for entry in os.listdir('/proc'):
        try:
            if entry.isdigit() and os.stat(f'/proc/{entry}').st_uid == os.getuid():
                tasks += len(os.listdir(f'/proc/{entry}/task'))
        except OSError:  # it has ended meanwhile
            pass
    return tasks


def run_solution(job, fds):
    """What the forked process does; never returns."""
    try:
        os.setsid()
        requests, replies, output = (fcntl.fcntl(fd, fcntl.F_DUPFD, 64) for fd in fds)  # clear of 0 to 4
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.dup2(requests, 3, inheritable=False)
        os.dup2(replies, 4, inheritable=False)
        os.closerange(5, 4096)
        os.chdir(job['folder'])
        limit(job['limits'])
        sys.argv[:] = ['solution']
        warnings.simplefilter('ignore')
        np.seterr(all='ignore')
        for name, value in OLD_NAMES.items():
            if not hasattr(np, name):
                setattr(np, name, value)
        prepare_imports(job['folder'])
        serve(Solution(job['folder']), os.fdopen(3, 'rb'), os.fdopen(4, 'wb'))
    finally:
        os._exit(0)


def children():
    """The processes whose parent is this one, orphans of the solution among them (see main)."""
    found = []
    for entry in os.listdir('/proc'):
        try:
            with open(f'/proc/{entry}/stat', 'rb') as file:
                if entry.isdigit() and int(file.read().rpartition(b')')[2].split()[1]) == os.getpid():
                    found.append(int(entry))
        except (OSError, ValueError, IndexError):
            pass
    return found


def end(pid, seconds=10):
    """End the process of a solution and all that it left → how it ended: exit code, or minus the signal."""
    done, status = os.waitpid(pid, os.WNOHANG)
    status = os.waitstatus_to_exitcode(status) if done else None
    deadline = time.monotonic() + seconds
    while (left := children()) and time.monotonic() < deadline:  # those of a child that was killed are ours next
        for child in left:
            for kill in (os.killpg, os.kill):
                try:
                    kill(child, signal.SIGKILL)
                except OSError:  # no such group, or it has ended meanwhile
                    pass
        for child in left:
            done, code = os.waitpid(child, 0)
            if done == pid:
                status = os.waitstatus_to_exitcode(code)
    return status


OLD_NAMES = {  # what NumPy had when some of the solutions were written
    'float': float, 'int': int, 'bool': bool, 'object': object, 'float_': np.float64, 'Inf': np.inf, 'NaN': np.nan,
    'product': np.prod, 'cumproduct': np.cumprod, 'alltrue': np.all, 'sometrue': np.any, 'row_stack': np.vstack,
    'asscalar': lambda array: np.asarray(array).item(), 'in1d': np.isin,
}


def preload(names):
    """Import libraries once, for all processes that are forked from here."""
    for name in names:
        try:
            if name not in sys.modules:
                importlib.import_module(name)
                if name == 'torch':  # the first optimizer imports half of PyTorch
                    torch = sys.modules['torch']
                    torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        except Exception:  # not installed, or broken: the solution will see for itself
            pass


def main(descriptor):
    """The server: for each job on the socket fork a process; for each request to end it, end it and say how.

    Ends its own process with the socket.
    """
    libc = ctypes.CDLL(None)
    libc.prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: what a solution leaves behind becomes a child of ours
    libc.prctl(4, 0)  # PR_SET_DUMPABLE: no process of the same user looks into this one
    control = socket.socket(fileno=descriptor)
    while True:
        data, fds, _, _ = socket.recv_fds(control, 65536, 3)
        if not data:
            os._exit(0)  # Python takes seconds to take PyTorch down
        job = json.loads(data)
        if 'end' in job:
            answer = {'status': end(pid)}
        else:
            preload(job['preload'])
            pid = os.fork()
            if not pid:
                control.close()
                run_solution(job, fds)
            for fd in fds:
                os.close(fd)
            answer = {}
        control.send(json.dumps(answer).encode())
