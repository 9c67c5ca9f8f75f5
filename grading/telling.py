"""From trials to findings: one finding for what fails, with its cause, its place and the smallest case."""

import re
from dataclasses import dataclass, field

import numpy as np

from grading import causes
from grading.findings import Findings
from grading.interface import Malformed
from grading.remote import Failed


@dataclass
class Context:
    """What the parts share: the session, the findings, the files as text, and what the parts found on the way.

    linear: the LinearMaker; activations: name → what activation_part found; targets: 'labels' or 'rows';
    epsilon: what stands in the logarithm; broken: class → its fault in a few words, for those that are built on it.
    """

    session: object
    findings: Findings
    modules: object
    mlp: object
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))
    linear: object = None
    activations: dict = field(default_factory=dict)
    targets: str = 'labels'
    epsilon: float = 0.0
    fused: str = ''
    gradients_add_up: bool = False  # until clear_cache
    broken: dict = field(default_factory=dict)
    names: set = field(default_factory=set)  # of the classes in modules.py
    inherited: list = field(default_factory=list)  # the classes because of which the MLP is wrong

    def wrong(self, part, text, **more):
        self.findings.add(part, 'wrong', text, **more)

    def departs(self, part, text, **more):
        self.findings.add(part, 'departs', text, **more)

    def remark(self, part, text, **more):
        self.findings.add(part, 'remark', text, **more)

    def skip(self, part, status, reason=''):
        self.findings.status[part] = status
        if reason:
            self.findings.reasons[part] = reason


HINTS = [  # what NumPy and Python mean by their messages, where a beginner may not see it
    (r"Cannot interpret '\d+' as a data type", 'a shape is one argument, a tuple: np.zeros((rows, columns))'),
    (r'cannot unpack non-iterable int', '`for i, n in enumerate(sizes)` gives pairs; a list of numbers does not'),
    (r'could not be broadcast|mismatch in its core dimension|not aligned|shape-mismatch',
     'the shapes do not go together: print them, and write the shape of each array beside the formula'),
    (r"name '\w+' is not defined|referenced before assignment|not associated with a value",
     'the name is used before it has a value'),
    (r"'list' object cannot be interpreted as an integer", 'range wants a number: range(len(list))'),
]


def hint_for(error):
    return next((hint for pattern, hint in HINTS if re.search(pattern, str(error))), '')


def attempt(function):
    """What a call to the solution gives: an array, or the exception, as a value."""
    try:
        return function()
    except (Failed, Malformed) as error:
        return error


def tell(context, part, what, trials, suspects=(), place='', hint='', shown=(), special=''):
    """Add a finding where a trial failed; what: the subject of its sentence. Returns whether all trials passed.

    shown: the names of the inputs that the example prints; special: what the trials have in common that others
    of this part have not, a batch of one sample say.
    """
    failure = causes.first_failure(trials)
    if failure is None:
        return True
    if not special and causes.only_batch_of_one(trials):
        special = 'for a batch of one sample'
    suspect = causes.explain(trials, suspects)
    raised = causes.exceptions(trials)
    example = example_of(failure, shown)
    if special == 'for a batch of one sample':
        text, cause, place = _batch_of_one(what, failure), 'batch of one', getattr(failure.actual, 'place', '') or place
    elif suspect:
        text, cause = f'{what} {suspect.text}', suspect.cause
        failure = next(trial for trial in trials if trial.failed and not isinstance(trial.actual, Exception))
        example = example_of(failure, shown)
    elif raised:
        error, labels = raised[0]
        kind = error.kind if isinstance(error, Failed) else 'no array'
        text, cause = f'{what} can not be computed: {error}', f'raises {kind}'
        place = error.place if isinstance(error, Failed) and error.place else place
        hint = hint_for(error) or hint
    else:
        text, cause = f'{what} {_difference(failure)}', 'unexplained'
    context.wrong(part, text + (f', {special}' if special and special not in text else '') + '.', cause=cause,
                  place=place, example=example, hint=hint)
    return False


SYMBOLS = {'x': 'X', 'y': 'Y', 'D': '∂L/∂Y'}


def example_of(trial, shown):
    """The inputs of a trial that are to be shown, what came out and what should be."""
    lines = [causes.show(SYMBOLS.get(name, name), trial.inputs[name]) for name in shown]
    actual = trial.actual
    if isinstance(actual, Exception):
        lines.append(f'came out: {actual}')
    else:
        lines.append(causes.show('came out', actual))
    lines.append(causes.show('should be', trial.expected))
    if not isinstance(actual, Exception) and np.shape(actual) != np.shape(trial.expected):
        lines.append(f'of shape {np.shape(actual)} in place of {np.shape(trial.expected)}')
    return '\n'.join(lines)


def _batch_of_one(what, failure):
    actual = failure.actual
    if isinstance(actual, Exception):
        return f'{what} can not be computed for a batch of one sample: {actual}'
    if np.shape(actual) != np.shape(failure.expected):
        return (f'{what} has shape {np.shape(actual)} in place of {np.shape(failure.expected)} for a batch of one '
                'sample: the batch axis is dropped (squeeze?)')
    return f'{what} is off for a batch of one sample, and right for larger ones'


def _difference(failure):
    actual, expected = np.asarray(failure.actual), np.asarray(failure.expected)
    if actual.shape != expected.shape:
        return f'has shape {actual.shape} in place of {expected.shape}'
    if not np.isfinite(actual).all():
        return f'has {int((~np.isfinite(actual)).sum())} of {actual.size} numbers that are NaN or infinite'
    scale = max(np.abs(expected).max(initial=0), 1e-3)
    worst = np.abs(actual - expected).max(initial=0) / scale
    off = int((np.abs(actual - expected) > 1e-6 * scale).sum())
    return f'is off in {off} of {actual.size} numbers, by up to {worst:.2g} of the largest'
