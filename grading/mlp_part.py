"""The NumPy MLP: its modules, their order, and the faulty module if the MLP is incorrect.

The network gets weights of ours, so that its initialization does not matter. It is compared with the formulas. If it
differs, it is also compared with its own modules, assembled correctly: if it equals these, only they are incorrect.
"""

import numpy as np

from grading import mlp_deviations
from grading.causes import Comparison, Mistake, close, explain
from grading.chain_part import chain_is_right
from grading.diagnosis import attempt, check, hint_for
from grading.findings import BLOCKED, MISSING, NOT_GRADED, NOT_IMPLEMENTED
from grading.formulas import softmax
from grading.interface import Malformed, RemoteObject
from grading.nets import CLASSES, INPUTS, WrongSizes, build, check_sizes, reference_for
from grading.own_modules import WRONG_WAYS, goes_this_way, own_modules, same, steps_to_failure
from grading.remote import SolutionError

PART = 'mlp'
HIDDEN = [[4], [6, 4], [6, 5, 4]]  # the smallest first, all sizes different
EQUAL = [4, 4, 4]
GRADIENT_HINT = 'backward takes the modules in the reverse order of forward, each with what the one after it gave'


FORWARD = [
    Mistake('no activation', 'has no activation between the linear layers: it is one linear map',
            lambda net, x, **_: net.variant(x, activation=False)),
    Mistake('activation after the last layer', 'has an activation after the last linear layer too, before softmax',
            lambda net, x, **_: net.variant(x, last=True)),
    Mistake('activation after the last layer', 'has its activation after the last linear layer only',
            lambda net, x, **_: net.variant(x, activation=False, last=True)),
    Mistake('softmax twice', 'puts the logits through softmax twice', lambda net, x, **_: net.variant(x, softmaxes=2)),
    Mistake('no softmax', 'gives logits: softmax is missing', lambda net, x, **_: net.variant(x, softmaxes=0),
            fused=True),
    Mistake('softmax instead of the activation', 'has softmax between the linear layers, instead of the activation',
            lambda net, x, **_: net.variant(x, function=softmax)),
    Mistake('softmax after the hidden layers', 'has softmax after the activations of the hidden layers too',
            lambda net, x, **_: net.variant(x, function=lambda y: softmax(net.function(y)))),
    Mistake('no softmax', 'gives the activation of the logits: softmax is missing',
            lambda net, x, **_: net.variant(x, last=True, softmaxes=0), fused=True),
    Mistake('activation of the input', 'puts its input through the activation first',
            lambda net, x, **_: net.variant(x, first=True)),
    Mistake('input changed', 'divides its input by 255', lambda net, x, **_: net.variant(x / 255)),
    Mistake('input changed', 'normalizes its input', lambda net, x, **_: net.variant((x - x.mean()) / x.std()),
            lambda net, x, **_: net.variant((x - x.mean(axis=0)) / x.std(axis=0))),
    Mistake('input changed', 'mixes the samples when it reshapes its input', lambda net, x, **_: net.variant(
        x.reshape(x.shape[1], -1).T)),
    Mistake('old parameters', 'still has the parameters from before their update',
            lambda before, x, **_: before.forward(x)[2]),
]
BACKWARD = [
    Mistake('softmax left out of backward', 'leaves softmax out: it takes ∂L/∂probabilities for ∂L/∂logits',
            lambda net, x, D, layer, which, **_: net.gradients(x, D, through_softmax=False)[layer][which], fused=True),
    Mistake('activation left out of backward', 'leaves the activations out',
            lambda net, x, D, layer, which, **_: net.gradients(x, D, slopes=False)[layer][which]),
    Mistake('activation and softmax left out', 'leaves softmax and the activations out',
            lambda net, x, D, layer, which, **_: net.gradients(x, D, False, False)[layer][which]),
    Mistake('backward does nothing', 'does nothing: no gradient is filled',
            lambda net, layer, which, **_: np.zeros_like((net.weights, net.biases)[which][layer])),
    Mistake('not the first layer', 'does not reach the first layer, whose gradients are never filled',
            lambda net, x, D, layer, which, **_: net.gradients(x, D)[layer][which] * (layer > 0)),
]


