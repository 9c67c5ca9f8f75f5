"""Cross-entropy, on labels or on one-hot rows, with whatever epsilon stands in its logarithm."""

import numpy as np

from grading.causes import Suspect, Trial, explain
from grading.common_checks import loops
from grading.remote import Failed
from grading.softmax_part import softmax
from grading.telling import attempt, example_of, tell

MAX_EPSILON = 2e-2


def loss_suspects():
    def picked(x, T):
        return (x * T).sum(axis=1)

    return [
        Suspect('sum in place of mean', 'is the sum over the batch in place of the mean: S times too large',
                lambda x, T, **_: -np.log(picked(x, T)).sum()),
        Suspect('sign', 'has the wrong sign', lambda x, T, **_: np.log(picked(x, T)).mean()),
        Suspect('mean over all', 'is divided by S · C in place of S',
                lambda x, T, **_: -np.log(picked(x, T)).sum() / x.size),
        Suspect('mean over classes', 'is the sum divided by the number of classes C in place of S',
                lambda x, T, **_: -np.log(picked(x, T)).sum() / x.shape[1]),
        Suspect('not reduced', 'is one number for each sample: the mean over the batch is missing',
                lambda x, T, **_: -np.log(picked(x, T))),
        Suspect('not reduced', 'is not summed at all', lambda x, T, **_: -T * np.log(x)),
        Suspect('wrong logarithm', 'takes the logarithm to the base 2',
                lambda x, T, **_: -np.log2(picked(x, T)).mean()),
        Suspect('wrong logarithm', 'takes the logarithm to the base 10',
                lambda x, T, **_: -np.log10(picked(x, T)).mean()),
        Suspect('no logarithm', 'has no logarithm in it', lambda x, T, **_: -picked(x, T).mean()),
        Suspect('all classes', 'sums over all classes in place of that of the label',
                lambda x, **_: -np.log(x).sum() / len(x)),
        Suspect('binary cross-entropy', 'is the binary cross-entropy: log(1 − X) of the other classes is in it',
                lambda x, T, **_: -(T * np.log(x) + (1 - T) * np.log(1 - x)).sum() / len(x)),
        Suspect('mean inside the logarithm', 'is the logarithm of the mean, not the mean of the logarithms',
                lambda x, T, **_: -np.log(picked(x, T).mean())),
        Suspect('softmax in the loss', 'takes the softmax of its input first: it expects logits',
                lambda x, T, **_: -np.log(picked(softmax(x), T)).mean()),
        Suspect('only the first sample', 'is that of the first sample', lambda x, T, **_: -np.log(picked(x, T))[0]),
    ]


def loss_gradient_suspects():
    return [
        Suspect('1/S missing', 'has no 1/S: it is the derivative of the sum over the batch, S times too large',
                lambda x, T, **_: -T / x),
        Suspect('fused gradient', 'is (X − T)/S, the gradient of softmax and cross-entropy together; softmax has a '
                'backward of its own, so it is differentiated twice', lambda x, T, **_: (x - T) / len(x)),
        Suspect('fused gradient', 'is X − T, the gradient of softmax and cross-entropy together, and without 1/S',
                lambda x, T, **_: x - T),
        Suspect('fused gradient', 'is −(X − T)/S: the gradient of softmax and cross-entropy together, with the wrong '
                'sign', lambda x, T, **_: (T - x) / len(x)),
        Suspect('fused gradient', 'is −(X − T): the gradient of softmax and cross-entropy together, with the wrong '
                                  'sign and without 1/S', lambda x, T, **_: T - x),
        Suspect('fused gradient', 'is (softmax(X) − T)/S, the gradient of softmax and cross-entropy together: it '
                                  'expects logits', lambda x, T, **_: (softmax(x) - T) / len(x)),
        Suspect('fused gradient', 'is softmax(X) − T, the gradient of softmax and cross-entropy together: it expects '
                'logits, and has no 1/S', lambda x, T, **_: softmax(x) - T),
        Suspect('sign', 'has the wrong sign', lambda x, T, **_: T / x / len(x)),
        Suspect('sign', 'has the wrong sign and no 1/S', lambda x, T, **_: T / x),
        Suspect('1/S twice', 'has 1/S twice', lambda x, T, **_: -T / x / len(x) ** 2),
        Suspect('mean over all', 'is divided by S · C in place of S', lambda x, T, **_: -T / x / x.size),
        Suspect('mean over classes', 'is divided by the number of classes C in place of S',
                lambda x, T, **_: -T / x / x.shape[1]),
        Suspect('targets left out', 'is −1/X for all classes: the targets are not in it',
                lambda x, **_: -1 / x / len(x)),
        Suspect('targets left out', 'is −1/X for all classes: neither the targets nor 1/S are in it',
                lambda x, **_: -1 / x),
        Suspect('X in place of 1/X', 'has X in it in place of 1/X', lambda x, T, **_: -T * x / len(x)),
        Suspect('X in place of 1/X', 'is −T/S: 1/X is missing', lambda x, T, **_: -T / len(x)),
        Suspect('logarithm in the gradient', 'has the logarithm in it: the loss of each element, not its slope',
                lambda x, T, **_: -T * np.log(x) / len(x)),
        Suspect('binary cross-entropy', 'is that of the binary cross-entropy',
                lambda x, T, **_: (-T / x + (1 - T) / (1 - x)) / len(x)),
        Suspect('summed', 'is summed over the batch', lambda x, T, **_: (-T / x / len(x)).sum(axis=0)),
        Suspect('never filled', 'is zero', lambda x, **_: np.zeros_like(x)),
    ]


