"""The runs of the batch-normalization study: which there are, and what is measured while one trains.

The six configurations are the assignment's (Q2.2). The controls each change one thing of them:
    start_runs          no batch normalization, but a start at which the first batch comes out normalized
    group_runs          batch normalization with the statistics of a half, a quarter, … of each batch
    learning_rate_runs  other learning rates; on the first seed several, on the others the best one of each net
"""

import copy
import functools
import itertools
import math

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import cifar10_utils
import train_mlp_pytorch
from mlp_pytorch import MLP
from training.log import Diverged

NETS = [[128], [256, 128], [512, 256, 128]]
SETTINGS = {'lr': 0.1, 'batch_size': 128, 'epochs': 20}
KINDS = ['runs', 'start_runs', 'group_runs', 'learning_rate_runs']
# The controls.
CONTROL_NET = 0  # of NETS: the smallest, for the controls that are not made on all; there the advantage is the largest
GROUPS = [4, 8]  # into how many groups a batch is cut, each with its own statistics
LEARNING_RATES = [0.003, 0.01, 0.03, 0.3]  # beside that of SETTINGS
SELECTION_SEED = 42  # on whose validation accuracy each net's learning rate is chosen
# The measurements.
SPREAD_IMAGES = 1000  # validation images on which the spread of the activations is measured
SAMPLE_IMAGES = 5000  # training images on which the accuracy is measured as it is on the validation set
GRADIENT_BATCHES = 8
MULTIPLES = [0, 0.25, 0.5, 1, 2, 4, 8]  # of the learning rate: how far to go along the gradient


def planned_runs(seeds, settings):
    """The six configurations of the assignment for every seed."""
    return [{'hidden_dims': hidden_dims, 'use_batch_norm': use_batch_norm, 'seed': seed, **settings}
            for seed in seeds for hidden_dims in NETS for use_batch_norm in (False, True)]


