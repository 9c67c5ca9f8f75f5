"""The same checks after as many calls as in a training run, and an MLP of the assignment's size."""

import numpy as np

from grading.activation_part import LARGE as HIDDEN
from grading.causes import close
from grading.chain_part import chain_is_right
from grading.diagnosis import attempt
from grading.findings import INHERITED
from grading.formulas import softmax
from grading.interface import Malformed
from grading.nets import CLASSES, INPUTS, build, reference_for
from grading.remote import SolutionError

CALLS = 600
SAMPLES, *ASSIGNMENT = 128, [512, 256, 128], 3072, 10  # hidden sizes, inputs and classes of its largest network
IN_WORDS = f'MLP({ASSIGNMENT[1]}, {ASSIGNMENT[0]}, {ASSIGNMENT[2]}) with {SAMPLES} samples'


def judge(context):
    rng, session = context.rng, context.session
    logits, labels = rng.normal(size=(SAMPLES, 10)), np.arange(SAMPLES) % 10
    targets = [softmax(logits), labels if context.targets == 'labels' else np.eye(10)[labels]]
    hidden = [rng.normal(size=HIDDEN)]
    if context.linear:
        _ask_again(context, 'linear', lambda: _linear(context), *([rng.normal(size=(7, size))] for size in (5, 4)))
    for activation in context.activations.values():
        _ask_again(context, 'activation', lambda: activation.make(session), hidden, hidden)
    for part, cls, arguments in (('softmax', 'SoftMaxModule', [logits]), ('cross_entropy', 'CrossEntropyModule',
        targets)):
        if cls in context.names:
            _ask_again(context, part, lambda: session.new('modules', cls, []), arguments, arguments)
    if not context.linear or not _is_open(context, 'mlp') or context.softmax_outside:
        return
    if not context.one_step:
        _ask_mlp(context)
    elif not chain_is_right(context, samples=SAMPLES, **dict(zip(('hidden', 'inputs', 'classes'), ASSIGNMENT))):
        context.incorrect('mlp', f'A step of {IN_WORDS} is incorrect. For small networks and batches it is correct.',
                          cause='only small sizes')


def _linear(context):
    linear = context.linear.make(5, 4)
    linear.set_parameters(context.rng.normal(size=(4, 5)), context.rng.normal(size=4))
    return linear


def _is_open(context, part):
    return part not in context.findings.status and not context.errors(part)


def _ask_again(context, part, make, forward, backward):
    """Forward and backward of the same object, before and after CALLS calls on a small batch."""
    if not _is_open(context, part):
        return
    thing = make()

    def answers():
        return [attempt(lambda: thing.array('forward', *forward)), attempt(lambda: thing.array('backward', *backward))]

    before = answers()
    few = [['forward', [array[:1] for array in forward]], ['backward', [array[:1] for array in backward]]]
    attempt(lambda: context.session.ask('repeat', times=CALLS, calls=[[thing.ref, *call] for call in few]))
    for method, first, later in zip(('forward', 'backward'), before, answers()):
        if not isinstance(first, Exception) and (isinstance(later, Exception) or not close(later, first)):
            context.incorrect(part, f'After {CALLS} calls {thing.cls}.{method} gives something else for the same input '
                                    'than at first.', cause='changes after many calls',
                              place=context.modules.place(thing.cls, method, 'if|return'))
            context.blame(thing.cls)


def _ask_mlp(context):
    """Check a small network after many steps, and one step with the sizes of the assignment."""
    what, besides = f'a small MLP after {CALLS} steps', 'At first it is correct'
    try:
        small = build(context, [4])
        x, D = np.ones((1, INPUTS)), np.arange(CLASSES)[None] - 1.0
        images = x.reshape(1, 1, 1, INPUTS) if context.images else x
        calls = [[small.thing.ref, 'forward', [images]], [small.thing.ref, 'backward', [D]]]
        context.session.ask('repeat', times=CALLS, calls=calls)
        if not context.faulty and (changed := _wrong_method(context, small, x, D)):
            return context.incorrect(
                'mlp', f'After {CALLS} steps {changed} of the MLP gives something else than at first.',
                cause='changes after many calls', place=context.mlp.place('MLP', changed, 'if|return|for'))
        what, besides = IN_WORDS, 'For small networks and batches it is correct'
        net = build(context, *ASSIGNMENT)
        method = _wrong_method(context, net, *(context.rng.normal(size=(SAMPLES, size)) for size in ASSIGNMENT[1:]))
        failure, place = method and f'{method} is incorrect', context.mlp.place('MLP', method, 'if|return|for')
    except (SolutionError, Malformed) as error:
        failure, place = f'fails with {error}', error.place
    if failure and context.faulty:
        names = f'{" and ".join(context.faulty)} {"is" if len(context.faulty) == 1 else "are"}'
        context.incorrect('mlp', f'Incorrect for {SAMPLES} samples, or after many steps, only because {names} (see '
                                 'there).',
                          cause=INHERITED)
    elif failure:
        context.incorrect('mlp', f'{what}: {failure}. {besides}.', cause='only small sizes', place=place)


def _wrong_method(context, net, x, D):
    """The method of a network that is not what the formulas say, forward or backward; or ''."""
    reference = reference_for(context, net)
    for thing in (net.thing, *net.linears) if context.gradients_add_up else ():
        thing.clear()
    for linear in net.linears if context.gradients_add_up else ():
        linear.zero_gradients()
    y, gradients = reference.forward(x)[2], reference.gradients(x, D)  # first, since it may ask the activation of the network
    if not close(net.forward(x), y):
        return 'forward'
    net.thing.call('backward', D)
    return '' if all(close(linear.gradient(name), expected) for linear, pair in zip(net.linears, gradients)
                     for name, expected in zip(('weight', 'bias'), pair)) else 'backward'
