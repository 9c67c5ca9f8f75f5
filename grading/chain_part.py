"""Softmax and cross-entropy together, as in a training step: the gradient of the logits is (Y − T)/S."""

import numpy as np

from grading.causes import Comparison
from grading.diagnosis import attempt, check
from grading.findings import NOT_GRADED, TITLES
from grading.formulas import MAX_EPSILON, softmax
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
