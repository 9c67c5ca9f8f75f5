"""What the letters of docs/derivations.md stand for, section by section; the definitions of the page, in NumPy.

∂L/∂Y is to be any matrix: so where nothing else is said, L = Σ Y ∘ D with random D.
"""

import itertools
import re

import numpy as np

from indexed_arrays import World

S, M, N, C = 7, 5, 4, 3
SIZES = {'S': S, 'M': M, 'N': N, 'C': C}


def tools(rng):
    """Section 1: Y = sin(XV) and L = Σ Y³, so that every Y_ij of a row depends on every X_mn of it."""
    start, v = rng.normal(size=(S, M)), rng.normal(size=(M, N))
    return World({
        **SIZES, 'I': np.eye(M), r'\mathbf{1}': np.ones((M, 1)), 'size': M,
        'P': rng.normal(size=(M, M)), 'Q': rng.normal(size=(M, M)),
        'p': rng.normal(size=(S, 1)), 'q': rng.normal(size=(M, 1)), 'x': rng.normal(size=(S, 1)),
        't': 1.0, 'X': lambda world: start * np.sin(world['t'] * (1 + start**2)),
        'Y': lambda world: np.sin(world['X'] @ v), 'L': lambda world: (world['Y'] ** 3).sum(),
        'D': lambda world: 3 * world['Y'] ** 2, 'V': v,
    })


def linear(rng):
    """Section 2."""
    return World({
        **SIZES, r'\mathbf{1}': np.ones((S, 1)), 'X': rng.normal(size=(S, M)), 'W': rng.normal(size=(N, M)),
        'b': rng.normal(size=(1, N)), 'B': lambda world: np.ones((S, 1)) @ world['b'],
        'Y': lambda world: world['X'] @ world['W'].T + world['b'], **weighted_sum(rng.normal(size=(S, N))),
    })


def weighted_sum(d):
    return {'D': d, 'L': lambda world: (world['Y'] * d).sum()}


def activation(rng, function=np.tanh, slope=lambda x: 1 - np.tanh(x) ** 2):
    """Section 3."""
    functions = {'h': lambda world, x: function(x), "h'": lambda world, x: slope(x)}
    return World({**SIZES, 'X': rng.normal(size=(S, M)), 'Y': lambda world: function(world['X']),
                  **weighted_sum(rng.normal(size=(S, M)))}, functions)


def relu(rng):
    return activation(rng, lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0))


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)


def softmax_module(rng):
    """Section 4; x and y are one row of X and Y, as columns."""
    x = rng.normal(size=(S, C))
    return World({
        **SIZES, r'\mathbf{1}': np.ones((C, 1)), 'e': np.e, 'X': x, 'R': lambda world: np.exp(world['X']).sum(axis=1),
        'Y': lambda world: softmax(world['X']), 'x': x[:1].T, 'y': lambda world: softmax(world['x'].T).T,
        **weighted_sum(rng.normal(size=(S, C))),
    })


def cross_entropy(rng):
    """Section 5: X are probabilities."""
    return World({**SIZES, 'X': rng.dirichlet(np.ones(C), size=S), 'T': rng.dirichlet(np.ones(C), size=S),
                  r'\ell': lambda world: -(world['T'] * np.log(world['X'])).sum(axis=1),
                  'L': lambda world: world[r'\ell'].mean()})


def softmax_with_cross_entropy(rng):
    """Section 6: X are logits."""
    return World({
        **SIZES, r'\mathbf{1}': np.ones((C, 1)), 'e': np.e, 'X': rng.normal(size=(S, C)), 'u': rng.normal(size=(S, 1)),
        'T': rng.dirichlet(np.ones(C), size=S), 'Y': lambda world: softmax(world['X']),
        'L': lambda world: -(world['T'] * np.log(world['Y'])).sum() / S,
    }, {r'\mathrm{softmax}': lambda world, x: softmax(x)})


