"""Train the NumPy MLP on CIFAR-10 with mini-batch SGD (Q1.2; PyTorch counterpart: train_mlp_pytorch.py).

Example: python train_mlp_numpy.py --hidden_dims 512 256 128 --use_batch_norm --epochs 20
A run writes mlp_numpy….json (every number), .png (the curves) and .npz (the best model) to --results_dir.
Every setting that differs from its default is part of the file name.
"""

import os
import sys

if __name__ == '__main__':
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # missing if PYTHONSAFEPATH is set
    import console.start  # noqa: F401 (an error in an import below becomes one line)
import copy

import numpy as np

import cifar10_utils
from cifar10 import description
from mlp_numpy import MLP
from modules import CrossEntropyModule
from training import command_line, threads
from training.log import TrainingLog
from training.results import environment
from training.settings import check_settings


def accuracy(predictions, targets):
    """Fraction of samples whose largest prediction (S, C) is at the target class (S,), a float in [0, 1]."""
    if targets.shape != predictions.shape[:1]:
        raise ValueError(f'targets have shape {targets.shape}: it must be {predictions.shape[:1]}')
    return float((predictions.argmax(axis=1) == targets).mean())


def predict(model, data_loader):
    """The predictions (S, C) and labels (S,) for all samples of the loader, in evaluation mode."""
    was_training = getattr(model, 'training', None)
    if was_training is not None:
        model.eval()
    pairs = [(model.forward(images), labels) for images, labels in data_loader]
    if hasattr(model, 'clear_cache'):
        model.clear_cache()
    if was_training is not None:
        model.train(was_training)
    if not pairs:
        raise ValueError('there is no sample to evaluate on: the data set must not be empty')
    predictions, labels = zip(*pairs)
    return np.concatenate(predictions), np.concatenate(labels)


def evaluate_model(model, data_loader):
    """Average accuracy of the model over all samples of the loader; NaN if a prediction is not finite."""
    predictions, labels = predict(model, data_loader)
    return accuracy(predictions, labels) if np.isfinite(predictions).all() else float('nan')


def sgd_step(model, lr):
    """θ ← θ − lr · ∂L/∂θ for every parameter θ of the model. Leaves lr · ∂L/∂θ in `grads`."""
    for layer in model.layers:
        for name, grad in getattr(layer, 'grads', {}).items():
            grad *= lr  # in place: a temporary array would double the time of the update
            layer.params[name] -= grad


def train_epoch(model, data_loader, lr, log):
    """One pass over the training data."""
    loss_module = CrossEntropyModule()
    for images, labels in log.track(data_loader):
        predictions = model.forward(images)
        loss = loss_module.forward(predictions, labels)
        model.backward(loss_module.backward(predictions, labels))
        sgd_step(model, lr)
        log.step(loss, accuracy(predictions, labels))


@np.errstate(over='ignore', invalid='ignore')  # if a run diverges, the log says so
def train(hidden_dims, lr, batch_size, epochs, seed, data_dir, verbose=True, **network):
    """Train an MLP and keep the model of the epoch with the best validation accuracy.

    network: more arguments of MLP, such as use_batch_norm=True.
    Returns that model, the validation accuracies per epoch, its test accuracy, and a dict with the course of the
    training (TrainingLog.as_dict). Raises SettingsError, Diverged, DataUnavailable.
    """
    check_settings(hidden_dims=hidden_dims, lr=lr, batch_size=batch_size, epochs=epochs, seed=seed, **network)
    np.random.seed(seed)

    loaders = cifar10_utils.get_dataloader(cifar10_utils.get_cifar10(data_dir), batch_size, return_numpy=True)
    model = MLP(description.CIFAR10.n_inputs, hidden_dims, description.CIFAR10.n_classes, dtype=np.float32, **network)

    log = TrainingLog(epochs, lr, verbose=verbose, threads=threads.numpy_threads())
    log.start(CrossEntropyModule().forward(*predict(model, loaders['validation'])))
    best_accuracy = -1
    for _ in range(epochs):
        train_epoch(model, loaders['train'], lr, log)
        predictions, labels = predict(model, loaders['validation'])
        val_loss, val_accuracy = CrossEntropyModule().forward(predictions, labels), accuracy(predictions, labels)
        log.end_epoch(val_loss, val_accuracy)
        if val_accuracy > best_accuracy:
            best_accuracy, best_model = val_accuracy, copy.deepcopy(model)

    best_model.eval()
    test_accuracy = evaluate_model(best_model, loaders['test'])
    info = {**log.as_dict(), 'last_test_accuracy': evaluate_model(model, loaders['test']),  # to compare with
            'environment': environment(['numpy'], log.threads, device='cpu')}
    return best_model, log.val_accuracies, test_accuracy, info


def main():
    command_line.main('mlp_numpy', train, MLP, __doc__)


if __name__ == '__main__':
    main()
