"""The process of one solution: it limits itself as far as its system allows, then answers the grader's requests.

Linux has all of the limits, macOS has no memory limit, Windows has no limits at all.
"""

import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
import warnings

LIFE_SECONDS = 3600  # of a solution that has lost its grader
SUBREAPER, DEATH_SIGNAL, DUMPABLE = 36, 1, 4  # of prctl (Linux)


def main(folder, options):
    """Answer the requests on standard input, on standard output; whatever is printed goes to standard error.

    options: 'limits' {name in the module resource: value}, 'preload' (libraries to import before the limits hold),
    'user' (the number of the user to become, or 0).
    """
    requests, replies = os.dup(0), os.dup(1)
    if os.name == 'nt':
        import msvcrt

        for descriptor in (requests, replies):
            msvcrt.setmode(descriptor, os.O_BINARY)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    os.dup2(2, 1)
    try:
        supervise(requests, replies)
        end_with_grader()
        serve(folder, options, requests, replies)
    finally:
        os._exit(0)


def prctl(option, value):
    """Call prctl; whether this system has it (Linux)."""
    try:
        return ctypes.CDLL(None).prctl(option, value) == 0
    except (AttributeError, OSError, TypeError):  # TypeError: Windows
        return False


def supervise(*descriptors):
    """Continue in a child process. This one waits, ends the solution's remaining processes, and exits as the child."""
    if not hasattr(os, 'fork') or not prctl(SUBREAPER, 1):  # on other systems the grader ends the process group
        return
    prctl(DUMPABLE, 0)  # no process of the same user looks into this one
    child = os.fork()
    if not child:
        prctl(DEATH_SIGNAL, signal.SIGKILL)
        return
    prctl(DEATH_SIGNAL, signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
    for descriptor in descriptors:
        os.close(descriptor)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    deadline = time.monotonic() + 10
    # The children of a killed process become ours, so this looks again until none is left.
    while (left := [number for number, parent, *_ in processes() if parent == os.getpid()]) and time.monotonic() < deadline:
        for number in left:
            for kill in (os.killpg, os.kill):
                with contextlib.suppress(OSError):  # no such group, or it has ended meanwhile
                    kill(number, signal.SIGKILL)
        for number in left:
            os.waitpid(number, 0)
    if status < 0:
        with contextlib.suppress(OSError):  # SIGKILL cannot be handled
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status)


def processes():
    """(number, parent, user, threads) of each process (Linux)."""
    for entry in os.listdir('/proc'):
        with contextlib.suppress(OSError, ValueError, KeyError):  # another kind of entry, or it has ended meanwhile
            with open(f'/proc/{int(entry)}/status', errors='replace', newline='\n') as file:  # names may have a \r
                facts = dict(line.split(':', 1) for line in file)
            yield int(entry), int(facts['PPid']), int(facts['Uid'].split()[0]), int(facts['Threads'])


def end_with_grader():
    """End this process if the grader is gone, and at the latest after LIFE_SECONDS."""
    parent, deadline = os.getppid(), time.monotonic() + LIFE_SECONDS

    def watch():
        while os.getppid() == parent and time.monotonic() < deadline:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def serve(folder, options, requests, replies):
    from .imports import load_libraries, prepare_imports
    from .operations import Operations, answer

    load_libraries(options['preload'])
    if options['user']:
        become(options['user'], os.path.dirname(folder))
    os.chdir(folder)
    limit(options['limits'])
    sys.argv[:] = ['solution']
    warnings.simplefilter('ignore')
    prepare_imports(folder)
    answer(Operations(folder), os.fdopen(requests, 'rb'), os.fdopen(replies, 'wb'))


def become(user, folder):
    """Make the user the owner of the folder, and continue as that user (called as root)."""
    for path, _, names in os.walk(folder):
        for name in ['', *names]:
            os.chown(os.path.join(path, name), user, user, follow_symlinks=False)
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    prctl(DEATH_SIGNAL, signal.SIGKILL)  # the change of user has cleared it


def limit(limits):
    """Set the limits that the system supports. Memory and processes are counted in addition to their present use."""
    try:
        import resource
    except ImportError:  # Windows
        return
    try:
        with open('/proc/self/statm') as file:
            in_use = {'RLIMIT_AS': int(file.read().split()[0]) * resource.getpagesize(),
                      'RLIMIT_NPROC': sum(threads for *_, user, threads in processes() if user == os.getuid())}
    except OSError:  # without /proc the present use is not known
        in_use, limits = {}, {name: value for name, value in limits.items() if name not in ('RLIMIT_AS', 'RLIMIT_NPROC')}
    for name, value in limits.items():
        kind, value = getattr(resource, name), value + in_use.get(name, 0)
        hard = resource.getrlimit(kind)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (value, value))
