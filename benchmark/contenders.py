"""The contenders of the benchmark: functions that train one network for one epoch, ours and others.

Each contender is a function (data, hidden_dims, use_batch_norm, batch_size) → a function that
runs an epoch, or None if the contender cannot train that network. The preparation (converting the
data, making the model, compiling) is not measured.
"""

import importlib.util
import time
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import cross_entropy

import cifar10_utils
import train_mlp_numpy
import train_mlp_pytorch
from cifar10 import description
from mlp_numpy import MLP as NumpyMLP
from mlp_pytorch import MLP as TorchMLP
from training.log import TrainingLog

LR = 0.1
PAUSE_SECONDS = 0.1  # before a measurement, because the threads of the last one wait in a busy loop for a while
N_INPUTS, N_CLASSES = description.CIFAR10.n_inputs, description.CIFAR10.n_classes


class Data(NamedTuple):
    """dataset: of get_cifar10; images, labels: its training set as normalized float32 and as int64."""
    dataset: dict
    images: np.ndarray
    labels: np.ndarray

    @classmethod
    def of(cls, dataset):
        train = dataset['train']
        return cls(dataset, cifar10_utils.normalize_numpy(train.images), train.labels)


def products_of(arrays, transpose):
    """A function that computes the matrix products of one training step, with arrays made by `arrays(rows, columns)`.

    The products are forward, weight gradients, and input gradients of all layers except the first.
    The arrays are the same in each step, so they stay in the caches if they fit.
    """
    def make(batch_size, hidden_dims):
        sizes = [N_INPUTS, *hidden_dims, N_CLASSES]
        outs = [arrays(batch_size, size) for size in sizes]  # for each layer's output and for its gradient
        weights = [arrays(n, m) for m, n in zip(sizes, sizes[1:])]

        def step():
            for x, weight in zip(outs, weights):
                x @ transpose(weight)
            for layer in reversed(range(len(weights))):
                transpose(outs[layer + 1]) @ outs[layer]
                if layer:
                    outs[layer + 1] @ weights[layer]

        return step

    return make


numpy_products = products_of(lambda rows, columns: np.random.rand(rows, columns).astype(np.float32), np.transpose)
torch_products = products_of(torch.rand, torch.t)


def jax_products(batch_size, hidden_dims):
    """The same products in JAX, compiled together."""
    import jax

    sizes = [N_INPUTS, *hidden_dims, N_CLASSES]
    outs = [jax.numpy.asarray(np.random.rand(batch_size, size), 'float32') for size in sizes]
    weights = [jax.numpy.asarray(np.random.rand(n, m), 'float32') for m, n in zip(sizes, sizes[1:])]

    @jax.jit
    def step(outs, weights):
        return ([x @ weight.T for x, weight in zip(outs, weights)], [dout.T @ x for x, dout in zip(outs, outs[1:])],
                [dout @ weight for dout, weight in zip(outs[2:], weights[1:])])

    return lambda: jax.block_until_ready(step(outs, weights))


def _baseline(products):
    def prepare(data, hidden_dims, use_batch_norm, batch_size):
        step = products(batch_size, hidden_dims)
        steps = len(data.labels) // batch_size

        def epoch():
            for _ in range(steps):
                step()

        return epoch

    return prepare


def our_numpy(data, hidden_dims, use_batch_norm, batch_size):
    loader = cifar10_utils.get_dataloader(data.dataset, batch_size, return_numpy=True)['train']
    model = NumpyMLP(N_INPUTS, hidden_dims, N_CLASSES, use_batch_norm, dtype=np.float32)
    return lambda: train_mlp_numpy.train_epoch(model, loader, LR, _log())


def our_pytorch(data, hidden_dims, use_batch_norm, batch_size):
    loader = cifar10_utils.get_dataloader(data.dataset, batch_size)['train']
    model = TorchMLP(N_INPUTS, hidden_dims, N_CLASSES, use_batch_norm)
    return lambda: train_mlp_pytorch.train_epoch(model, loader, LR, _log())


def _log():
    return TrainingLog(1, LR, verbose=False)