def judge(context):
    source, session = context.mlp, context.session
    if not source.exists:
        return context.skip(PART, MISSING)
    if source.problem:
        return context.skip(PART, NOT_GRADED, source.problem)
    if source.is_stub('MLP', 'forward', 'backward'):
        return context.skip(PART, NOT_IMPLEMENTED)
    try:
        session.require('mlp_numpy')
    except SolutionError as failed:
        return context.incorrect(PART, f'mlp_numpy.py cannot be imported: {failed}.', cause='cannot be imported',
                                 place=failed.place)
    if 'MLP' not in [name for name, *_ in session.classes('mlp_numpy')]:
        return context.skip_absent(PART, 'mlp_numpy', 'MLP')
    if context.linear is None:
        return _without_linear(context)
    for hidden in HIDDEN:
        if not _judge_depth(context, hidden):
            break
    else:
        _judge_equal_sizes(context)
    context.later.append(_judge_more)


def _judge_equal_sizes(context):
    """Hidden layers of one size, which must not be taken for one layer."""
    try:
        build(context, EQUAL)
    except WrongSizes as error:
        _report_sizes(context, error)
    except (SolutionError, Malformed) as error:
        context.incorrect(PART, f'MLP({INPUTS}, {EQUAL}, {CLASSES}) cannot be built: {error}.', cause='cannot be built',
                          place=error.place, hint=hint_for(error))


def _judge_more(context):
    """An MLP without a hidden layer, images, the initialization, clear_cache: if the rest is correct."""
    if context.softmax_outside:
        return
    if not context.errors(PART):
        _no_hidden_layer(context)
    for check_more in (mlp_deviations.images, mlp_deviations.initialization, mlp_deviations.cache):
        if not context.errors(PART):
            try:
                check_more(context)
            except (SolutionError, Malformed):
                pass  # networks of other sizes cannot be built


def _judge_depth(context, hidden):
    """Forward, backward, a batch of one and a second step for one depth. Returns whether to go on deeper."""
    words = f'with {len(hidden)} hidden layer{"s" * (len(hidden) > 1)}'
    try:
        net = build(context, hidden)
        reference = reference_for(context, net)
    except WrongSizes as error:
        _report_sizes(context, error)
        return False
    except (SolutionError, Malformed) as error:
        context.incorrect(PART, f'MLP({INPUTS}, {hidden}, {CLASSES}) cannot be built: {error}.',
                          cause='cannot be built', place=error.place, hint=hint_for(error))
        return False
    cases, after = _steps(context, net, reference)
    if _takes_images_only(context, net, cases['y'][0]):
        return _judge_depth(context, hidden)
    forward_fails = any(case.failed for case in cases['y'])
    if forward_fails and not _inherits_forward(context, net, cases['y'], words):
        return False
    fine = _check_backward(context, net, cases['grads'], hidden, words)
    if not after.failed or forward_fails:
        return fine
    incorrect = _incorrect_modules(context, net)
    if incorrect and same(own_modules(context, [after.inputs] * 2)[0], after.actual):
        context.inherited[PART] = incorrect
        return fine
    _report_changed(context, net, after, words)
    return False


def _takes_images_only(context, net, first):
    """Does forward fail for rows of numbers, but not for images? Then it gets images from now on."""
    if net.images or not isinstance(first.actual, SolutionError):
        return False
    net.images = True
    out = attempt(lambda: net.forward(first.inputs['x']))
    if np.shape(out) != first.expected.shape:
        return False
    context.images = True
    context.deviates(PART, 'forward takes images (S, channels, height, width) only, and fails for rows (S, n_inputs): '
                           f'{first.actual}. Graded on images.', cause='images only', place=first.actual.place)
    return True


def _report_sizes(context, error, before=''):
    context.incorrect(PART, f'{before}{error}.', cause='layer sizes',
                      place=context.mlp.place('MLP', '__init__', 'Linear', first=not error.only_the_last),
                      hint='the sizes go from n_inputs over those in n_hidden to n_classes')


def _report_changed(context, net, after, words):
    """Report that backward leaves the network changed, and whether a second backward reverses its layers again."""
    raised = f'raises {after.actual}' if isinstance(after.actual, Exception) else 'differs'
    text = f'{words}, a forward after a backward {raised}: backward leaves the network changed'
    attempt(lambda: net.thing.call('backward', after.inputs['D']))
    again = attempt(lambda: net.forward(after.inputs['x']))
    if Comparison(after.inputs, again, after.expected).failed:
        context.incorrect(PART, f'{text}.', cause='backward changes the network',
                          place=context.mlp.place('MLP', 'backward', 'layer'))
    else:
        context.incorrect(PART, f'{text}, its layers in reverse order.', cause='layers left reversed',
                          place=context.mlp.place('MLP', 'backward', r'reverse|\[::-1\]'),
                          hint='backward walks over reversed(layers) or layers[::-1] and leaves the attribute as it '
                               'is: no layers.reverse(), and nothing assigned to it')


