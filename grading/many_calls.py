"""The same questions after as many calls as training makes, and an MLP of the assignment's size."""

import numpy as np

from grading.activation_part import LARGE as HIDDEN
from grading.causes import close
from grading.findings import INCORRECT
from grading.formulas import softmax
from grading.linear_part import LARGE
from grading.nets import CLASSES, INPUTS, build, reference_for
from grading.telling import attempt

CALLS = 600


def judge(context):
    rng, session = context.rng, context.session
    samples, in_features, out_features = LARGE
    logits, labels = rng.normal(size=(samples, 10)), np.arange(samples) % 10
    targets = [softmax(logits), labels if context.targets == 'labels' else np.eye(10)[labels]]
    hidden = [rng.normal(size=HIDDEN)]
    if context.linear:
        _ask_again(context, 'linear', lambda: context.linear.make(5, 4), *([rng.normal(size=(7, size))] for size in (5, 4)))
    for activation in context.activations.values():
        _ask_again(context, 'activation', lambda: activation.make(session), hidden, hidden)
    for part, cls, arguments in (('softmax', 'SoftMaxModule', [logits]), ('cross_entropy', 'CrossEntropyModule', targets)):
        if cls in context.names:
            _ask_again(context, part, lambda: session.new('modules', cls, []), arguments, arguments)
    if context.linear and _is_open(context, 'mlp'):
        _ask_mlp(context, samples, in_features, out_features)


def _is_open(context, part):
    return part not in context.findings.status and not context.findings.of(part, INCORRECT)


def _ask_again(context, part, make, forward, backward):
    """Forward and backward of the same object, before and after CALLS calls on a small batch."""
    if not _is_open(context, part):
        return
    thing = make()

    def answers():
        return [attempt(lambda: thing.array('forward', *forward)), attempt(lambda: thing.array('backward', *backward))]

    before = answers()
    few = [['forward', [array[:1] for array in forward]], ['backward', [array[:1] for array in backward]]]
    context.session.ask('repeat', times=CALLS, calls=[[thing.ref, *call] for call in few])
    for method, first, later in zip(('forward', 'backward'), before, answers()):
        if not isinstance(first, Exception) and (isinstance(later, Exception) or not close(later, first)):
            context.incorrect(part, f'After {CALLS} calls {thing.cls}.{method} gives something else for the same input '
                                    'than at first.', cause='changes after many calls',
                              place=context.modules.place(thing.cls, method, 'if|return'))


def _ask_mlp(context, samples, in_features, out_features):
    """After many steps of a small network, one step of a network and a batch as in the assignment."""
    small = build(context, [4])
    x = np.ones((1, 1, 1, INPUTS) if context.images else (1, INPUTS))
    calls = [[small.thing.ref, 'forward', [x]], [small.thing.ref, 'backward', [np.ones((1, CLASSES))]]]
    context.session.ask('repeat', times=CALLS, calls=calls)
    net = build(context, [out_features], in_features)
    reference = reference_for(context, net)
    x, D = context.rng.normal(size=(samples, in_features)), context.rng.normal(size=(samples, CLASSES))
    y = attempt(lambda: net.forward(x))
    gradients = attempt(lambda: [net.thing.call('backward', D)] and [
        (linear.gradient('weight'), linear.gradient('bias')) for linear in net.linears])
    expected = reference.gradients(x, D)
    if isinstance(y, Exception) or not close(y, reference.forward(x)[2]):
        _report(context, 'forward', y)
    elif isinstance(gradients, Exception) or not all(
            close(*pair) for found, right in zip(gradients, expected) for pair in zip(found, right)):
        _report(context, 'backward', gradients)


def _report(context, method, answer):
    raised = f': it raises {answer}' if isinstance(answer, Exception) else ''
    context.incorrect('mlp', f'{method} of MLP({LARGE[1]}, [{LARGE[2]}], {CLASSES}) is incorrect for {LARGE[0]} samples'
                             f'{raised}. For small networks and batches it is correct.', cause='only small sizes',
                      place=getattr(answer, 'place', None) or context.mlp.place('MLP', method, 'if|return|for'))
