"""The comparison of actual with expected results, and the mistake that explains the difference: tested, not guessed.

A cause is named if its formula gives the solution's results in every case. The cases differ in all their sizes, so that
two mistakes with the same result in one case differ in another.
"""

import re
from dataclasses import dataclass

import numpy as np

from grading.remote import SolutionError

SOFTMAX_IN_LOSS = 'softmax in the loss'
TOLERANCE = 1e-6  # relative; far above rounding in float64, and below any mistake
TOLERANCE_FLOAT32 = 2e-4


@dataclass
class Comparison:
    """inputs: name → array or number, the smallest case first; actual: the result, an array or the exception."""

    inputs: dict
    actual: object
    expected: np.ndarray
    label: str = ''
    slack: object = 0  # an addition to the tolerance, of the shape of `expected`, for example for an epsilon
    also: dict = None  # other inputs for the formulas of mistakes: those with an epsilon

    @property
    def failed(self):
        return isinstance(self.actual, Exception) or not close(self.actual, self.expected, self.slack)


class Mistake:
    """A known mistake: its name, the sentence about it, and the results that it gives for the inputs of a case.

    fused: it is no error if softmax and cross-entropy are one step (see consequences.py).
    """

    def __init__(self, cause, text, *formulas, fused=False):
        self.cause, self.text, self.formulas, self.fused = cause, text, formulas, fused


def tolerance_of(array):
    return TOLERANCE_FLOAT32 if np.asarray(array).dtype in (np.float32, np.float16) else TOLERANCE


def close(actual, expected, slack=0, tolerance=None):
    """Are two arrays equal, up to rounding and the slack, in shape too?"""
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape or not np.isfinite(actual).all():
        return False
    tolerance = tolerance_of(actual) if tolerance is None else tolerance
    scale = max(np.abs(expected).max(initial=0), 1e-3)
    return bool((np.abs(actual.astype(np.float64) - expected) <= tolerance * scale + slack).all())


def explain(cases, mistakes):
    """The mistake whose formula gives the actual result in every case that returned an array, or None."""
    with_values = [case for case in cases if not isinstance(case.actual, Exception)]
    if not any(case.failed for case in with_values):
        return None
    for mistake in mistakes:
        for formula in mistake.formulas:
            if (all(_explains(formula, case, case.inputs) for case in with_values) or
                    all(case.also and _explains(formula, case, {**case.inputs, **case.also}) for case in with_values)):
                return mistake
    return None


def _explains(formula, case, inputs):
    try:
        with np.errstate(all='ignore'):
            value = np.asarray(formula(**inputs))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return False
    actual = np.asarray(case.actual)
    if value.shape != actual.shape and np.squeeze(value).shape != np.squeeze(actual).shape:
        return False
    value = value.reshape(actual.shape)
    if not np.isfinite(actual).all():
        return bool(np.array_equal(np.isfinite(value), np.isfinite(actual)))
    if not np.isfinite(value).all():
        return False
    scale = max(np.abs(value).max(initial=0), np.abs(case.expected).max(initial=0), 1e-3)
    return bool(np.abs(value - actual).max(initial=0) <= 10 * tolerance_of(actual) * scale)


def penalty(cases, name):
    """λ where `λ · inputs[name]` was added in every case, with the divisor that makes it one number: (λ, text)."""
    usable = [case for case in cases if not isinstance(case.actual, Exception)
              and np.shape(case.actual) == np.shape(case.expected)]
    if not usable:
        return None
    found = []
    for case in usable:
        parameter = case.inputs[name]
        rest = np.asarray(case.actual) - case.expected
        factor = float((rest * parameter).sum() / (parameter * parameter).sum())
        if abs(factor) < 1e-12 or np.abs(rest - factor * parameter).max() > 1e-6 * max(np.abs(rest).max(), 1e-12):
            return None
        found.append(factor)
    for divisor, text in (('', ''), ('/S', ' / S')):
        factors = [factor * (len(case.inputs['x']) if divisor else 1) for factor, case in zip(found, usable)]
        if max(factors) - min(factors) <= 1e-6 * max(abs(factor) for factor in factors):
            return float(f'{np.mean(factors):.4g}'), text
    return None


def only_batch_of_one(cases):
    """Do the cases with a single sample fail, and no other cases?"""
    single = [case.inputs.get('samples') == 1 for case in cases]
    return any(single) and single == [case.failed for case in cases]


def show(name, value):
    """An array in one or more lines, as a student would write it."""
    if isinstance(value, SolutionError):
        return f'{name} raised {value}'
    if isinstance(value, Exception):
        return f'{name}: {value}'
    if np.ndim(value) == 0:
        return f'{name} = {_number(value)}'
    array = np.asarray(value)
    text = np.array2string(array, formatter={'float_kind': _number}, separator=', ', threshold=60, max_line_width=100)
    indented = re.sub('\n+', '\n' + ' ' * (len(name) + 3), text)  # without the blank lines between images
    return f'{name} = {indented}'


def _number(value):
    return f'{float(value) + 0.0:.5g}'  # 0 instead of -0
