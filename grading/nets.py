"""An MLP of the solution, its layers, and the expected results of a network with the same weights."""

from dataclasses import dataclass

import numpy as np

from grading.diagnosis import attempt
from grading.formulas import kind_of, softmax, softmax_gradient
from grading.interface import Malformed

INPUTS, CLASSES = 5, 3


@dataclass
class Net:
    """An MLP of the solution: the object, its linear modules in order, its activations."""

    thing: object
    linears: list
    activations: list  # (reference, class name), each object once
    images: bool = False  # does it take only images?

    def forward(self, x):
        return self.thing.array('forward', x.reshape(len(x), 1, 1, -1) if self.images else x)


@dataclass
class Reference:
    """The expected network: weights (N, M) and biases (N,) of each layer, h and h′ of the hidden layers."""

    weights: list
    biases: list
    function: object
    slope: object
    value: float  # the activation's parameter, None if it has none

    def parameters(self):
        """W1, b1, W2, …: the weights and biases by name."""
        return {f'{name}{layer}': array for layer, pair in enumerate(zip(self.weights, self.biases), 1)
                for name, array in zip('Wb', pair)}

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

    def variant(self, x, activation=True, last=False, softmaxes=1, first=False, function=None):
        """The probabilities of a network that is assembled in another way, with another activation perhaps."""
        function = function or self.function
        for layer, (W, b) in enumerate(zip(self.weights, self.biases)):
            is_last = layer == len(self.weights) - 1
            x = (function(x) if first and not layer else x) @ W.T + b
            if (activation and not is_last) or (last and is_last):
                x = function(x)
        for _ in range(softmaxes):
            x = softmax(x)
        return x


def build(context, hidden, inputs=INPUTS, classes=CLASSES):
    """An MLP and its layers. Raises SolutionError or Malformed if it cannot be used."""
    session = context.session
    thing = session.new('mlp_numpy', 'MLP', [inputs, hidden, classes])

    def find():
        return session.ask('find', target=thing.ref, module='modules', classes=['LinearModule', *context.activations])

    found = find()
    if 'LinearModule' not in [name for _, name in found]:  # it may make its layers at the first forward
        attempt(lambda: thing.call('forward', np.ones((2, 1, 1, inputs) if context.images else (2, inputs))))
        found = find()
    linears = [context.linear.around(ref) for ref, name in found if name == 'LinearModule']
    activations = [(ref, name) for ref, name in found if name in context.activations]
    linears = _in_order(linears, _sizes(inputs, hidden, classes))
    check_sizes(inputs, hidden, [linear.shape for linear in linears], classes=classes)
    return Net(thing, linears, activations, context.images)


def _sizes(inputs, hidden, classes):
    """The shapes (N, M) of the weights of an MLP."""
    return list(zip([*hidden, classes], [inputs, *hidden]))


def check_sizes(inputs, hidden, shapes, verb='has', classes=CLASSES):
    """Raise WrongSizes if the weights of an MLP have wrong shapes."""
    expected = _sizes(inputs, hidden, classes)
    if shapes != expected:
        raise WrongSizes(f'MLP({inputs}, {hidden}, {classes}) {verb} {_in_words(shapes)}; it should have '
                         f'{_in_words(expected)}', only_the_last=shapes[:-1] == expected[:-1])


class WrongSizes(Malformed):
    """The linear layers of an MLP have wrong sizes; only_the_last: is only the size of the last layer wrong?"""

    def __init__(self, message, only_the_last):
        super().__init__(message)
        self.only_the_last = only_the_last


def _in_words(shapes):
    if not shapes:
        return 'no linear layer'
    return f'the linear layer{"s" * (len(shapes) > 1)} ' + ', '.join(f'{m}→{n}' for n, m in shapes)


def _in_order(linears, expected):
    """The linear modules in the order of the network, if their sizes determine it."""
    if sorted(linear.shape for linear in linears) == sorted(expected):
        return sorted(linears, key=lambda linear: expected.index(linear.shape))
    return linears


def reference_for(context, net):
    """Set the network's weights to our own → the Reference with the same weights."""
    weights, biases = [], []
    for linear in net.linears:
        out_features, in_features = linear.shape
        linear.set_parameters((context.rng.normal(size=linear.shape) * 1.5 / np.sqrt(in_features)).round(1),
                              (context.rng.normal(size=out_features) * 0.5).round(2))
        weights.append(linear.parameter('weight').astype(float))
        biases.append(linear.parameter('bias').astype(float))
    return Reference(weights, biases, *_activation_of(context, net))


def _activation_of(context, net):
    """h, h′ and the parameter of the network's activation, from its name and from its object's results."""
    if not net.activations:  # no activation object: use the one in modules.py, otherwise ReLU
        kind = next(filter(None, map(kind_of, context.activations)), kind_of('relu'))
        value = kind.parameter
    else:
        ref, name = net.activations[0]
        kind = kind_of(name)

        def ask(x):
            return context.session.ask('call', target=ref, method='forward', args=[x])['value']

        if kind is None:
            return ask, lambda x: (ask(x + 1e-6) - ask(x - 1e-6)) / 2e-6, None
        value = kind.parameter
        if kind.words and name not in context.faulty:
            probed = attempt(lambda: ask(np.array([[-30.0, -1.0]])))  # an object may take other shapes only
            if np.shape(probed) == (1, 2) and np.isfinite(probed).all():
                value = -float(probed[0, 0 if kind.name == 'elu' else 1])
    return (lambda x: kind.function(x, value)), (lambda x: kind.slope(x, value)), value
