"""The time of a training epoch for several batch sizes, widths, depths and numbers of threads."""

import statistics

import numpy as np

import cifar10_utils
from benchmark import contenders
from benchmark.contenders import Data
from benchmark.processes import new_process
from cifar10 import description

THREADS = [1, 2]
# name of the variable: its values, and a function value → (hidden_dims, batch_size).
AXES = {
    'batch size': ([32, 64, 128, 256, 512, 1024, 2048, 4096], lambda value: ([128], value)),
    'width of the hidden layer': ([64, 128, 256, 512, 1024, 2048], lambda value: ([value], 128)),
    'hidden layers of 128': ([1, 2, 4, 8], lambda value: ([128] * value, 128)),
}
IMAGES = 4096  # in one measurement, which is extrapolated to a whole epoch
ROUNDS = 5
CONTENDERS = {**contenders.BASELINES, **contenders.OURS}


def number_of_steps():
    return len(THREADS) * sum(len(values) for values, _ in AXES.values())


def measure(advance):
    """{axis: {'values': […], threads: {contender: [median seconds per epoch of each value]}}}

    advance is called after each point.
    """
    results = {axis: {'values': values, **{str(threads): {name: [] for name in CONTENDERS} for threads in THREADS}}
               for axis, (values, _) in AXES.items()}
    for threads in THREADS:
        with new_process(threads) as executor:
            for axis, (values, _) in AXES.items():
                for value in values:
                    for name, seconds in executor.submit(measure_point, axis, value).result().items():
                        results[axis][str(threads)][name].append(seconds)
                    advance()
    return results


def measure_point(axis, value):
    """The median seconds per epoch of each contender."""
    hidden_dims, batch_size = AXES[axis][1](value)
    rng = np.random.default_rng(0)
    train = cifar10_utils.Dataset(rng.integers(0, 256, (IMAGES, *description.CIFAR10.image_shape), np.uint8),
                                  rng.integers(description.CIFAR10.n_classes, size=IMAGES))
    data = Data({'train': train}, None, train.labels)
    epochs = {name: prepare(data, hidden_dims, False, batch_size) for name, prepare in CONTENDERS.items()}
    seconds = {name: [] for name in epochs}
    for epoch in epochs.values():
        epoch()  # a warm-up of caches, threads and the memory allocator
    for _ in range(ROUNDS):
        for name, epoch in epochs.items():
            seconds[name].append(contenders.seconds_of(epoch))
    scale = (description.CIFAR10.train_size - description.CIFAR10.validation_size) / IMAGES
    return {name: statistics.median(values) * scale for name, values in seconds.items()}
