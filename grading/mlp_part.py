"""The NumPy MLP: what its modules are, how they are put together, and whose fault it is where it is wrong.

The net gets weights of ours, so that it computes something whatever its start. It is compared with the formulas;
where it differs, also with its own modules put together rightly: equal to these, it is wrong only since they are.
"""

import numpy as np

from grading.causes import Suspect, Trial, close, explain
from grading.cross_entropy_part import MAX_EPSILON
from grading.interface import Linear, Malformed, Thing
from grading.nets import CLASSES, INPUTS, WrongSizes, build, check_sizes, reference_for
from grading.remote import Failed
from grading.softmax_part import softmax
from grading.telling import attempt, hint_for, tell

PART = 'mlp'
HIDDEN = [[4], [6, 4], [6, 5, 4]]  # the smallest first, all sizes different
GRADIENT_HINT = 'backward takes the modules in the reverse order of forward, each with what the one after it gave'


FORWARD = [
    Suspect('no activation', 'has no activation between the linear layers: it is one linear map',
            lambda net, x, **_: net.variant(x, activation=False)),
    Suspect('activation behind the last layer', 'has an activation behind the last linear layer too, before softmax',
            lambda net, x, **_: net.variant(x, last=True)),
    Suspect('activation behind the last layer', 'has its activation behind the last linear layer only',
            lambda net, x, **_: net.variant(x, activation=False, last=True)),
    Suspect('softmax twice', 'puts the logits through softmax twice', lambda net, x, **_: net.variant(x, softmaxes=2)),
    Suspect('no softmax', 'gives logits: softmax is missing', lambda net, x, **_: net.variant(x, softmaxes=0)),
    Suspect('softmax in place of the activation', 'has softmax between the linear layers, in place of the activation',
            lambda net, x, **_: net.variant(x, function=softmax)),
    Suspect('softmax behind the hidden layers', 'has softmax behind the activations of the hidden layers too',
            lambda net, x, **_: net.variant(x, function=lambda y: softmax(net.function(y)))),
    Suspect('no softmax', 'gives the activation of the logits: softmax is missing',
            lambda net, x, **_: net.variant(x, last=True, softmaxes=0)),
    Suspect('activation of the input', 'puts its input through the activation first',
            lambda net, x, **_: net.variant(x, first=True)),
    Suspect('old parameters', 'still has the parameters from before their update',
            lambda before, x, **_: before.forward(x)[2]),
]
BACKWARD = [
    Suspect('softmax left out of backward', 'leaves softmax out: it takes ∂L/∂probabilities for ∂L/∂logits',
            lambda net, x, D, layer, which, **_: net.gradients(x, D, through_softmax=False)[layer][which]),
    Suspect('activation left out of backward', 'leaves the activations out',
            lambda net, x, D, layer, which, **_: net.gradients(x, D, slopes=False)[layer][which]),
    Suspect('activation and softmax left out', 'leaves softmax and the activations out',
            lambda net, x, D, layer, which, **_: net.gradients(x, D, False, False)[layer][which]),
    Suspect('backward does nothing', 'does nothing: no gradient is filled',
            lambda net, layer, which, **_: np.zeros_like((net.weights, net.biases)[which][layer])),
    Suspect('not the first layer', 'does not reach the first layer, whose gradients are never filled',
            lambda net, x, D, layer, which, **_: net.gradients(x, D)[layer][which] * (layer > 0)),
]


