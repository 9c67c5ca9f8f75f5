"""Evaluate the formulas of docs/derivations.md: LaTeX in, numbers out.

A formula is a chain of sides with = between them. Its letters are looked up in a World. A letter with indices is an
array with an axis for every index that there may be, of size 1 for those that it has not: so NumPy's broadcasting goes
index by index. A letter without indices is a matrix, whose product is the matrix product; a vector is a column or row.
A derivative is taken by central differences, of any numerator with respect to any letter: so ∂L/∂X needs no rule but
the definition of L.
"""

import copy
import re

import numpy as np

AXES = 'abcdefghijklmnopqrstuvwxyz~'  # the indices, and ~ for the draws of a random variable
TOKEN = re.compile(r"\\(?:hat|bar|mathbf|mathrm)\{\\?\w+\}|\\\\|\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|[A-Za-z]'?|[^\s]")
INDEXED = re.compile(r"((?:\\(?:hat|bar)\{\\?\w+\})|\\?[A-Za-z]+'?)_(?:\{([a-z]+)\}|([a-z]))")  # a letter, its indices
NOISE = {r'\left', r'\right', r'\displaystyle', r'\\', '&', '.', r'\,', r'\;'}
END = {'=', '+', '-', ',', ')', ']', '}', '>', '/', r'\circ', r'\oslash', r'\leftarrow', None}
CLOSING = {'(': ')', '[': ']', '{': '}'}
EXACT, CENTRAL = 1e-12, 1e-6  # the same sum written twice; with central differences in it


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
        world.sizes = {letter: self.value(name, letters).shape[AXES.index(letter)]
                       for name, letters in named for letter in letters}
        return world

    def value(self, name, letters):
        """The value of a letter with its indices, None for a matrix."""
        if letters is None and name not in self.draws:
            return reduced(self[name])
        return indexed(self[name], (letters or '') + '~' * (name in self.draws))


def reduced(array):
    """A number if the array has one element."""
    return array.reshape(()) if array.size == 1 else array


def indexed(array, letters):
    """Give each axis its letter: an axis of one element needs none; a letter that comes twice takes the diagonal."""
    units = tuple(axis for axis in range(array.ndim) if array.shape[axis] == 1)
    array = array.squeeze(units[:max(array.ndim - len(letters), 0)])
    if array.ndim != len(letters):
        raise ValueError(f'{letters} for an array of shape {array.shape}')
    free = sorted(set(letters), key=AXES.index)
    array = np.einsum(array, [*map(AXES.index, letters)], [*map(AXES.index, free)])
    shape = dict(zip(free, array.shape))
    return reduced(array.reshape([shape.get(letter, 1) for letter in AXES]))


def elementwise(operation, left, right):
    """Index by index; a free index of one side only is free in the result too. Matrices must have one shape."""
    kinds = {left.ndim, right.ndim} - {0}
    if len(kinds) > 1 or kinds == {2} and left.ndim == right.ndim and left.shape != right.shape:
        raise ValueError(f'shapes {left.shape} and {right.shape} cannot be combined element-wise')
    return operation(left, right)


def product(left, right, is_dot=False):
    """The matrix product, or index by index; a number multiplies everything; the dot product of two columns."""
    if left.ndim == right.ndim == 2:
        return (left * right).sum() if is_dot else reduced(left @ right)
    return elementwise(np.multiply, left, right)


def over(function, letter):
    """A function like np.sum over the axis of a letter."""
    def apply(array):
        if array.ndim != len(AXES) or array.shape[AXES.index(letter)] == 1:
            raise ValueError(f'a sum over {letter}, which does not occur in it')
        return reduced(function(array, axis=AXES.index(letter), keepdims=True))

    return apply


def derivative(numerator, world, name, letters, eps=1e-5):
    """∂numerator/∂name by central differences. The numerator is a function of the world.

    With letters, its free indices are those of the numerator and these. Without letters, the derivative of a number
    has the shape of the variable; of a column by a column, row j is the derivative of y_j.
    """
    variable, total = world[name], 0
    for index in np.ndindex(variable.shape):
        unit = np.zeros(variable.shape)
        unit[index] = 1
        above, below = (numerator(world.having({name: variable + step * unit})) for step in (eps, -eps))
        place = indexed(unit, letters) if letters else unit.T if above.ndim == unit.ndim == 2 else unit
        total = total + product((above - below) / (2 * eps), place)
    return reduced(total)


def evaluate(text, world):
    """A list of (source, value), one per side, for each equation in the text."""
    equations = re.split(r',?\s*\\qquad', re.sub(r'\\(begin|end)\{aligned\}', '', text))
    return [_Parser(TOKEN.findall(equation), world.measured(equation)).sides() for equation in equations]


