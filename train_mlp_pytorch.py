"""Train the PyTorch MLP on CIFAR-10 with mini-batch SGD (Q2.1); its twin is train_mlp_numpy.py."""

import argparse
import contextlib
import copy
import math

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import cifar10_utils
from cifar10.description import CIFAR10
from mlp_pytorch import MLP
from training import command_line, data_parallel
from training.log import TrainingLog
from training.models import named_layers
from training.results import environment
from training.settings import SettingsError, check_settings


def accuracy(predictions, targets):
    """Share of the rows of predictions (S, C) that are largest at the target (S,): a float in [0, 1]."""
    return float(batch_accuracy(predictions, targets))


def batch_accuracy(predictions, targets):
    """The accuracy as a tensor on the device of the predictions, which is not waited for."""
    return (predictions.argmax(dim=1) == targets).float().mean()


@torch.no_grad()
def evaluate_model(model, data_loader, forward=None):
    """Average accuracy of the model over all samples of the loader; NaN where a prediction is not finite.

    forward: called in place of the model's own, for those who watch what happens inside (`observe`).
    Raises ValueError where the loader has no sample.
    """
    was_training = model.training
    model.eval()
    correct = samples = 0
    for images, labels in data_loader:
        predictions = (forward or model)(images)
        finite = predictions.isfinite().all()
        correct += torch.where(finite, (predictions.argmax(dim=1) == labels).sum(), math.nan)
        samples += len(labels)
    model.train(was_training)
    if not samples:
        raise ValueError('there is no sample to evaluate on: give a data set that is not empty')
    return float(correct) / samples  # the device is waited for here, not in each batch


def observe(model, loaders):
    """What TrainingLog.end_epoch takes note of, as arguments; the model stays as it is, and nothing random is drawn."""
    logits, active = [], {}

    def forward(images):
        out = images.flatten(start_dim=1)
        for name, layer in named_layers(model):
            out = layer(out)
            if isinstance(layer, nn.ReLU):
                active[name] = active.get(name, False) | (out > 0).any(dim=0)
        logits.append(out)
        return out

    val_accuracy = evaluate_model(model, loaders['validation'], forward)
    return {
        'val_accuracy': val_accuracy,
        'val_loss': float(cross_entropy(torch.cat(logits), loaders['validation'].labels)),
        'gradient_norm': gradient_norms(model, *cifar10_utils.first_batch(loaders['train'])),
        'dead_relus': {name: float((~units).double().mean()) for name, units in active.items()},
    }


def gradient_norms(model, images, labels):
    """√Σ (∂L/∂θ)² over the parameters θ of each layer that has any, for one batch as it is trained on."""
    model = copy.deepcopy(model)  # which has no gradients yet, and whose running statistics may change
    model.train()
    cross_entropy(model(images), labels).backward()
    norms = {name: sum(param.grad.double().square().sum() for param in layer.parameters()).sqrt()
             for name, layer in named_layers(model) if hasattr(layer, 'weight')}
    return dict(zip(norms, torch.stack(list(norms.values())).tolist()))  # the device is waited for once


@torch.no_grad()
def sgd_step(model, lr):
    """θ ← θ − lr · ∂L/∂θ for every parameter θ of the model.

    What torch.optim.SGD does, bit for bit; but making the first optimizer imports PyTorch's compiler,
    which takes a second or two of each start.
    """
    for param in model.parameters():
        param.add_(param.grad, alpha=-lr)


def train_epoch(model, data_loader, lr, log):
    """One pass over the training data, noted in the log (training.log.TrainingLog)."""
    for images, labels in log.track(data_loader):
        logits = model(images)
        loss = cross_entropy(logits, labels)
        model.zero_grad()
        loss.backward()
        sgd_step(model, lr)
        log.step(loss.detach(), batch_accuracy(logits, labels))


@contextlib.contextmanager
def memory_errors():
    """Raise what PyTorch raises for want of memory, on a CPU or a GPU, as the MemoryError that it is for NumPy."""
    try:
        yield
    except RuntimeError as error:
        message = str(error).strip().partition('\n')[0]
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in message:
            raise MemoryError(message) from error
        raise


