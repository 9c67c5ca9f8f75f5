"""The PyTorch MLP: its layers and their order, seen from what passes each; logits; gradients to every parameter."""

import numpy as np

from grading.interface import Malformed
from grading.remote import Failed, Gone
from grading.telling import attempt

PART = 'pytorch'
INPUTS, HIDDEN, CLASSES = 5, [6, 4], 3
NORM = 'BatchNorm'


def judge(context, source, has_torch):
    if not source.exists:
        return context.skip(PART, 'missing', 'no mlp_pytorch.py')
    if source.problem:
        return context.skip(PART, 'not judged', source.problem)
    if source.is_stub('MLP', '__init__', 'forward'):
        return context.skip(PART, 'stub')
    if not has_torch:
        return context.skip(PART, 'not judged', 'PyTorch is not installed here')
    session = context.session
    try:
        session.require('mlp_pytorch')
        if 'MLP' not in [name for name, *_ in session.classes('mlp_pytorch')]:
            return context.skip(PART, 'missing', 'no class MLP in mlp_pytorch.py')
        session.ask('seed', number=1)
        model = session.new('mlp_pytorch', 'MLP', [INPUTS, list(HIDDEN), CLASSES])
        facts = session.ask('torch_facts', args=[model.ref])
        if not facts['module']:
            return context.wrong(PART, 'MLP is no nn.Module.', cause='no nn.Module')
        session.ask('torch_weights', args=[model.ref, 2])
        x = context.rng.normal(size=(7, INPUTS)).astype(np.float32)
        trace = session.ask('torch_trace', args=[model.ref, x, False])
    except (Failed, Malformed, Gone) as error:
        return context.skip(PART, 'not judged', f'MLP({INPUTS}, {HIDDEN}, {CLASSES}) can not be built or called: '
                                                f'{error}')
    asks_for_norm = 'use_batch_norm' in [name for name, *_ in session.signature('mlp_pytorch', 'MLP')]
    if not facts['parameters']:
        return context.wrong(PART, 'parameters() is empty: the layers are in a Python list, which nn.Module does not '
                                   'look into (nn.ModuleList or nn.Sequential).', cause='layers not registered')
    if _layers(context, trace):
        _between(context, trace)
        _behind_the_last(context, source, trace)
    _gradients(context, model, x)
    if asks_for_norm:
        _batch_norm(context, x)
        if facts['device'] is None or 'Error' in facts['device']:
            context.departs(PART, f'The property device is missing or fails: {facts["device"]}.', cause='device')
    elif any(NORM in kind for kind, *_ in trace['passed']):
        context.remark(PART, 'Has batch normalization that nobody asked for.', cause='batch norm')


def _layers(context, trace):
    """Number and shapes of the linear layers. Returns whether the rest can be judged by what passes them."""
    sizes = [INPUTS, *HIDDEN, CLASSES]
    expected = [[n, m] for m, n in zip(sizes, sizes[1:])]
    linears = [(np.shape(out)[-1], np.shape(into)[-1]) for kind, into, out in trace['passed'] if kind == 'Linear']
    if not linears:
        context.skip(PART, 'not judged', 'the net has no nn.Linear that its forward passes')
        return False
    if [list(shape) for shape in linears] != expected:
        context.wrong(PART, f'MLP({INPUTS}, {HIDDEN}, {CLASSES}) passes the linear layers '
                      f'{", ".join(f"{m}→{n}" for n, m in linears)}; it should be '
                      f'{", ".join(f"{m}→{n}" for n, m in expected)}.', cause='layer sizes')
        return False
    return True


def _linears(trace):
    return [(into, out) for kind, into, out in trace['passed'] if kind == 'Linear']


def _between(context, trace):
    pairs = _linears(trace)
    missing = [layer for layer, ((_, out), (into, _)) in enumerate(zip(pairs, pairs[1:]), 1) if _close(out, into)]
    if missing:
        context.wrong(PART, f'No activation behind linear layer {" and ".join(map(str, missing))}: the next layer gets '
                            'its output as it is.', cause='no activation')


