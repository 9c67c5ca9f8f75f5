"""Cross-entropy, on labels or on one-hot rows, with the solution's epsilon."""

import numpy as np

from grading.causes import SOFTMAX_IN_LOSS, Comparison, Mistake, close, explain
from grading.common_checks import loops
from grading.diagnosis import attempt, check, example_of
from grading.findings import NOT_IMPLEMENTED
from grading.formulas import MAX_EPSILON, softmax
from grading.remote import SolutionError


def loss_mistakes():
    def picked(x, T):
        return (x * T).sum(axis=1)

    return [
        Mistake('sum instead of mean', 'is the sum over the batch instead of the mean: too large by a factor of S',
                lambda x, T, **_: -np.log(picked(x, T)).sum()),
        Mistake('sign', 'has the wrong sign', lambda x, T, **_: np.log(picked(x, T)).mean()),
        Mistake('mean over all', 'is divided by S · C instead of S',
                lambda x, T, **_: -np.log(picked(x, T)).sum() / x.size),
        Mistake('mean over classes', 'is the sum divided by the number of classes C instead of S',
                lambda x, T, **_: -np.log(picked(x, T)).sum() / x.shape[1]),
        Mistake('not reduced', 'is one number for each sample: the mean over the batch is missing',
                lambda x, T, **_: -np.log(picked(x, T))),
        Mistake('not reduced', 'is not summed at all', lambda x, T, **_: -T * np.log(x)),
        Mistake('wrong logarithm', 'takes the logarithm to the base 2',
                lambda x, T, **_: -np.log2(picked(x, T)).mean()),
        Mistake('wrong logarithm', 'takes the logarithm to the base 10',
                lambda x, T, **_: -np.log10(picked(x, T)).mean()),
        Mistake('wrong logarithm', 'takes the logarithm to the base 2, and is divided by S · C instead of S',
                lambda x, T, **_: -np.log2(picked(x, T)).sum() / x.size),
        Mistake('no logarithm', 'has no logarithm in it', lambda x, T, **_: -picked(x, T).mean()),
        Mistake('all classes', 'sums over all classes instead of using the class of the label',
                lambda x, **_: -np.log(x).sum() / len(x)),
        Mistake('binary cross-entropy', 'is the binary cross-entropy: log(1 − X) of the other classes is in it',
                lambda x, T, **_: -(T * np.log(x) + (1 - T) * np.log(1 - x)).sum() / len(x)),
        Mistake('mean inside the logarithm', 'is the logarithm of the mean, not the mean of the logarithms',
                lambda x, T, **_: -np.log(picked(x, T).mean())),
        Mistake(SOFTMAX_IN_LOSS, 'takes the softmax of its input first: it expects logits',
                lambda x, T, **_: -np.log(picked(softmax(x), T)).mean(), fused=True),
        Mistake('only the first sample', 'is the loss of the first sample only', lambda x, T, **_: -np.log(picked(x, T))[0]),
    ]


