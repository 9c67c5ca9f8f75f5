"""An MLP of the solution, what it is made of, and what a net with the same weights should compute."""

from dataclasses import dataclass

import numpy as np

from grading.activation_part import kind_of
from grading.interface import Malformed
from grading.softmax_part import softmax, softmax_gradient
from grading.telling import attempt

INPUTS, CLASSES = 5, 3


@dataclass
class Net:
    """An MLP of the solution: the object, its linear modules in order, its activations and softmax modules."""

    thing: object
    linears: list
    activations: list  # (reference, class name), each object once
    softmaxes: int


@dataclass
class Reference:
    """What the net should compute: weights (N, M) and biases (N,) by layer, h and h′ of the hidden layers."""

    weights: list
    biases: list
    function: object
    slope: object
    value: float = None  # of the activation's parameter

    def forward(self, x):
        """→ the inputs of the linear layers, their outputs, the probabilities."""
        inputs, outputs = [], []
        for W, b in zip(self.weights, self.biases):
            inputs.append(self.function(outputs[-1]) if outputs else x)
            outputs.append(inputs[-1] @ W.T + b)
        return inputs, outputs, softmax(outputs[-1])

    def gradients(self, x, D, through_softmax=True, slopes=True):
        """∂L/∂W and ∂L/∂b by layer, from D = ∂L/∂probabilities."""
        inputs, outputs, y = self.forward(x)
        d = softmax_gradient(y, D) if through_softmax else D
        found = []
        for layer in reversed(range(len(self.weights))):
            found.insert(0, (d.T @ inputs[layer], d.sum(axis=0)))
            d = d @ self.weights[layer]
            if layer and slopes:
                d = d * self.slope(outputs[layer - 1])
        return found

    def variant(self, x, activation=True, last=False, softmaxes=1, first=False):
        """The probabilities of a net that is put together in another way."""
        for layer, (W, b) in enumerate(zip(self.weights, self.biases)):
            is_last = layer == len(self.weights) - 1
            x = (self.function(x) if first and not layer else x) @ W.T + b
            if (activation and not is_last) or (last and is_last):
                x = self.function(x)
        for _ in range(softmaxes):
            x = softmax(x)
        return x


def build(context, hidden, inputs=INPUTS, classes=CLASSES):
    """An MLP and what it is made of. Raises Failed or Malformed where it can't be built or isn't what was asked."""
    session = context.session
    thing = session.new('mlp_numpy', 'MLP', [inputs, list(hidden), classes])
    wanted = ['LinearModule', *context.activations, 'SoftMaxModule']
    names = [name for name, *_ in session.classes('modules')]
    wanted = [name for name in wanted if name in names]
    kinds = [['modules', name] for name in wanted]
    found = session.ask('find', target=thing.ref, classes=kinds)
    if not any(wanted[index] == 'LinearModule' for _, index in found):  # it may make its layers at the first forward
        attempt(lambda: thing.call('forward', np.ones((2, inputs))))
        found = session.ask('find', target=thing.ref, classes=kinds)
    linears, activations, softmaxes = [], [], 0
    for ref, index in found:
        if wanted[index] == 'LinearModule':
            linears.append(context.linear.around(ref))
        elif wanted[index] == 'SoftMaxModule':
            softmaxes += 1
        else:
            activations.append((ref, wanted[index]))
    sizes = [inputs, *hidden, classes]
    expected = list(zip(sizes[1:], sizes))
    linears = _in_order(linears, expected)
    shapes = [linear.shape for linear in linears]
    if shapes != expected:
        raise WrongSizes(f'MLP({inputs}, {hidden}, {classes}) has {chain_of_sizes(shapes)}; it should have '
                         f'{chain_of_sizes(expected)}')
    return Net(thing, linears, activations, softmaxes)


class WrongSizes(Malformed):
    """The linear layers of an MLP have other sizes than asked for."""


def chain_of_sizes(shapes):
    return 'the linear layers ' + ', '.join(f'{m}→{n}' for n, m in shapes) if shapes else 'no linear layer'


def _in_order(linears, expected):
    """The linear modules in the order of the net; found in another where their sizes say so."""
    by_shape = {linear.shape: linear for linear in linears}
    if len(by_shape) == len(linears) == len(expected) and set(by_shape) == set(expected):
        return [by_shape[shape] for shape in expected]
    return linears


def reference_for(context, net):
    """Weights of our own in the net, and the Reference that has the same."""
    weights, biases = [], []
    for linear in net.linears:
        out_features, in_features = linear.shape
        linear.set_parameters(context.rng.normal(size=linear.shape) * 1.5 / np.sqrt(in_features),
                              context.rng.normal(size=out_features) * 0.5)
        weights.append(linear.parameter('weight').astype(float))
        biases.append(linear.parameter('bias').astype(float))
    return Reference(weights, biases, *_activation_of(context, net))


def _activation_of(context, net):
    """h, h′ and the parameter of the activation in the net: by its name and by what its object gives."""
    names = [name for _, name in net.activations] or list(context.activations)
    kind = kind_of(names[0]) if names else None
    value = kind.parameter if kind else 1.0
    if net.activations and (kind is None or kind.words):
        ref = net.activations[0][0]

        def ask(x):
            return context.session.ask('call', target=ref, method='forward', args=[np.array(x)])['value']

        probed = attempt(lambda: ask(np.array([[-30.0, -1.0]])))
        if kind is None:
            return ask, lambda x: (ask(x + 1e-6) - ask(x - 1e-6)) / 2e-6, None
        if isinstance(probed, np.ndarray) and np.isfinite(probed).all() and not context.activations[names[0]].wrong:
            value = -float(probed.ravel()[0]) if kind.name == 'elu' else -float(probed.ravel()[1])
    if kind is None:  # a net without activation objects: a function of its own
        kind = kind_of('relu')
    return (lambda x: kind.function(x, value)), (lambda x: kind.slope(x, value)), value
