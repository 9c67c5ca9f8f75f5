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
    free: str | None  # the free indices, one letter per axis; None for a matrix

    @property
    def is_number(self):
        return self.array.size == 1 and not self.free


def number(value):
    return Value(np.array(float(value)), '')


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
        world.sizes = {}
        for name, *letters in INDEXED.findall(formula):
            if name in self.values:
                array = without_unit_axes(self[name], ''.join(letters), name in self.draws)
                for letter, size in zip(''.join(letters), array.shape):
                    if world.sizes.setdefault(letter, size) != size:
                        raise ValueError(f'{letter} runs to {size} and to {world.sizes[letter]} in {formula}')
        return world

    def value(self, name, letters):
        """The value of a letter with its indices, None for a matrix; the axis of the draws has the letter ~."""
        array, is_draw = self[name], name in self.draws
        if letters is None and not is_draw:
            return Value(array, None if array.ndim else '')
        return indexed(without_unit_axes(array, letters or '', is_draw), (letters or '') + '~' * is_draw)


def elementwise(operation, left, right):
    """Index by index; a free index of one side only is free in the result too. Matrices must have one shape."""
    if left.is_number or right.is_number:
        arrays = [value.array.reshape(()) if value.is_number else value.array for value in (left, right)]
        return Value(operation(*arrays), '' if left.is_number and right.is_number else
                     right.free if left.is_number else left.free)
    if left.free is None or right.free is None:
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
    if left.is_number or right.is_number or (left.free is not None and right.free is not None):
        return elementwise(np.multiply, left, right)
    if left.free is not None or right.free is not None:
        raise ValueError('a product of something with indices and a matrix')
    return number((left.array * right.array).sum()) if is_dot else Value(left.array @ right.array, None)


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
        above, below = variable.copy(), variable.copy()
        above[index] += eps
        below[index] -= eps
        change = numerator(world.having({name: above})).array - numerator(world.having({name: below})).array
        quotients.append(change / (2 * eps))
    free, array = numerator(world).free, np.stack(quotients, axis=-1)
    if not free and quotients[0].size == 1:  # the derivative of a number has the shape of the variable
        array, free = array.reshape(variable.shape), ''
        if letters is None:
            return Value(array, None if array.ndim else '')
    elif letters is None:  # a matrix by a number, or a column by a column: row j is the derivative of y_j
        return Value(array[..., 0], free) if variable.ndim == 0 else Value(array.squeeze(axis=1), None)
    else:
        array = array.reshape(*quotients[0].shape, *variable.shape)
    return indexed(without_unit_axes(array, free + letters), free + letters)
