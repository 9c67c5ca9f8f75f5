"""Measure how fast the MLPs train, beside the matrix products they need and beside other libraries.

    python -m pip install -r benchmark/requirements.txt && python -m benchmark

In each round every contender trains one epoch of each net, one after the other in one process; what is
compared are the ratios within a round, and their median over the rounds. Then the time and memory of the
script itself, and how the time per epoch grows with the net, the batch and the threads.
Writes results/benchmark.json, results/benchmark.png and results/scaling.png.
"""

import cProfile
import importlib.util
import os
import pstats
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import cifar10_utils
import modules
import train_mlp_numpy
import train_mlp_pytorch
from benchmark import contenders, report, scaling
from benchmark.contenders import COURSE, Data
from cifar10.description import CIFAR10
from cifar10.sources import CACHE_NAME
from training.command_line import ArgumentParser, add_folders, user_errors
from training.process import say
from training.results import environment
from training.settings import COUNT, DEFAULTS, net_name as words_of

NETS = [[128], [512, 256, 128]]
BATCH_SIZE = 128
EPOCHS = DEFAULTS['epochs']
# The course's way is timed on this share of an epoch, and multiplied up: it does the same for each batch.
COURSE_SHARE = 1 / 9
STARTS = 5
SCRIPT = Path(__file__).parent.parent / 'train_mlp_numpy.py'
# Package and module names of what is optional.
PEERS = {'scikit-learn': 'sklearn', 'jax': 'jax'}


def load_data(data_dir):
    """CIFAR-10 where it is at hand, otherwise random images of its shape; and a name for it."""
    if (Path(data_dir) / CACHE_NAME).exists():
        return cifar10_utils.get_cifar10(data_dir), 'CIFAR-10'
    rng = np.random.default_rng(0)
    sizes = {'train': CIFAR10.train_size - CIFAR10.validation_size, 'validation': CIFAR10.validation_size,
             'test': CIFAR10.test_size}
    return {name: cifar10_utils.Dataset(rng.integers(0, 256, (size, *CIFAR10.image_shape), np.uint8),
                                        rng.integers(CIFAR10.n_classes, size=size))
            for name, size in sizes.items()}, 'generated images of the same shape'


def net_name(hidden_dims, use_batch_norm):
    return words_of(hidden_dims) + (', batch normalization' if use_batch_norm else '')


def measure_epochs(dataset, rounds):
    """Seconds per training epoch: {net: {contender: a list, one entry for each round}}."""
    whole = Data.of(dataset)
    part = dataset['train'].images[:round(len(whole.labels) * COURSE_SHARE)]
    part = Data({**dataset, 'train': cifar10_utils.Dataset(part, whole.labels[:len(part)])}, None, None)
    seconds = {}
    for hidden_dims in NETS:
        for use_batch_norm in (False, True):
            epochs = {}
            for name, prepare in contenders.contenders().items():
                epoch = prepare(part if name == COURSE else whole, hidden_dims, use_batch_norm, BATCH_SIZE)
                if epoch:
                    epochs[name] = epoch
            net = net_name(hidden_dims, use_batch_norm)
            seconds[net] = {name: [] for name in epochs}
            for _ in tqdm(range(rounds), net, unit='round', disable=None):
                for name, epoch in epochs.items():
                    elapsed = contenders.seconds_of(epoch)
                    seconds[net][name].append(elapsed / COURSE_SHARE if name == COURSE else elapsed)
    return seconds


def measure_evaluation(dataset, rounds):
    """Time of a default run's evaluations (each epoch's validation, one test) over that of its training."""
    ratios, sizes = {}, (CIFAR10.n_inputs, NETS[0], CIFAR10.n_classes)
    for name, train_module, model in [
            ('NumPy', train_mlp_numpy, train_mlp_numpy.MLP(*sizes, dtype=np.float32)),
            ('PyTorch', train_mlp_pytorch, train_mlp_pytorch.MLP(*sizes))]:
        prepare = contenders.OURS[f'{name} MLP (this project)']
        epoch = prepare(Data(dataset, None, None), NETS[0], False, BATCH_SIZE)
        loaders = cifar10_utils.get_dataloader(dataset, BATCH_SIZE, return_numpy=name == 'NumPy')
        ratios[name] = []
        for _ in range(rounds):
            times = [contenders.seconds_of(part) for part in (
                epoch, lambda: train_module.evaluate_model(model, loaders['validation']),
                lambda: train_module.evaluate_model(model, loaders['test']))]
            ratios[name].append((EPOCHS * times[1] + times[2]) / (EPOCHS * times[0]))
    return ratios


