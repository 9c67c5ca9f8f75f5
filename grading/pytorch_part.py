"""The PyTorch MLP: its layers and their order, observed in a pass; logits; a gradient for every parameter."""

import re

import numpy as np

from grading.diagnosis import attempt, hint_for
from grading.findings import MISSING, NOT_GRADED, NOT_IMPLEMENTED, Place
from grading.interface import Malformed, describe_value
from grading.nets import CLASSES, INPUTS, WrongSizes, check_sizes
from grading.remote import SolutionEnded, SolutionError

PART = 'pytorch'
HIDDEN = [6, 4]
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
        return context.incorrect(PART, f'mlp_pytorch.py cannot be imported: {error}.', cause='cannot be imported',
                                 place=error.place)
    if 'MLP' not in names:
        return context.skip_absent(PART, 'mlp_pytorch', 'MLP')
    try:
        session.ask('seed', number=1)
        model = _build(context, HIDDEN)
        facts = session.ask('torch_facts', args=[model])
    except (SolutionError, SolutionEnded) as error:
        return context.incorrect(PART, f'{BUILT} cannot be built: {error}.', cause='cannot be built',
                                 place=error.place, hint=hint_for(error))
    if not facts['module'] and session.ask('missing', module='mlp_pytorch'):  # its base class
        return context.skip_absent(PART, 'mlp_pytorch')
    if not facts['module']:
        return context.incorrect(PART, 'MLP is not an nn.Module: it should be class MLP(nn.Module), and call '
                                       'super().__init__() first.', cause='no nn.Module',
                                 place=source.place_of_class('MLP'))
    x = context.rng.normal(size=(7, INPUTS)).astype(np.float32)
    try:
        x, trace = _first_trace(context, model, x)
    except (SolutionError, SolutionEnded) as error:
        return context.incorrect(PART, f'forward of {BUILT} cannot be computed: {error}.', place=error.place,
                                 cause=f'raises {error.kind}' if isinstance(error, SolutionError) else 'no answer',
                                 hint=hint_for(error))
    asks_for_norm = 'use_batch_norm' in [name for name, *_ in session.signature('mlp_pytorch', 'MLP')]
    if not facts['parameters']:
        return context.incorrect(PART, 'The model has no parameters: nn.Module does not see layers in a Python list; '
                                       'in nn.ModuleList or nn.Sequential it does.', cause='layers not registered',
                                 place=_at(context, '__init__', r'self\.\w+\s*=|append'))
    if not _linears(trace):
        return context.skip(PART, NOT_GRADED, 'the network has no nn.Linear that its forward uses')
    right_layers, linear = _layers(context, trace, own=facts['own']), False
    if PART in context.findings.status:
        return
    if right_layers:
        _input(context, trace, x)
        linear = _between(context, trace)
        _after_the_last(context, source, trace)
    if getattr(trace['out'], 'shape', None) == (len(x), CLASSES):
        _gradients(context, model, x)
    has_norm = any(NORM in kind for kind, *_ in trace['passed'])
    if facts['no_bias'] and not has_norm:  # before batch normalization a bias has no effect
        names = ', '.join(facts['no_bias'])
        context.deviates(PART, f'These linear layers have no bias, and no batch normalization either: {names}.',
                         cause='no bias', place=_written(source, r'bias *=|Linear\(.*False'))
    if asks_for_norm:
        if has_norm:
            context.incorrect(PART, 'Forward uses batch normalization without use_batch_norm=True, too.',
                              cause='batch norm always',
                              place=_at(context, '__init__', r'BatchNorm'))
        _batch_norm(context, x, right_layers, linear)
        if facts['device']:
            context.deviates(PART, f'The property device {facts["device"]}.', cause='device',
                             place=_at(context, 'device', r'return'))
    elif has_norm:
        context.note(PART, 'Forward uses batch normalization, which the assignment does not ask for.',
                     cause='batch norm')
    if not context.errors(PART):
        _no_hidden_layer(context, x)


def _build(context, hidden, **more):
    """An MLP → its reference. A note if it changes its arguments."""
    answer = context.session.ask('new', module='mlp_pytorch', name='MLP', args=[INPUTS, list(hidden), CLASSES],
                                 kwargs={**context.session.further('mlp_pytorch', 'MLP', 3), **more})
    if answer['changed']:
        context.note(PART, 'MLP.__init__ changes its argument in place.', cause='in place')
    return answer['made']


def _trace(context, model, x, training=False):
    return context.session.ask('torch_trace', args=[model, x, training])


def _first_trace(context, model, x):
    """→ the batch that it takes, rows of numbers or else images, and its trace."""
    try:
        return x, _trace(context, model, x)
    except SolutionError as error:
        images = x.reshape(len(x), 1, 1, -1)
        trace = attempt(lambda: _trace(context, model, images))
        if isinstance(trace, Exception):
            raise
        context.deviates(PART, 'forward takes images (S, channels, height, width) only, and fails for rows '
                               f'(S, n_inputs): {error}. Graded on images.', cause='images only', place=error.place)
        return images, trace


def _no_hidden_layer(context, x):
    try:
        trace = _trace(context, _build(context, []), x)
        check_sizes(INPUTS, [], _shapes(trace), 'goes through')
    except (SolutionError, SolutionEnded, Malformed) as error:
        context.deviates(PART, f'An empty n_hidden, for multinomial logistic regression, fails: {error}.',
                         cause='empty n_hidden', place=error.place)


def _at(context, method, pattern, first=False):
    return context.sources['mlp_pytorch'].place('MLP', method, pattern, first)


def _linears(trace):
    """Input and output of each linear layer that is passed, in order."""
    return [(into, out) for kind, into, out in trace['passed'] if kind == 'Linear']