def judge(context):
    source, session = context.mlp, context.session
    if not source.exists:
        return context.skip(PART, 'missing')
    if source.problem:
        return context.wrong(PART, f'{source.problem}.', cause=source.cause)
    if source.is_stub('MLP', '__init__', 'forward', 'backward'):
        return context.skip(PART, 'stub')
    try:
        session.require('mlp_numpy')
    except Failed as failed:
        return context.wrong(PART, f'mlp_numpy.py can not be imported: {failed}.', cause='can not be imported',
                             place=failed.place)
    if 'MLP' not in [name for name, *_ in session.classes('mlp_numpy')]:
        return context.skip(PART, 'missing')
    if context.linear is None:
        return _without_linear(context)
    for hidden in HIDDEN:
        if not _judge_depth(context, hidden):
            break
    _tell_inherited(context)
    if not _fused(context) and not context.findings.of(PART):
        _no_hidden_layer(context)
    for more in (_images, _initialization, _cache):
        if not context.findings.of(PART, 'wrong'):
            try:
                more(context)
            except (Failed, Malformed):
                pass  # nets of other sizes can not be built


def _judge_depth(context, hidden):
    """Forward, backward, a batch of one and a second step for one depth. Returns whether to go on deeper."""
    words = f'with {len(hidden)} hidden layer{"s" * (len(hidden) > 1)}'
    try:
        net = build(context, hidden)
        reference = reference_for(context, net)
    except WrongSizes as error:
        _tell_sizes(context, error)
        return False
    except (Failed, Malformed) as error:
        context.wrong(PART, f'MLP({INPUTS}, {hidden}, {CLASSES}) can not be built: {error}.',
                      cause='can not be built', place=error.place, hint=hint_for(error))
        return False
    trials, after = _steps(context, net, reference)
    forward_fails = any(trial.failed for trial in trials['y'])
    if forward_fails and not _inherits_forward(context, net, trials['y'], words):
        return False
    fine = _tell_backward(context, net, trials['grads'], hidden, words)
    if after.failed and not forward_fails:
        _tell_changed(context, net, after, words)
        return False
    return fine


def _tell_sizes(context, error, before=''):
    context.wrong(PART, f'{before}{error}.', cause='layer sizes',
                  place=context.mlp.place('MLP', '__init__', 'Linear', first=not error.only_the_last),
                  hint='each layer takes as many inputs as the one before it has outputs')


def _tell_changed(context, net, after, words):
    """Tell that backward leaves the net changed, and whether a second backward turns its layers round again."""
    raised = f'raises {after.actual}' if isinstance(after.actual, Exception) else 'differs'
    text = f'{words}, a forward after a backward {raised}: backward leaves the net changed'
    attempt(lambda: net.thing.call('backward', after.inputs['D']))
    again = attempt(lambda: net.thing.array('forward', after.inputs['x']))
    if Trial(after.inputs, again, after.expected).failed:
        context.wrong(PART, f'{text}.', cause='backward changes the net',
                      place=context.mlp.place('MLP', 'backward', 'layer'))
    else:
        context.wrong(PART, f'{text}, its layers in reverse order.', cause='layers left reversed',
                      place=context.mlp.place('MLP', 'backward', r'reverse|\[::-1\]'),
                      hint='backward walks over reversed(layers) or layers[::-1], and leaves the attribute as it is: no '
                           'layers.reverse(), and nothing assigned to it')


def _steps(context, net, reference):
    """Three steps: a batch, a batch of one, and one more after an update → trials; and a forward after backward."""
    rng, forward, backward, after, before = context.rng, [], [], None, reference
    for samples in (2, 1, 7):
        x, D = (rng.normal(size=(samples, size)).round(1) for size in (INPUTS, CLASSES))  # a student can read these
        if samples == 7:
            reference = reference_for(context, net)
        if context.gradients_add_up:
            for thing in (net.thing, *net.linears):
                thing.clear()
        y = attempt(lambda: net.thing.array('forward', x))
        result = y if isinstance(y, Exception) else attempt(lambda: net.thing.call('backward', D))
        data = {'net': reference, 'before': before, 'x': x, 'D': D, 'samples': samples, **reference.parameters()}
        forward.append(Trial(data, y, reference.forward(x)[2]))
        for layer, (linear, grads) in enumerate(zip(net.linears, reference.gradients(x, D))):
            for which, name in enumerate(('weight', 'bias')):
                actual = result if isinstance(result, Exception) else attempt(lambda: linear.gradient(name))
                backward.append(Trial({**data, 'layer': layer, 'which': which}, actual, grads[which],
                                      label=f'∂L/∂{"Wb"[which]}{layer + 1}'))
        if after is None:
            again = attempt(lambda: net.thing.array('forward', x))
            after = Trial(data, again, forward[0].expected)
            if after.failed and not forward[0].failed:
                break  # the net is another one now
    return {'y': forward, 'grads': backward}, after


