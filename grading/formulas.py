"""The formulas that more than one part needs: softmax, the activations by their names, the largest epsilon."""

from dataclasses import dataclass

import numpy as np

MAX_EPSILON = 2e-2  # a larger one in the logarithm changes the loss too much to be called an epsilon


def softmax(x):
    """The reference: exp(X_ij) / Σ_k exp(X_ik), in float64."""
    exp = np.exp(x - x.max(axis=1, keepdims=True))
    return exp / exp.sum(axis=1, keepdims=True)


def softmax_gradient(y, D):
    return y * (D - (D * y).sum(axis=1, keepdims=True))


@dataclass
class Kind:
    """One activation: its name, its function and slope, from x and its parameter; the parameter's usual value."""

    name: str
    formula: str
    function: object
    slope: object
    parameter: float = 1.0
    words: tuple = ()  # parts of the names that the parameter goes by


def _sigmoid(x):
    return 1 / (1 + np.exp(-x))


KINDS = [  # the first whose name is a part of the class's name counts; LeakyReLU before ReLU before ELU
    Kind('leaky', 'max(X, 0) + slope · min(X, 0)', lambda x, a: np.where(x > 0, x, a * x),
         lambda x, a: np.where(x > 0, 1.0, a), 0.1, ('slope', 'alpha', 'leak')),
    Kind('selu', 'SELU(X)', lambda x, a: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)),
         lambda x, a: 1.0507009873554805 * np.where(x > 0, 1.0, 1.6732632423543772 * np.exp(x))),
    Kind('relu', 'max(X, 0)', lambda x, a: np.maximum(x, 0), lambda x, a: np.where(x > 0, 1.0, 0.0)),
    Kind('elu', 'X where X > 0, α (exp(X) − 1) elsewhere', lambda x, a: np.where(x > 0, x, a * np.expm1(x)),
         lambda x, a: np.where(x > 0, 1.0, a * np.exp(x)), 1.0, ('alpha',)),
    Kind('sigmoid', '1 / (1 + exp(−X))', lambda x, a: _sigmoid(x), lambda x, a: _sigmoid(x) * (1 - _sigmoid(x))),
    Kind('tanh', 'tanh(X)', lambda x, a: np.tanh(x), lambda x, a: 1 - np.tanh(x) ** 2),
    Kind('softplus', 'log(1 + exp(X))', lambda x, a: np.log1p(np.exp(x)), lambda x, a: _sigmoid(x)),
]
NOT_BY_NAME = ('gelu', 'celu', 'prelu', 'rrelu', 'relu6', 'crelu', 'lrelu', 'hardtanh', 'hardsigmoid')  # by its own forward


def kind_of(name):
    lower = name.lower().replace('_', '')
    if any(word in lower for word in NOT_BY_NAME):
        return None
    return next((kind for kind in KINDS if kind.name in lower), None)
