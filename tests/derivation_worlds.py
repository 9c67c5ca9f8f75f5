"""The arrays of the letters in docs/derivations.md, section by section; the definitions of the page, in NumPy.

∂L/∂Y is to be any matrix: so, if nothing else is said, L = Σ Y ∘ D with random D.
"""

import itertools
import re

import numpy as np

from formulas import World

S, M, N, C = 7, 5, 4, 3
SIZES = {'S': S, 'M': M, 'N': N, 'C': C}


def tools(rng):
    """Section 1: Y = sin(XV) and L = Σ Y³, so that every Y_ij of a row depends on every X_mn of it."""
    start, v = rng.normal(size=(S, M)), rng.normal(size=(M, N))
    return World({
        **SIZES, 'I': np.eye(M), r'\mathbf{1}': np.ones((M, 1)), 'size': M, 't': 1.0, 'V': v,
        **{name: rng.normal(size=size) for name, size in zip('PQpqx', [(M, M), (M, M), (S, 1), (M, 1), (S, 1)])},
        'X': lambda world: start * np.sin(world['t'] * (1 + start**2)), 'Y': lambda world: np.sin(world['X'] @ v),
        'L': lambda world: (world['Y'] ** 3).sum(), 'D': lambda world: 3 * world['Y'] ** 2})


def samples(rng, shape, ones=S, **values):
    """A world with 𝟏 and, if the shape of Y is given, D and L."""
    loss = {'D': (d := rng.normal(size=shape)), 'L': lambda world: (world['Y'] * d).sum()} if shape else {}
    return World({**SIZES, r'\mathbf{1}': np.ones((ones, 1)), **loss, **values})


def affine(x, weight, bias):
    return lambda world: world[x] @ world[weight].T + world[bias]


def linear(rng):
    """Section 2."""
    return samples(rng, (S, N), X=rng.normal(size=(S, M)), W=rng.normal(size=(N, M)), b=rng.normal(size=(1, N)),
                   B=lambda world: np.ones((S, 1)) @ world['b'], Y=affine('X', 'W', 'b'))


def activation(rng, function=np.tanh, slope=lambda x: 1 - np.tanh(x) ** 2):
    """Section 3."""
    world = samples(rng, (S, M), X=rng.normal(size=(S, M)), Y=lambda world: function(world['X']))
    world.functions = {'h': lambda world, x: function(x), "h'": lambda world, x: slope(x)}
    return world


def relu(rng):
    return activation(rng, lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0))


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)


def softmax_module(rng):
    """Section 4; x and y are one row of X and Y, as columns."""
    x = rng.normal(size=(S, C))
    return samples(rng, (S, C), e=np.e, X=x, R=lambda world: np.exp(world['X']).sum(axis=1), x=x[:1].T,
                   Y=lambda world: softmax(world['X']), y=lambda world: softmax(world['x'].T).T, ones=C)


def cross_entropy(rng):
    """Section 5: X are probabilities."""
    return samples(rng, None, X=rng.dirichlet(np.ones(C), size=S), T=rng.dirichlet(np.ones(C), size=S),
                   **{r'\ell': lambda world: -(world['T'] * np.log(world['X'])).sum(axis=1)},
                   L=lambda world: world[r'\ell'].mean())


def softmax_with_cross_entropy(rng):
    """Section 6: X are logits."""
    world = softmax_module(rng).having({'u': rng.normal(size=(S, 1)), 'T': rng.dirichlet(np.ones(C), size=S),
                                        'L': lambda world: -(world['T'] * np.log(world['Y'])).sum() / S})
    world.functions = {r'\mathrm{softmax}': lambda world, x: softmax(x)}
    return world


