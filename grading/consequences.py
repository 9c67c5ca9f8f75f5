"""Findings that depend on several parts; they are added after all NumPy parts have been graded."""

from grading.chain_part import chain_is_right
from grading.findings import BLOCKED, INHERITED

TWICE = ' Softmax is differentiated twice.'
ONE_STEP = ('Softmax and cross-entropy are one step here: CrossEntropyModule gives the gradient of both, and the '
            'backward pass leaves softmax out. Graded as one step, which is correct.')
BUILT_ON_BOTH = ('softmax', 'cross_entropy', 'softmax_cross_entropy', 'mlp')


def decide(context):
    """Turn the parts' notes about each other into findings."""
    if context.fused and chain_is_right(context):
        return _accept_one_step(context)
    outside = [finding for finding in context.fused if finding.part == 'mlp']
    in_script = context.sources['train_mlp_numpy'].mentions('SoftMaxModule')
    if outside and in_script and chain_is_right(context, softmax_outside=True):
        context.softmax_outside = True
        for finding in outside:
            context.findings.found.remove(finding)
        context.deviates(
            'mlp', 'forward gives logits, and the training script takes their softmax: it belongs in the MLP. Graded '
            'with the softmax of the script, which is correct.', cause='softmax outside the MLP')
    for part, sources in context.inherited.items():
        names = f'{" and ".join(sources)} {"is" if len(sources) == 1 else "are"}'
        text = (f'Besides, {names} incorrect (see there).' if context.errors(part) else
                f'Incorrect only because {names} (see there).')
        if part == 'softmax_cross_entropy' and any(finding.part == 'cross_entropy' for finding in context.fused):
            text += TWICE
        context.incorrect(part, text, cause=INHERITED)


def _accept_one_step(context):
    """Remove the findings that follow only from leaving out the softmax, because they are not errors."""
    context.one_step = True
    findings, parts = context.findings, set(context.inherited)
    for finding in list(findings.found):
        if finding in context.fused or finding.part in BUILT_ON_BOTH and finding.cause == BLOCKED:
            findings.found.remove(finding)
            parts.add(finding.part)
    for part in BUILT_ON_BOTH:
        if part in parts:
            context.note(part, ONE_STEP, cause='softmax and cross-entropy in one step')
