"""The PyTorch MLP: its layers and their order, seen from what passes each; logits; gradients to every parameter."""

import numpy as np

from grading.findings import MISSING, NOT_GRADED, NOT_IMPLEMENTED, Place
from grading.interface import describe_value
from grading.remote import SolutionEnded, SolutionError
from grading.telling import attempt

PART = 'pytorch'
INPUTS, HIDDEN, CLASSES = 5, [6, 4], 3
BUILT = f'MLP({INPUTS}, {HIDDEN}, {CLASSES})'
NORM = 'BatchNorm'


def judge(context, source, has_torch):
    if not source.exists:
        return context.skip(PART, MISSING, 'no mlp_pytorch.py')
    if source.problem:
        return context.skip(PART, NOT_GRADED, source.problem)
    if source.is_stub('MLP', '__init__', 'forward'):
        return context.skip(PART, NOT_IMPLEMENTED)
    if not has_torch:
        return context.skip(PART, NOT_GRADED, 'PyTorch is not installed here')
    session = context.session
    try:
        names = [name for name, *_ in session.classes('mlp_pytorch')]
    except (SolutionError, SolutionEnded) as error:
        return context.skip(PART, NOT_GRADED, f'mlp_pytorch.py cannot be imported: {error}')
    if 'MLP' not in names:
        return context.skip(PART, MISSING, 'no class MLP in mlp_pytorch.py')
    try:
        session.ask('seed', number=1)
        model = session.new('mlp_pytorch', 'MLP', [INPUTS, list(HIDDEN), CLASSES])
        facts = session.ask('torch_facts', args=[model.ref])
        if not facts['module']:
            return context.incorrect(PART, 'MLP is not an nn.Module: it should be class MLP(nn.Module), and call '
                                           'super().__init__() first.', cause='no nn.Module',
                                     place=source.place_of_class('MLP'))
        session.ask('torch_weights', args=[model.ref])
        x = context.rng.normal(size=(7, INPUTS)).astype(np.float32)
        trace = session.ask('torch_trace', args=[model.ref, x, False])
    except (SolutionError, SolutionEnded) as error:
        return context.skip(PART, NOT_GRADED, f'{BUILT} cannot be built or called: {error}')
    asks_for_norm = 'use_batch_norm' in [name for name, *_ in session.signature('mlp_pytorch', 'MLP')]
    if not facts['parameters']:
        return context.incorrect(PART, 'The model has no parameters: nn.Module does not see layers in a Python list; '
                                       'in nn.ModuleList or nn.Sequential it does.', cause='layers not registered',
                                 place=_at(context, '__init__', r'self\.\w+\s*=|append'))
    if not _linears(trace):
        return context.skip(PART, NOT_GRADED, 'the network has no nn.Linear that its forward passes')
    right_layers, linear = _layers(context, trace), False
    if right_layers:
        linear = _between(context, trace)
        _after_the_last(context, source, trace)
    if getattr(trace['out'], 'shape', None) == (len(x), CLASSES):
        _gradients(context, model, x)
    has_norm = any(NORM in kind for kind, *_ in trace['passed'])
    if asks_for_norm:
        if has_norm:
            context.incorrect(PART, 'Forward passes batch normalization without use_batch_norm=True too.',
                              cause='batch norm always',
                              place=_at(context, '__init__', r'BatchNorm'))
        _batch_norm(context, x, right_layers, linear)
        if facts['device']:
            context.deviates(PART, f'The property device {facts["device"]}.', cause='device',
                             place=_at(context, 'device', r'return'))
    elif has_norm:
        context.note(PART, 'Forward passes batch normalization, which the assignment does not ask for.',
                     cause='batch norm')


def _at(context, method, pattern, first=False):
    return context.sources['mlp_pytorch'].place('MLP', method, pattern, first)


def _linears(trace):
    """Input and output of each linear layer that is passed, in order."""
    return [(into, out) for kind, into, out in trace['passed'] if kind == 'Linear']


def _layers(context, trace, how=''):
    """Number and shapes of the linear layers. Returns whether the rest can be graded by what passes them."""
    sizes = [INPUTS, *HIDDEN, CLASSES]
    met, expected = ([f'{m}→{n}' for m, n in pairs] for pairs in (
        [(into.shape[-1], out.shape[-1]) for into, out in _linears(trace)], zip(sizes, sizes[1:])))
    if met != expected:
        context.incorrect(PART, f'{BUILT}{how} passes the linear layers {", ".join(met)}; it should be '
                                f'{", ".join(expected)}.', cause='layer sizes',
                          place=_at(context, '__init__', r'Linear'))
    return met == expected


def _between(context, trace):
    pairs = _linears(trace)
    missing = [str(layer) for layer, ((_, out), (into, _)) in enumerate(zip(pairs, pairs[1:]), 1) if _close(out, into)]
    if missing:
        context.incorrect(PART, f'No activation follows linear layer{"s" * (len(missing) > 1)} '
                                f'{" and ".join(missing)}: the next one gets the output as it is.',
                          cause='no activation',
                          place=_at(context, '__init__', r'ELU|Tanh|Sigmoid|Linear'))
    return bool(missing)