def _steps(context, net, reference):
    """Three steps: a batch, a batch of one, and one more after an update → cases; and a forward after backward."""
    rng, forward, backward, after, before = context.rng, [], [], None, reference
    for samples in (2, 1, 7):
        if samples == 7:
            reference = reference_for(context, net)
        for _ in range(50):  # gradients that are all zero, because of dead ReLUs, show nothing
            x, D = (rng.normal(size=(samples, size)).round(1) for size in (INPUTS, CLASSES))  # a student can read these
            far = all(np.abs(out).min() > 1e-3 for out in reference.forward(x)[1])  # from the kink of ReLU
            if far and all(np.abs(grad).max() > 1e-3 for pair in reference.gradients(x, D) for grad in pair):
                break
        if context.gradients_add_up:
            for thing in (net.thing, *net.linears):
                thing.clear()
            for linear in net.linears:
                linear.zero_gradients()
        y = attempt(lambda: net.forward(x))
        result = y if isinstance(y, Exception) else attempt(lambda: net.thing.call('backward', D))
        data = {'net': reference, 'before': before, 'x': x, 'D': D, 'samples': samples, **reference.parameters(),
                'images': x.reshape(samples, 1, 1, INPUTS)}
        forward.append(Comparison(data, y, reference.forward(x)[2]))
        for layer, (linear, grads) in enumerate(zip(net.linears, reference.gradients(x, D))):
            for which, name in enumerate(('weight', 'bias')):
                actual = result if isinstance(result, Exception) else attempt(lambda: linear.gradient(name))
                backward.append(Comparison({**data, 'layer': layer, 'which': which}, actual, grads[which],
                                           label=f'∂L/∂{"Wb"[which]}{layer + 1}'))
        if after is None:
            again = attempt(lambda: net.forward(x))
            after = Comparison(data, again, forward[0].expected)
            if after.failed and not forward[0].failed:
                break  # the network is another one now
    return {'y': forward, 'grads': backward}, after


def _inherits_forward(context, net, cases, words):
    """Is forward incorrect only because a module is? If not, report why it is incorrect."""
    incorrect = _incorrect_modules(context, net)
    first = next(case for case in cases if case.failed)
    stubs = [part for part in ('activation', 'softmax')
             if context.findings.status.get(part) in (NOT_IMPLEMENTED, MISSING)]
    if stubs and isinstance(first.actual, SolutionError):
        context.incorrect(PART, f'Cannot be computed because the {" and the ".join(stubs)} '
                                f'{"is" if len(stubs) == 1 else "are"} not implemented or missing.', cause=BLOCKED)
        return False
    if incorrect and same(own_modules(context, steps_to_failure(cases))[0], first.actual):
        context.inherited[PART] = incorrect
        return True
    check(context, PART, f'{words}, forward', cases, FORWARD, context.mlp.place('MLP', 'forward', r'forward\(|return'),
          'linear layers with an activation between them, a last linear layer, softmax',
          ['images' if net.images else 'x', *first.inputs['net'].parameters()],
          [*(('activation after the last layer', context.mlp.place('MLP', '__init__', name)) for _, name in net.activations),
           ('no activation', context.mlp.place('MLP', '__init__', 'LinearModule', first=True))])
    return False


