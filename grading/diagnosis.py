"""From cases to findings: one finding for a failed check, with its cause, its place and the smallest case."""

import re
import zlib
from dataclasses import dataclass, field

import numpy as np

from grading import causes
from grading.findings import DEVIATES, INCORRECT, MISSING, NOT_GRADED, NOTE, Findings, Place
from grading.interface import Malformed
from grading.remote import SolutionError


@dataclass
class Context:
    """The state that the parts share: the session, the findings, the files as text, and results for later parts.

    linear: the LinearMaker; activations: name → what activation_part found; targets: 'labels' or 'rows'; epsilon: the
    one in the logarithm; faulty: the classes with errors; fused: findings that are not errors if softmax and
    cross-entropy are one step; inherited: part → the classes or parts that alone make it incorrect.
    """

    session: object
    findings: Findings
    modules: object
    mlp: object
    sources: dict  # the files by their names, modules and mlp_numpy among them
    rng: np.random.Generator = None  # for the current part
    linear: object = None
    activations: dict = field(default_factory=dict)
    targets: str = 'labels'
    epsilon: float = 0.0
    one_hot_width: bool = False  # is it that of the largest label?
    fused: list = field(default_factory=list)
    softmax_outside: bool = False  # of the MLP, in the training script
    one_step: bool = False  # are softmax and cross-entropy one step, which is correct?
    gradients_add_up: bool = False
    forgets: set = field(default_factory=set)  # the classes whose clear_cache works
    images: bool = False  # does the MLP take images only?
    updates_itself: bool = False  # does backward of the linear module change its parameters?
    faulty: list = field(default_factory=list)
    names: set = field(default_factory=set)  # of the classes in modules.py
    asks_for_clear_cache: bool = True  # does this edition of the assignment?
    inherited: dict = field(default_factory=dict)
    wrong_accuracy: set = field(default_factory=set)  # the training scripts that get a right one, to judge the rest
    later: list = field(default_factory=list)  # functions to call after all parts are graded

    def begin(self, part):
        """Use a random stream for each part, so that a change in one part does not change the numbers of another."""
        self.rng = np.random.default_rng(zlib.crc32(part.encode()))

    def blame(self, cls):
        if cls not in self.faulty:
            self.faulty.append(cls)

    def errors(self, part):
        return self.findings.of(part, INCORRECT)

    def incorrect(self, part, text, **more):
        return self.findings.add(part, INCORRECT, text, **more)

    def deviates(self, part, text, **more):
        self.findings.add(part, DEVIATES, text, **more)

    def note(self, part, text, **more):
        self.findings.add(part, NOTE, text, **more)

    def skip_absent(self, part, module, cls=''):
        """A class is not there: the part is missing, or not graded if the class may be in a file that was not handed in."""
        found = self.session.ask('missing', module=module)
        where = found.get(cls) or found.get('*') or not cls and next(iter(found.values()), '')
        if where:
            return self.skip(part, NOT_GRADED, f'{module}.py imports {where}, which was not handed in', retry=True)
        self.skip(part, MISSING, f'{module}.py has no class {cls}' if cls else f'{module}.py has no activation')

    def skip(self, part, status, reason='', retry=False):
        self.findings.status[part] = status
        self.findings.retry |= retry
        if reason:
            self.findings.reasons[part] = reason


HINTS = [  # explanations of messages of NumPy and Python for beginners
    (r"Cannot interpret '\d+' as a data type", 'a shape is one argument, a tuple: np.zeros((rows, columns))'),
    (r'cannot unpack non-iterable int', '`for i, n in enumerate(sizes)` gives pairs; a list of numbers does not'),
    ('3072', 'only an image of CIFAR-10 has 3072 numbers; n_inputs says how many the input has'),
    (r'could not be broadcast|mismatch in its core dimension|not aligned|shape-mismatch|mat1 and mat2 shapes',
     'the shapes do not go together: print them, and write the shape of each array next to the formula'),
    (r"name '\w+' is not defined|referenced before assignment|not associated with a value",
     'the name is used before it has a value'),
    ('setting an array element with a sequence|only 0-dimensional arrays',
     'an array is where one number belongs; NumPy before 2.4 accepted an array with one number there'),
    (r'ward\(\) missing 1 required positional argument',
     'a class is called instead of an object: ReLUModule() with parentheses makes an object'),
    (r"'list' object cannot be interpreted as an integer", 'range wants a number: range(len(list))'),
]


