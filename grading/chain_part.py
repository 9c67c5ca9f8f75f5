"""Softmax and cross-entropy together, as in a training step: the gradient of the logits is (Y − T)/S, and what follows."""

import numpy as np

from grading.causes import SOFTMAX_IN_LOSS, Comparison, close
from grading.diagnosis import attempt, check
from grading.findings import NOT_GRADED, TITLES
from grading.formulas import MAX_EPSILON, softmax
from grading.interface import Malformed
from grading.nets import CLASSES, INPUTS, build, reference_for
from grading.remote import SolutionError
from grading.softmax_part import SIZES


def judge(context):
    """The gradient of the logits through cross-entropy and softmax: (Y − T)/S."""
    part = 'softmax_cross_entropy'
    for other in ('softmax', 'cross_entropy'):
        status = context.findings.status.get(other)
        if status:
            return context.skip(part, status, f'the {TITLES[other]} module could not be graded' if status == NOT_GRADED else '')
    cases = []
    for samples, classes in SIZES:
        logits = context.rng.normal(size=(samples, classes)).round(2)
        labels = (np.arange(samples) + classes - 1) % classes
        T, y = np.eye(classes)[labels], softmax(logits)

        def chain(logits=logits, labels=labels, T=T):
            first, second = (context.session.new('modules', cls, []) for cls in ('SoftMaxModule', 'CrossEntropyModule'))
            probabilities = first.array('forward', logits)
            targets = labels if context.targets == 'labels' else T
            second.array('forward', probabilities, targets)
            return first.array('backward', second.array('backward', probabilities, targets))

        slack = 3 * min(context.epsilon, MAX_EPSILON) / (y * T).sum(axis=1).min() / samples
        cases.append(Comparison({'logits': logits, 'labels': labels, 'T': T}, attempt(chain), (y - T) / samples, slack=slack))
    if not any(case.failed for case in cases):
        if context.one_hot_width:
            context.inherited[part] = ['cross-entropy']
        return
    sources = [name for name, cls in (('softmax', 'SoftMaxModule'), ('cross-entropy', 'CrossEntropyModule'))
               if cls in context.faulty]
    if sources:
        context.inherited[part] = sources
        return
    check(context, part, 'the gradient of the logits', cases,
          shown=['logits', 'labels' if context.targets == 'labels' else 'T'],
          hint='it is (Y − T)/S; each of the two is correct by itself, so look for what they share')


def chain_is_right(context, softmax_outside=False, samples=7, inputs=INPUTS, hidden=(6, 4), classes=CLASSES):
    """Are the gradients correct if MLP.backward gets the gradient from CrossEntropyModule?

    softmax_outside: a SoftMaxModule is between the two, as in some training scripts.
    """
    try:
        net = build(context, list(hidden), inputs, classes)
        reference = reference_for(context, net)
        x = context.rng.normal(size=(samples, inputs))
        labels = np.arange(samples) % classes
        T = np.eye(classes)[labels]
        loss = context.session.new('modules', 'CrossEntropyModule', [])
        y = net.forward(x)
        if softmax_outside:
            outside = context.session.new('modules', 'SoftMaxModule', [])
            y = outside.array('forward', y)
        targets = labels if context.targets == 'labels' else T
        value = loss.array('forward', y, targets)
        if any(finding.cause == SOFTMAX_IN_LOSS for finding in context.fused) and not close(
                value.reshape(()), -np.log((reference.forward(x)[2] * T).sum(axis=1)).mean()):
            return False  # the MLP has a softmax, too
        D = loss.array('backward', y, targets)
        net.thing.call('backward', outside.array('backward', D) if softmax_outside else D)
        expected = reference.gradients(x, (reference.forward(x)[2] - T) / samples, through_softmax=False)
        slack = 5 * min(context.epsilon, MAX_EPSILON)
        return all(close(linear.gradient(name), grads[which], slack)
                   for linear, grads in zip(net.linears, expected) for which, name in enumerate(('weight', 'bias')))
    except (SolutionError, Malformed):
        return False