def kaiming(rng):
    """Section 7, without luck: the arrays hold each possible draw once, so that expectations are exact.

    A weight is √v or −√v. The a_k depend on one another, are symmetric and have one variance; x = max(a, 0). The d_j
    depend on one another too, but not on W or the signs of a.
    """
    inputs, units = 3, 2
    a, d = rng.normal(size=(inputs, 4)) + 1, rng.normal(size=(units, 4))
    a, d = (values / np.sqrt((values**2).mean(axis=1, keepdims=True)) for values in (a, d))
    a = np.sqrt(2) * np.concatenate([a, -a], axis=1)  # Var[a_k] = 2, so that E[x_k²] = 1
    signs = np.array(list(itertools.product([-1.0, 1.0], repeat=units * inputs)))
    signs = np.repeat(signs.reshape(-1, units, inputs).transpose(1, 2, 0), a.shape[1], axis=2)
    draws = signs.shape[2]
    random = {
        'a': np.tile(a, draws // a.shape[1]), 'x': lambda world: np.maximum(world['a'], 0),
        'd': np.tile(d, draws // d.shape[1]), 'W': lambda world: np.sqrt(world['v']) * signs,
        'y': lambda world: np.einsum('jkd,kd->jd', world['W'], world['x']),
        'c': lambda world: (world['a'] > 0) * np.einsum('jd,jkd->kd', world['d'], world['W']),
    }
    return World({'M': inputs, 'N': units, 'v': 0.3, **random}, draws=random)


def output(world, x, mean, variance):
    """Batch normalization of x with this mean and variance."""
    return world[r'\gamma'] * (x - mean) / np.sqrt(variance + world[r'\epsilon']) + world[r'\beta']


def normalized(rng, world, name):
    """The world with batch normalization of the matrix `name`."""
    return world.having({
        r'\gamma': rng.normal(size=(1, N)), r'\beta': rng.normal(size=(1, N)), r'\epsilon': 1e-5,
        r'\mu': lambda world: world[name].mean(axis=0, keepdims=True),
        r'\sigma': lambda world: np.sqrt(((world[name] - world[r'\mu']) ** 2).mean(axis=0, keepdims=True)),
        's': lambda world: np.sqrt(world[r'\sigma'] ** 2 + world[r'\epsilon']),
        rf'\hat{{{name}}}': lambda world: (world[name] - world[r'\mu']) / world['s'],
        'Y': lambda world: world[r'\gamma'] * world[rf'\hat{{{name}}}'] + world[r'\beta']})


def batch_norm(rng):
    """Section 8; the running estimates have some values, and follow one more batch."""
    x, mean, variance = rng.normal(1, 2, size=(S, N)), rng.normal(size=(1, N)), rng.uniform(1, 2, size=(1, N))
    return normalized(rng, samples(rng, (S, N), X=x), 'X').having({
        r'\bar{\mu}': mean, r'\bar{\mu} \leftarrow': 0.9 * mean + 0.1 * x.mean(axis=0),
        r'\bar{\sigma}': np.sqrt(variance),
        r'\bar{\sigma} ^ 2 \leftarrow': 0.9 * variance + 0.1 * x.var(axis=0, ddof=1)})


def at_evaluation(world):
    """Result 8.3: the running estimates instead of the statistics of the batch."""
    mean, std = world[r'\bar{\mu}'], world[r'\bar{\sigma}']
    return world.having({'Y': lambda world: output(world, world['X'], mean, std**2)})


def linear_before_batch_norm(rng):
    """Result 8.4: X, W, b, then A, which is normalized. L' is the loss at W' = αW."""
    def normalize(world, a):
        return output(world, a, a.mean(axis=0), a.var(axis=0))

    world = normalized(rng, linear(rng).having({'A': affine('X', 'W', 'b')}), 'A').having({
        r'\epsilon': 0.5, r'\alpha': 3.0, "W'": lambda world: world[r'\alpha'] * world['W'],
        "L'": lambda world: (normalize(world, affine('X', "W'", 'b')(world)) * world['D']).sum()})
    world.functions = {r'\mathrm{BN}': normalize}
    return world


def score_of_a_class(rng):
    """Section 10: pixels P, and the scores Z of a network with one hidden layer, one chosen in each row by T."""
    return samples(
        rng, None, P=rng.uniform(size=(S, M)), W=rng.normal(size=(N, M)), b=rng.normal(size=(1, N)),
        V=rng.normal(size=(C, N)), c=rng.normal(size=(1, C)), T=np.eye(C)[rng.integers(C, size=S)],
        **{r'\mu': rng.uniform(size=(1, M)), r'\sigma': rng.uniform(0.2, 0.3, size=(1, M))},
        X=lambda world: (world['P'] - world[r'\mu']) / world[r'\sigma'], A=affine('X', 'W', 'b'),
        H=lambda world: np.maximum(world['A'], 0), Z=affine('H', 'V', 'c'),
        L=lambda world: (world['T'] * world['Z']).sum())


def of_section(number, formula, rng):
    """The world in which a formula of the section is to hold."""
    if number == 8 and re.search('[AW]', formula):
        return linear_before_batch_norm(rng)
    return {1: tools, 2: linear, 3: activation, 4: softmax_module, 5: cross_entropy, 6: softmax_with_cross_entropy,
            7: kaiming, 8: batch_norm, 9: linear, 10: score_of_a_class}[number](rng)