def hint_for(error):
    return next((hint for pattern, hint in HINTS if re.search(pattern, str(error))), '')


def attempt(function):
    """The result of a call to the solution: its array, or its exception as a value."""
    try:
        return function()
    except (SolutionError, Malformed) as error:
        return error


def check(context, part, what, cases, mistakes=(), place=Place(), hint='', shown=(), place_of=(), all_shown=None):
    """Add a finding if a case failed. what: the subject of its sentence; shown: the names of the inputs in the example;
    all_shown: of the example of an error whose cause is unknown; place_of: pairs of a cause and its Place, for causes with
    another place.

    The finding's text and its example are about the same case. Returns whether all cases passed.
    """
    failure = next((case for case in cases if case.failed), None)
    if failure is None:
        return True
    mistake, special = causes.explain(cases, mistakes), ''
    raised = next((case for case in cases if isinstance(case.actual, Exception)), None)
    if causes.only_batch_of_one(cases):
        text, cause = _batch_of_one(what, failure), 'batch of one'
    elif mistake:
        failure = next(case for case in cases if case.failed and not isinstance(case.actual, Exception))
        text, cause = f'{what} {mistake.text}', mistake.cause
        special = f', as {failure.label} shows' if failure.label and failure.label not in what else ''
    elif raised:
        failure = raised
        text = f'{what} cannot be computed: {failure.actual}'
        cause = f'raises {getattr(failure.actual, "kind", "no array")}'
        hint = hint_for(failure.actual) or hint
    else:
        text, cause, shown = f'{what} {_difference(failure)}', 'unexplained', all_shown or shown
    if failure.inputs.get('samples', 1) >= LARGE:
        shape = failure.inputs['x'].shape
        special, shown = f', for an input of shape {shape}. For the smaller inputs of this test it is correct', None
    example = '' if shown is None or cause in SAY_IT_ALL else example_of(failure, shown)
    finding = context.incorrect(part, f'{text}{special}.', cause=cause, hint=hint, example=example,
                                place=getattr(failure.actual, 'place', None) or dict(place_of).get(cause, place))
    if mistake and mistake.fused:
        context.fused.append(finding)
    return False


LARGE = 100  # samples; the smaller batches come first
SAY_IT_ALL = ('raises NameError', 'raises UnboundLocalError', 'raises AttributeError')  # an example with numbers would not help
SYMBOLS = {'x': 'X', 'images': 'X', 'y': 'Y', 'D': '∂L/∂Y'}


def example_of(case, shown):
    """The shown inputs of a case, the actual and the expected result, as lines."""
    lines = [causes.show(SYMBOLS.get(name, name), case.inputs[name]) for name in shown]
    actual = case.actual
    if isinstance(actual, Exception):
        lines.append(f'got: {actual}')
    else:
        lines.append(causes.show('got', actual))
    lines.append(causes.show('expected', case.expected))
    if not isinstance(actual, Exception) and np.shape(actual) != np.shape(case.expected):
        lines.append(f'of shape {np.shape(actual)} instead of {np.shape(case.expected)}')
    return '\n'.join(lines)


def _batch_of_one(what, failure):
    actual = failure.actual
    if isinstance(actual, Exception):
        return f'{what} cannot be computed for a batch of one sample: {actual}'
    if np.shape(actual) != np.shape(failure.expected):
        return (f'{what} has shape {np.shape(actual)} instead of {np.shape(failure.expected)} for a batch of one '
                'sample: the batch axis is dropped (squeeze?)')
    return f'{what} is off for a batch of one sample, and correct for larger ones'


def _difference(failure):
    actual, expected = np.asarray(failure.actual), np.asarray(failure.expected)
    if actual.shape != expected.shape:
        return f'has shape {actual.shape} instead of {expected.shape}'
    if not np.isfinite(actual).all():
        return f'has {int((~np.isfinite(actual)).sum())} of {actual.size} numbers that are NaN or infinite'
    scale = max(np.abs(expected).max(initial=0), 1e-3)
    worst = np.abs(actual - expected).max(initial=0) / scale
    off = int((np.abs(actual - expected) > 1e-6 * scale).sum())
    return f'is off in {off} of {actual.size} numbers, by up to {worst:.2g} of the largest'