def check(text, world, broadcast=False):
    """Raise AssertionError with the two sides that differ, if any; returns the last side's array of each equation.

    Its axes are in alphabetical order. broadcast: a side may lack a free index of the other ("for every").
    """
    tolerance = CENTRAL if 'partial' in text or '{d' in text else EXACT
    equations = evaluate(text, world)
    for sides in equations:
        assert len(sides) > 1, f'{sides[0][0]} is compared with nothing'
        for (left_source, left), (right_source, right) in zip(sides, sides[1:]):
            if left.ndim and right.ndim and not broadcast:
                assert left.shape == right.shape, f'{left_source} has other free indices than {right_source}'
            error = np.abs(elementwise(np.subtract, left, right)).max() / max(1, np.abs(right).max())
            assert error <= tolerance, f'{left_source} differs from {right_source} by {error:.2g}'
    return [value.squeeze() if value.ndim == len(AXES) else value for *_, (_, value) in equations]


FUNCTIONS = {r'\log': np.log, r'\sqrt': np.sqrt, r'\mathrm{E}': over(np.mean, '~'), r'\mathrm{Var}': over(np.var, '~'),
             r'\mathrm{tr}': np.trace, r'\mathrm{diag}': lambda column: np.diag(column[:, 0])}


class _Parser:
    """Recursive descent; every method evaluates what it reads."""

    def __init__(self, tokens, world):
        self.tokens, self.world, self.at = [token for token in tokens if token not in NOISE], world, 0

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self, *expected):
        token = self.peek()
        if expected and token not in expected:
            raise ValueError(f'not understood from here: {" ".join(self.tokens[self.at:])}')
        self.at += 1
        return token

    def accept(self, *expected):
        return self.take() if self.peek() in expected else None

    def sides(self):
        """(source, value) for each side of the equation."""
        found, sign = [], '='
        while sign:
            start = self.at
            value = self.sum()
            source = ' '.join(self.tokens[start:self.at])
            sign = self.accept('=', r'\leftarrow')
            if sign == r'\leftarrow':  # the left side is the value of the letter afterwards
                value = self.world.value(f'{source} {sign}', None)
            found.append((source, value))
        self.accept(',')
        self.take(None)
        return found

    def sum(self):
        """Terms with + and − between them."""
        return self.chain({'+': np.add, '-': np.subtract}, self.term)

    def term(self):
        """Products with ∘, ⊘ or / between them, which bind less tightly than a product without a sign."""
        return self.chain({r'\circ': np.multiply, r'\oslash': np.divide, '/': np.divide}, self.product)

    def chain(self, operations, operand):
        value = operand()
        while sign := self.accept(*operations):
            value = elementwise(operations[sign], value, operand())
        return value

    def product(self):
        """Factors next to each other; of matrices it is the matrix product."""
        value = np.float64(-1) if self.accept('-') else self.factor()
        while self.peek() not in END:
            is_dot = bool(self.accept(r'\cdot'))
            value = product(value, self.factor(), is_dot)
        return value

    def factor(self):
        """A base with its indices, powers, ᵀ."""
        value = self.base()
        while sign := self.accept('^', '_'):
            if sign == '_':
                value = indexed(value, self.letters())
            elif self.accept(r'\top'):
                value = value.T
            else:
                value = elementwise(np.power, value, self.base())
        return value

    def letters(self):
        return ''.join(iter(self.take, '}')) if self.accept('{') else self.take()

    def base(self):
        token = self.take()
        if token in CLOSING:
            value = self.sum()
            for sign, operation in (('>', np.greater), (',', np.maximum)):  # a comma is of \max
                if self.accept(sign):
                    value = elementwise(operation, value, self.sum())
            self.take(CLOSING[token])
            return value
        if token == r'\sum':
            self.take('_')
            letter = self.take()
            return over(np.sum, letter)(self.product())
        if token == r'\frac':
            return self.fraction()
        if token == r'\partial':  # ∂A/∂x on one line
            numerator = self.span()
            self.take('/')
            return self.derivative(numerator, *self.variable())
        if re.fullmatch(r'\d+(\.\d+)?', token):
            return np.float64(token)
        if token in FUNCTIONS:
            return FUNCTIONS[token](self.base())
        if token == r'\max':
            return self.base()
        if token == r'\delta':
            self.take('_')
            letters = self.letters()
            known = [self.world.sizes[letter] for letter in letters if letter in self.world.sizes]
            return indexed(np.eye(known[0] if known else int(self.world['size'])), letters)
        if self.peek() == '(' and token in self.world.functions:
            argument = self.base()
            return self.world.functions[token](self.world, argument)
        return self.world.value(token, self.letters() if self.accept('_') else None)

    def fraction(self):
        r"""\frac{A}{B}, \frac{\partial A}{\partial x}, or \frac{\partial}{\partial x} before its A."""
        self.take('{')
        if not self.accept(r'\partial', 'd'):
            numerator = self.sum()
            self.take('}')
            return elementwise(np.divide, numerator, self.base())
        numerator = None if self.peek() == '}' else self.span()
        self.take('}')
        self.take('{')
        variable = self.variable()
        self.take('}')
        return self.derivative(numerator or self.span(), *variable)

    def span(self):
        """The tokens of a product."""
        start = self.at
        self.product()
        return self.tokens[start:self.at]

    def variable(self):
        """∂x_i in a denominator → the name and its indices, None if it has none."""
        self.take(r'\partial', 'd')
        return self.take(), self.letters() if self.accept('_') else None

    def derivative(self, numerator, name, letters):
        return derivative(lambda world: _Parser(numerator, world).product(), self.world, name, letters)
