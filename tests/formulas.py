"""Evaluate the formulas of docs/derivations.md: LaTeX in, numbers out.

A formula is a chain of sides with = between them. Its letters are looked up in a World. What carries indices is an
array with one axis per free index, whose product is taken index by index; what carries none is a matrix, whose product
is the matrix product, and a vector is a column or a row. A derivative is taken by central differences, of whatever the
formula says, with respect to whatever it says: so ∂L/∂X needs no rule but the definition of L.
"""

import re

import numpy as np

from indexed_arrays import (INDEXED, Value, derivative, dot, elementwise, expectation, indexed, mapped, product,
                            summed, variance, without_unit_axes)

TOKEN = re.compile(r"\\(?:hat|bar|mathbf|mathrm)\{\\?\w+\}|\\\\|\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|[A-Za-z]'?|[^\s]")
NOISE = {r'\left', r'\right', r'\displaystyle', r'\\', '&', '.', r'\,', r'\;'}
END = {'=', '+', '-', ',', ')', ']', '}', '>', '/', r'\circ', r'\oslash', r'\leftarrow', None}
EXACT, CENTRAL = 1e-12, 1e-6  # the same sum written twice; with central differences in it


def evaluate(text, world):
    """A list of (source, Value), one per side, for each equation in the text."""
    found = []
    for equation in re.split(r',?\s*\\qquad', text):
        measured = world.measured(equation)
        found.append([(source, side(measured)) for source, side in _Parser(equation).sides()])
    return found