def plain_pytorch(data, hidden_dims, use_batch_norm, batch_size):
    """PyTorch as in a tutorial, on normalized float32 images in memory."""
    images, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    model, optimizer = _torch_model(hidden_dims, use_batch_norm)

    def epoch():
        for index in torch.randperm(len(labels)).split(batch_size)[:len(labels) // batch_size]:
            _torch_step(model, optimizer, images[index], labels[index])

    return epoch


def data_loader(data, hidden_dims, use_batch_norm, batch_size):
    """The course's own pipeline: a DataLoader that converts and normalizes sample by sample."""
    loader = torch.utils.data.DataLoader(PerSample(data.dataset['train']), batch_size, shuffle=True, drop_last=True)
    model, optimizer = _torch_model(hidden_dims, use_batch_norm)

    def epoch():
        for images, labels in loader:
            _torch_step(model, optimizer, images, labels)

    return epoch


class PerSample(torch.utils.data.Dataset):
    """Converts each sample with the same operations as torchvision's CIFAR10 with ToTensor and Normalize."""

    mean, std = description.CIFAR10.mean, description.CIFAR10.std

    def __init__(self, dataset):
        self.images, self.labels = np.ascontiguousarray(dataset.images.transpose(0, 2, 3, 1)), dataset.labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        picture = Image.fromarray(self.images[index])
        # ToTensor
        tensor = torch.from_numpy(np.array(picture, np.uint8, copy=True))
        tensor = tensor.view(picture.size[1], picture.size[0], len(picture.getbands()))
        tensor = tensor.permute((2, 0, 1)).contiguous().to(torch.get_default_dtype()).div(255)
        # Normalize
        tensor = tensor.clone()
        mean, std = (torch.as_tensor(value, dtype=tensor.dtype, device=tensor.device)
                     for value in (self.mean, self.std))
        if (std == 0).any():
            raise ValueError('a standard deviation is 0')
        return tensor.sub_(mean.view(-1, 1, 1)).div_(std.view(-1, 1, 1)), int(self.labels[index])


def _torch_model(hidden_dims, use_batch_norm):
    model = TorchMLP(N_INPUTS, hidden_dims, N_CLASSES, use_batch_norm)
    return model, torch.optim.SGD(model.parameters(), LR)


def _torch_step(model, optimizer, images, labels):
    loss = cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def scikit_learn(data, hidden_dims, use_batch_norm, batch_size):
    """MLPClassifier with plain SGD; it has no batch normalization."""
    if use_batch_norm:
        return None
    from sklearn.neural_network import MLPClassifier

    images, labels = data.images.reshape(len(data.images), -1), data.labels
    model = MLPClassifier(hidden_dims, solver='sgd', alpha=0, batch_size=batch_size, learning_rate_init=LR, momentum=0)
    model.partial_fit(images[:batch_size], labels[:batch_size], classes=range(N_CLASSES))
    return lambda: model.partial_fit(images, labels)


def jax_jit(data, hidden_dims, use_batch_norm, batch_size):
    """JAX with a jit-compiled step, on normalized float32 images in memory."""
    import jax
    from jax import numpy as jnp

    images, labels = jnp.asarray(data.images), jnp.asarray(data.labels)
    sizes = [N_INPUTS, *hidden_dims, N_CLASSES]
    params = [{'weight': jnp.asarray(np.random.randn(n, m) * (2 / m) ** 0.5, jnp.float32), 'bias': jnp.zeros(n),
               'scale': jnp.ones(n), 'shift': jnp.zeros(n)} for m, n in zip(sizes, sizes[1:])]

    def loss_of(params, x, y):
        *hidden, last = params
        for layer in hidden:
            x = x @ layer['weight'].T + layer['bias']
            if use_batch_norm:
                x = (x - x.mean(0)) / jnp.sqrt(x.var(0) + 1e-5) * layer['scale'] + layer['shift']
            x = jax.nn.relu(x)
        log_probabilities = jax.nn.log_softmax(x @ last['weight'].T + last['bias'])
        return -jnp.take_along_axis(log_probabilities, y[:, None], axis=1).mean()

    @jax.jit
    def step(params, images, labels, index):
        loss, grads = jax.value_and_grad(loss_of)(params, images[index].reshape(batch_size, -1), labels[index])
        return jax.tree.map(lambda param, grad: param - LR * grad, params, grads), loss

    def epoch():
        nonlocal params
        order = np.random.permutation(len(labels))
        for start in range(0, len(labels) - batch_size + 1, batch_size):
            params, loss = step(params, images, labels, order[start:start + batch_size])
            float(loss)

    jax.block_until_ready(step(params, images, labels, np.arange(batch_size)))
    return epoch


def seconds_of(epoch):
    """Run the epoch and return its time in seconds."""
    time.sleep(PAUSE_SECONDS)
    start = time.perf_counter()
    epoch()
    return time.perf_counter() - start


OURS = {'NumPy MLP (this project)': our_numpy, 'PyTorch MLP (this project)': our_pytorch}
BASELINES = {'NumPy, matrix products only': _baseline(numpy_products),
             'PyTorch, matrix products only': _baseline(torch_products)}
OPTIONAL = [('sklearn', 'scikit-learn MLPClassifier', scikit_learn), ('jax', 'JAX, jit-compiled step', jax_jit),
            ('jax', 'JAX, matrix products only', _baseline(jax_products))]
# The MLPs of this project should not be slower than these.
PEERS = ['PyTorch, plain', 'scikit-learn MLPClassifier', 'JAX, jit-compiled step']
COURSE = 'course baseline (DataLoader)'


def contenders():
    """name → contender, for all contenders whose packages are installed."""
    installed = {name: contender for package, name, contender in OPTIONAL if importlib.util.find_spec(package)}
    return {**BASELINES, **OURS, 'PyTorch, plain': plain_pytorch, **installed, COURSE: data_loader}