def profile_numpy_epoch(dataset):
    """Where the time of a NumPy epoch goes, by Python's own profiler: {net: {part: share}}."""
    parts = {'loader': cifar10_utils.NumpyLoader.__iter__, 'linear, forward': modules.LinearModule.forward,
             'linear, backward': modules.LinearModule.backward, 'weight update': train_mlp_numpy.sgd_step}
    shares = {}
    for hidden_dims in NETS:
        epoch = contenders.our_numpy(Data(dataset, None, None), hidden_dims, False, BATCH_SIZE)
        epoch()
        profile = cProfile.Profile()
        profile.runcall(epoch)
        stats = pstats.Stats(profile)
        codes = {part: function.__code__ for part, function in parts.items()}
        found = {part: stats.stats[code.co_filename, code.co_firstlineno, code.co_name][3] / stats.total_tt
                 for part, code in codes.items()}
        shares[net_name(hidden_dims, False)] = {**found, 'everything else': 1 - sum(found.values())}
    return shares


FIRST_STEP = """
import os, sys, time
import train_mlp_numpy
from training.log import TrainingLog
def first_step(*_):
    print(time.time())
    sys.stdout.flush()
    os._exit(0)
TrainingLog.step = first_step
sys.argv = ['train_mlp_numpy.py', '--data_dir', sys.argv[1]]
train_mlp_numpy.main()
"""


def measure_start(data_dir):
    """Seconds from the command to the end of the first training step, of several starts."""
    seconds = []
    for _ in range(STARTS):
        start = time.time()
        out = subprocess.run([sys.executable, '-c', FIRST_STEP, data_dir], check=True, capture_output=True,
                             env={**os.environ, 'PYTHONPATH': str(SCRIPT.parent)}).stdout
        seconds.append(float(out) - start)
    return seconds


# A process counts what its parent had in memory when it was started: so a small one stands in between.
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


def ratios(seconds, net, name, other):
    """name's time over other's, in each round."""
    return [a / b for a, b in zip(seconds[net][name], seconds[net][other])]


def judge(record):
    """The targets: a list of dicts with what is measured, its median and range, the limit, and whether it is met."""
    numpy_floor = list(contenders.FLOORS)[0]
    limits = [(ours, net_name(net, False), numpy_floor, limit)
              for ours, limits in zip(contenders.OURS, [(1.25, 1.15), (1.5, 1.3)])
              for net, limit in zip(NETS, limits)]
    limits += [(ours, net_name(NETS[0], False), COURSE, 0.1) for ours in contenders.OURS]
    peers = ['PyTorch, plain', *(name for name, _ in contenders.OPTIONAL.values())]
    limits += [(ours, net_name(net, False), peer, 1) for ours in contenders.OURS for net in NETS
               for peer in peers if peer in record['seconds'][net_name(net, False)]]
    rows = [(f'{name} / {other}, net {net}', ratios(record['seconds'], net, name, other), limit)
            for name, net, other, limit in limits]
    rows += [(f'{name}: evaluation / training', values, 0.1) for name, values in record['evaluation'].items()]
    if record['start']:
        rows += [('seconds from a second start to the first training step', record['start'], 1),
                 ('peak memory of a default run of train_mlp_numpy.py, MB', [record['peak_memory']], 700)]
    return [{'target': name, 'median': statistics.median(values), 'smallest': min(values), 'largest': max(values),
             'limit': limit, 'met': statistics.median(values) <= limit} for name, values, limit in rows]


def measure(data_dir, rounds):
    """Everything that benchmark.json holds."""
    dataset, data_name = load_data(data_dir)
    record = {'config': {'rounds': rounds, 'batch_size': BATCH_SIZE}, 'data': data_name,
              'seconds': measure_epochs(dataset, rounds), 'evaluation': measure_evaluation(dataset, rounds),
              'profile': profile_numpy_epoch(dataset), 'start': [], 'peak_memory': None}
    del dataset
    if data_name == 'CIFAR-10':
        record['start'] = measure_start(data_dir)
        record['peak_memory'] = measure_peak_memory(data_dir)
    record['targets'] = judge(record)
    record['scaling'] = scaling.measure()
    packages = ['numpy', 'torch', *(package for package in PEERS if importlib.util.find_spec(PEERS[package]))]
    record['environment'] = environment(packages, torch.get_num_threads(), 'cpu')
    return record


def main():
    parser = ArgumentParser(__doc__, 'benchmark')
    parser.add_argument('--rounds', type=COUNT, default=5,
                        metavar='N', help='epochs of each contender and net')
    add_folders(parser)
    arguments = parser.parse_args()
    with user_errors(parser, when_interrupted='no result was written'):
        record = measure(arguments.data_dir, arguments.rounds)
        paths = report.write(Path(arguments.results_dir) / 'benchmark.json', record)
    say(textwrap.fill(report.summary(record), 79))
    say(' '.join(map(str, ['written:', *paths])))


if __name__ == '__main__':
    main()