def loss_gradient_mistakes():
    return [
        Mistake('1/S missing', 'has no 1/S: it is the derivative of the sum over the batch, too large by a factor of S',
                lambda x, T, **_: -T / x),
        Mistake('fused gradient', 'is (X − T)/S, the gradient of softmax and cross-entropy together; softmax has a '
                'backward of its own, so it is differentiated twice', lambda x, T, **_: (x - T) / len(x), fused=True),
        Mistake('fused gradient', 'is X − T, the gradient of softmax and cross-entropy together, and without 1/S',
                lambda x, T, **_: x - T, fused=True),
        Mistake('fused gradient', 'is −(X − T)/S: the gradient of softmax and cross-entropy together, with the wrong '
                'sign', lambda x, T, **_: (T - x) / len(x), fused=True),
        Mistake('fused gradient', 'is −(X − T): the gradient of softmax and cross-entropy together, with the wrong '
                                  'sign and without 1/S', lambda x, T, **_: T - x, fused=True),
        Mistake('fused gradient', 'is (softmax(X) − T)/S, the gradient of softmax and cross-entropy together: it '
                                  'expects logits', lambda x, T, **_: (softmax(x) - T) / len(x), fused=True),
        Mistake('fused gradient', 'is softmax(X) − T, the gradient of softmax and cross-entropy together: it expects '
                'logits, and has no 1/S', lambda x, T, **_: softmax(x) - T, fused=True),
        Mistake('sign', 'has the wrong sign', lambda x, T, **_: T / x / len(x)),
        Mistake('sign', 'has the wrong sign and no 1/S', lambda x, T, **_: T / x),
        Mistake('1/S twice', 'has 1/S twice', lambda x, T, **_: -T / x / len(x) ** 2),
        Mistake('mean over all', 'is divided by S · C instead of S', lambda x, T, **_: -T / x / x.size),
        Mistake('mean over classes', 'is divided by the number of classes C instead of S',
                lambda x, T, **_: -T / x / x.shape[1]),
        Mistake('targets left out', 'is −1/X for all classes: the targets are not in it',
                lambda x, **_: -1 / x / len(x)),
        Mistake('targets left out', 'is −1/X for all classes: neither the targets nor 1/S are in it',
                lambda x, **_: -1 / x),
        Mistake('X instead of 1/X', 'has X in it instead of 1/X', lambda x, T, **_: -T * x / len(x)),
        Mistake('X instead of 1/X', 'is −T/S: 1/X is missing', lambda x, T, **_: -T / len(x)),
        Mistake('logarithm in the gradient', 'has the logarithm in it: the loss of each element, not its slope',
                lambda x, T, **_: -T * np.log(x) / len(x)),
        Mistake('binary cross-entropy', 'is the gradient of the binary cross-entropy',
                lambda x, T, **_: (-T / x + (1 - T) / (1 - x)) / len(x)),
        Mistake('summed', 'is summed over the batch', lambda x, T, **_: (-T / x / len(x)).sum(axis=0)),
        Mistake('never filled', 'is zero', lambda x, **_: np.zeros_like(x)),
    ]


def judge(context):
    part, cls, source = 'cross_entropy', 'CrossEntropyModule', context.modules
    if source.is_stub(cls, 'forward', 'backward'):
        return context.skip(part, NOT_IMPLEMENTED)
    made = attempt(lambda: context.session.new('modules', cls, []))
    if isinstance(made, Exception):
        context.blame(cls)
        return context.incorrect(part, f'{cls}() cannot be built: {made}.', cause='cannot be built',
                                 place=made.place)
    context.targets, forward, backward, (of_loss, of_gradient) = _choose_targets(context, cls)
    context.epsilon = max(of_loss, of_gradient)  # the effect that later parts must allow for
    place, shown = source.place, _shown(context)
    fine = check(context, part, 'the loss', forward, loss_mistakes(), place(cls, 'forward', r'log|mean|sum|return'),
                 'L = −(1/S) Σ_s log X_s,label: a mean over the samples', shown)
    fine &= check(context, part, '∂L/∂X, the gradient of the probabilities,', backward, loss_gradient_mistakes(),
                  place(cls, 'backward', r'=|return'),
                  '∂L/∂X = −T / X / S, zero except for the class of the label', shown,
                  [('fused gradient', place(cls, 'backward', '-'))])
    _labels_of_few_classes(context, part, cls, forward, backward)
    if context.errors(part):
        context.blame(cls)
    if fine:
        _cross_entropy_notes(context, part, cls, of_loss, of_gradient)
    loops(context, part, cls, ('forward', 'backward'))


def _shown(context):
    """The inputs in an example, in the form that the solution takes."""
    return ['x', 'labels' if context.targets == 'labels' else 'T']


def _data(rng, samples, classes, labels=None):
    """Probabilities, none below 0.05, labels and one-hot rows."""
    x = rng.dirichlet(np.ones(classes), size=samples) * (1 - 0.08 * classes) + 0.08
    x = x.round(2)
    x[:, 0] += 1 - x.sum(axis=1)
    labels = (np.arange(samples) + classes - 1) % classes if labels is None else labels
    return x, labels, np.eye(classes)[labels]


