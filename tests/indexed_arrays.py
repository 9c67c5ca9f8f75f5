"""Numbers for the letters of a formula: arrays with an axis per free index, matrices, and a world that has them.

See formulas.py, which reads the formulas.
"""

import copy
import re
from typing import NamedTuple

import numpy as np

INDEXED = re.compile(r"((?:\\(?:hat|bar)\{\\?\w+\})|\\?[A-Za-z]+'?)_(?:\{([a-z]+)\}|([a-z]))")  # name, its indices


class Value(NamedTuple):
    """A number, an array with a letter for each axis, or a matrix."""

    array: np.ndarray
    free: str | None  # the free indices, one letter per axis: none for a number; None for a matrix


def number(value):
    return Value(np.array(float(value)), '')


def matrix(array):
    """A matrix, or a number if it has one element."""
    return Value(array, None) if array.size > 1 else number(array.item())


class World:
    """The arrays that the letters stand for, or functions of the world that compute one, as Y from X.

    functions: those of the formulas, as h; draws: the random variables, whose last axis is one of equally likely draws.
    """

    def __init__(self, values, functions=None, draws=()):
        self.values, self.functions, self.draws, self.sizes = dict(values), functions or {}, set(draws), {}

    def __getitem__(self, name):
        if name not in self.values:
            raise ValueError(f'{name} stands for nothing here')
        value = self.values[name]
        return np.asarray(value(self) if callable(value) else value, dtype=np.float64)

    def having(self, changed):
        world = copy.copy(self)
        world.values = {**self.values, **changed}
        return world

    def measured(self, formula):
        """This world with the range of each index, taken from the arrays that have it."""
        world = self.having({})
        named = [(name, a or b) for name, a, b in INDEXED.findall(formula) if name in self.values]
        world.sizes = {letter: size for name, letters in named
                       for letter, size in zip(letters, without_unit_axes(self[name], letters, name in self.draws).shape)}
        return world

    def value(self, name, letters):
        """The value of a letter with its indices, None for a matrix; the axis of the draws has the letter ~."""
        array, is_draw = self[name], name in self.draws
        if letters is None and not is_draw:
            return matrix(array)
        return indexed(without_unit_axes(array, letters or '', is_draw), (letters or '') + '~' * is_draw)


def elementwise(operation, left, right):
    """Index by index; a free index of one side only is free in the result too. Matrices must have one shape."""
    if '' in (left.free, right.free):
        return Value(operation(left.array, right.array), right.free if left.free == '' else left.free)
    if None in (left.free, right.free):
        if left.free != right.free or left.array.shape != right.array.shape:
            raise ValueError(f'shapes {left.array.shape} and {right.array.shape} cannot be combined element-wise')
        return Value(operation(left.array, right.array), None)
    free = ''.join(dict.fromkeys(left.free + right.free))
    return Value(operation(aligned(left, free), aligned(right, free)), free)


def aligned(value, free):
    """The array with an axis for each letter of `free`, of size 1 for those that it lacks."""
    axes = [value.free.index(letter) for letter in free if letter in value.free]
    return value.array.transpose(axes)[tuple(slice(None) if letter in value.free else None for letter in free)]


def product(left, right, is_dot=False):
    """Index by index, or the matrix product; a number multiplies everything; the dot product of two columns."""
    if '' in (left.free, right.free) or None not in (left.free, right.free):
        return elementwise(np.multiply, left, right)
    if left.free != right.free:
        raise ValueError('a product of something with indices and a matrix')
    return number((left.array * right.array).sum()) if is_dot else matrix(left.array @ right.array)


def without_unit_axes(array, letters, is_draw=False):
    """A column or row loses the axis that has no letter."""
    axes = len(letters) + is_draw
    units = tuple(axis for axis in range(array.ndim) if array.shape[axis] == 1)
    array = array.squeeze(units[:max(array.ndim - axes, 0)])
    if array.ndim != axes:
        raise ValueError(f'{letters} for an array of shape {array.shape}')
    return array


def indexed(array, letters):
    """Give each axis its letter; a letter that comes twice takes the diagonal."""
    free = ''.join(dict.fromkeys(letters))
    return Value(np.einsum(array, [ord(c) % 52 for c in letters], [ord(c) % 52 for c in free]), free)


def reduced(value, letter, function):
    if letter not in (value.free or ''):
        raise ValueError(f'a sum over {letter}, which does not occur in it')
    return Value(function(value.array, axis=value.free.index(letter)), value.free.replace(letter, ''))


def derivative(numerator, world, name, letters, eps=1e-5):
    """∂numerator/∂name by central differences. The numerator is a function of the world.

    With letters, its free indices are those of the numerator and these; without, it has the shape of the variable.
    """
    variable, quotients = world[name], []
    for index in np.ndindex(variable.shape):
        step = np.zeros(variable.shape)
        step[index] = eps
        above, below = (numerator(world.having({name: value})) for value in (variable + step, variable - step))
        quotients.append((above.array - below.array) / (2 * eps))
    array = np.stack(quotients, axis=-1).reshape(quotients[0].shape + variable.shape)
    if letters is not None:
        return indexed(without_unit_axes(array, above.free + letters), above.free + letters)
    if above.free == '' or variable.ndim == 0:  # the derivative of a number, or by a number
        return Value(array, above.free) if above.free else matrix(array)
    return matrix(array.reshape(array.shape[0], -1))  # a column by a column: row j is the derivative of y_j