def _inherits_forward(context, net, trials, words):
    """Is forward wrong only since a module is? Where not, tell why it is wrong."""
    guilty = _guilty(context, net)
    first = next(trial for trial in trials if trial.failed)
    stubs = [part for part in ('activation', 'softmax') if context.findings.status.get(part) in ('stub', 'missing')]
    if stubs and isinstance(first.actual, Failed):
        context.wrong(PART, f'Can not be computed, since the {" and the ".join(stubs)} '
                            f'{"is a stub" if len(stubs) == 1 else "are stubs"} or missing.', cause='inherited')
        return False
    if guilty and _same(_own_modules(context, net, first)[0], first.actual):
        context.inherited = guilty
        return True
    tell(context, PART, f'{words}, forward', trials, FORWARD, context.mlp.place('MLP', 'forward', r'forward\(|return'),
         'linear layers with an activation between them, a last linear layer, softmax',
         ['x', *first.inputs['net'].parameters()])
    return False


def _tell_backward(context, net, trials, hidden, words):
    """Tell what is wrong with backward, if anything; returns whether a deeper net may have more to tell."""
    failing = [trial for trial in trials if trial.failed]
    if not failing:
        return True
    guilty = _guilty(context, net)
    place = context.mlp.place('MLP', 'backward', r'backward\(')
    if guilty:
        samples = [trial for trial in trials if trial.inputs['samples'] == failing[0].inputs['samples']]
        own = _own_modules(context, net, samples[0])
        if all(_same(value, trial.actual) for value, trial in zip(own[1], samples)):
            context.inherited = guilty
            return True
    first = failing[0]
    if len(hidden) > 1 and len(net.activations) == 1 and isinstance(first.actual, Exception):
        name = net.activations[0][1]
        context.wrong(PART, f'{words}, backward fails: one {name} object serves all hidden layers, and keeps the input '
                      f'of the last one only ({first.actual}).',
                      cause='one activation object', place=context.mlp.place('MLP', '__init__', name),
                      hint='each hidden layer needs an activation object of its own')
        return False
    if guilty and not explain(trials, BACKWARD):  # of one gradient the wrong module may be innocent
        alone = ([trial for trial in trials if trial.inputs['which'] == which] for which in (0, 1))
        trials = next((some for some in alone if explain(some, BACKWARD)), trials)
        first = next(trial for trial in trials if trial.failed)
    explained = explain(trials, BACKWARD)
    tell(context, PART, f'{words}, {"backward" if explained or isinstance(first.actual, Exception) else first.label}',
         trials, BACKWARD, place, GRADIENT_HINT, ['x', *first.inputs['net'].parameters(), 'D'],
         f'as {first.label} shows' if explained else '')
    return False


def _guilty(context, net):
    """The names of the modules in the net that are wrong by themselves."""
    used = {'LinearModule', 'SoftMaxModule', *(name for _, name in net.activations)}
    return [name for name in context.broken if name in used]


def _tell_inherited(context):
    if context.inherited:
        names = f'{" and ".join(context.inherited)} {"is" if len(context.inherited) == 1 else "are"}'
        context.wrong(PART, f'Besides, {names} wrong (see there).' if context.findings.of(PART, 'wrong') else
                      f'Wrong only since {names} (see there): the MLP itself is put together rightly.',
                      cause='inherited')