def check(text, world, broadcast=False):
    """Raise AssertionError with the two sides that differ, if any; returns the last side's array of each equation.

    broadcast: a side may lack a free index of the other, where the text says "for every".
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
    if not (left.is_number or right.is_number):
        if left.free is None or right.free is None:
            if left.free != right.free or left.array.shape != right.array.shape:
                return np.inf
        elif set(left.free) != set(right.free) and not broadcast:
            return np.inf  # free indices are conserved
    difference = elementwise(np.subtract, left, right)
    return np.abs(difference.array).max() / max(1, np.abs(right.array).max())


FUNCTIONS = {
    r'\log': mapped(np.log), r'\sqrt': mapped(np.sqrt),
    r'\mathrm{E}': expectation, r'\mathrm{Var}': variance,
    r'\mathrm{tr}': lambda value: Value(np.trace(value.array), ''),
    r'\mathrm{diag}': lambda value: Value(np.diag(value.array[:, 0]), None),
}

WORLDS_FUNCTIONS = [r'\mathrm{softmax}', r'\mathrm{BN}', 'h', "h'"]  # those that a world has to give


class _Parser:
    """Recursive descent; every method returns a function of the world that gives a Value."""

    def __init__(self, text):
        text = re.sub(r'\\(begin|end)\{aligned\}', '', text)
        self.tokens = [token for token in TOKEN.findall(text) if token not in NOISE]
        self.at = 0

    def peek(self):
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self, *expected):
        token = self.peek()
        if expected and token not in expected:
            raise ValueError(f'not understood from here: {" ".join(self.tokens[self.at:])}')
        self.at += 1
        return token

    def accept(self, token):
        if self.peek() == token:
            self.at += 1
            return True
        return False

    def sides(self):
        """(source, function of the world) for each side of the equation."""
        found = [self._side()]
        while self.peek() in ('=', r'\leftarrow'):
            if self.take() == r'\leftarrow':  # the left side is what the letter stands for afterwards
                found = [(found[0][0], _lookup(found[0][0] + r' \leftarrow', None))]
            found.append(self._side())
        self.accept(',')
        self.take(None)
        return found

    def _side(self):
        start = self.at
        function = self.sum()
        return ' '.join(self.tokens[start:self.at]), function

    def sum(self):
        """Terms with + and − between them."""
        if self.accept('-'):
            first = self.term()
            value = _elementwise(np.multiply, lambda world: Value(np.array(-1.0), ''), first)
        else:
            value = self.term()
        while self.peek() in ('+', '-'):
            value = _elementwise(np.add if self.take() == '+' else np.subtract, value, self.term())
        return value

    def term(self):
        """Products with ∘, ⊘ or / between them, which bind less tightly than a product without a sign."""
        value = self.product()
        while self.peek() in (r'\circ', r'\oslash', '/'):
            operation = np.multiply if self.take() == r'\circ' else np.divide
            value = _elementwise(operation, value, self.product())
        return value

    def product(self):
        """Factors side by side; of matrices it is the matrix product."""
        value = self.factor()
        while self.peek() not in END:
            operation = dot if self.accept(r'\cdot') else product
            value = _binary(operation, value, self.factor())
        return value

    def factor(self):
        """Something with its indices, powers, ᵀ."""
        value = self.base()
        while self.peek() in ('^', '_'):
            if self.take() == '_':
                value = _index(value, self.letters())
            elif self.accept(r'\top'):
                value = _transposed(value)
            else:
                value = _elementwise(np.power, value, self.group())
        return value

    def group(self):
        """{…}, or a single token."""
        if self.accept('{'):
            value = self.sum()
            self.take('}')
            return value
        return self.base()

    def letters(self):
        if not self.accept('{'):
            return self.take()
        letters = ''
        while not self.accept('}'):
            letters += self.take()
        return letters

    def base(self):
        token = self.take()
        if token in ('(', '[', '{'):
            value = self.sum()
            if self.accept('>'):
                value = _elementwise(np.greater, value, self.sum())
            self.take({'(': ')', '[': ']', '{': '}'}[token])
            return value
        if token == r'\sum':
            self.take('_')
            letter, body = self.take(), self.product()
            return lambda world: summed(body(world), letter)
        if token == r'\frac':
            return self.fraction()
        if token == r'\partial':  # ∂A/∂x on one line
            numerator = self.factor()
            self.take('/')
            return derivative(numerator, *self.variable())
        if re.fullmatch(r'\d+(\.\d+)?', token):
            return lambda world: Value(np.array(float(token)), '')
        if token in FUNCTIONS:
            argument = self.group()
            return lambda world: FUNCTIONS[token](argument(world))
        if token == r'\max':
            return self.maximum()
        if token == r'\delta':
            self.take('_')
            return _delta(self.letters())
        if self.peek() == '(' and token in WORLDS_FUNCTIONS:
            argument = self.base()
            return lambda world: mapped(lambda array: world.functions[token](world, array))(argument(world))
        return _lookup(token, self.letters() if self.accept('_') else None)

    def fraction(self):
        r"""\frac{A}{B}, \frac{\partial A}{\partial x}, or \frac{\partial}{\partial x} before its A."""
        self.take('{')
        if self.peek() not in (r'\partial', 'd'):
            numerator = self.sum()
            self.take('}')
            return _elementwise(np.divide, numerator, self.group())
        self.take()
        numerator = None if self.peek() == '}' else self.product()
        self.take('}')
        self.take('{')
        variable = self.variable()
        self.take('}')
        if numerator is None:  # ∂/∂x in front of what it is taken of
            numerator = self.product()
        return derivative(numerator, *variable)

    def maximum(self):
        """max(A, B), element by element."""
        self.take('(')
        first = self.sum()
        self.take(',')
        value = _elementwise(np.maximum, first, self.sum())
        self.take(')')
        return value

    def variable(self):
        """∂x_i in a denominator → the name and its indices, None where it has none."""
        self.take(r'\partial', 'd')
        return self.take(), self.letters() if self.accept('_') else None


def _binary(operation, left, right):
    return lambda world: operation(left(world), right(world))


def _elementwise(operation, left, right):
    return lambda world: elementwise(operation, left(world), right(world))


def _index(matrix, letters):
    return lambda world: indexed(without_unit_axes(matrix(world).array, letters), letters)


def _transposed(matrix):
    return lambda world: Value(matrix(world).array.T, None)


def _lookup(name, letters):
    def value(world):
        array, is_draw = world[name], name in world.draws
        if letters is None and not is_draw:
            return Value(array, None if array.ndim else '')
        all_letters = (letters or '') + '~' * is_draw
        return indexed(without_unit_axes(array, letters or '', is_draw), all_letters)
    return value


def _delta(letters):
    def value(world):
        sizes = [world.sizes[letter] for letter in letters if letter in world.sizes] or [int(world['size'])]
        return indexed(np.eye(sizes[0]), letters)
    return value
