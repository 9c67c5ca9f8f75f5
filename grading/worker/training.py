"""The requests to the PyTorch MLP and to the training scripts. PyTorch is imported only if it is needed."""

import contextlib
import importlib.util
import sys
import types
from unittest import mock

import numpy as np

from .watch import Watch


def torch_facts(thing):
    """Is it an nn.Module, does it have parameters, and a description of a problem with its device, or ''.

    Also the linear layers without a bias, and the classes of modules with parameters that are none of PyTorch's.
    """
    import torch
    from torch import nn
    if not isinstance(thing, nn.Module):
        return {'module': False}
    device, found = '', getattr(type(thing), 'device', None)
    try:  # nn.Module reports an AttributeError in a property as one of the property's own name
        value = found.fget(thing) if isinstance(found, property) else thing.device
        if not isinstance(value, (torch.device, str)):
            device = 'is a method: @property is missing' if callable(value) else f'gives {type(value).__name__}'
    except Exception as error:
        device = f'fails: {type(error).__name__}: {error}'.rstrip(': ') if found else 'is missing'
    no_bias = [name for name, module in nn.Module.named_modules(thing)
               if isinstance(module, nn.Linear) and module.bias is None]
    own = [type(module).__name__ for _, module in nn.Module.named_modules(thing)
           if not _torch_kind(module) and list(module.parameters(recurse=False))]
    return {'module': True, 'device': device, 'own': own, 'parameters': any(True for _ in thing.parameters()), 'no_bias': no_bias}


def _torch_kind(module):
    """The name of PyTorch's class of a module, '' if it has one of its own."""
    from torch import nn
    return next((base.__name__ for base in type(module).__mro__
                 if base.__module__.startswith('torch.nn') and base is not nn.Module), '')


def _leaves(thing):
    from torch import nn  # through the class, because a network may have its own attribute `modules`
    return [module for _, module in nn.Module.named_modules(thing) if not list(nn.Module.children(module))]


def torch_trace(thing, x, training):
    """forward(x), in training mode or not → its output, and of each leaf that it passes, in order: type, input, output.

    The linear layers first get weights of a usual size, because the weights of the 2018/19 edition start at 1e-4.
    """
    import torch
    thing.train(training)
    if any(map(torch.nn.parameter.is_lazy, thing.parameters())):
        thing(torch.from_numpy(x))
    passed, leaves = [], _leaves(thing)
    for leaf in leaves:
        if isinstance(leaf, torch.nn.Linear):
            for parameter in leaf.parameters():
                torch.nn.init.normal_(parameter)

    def wrap(leaf, forward):
        def traced(*args, **kwargs):
            into = [arg.clone() for arg in (*args, *kwargs.values()) if isinstance(arg, torch.Tensor)]  # it may change
            out = forward(*args, **kwargs)
            kind = _torch_kind(leaf) or type(leaf).__name__
            if into and isinstance(out, torch.Tensor):
                passed.append([kind, into[0], out.clone()])
            return out
        return traced

    for leaf in leaves:
        leaf.forward = wrap(leaf, leaf.forward)  # a call of leaf.forward passes no hook
    try:
        with torch.no_grad():
            out = thing(torch.from_numpy(x))
    finally:
        for leaf in leaves:
            del leaf.forward
    return {'out': out, 'passed': passed}


def torch_gradients(thing, x, labels):
    """The names of the parameters that cross-entropy of forward(x) sends no gradient to, or one that isn't finite.

    Without those of modules that forward does not call. Also whether forward gives the same twice in evaluation mode.
    """
    import torch
    thing.eval()
    with torch.no_grad():
        same = torch.equal(thing(torch.from_numpy(x)), thing(torch.from_numpy(x)))
    thing.train()
    called = set()
    with torch.nn.modules.module.register_module_forward_pre_hook(lambda module, _: called.add(module)):
        out = thing(torch.from_numpy(x))
    torch.nn.functional.cross_entropy(out, torch.from_numpy(labels)).backward()
    return {'same': same,
            'none': [name for name, parameter in thing.named_parameters() if parameter.requires_grad and parameter.grad is None
                     and thing.get_submodule(name.rpartition('.')[0]) in called],
            'not_finite': [name for name, parameter in thing.named_parameters()
                           if parameter.grad is not None and not torch.isfinite(parameter.grad).all()]}