@memory_errors()
def train(hidden_dims, lr, use_batch_norm, batch_size, epochs, seed, data_dir, device='auto', verbose=True,
          after_epoch=None, make_model=MLP):
    """Train an MLP and keep the model of the epoch with the best validation accuracy.

    after_epoch: a function that is called with the model after each epoch; make_model: one that makes
    the model, with the arguments of MLP.
    Returns: that model, the validation accuracies per epoch, its test accuracy, and a dict with
    the course of training (training.log.TrainingLog.as_dict).
    Raises ValueError for settings that make no sense, MemoryError, training.log.Diverged,
    cifar10_utils.DataUnavailable.
    """
    check_settings(hidden_dims=hidden_dims, lr=lr, batch_size=batch_size, epochs=epochs, seed=seed)
    device = find_device(device)
    rank, world_size = data_parallel.rank_and_world_size()
    if batch_size % world_size:
        raise SettingsError(f'batch_size is {batch_size}, which {world_size} processes can not share equally: '
                            f'give a multiple of {world_size}')
    if use_batch_norm and hidden_dims and batch_size == world_size > 1 and device.type == 'cpu':
        raise SettingsError(f'batch_size is {batch_size}, one sample for each of {world_size} processes, which has no '
                            f'variance for batch normalization: give at least {2 * world_size}')
    np.random.seed(seed)
    cifar10 = cifar10_utils.get_cifar10(data_dir)
    loaders = cifar10_utils.get_dataloader(cifar10, batch_size, device=device, shard=(rank, world_size))

    model = make_model(CIFAR10.n_inputs, hidden_dims, CIFAR10.n_classes, use_batch_norm).to(device)
    replica = data_parallel.replica(model)

    # One process on a CPU can look at each loss as it comes, and stop at once where the run diverges.
    fetch = None if device.type == 'cpu' and world_size == 1 else data_parallel.fetch
    log = TrainingLog(epochs, lr, fetch, verbose and rank == 0, torch.get_num_threads())
    log.start(**observe(model, loaders))
    for _ in range(epochs):
        train_epoch(replica, loaders['train'], lr, log)
        data_parallel.average_buffers(model)
        seen = observe(model, loaders)
        seen['val_accuracy'] = data_parallel.as_in_first(seen['val_accuracy'], device)
        if log.end_epoch(**seen):
            best_model = copy.deepcopy(model)
        if after_epoch:
            after_epoch(model)

    best_model.eval()
    test_accuracy = evaluate_model(best_model, loaders['test'])
    last_test_accuracy = evaluate_model(model, loaders['test'])  # to compare with; it chooses nothing
    info = {**log.as_dict(), 'last_test_accuracy': last_test_accuracy,
            'environment': environment(['numpy', 'torch'], log.threads, device_name(device))}
    return best_model, log.val_accuracies, test_accuracy, info


def find_device(name):
    """The torch device that 'auto', 'cpu' or 'cuda' means here. Raises ValueError where it can't be had."""
    if name not in ('auto', 'cpu', 'cuda'):
        raise ValueError(f'device is {name}: give auto, cpu or cuda')
    if name == 'cuda' and not torch.cuda.is_available():
        raise ValueError('device is cuda, but PyTorch finds no CUDA here: give auto or cpu')
    if name == 'cpu' or not torch.cuda.is_available():
        return torch.device('cpu')
    index, processes = data_parallel.local_rank_and_world_size()  # each takes a GPU of its own
    if processes > torch.cuda.device_count():
        raise ValueError(f'device is {name}, but for {processes} processes there are {torch.cuda.device_count()} GPUs '
                         'here: start fewer or give cpu')
    torch.cuda.set_device(index)  # which nccl goes by
    return torch.device('cuda', index)


def device_name(device):
    """What to call the device in a result."""
    return torch.cuda.get_device_name(device) if device.type == 'cuda' else device.type


def _device(text):
    try:
        find_device(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(error) from error
    return text


def main():
    parser = command_line.make_parser(__doc__)
    parser.add_argument('--device', type=_device, default='auto',
                        help='auto, cpu or cuda; auto takes CUDA where there is one')
    with data_parallel.joined_processes():
        rank, world_size = data_parallel.rank_and_world_size()
        name = 'mlp_pytorch' if world_size == 1 else f'mlp_pytorch_processes{world_size}'
        command_line.main(name, train, parser, writes=rank == 0)


if __name__ == '__main__':
    main()