def _shapes(trace):
    """Those of the weights of the linear layers that are passed."""
    return [(out.shape[-1], into.shape[-1]) for into, out in _linears(trace)]


def _input(context, trace, x):
    into = _linears(trace)[0][0]
    if not _close(into, x.reshape(len(x), -1)) and not any(NORM in kind for kind, *_ in trace['passed']):
        context.incorrect(PART, 'The first linear layer gets other numbers than forward does: forward should only flatten its '
                                'input.', cause='input changed', place=_at(context, 'forward', r'[-/*+]|x *='))


def _layers(context, trace, verb='goes through', own=()):
    """Check number and shapes of the linear layers. Returns whether the other checks can observe them.

    own: the classes of modules with parameters that are none of PyTorch's, and may be linear layers.
    """
    try:
        check_sizes(INPUTS, HIDDEN, _shapes(trace), verb)
    except WrongSizes as error:
        if own:
            context.skip(PART, NOT_GRADED, f'{error}; what its own modules do is not known ({", ".join(own)})')
            return False
        longer = len(_shapes(trace)) > len(HIDDEN) + 1  # often because n_hidden was
        place = longer and _written(context.sources['mlp_pytorch'], r'hidden\w*(\.append|\.extend|\.insert| *\+=)')
        context.incorrect(PART, f'{error}.', cause='layer sizes', place=place or _at(context, '__init__', r'Linear'))
        return False
    return True


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
                                'it is taken twice.', cause='probabilities instead of logits', place=_written(source, '[Ss]oftmax'))
    elif _close(out, np.log(probabilities)):
        context.deviates(PART, 'Forward gives log-probabilities instead of logits; nn.CrossEntropyLoss gives the same '
                               'for both.', cause='log-probabilities', place=_written(source, '[Ss]oftmax'))
    else:
        after = [kind for kind, into, _ in trace['passed'] if _close(into, last)]
        names = f' ({", ".join(after)})' if after else ''
        context.incorrect(PART, f'Something follows the last linear layer{names}: forward should give the output of '
                                'the last linear layer, the logits.', cause='activation after the last layer',
                          place=_written(source, rf'^(?!self\.\w+ *=).*\b({"|".join(after) or "$^"})\b', '__init__')
                          or _at(context, 'forward', r'return'))


def _written(source, pattern, *methods):
    """The Place of the line that matches a pattern; none if there is no such line."""
    places = [source.place('MLP', method, pattern) for method in methods or ('forward', '__init__')]
    return next((place for place in places if re.search(pattern, source.line(place.line))), Place())


def _batch_norm(context, x, right_layers, linear):
    """right_layers, linear: earlier results: are the layers correct, is an activation missing?"""
    fails = 'cannot be built'
    try:
        model = _build(context, HIDDEN, use_batch_norm=True)
        fails = 'fails for a batch of 7'
        trace = _trace(context, model, x, training=True)
    except (SolutionError, SolutionEnded) as error:
        return context.incorrect(PART, f'With use_batch_norm=True {BUILT} {fails}: {error}.', cause='batch norm',
                                 place=error.place)
    norms = [(into, out) for kind, into, out in trace['passed'] if NORM in kind]
    pairs = _linears(trace)
    if not norms:
        return context.incorrect(PART, 'With use_batch_norm=True forward uses no batch normalization layer of the model.',
                                 cause='batch norm missing', hint='nn.BatchNorm1d as an attribute, or in nn.Sequential or nn.ModuleList',
                                 place=_at(context, '__init__', r'BatchNorm|Linear', first=True))
    if not right_layers or not _layers(context, trace, 'with use_batch_norm=True goes through'):
        return
    for layer, ((_, out), (into, _)) in enumerate(zip(pairs, pairs[1:]), 1):
        between = next((after for before, after in norms if _close(before, out)), None)
        if between is None and any(_close(after, into) for _, after in norms):
            return context.incorrect(PART, 'With use_batch_norm=True the batch normalization comes after the '
                                           'activation, not between it and the linear layer.',
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
        context.incorrect(PART, f'With use_batch_norm=True forward uses {len(norms)} batch normalizations; it should '
                                'be one for each hidden layer.', cause='batch norm too often',
                          place=_at(context, '__init__', r'BatchNorm'))


def _gradients(context, model, x):
    labels = np.arange(len(x)) % CLASSES
    place = _at(context, 'forward', r'detach|no_grad|\.data|numpy|sqrt')
    answer = attempt(lambda: context.session.ask('torch_gradients', args=[model, x, labels]))
    if isinstance(answer, Exception):
        if 'modified by an inplace operation' in str(answer):
            place = _written(context.sources['mlp_pytorch'], r'inplace|LU\([\d.]|[-+*/]=', 'forward', '__init__') or place
        return context.incorrect(PART, f'The gradients of the cross-entropy cannot be computed: {answer}.',
                                 cause='no gradients', place=place)
    if not answer['same']:
        context.incorrect(PART, 'In evaluation mode forward gives something else for the same input: a dropout is active, too.',
                          cause='random in evaluation mode', place=_at(context, 'forward', r'dropout'),
                          hint='F.dropout(x, p, training=self.training), or nn.Dropout, which knows the mode')
    if answer['none']:
        context.incorrect(PART, f'These parameters get no gradient: {", ".join(answer["none"])}.', cause='no gradients',
                          place=place)
    if answer['not_finite']:
        context.incorrect(PART, f'The gradients of these parameters are not finite: {", ".join(answer["not_finite"])}.',
                          cause='no gradients', place=place)


def _close(one, other):
    return np.shape(one) == np.shape(other) and np.allclose(one, other, atol=1e-6)