def accuracy(module, predictions, targets, tensors):
    """accuracy(predictions, targets) of a training script; tensors: how many of the two are no arrays."""
    given = [predictions, targets]
    return importlib.import_module(module).accuracy(*map(_tensor, given[:tensors]), *given[tensors:])


def _tensor(array):
    import torch
    return torch.from_numpy(array)


BATCH = 20  # images in a batch, unless a script asks for another number


class Split:
    """A data set with the attributes of the course's own that training scripts use."""

    def __init__(self, images, *passes):
        self.images, self.passes = images, passes
        self.data = images.transpose(0, 2, 3, 1) if images.ndim == 4 else images
        self.classes = [str(label) for label in range(10)]
        self.indices, self.dataset = range(len(images)), self

    def __len__(self):
        return len(self.images)

    @property
    def targets(self):
        """The labels of this pass: the next begins when as many batches have been trained on as there are in one."""
        if Watch.now and len(self.passes) > 1:
            Watch.now.open_batch()
        done = Watch.now.trained if Watch.now else 0
        return self.passes[min(done * BATCH // len(self), len(self.passes) - 1)]

    def __getitem__(self, index):
        image = self.images[index]  # the course's own gives a tensor (ToTensor), also if its loaders give arrays
        return _tensor(image) if importlib.util.find_spec('torch') else image, int(self.targets[index])


class Loader:
    """Batches in order; `passes` holds the labels of the first pass, the second and so on, the last for the rest.

    A pass without training, such as that for the accuracy on the training set, is none of these.
    """

    def __init__(self, images, passes, batch_size, torch_kind, name=''):
        self.images, self.passes, self.batch_size, self.torch_kind = images, passes, batch_size, torch_kind
        self.name, self.drop_last, self.split = name, name == 'train', None
        self.dataset = Split(images, *passes)
        self.labels = _tensor(passes[0]) if torch_kind else passes[0]  # as in the loaders of this project

    def __getitem__(self, split):  # some take it for the dict of the loaders
        self.split = str(split)
        return self

    def __len__(self):
        return len(self.images) // self.batch_size if self.drop_last else -(-len(self.images) // self.batch_size)

    def __iter__(self):
        done = Watch.now.trained if Watch.now else 0
        labels = self.passes[min(done // len(self), len(self.passes) - 1)]
        for batch in range(len(self)):
            if Watch.now and not batch:
                Watch.now.reads.append([self.name, done])
            if Watch.now and self.name == 'train':
                Watch.now.open_batch()
            where = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            pair = self.images[where].copy(), labels[where].copy()
            yield tuple(map(_tensor, pair)) if self.torch_kind else pair


def _right_accuracy(predictions, targets):
    """For a script whose own accuracy is incorrect, so that this is not an error of its other functions, too."""
    predictions, targets = (array if isinstance(array, np.ndarray) else array.detach().cpu().numpy()
                            for array in (predictions, targets))
    return (predictions.argmax(axis=1) == (targets.argmax(axis=1) if targets.ndim == 2 else targets)).mean()


def _script(module, own_accuracy):
    """A context in which the script has its own accuracy, or a right one, and the script."""
    script = importlib.import_module(module)
    if own_accuracy or not hasattr(script, 'accuracy'):
        return contextlib.nullcontext(), script
    return mock.patch.object(script, 'accuracy', _right_accuracy), script


def evaluate(module, predictions, labels, batch_size, torch_kind, own_accuracy):
    """Call evaluate_model with a model whose outputs are in its input → the result, and its changes of the model."""
    seen, classes = {'training': [], 'grad': []}, predictions.shape[1]
    images = np.zeros((len(predictions), 3, 32, 32), np.float32)  # some solutions expect 3072 numbers each
    images.reshape(len(images), -1)[:, :classes] = predictions
    if torch_kind:
        import torch

        class Model(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.scale = torch.nn.Parameter(torch.ones(()))

            def forward(self, x):
                seen['training'].append(self.training)
                seen['grad'].append(torch.is_grad_enabled())
                return x.reshape(len(x), -1)[:, :classes] * self.scale

            @property
            def device(self):
                return self.scale.device
    else:
        class Model:
            training = True

            def forward(self, x):
                return x.reshape(len(x), -1)[:, :classes].copy()

            def ignore(self, *args):
                pass

            __call__, train, eval, clear_cache = forward, ignore, ignore, ignore
    model, loader = Model(), Loader(images, [labels], batch_size, torch_kind)
    context, script = _script(module, own_accuracy)
    with context:
        result = script.evaluate_model(model, loader)
    if isinstance(result, tuple):
        result = result[0]
    if isinstance(result, dict):
        result = result.get('accuracy')
    return {'result': result, 'training': any(seen['training']), 'grad': any(seen['grad']), 'after': model.training,
            'split': loader.split}


def use_data(images, labels, torch_kind):
    """Put a tiny data set in the place of cifar10_utils: arrays by split; of 'train' the labels of each pass."""
    data = types.ModuleType('cifar10_utils')

    def get_cifar10(*args, **kwargs):
        return {split: Split(images[split], *labels[split]) for split in images}

    def get_dataloader(dataset=None, batch_size=BATCH, return_numpy=None, **kwargs):
        if Watch.now:
            Watch.now.batch_sizes.append(batch_size)
        tensors = torch_kind if return_numpy is None else not return_numpy
        return {split: Loader(images[split], labels[split], batch_size, tensors, split) for split in images}

    data.first_batch = lambda loader: next(iter(loader))  # of this project
    def missing(name):
        if name.startswith('_'):  # libraries look for such names in every module
            raise AttributeError(name)
        raise ImportError(f'the grader gives its own cifar10_utils, which has no {name}')

    data.__getattr__, data.DataSet = missing, Split  # the name in the editions up to 2020
    data.get_cifar10, data.get_dataloader, data.cifar10_loader = get_cifar10, get_dataloader, get_dataloader
    sys.modules['cifar10_utils'] = data


def train(module, arguments, images, torch_kind, own_accuracy):
    """train(…) of a training script → validation accuracies, test accuracy, and the model's outputs for `images`.

    Also what was noted meanwhile (see watch.py), and whether each output depends on its own image alone.
    """
    firsts = {float(image.flat[0]): split for split, of_split in images.items() for image in of_split}
    context, script = _script(module, own_accuracy)
    with context, Watch(torch_kind, firsts) as noted:
        returned = script.train(**arguments)
    unchanged, largest = noted.changes()
    facts = {'made': noted.made, 'batch_sizes': noted.batch_sizes, 'modes': sorted(noted.modes), 'start': noted.start(),
             'trained_on': sorted(noted.trained_on), 'reads': noted.reads, 'trained': noted.trained,
             'unchanged': unchanged, 'largest': largest, 'steps': noted.steps,
             'added': noted.stepped or len(noted.added) > 2 and all(noted.added[1:])}
    if not isinstance(returned, (tuple, list)) or len(returned) < 3:
        raise TypeError('it should return model, val_accuracies, test_accuracy, logging_info')
    model, val_accuracies, test_accuracy, *_ = returned
    try:
        *validation, test = [float(value) for value in (*val_accuracies, test_accuracy)]
        if isinstance(val_accuracies, dict):
            raise TypeError
    except TypeError:
        raise TypeError('val_accuracies should be a list of numbers, and test_accuracy a number') from None

    def forward(x):
        if not torch_kind:
            return model.forward(x)
        import torch
        model.eval()
        with torch.no_grad():
            return model(torch.from_numpy(x).to(next(model.parameters()).dtype)).double().numpy()

    outputs, steady = {}, True
    for split, x in images.items():
        try:
            outputs[split] = forward(x)
        except Exception:  # images may have to be flat
            x = x.reshape(len(x), -1)
            outputs[split] = forward(x)
        halves = np.concatenate([forward(x[:20]), forward(x[20:])])
        steady &= np.allclose(halves, outputs[split], rtol=1e-3, atol=1e-6, equal_nan=True)
    return {'validation': validation, 'test': test, 'outputs': outputs, 'steady': bool(steady), **facts}
