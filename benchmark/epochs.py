"""Training epochs of all contenders, the time of an evaluation, and the profile of an epoch."""

import cProfile
import os
import pstats

import numpy as np
import torch

import cifar10_utils
import modules
import train_mlp_numpy
import train_mlp_pytorch
from benchmark import contenders
from benchmark.contenders import COURSE, Data
from cifar10 import description
from training.settings import DEFAULTS, net_name as words_of

NETWORKS = [[128], [512, 256, 128]]
BATCH_SIZE = 128
EPOCHS = DEFAULTS['epochs']
# The course's pipeline is timed on this fraction of an epoch and extrapolated: it does the same for each batch.
COURSE_SHARE = 1 / 9
# The PyTorch operations of each part of an epoch.
TORCH_PARTS = {'loader': ['aten::index_select', 'aten::copy_', 'aten::mul_', 'aten::sub_'],
               'linear, forward': ['aten::addmm'], 'linear, backward': ['aten::mm'], 'weight update': ['aten::add_']}


def net_name(hidden_dims, use_batch_norm):
    return words_of(hidden_dims) + (', batch normalization' if use_batch_norm else '')


def measure(dataset, rounds, advance, batch_norm=(False, True), names=None):
    """Seconds per training epoch: {network: {contender: a list, one entry for each round}}.

    advance is called after each epoch; names: the contenders to measure, by default all.
    """
    whole = Data.of(dataset)
    part = dataset['train'].images[:round(len(whole.labels) * COURSE_SHARE)]
    part = Data({**dataset, 'train': cifar10_utils.Dataset(part, whole.labels[:len(part)])}, None, None)
    chosen = {name: prepare for name, prepare in contenders.contenders().items() if names is None or name in names}
    seconds = {}
    for hidden_dims in NETWORKS:
        for use_batch_norm in batch_norm:
            epochs = {name: prepare(part if name == COURSE else whole, hidden_dims, use_batch_norm, BATCH_SIZE)
                      for name, prepare in chosen.items()}
            network = net_name(hidden_dims, use_batch_norm)
            seconds[network] = {name: [] for name, epoch in epochs.items() if epoch}
            for _ in range(rounds):
                for name, epoch in epochs.items():
                    if epoch:
                        elapsed = contenders.seconds_of(epoch)
                        seconds[network][name].append(elapsed / COURSE_SHARE if name == COURSE else elapsed)
                    advance()
    return seconds


def number_of_steps(rounds, batch_norm=(False, True), names=None):
    return len(NETWORKS) * len(batch_norm) * rounds * len(names or contenders.contenders())


def measure_evaluation(dataset, rounds, advance):
    """The time of a default run's evaluations (validation in each epoch, one test), divided by its training time."""
    ratios, sizes = {}, (description.CIFAR10.n_inputs, NETWORKS[0], description.CIFAR10.n_classes)
    for name, train_module, model in [
            ('NumPy', train_mlp_numpy, train_mlp_numpy.MLP(*sizes, dtype=np.float32)),
            ('PyTorch', train_mlp_pytorch, train_mlp_pytorch.MLP(*sizes))]:
        prepare = contenders.OURS[f'{name} MLP (this project)']
        epoch = prepare(Data(dataset, None, None), NETWORKS[0], False, BATCH_SIZE)
        loaders = cifar10_utils.get_dataloader(dataset, BATCH_SIZE, return_numpy=name == 'NumPy')
        ratios[name] = []
        for _ in range(rounds):
            times = [contenders.seconds_of(part) for part in (
                epoch, lambda: train_module.evaluate_model(model, loaders['validation']),
                lambda: train_module.evaluate_model(model, loaders['test']))]
            ratios[name].append((EPOCHS * times[1] + times[2]) / (EPOCHS * times[0]))
            advance()
    return ratios


def measure_profiles(dataset, advance):
    """The profile of an epoch: {'version, network': {part: fraction of the time}}."""
    shares = {}
    for version, profile in (('NumPy', profile_numpy), ('PyTorch', profile_pytorch)):
        for hidden_dims in NETWORKS:
            prepare = contenders.OURS[f'{version} MLP (this project)']
            epoch = prepare(Data(dataset, None, None), hidden_dims, False, BATCH_SIZE)
            epoch()
            found = profile(epoch)
            shares[f'{version}, {net_name(hidden_dims, False)}'] = {**found, 'everything else': 1 - sum(found.values())}
            advance()
    return shares


def profile_numpy(epoch):
    """The fraction of each part, from Python's own profiler."""
    parts = {'loader': cifar10_utils.NumpyLoader.__iter__, 'linear, forward': modules.LinearModule.forward,
             'linear, backward': modules.LinearModule.backward, 'weight update': train_mlp_numpy.sgd_step}
    profile = cProfile.Profile()
    profile.runcall(epoch)
    stats = pstats.Stats(profile)
    codes = {part: function.__code__ for part, function in parts.items()}
    return {part: stats.stats[code.co_filename, code.co_firstlineno, code.co_name][3] / stats.total_tt
            for part, code in codes.items()}


def profile_pytorch(epoch):
    """The fraction of each part, from PyTorch's own profiler. It does not count the time between operations."""
    os.environ.setdefault('KINETO_LOG_LEVEL', '6')  # otherwise its log messages break the progress bar
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiled:
        epoch()
    times = {row.key: row.self_cpu_time_total for row in profiled.key_averages()}
    total = sum(times.values())
    return {part: sum(times.get(name, 0) for name in names) / total for part, names in TORCH_PARTS.items()}
