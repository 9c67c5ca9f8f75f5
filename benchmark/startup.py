"""The time from a second start of train_mlp_numpy.py to its first step, and the time and memory of a default run."""

import os
import pstats
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cifar10_utils
import train_mlp_numpy
from training import results, threads

STARTS, RUNS = 5, 3
SCRIPT = Path(__file__).parent.parent / 'train_mlp_numpy.py'
EPOCHS, WHOLE = 'training epochs', 'whole command'
PARTS = {EPOCHS: train_mlp_numpy.train_epoch, 'validation and test': train_mlp_numpy.predict,
         'reading and hashing the data': cifar10_utils.get_cifar10, 'load of the CPUs': threads.use_idle_processors,
         'figure and files': results.write_results}

FIRST_STEP = """
import os, runpy, sys, time
from training.log import TrainingLog
def first_step(*_):
    print(time.time())
    sys.stdout.flush()
    os._exit(0)
TrainingLog.step = first_step
script = sys.argv[1]
sys.argv[0:2] = [script, '--data_dir']
runpy.run_path(script, run_name='__main__')
"""


def number_of_steps():
    return STARTS + RUNS


def measure(data_dir, advance):
    """Seconds of several starts, the seconds of several whole runs, and their peak memory; advance is called after each."""
    seconds, runs, memory = [], [], []
    for _ in range(STARTS):
        seconds.append(seconds_to_first_step(data_dir))
        advance()
    for _ in range(RUNS):
        for entry, measured in zip((runs, memory), measure_run(data_dir)):
            entry.append(measured)
        advance()
    return {'seconds': seconds, 'runs': runs, 'peak_memory': max(memory)}


def seconds_to_first_step(data_dir):
    """Seconds from the command to the end of the first training step."""
    start = time.time()
    out = subprocess.run([sys.executable, '-c', FIRST_STEP, str(SCRIPT), data_dir], check=True, capture_output=True,
                         env={**os.environ, 'PYTHONPATH': str(SCRIPT.parent)}).stdout
    return float(out) - start


# The peak memory of a process includes the memory of its parent at the start, so the parent must be a small process.
RUN = """
import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - start, usage.ru_maxrss)
sys.exit(status != 0)
"""


def measure_run(data_dir):
    """A default run with Python's profiler → the seconds of PARTS and WHOLE, and the peak memory in MB (10⁶ bytes)."""
    with tempfile.TemporaryDirectory() as folder:
        profile = str(Path(folder) / 'profile')
        command = [sys.executable, '-m', 'cProfile', '-o', profile, str(SCRIPT), '--data_dir', data_dir,
                   '--results_dir', folder]
        out = subprocess.run([sys.executable, '-c', RUN, *command], check=True, capture_output=True).stdout
        stats = pstats.Stats(profile).stats
    whole, memory = map(float, out.split())
    codes = {part: function.__code__ for part, function in PARTS.items()}
    seconds = {part: stats[code.co_filename, code.co_firstlineno, code.co_name][3] for part, code in codes.items()}
    return {**seconds, WHOLE: whole}, memory * (1 if sys.platform == 'darwin' else 1024) / 1e6
