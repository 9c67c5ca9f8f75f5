"""Processes for the benchmark: one with an environment of its own, and processes that keep CPUs busy."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import subprocess
import sys
import time

import torch

# OpenBLAS and OpenMP read these once, when they are loaded.
THREAD_VARIABLES = ('OPENBLAS_NUM_THREADS', 'OMP_NUM_THREADS')
BUSY = 'import os, sys\nwhile os.getppid() == int(sys.argv[1]):\n    pass'


def new_process(threads, **environment):
    """An executor of one new process with this number of compute threads and these environment variables."""
    environment = {**dict.fromkeys(THREAD_VARIABLES, str(threads)), **environment}
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    executor = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context('spawn'), torch.set_num_threads,
                                                      [threads])
    executor.submit(time.time).result()  # starts the process, with that environment
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
    return executor


@contextlib.contextmanager
def busy_processes(processes):
    """Run this number of processes that each keep one CPU busy until the context or this process ends."""
    running = [subprocess.Popen([sys.executable, '-c', BUSY, str(os.getpid())]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()