def _check_backward(context, net, cases, hidden, words):
    """Report errors of backward. Returns whether a deeper network may show more."""
    failing = [case for case in cases if case.failed]
    if not failing:
        return True
    incorrect = _incorrect_modules(context, net)
    place = context.mlp.place('MLP', 'backward', r'backward\(')
    first, steps = failing[0], steps_to_failure(cases)
    if incorrect:
        of_the_step = [case for case in cases if case.inputs['samples'] == first.inputs['samples']]
        own = own_modules(context, steps)
        if all(same(value, case.actual) for value, case in zip(own[1], of_the_step)):
            context.inherited[PART] = incorrect
            return True
    if len(hidden) > 1 and len(net.activations) == 1 and _keeps_the_last_only(context, net):
        name, raised = net.activations[0][1], getattr(first.actual, 'kind', '') in ('ValueError', 'IndexError')
        context.incorrect(PART, f'{words}, backward {"fails" if isinstance(first.actual, Exception) else "is off"}: '
                                f'one {name} object serves all hidden '
                                f'layers, and keeps the input of the last one only{f" ({first.actual})" * raised}.',
                          cause='one activation object', place=context.mlp.place('MLP', '__init__', name),
                          hint='each hidden layer needs an activation object of its own')
        if raised or not isinstance(first.actual, Exception):
            return False
    for way, text in WRONG_WAYS.items() if isinstance(first.actual, SolutionError) else ():
        if goes_this_way(context, net, cases, way):
            context.incorrect(PART, f'{words}, backward {text} ({first.actual}).', cause=way,
                              place=context.mlp.place('MLP', 'backward', r'ward\('), hint=GRADIENT_HINT)
            return False
    if incorrect and not explain(cases, BACKWARD):  # of one gradient the wrong module may be innocent
        alone = ([case for case in cases if case.inputs['which'] == which] for which in (0, 1))
        cases = next((some for some in alone if explain(some, BACKWARD)), cases)
        first = next(case for case in cases if case.failed)
    explained = explain(cases, BACKWARD)
    check(context, PART, f'{words}, {"backward" if explained or isinstance(first.actual, Exception) else first.label}',
          cases, BACKWARD, place, GRADIENT_HINT,
          ['images' if net.images else 'x', *first.inputs['net'].parameters(), 'D'])
    return False


def _keeps_the_last_only(context, net):
    """Does backward of the activation object fail for the batch before the last one?"""
    shared = RemoteObject(context.session, *net.activations[0])
    x = context.rng.normal(size=(3, 4))
    expected = attempt(lambda: shared.array('forward', x))
    expected = expected if isinstance(expected, Exception) else attempt(lambda: shared.array('backward', x))
    results = [attempt(lambda: shared.array('forward', x)), attempt(lambda: shared.array('forward', np.ones((2, 5)))),
               attempt(lambda: shared.array('backward', np.ones((2, 5)))), attempt(lambda: shared.array('backward', x))]
    return not isinstance(expected, Exception) and (isinstance(results[-1], Exception) or not close(results[-1],
        expected))


def _incorrect_modules(context, net):
    """The names of the modules in the network that are incorrect by themselves."""
    used = {'LinearModule', 'SoftMaxModule', *(name for _, name in net.activations)}
    return [name for name in context.faulty if name in used]


def _without_linear(context):
    """LinearModule cannot be built: only the sizes that MLP asks it for can be seen."""
    if context.findings.verdict('linear') == NOT_GRADED:
        return context.skip(PART, NOT_GRADED, 'LinearModule could not be graded')
    context.incorrect(PART, 'Cannot be built because LinearModule cannot (see there).', cause=BLOCKED)
    for hidden in HIDDEN:
        try:
            sizes = context.session.ask('sizes', module='mlp_numpy', name='MLP', args=[INPUTS, hidden, CLASSES],
                                        kwargs=context.session.further('mlp_numpy', 'MLP', 3), linear='LinearModule')
        except SolutionError as failed:
            return context.incorrect(PART, f'Besides, MLP({INPUTS}, {hidden}, {CLASSES}) cannot be built: {failed}.',
                                     cause='cannot be built', place=failed.place)
        try:
            check_sizes(INPUTS, hidden, [(n, m) for m, n in sizes], 'asks for')
        except WrongSizes as error:
            return _report_sizes(context, error, 'Besides, ')


def _no_hidden_layer(context):
    """An empty n_hidden is multinomial logistic regression: raising deviates, another function is incorrect."""
    try:
        net = build(context, [])
        reference = reference_for(context, net)
    except (SolutionError, Malformed) as error:
        return context.deviates(PART, f'An empty n_hidden, for multinomial logistic regression, fails: {error}.',
                                cause='empty n_hidden', place=error.place)
    if context.one_step and not isinstance(attempt(lambda: net.forward(np.ones((2, INPUTS)))), Exception):
        if not chain_is_right(context, hidden=()):
            context.incorrect(PART, 'With no hidden layer, the gradients are incorrect.', cause='no hidden layer',
                              place=context.mlp.place('MLP', 'backward', r'backward\('))
        return
    cases, _ = _steps(context, net, reference)
    raised = next((case.actual for case in cases['y'] + cases['grads'] if isinstance(case.actual, Exception)),
                  None)
    if raised:
        context.deviates(PART, f'An empty n_hidden, for multinomial logistic regression, fails: {raised}.',
                         cause='empty n_hidden', place=raised.place)
    elif any(case.failed for case in cases['y']):
        _inherits_forward(context, net, cases['y'], 'with no hidden layer')
    else:
        _check_backward(context, net, cases['grads'], [], 'with no hidden layer')