def _own_modules(context, net, trial):
    """(probabilities, gradients) of the solution's own modules, put together rightly, with the weights of the trial."""
    reference, x, D = (trial.inputs[name] for name in ('net', 'x', 'D'))

    def forward():
        modules = _put_together(context, net, reference)
        out = x
        for module in modules[:-1]:
            out = module.call('forward', out)
        return modules, modules[-1].array('forward', out)

    def backward():
        d = D
        for module in reversed(modules):
            d = module.call('backward', d)

    result = attempt(forward)
    if isinstance(result, Exception):
        return result, [result] * 2 * len(reference.weights)
    modules, y = result
    result = attempt(backward)
    linears = [module for module in modules if isinstance(module, Linear)]
    return y, [result if isinstance(result, Exception) else attempt(lambda: linear.gradient(name))
               for linear in linears for name in ('weight', 'bias')]


def _put_together(context, net, reference):
    """Linear modules with the weights of a reference, the activations of the net between them, and a softmax."""
    session, modules = context.session, []
    for layer, (W, b) in enumerate(zip(reference.weights, reference.biases)):
        if layer and net.activations:
            of_the_net = net.activations[layer - 1:layer]  # with the parameter that it has there; none where they share
            modules.append(Thing(session, *of_the_net[0]) if of_the_net else
                           context.activations[net.activations[0][1]].make(session, reference.value))
        first = (layer == 0,) if context.linear.has_input_layer else ()
        modules.append(context.linear.make(W.shape[1], W.shape[0], *first))
        modules[-1].set_parameters(W, b)
    return [*modules, session.new('modules', 'SoftMaxModule', [])]


def _same(one, other):
    if isinstance(one, Exception) or isinstance(other, Exception):
        return type(one) is type(other) and one.place == other.place
    if not np.isfinite(one).all():
        return np.array_equal(one, other, equal_nan=True)
    return close(other, one)


def _without_linear(context):
    """LinearModule can not be built: only the sizes that MLP asks it for can be seen."""
    context.wrong(PART, 'Can not be built, since LinearModule can not (see there).', cause='inherited')
    for hidden in HIDDEN:
        try:
            sizes = context.session.ask('sizes', module='mlp_numpy', name='MLP', args=[INPUTS, hidden, CLASSES],
                                        kwargs=context.session.further('mlp_numpy', 'MLP', 3), linear='LinearModule')
        except Failed as failed:
            return context.wrong(PART, f'Besides, MLP({INPUTS}, {hidden}, {CLASSES}) can not be built: {failed}.',
                                 cause='can not be built', place=failed.place)
        try:
            check_sizes(INPUTS, hidden, [(n, m) for m, n in sizes], 'asks for')
        except WrongSizes as error:
            return _tell_sizes(context, error, 'Besides, ')


def _no_hidden_layer(context):
    """An empty n_hidden is multinomial logistic regression: raising departs, another function is wrong."""
    try:
        net = build(context, [])
        reference = reference_for(context, net)
    except (Failed, Malformed) as error:
        return context.departs(PART, f'An empty n_hidden, for multinomial logistic regression, fails: {error}.',
                               cause='empty n_hidden', place=error.place)
    trials, _ = _steps(context, net, reference)
    raised = next((trial.actual for trial in trials['y'] + trials['grads'] if isinstance(trial.actual, Exception)),
                  None)
    if raised:
        context.departs(PART, f'An empty n_hidden, for multinomial logistic regression, fails: {raised}.',
                        cause='empty n_hidden', place=raised.place)
    elif any(trial.failed for trial in trials['y']):
        _inherits_forward(context, net, trials['y'], 'with no hidden layer')
    else:
        _tell_backward(context, net, trials['grads'], [], 'with no hidden layer')


# What is no error where the chain as a whole is right, and what follows from it.
FUSED = ('fused gradient', 'passed through', 'softmax left out of backward', 'softmax in the loss', 'no softmax')
FORGIVEN = (*FUSED, 'follows', 'inherited')


