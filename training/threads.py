"""The number of compute threads: how it is chosen, and a warning if other processes slow the threads down."""

import math
import os
import sys
import time
from pathlib import Path

from console.process import warn

# The usual BLAS libraries and OpenMP read these once, when they are loaded.
VARIABLES = ('OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'VECLIB_MAXIMUM_THREADS', 'OMP_NUM_THREADS')
PROCESSOR_TIMES = Path('/proc/stat')  # Linux; on other systems the load is not measured
QUOTAS = Path('/sys/fs/cgroup')  # of a container (Linux)
LOOK_SECONDS = 0.2  # twenty ticks of each CPU: a CPU that is awake for a moment is not busy
ENOUGH = 0.6  # fraction of its threads' CPU time that an epoch gets on an idle machine, with a margin


def processors():
    """The number of CPUs that this process may use: its affinity, and the quota of its container."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
    return max(1, math.ceil(min(available, _quota())))


def _quota():
    """The number of CPUs that a container's quota allows (cgroup v2 or v1); infinite if there is none."""
    for names in (['cpu.max'], ['cpu/cpu.cfs_quota_us', 'cpu/cpu.cfs_period_us']):
        try:
            quota, period = map(int, ' '.join((QUOTAS / name).read_text() for name in names).split())
            return quota / period if quota > 0 else math.inf
        except (OSError, ValueError, ZeroDivisionError):  # 'max' is not a number
            continue
    return math.inf


def numpy_threads():
    """The number of threads of NumPy's matrix products."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:  # only the course's packages are installed
        return processors()
    pools = [pool['num_threads'] for pool in threadpool_info() if pool['user_api'] == 'blas']
    return min([*pools, processors()])  # threadpoolctl does not know macOS's own BLAS library


def use_threads(count):
    """From now on use this number of threads, at most one for each CPU, in NumPy, and in PyTorch if it is loaded."""
    from threadpoolctl import threadpool_limits

    count = min(count, processors())
    threadpool_limits(count)
    if torch := sys.modules.get('torch'):
        torch.set_num_threads(count)


def busy_processors(seconds=LOOK_SECONDS):
    """The number of busy CPUs among those that this process may use, while this process waits; 0 if that is not known."""
    before = _processor_times()
    if not before:
        return 0.0
    time.sleep(seconds)
    busy = 0.0
    for processor, (idle, total) in _processor_times().items():
        idle_before, total_before = before.get(processor, (idle, total))
        if total > total_before:
            busy += 1 - (idle - idle_before) / (total - total_before)
    return busy


def _processor_times():
    """{CPU: (idle ticks, all ticks) since the machine was started}; empty if that is not known."""
    try:
        lines = PROCESSOR_TIMES.read_text().splitlines()
        allowed = {f'cpu{number}' for number in os.sched_getaffinity(0)}
        rows = [line.split() for line in lines if line.split()[0] in allowed]
        return {name: (int(idle) + int(waiting), sum(map(int, [user, nice, system, idle, waiting, *others])))
                for name, user, nice, system, idle, waiting, *others in rows}
    except (OSError, AttributeError, ValueError, IndexError):
        return {}


def idle_processors(busy, available):
    """The number of idle CPUs if `busy` of the available ones are busy; at least 1."""
    return max(1, available - int(busy + 0.5))


def use_idle_processors():
    """If other processes keep CPUs busy, use one thread for each idle CPU, and print a note.

    The threads of a matrix product wait for each other, so a second thread without a CPU of its own makes training up to
    ten times slower (docs/speed.md). A number of threads that the environment sets is kept.
    """
    available = processors()
    if available == 1 or any(os.environ.get(name) for name in VARIABLES):
        return
    busy = busy_processors()
    count = idle_processors(busy, available)
    if count < available:
        warn(f'note: other processes are using {busy:.1f} of {available} CPUs; training with {count} '
             f'thread{"s" * (count > 1)} (override with --threads {available})')
        use_threads(count)


def advice(epoch, wall_seconds, processor_seconds, threads):
    """A warning in one line if other processes slowed the epoch down, or None."""
    share = processor_seconds / (wall_seconds * threads)
    if wall_seconds < 1 or share > ENOUGH:
        return None
    remedy = '; try --threads 1' if threads > 1 else ''
    return (f'warning: epoch {epoch} took {wall_seconds:.1f} s but got only {share:.0%} of the CPU time of {threads} '
            f'thread{"s" * (threads > 1)}; other processes are slowing it down{remedy}')
