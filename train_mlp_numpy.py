"""Train the NumPy MLP on CIFAR-10 with mini-batch SGD (Q1.2); its twin is train_mlp_pytorch.py."""

import copy
import math

import numpy as np

import cifar10_utils
from cifar10.description import CIFAR10
from mlp_numpy import MLP
from modules import CrossEntropyModule, ReLUModule
from training import command_line
from training.log import TrainingLog
from training.models import named_layers
from training.results import environment
from training.settings import check_settings
from training.threads import numpy_threads


def accuracy(predictions, targets):
    """Share of the rows of predictions (S, C) that are largest at the target (S,): a float in [0, 1]."""
    return float((predictions.argmax(axis=1) == targets).mean())


def evaluate_model(model, data_loader, forward=None):
    """Average accuracy of the model over all samples of the loader; NaN where a prediction is not finite.

    model: anything whose forward turns images into rows of scores; where it has modes, as with batch
    normalization, it is evaluated in evaluation mode and left in the one it was in.
    forward: called in place of the model's own, for those who watch what happens inside (`observe`).
    Raises ValueError where the loader has no sample.
    """
    was_training = getattr(model, 'training', None)
    if was_training is not None:
        model.eval()
    correct = samples = 0
    for images, labels in data_loader:
        predictions = (forward or model.forward)(images)
        correct += accuracy(predictions, labels) * len(labels) if np.isfinite(predictions).all() else math.nan
        samples += len(labels)
    if hasattr(model, 'clear_cache'):
        model.clear_cache()
    if was_training is not None:
        model.train(was_training)
    if not samples:
        raise ValueError('there is no sample to evaluate on: give a data set that is not empty')
    return correct / samples


def observe(model, loaders):
    """What TrainingLog.end_epoch takes note of, as arguments; the model stays as it is, and nothing random is drawn."""
    predictions, active = [], {}

    def forward(images):
        out = images.reshape(len(images), -1)
        for name, layer in named_layers(model):
            out = layer.forward(out)
            if isinstance(layer, ReLUModule):
                active[name] = active.get(name, False) | (out > 0).any(axis=0)
        predictions.append(out)
        return out

    val_accuracy = evaluate_model(model, loaders['validation'], forward)
    return {
        'val_accuracy': val_accuracy,
        'val_loss': CrossEntropyModule().forward(np.concatenate(predictions), loaders['validation'].labels),
        'gradient_norm': gradient_norms(model, *cifar10_utils.first_batch(loaders['train'])),
        'dead_relus': {name: float((~units).mean()) for name, units in active.items()},
    }


def gradient_norms(model, images, labels):
    """√Σ (∂L/∂θ)² over the parameters θ of each layer that has any, for one batch as it is trained on."""
    model = copy.deepcopy(model)  # whose gradients and running statistics may change
    model.train()
    predictions = model.forward(images)
    model.backward(CrossEntropyModule().backward(predictions, labels))
    return {name: math.sqrt(sum(np.square(grad, dtype=np.float64).sum() for grad in layer.grads.values()))
            for name, layer in named_layers(model) if hasattr(layer, 'grads')}


def sgd_step(model, lr):
    """θ ← θ − lr · ∂L/∂θ for every parameter θ of the model. Leaves lr · ∂L/∂θ in `grads`."""
    for layer in model.layers:
        for name, grad in getattr(layer, 'grads', {}).items():
            grad *= lr  # in place: another array of the size of the weights costs twice the time of the update
            layer.params[name] -= grad


def train_epoch(model, data_loader, lr, log):
    """One pass over the training data, noted in the log (training.log.TrainingLog)."""
    loss_module = CrossEntropyModule()
    for images, labels in log.track(data_loader):
        predictions = model.forward(images)
        loss = loss_module.forward(predictions, labels)
        model.backward(loss_module.backward(predictions, labels))
        sgd_step(model, lr)
        log.step(loss, accuracy(predictions, labels))


@np.errstate(over='ignore', invalid='ignore')  # where a run diverges, the log stops it and says so
def train(hidden_dims, lr, batch_size, epochs, seed, data_dir, use_batch_norm=False, verbose=True):
    """Train an MLP and keep the model of the epoch with the best validation accuracy.

    Returns: that model, the validation accuracies per epoch, its test accuracy, and a dict with
    the course of training (training.log.TrainingLog.as_dict).
    Raises ValueError for settings that make no sense, training.log.Diverged,
    cifar10_utils.DataUnavailable.
    """
    check_settings(hidden_dims=hidden_dims, lr=lr, batch_size=batch_size, epochs=epochs, seed=seed)
    np.random.seed(seed)
    cifar10 = cifar10_utils.get_cifar10(data_dir)
    loaders = cifar10_utils.get_dataloader(cifar10, batch_size, return_numpy=True)

    model = MLP(CIFAR10.n_inputs, hidden_dims, CIFAR10.n_classes, use_batch_norm=use_batch_norm, dtype=np.float32)

    log = TrainingLog(epochs, lr, verbose=verbose, threads=numpy_threads())
    log.start(**observe(model, loaders))
    for _ in range(epochs):
        train_epoch(model, loaders['train'], lr, log)
        if log.end_epoch(**observe(model, loaders)):
            best_model = copy.deepcopy(model)

    best_model.eval()
    test_accuracy = evaluate_model(best_model, loaders['test'])
    last_test_accuracy = evaluate_model(model, loaders['test'])  # to compare with; it chooses nothing
    info = {**log.as_dict(), 'last_test_accuracy': last_test_accuracy,
            'environment': environment(['numpy'], log.threads, device='cpu')}
    return best_model, log.val_accuracies, test_accuracy, info


def main():
    parser = command_line.make_parser(__doc__)
    command_line.main('mlp_numpy', train, parser)


if __name__ == '__main__':
    main()