def _fused(context):
    """Where backward is that of softmax and cross-entropy together: judge the chain from loss to gradients.

    Returns whether it is, and right: then none of it is an error.
    """
    findings, parts = context.findings, ('softmax', 'cross_entropy', 'softmax_cross_entropy', 'mlp')
    if not any(finding.cause in FUSED for part in parts for finding in findings.of(part, 'wrong')):
        return False
    if not _chain_is_right(context):
        return False
    words = ('Softmax and cross-entropy are one step here: CrossEntropyModule gives the gradient of both, and that of '
             'softmax is left out. Judged as a chain, which is right.')
    for part in parts:
        forgiven = [finding for finding in findings.of(part, 'wrong') if finding.cause in FORGIVEN]
        findings.found = [finding for finding in findings.found if finding not in forgiven]
        if forgiven:
            context.remark(part, words, cause='fused')
    return True


def _chain_is_right(context):
    """Are the gradients of two hidden layers those of the loss, which CrossEntropyModule hands to MLP.backward?"""
    samples = 7
    try:
        net = build(context, HIDDEN[1])
        reference = reference_for(context, net)
        x = context.rng.normal(size=(samples, INPUTS))
        labels = np.arange(samples) % CLASSES
        T = np.eye(CLASSES)[labels]
        loss = context.session.new('modules', 'CrossEntropyModule', [])
        y = net.thing.array('forward', x)
        targets = labels if context.targets == 'labels' else T
        loss.array('forward', y, targets)
        net.thing.call('backward', loss.array('backward', y, targets))
        expected = reference.gradients(x, (reference.forward(x)[2] - T) / samples, through_softmax=False)
        slack = 5 * min(context.epsilon, MAX_EPSILON)
        return all(close(linear.gradient(name), grads[which], slack)
                   for linear, grads in zip(net.linears, expected) for which, name in enumerate(('weight', 'bias')))
    except (Failed, Malformed):
        return False


def _initialization(context):
    """The first linear module starts with gain 1: the MLP has to tell it that it is the first."""
    if not context.linear.has_input_layer or any(
            finding.cause == 'initialization' for finding in context.findings.of('linear', 'departs')):
        return
    first = build(context, [300], inputs=400).linears[0].parameter('weight')
    gain = first.std() * np.sqrt(first.shape[1])
    if abs(gain - 1) > 0.05:
        context.departs(PART, f'The first linear layer starts with standard deviation {gain:.3f}/√M in place of 1/√M: '
                              'is input_layer=True passed to it?', cause='initialization')


def _images(context):
    """Images (S, C, H, W) are beyond the assignment's text: a remark."""
    net = build(context, [4], inputs=12)
    x = context.rng.normal(size=(2, 3, 2, 2))
    flat = net.thing.array('forward', x.reshape(2, 12))
    images = attempt(lambda: net.thing.array('forward', x))
    if isinstance(images, Exception) or not close(images, flat):
        context.remark(PART, 'Images (S, channels, height, width) are not flattened.', cause='images')


def _cache(context):
    net = build(context, [4])
    if not net.thing.has('clear_cache'):
        return context.departs(PART, 'MLP has no clear_cache.', cause='clear_cache')
    if context.mlp.is_empty('MLP', 'clear_cache'):
        return context.departs(PART, 'clear_cache of MLP is a stub.', cause='clear_cache')
    net.thing.call('forward', np.ones((2, INPUTS)))
    try:
        net.thing.call('clear_cache')
    except Failed as failed:
        return context.departs(PART, f'clear_cache of MLP raises {failed}.', cause='clear_cache', place=failed.place)
    if all(finding.cause != 'clear_cache' for finding in context.findings.of('linear', 'departs')):
        left = attempt(lambda: net.linears[0].array('backward', np.ones((2, 4))))
        if not isinstance(left, Exception):
            context.departs(PART, 'clear_cache of MLP does not reach its linear layers.', cause='clear_cache')