def kaiming(rng):
    """Section 7, without luck: all that may be drawn is in the arrays once, so that expectations are exact.

    A weight is √v or −√v. The a_k depend on one another, are symmetric and have one variance; x = max(a, 0). The d_j
    depend on one another too, but not on W or the signs of a.
    """
    inputs, units = 3, 2
    a = rng.normal(size=(inputs, 4)) + 1
    a *= np.sqrt(2 / (a**2).mean(axis=1, keepdims=True))
    a = np.concatenate([a, -a], axis=1)  # Var[a_k] = 2, so that E[x_k²] = 1
    d = rng.normal(size=(units, 4))
    d /= np.sqrt((d**2).mean(axis=1, keepdims=True))
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=units * inputs)))
    signs = np.repeat(signs.reshape(-1, units, inputs).transpose(1, 2, 0), a.shape[1], axis=2)
    random = {
        'a': np.tile(a, signs.shape[2] // a.shape[1]), 'x': lambda world: np.maximum(world['a'], 0),
        'W': lambda world: np.sqrt(world['v']) * signs,
        'y': lambda world: np.einsum('jkd,kd->jd', world['W'], world['x']),
        'd': np.tile(d, signs.shape[2] // 4),
        'c': lambda world: (world['a'] > 0) * np.einsum('jd,jkd->kd', world['d'], world['W']),
    }
    return World({'M': inputs, 'N': units, 'v': 0.3, **random}, draws=random)


def batch_norm_values(rng, name):
    """Batch normalization of the matrix `name`, and a loss."""
    return {
        r'\gamma': rng.normal(size=(1, N)), r'\beta': rng.normal(size=(1, N)), r'\epsilon': 1e-5,
        r'\mu': lambda world: world[name].mean(axis=0, keepdims=True),
        r'\sigma': lambda world: np.sqrt(((world[name] - world[r'\mu']) ** 2).mean(axis=0, keepdims=True)),
        's': lambda world: np.sqrt(world[r'\sigma'] ** 2 + world[r'\epsilon']),
        rf'\hat{{{name}}}': lambda world: (world[name] - world[r'\mu']) / world['s'],
        'Y': lambda world: world[r'\gamma'] * world[rf'\hat{{{name}}}'] + world[r'\beta'],
        **weighted_sum(rng.normal(size=(S, N))),
    }


def batch_norm(rng):
    """Section 8; the running estimates begin somewhere, and are followed one batch further."""
    x = rng.normal(1, 2, size=(S, N))
    mean, variance = rng.normal(size=(1, N)), rng.uniform(1, 2, size=(1, N))
    return World({
        **SIZES, r'\mathbf{1}': np.ones((S, 1)), 'X': x, **batch_norm_values(rng, 'X'),
        r'\bar{\mu}': mean, r'\bar{\mu} \leftarrow': 0.9 * mean + 0.1 * x.mean(axis=0),
        r'\bar{\sigma}': np.sqrt(variance),
        r'\bar{\sigma} ^ 2 \leftarrow': 0.9 * variance + 0.1 * x.var(axis=0, ddof=1),
    })


def at_evaluation(world):
    """Result 8.3: the running estimates in place of the statistics of the batch."""
    def output(world):
        std = np.sqrt(world[r'\bar{\sigma}'] ** 2 + world[r'\epsilon'])
        return world[r'\gamma'] * (world['X'] - world[r'\bar{\mu}']) / std + world[r'\beta']

    return world.having({'Y': output})


def linear_before_batch_norm(rng):
    """Result 8.4: X, W, b, then A, which is normalized. L' and Y' are those at W' = αW."""
    def normalize(world, a):
        return (world[r'\gamma'] * (a - a.mean(axis=0)) / np.sqrt(a.var(axis=0) + world[r'\epsilon']) + world[r'\beta'])

    d = rng.normal(size=(S, N))
    return World({
        **SIZES, r'\mathbf{1}': np.ones((S, 1)), 'X': rng.normal(size=(S, M)), 'W': rng.normal(size=(N, M)),
        'b': rng.normal(size=(1, N)), 'A': lambda world: world['X'] @ world['W'].T + world['b'],
        **batch_norm_values(rng, 'A'), **weighted_sum(d), r'\epsilon': 0.5, r'\alpha': 3.0,
        "W'": lambda world: world[r'\alpha'] * world['W'],
        "L'": lambda world: (normalize(world, world['X'] @ world["W'"].T + world['b']) * d).sum(),
    }, {r'\mathrm{BN}': normalize})


def score_of_a_class(rng):
    """Section 10: pixels P, and the scores Z of a net with one hidden layer, one chosen in each row by T."""
    return World({
        **SIZES, r'\mathbf{1}': np.ones((S, 1)), 'P': rng.uniform(size=(S, M)), r'\mu': rng.uniform(size=(1, M)),
        r'\sigma': rng.uniform(0.2, 0.3, size=(1, M)), 'W': rng.normal(size=(N, M)), 'b': rng.normal(size=(1, N)),
        'V': rng.normal(size=(C, N)), 'c': rng.normal(size=(1, C)), 'T': np.eye(C)[rng.integers(C, size=S)],
        'X': lambda world: (world['P'] - world[r'\mu']) / world[r'\sigma'],
        'A': lambda world: world['X'] @ world['W'].T + world['b'], 'H': lambda world: np.maximum(world['A'], 0),
        'Z': lambda world: world['H'] @ world['V'].T + world['c'],
        'L': lambda world: (world['T'] * world['Z']).sum(),
    })


def of_section(number, formula, rng):
    """The world in which a formula of the section is to hold."""
    if number == 8 and re.search('[AW]', formula):
        return linear_before_batch_norm(rng)
    return {1: tools, 2: linear, 3: activation, 4: softmax_module, 5: cross_entropy, 6: softmax_with_cross_entropy,
            7: kaiming, 8: batch_norm, 9: linear, 10: score_of_a_class}[number](rng)
