"""The activations: element-wise, the function of that name, and its slope times ∂L/∂Y."""

from dataclasses import dataclass

import numpy as np

from grading.causes import Comparison, Mistake, close
from grading.common_checks import cache, loops, nothing_shared
from grading.diagnosis import attempt, check
from grading.findings import MISSING, NOT_IMPLEMENTED
from grading.formulas import kind_of
from grading.interface import Malformed, RemoteObject
from grading.remote import SolutionError

PART = 'activation'
LARGE = 128, 100  # as in the assignment
MOST = 20  # activations that are graded: a solution with thousands would hold up a class
NO_ACTIVATIONS = ('linear', 'softmax', 'crossentropy', 'norm', 'dropout', 'loss', 'mse', 'conv', 'flatten', 'pool',
                  'sequential', 'network', 'mlp', 'optimizer')
OTHER_NEEDS = ('TypeError', 'NotImplementedError', 'AttributeError')  # errors of a class that is no activation


@dataclass
class Activation:
    """An activation of the solution: its class, its Kind or None, and the arguments of its constructor."""

    cls: str
    kind: object
    keywords: dict
    value: float = 1.0
    parameter: str = ''  # the keyword that takes the value

    def make(self, session, value=None):
        keywords = dict(self.keywords)
        if value is not None and self.parameter:
            keywords[self.parameter] = value
        answer = session.ask('new', module='modules', name=self.cls, args=[], kwargs=keywords)
        return RemoteObject(session, answer['made'], self.cls)


def candidates(classes):
    """The names of the classes [name, methods, bases, file] that may be activations: no container, no base of another."""
    bases = {base for _, _, of, _ in classes for base in of}
    return [name for name, methods, _, _ in classes
            if {'forward', 'backward'} <= set(methods) and (name not in bases or kind_of(name))
            and not any(word in name.lower().replace('_', '').replace('nonlinear', '') for word in NO_ACTIVATIONS)]


def judge(context):
    source, session = context.modules, context.session
    names = candidates(session.classes('modules'))
    stubs = [name for name in names if source.is_stub(name, 'forward', 'backward')]
    names = [name for name in names if name not in stubs]
    if not names:
        return context.skip(PART, NOT_IMPLEMENTED) if stubs else context.skip_absent(PART, 'modules')
    for name in stubs:
        context.note(PART, f'{name} is not implemented; other activations are implemented.')
    if len(names) > MOST:
        context.note(PART, f'Only the first {MOST} of {len(names)} activations are graded.')
    for name in names[:MOST]:
        _judge_one(context, name)
    if context.activations:
        session.met('activation ' + ', '.join(context.activations))
    elif not context.errors(PART):
        context.skip(PART, MISSING)


def _keywords(context, name, kind):
    """The constructor's arguments: an unusual parameter of the activation, so that ignoring it has an effect."""
    signature = context.session.signature('modules', name)
    keywords, value, own = {}, kind.parameter if kind else 1.0, ''
    for parameter, mode, has_default in signature:
        if mode.startswith('VAR'):
            continue
        if kind and any(word in parameter.lower() for word in kind.words):
            value, own = 0.7 if kind.name == 'elu' else 0.2, parameter
            keywords[parameter] = value
            context.session.met(f'{name}({parameter})')
        elif not has_default:
            keywords[parameter] = 0.1
    return keywords, value, own