def _behind_the_last(context, source, trace):
    out, last = trace['out'], _linears(trace)[-1][1]
    if not isinstance(out, np.ndarray) or out.shape != last.shape:
        return context.wrong(PART, f'forward gives {getattr(out, "shape", type(out).__name__)} in place of logits of '
                                   f'shape {last.shape}.', cause='shape of the output')
    if _close(out, last):
        return
    place = source.place('MLP', '__init__', r'[Ss]oftmax') or ''
    exp = np.exp(last - last.max(axis=1, keepdims=True))
    probabilities = exp / exp.sum(axis=1, keepdims=True)
    if _close(out, probabilities):
        context.wrong(PART, 'forward gives probabilities, not logits: nn.CrossEntropyLoss takes the softmax itself, so '
                            'it is taken twice.', cause='probabilities in place of logits', place=place)
    elif _close(out, np.log(probabilities)):
        context.departs(PART, 'forward gives log-probabilities in place of logits.', cause='log-probabilities')
    else:
        behind = [kind for kind, into, _ in trace['passed'] if _close(into, last)]
        context.wrong(PART, 'Something stands behind the last linear layer'
                      + (f' ({", ".join(behind)})' if behind else '') + ': forward should give its output, the logits.',
                      cause='activation behind the last layer')


def _batch_norm(context, x):
    session = context.session
    try:
        model = session.ask('new', module='mlp_pytorch', name='MLP', args=[INPUTS, list(HIDDEN), CLASSES],
                            kwargs={**session.further('mlp_pytorch', 'MLP', 3), 'use_batch_norm': True})['made']
        session.ask('torch_weights', args=[model, 3])
        trace = session.ask('torch_trace', args=[model, x, True])
    except (Failed, Gone) as error:
        return context.wrong(PART, f'With use_batch_norm=True a batch of 7 fails: {error}.', cause='batch norm',
                             place=getattr(error, 'place', ''))
    norms = [(into, out) for kind, into, out in trace['passed'] if NORM in kind]
    pairs = _linears(trace)
    if not norms:
        return context.wrong(PART, 'use_batch_norm=True changes nothing: no batch normalization is passed.',
                             cause='batch norm missing')
    if len(pairs) != len(HIDDEN) + 1:
        return
    for layer, ((_, out), (into, _)) in enumerate(zip(pairs, pairs[1:]), 1):
        between = next((after for before, after in norms if _close(before, out)), None)
        if between is None:
            behind = any(_close(after, into) for _, after in norms)
            context.wrong(PART, 'With use_batch_norm=True the batch normalization stands '
                          + ('behind the activation, not between it and the linear layer.' if behind else
                             f'not behind linear layer {layer}.'),
                          cause='batch norm behind the activation' if behind else 'batch norm missing')
            return
        if _close(between, into):
            return context.wrong(PART, 'With use_batch_norm=True no activation stands behind the batch normalization '
                                       f'of layer {layer}.', cause='no activation')
    if len(norms) > len(HIDDEN) or any(_close(before, pairs[-1][1]) for before, _ in norms):
        context.wrong(PART, f'With use_batch_norm=True {len(norms)} batch normalizations are passed, one of them '
                            'behind the last linear layer; it should be one for each hidden layer.',
                            cause='batch norm at the end')


def _gradients(context, model, x):
    labels = np.arange(len(x)) % CLASSES
    answer = attempt(lambda: context.session.ask('torch_gradients', args=[model.ref, x, labels]))
    if isinstance(answer, Exception):
        return context.wrong(PART, f'The gradients of cross_entropy can not be computed: {answer}.',
                             cause='no gradients')
    if answer['none']:
        context.wrong(PART, f'These parameters get no gradient: {", ".join(answer["none"])}.', cause='no gradients')
    if answer['not_finite']:
        context.wrong(PART, f'The gradients of these parameters are not finite: {", ".join(answer["not_finite"])}.',
                      cause='no gradients')


def _close(one, other):
    return np.shape(one) == np.shape(other) and np.allclose(one, other, rtol=1e-4, atol=1e-6)