def _after_the_last(context, source, trace):
    out, last = trace['out'], _linears(trace)[-1][1]
    if getattr(out, 'shape', None) != last.shape:
        shown = (f'a tensor of shape {out.shape}' if isinstance(out, np.ndarray) else
                 f'{len(out)} values' if isinstance(out, list) else describe_value(out))
        return context.incorrect(PART, f'Forward gives {shown} instead of logits of shape {last.shape}.',
                                 cause='shape of the output',
                                 place=_at(context, 'forward', r'return'))
    if _close(out, last):
        return
    exp = np.exp(last - last.max(axis=1, keepdims=True))
    probabilities = exp / exp.sum(axis=1, keepdims=True)
    if _close(out, probabilities):
        context.incorrect(PART, 'Forward gives probabilities, not logits: nn.CrossEntropyLoss takes the softmax '
                                'itself, so '
                                'it is taken twice.', cause='probabilities instead of logits', place=_softmax(source))
    elif _close(out, np.log(probabilities)):
        context.deviates(PART, 'Forward gives log-probabilities instead of logits; nn.CrossEntropyLoss gives the same '
                               'for both.', cause='log-probabilities', place=_softmax(source))
    else:
        after = [kind for kind, into, _ in trace['passed'] if _close(into, last)]
        context.incorrect(PART, 'Something follows the last linear layer'
                          + (f' ({", ".join(after)})' if after else '') + ': forward should give its output, the '
                                                                            'logits.',
                          cause='activation after the last layer',
                          place=_at(context, 'forward', r'return'))


def _softmax(source):
    """The Place where it is taken."""
    places = [source.place('MLP', method, '[Ss]oftmax') for method in ('forward', '__init__')]
    return next((place for place in places if 'softmax' in source.line(place.line).lower()), Place())


def _batch_norm(context, x, right_layers, linear):
    """right_layers, linear: what is known without it, the layers and whether an activation is missing."""
    session = context.session
    try:
        model = session.ask('new', module='mlp_pytorch', name='MLP', args=[INPUTS, list(HIDDEN), CLASSES],
                            kwargs={**session.further('mlp_pytorch', 'MLP', 3), 'use_batch_norm': True})['made']
        session.ask('torch_weights', args=[model])
        trace = session.ask('torch_trace', args=[model, x, True])
    except (SolutionError, SolutionEnded) as error:
        return context.incorrect(PART, f'With use_batch_norm=True a batch of 7 fails: {error}.', cause='batch norm',
                                 place=error.place)
    norms = [(into, out) for kind, into, out in trace['passed'] if NORM in kind]
    pairs = _linears(trace)
    if not norms:
        return context.incorrect(PART, 'With use_batch_norm=True forward passes no batch normalization.',
                                 cause='batch norm missing',
                                 place=_at(context, '__init__', r'BatchNorm|Linear', first=True))
    if not right_layers or not _layers(context, trace, ' with use_batch_norm=True'):
        return
    for layer, ((_, out), (into, _)) in enumerate(zip(pairs, pairs[1:]), 1):
        between = next((after for before, after in norms if _close(before, out)), None)
        if between is None and any(_close(after, into) for _, after in norms):
            return context.incorrect(PART, 'With use_batch_norm=True the batch normalization comes after the '
                                           'activation, '
                                           'not between it and the linear layer.',
                                           cause='batch norm after the activation',
                                           place=_at(context, '__init__', r'BatchNorm'))
        if between is None:
            return context.incorrect(PART, 'With use_batch_norm=True no batch normalization follows linear layer '
                                           f'{layer}.', cause='batch norm missing',
                                     place=_at(context, '__init__', r'BatchNorm|Linear', first=True))
        if _close(between, into) and not linear:
            return context.incorrect(PART, 'With use_batch_norm=True no activation follows the batch normalization '
                                           f'of layer {layer}.', cause='no activation',
                                     place=_at(context, '__init__', r'ELU|Tanh|Sigmoid|Linear'))
    if any(_close(before, pairs[-1][1]) for before, _ in norms):
        context.incorrect(PART, 'With use_batch_norm=True batch normalization comes after the last linear layer too; '
                                'it should be one for each hidden layer.', cause='batch norm at the end',
                          place=_at(context, '__init__', r'BatchNorm'))
    elif len(norms) > len(HIDDEN):
        context.incorrect(PART, f'With use_batch_norm=True forward passes {len(norms)} batch normalizations; it should '
                                'be one for each hidden layer.', cause='batch norm too often',
                          place=_at(context, '__init__', r'BatchNorm'))


def _gradients(context, model, x):
    labels = np.arange(len(x)) % CLASSES
    answer = attempt(lambda: context.session.ask('torch_gradients', args=[model.ref, x, labels]))
    if isinstance(answer, Exception):
        return context.incorrect(PART, f'The gradients of the cross-entropy cannot be computed: {answer}.',
                                 cause='no gradients',
                                 place=_at(context, 'forward', r'detach|no_grad|\.data|numpy|sqrt|return'))
    if answer['none']:
        context.incorrect(PART, f'These parameters get no gradient: {", ".join(answer["none"])}.', cause='no gradients',
                          place=_at(context, 'forward', r'detach|no_grad|\.data|numpy|sqrt|return'))
    if answer['not_finite']:
        context.incorrect(PART, f'The gradients of these parameters are not finite: {", ".join(answer["not_finite"])}.',
                          cause='no gradients',
                          place=_at(context, 'forward', r'detach|no_grad|\.data|numpy|sqrt|return'))


def _close(one, other):
    return np.shape(one) == np.shape(other) and np.allclose(one, other, atol=1e-6)
