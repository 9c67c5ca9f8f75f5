"""Softmax and cross-entropy in a row, as a training step has them: the gradient of the logits is (Y − T)/S."""

import numpy as np

from grading.causes import Trial
from grading.cross_entropy_part import MAX_EPSILON
from grading.softmax_part import SIZES, softmax
from grading.telling import attempt, tell


def judge(context):
    """The gradient of the logits through cross-entropy and softmax: (Y − T)/S."""
    part = 'softmax_cross_entropy'
    for other in ('softmax', 'cross_entropy'):
        status = context.findings.status.get(other)
        if status:
            return context.skip(part, status)
    trials = []
    for samples, classes in SIZES:
        logits = context.rng.normal(size=(samples, classes))
        labels = (np.arange(samples) + classes - 1) % classes
        T, y = np.eye(classes)[labels], softmax(logits)

        def chain(logits=logits, labels=labels, T=T):
            first, second = (context.session.new('modules', cls, []) for cls in ('SoftMaxModule', 'CrossEntropyModule'))
            probabilities = first.array('forward', logits)
            targets = labels if context.targets == 'labels' else T
            second.array('forward', probabilities, targets)
            return first.array('backward', second.array('backward', probabilities, targets))

        slack = 3 * min(context.epsilon, MAX_EPSILON) / (y * T).sum(axis=1).min() / samples
        trials.append(Trial({'logits': logits, 'labels': labels}, attempt(chain), (y - T) / samples, slack=slack))
    if not any(trial.failed for trial in trials):
        if any(finding.cause == 'one-hot width' for finding in context.findings.of('cross_entropy', 'wrong')):
            context.wrong(part, 'Wrong in the batches in which cross-entropy is (see there).', cause='follows')
        return
    guilty = [name for name, cls in (('softmax', 'SoftMaxModule'), ('cross-entropy', 'CrossEntropyModule'))
              if cls in context.broken]
    if guilty:
        context.wrong(part, f'Wrong only since {" and ".join(guilty)} {"is" if len(guilty) == 1 else "are"} '
                            '(see there).'
                      + (' Softmax is differentiated twice.' if context.fused else ''), cause='follows')
        return
    tell(context, part, 'the gradient of the logits', trials, shown=['logits', 'labels'],
         hint='it is (Y − T)/S; each of the two is right by itself, so look for what they share')
