"""The time from a second start of train_mlp_numpy.py to its first step, and the memory of a default run."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STARTS = 5
SCRIPT = Path(__file__).parent.parent / 'train_mlp_numpy.py'

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
    return STARTS + 1


def measure(data_dir, advance):
    """Seconds of several starts, and the peak memory; advance is called after each run."""
    seconds = []
    for _ in range(STARTS):
        seconds.append(seconds_to_first_step(data_dir))
        advance()
    peak_memory = measure_peak_memory(data_dir)
    advance()
    return {'seconds': seconds, 'peak_memory': peak_memory}


def seconds_to_first_step(data_dir):
    """Seconds from the command to the end of the first training step."""
    start = time.time()
    out = subprocess.run([sys.executable, '-c', FIRST_STEP, str(SCRIPT), data_dir], check=True, capture_output=True,
                         env={**os.environ, 'PYTHONPATH': str(SCRIPT.parent)}).stdout
    return float(out) - start


# The peak memory of a process includes the memory of its parent at the start, so the parent must be a small process.
PEAK_MEMORY = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(usage.ru_maxrss)
sys.exit(status != 0)
"""


def measure_peak_memory(data_dir):
    """Peak resident memory of a default run of train_mlp_numpy.py, in MB (10⁶ bytes)."""
    with tempfile.TemporaryDirectory() as results:
        command = [sys.executable, str(SCRIPT), '--data_dir', data_dir, '--results_dir', results]
        out = subprocess.run([sys.executable, '-c', PEAK_MEMORY, *command], check=True, capture_output=True).stdout
    return int(out) * (1 if sys.platform == 'darwin' else 1024) / 1e6