def _judge_one(context, name):
    kind = kind_of(name)
    activation = Activation(name, kind, *_keywords(context, name, kind))
    before = len(context.errors(PART))
    probe = attempt(lambda: activation.make(context.session).array('forward', -np.ones((2, 2))))
    if not kind and (isinstance(probe, SolutionError) and probe.kind in OTHER_NEEDS
                     or not isinstance(probe, Exception) and not _is_elementwise(context, activation)):
        return  # a base, a container or a layer of another kind
    if kind and kind.name == 'leaky' and not activation.parameter and np.shape(probe) == (2, 2):
        activation.value = abs(float(probe[0, 0])) or kind.parameter  # a slope of its own choice
    context.activations[name] = activation
    forward, backward = _cases(context, activation)
    what = f'{name}: ' if len(candidates(context.session.classes('modules'))) > 1 else ''
    place, shown = context.modules.place, [activation.parameter] if activation.parameter else []
    formula = kind.formula if kind else "the slope of what forward computes"
    check(context, PART, f'{what}forward', forward, _forward_mistakes(activation),
          place(name, 'forward', r'where|max|exp|\[.*\]\s*=|return'), f'Y = {formula}', [*shown, 'x'])
    if not any(isinstance(case.actual, Exception) for case in forward):
        check(context, PART, f'{what}∂L/∂X, the gradient of the input,', backward, _backward_mistakes(activation),
              place(name, 'backward', r'where|dx|exp|\[.*\]\s*=|return'),
              '∂L/∂X = ∂L/∂Y ∘ h′(X): the slope at the input of forward, element-wise', [*shown, 'x', 'D'])
    wrong = context.errors(PART)[before:]
    if wrong and 'changed' in context.session.facts.get((name, 'forward'), ()):
        wrong[-1].cause = 'input changed in place'
        wrong[-1].text += ' forward changes its input in place, so that backward reads other numbers there.'
    if wrong:
        context.blame(name)
    else:
        _far_out(context, activation)
    x = np.array([[1.0, -2, 3], [-4, 0.5, -6]])
    nothing_shared(context, PART, name, lambda _: activation.make(context.session), x, x + 1)
    cache(context, PART, name, lambda: activation.make(context.session), np.ones((4, 3)), np.ones((4, 3)))
    loops(context, PART, name, ('forward', 'backward'))


def _is_elementwise(context, activation):
    x = context.rng.normal(size=(3, 4))

    def forward(part):
        return attempt(lambda: activation.make(context.session).array('forward', part))

    whole, row, column = forward(x), forward(x[1:2]), forward(x[:, 2:3])
    return (not any(isinstance(part, Exception) for part in (whole, row, column)) and whole.shape == x.shape
            and close(row, whole[1:2]) and close(column, whole[:, 2:3]))


def _cases(context, activation):
    """Comparisons of forward and backward, the smallest first; at a kink any slope between its neighbors is right."""
    rng, kind, value = context.rng, activation.kind, activation.value
    inputs = [np.array([[-1.0, 2.0]]), np.array([[3.0, -2.0], [-1.0, 0.5], [2.0, -3.0]]), rng.normal(size=(7,
        5)).round(2),
              np.array([[0.0, -0.5, 20.0, -20.0]]), rng.normal(size=LARGE)]
    forward, backward = [], []
    for x in inputs:
        if x.size > 6:
            D = rng.normal(size=x.shape).round(2)
            D[D == 0] = 1  # it divides below
        else:
            D = rng.integers(2, 5, x.shape) * rng.choice([-1.0, 1.0], x.shape)
        thing = attempt(lambda: activation.make(context.session))
        y = thing if isinstance(thing, Exception) else attempt(lambda: thing.array('forward', x))
        dx = y if isinstance(y, Exception) else attempt(lambda: thing.array('backward', D))
        if kind:
            expected, slope = kind.function(x, value), kind.slope(x, value)
            low, high = (kind.slope(x + step, value) for step in (-1e-9, 1e-9))
        else:
            expected = y if not isinstance(y, Exception) else np.zeros_like(x)
            slope, low, high = _measured_slopes(context, activation, x)
        at_kink = np.abs(high - low) > 1e-3
        if not isinstance(dx, Exception) and dx.shape == x.shape:
            with np.errstate(all='ignore'):
                allowed = at_kink & (dx / D >= np.minimum(low, high) - 1e-6) & (dx / D <= np.maximum(low, high) + 1e-6)
            slope = np.where(allowed, dx / D, slope)
        data = {'x': x, 'D': D, 'samples': len(x) + 1,
                **({activation.parameter: value} if activation.parameter else {})}
        forward.append(Comparison(data, y, expected))
        backward.append(Comparison(data, dx, D * slope, slack=0 if kind else 1e-5))
    return forward, backward