def _run(context, cls, x, labels, targets):
    """(loss, gradient) of a new object: backward after forward, as in a training step."""
    given = labels if targets == 'labels' else np.eye(x.shape[1])[labels]
    thing = attempt(lambda: context.session.new('modules', cls, []))
    if isinstance(thing, Exception):
        return thing, thing
    loss = attempt(lambda: _scalar(thing.array('forward', x, given)))
    return loss, attempt(lambda: thing.array('backward', x, given))


def _scalar(array):
    return array.reshape(()) if array.size == 1 else array


def _cases(context, cls, targets, batches):
    forward, backward = [], []
    for x, labels, T in batches:
        loss, gradient = _run(context, cls, x, labels, targets)
        data = {'x': x, 'T': T, 'labels': labels, 'samples': len(x)}
        forward.append(Comparison(data, loss, np.asarray(-np.log((x * T).sum(axis=1)).mean())))
        backward.append(Comparison(data, gradient, -T / x / len(x)))
    return forward, backward


def _choose_targets(context, cls):
    """Choose labels or one-hot rows, whichever have better results (_score) → targets, cases, epsilons."""
    batches = [_data(context.rng, samples, classes) for samples, classes in [(1, 3), (2, 3), (3, 4), (7, 5), (128, 10)]]
    best = None
    for targets in ('labels', 'rows'):
        forward, backward = _cases(context, cls, targets, batches)
        epsilons = _allow_epsilon(context, cls, targets, forward, backward)
        score = _score(forward, backward)
        if best is None or score > best[0]:
            both = best is not None and best[0] == score
            best = score, targets, forward, backward, epsilons
        else:
            both = best[0] == score
    context.session.met('cross-entropy on labels and one-hot rows' if both else
                        f'cross-entropy on {"labels" if best[1] == "labels" else "one-hot rows"}')
    return best[1:]


def _score(forward, backward):
    """What to compare, in this order: how many of loss and gradient are correct or explained, the number of correct
    results, of usable results and of answers, and the last line that ran before an error.
    """
    understood = 0
    for cases, mistakes in ((forward, loss_mistakes()), (backward, loss_gradient_mistakes())):
        understood += not any(case.failed for case in cases) or (all(map(_usable, cases)) and
                                                                 explain(cases, mistakes) is not None)
    cases = forward + backward
    errors = [case.actual for case in cases if isinstance(case.actual, Exception)]
    return (understood, sum(not case.failed for case in cases), sum(map(_usable, cases)), -len(errors),
            max((error.place.line for error in errors), default=0))


def _usable(case):
    return _is_finite(case.actual) and np.shape(case.actual) == np.shape(case.expected)


def _allow_epsilon(context, cls, targets, forward, backward):
    """Measure the epsilons of loss and gradient, and allow for their effect → both."""
    probes = [(tiny, *_run(context, cls, np.array([[tiny, 1 - tiny]]), np.array([0]), targets)) for tiny in (1e-30,
        1e-3)]
    losses = [(tiny, np.exp(-abs(loss))) for tiny, loss, _ in probes if np.ndim(loss) == 0 and _is_finite(loss)]
    slopes = [(tiny, 1 / abs(gradient[0, 0])) for tiny, _, gradient in probes
              if np.shape(gradient) == (1, 2) and _is_finite(gradient) and gradient[0, 0]]
    epsilons = _epsilon(losses), _epsilon(slopes)
    for cases, epsilon in zip((forward, backward), epsilons):
        for case in cases:
            case.slack = _slack(case, epsilon)
            x = case.inputs['x']
            case.also = {'x': x + epsilon} if epsilon else None
    return epsilons


def _is_finite(value):
    return not isinstance(value, Exception) and bool(np.isfinite(value).all())


def _epsilon(seen):
    """The number that is added to the probability in the logarithm, or the bound to which it is clipped, or 0.

    seen: pairs of a tiny probability and the probability that would explain the loss or gradient. One epsilon must
    explain both pairs.
    """
    if len(seen) < 2:
        return 0.0
    (_, epsilon), (probability, as_seen) = seen
    explained = any(abs(with_it / as_seen - 1) < 1e-3 for with_it in (probability + epsilon, max(probability, epsilon)))
    return float(epsilon) if explained and 1e-29 < epsilon < MAX_EPSILON else 0.0


