"""Measure how fast the MLPs train, relative to their matrix products and to other libraries.

examples:
  python -m pip install -r benchmark/requirements.txt && python -m benchmark
  python -m benchmark --quick                    # only the main ratios, in a minute; writes nothing
  python -m benchmark --parts scaling busy       # measures these parts again and keeps the others

In each round every contender trains one epoch of each network. Each ratio compares two times of the same
round, and the tables show the medians over the rounds. Each finished part is written to benchmark.json in
--results_dir, with the machine. At the end benchmark.md and benchmark*.png are made from all its parts.
"""

import functools
import importlib.util
import json
import platform
import sys
import textwrap
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

import cifar10_utils
from benchmark import busy, contenders, epochs, report, scaling, startup
from cifar10 import description
from cifar10.sources import CACHE_NAME, DATA_DIR
from console.arguments import COUNT, ArgumentParser, add_folders
from console.errors import UserError, user_errors
from console.process import say
from storage.files import json_bytes, write_together
from training.results import environment
from training.threads import processors

# Names of the optional packages and of their modules.
PEERS = {'scikit-learn': 'sklearn', 'jax': 'jax'}
PARTS = ['epochs', 'evaluation', 'profile', 'start', 'scaling', 'busy']
# --quick measures the ratios of report.summary on this share of the training images.
QUICK_SHARE, QUICK_ROUNDS = 1 / 2, 3
QUICK = [*contenders.BASELINES, *contenders.OURS, contenders.COURSE]


class BenchmarkError(UserError):
    """The results file is not a benchmark."""


@functools.lru_cache(1)  # the parts share it
def load_data(data_dir):
    """CIFAR-10 if it is in data_dir, otherwise random images of the same shape; and the name of the data."""
    if (Path(data_dir) / CACHE_NAME).exists():
        return cifar10_utils.get_cifar10(data_dir), 'CIFAR-10'
    rng, facts = np.random.default_rng(0), description.CIFAR10
    sizes = {'train': facts.train_size - facts.validation_size, 'validation': facts.validation_size,
             'test': facts.test_size}
    return {name: cifar10_utils.Dataset(rng.integers(0, 256, (size, *facts.image_shape), np.uint8),
                                        rng.integers(facts.n_classes, size=size))
            for name, size in sizes.items()}, 'generated images of the same shape'


def steps_of(part, rounds):
    """How often a part advances the progress bar."""
    return {'epochs': lambda: epochs.number_of_steps(rounds), 'evaluation': lambda: 2 * rounds,
            'profile': lambda: 2 * len(epochs.NETWORKS), 'start': startup.number_of_steps,
            'scaling': scaling.number_of_steps, 'busy': lambda: busy.number_of_steps(rounds)}[part]()


def measure(part, data_dir, rounds, advance):
    """The entry of a part in benchmark.json; None if the data that it needs is missing."""
    if part == 'scaling':
        found = {'axes': scaling.measure(advance)}
    elif part == 'busy':
        found = {'rounds': rounds, 'seconds': busy.measure(rounds, advance)}
    elif part == 'start':
        if not (Path(data_dir) / CACHE_NAME).exists():
            return None
        found = startup.measure(data_dir, advance)
    else:
        dataset, data_name = load_data(data_dir)
        if part == 'epochs':
            found = {'rounds': rounds, 'batch_size': epochs.BATCH_SIZE,
                     'seconds': epochs.measure(dataset, rounds, advance)}
        elif part == 'evaluation':
            found = {'ratios': epochs.measure_evaluation(dataset, rounds, advance)}
        else:
            found = {'shares': epochs.measure_profiles(dataset, advance)}
        found['data'] = data_name
    return {**found, 'machine': machine()}


def machine():
    """The processor and the versions, because the times depend on them."""
    packages = ['numpy', 'torch', *(package for package in PEERS if importlib.util.find_spec(PEERS[package]))]
    return {'processor': processor_name(), 'processors': processors(),
            **environment(packages, torch.get_num_threads(), 'cpu')}


def processor_name():
    """The name of the processor, on Linux and elsewhere."""
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8', errors='replace').splitlines()
        return next(line.partition(':')[2].strip() for line in lines if line.startswith('model name'))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def load_record(path):
    """The parts of an earlier benchmark, unknown ones last. Raises BenchmarkError if the file is something else."""
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
        record = {part: record[part] for part in sorted(record, key=(PARTS + list(record)).index)}
        json_bytes(record)
        report.check({part: record[part] for part in PARTS if part in record})
        return record
    except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError, StopIteration, RecursionError) as error:
        words = str(error).partition('\n')[0][:200]
        raise BenchmarkError(f'{path} is not a benchmark ({type(error).__name__}: {words}): move it or use another '
                             '--results_dir') from error


def quick(data_dir):
    """The record of a quick measurement: enough for report.summary."""
    dataset, data_name = load_data(data_dir)
    train = dataset['train']
    size = round(len(train) * QUICK_SHARE)
    part = {'train': cifar10_utils.Dataset(train.images[:size], train.labels[:size])}
    with tqdm(total=epochs.number_of_steps(QUICK_ROUNDS, (False,), QUICK), unit='step', disable=None) as bar:
        seconds = epochs.measure(part, QUICK_ROUNDS, bar.update, (False,), QUICK)
    return {'epochs': {'seconds': seconds, 'data': data_name, 'machine': machine()}}


def main():
    parser = ArgumentParser(__doc__, 'benchmark')
    parser.add_argument('--rounds', type=COUNT, default=5, metavar='N', help='repetitions of each measurement')
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=PARTS, metavar='PART', help='parts to measure')
    parser.add_argument('--quick', action='store_true', help='only the main ratios, in a minute; writes nothing')
    add_folders(parser, DATA_DIR)
    arguments = parser.parse_args()
    path = Path(arguments.results_dir) / 'benchmark.json'
    with user_errors(parser, when_interrupted=f'finished parts are in {path}; --parts measures the others'):
        if arguments.quick:
            record = quick(arguments.data_dir)
            say(textwrap.fill(report.summary(record), 79))
            return
        record = load_record(path)
        with tqdm(total=sum(steps_of(part, arguments.rounds) for part in arguments.parts), unit='step',
                  disable=None) as bar:
            for part in arguments.parts:
                bar.set_description(part)
                found = measure(part, arguments.data_dir, arguments.rounds, bar.update)
                if found:
                    record[part] = found
                    write_together({path: json_bytes(record)})
                else:
                    print(f'skipping {part}: it needs CIFAR-10, which is not in {arguments.data_dir}; run '
                          'python train_mlp_numpy.py to download it', file=sys.stderr)
        paths = report.write(path, record)
    say(textwrap.fill(report.summary(record), 79))
    say(' '.join(map(str, ['written:', *paths])))


if __name__ == '__main__':
    main()
