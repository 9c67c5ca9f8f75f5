"""A small right solution of the assignment, as the course hands it out, for the tests to change."""

from pathlib import Path

MODULES = '''
import numpy as np

class LinearModule(object):
    def __init__(self, in_features, out_features, input_layer=False):
        std = np.sqrt((1 if input_layer else 2) / in_features)
        self.params = {'weight': std * np.random.randn(out_features, in_features), 'bias': np.zeros(out_features)}
        self.grads = {'weight': np.zeros((out_features, in_features)), 'bias': np.zeros(out_features)}

    def forward(self, x):
        self.x = x
        return x @ self.params['weight'].T + self.params['bias']

    def backward(self, dout):
        self.grads['weight'] = dout.T @ self.x
        self.grads['bias'] = dout.sum(axis=0)
        return dout @ self.params['weight']

    def clear_cache(self):
        self.x = None

class ELUModule(object):
    def __init__(self, alpha):
        self.alpha = alpha

    def forward(self, x):
        self.x = x
        return np.where(x > 0, x, self.alpha * (np.exp(x) - 1))

    def backward(self, dout):
        return dout * np.where(self.x > 0, 1, self.alpha * np.exp(self.x))

    def clear_cache(self):
        self.x = None

class SoftMaxModule(object):
    def forward(self, x):
        e = np.exp(x - x.max(axis=1, keepdims=True))
        self.y = e / e.sum(axis=1, keepdims=True)
        return self.y

    def backward(self, dout):
        return self.y * (dout - (dout * self.y).sum(axis=1, keepdims=True))

    def clear_cache(self):
        self.y = None

class CrossEntropyModule(object):
    def forward(self, x, y):
        return -np.log(x[np.arange(len(y)), y]).mean()

    def backward(self, x, y):
        one_hot = np.eye(x.shape[1])[y]
        return -one_hot / x / len(y)
'''
MLP_NUMPY = '''
from modules import *

class MLP(object):
    def __init__(self, n_inputs, n_hidden, n_classes):
        self.layers = []
        sizes = [n_inputs, *n_hidden, n_classes]
        for i in range(len(n_hidden)):
            self.layers.append(LinearModule(sizes[i], sizes[i + 1], input_layer=i == 0))
            self.layers.append(ELUModule(alpha=1.0))
        self.layers.append(LinearModule(sizes[-2], sizes[-1], input_layer=not n_hidden))
        self.layers.append(SoftMaxModule())

    def forward(self, x):
        x = x.reshape(len(x), -1)
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dout):
        for layer in reversed(self.layers):
            dout = layer.backward(dout)

    def clear_cache(self):
        for layer in self.layers:
            layer.clear_cache()
'''
MLP_PYTORCH = '''
import torch.nn as nn

class MLP(nn.Module):
    def __init__(self, n_inputs, n_hidden, n_classes, use_batch_norm=False):
        super().__init__()
        layers = []
        for out in n_hidden:
            layers.append(nn.Linear(n_inputs, out))
            if use_batch_norm:
                layers.append(nn.BatchNorm1d(out))
            layers.append(nn.ELU())
            n_inputs = out
        layers.append(nn.Linear(n_inputs, n_classes))
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        return self.layers(x.flatten(1))

    @property
    def device(self):
        return next(self.parameters()).device
'''
TRAIN_MLP_NUMPY = '''
import copy
import numpy as np
import cifar10_utils
from mlp_numpy import MLP
from modules import CrossEntropyModule

def accuracy(predictions, targets):
    return (predictions.argmax(axis=1) == targets).mean()

def evaluate_model(model, data_loader):
    right = count = 0
    for x, y in data_loader:
        right += accuracy(model.forward(x.reshape(len(x), -1)), y) * len(y)
        count += len(y)
    return right / count

def train(hidden_dims, lr, batch_size, epochs, seed, data_dir):
    np.random.seed(seed)
    cifar10 = cifar10_utils.get_cifar10(data_dir)
    loaders = cifar10_utils.get_dataloader(cifar10, batch_size=batch_size, return_numpy=True)
    model, loss = MLP(3 * 32 * 32, hidden_dims, 10), CrossEntropyModule()
    best, best_model, accuracies = -1, None, []
    for epoch in range(epochs):
        for x, y in loaders['train']:
            out = model.forward(x.reshape(len(x), -1))
            model.backward(loss.backward(out, y))
            for layer in model.layers:
                for name in getattr(layer, 'params', []):
                    layer.params[name] -= lr * layer.grads[name]
        accuracies.append(evaluate_model(model, loaders['validation']))
        if accuracies[-1] > best:
            best, best_model = accuracies[-1], copy.deepcopy(model)
    return best_model, accuracies, evaluate_model(best_model, loaders['test']), {}
'''
TRAIN_MLP_PYTORCH = '''
import copy
import torch
import cifar10_utils
from mlp_pytorch import MLP

def accuracy(predictions, targets):
    return (predictions.argmax(dim=1) == targets).float().mean().item()

def evaluate_model(model, data_loader):
    mode = model.training
    model.eval()
    right = count = 0
    with torch.no_grad():
        for x, y in data_loader:
            right += accuracy(model(x.to(model.device)), y) * len(y)
            count += len(y)
    model.train(mode)
    return right / count

def train(hidden_dims, lr, use_batch_norm, batch_size, epochs, seed, data_dir):
    torch.manual_seed(seed)
    loaders = cifar10_utils.get_dataloader(cifar10_utils.get_cifar10(data_dir), batch_size=batch_size)
    model = MLP(3 * 32 * 32, hidden_dims, 10, use_batch_norm)
    optimizer, loss = torch.optim.SGD(model.parameters(), lr=lr), torch.nn.CrossEntropyLoss()
    best, best_model, accuracies = -1, None, []
    for epoch in range(epochs):
        model.train()
        for x, y in loaders['train']:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
        accuracies.append(evaluate_model(model, loaders['validation']))
        if accuracies[-1] > best:
            best, best_model = accuracies[-1], copy.deepcopy(model)
    return best_model, accuracies, evaluate_model(best_model, loaders['test']), {}
'''
NUMPY_HALF = {'modules.py': MODULES, 'mlp_numpy.py': MLP_NUMPY}
WHOLE = {**NUMPY_HALF, 'mlp_pytorch.py': MLP_PYTORCH, 'train_mlp_numpy.py': TRAIN_MLP_NUMPY,
         'train_mlp_pytorch.py': TRAIN_MLP_PYTORCH}


def write(folder, files=None, changes=()):
    """Write a solution → the folder. changes: (text in one of its files, what replaces it)."""
    files = dict(NUMPY_HALF if files is None else files)
    for old, new in changes:
        names = [name for name, text in files.items() if old in text]
        assert names, f'no file has {old!r}'
        files[names[0]] = files[names[0]].replace(old, new)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    return folder