def _slack(case, epsilon):
    """How far an epsilon may move a loss or a gradient: by epsilon / x of itself, and its second order."""
    smallest = (case.inputs['x'] * case.inputs['T']).sum(axis=1).min()
    return 1.5 * epsilon / smallest * (np.abs(case.expected) + (1 if np.ndim(case.expected) == 0 else 0))


def _labels_of_few_classes(context, part, cls, forward, backward):
    """Batches without the highest class, and of class 0 alone: a one-hot width of max(y) + 1 fails in them."""
    rng = context.rng
    batches = [_data(rng, 3, 4, np.zeros(3, int)), _data(rng, 2, 3, np.array([1, 0])),
               _data(rng, 5, 4, np.array([0, 2, 1, 1, 0]))]
    few = _cases(context, cls, context.targets, batches)
    _allow_epsilon(context, cls, context.targets, *few)
    failing = []
    for name, usual, cases in (('the loss', forward, few[0]), ('∂L/∂X', backward, few[1])):
        if any(case.failed for case in cases) and not any(case.failed for case in usual):
            failing.append((name, [case for case in cases if case.failed]))
    if failing:
        all_failing = [case for _, cases in failing for case in cases]
        shown = next((case for case in all_failing if isinstance(case.actual, Exception)), all_failing[0])
        raised = shown.actual if isinstance(shown.actual, Exception) else None
        context.incorrect(part, f'{" and ".join(name for name, _ in failing)} fail{"s" * (len(failing) == 1)} for a '
                                'batch without a sample of the highest class: the one-hot rows are as wide as the '
                                f'largest label, max(y) + 1, instead of C{f" ({raised})" if raised else ""}.',
                          cause='one-hot width',
                          place=context.modules.place(cls, 'forward' if failing[0][0] == 'the loss' else 'backward',
                                                      r'max|eye|zeros'),
                          example=example_of(shown, _shown(context)),
                          hint='the rows must be as wide as X: X.shape[1]')
        context.one_hot_width = True


def _cross_entropy_notes(context, part, cls, of_loss, of_gradient):
    if epsilon := of_loss or of_gradient:
        loss, gradient = _run(context, cls, np.array([[epsilon, 1 - epsilon]]), np.array([0]), context.targets)
        got, expected = (loss, -np.log(epsilon)) if of_loss else (gradient, [[-1 / epsilon, 0]])
        words = (f'The probabilities are clipped to at least about {epsilon:.0e}'
                 if not isinstance(got, Exception) and close(got, expected, tolerance=1e-3) else  # otherwise it is as for 2 ε
                 f'An epsilon of about {epsilon:.0e} is')
        context.note(part, f'{words} in the {"logarithm" if of_loss else "gradient only, not in the loss"}.', cause='epsilon')
    certain = [_run(context, cls, np.array([[p, 1 - p]]), np.array([0]), context.targets)[0] for p in (0.0, 1.0)]
    fails = [isinstance(loss, Exception) or not np.isfinite(loss).all() for loss in certain]
    got = [loss if isinstance(loss, Exception) else float(np.asarray(loss).ravel()[0]) for loss in certain]
    if fails[0]:
        even = f', and {got[1]} if it is 1' if fails[1] else ''
        context.note(part, f'The loss is {got[0]} if the probability of the label is 0{even}.', cause='log of 0')
    if not fails[1] and abs(got[1]) > 2 * of_loss + 1e-3:
        context.incorrect(part, f'The loss is {got[1]:.3g} if the probability of the label is 1; it should be 0.',
                          cause='loss of a certain prediction', place=context.modules.place(cls, 'forward', 'clip|min|log|return'))
        context.blame(cls)
    x, labels, T = _data(context.rng, 3, 3)
    fresh = attempt(lambda: context.session.new('modules', cls, []).array(
        'backward', x, labels if context.targets == 'labels' else T))
    if isinstance(fresh, SolutionError):
        context.note(part, f'backward needs a forward of the same object first: {fresh}.', cause='needs forward')