def _measured_slopes(context, activation, x):
    """The slope of the solution's own forward from both sides together, from the left and from the right."""
    h = 1e-6
    left, y, right = (attempt(lambda step=step: activation.make(context.session).array('forward', x + step))
                      for step in (-h, 0, h))
    if any(isinstance(values, Exception) or values.shape != x.shape for values in (left, y, right)):
        return [np.zeros_like(x)] * 3
    return (right - left) / (2 * h), (y - left) / h, (right - y) / h


def _forward_mistakes(activation):
    a, kind = activation.value, activation.kind
    mistakes = [
        Mistake('does nothing', 'returns its input unchanged', lambda x, **_: x),
        Mistake('sign', 'has the wrong sign', lambda x, **_: -kind.function(x, a)),
        Mistake('wrong side', 'keeps the negative numbers instead of the positive',
                lambda x, **_: np.where(x > 0, 0, x)),
        Mistake('wrong side', 'has the two cases exchanged', lambda x, **_: -kind.function(-x, a)),
        Mistake('absolute value', 'is |X|', lambda x, **_: np.abs(x)),
        Mistake('mask instead of values', 'is the mask [X > 0], 0 or 1, instead of the values',
                lambda x, **_: (x > 0) * 1.0),
    ]
    if kind and kind.name == 'elu':
        mistakes += [
            Mistake('α ignored', f'ignores alpha = {a:g}', lambda x, **_: np.where(x > 0, x, np.expm1(x))),
            Mistake('−1 forgotten', 'is α exp(X) for negative X: the −1 is missing',
                    lambda x, **_: np.where(x > 0, x, a * np.exp(x))),
            Mistake('α misplaced', 'is α exp(X) − 1 for negative X',
                    lambda x, **_: np.where(x > 0, x, a * np.exp(x) - 1)),
            Mistake('α misplaced', 'is exp(α X) − 1 for negative X',
                    lambda x, **_: np.where(x > 0, x, np.expm1(a * x))),
            Mistake('ReLU instead of ELU', 'is ReLU: 0 for negative X', lambda x, **_: np.maximum(x, 0)),
        ]
    if kind and kind.name == 'leaky':
        mistakes += [
            Mistake('sign of the slope', 'is −slope · X for negative X: the slope has the wrong sign',
                    lambda x, **_: np.where(x > 0, x, -a * x)),
            Mistake('slope missing', 'is ReLU: 0 for negative X, without the slope', lambda x, **_: np.maximum(x, 0)),
            Mistake('slope not multiplied', 'is the slope itself for negative X', lambda x, **_: np.where(x > 0, x, a)),
            Mistake('slope ignored', f'ignores the slope {a:g} (uses 0.01)',
                    lambda x, **_: np.where(x > 0, x, 0.01 * x)),
        ]
    return mistakes


