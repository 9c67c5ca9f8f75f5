"""The requests to the PyTorch MLP and to the training scripts. PyTorch is imported only if it is needed."""

import contextlib
import importlib.util
import sys
import types
from unittest import mock

import numpy as np


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
    """The names of the parameters that cross-entropy of forward(x) sends no gradient to, or one that isn't finite."""
    import torch
    thing.train()
    torch.nn.functional.cross_entropy(thing(torch.from_numpy(x)), torch.from_numpy(labels)).backward()
    return {'none': [name for name, parameter in thing.named_parameters()
                     if parameter.requires_grad and parameter.grad is None],
            'not_finite': [name for name, parameter in thing.named_parameters()
                           if parameter.grad is not None and not torch.isfinite(parameter.grad).all()]}


def accuracy(module, predictions, targets, tensors):
    """accuracy(predictions, targets) of a training script; tensors: how many of the two are no arrays."""
    given = [predictions, targets]
    return importlib.import_module(module).accuracy(*map(_tensor, given[:tensors]), *given[tensors:])


def _tensor(array):
    import torch
    return torch.from_numpy(array)


class Split:
    """A data set with the attributes of the course's own that training scripts use."""

    def __init__(self, images, labels):
        self.images, self.targets = images, labels
        self.data = images.transpose(0, 2, 3, 1) if images.ndim == 4 else images
        self.classes = [str(label) for label in range(10)]
        self.indices, self.dataset = range(len(images)), self

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]  # the course's own gives a tensor (ToTensor), also if its loaders give arrays
        return _tensor(image) if importlib.util.find_spec('torch') else image, int(self.targets[index])


class Loader:
    """Batches in order; `passes` holds the labels of the first pass, the second and so on, the last for the rest."""

    def __init__(self, images, passes, batch_size, torch_kind, drop_last=False):
        self.images, self.passes, self.batch_size, self.torch_kind = images, passes, batch_size, torch_kind
        self.drop_last, self.given, self.split = drop_last, 0, None
        self.dataset = Split(images, passes[0])
        self.labels = _tensor(passes[0]) if torch_kind else passes[0]  # as in the loaders of this project

    def __getitem__(self, split):  # some take it for the dict of the loaders
        self.split = str(split)
        return self

    def __len__(self):
        return len(self.images) // self.batch_size if self.drop_last else -(-len(self.images) // self.batch_size)

    def __iter__(self):
        labels = self.passes[min(self.given // len(self), len(self.passes) - 1)]
        for batch in range(len(self)):
            self.given += 1  # counted in batches: a look at the first one is no pass
            where = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            pair = self.images[where].copy(), labels[where].copy()
            yield tuple(map(_tensor, pair)) if self.torch_kind else pair


def evaluate(module, predictions, labels, batch_size, torch_kind):
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
    result = importlib.import_module(module).evaluate_model(model, loader)
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
        return {split: Split(images[split], labels[split][0]) for split in images}

    def get_dataloader(dataset=None, batch_size=20, return_numpy=None, **kwargs):
        tensors = torch_kind if return_numpy is None else not return_numpy
        return {split: Loader(images[split], labels[split], batch_size, tensors, drop_last=split == 'train')
                for split in images}

    data.first_batch = lambda loader: next(iter(loader))  # of this project
    def missing(name):
        if name.startswith('_'):  # libraries look for such names in every module
            raise AttributeError(name)
        raise ImportError(f'the grader gives its own cifar10_utils, which has no {name}')

    data.__getattr__, data.DataSet = missing, Split  # the name in the editions up to 2020
    data.get_cifar10, data.get_dataloader, data.cifar10_loader = get_cifar10, get_dataloader, get_dataloader
    sys.modules['cifar10_utils'] = data


def train(module, arguments, images, torch_kind):
    """train(…) of a training script → validation accuracies, test accuracy, and the model's outputs for `images`.

    Also the arguments of each MLP that it makes, whether the gradients of all batches add up, and whether an MLP of
    PyTorch gets these images in training mode.
    """
    script = importlib.import_module(module)
    firsts = {float(image.flat[0]) for of_split in images.values() for image in of_split}
    with _watch('mlp_pytorch' if torch_kind else 'mlp_numpy', torch_kind, firsts) as (made, added, modes):
        returned = script.train(**arguments)
    if not isinstance(returned, (tuple, list)) or len(returned) < 3:
        raise TypeError('it should return model, val_accuracies, test_accuracy, logging_info')
    model, val_accuracies, test_accuracy, *_ = returned
    try:
        *validation, test = [float(value) for value in (*val_accuracies, test_accuracy)]
    except TypeError:
        raise TypeError('val_accuracies should be a list of numbers, and test_accuracy a number') from None

    def forward(x):
        if not torch_kind:
            return model.forward(x)
        import torch
        model.eval()
        with torch.no_grad():
            return model(torch.from_numpy(x))

    outputs = {}
    for split, x in images.items():
        try:
            outputs[split] = forward(x)
        except Exception:  # images may have to be flat
            outputs[split] = forward(x.reshape(len(x), -1))
    return {'validation': validation, 'test': test, 'outputs': outputs, 'made': made,
            'added': len(added) > 2 and all(added[1:]), 'evaluated_in_training_mode': any(modes)}


@contextlib.contextmanager
def _watch(module, torch_kind, firsts):
    """→ lists: the arguments of each MLP that is made; of each backward of PyTorch, were there gradients already? of each
    batch that begins with one of the numbers `firsts`, was the MLP in training mode?
    """
    made, added, modes = [], [], []
    with contextlib.ExitStack() as stack:
        if cls := getattr(sys.modules.get(module), 'MLP', None):
            begin = cls.__init__

            def note_arguments(self, *args, **kwargs):
                made.append([*args, *kwargs.values()])
                begin(self, *args, **kwargs)

            stack.enter_context(mock.patch.object(cls, '__init__', note_arguments))
        if torch_kind:
            import torch
            go_back = torch.Tensor.backward

            def note_mode(self, inputs):
                if inputs and isinstance(inputs[0], torch.Tensor) and inputs[0].flatten()[:1].tolist()[0] in firsts:
                    modes.append(self.training)

            def note_gradients(self, *args, **kwargs):
                added.append(_has_gradients(self.grad_fn))
                return go_back(self, *args, **kwargs)

            stack.enter_context(mock.patch.object(torch.Tensor, 'backward', note_gradients))
            stack.enter_context(torch.nn.modules.module.register_module_forward_pre_hook(note_mode))
        yield made, added, modes


def _has_gradients(node):
    """Does a parameter that a node of the graph depends on have a gradient, one that is not zero?"""
    nodes = [node]
    for node in nodes:  # the list grows in the loop
        nodes += [following for following, _ in getattr(node, 'next_functions', ()) if following not in nodes]
        gradient = getattr(getattr(node, 'variable', None), 'grad', None)
        if gradient is not None and gradient.any():
            return True
    return False