def judge(context):
    part, cls, source = 'cross_entropy', 'CrossEntropyModule', context.modules
    if source.is_stub(cls, 'forward', 'backward'):
        return context.skip(part, 'stub')
    made = attempt(lambda: context.session.new('modules', cls, []))
    if isinstance(made, Exception):
        context.broken[cls] = 'can not be built'
        return context.wrong(part, f'{cls}() can not be built: {made}.', cause='can not be built',
                             place=getattr(made, 'place', ''))
    context.targets, forward, backward = _choose_targets(context, cls)
    context.epsilon = _epsilon(context, cls)
    for trials in (forward, backward):
        for trial in trials:
            trial.slack = _slack(trial, context.epsilon)
    place = source.place
    fine = tell(context, part, 'the loss', forward, loss_suspects(), place(cls, 'forward', r'log|mean|sum|return'),
                'L = −(1/S) Σ_s log X_s,label: a mean over the samples', ['x', 'labels'])
    fine &= tell(context, part, '∂L/∂X, the gradient of the probabilities,', backward, loss_gradient_suspects(),
                 place(cls, 'backward', r'dx|/|-=|return'), '∂L/∂X = −T / X / S, zero but for the class of the label',
                 ['x', 'labels'])
    wrong = context.findings.of(part, 'wrong')
    if wrong:
        context.broken[cls] = wrong[-1].cause
        context.fused = wrong[-1].text if wrong[-1].cause == 'fused gradient' else ''
    _labels_of_few_classes(context, part, cls, forward, backward)
    if fine:
        _cross_entropy_remarks(context, part, cls)
    loops(context, part, cls, ('forward', 'backward'))


def _data(rng, samples, classes, labels=None):
    """Probabilities, none below 0.05, labels and one-hot rows."""
    x = rng.dirichlet(np.ones(classes), size=samples) * (1 - 0.08 * classes) + 0.08
    if samples < 4:
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


def _trials(context, cls, targets, cases):
    forward, backward = [], []
    for x, labels, T in cases:
        loss, gradient = _run(context, cls, x, labels, targets)
        data = {'x': x, 'T': T, 'labels': labels, 'samples': len(x)}
        forward.append(Trial(data, loss, np.asarray(-np.log((x * T).sum(axis=1)).mean())))
        backward.append(Trial(data, gradient, -T / x / len(x)))
    return forward, backward


def _choose_targets(context, cls):
    """Labels or one-hot rows: those with which more comes out right, or is explained, or comes out at all."""
    cases = [_data(context.rng, samples, classes) for samples, classes in [(1, 3), (2, 3), (3, 4), (7, 5)]]
    best = None
    for targets in ('labels', 'rows'):
        forward, backward = _trials(context, cls, targets, cases)
        epsilon = _epsilon(context, cls, targets)
        for trial in forward + backward:
            trial.slack = _slack(trial, epsilon)
        score = 0
        for trials, suspects in ((forward, loss_suspects()), (backward, loss_gradient_suspects())):
            passed = sum(not trial.failed for trial in trials)
            came = sum(not isinstance(trial.actual, Exception) and np.isfinite(trial.actual).all()
                       and np.shape(trial.actual) == np.shape(trial.expected) for trial in trials)
            score += 100 * passed + 10 * came + 200 * (explain(trials, suspects) is not None and came == len(trials))
        if best is None or score > best[0]:
            both = best is not None and best[0] == score
            best = score, targets, forward, backward
        else:
            both = best[0] == score
    context.session.met('cross-entropy on labels and one-hot rows' if both else
                        f'cross-entropy on {"labels" if best[1] == "labels" else "one-hot rows"}')
    return best[1:]


