"""The time of a training epoch under load: on one thread, on two, and with passive waiting.

A thread that has finished its part of a product waits for the others in a busy loop. That is the fastest way to wait if
each thread has a CPU of its own. Otherwise the waiting thread takes the CPU that another thread needs.
"""

import contextlib
import functools
import time

import numpy as np

import cifar10_utils
from benchmark import contenders
from benchmark.contenders import Data
from benchmark.processes import busy_processes, new_process
from cifar10 import description
from training import threads

COMPETING = [0, 1, 2]  # other busy processes
COLUMNS = ['idle', '1 busy process', '2 busy processes']
IMAGES = 8192  # in one measurement, which is extrapolated to a whole epoch
HIDDEN_DIMS, BATCH_SIZE = [128], 128
NUMPY, PYTORCH = contenders.OURS
# name: contender, number of threads, environment variables for the libraries.
WAYS = {
    'NumPy MLP, 1 thread': (NUMPY, 1, {}),
    'NumPy MLP, 2 threads': (NUMPY, 2, {}),
    'NumPy MLP, 2 threads, passive waiting (`OPENBLAS_THREAD_TIMEOUT=4`)':
        (NUMPY, 2, {'OPENBLAS_THREAD_TIMEOUT': '4'}),
    'PyTorch MLP, 1 thread': (PYTORCH, 1, {}),
    'PyTorch MLP, 2 threads': (PYTORCH, 2, {}),
    'PyTorch MLP, 2 threads, short spin-waiting (`GOMP_SPINCOUNT=1000`)': (PYTORCH, 2, {'GOMP_SPINCOUNT': '1000'}),
    'PyTorch MLP, 2 threads, passive waiting (`OMP_WAIT_POLICY=passive`)':
        (PYTORCH, 2, {'OMP_WAIT_POLICY': 'passive'}),
}
# The scripts' default, and the name in WAYS that belongs to the number of threads that it chooses.
BY_DEFAULT = {f'{version} MLP, default number of threads': f'{version} MLP, {{count}}'
              for version in ('NumPy', 'PyTorch')}


def number_of_steps(rounds):
    return len(COMPETING) * rounds * len([*WAYS, *BY_DEFAULT])


def measure(rounds, advance):
    """{way: {competing processes: [seconds per epoch of each round]}}; advance is called after each measurement."""
    names = [*WAYS, *BY_DEFAULT]
    seconds = {name: {str(number): [] for number in COMPETING} for name in names}
    with contextlib.ExitStack() as stack:
        executors = {}
        for name in WAYS:
            contender, count, environment = WAYS[name]
            executors[name] = stack.enter_context(new_process(count, **environment))
            executors[name].submit(seconds_per_epoch, contender).result()  # a warm-up
        for number in COMPETING:
            with busy_processes(number):
                for _ in range(rounds):
                    for name in names:
                        way = BY_DEFAULT[name].format(count=_default_threads()) if name in BY_DEFAULT else name
                        elapsed = executors[way].submit(seconds_per_epoch, WAYS[way][0]).result()
                        seconds[name][str(number)].append(elapsed)
                        advance()
    return seconds


def _default_threads():
    time.sleep(contenders.PAUSE_SECONDS)  # threads of the last measurement may still wait in a busy loop
    count = threads.idle_processors(threads.busy_processors(), available=2)
    return f'{count} thread{"s" * (count > 1)}'


@functools.cache  # in the process that measures one way
def warm_epoch(contender):
    """An epoch that has run once, to warm up caches, threads and the memory allocator."""
    rng = np.random.default_rng(0)
    train = cifar10_utils.Dataset(rng.integers(0, 256, (IMAGES, *description.CIFAR10.image_shape), np.uint8),
                                  rng.integers(description.CIFAR10.n_classes, size=IMAGES))
    data = Data({'train': train}, None, train.labels)
    epoch = contenders.contenders()[contender](data, HIDDEN_DIMS, False, BATCH_SIZE)
    epoch()
    return epoch


def seconds_per_epoch(contender):
    """Seconds of an epoch of the whole training set."""
    whole = description.CIFAR10.train_size - description.CIFAR10.validation_size
    return contenders.seconds_of(warm_epoch(contender)) * whole / IMAGES
