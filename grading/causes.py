"""What came out compared with what should have, and the mistake that explains the difference: tried, not guessed.

A cause is named where its formula gives, in every trial, what the solution gave. The trials differ in all their
sizes, so that two mistakes with the same result in one differ in another.
"""

from dataclasses import dataclass

import numpy as np

from grading.remote import Failed

TOLERANCE = 1e-6  # relative; far above rounding in float64, and below any mistake
TOLERANCE_FLOAT32 = 2e-4


@dataclass
class Trial:
    """inputs: name → array or number, the smallest trial first; actual: what came out, an array or the exception."""

    inputs: dict
    actual: object
    expected: np.ndarray
    label: str = ''
    slack: object = 0  # what may be added to the tolerance, of the shape of expected, for an epsilon say

    @property
    def failed(self):
        return isinstance(self.actual, Exception) or not close(self.actual, self.expected, self.slack)


class Suspect:
    """A known mistake: what it is called, how it is said, and the results that it has, from the inputs of a trial."""

    def __init__(self, cause, text, *formulas):
        self.cause, self.text, self.formulas = cause, text, formulas


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


def explain(trials, suspects):
    """The suspect whose formula gives what came out in all trials in which an array came out, or None."""
    with_values = [trial for trial in trials if not isinstance(trial.actual, Exception)]
    if not any(trial.failed for trial in with_values):
        return None
    for suspect in suspects:
        if any(all(_explains(formula, trial) for trial in with_values) for formula in suspect.formulas):
            return suspect
    return None


def _explains(formula, trial):
    try:
        with np.errstate(all='ignore'):
            value = np.asarray(formula(**trial.inputs))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return False
    actual = np.asarray(trial.actual)
    if value.shape != actual.shape and np.squeeze(value).shape != np.squeeze(actual).shape:
        return False
    value = value.reshape(actual.shape)
    if not np.isfinite(actual).all():
        return bool(np.array_equal(np.isfinite(value), np.isfinite(actual)))
    if not np.isfinite(value).all():
        return False
    scale = max(np.abs(value).max(initial=0), np.abs(trial.expected).max(initial=0), 1e-3)
    relative = np.max(trial.slack) / max(np.abs(trial.expected).max(initial=0), 1e-3)  # an epsilon moves it as much
    tolerance = 10 * tolerance_of(actual) + 2 * relative
    return bool(np.abs(value - actual).max(initial=0) <= tolerance * scale)


def penalty(trials, name):
    """λ where `λ · inputs[name]` was added in every trial, with the divisor that makes it one number: (λ, text)."""
    usable = [trial for trial in trials if not isinstance(trial.actual, Exception)
              and np.shape(trial.actual) == np.shape(trial.expected)]
    if not usable:
        return None
    found = []
    for trial in usable:
        parameter = trial.inputs[name]
        rest = np.asarray(trial.actual) - trial.expected
        factor = float((rest * parameter).sum() / (parameter * parameter).sum())
        if abs(factor) < 1e-12 or np.abs(rest - factor * parameter).max() > 1e-6 * max(np.abs(rest).max(), 1e-12):
            return None
        found.append(factor)
    for divisor, text in (('', ''), ('/S', ' / S')):
        factors = [factor * (len(trial.inputs['x']) if divisor else 1) for factor, trial in zip(found, usable)]
        if max(factors) - min(factors) <= 1e-6 * max(abs(factor) for factor in factors):
            return float(f'{np.mean(factors):.4g}'), text
    return None


def first_failure(trials):
    return next((trial for trial in trials if trial.failed), None)


def exceptions(trials):
    """The exceptions in these trials, each once, with the labels of the trials."""
    found = {}
    for trial in trials:
        if isinstance(trial.actual, Exception):
            found.setdefault(str(trial.actual), (trial.actual, []))[1].append(trial.label)
    return list(found.values())


def only_batch_of_one(trials):
    """Do just the trials with a single sample fail?"""
    ones = [trial for trial in trials if trial.inputs.get('samples') == 1]
    return bool(ones) and all(trial.failed == (trial.inputs.get('samples') == 1) for trial in trials)


def show(name, value):
    """An array in a line or some, as a student writes it."""
    if isinstance(value, Failed):
        return f'{name} raised {value}'
    if isinstance(value, Exception):
        return f'{name}: {value}'
    if np.ndim(value) == 0:
        return f'{name} = {_number(value)}'
    array = np.asarray(value)
    text = np.array2string(array, formatter={'float_kind': _number}, separator=', ', threshold=60, max_line_width=100)
    indented = text.replace('\n', '\n' + ' ' * (len(name) + 3))
    return f'{name} = {indented}'


def _number(value):
    return f'{float(value) + 0.0:.5g}'  # 0 in place of -0