def _epsilon(context, cls, targets=None):
    """What was added to the probability in the logarithm, or the bound that it was clipped to: from a tiny one."""
    targets = targets or context.targets
    found = 0.0
    for tiny in (1e-30, 1e-3):
        loss, _ = _run(context, cls, np.array([[tiny, 1 - tiny]]), np.array([0]), targets)
        if not isinstance(loss, Exception) and not loss.ndim and np.isfinite(loss):
            guess = np.exp(-abs(float(loss)))
            if 1.5 * tiny < guess < MAX_EPSILON:
                found = max(found, guess - tiny)
    return float(found)


def _slack(trial, epsilon):
    """How far an epsilon may move a loss or a gradient: by epsilon / x of itself, and its second order."""
    if not epsilon or epsilon > MAX_EPSILON:
        return 0
    smallest = (trial.inputs['x'] * trial.inputs['T']).sum(axis=1).min()
    return 1.5 * epsilon / smallest * (np.abs(trial.expected) + (1 if np.ndim(trial.expected) == 0 else 0))


def _labels_of_few_classes(context, part, cls, forward, backward):
    """Batches without the highest class, and of class 0 alone: a one-hot width of max(y) + 1 fails in them."""
    rng = context.rng
    cases = [_data(rng, 3, 4, np.zeros(3, int)), _data(rng, 2, 3, np.array([1, 0])),
             _data(rng, 5, 4, np.array([0, 2, 1, 1, 0]))]
    few = _trials(context, cls, context.targets, cases)
    failing = []
    for name, usual, trials, suspects in (('the loss', forward, few[0], loss_suspects()),
                                          ('∂L/∂X', backward, few[1], loss_gradient_suspects())):
        for trial in trials:
            trial.slack = _slack(trial, context.epsilon)
        known = explain(usual, suspects)
        if known and explain(trials, [known]) and not any(isinstance(trial.actual, Exception) for trial in trials):
            continue  # the same mistake as with all classes
        if any(trial.failed for trial in trials) and not any(trial.failed for trial in usual):
            failing.append((name, [trial for trial in trials if trial.failed]))
    if failing:
        raised = next((trial.actual for _, trials in failing for trial in trials
                       if isinstance(trial.actual, Exception)), None)
        context.wrong(part, f'{" and ".join(name for name, _ in failing)} fail{"s" * (len(failing) == 1)} for a batch '
                      'without a sample of the highest class: the one-hot rows are as wide as the largest label, '
                      f'max(y) + 1, in place of C{f" ({raised})" if raised else ""}.', cause='one-hot width',
                      place=context.modules.place(cls, 'forward' if failing[0][0] == 'the loss' else 'backward',
                                                  r'max|eye|zeros'),
                      example=example_of(failing[0][1][0], ['x', 'labels']),
                      hint='the width is that of X: X.shape[1]')
        context.broken.setdefault(cls, 'one-hot width')


def _cross_entropy_remarks(context, part, cls):
    if context.epsilon:
        context.remark(part, f'An epsilon of about {context.epsilon:.0e} stands in the logarithm.', cause='epsilon')
    loss, _ = _run(context, cls, np.array([[0.0, 1.0]]), np.array([0]), context.targets)
    if isinstance(loss, Exception) or not np.isfinite(loss).all():
        got = loss if isinstance(loss, Exception) else float(np.asarray(loss).ravel()[0])
        context.remark(part, f'The loss is {got} where the probability of the label is exactly 0.', cause='log of 0')
    x, labels, T = _data(context.rng, 3, 3)
    fresh = attempt(lambda: context.session.new('modules', cls, []).array(
        'backward', x, labels if context.targets == 'labels' else T))
    if isinstance(fresh, Failed):
        context.remark(part, f'backward needs a forward of the same object first: {fresh}.', cause='needs forward')