def planned_controls(seed, settings):
    """The controls of one seed but for the learning rates, as pairs of their kind and a run.

    Of the larger nets that are normalized at their start one epoch is trained, for the loss along the gradient.
    """
    starts = [('start_runs', {'hidden_dims': net, 'use_batch_norm': False, 'seed': seed, **settings,
                              'epochs': settings['epochs'] if i == CONTROL_NET else 1, 'start': 'normalized'})
              for i, net in enumerate(NETS)]
    groups = [('group_runs', {'hidden_dims': NETS[CONTROL_NET], 'use_batch_norm': True, 'seed': seed, **settings,
                              'group_size': settings['batch_size'] // number}) for number in GROUPS]
    return starts + groups


def planned_rates(net, seed, settings, results):
    """The runs of one net and seed at other learning rates, with and without batch normalization.

    On the selection seed all rates of the smallest net, and of a larger one the neighbours of its best rate
    so far: which may make another one the best, so ask again when they are trained. On other seeds the best.
    """
    runs = []
    for run in planned_runs([seed], settings):
        if run['hidden_dims'] == net:
            best = best_rate(results, net, run['use_batch_norm'])
            if seed != SELECTION_SEED:
                rates = [best]
            elif net == NETS[CONTROL_NET] or best is None:
                rates = LEARNING_RATES
            else:
                rates = _neighbours(best, sorted({*LEARNING_RATES, settings['lr'], best}))
            runs += [('learning_rate_runs', {**run, 'lr': lr}) for lr in rates if lr not in (settings['lr'], None)]
    return runs


def _neighbours(value, ordered):
    place = ordered.index(value)
    return ordered[max(place - 1, 0):place] + ordered[place + 1:place + 2]


def best_rate(results, hidden_dims, use_batch_norm):
    """The learning rate whose best validation accuracy is highest on the selection seed; None where none is known."""
    reached = {run['lr']: max(run['val_accuracy']) for run in results['runs'] + results['learning_rate_runs']
               if run['seed'] == SELECTION_SEED and run['hidden_dims'] == list(hidden_dims)
               and run['use_batch_norm'] == use_batch_norm and 'diverged' not in run}
    return max(sorted(reached), key=reached.get, default=None)


def train_one(run, data_dir):
    """Train the net of a run; return the run with the course of its training and what was measured meanwhile.

    measured_train_accuracy: after each epoch, in evaluation mode, on SAMPLE_IMAGES training images: what the
    validation accuracy is measured like. activation_spread: after each epoch, see activation_spread.
    loss_along_gradient: before the first epoch, after it and after the last one, see loss_along_gradient.
    diverged in place of all that: the loss or something measured was no longer finite.
    """
    sample, spread_images, batches = _measuring_data(str(data_dir), run['batch_size'])
    accuracies, spreads, gradients = [], [], []

    def make_model(*arguments):
        model = MLP(*arguments)
        if 'group_size' in run:
            normalize_in_groups(model, run['group_size'])
        if run.get('start') == 'normalized':
            normalize_at_start(model, batches[0][0])
        gradients.append({'epoch': 0, 'losses': loss_along_gradient(model, batches, run['lr'])})
        return model

    def after_epoch(model):
        accuracies.append(train_mlp_pytorch.evaluate_model(model, sample))
        spreads.append(activation_spread(model, spread_images))
        if not all(map(math.isfinite, [accuracies[-1], *spreads[-1]])):
            raise Diverged(f'the activations are not finite after epoch {len(spreads)}')
        if len(spreads) in (1, run['epochs']):
            gradients.append({'epoch': len(spreads), 'losses': loss_along_gradient(model, batches, run['lr'])})

    settings = {key: value for key, value in run.items() if key not in ('start', 'group_size')}
    try:
        _, _, test_accuracy, info = train_mlp_pytorch.train(
            **settings, data_dir=data_dir, device='cpu', verbose=False, after_epoch=after_epoch, make_model=make_model)
    except Diverged as error:
        return {**run, 'diverged': str(error).split(';')[0]}
    kept = ('train_loss', 'train_accuracy', 'val_accuracy', 'best_epoch', 'seconds_per_epoch', 'environment')
    return {**run, **{key: info[key] for key in kept}, 'test_accuracy': test_accuracy,
            'measured_train_accuracy': accuracies, 'activation_spread': spreads, 'loss_along_gradient': gradients}


@functools.lru_cache(1)  # a process trains many runs
def _measuring_data(data_dir, batch_size):
    """A loader of the training sample, the images for the spread, and the batches for the loss along the gradient.

    Only these images are kept, as bytes: the rest would be held a second time beside the data that train loads.
    """
    cifar10 = cifar10_utils.get_cifar10(data_dir)

    def first(part, number):
        return cifar10_utils.Dataset(part.images[:number].copy(), part.labels[:number].copy())

    sample, spread = first(cifar10['train'], SAMPLE_IMAGES), first(cifar10['validation'], SPREAD_IMAGES)
    del cifar10
    size = min(batch_size, len(sample.labels))
    in_order = {'train': sample, 'sample': sample, 'spread': spread}  # the loader 'train' shuffles
    batches = cifar10_utils.get_dataloader(in_order, size)['sample']
    complete = itertools.islice(batches, min(GRADIENT_BATCHES, len(sample.labels) // size))
    loaders = cifar10_utils.get_dataloader(in_order, min(SPREAD_IMAGES, len(sample.labels)))
    return loaders['sample'], next(iter(loaders['spread']))[0], list(complete)


@torch.no_grad()
def activation_spread(model, images):
    """Standard deviation of what enters each ReLU, over the images and units, in evaluation mode: a list of floats."""
    was_training = model.training
    model.eval()
    spread, out = [], images.flatten(start_dim=1)
    for layer in model.layers:
        if isinstance(layer, nn.ReLU):
            spread.append(float(out.std()))
        out = layer(out)
    model.train(was_training)
    return spread


def loss_along_gradient(model, batches, lr):
    """The loss L(θ − m·lr·∂L/∂θ) for each m of MULTIPLES, mean over the batches: a list, None where not finite.

    Each batch has its own gradient, and the loss after the step is that of the same batch, in training
    mode; the model is left as it is. After Santurkar et al. (2018), figure 4 a.
    """
    losses = torch.zeros(len(MULTIPLES), dtype=torch.float64)
    for images, labels in batches:
        trial = copy.deepcopy(model).train()
        parameters = list(trial.parameters())
        gradients = torch.autograd.grad(cross_entropy(trial(images), labels), parameters)
        with torch.no_grad():
            for i, (multiple, before) in enumerate(zip(MULTIPLES, [0, *MULTIPLES])):
                step = torch.tensor((multiple - before) * lr, dtype=torch.float32)  # inf where it is too large for that
                for parameter, gradient in zip(parameters, gradients):
                    parameter.sub_(gradient * step)
                losses[i] += float(cross_entropy(trial(images), labels)) / len(batches)
    return [loss if math.isfinite(loss) else None for loss in losses.tolist()]


@torch.no_grad()
def normalize_at_start(model, images):
    """Set weights and biases so that of these images each unit's input to its ReLU has mean 0 and variance 1.

    What batch normalization computes before the first step, made part of the linear layers: w ← w/s and
    b ← (b − m)/s, with the mean m and s = √(variance + ε) over the images. From there on nothing is normalized.
    """
    out = images.flatten(start_dim=1)
    for layer, following in itertools.pairwise(model.layers):
        if isinstance(following, nn.ReLU):
            values = layer(out)
            mean, deviation = values.mean(dim=0), (values.var(dim=0, correction=0) + 1e-5).sqrt()
            layer.weight.div_(deviation[:, None])
            layer.bias.sub_(mean).div_(deviation)
        out = layer(out)


def normalize_in_groups(model, group_size):
    """Let each batch normalization of the model take its statistics over groups of a batch."""
    for i, layer in enumerate(model.layers):
        if isinstance(layer, nn.BatchNorm1d):
            model.layers[i] = GroupedBatchNorm(layer.num_features, group_size)


class GroupedBatchNorm(nn.BatchNorm1d):
    """Batch normalization with the mean and variance of each group of group_size samples ("ghost batches").

    The running statistics, for evaluation mode, are the mean over the groups and move once a step: the
    noise of the statistics in training is all that differs from BatchNorm1d. Hoffer et al. (2017).
    """

    def __init__(self, num_features, group_size):
        super().__init__(num_features)
        self.group_size = group_size

    def forward(self, x):
        """x: (S, N), S a multiple of group_size → (S, N)."""
        if not self.training:
            return super().forward(x)
        groups = x.unflatten(0, (-1, self.group_size))  # (S / group_size, group_size, N)
        mean, variance = groups.mean(dim=1, keepdim=True), groups.var(dim=1, keepdim=True, correction=0)
        with torch.no_grad():
            unbiased = variance * self.group_size / (self.group_size - 1)
            self.running_mean.lerp_(mean.mean(dim=(0, 1)), self.momentum)
            self.running_var.lerp_(unbiased.mean(dim=(0, 1)), self.momentum)
        return ((groups - mean) / (variance + self.eps).sqrt() * self.weight + self.bias).flatten(0, 1)
