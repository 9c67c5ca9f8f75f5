"""How many threads compute, how to choose their number, and what to say where other work keeps them waiting."""

import os
import subprocess
import sys

# What the usual BLAS libraries and OpenMP read, once, when they are loaded.
VARIABLES = ('OPENBLAS_NUM_THREADS', 'MKL_NUM_THREADS', 'VECLIB_MAXIMUM_THREADS', 'OMP_NUM_THREADS')
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
