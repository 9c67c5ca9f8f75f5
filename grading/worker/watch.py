"""What is noted while a training script runs: its MLPs, their batches and gradients, and its passes over the data."""

import contextlib
import sys
from unittest import mock

import numpy as np


class Watch(contextlib.ExitStack):
    """Notes what happens while it is active.

    made: the arguments of each MLP. batch_sizes: those that the script asks for. trained: the number of batches that it
    has trained on. reads: (split, trained) of each pass over a loader. trained_on: the splits of batches before a backward.
    modes: 'evaluated in training mode', 'trained in evaluation mode'. added: of each backward, were there gradients
    already? stepped: was there one after a step of the optimizer? steps: of each backward of a NumPy MLP, what its gradients
    were multiplied by until the next forward; NaN if the step is no multiple of them.
    """

    now = None  # the active one

    def __init__(self, torch_kind, firsts):
        """firsts: the first number of an image of the validation or the test set → its split."""
        super().__init__()
        self.torch_kind, self.firsts = torch_kind, firsts
        self.made, self.batch_sizes, self.reads, self.trained_on, self.modes = [], [], [], set(), set()
        self.added, self.stepped, self.steps = [], False, []
        self._before_step = {}  # of a NumPy MLP: its parameters and gradients after the last backward
        self.trained, self._model = 0, None  # _model: the last that got a batch
        self._made, self._started = [], []  # (MLP, its parameters) when it is made, and before its first backward
        self._is_open = self._has_stepped = False  # was there a batch without a backward, a step without one?
        self._split = self._training = None  # of the last batch that an MLP got
        self._may_be_evaluation = False  # was it one of the validation or test set, in training mode?

    def __enter__(self):
        Watch.now = self
        self.callback(setattr, Watch, 'now', None)
        self.callback(self.end_batch)
        mlp = sys.modules.get('mlp_pytorch' if self.torch_kind else 'mlp_numpy')
        linear = getattr(mlp, 'LinearModule', getattr(sys.modules.get('modules'), 'LinearModule', None))
        self._classes = [cls for cls in (getattr(mlp, 'MLP', None), linear) if cls]
        for cls in self._classes[:1]:
            self._before(cls, '__init__', lambda model, *args, **kwargs: self.made.append([*args, *kwargs.values()]),
                         lambda model: self._made.append((model, self._parameters(model))))
            self._before(cls, 'forward', self._note_batch)
        if self.torch_kind:
            import torch
            self._before(torch.Tensor, 'backward', lambda loss, *_, **__: self._note_gradients(loss.grad_fn))
            with contextlib.suppress(ImportError):  # of older versions
                from torch.optim.optimizer import register_optimizer_step_post_hook
                self.callback(register_optimizer_step_post_hook(self._note_step).remove)
        for cls in self._classes if not self.torch_kind else ():
            self._before(cls, 'backward', self._note_numpy_backward, self._note_gradients_of)
        return super().__enter__()

    def _before(self, cls, method, note, after=lambda thing: None):
        """Call `note` with the arguments before a method of a class, and `after` with its object after it."""
        original = getattr(cls, method)

        def noted(thing, *args, **kwargs):
            with contextlib.suppress(Exception):  # of unusual arguments
                note(thing, *args, **kwargs)
            value = original(thing, *args, **kwargs)
            with contextlib.suppress(Exception):
                after(thing)
            return value

        self.enter_context(mock.patch.object(cls, method, noted))

    def open_batch(self):
        """A batch of the training set is given."""
        self._is_open = True

    def _note_batch(self, model, x, *_, **__):
        first = float(x.reshape(-1)[0])
        self.end_batch()
        self._note_step_of(model)
        self._model = model
        self._split, self._training = self.firsts.get(first), getattr(model, 'training', None)
        self._may_be_evaluation = bool(self.torch_kind and self._split and self._training)

    def end_batch(self):
        """The last batch was one of an evaluation if there was no backward after it."""
        if self._may_be_evaluation:
            self.modes.add('evaluated in training mode')

    def _note_backward(self):
        self._may_be_evaluation = False
        if self._model is not None and not any(self._model is model for model, _ in self._started):
            self._started.append((self._model, self._parameters(self._model)))
        self.trained += self._is_open
        self._is_open = False
        if self._split:
            self.trained_on.add(self._split)
        if self.torch_kind and self._training is False:
            self.modes.add('trained in evaluation mode')

    def _note_numpy_backward(self, thing, *_, **__):
        self._note_backward()
        if isinstance(thing, self._classes[0]):
            self.added.append(any(has_gradient for _, has_gradient in self._parameters(thing).values()))

    def _note_gradients_of(self, thing):
        """After a backward of a NumPy MLP, or of a linear module."""
        if isinstance(thing, self._classes[0]):
            self._before_step = {name: (np.array(linear.params[key]), np.array(linear.grads[key]))
                                 for name, (linear, key) in self._arrays(thing).items()}

    def _note_step_of(self, model):
        """Before the next forward: by what factor were the gradients taken?"""
        before, self._before_step = self._before_step, {}
        if before:
            now = self._arrays(model)
            step, gradient = (np.concatenate([array.ravel() for array in arrays]) for arrays in zip(*(
                (old - linear.params[key], grad) for name, (old, grad) in before.items() for linear, key in [now[name]])))
            factor = step @ gradient / (gradient @ gradient)
            fits = np.abs(step - factor * gradient).max() <= 1e-3 * np.abs(step).max()
            self.steps.append(float(factor) if fits else np.nan)

    def _note_step(self, *_):
        self._has_stepped = True

    def _note_gradients(self, node):
        self._note_backward()
        self.added.append(_has_gradients(node))
        self.stepped |= self.added[-1] and self._has_stepped
        self._has_stepped = False

    def _parameters(self, model):
        """{name: (its numbers, copied, and whether it has a gradient other than zero)}"""
        if self.torch_kind:
            return {name: (parameter.detach().cpu().numpy().copy(), parameter.grad is not None and bool(parameter.grad.any()))
                    for name, parameter in model.named_parameters()}
        return {name: (np.array(linear.params[key]), bool(np.any(linear.grads[key])))
                for name, (linear, key) in self._arrays(model).items()}

    def _arrays(self, model):
        """{name: (linear module, key)} of the parameters of a NumPy MLP."""
        from .operations import reach  # which imports this file
        found = []
        reach(model, tuple(self._classes[1:]), set(), found)
        return {f'{key} of linear layer {number}': (linear, key)
                for number, linear in enumerate(found, 1) for key in linear.params}

    def changes(self):
        """The names of parameters that training did not change, though they have a gradient; and the largest change.

        Of the MLP whose parameters changed most, of those with a backward. The largest change is -1 if the MLPs have no
        parameters.
        """
        found = []
        for model, before in self._started or self._made[:1]:
            now = self._parameters(model)
            changes = {name: float(np.abs(now[name][0] - before[name][0]).max()) for name in before if name in now}
            found.append((max(changes.values(), default=-1.0), [
                name for name, change in changes.items() if not change and now[name][1]]))
        largest, unchanged = max(found, default=(-1.0, []))
        return (unchanged, largest) if np.isfinite(largest) else ([], 1.0)

    def start(self):
        """The sum of the first parameter of the first MLP before training, 0 if there is none."""
        return float(sum(array.sum() for _, before in self._started[:1] for array, _ in list(before.values())[:1]))


def _has_gradients(node):
    """Does a parameter that a node of the graph depends on have a gradient, one that is not zero?"""
    nodes = [node]
    for node in nodes:  # the list grows in the loop
        nodes += [following for following, _ in getattr(node, 'next_functions', ()) if following not in nodes]
        gradient = getattr(getattr(node, 'variable', None), 'grad', None)
        if gradient is not None and gradient.any():
            return True
    return False
