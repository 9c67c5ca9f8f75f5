"""What the assignment asks of the NumPy MLP besides correct results: flattened images, initialization, clear_cache."""

import numpy as np

from grading.causes import close
from grading.diagnosis import attempt
from grading.nets import CLASSES, INPUTS, build
from grading.remote import SolutionError

PART = 'mlp'


def initialization(context):
    """The first linear module starts like one with input_layer=True, and the others like one without it."""
    if not context.linear.has_input_layer:
        return
    for number, layer in enumerate(build(context, [300, 300], inputs=400, classes=300).linears):
        N, M = layer.shape
        start, own, other = (linear.parameter('weight').std() for linear in (
            layer, *(context.linear.make(M, N, flag) for flag in (number == 0, number != 0))))
        if abs(start - own) > 0.05 * own:
            advice = ('.' if abs(start - other) > 0.05 * other else
                      ': input_layer=True is for the first layer only.' if number else ': is input_layer=True passed to it?')
            context.deviates(PART, f'The {("first", "second", "last")[number]} linear layer starts with standard deviation '
                                   f'{start:.3g} instead of {own:.3g}{advice}', cause='initialization')


def images(context):
    """Images (S, C, H, W) are beyond the assignment's text: a note."""
    if context.images:
        return
    net = build(context, [4], inputs=12)
    x = context.rng.normal(size=(2, 3, 2, 2))
    flat = net.thing.array('forward', x.reshape(2, 12))
    out = attempt(lambda: net.thing.array('forward', x))
    if isinstance(out, Exception) or not close(out, flat):
        context.note(PART, 'Images (S, channels, height, width) are not flattened.', cause='images')


def cache(context):
    """clear_cache of the MLP is there, runs, and reaches every module that the network uses."""
    if not context.asks_for_clear_cache:
        return
    net = build(context, [CLASSES])  # so that all results of its modules have one shape
    if not net.thing.has('clear_cache'):
        return context.deviates(PART, 'MLP has no clear_cache.', cause='clear_cache')
    if context.mlp.is_empty('MLP', 'clear_cache'):
        return context.deviates(PART, 'clear_cache of MLP is not implemented.', cause='clear_cache')
    before = _ready_for_backward(context, net)  # objects that the network may not use
    y = net.forward(np.ones((2, INPUTS)))
    try:
        net.thing.call('clear_cache')
    except SolutionError as failed:
        return context.deviates(PART, f'clear_cache of MLP raises {failed}.', cause='clear_cache', place=failed.place)
    again = attempt(lambda: net.forward(np.ones((2, INPUTS))))
    if not context.faulty and (isinstance(again, Exception) or not close(again, y)):
        return context.incorrect(PART, 'After clear_cache of the MLP forward gives something else for the same input'
                                       f'{f" ({again})" if isinstance(again, Exception) else ""}: it changes more than the '
                                       'cache.', cause='clear_cache', place=context.mlp.place('MLP', 'clear_cache', '='))
    net.thing.call('clear_cache')
    left = [words for ref, words in _ready_for_backward(context, net).items() if ref not in before]
    if left:
        context.deviates(PART, f'clear_cache of MLP does not reach its {" and ".join(dict.fromkeys(left))}.',
                         cause='clear_cache')


def _ready_for_backward(context, net):
    """{reference: words} for the modules of a network whose clear_cache works and whose backward can be called now."""
    words = {'LinearModule': 'linear layers', **dict.fromkeys(context.activations, 'activations'),
             'SoftMaxModule': 'softmax'}
    found = context.session.ask('find', target=net.thing.ref, module='modules',
                                classes=[cls for cls in words if cls in context.forgets])
    D = np.ones((2, CLASSES))
    return {ref: words[cls] for ref, cls in found if cls in words and not isinstance(attempt(
        lambda ref=ref: context.session.ask('call', target=ref, method='backward', args=[D])), Exception)}
