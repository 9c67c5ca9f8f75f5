"""How many threads compute, how to choose their number, and what to say where other work keeps them waiting."""

import os
import subprocess
import sys
import time
from pathlib import Path

from console.process import warn

# What the usual BLAS libraries and OpenMP read, once, when they are loaded.
VARIABLES = ('OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'VECLIB_MAXIMUM_THREADS', 'OMP_NUM_THREADS')
PROCESSOR_TIMES = Path('/proc/stat')  # Linux; elsewhere nobody looks whether other work is going on
LOOK_SECONDS = 0.2  # twenty ticks of each processor: one that is awake for a moment is not busy
ENOUGH = 0.6  # share of its threads' processor time that an epoch gets on a quiet machine, with room


def processors():
    """The number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()


def numpy_threads():
    """The number of threads of NumPy's matrix products: what the environment asks for, at most one a processor."""
    for name in VARIABLES:
        first = os.environ.get(name, '').split(',')[0].strip()  # OpenMP takes a list, one number for each nesting
        if first.isdecimal() and int(first):
            return min(int(first), processors())
    return processors()


def busy_processors(seconds=LOOK_SECONDS):
    """How many of the processors that this process may use other work keeps busy, while this one looks on; else 0."""
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
    """{processor: (ticks without work, ticks in all), since the machine was started}; empty where that isn't known."""
    try:
        lines = PROCESSOR_TIMES.read_text().splitlines()
        allowed = {f'cpu{number}' for number in os.sched_getaffinity(0)}
        rows = [line.split() for line in lines if line.split()[0] in allowed]
        return {name: (int(idle) + int(waiting), sum(map(int, [user, nice, system, idle, waiting, *others])))
                for name, user, nice, system, idle, waiting, *others in rows}
    except (OSError, AttributeError, ValueError, IndexError):
        return {}


def threads_beside(busy, available):
    """How many of the available processors are left beside so many busy ones, at least one."""
    return max(1, available - int(busy + 0.5))


def leave_room():
    """Where other work keeps processors busy, begin this script anew with as many threads as there is room for.

    The threads of a product wait for each other: a second one without a processor of its own costs a factor
    of up to ten (docs/speed.md). Whoever chose a number, by the environment, keeps it.
    """
    available = processors()
    if available == 1 or any(os.environ.get(name) for name in VARIABLES):
        return
    busy = busy_processors()
    count = threads_beside(busy, available)
    if count < available:
        warn(f'note: other processes are using {busy:.1f} of {available} CPUs; training with {count} '
             f'thread{"s" * (count > 1)} (override with --threads {available})')
        restart_with(count)


def restart_with(count):
    """Begin this script anew with so many threads, unless it has them: they can't be changed once NumPy is loaded."""
    wanted = dict.fromkeys(VARIABLES, str(count))
    if all(os.environ.get(name) == value for name, value in wanted.items()):
        return
    os.environ.update(wanted)
    command = [sys.executable, *sys.orig_argv[1:]]
    if os.name == 'nt':  # where exec returns to the shell at once
        sys.exit(subprocess.call(command))
    os.execv(sys.executable, command)


def advice(epoch, wall_seconds, processor_seconds, threads):
    """One line for an epoch whose threads were kept waiting by other work, or None."""
    share = processor_seconds / (wall_seconds * threads)
    if wall_seconds < 1 or share > ENOUGH:
        return None
    remedy = ('; --threads 1 is steadier there: threads that wait for each other lose most of the time'
              if threads > 1 else '')
    return (f'the machine is busy: in the {wall_seconds:.1f} s of epoch {epoch}, {threads} '
            f'thread{"s" * (threads > 1)} had {share:.0%} of the processor time they could use{remedy}')
