"""Train the PyTorch MLP on CIFAR-10 with mini-batch SGD (Q2.1; NumPy counterpart: train_mlp_numpy.py).

Example: python train_mlp_pytorch.py --hidden_dims 512 256 128 --use_batch_norm --epochs 20
A run writes mlp_pytorch….json (every number), .png (the curves) and .npz (the best model) to --results_dir.
Every setting that differs from its default is part of the file name.
"""

import os
import sys

if __name__ == '__main__':
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # missing if PYTHONSAFEPATH is set
    import console.start  # noqa: F401 (an error in an import below becomes one line)
import copy

import numpy as np
import torch
from torch.nn.functional import cross_entropy

import cifar10_utils
from cifar10 import description
from mlp_pytorch import MLP
from training import command_line, data_parallel
from training.devices import device_name, find_device, memory_errors
from training.log import TrainingLog
from training.results import environment
from training.settings import check_settings


def accuracy(predictions, targets):
    """Fraction of samples whose largest prediction (S, C) is at the target class (S,), a float in [0, 1]."""
    if targets.shape != predictions.shape[:1]:
        raise ValueError(f'targets have shape {tuple(targets.shape)}: it must be {tuple(predictions.shape[:1])}')
    return float((predictions.argmax(dim=1) == targets).double().mean())


def batch_accuracy(predictions, targets):
    """The accuracy as a tensor on the device, without synchronizing."""
    return (predictions.argmax(dim=1) == targets).float().mean()


@torch.no_grad()
def predict(model, data_loader):
    """The predictions (S, C) and labels (S,) for all samples of the loader, in evaluation mode."""
    was_training = model.training
    model.eval()
    pairs = [(model(images), labels) for images, labels in data_loader]
    model.train(was_training)
    if not pairs:
        raise ValueError('there is no sample to evaluate on: the data set must not be empty')
    predictions, labels = zip(*pairs)
    return torch.cat(predictions), torch.cat(labels)


def evaluate_model(model, data_loader):
    """Average accuracy of the model over all samples of the loader; NaN if a prediction is not finite."""
    predictions, labels = predict(model, data_loader)
    return accuracy(predictions, labels) if predictions.isfinite().all() else float('nan')


@torch.no_grad()
def sgd_step(model, lr):
    """θ ← θ − lr · ∂L/∂θ for every parameter θ of the model.

    The same as torch.optim.SGD, bit for bit; but making the first optimizer imports PyTorch's compiler, which adds
    a second or two to each start.
    """
    for param in model.parameters():
        param.add_(param.grad, alpha=-lr)


def train_epoch(model, data_loader, lr, log):
    """One pass over the training data."""
    for images, labels in log.track(data_loader):
        logits = model(images)
        loss = cross_entropy(logits, labels)
        model.zero_grad()
        loss.backward()
        sgd_step(model, lr)
        log.step(loss.detach(), batch_accuracy(logits, labels))


@memory_errors()
def train(hidden_dims, lr, use_batch_norm, batch_size, epochs, seed, data_dir, device='auto', verbose=True,
          after_epoch=None, make_model=MLP, **network):
    """Train an MLP and keep the model of the epoch with the best validation accuracy.

    network: more arguments of MLP. after_epoch: a function that is called with the model after each epoch.
    make_model: a function that makes the model, with the arguments of MLP.
    Returns that model, the validation accuracies per epoch, its test accuracy, and a dict with the course of the
    training (TrainingLog.as_dict). Raises SettingsError, Diverged, DataUnavailable, MemoryError.
    """
    check_settings(hidden_dims=hidden_dims, lr=lr, batch_size=batch_size, epochs=epochs, seed=seed, device=device,
                   use_batch_norm=use_batch_norm, **network)
    device = find_device(device)
    shard = rank, world_size = data_parallel.rank_and_world_size()
    data_parallel.check_batch_size(batch_size, use_batch_norm and len(hidden_dims), device)
    np.random.seed(seed)

    loaders = cifar10_utils.get_dataloader(cifar10_utils.get_cifar10(data_dir), batch_size, device=device, shard=shard)
    model = make_model(description.CIFAR10.n_inputs, hidden_dims, description.CIFAR10.n_classes,
                       use_batch_norm, **network).to(device)
    replica = data_parallel.replica(model)

    # One process on a CPU can check each loss as it comes, and stop at once if the run diverges.
    fetch = None if device.type == 'cpu' and world_size == 1 else data_parallel.fetch
    log = TrainingLog(epochs, lr, fetch, verbose and rank == 0, torch.get_num_threads())
    log.start(float(cross_entropy(*predict(model, loaders['validation']))))
    best_accuracy = -1
    for _ in range(epochs):
        train_epoch(replica, loaders['train'], lr, log)
        data_parallel.average_buffers(model)
        predictions, labels = predict(model, loaders['validation'])
        val_loss, val_accuracy = float(cross_entropy(predictions, labels)), accuracy(predictions, labels)
        val_accuracy = data_parallel.as_in_first(val_accuracy, device)
        log.end_epoch(val_loss, val_accuracy)
        if val_accuracy > best_accuracy:
            best_accuracy, best_model = val_accuracy, copy.deepcopy(model)
        if after_epoch:
            after_epoch(model)

    best_model.eval()
    test_accuracy = evaluate_model(best_model, loaders['test'])
    info = {**log.as_dict(), 'last_test_accuracy': evaluate_model(model, loaders['test']),  # to compare with
            'environment': environment(['numpy', 'torch'], log.threads, device_name(device))}
    return best_model, log.val_accuracies, test_accuracy, info


def main():
    with data_parallel.joined_processes():
        rank, world_size = data_parallel.rank_and_world_size()
        name = 'mlp_pytorch' if world_size == 1 else f'mlp_pytorch_processes{world_size}'
        command_line.main(name, train, MLP, __doc__, writes=rank == 0)


if __name__ == '__main__':
    main()
