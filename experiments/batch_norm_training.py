"""Train one run of the batch-normalization study, and measure the network during the training."""

import copy
import functools
import itertools
import json
import math

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import cifar10_utils
import train_mlp_pytorch
from experiments.batch_norm_runs import GRADIENT_BATCHES, MULTIPLES, SAMPLE_IMAGES, SPREAD_IMAGES
from mlp_pytorch import MLP
from training.log import Diverged


def train_one(run, data_dir):
    """Train the network of a run; return the run with the course of its training and all measurements.

    measured_train_accuracy: after each epoch, in evaluation mode, on SAMPLE_IMAGES training images: what the
    validation accuracy is measured like. activation_spread: after each epoch, see activation_spread.
    row_length: before the first epoch and after each, see row_lengths.
    loss_along_gradient: before the first epoch, after it and after the last one, see loss_along_gradient.
    diverged instead of all these: the loss or something measured was no longer finite.
    """
    sample, spread_images, batches = _measuring_data(str(data_dir), run['batch_size'])
    accuracies, spreads, gradients, lengths = [], [], [], []

    def make_model(*args, **kwargs):
        model = MLP(*args, **kwargs)
        if 'group_size' in run:
            normalize_in_groups(model, run['group_size'])
        if run.get('start') == 'normalized':
            normalize_at_start(model, batches[0][0])
        elif 'start' in run:
            scale_weights(model, run['start'])
        lengths.append(row_lengths(model))
        gradients.append({'epoch': 0, 'losses': loss_along_gradient(model, batches, run['lr'])})
        return model

    def after_epoch(model):
        accuracies.append(train_mlp_pytorch.evaluate_model(model, sample))
        spreads.append(activation_spread(model, spread_images))
        lengths.append(row_lengths(model))
        if not all(map(math.isfinite, spreads[-1] + lengths[-1])):
            raise Diverged(f'the activations or the weights are not finite after epoch {len(spreads)}')
        if len(spreads) in (1, run['epochs']):
            gradients.append({'epoch': len(spreads), 'losses': loss_along_gradient(model, batches, run['lr'])})

    settings = {key: value for key, value in run.items() if key not in ('start', 'group_size')}
    try:
        _, _, test_accuracy, info = train_mlp_pytorch.train(
            **settings, data_dir=data_dir, device='cpu', verbose=False, after_epoch=after_epoch, make_model=make_model)
    except Diverged as error:
        return {**run, 'diverged': str(error).split(';')[0]}
    kept = ('train_loss', 'train_accuracy', 'val_accuracy', 'best_epoch', 'seconds_per_epoch', 'environment')
    measured = {**{key: info[key] for key in kept}, 'test_accuracy': test_accuracy,
                'measured_train_accuracy': accuracies, 'activation_spread': spreads, 'loss_along_gradient': gradients,
                'row_length': lengths}
    # Five decimals are more than the tables show, and 17 digits would double the size of the file.
    return {**run, **json.loads(json.dumps(measured), parse_float=lambda digits: round(float(digits), 5))}


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
    """Standard deviation of the pre-activations of each layer, over the images and units, in evaluation mode: a list of floats."""
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
    """The loss L(θ − m·lr·∂L/∂θ) for each m of MULTIPLES, mean over the batches: a list, None if it is not finite.

    Each batch has its own gradient, and the loss after the step is measured on the same batch, in training
    mode; the model is left as it is. After Santurkar et al. (2018), figure 4 a.
    """
    losses = torch.zeros(len(MULTIPLES), dtype=torch.float64)
    for images, labels in batches:
        trial = copy.deepcopy(model).train()
        parameters = list(trial.parameters())
        gradients = torch.autograd.grad(cross_entropy(trial(images), labels), parameters)
        with torch.no_grad():
            for i, (multiple, before) in enumerate(zip(MULTIPLES, [0, *MULTIPLES])):
                step = torch.tensor((multiple - before) * lr, dtype=torch.float32)  # inf if it is too large for float32
                for parameter, gradient in zip(parameters, gradients):
                    parameter.sub_(gradient * step)
                losses[i] += float(cross_entropy(trial(images), labels)) / len(batches)
    return [loss if math.isfinite(loss) else None for loss in losses.tolist()]


@torch.no_grad()
def normalize_at_start(model, images):
    """Set weights and biases so that on these images each unit's pre-activation has mean 0 and variance 1.

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


@torch.no_grad()
def scale_weights(model, factor):
    """Multiply the weights of all linear layers by a factor."""
    for layer in model.layers:
        if isinstance(layer, nn.Linear):
            layer.weight.mul_(factor)


@torch.no_grad()
def row_lengths(model):
    """The mean Euclidean length of the rows of each linear layer's weight, the weights of one unit: a list of floats."""
    return [float(layer.weight.norm(dim=1).mean()) for layer in model.layers if isinstance(layer, nn.Linear)]


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
