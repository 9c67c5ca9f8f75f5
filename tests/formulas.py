"""Evaluate the formulas of docs/derivations.md: LaTeX in, numbers out.

A formula is a chain of sides with = between them. Its letters are looked up in a World. A letter with indices is an
array with one axis per free index, whose product is taken index by index; a letter without indices is a matrix, whose
product is the matrix product, and a vector is a column or a row. A derivative is taken by central differences, of any
numerator with respect to any letter: so ∂L/∂X needs no rule but the definition of L.
"""

import re

import numpy as np

from indexed_arrays import Value, derivative, elementwise, indexed, matrix, number, product, reduced, without_unit_axes

TOKEN = re.compile(r"\\(?:hat|bar|mathbf|mathrm)\{\\?\w+\}|\\\\|\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|[A-Za-z]'?|[^\s]")
NOISE = {r'\left', r'\right', r'\displaystyle', r'\\', '&', '.', r'\,', r'\;'}
END = {'=', '+', '-', ',', ')', ']', '}', '>', '/', r'\circ', r'\oslash', r'\leftarrow', None}
CLOSING = {'(': ')', '[': ']', '{': '}'}
EXACT, CENTRAL = 1e-12, 1e-6  # the same sum written twice; with central differences in it


def evaluate(text, world):
    """A list of (source, Value), one per side, for each equation in the text."""
    text = re.sub(r'\\(begin|end)\{aligned\}', '', text)
    return [_Parser(TOKEN.findall(equation), world.measured(equation)).sides() for equation in re.split(r',?\s*\\qquad', text)]


def check(text, world, broadcast=False):
    """Raise AssertionError with the two sides that differ, if any; returns the last side's array of each equation.

    broadcast: a side may lack a free index of the other, if the text says "for every".
    """
    tolerance = CENTRAL if 'partial' in text or '{d' in text else EXACT
    equations = evaluate(text, world)
    for sides in equations:
        assert len(sides) > 1, f'{sides[0][0]} is compared with nothing'
        for (left_source, left), (right_source, right) in zip(sides, sides[1:]):
            error = _difference(left, right, broadcast)
            assert error <= tolerance, f'{left_source} differs from {right_source} by {error:.2g}'
    return [sides[-1][1].array for sides in equations]


def _difference(left, right, broadcast):
    """max |left − right| in units of the larger of 1 and max |right|."""
    if left.free and right.free and set(left.free) != set(right.free) and not broadcast:
        return np.inf  # free indices are conserved
    return np.abs(elementwise(np.subtract, left, right).array).max() / max(1, np.abs(right.array).max())


def _expectation(value):
    return reduced(value, '~', np.mean)


FUNCTIONS = {
    r'\log': lambda value: Value(np.log(value.array), value.free),
    r'\sqrt': lambda value: Value(np.sqrt(value.array), value.free),
    r'\mathrm{E}': _expectation,
    r'\mathrm{Var}': lambda value: Value(_expectation(Value(value.array**2, value.free)).array - _expectation(value).array**2,
                                         _expectation(value).free),
    r'\mathrm{tr}': lambda value: number(np.trace(value.array)),
    r'\mathrm{diag}': lambda value: matrix(np.diag(value.array[:, 0])),
}


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
        value = number(-1) if self.accept('-') else self.factor()
        while self.peek() not in END:
            is_dot = bool(self.accept(r'\cdot'))
            value = product(value, self.factor(), is_dot)
        return value

    def factor(self):
        """A base with its indices, powers, ᵀ."""
        value = self.base()
        while sign := self.accept('^', '_'):
            if sign == '_':
                letters = self.letters()
                value = indexed(without_unit_axes(value.array, letters), letters)
            elif self.accept(r'\top'):
                value = matrix(value.array.T)
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
            return reduced(self.product(), letter, np.sum)
        if token == r'\frac':
            return self.fraction()
        if token == r'\partial':  # ∂A/∂x on one line
            numerator = self.span()
            self.take('/')
            return self.derivative(numerator, *self.variable())
        if re.fullmatch(r'\d+(\.\d+)?', token):
            return number(token)
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
            return Value(self.world.functions[token](self.world, argument.array), argument.free)
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