def _backward_mistakes(activation):
    a, kind = activation.value, activation.kind
    mistakes = [
        Mistake('slope missing', 'is ∂L/∂Y itself: the slope h′(X) is missing', lambda D, **_: D)]
    if not kind:
        return mistakes
    mistakes += [
        Mistake('∂L/∂Y left out', 'is the slope h′(X) alone: it is not multiplied by ∂L/∂Y',
                lambda x, **_: kind.slope(x, a)),
        Mistake('slope of ∂L/∂Y', 'takes the slope at ∂L/∂Y instead of the input',
                lambda D, **_: D * kind.slope(D, a)),
        Mistake('slope of ∂L/∂Y', 'is h(∂L/∂Y): the activation of the gradient, not its slope at the input',
                lambda D, **_: kind.function(D, a)),
        Mistake('slope at the output', 'takes the slope at the output instead of the input',
                lambda x, D, **_: D * kind.slope(kind.function(x, a), a)),
        Mistake('input instead of slope', 'multiplies by the input instead of the slope', lambda x, D, **_: D * x),
        Mistake('output instead of slope', 'multiplies by the output instead of the slope',
                lambda x, D, **_: D * kind.function(x, a)),
        Mistake('output instead of slope', 'takes min(1, output) for the slope',
                lambda x, D, **_: D * np.minimum(1, kind.function(x, a))),
        Mistake('wrong side', 'has the mask inverted', lambda x, D, **_: D * kind.slope(-x, a)),
        Mistake('sign', 'has the wrong sign', lambda x, D, **_: -D * kind.slope(x, a)),
        Mistake('row sums of ∂L/∂Y', 'multiplies ∂L/∂Y by its own row sums instead of the slope',
                lambda D, **_: D * D.sum(axis=1),
                lambda D, **_: D * D.sum(axis=1, keepdims=True)),
        Mistake('never filled', 'is zero', lambda x, **_: np.zeros_like(x)),
    ]
    if kind.name in ('elu', 'leaky'):
        mistakes.insert(0, Mistake('slope missing for negative input', 'is the gradient of ReLU: the slope for negative input '
                                   'is missing', lambda x, D, **_: D * (x > 0)))
    if kind.name == 'elu':
        mistakes += [
            Mistake('α ignored', 'has no alpha in its slope for negative input',
                    lambda x, D, **_: D * np.where(x > 0, 1, np.exp(x))),
            Mistake('output instead of slope', 'takes the output for the slope for negative input: α (exp(X) − 1), '
                    'not α exp(X)', lambda x, D, **_: D * np.where(x > 0, 1, a * np.expm1(x))),
            Mistake('α misplaced', 'adds 1 instead of alpha to the output',
                    lambda x, D, **_: D * np.where(x > 0, 1, a * np.expm1(x) + 1)),
            Mistake('∂L/∂Y left out', 'is not multiplied by ∂L/∂Y for negative input',
                    lambda x, D, **_: np.where(x > 0, D, a * np.exp(x))),
            Mistake('∂L/∂Y left out', 'is not multiplied by ∂L/∂Y for positive input',
                    lambda x, D, **_: np.where(x > 0, 1, D * a * np.exp(x))),
            Mistake('x not in the exponent', 'is alpha for negative input: exp(X) is missing',
                    lambda x, D, **_: D * np.where(x > 0, 1, a)),
        ]
    if kind.name == 'leaky':
        mistakes += [
            Mistake('∂L/∂Y left out', 'is not multiplied by ∂L/∂Y for negative input',
                    lambda x, D, **_: np.where(x > 0, D, a)),
            Mistake('sign of the slope', 'has the wrong sign for negative input',
                    lambda x, D, **_: D * np.where(x > 0, 1, -a)),
            Mistake('slope ignored', 'takes 0.01 for the slope', lambda x, D, **_: D * np.where(x > 0, 1, 0.01)),
        ]
    return mistakes


def _far_out(context, activation):
    """Numbers as large as ±1e4:a note."""
    if not activation.kind:
        return
    x = np.array([[1e4, -1e4, 800.0, -800.0]])
    with np.errstate(all='ignore'):
        expected = activation.kind.function(x, activation.value)
    out = attempt(lambda: activation.make(context.session).array('forward', x))
    if np.isfinite(expected).all() and (isinstance(out, Exception) or not close(out, expected)):
        got = out if isinstance(out, (SolutionError, Malformed)) else np.asarray(out).ravel().tolist()
        context.note(PART, f'{activation.cls} gives {got} for 1e4, −1e4, 800, −800.', cause='overflow')
