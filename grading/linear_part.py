"""The linear module: Y = X Wᵀ + b, its three gradients, its initialization, and further steps."""

import numpy as np

from grading.causes import Comparison, Mistake, close, explain, penalty, show
from grading.common_checks import cache, loops, nothing_shared
from grading.diagnosis import attempt, check, hint_for
from grading.findings import NOT_IMPLEMENTED
from grading.interface import LinearMaker, Malformed, as_array, describe_value
from grading.remote import SolutionError

PART = 'linear'
LARGE = 128, 3072, 100  # as in the assignment
SIZES = [(1, 2, 3), (2, 3, 2), (3, 4, 4), (7, 5, 4)]  # S, M, N: the smallest first; one batch of one, one square W

FORWARD = [
    Mistake('bias forgotten', 'has no bias in it', lambda x, W, **_: x @ W.T),
    Mistake('transpose', 'is X W, without the transpose', lambda x, W, b, **_: x @ W + b),
    Mistake('bias subtracted', 'subtracts the bias', lambda x, W, b, **_: x @ W.T - b),
    Mistake('bias twice', 'adds the bias twice', lambda x, W, b, **_: x @ W.T + 2 * b),
    Mistake('transposed result', 'is the transpose of the correct result', lambda x, W, b, **_: (x @ W.T + b).T),
    Mistake('activation in the linear module', 'is max(X Wᵀ + b, 0): the activation is in it',
            lambda x, W, b, **_: np.maximum(x @ W.T + b, 0)),
    Mistake('scaled', 'is divided by the number of samples', lambda x, W, b, **_: (x @ W.T + b) / len(x)),
]
STORED_IN_OUT = Mistake('transpose', 'is X Wᵀ although the weights are stored (in, out): this transpose is one too '
                                     'many',
                        FORWARD[1].formulas[0])
WEIGHT = [
    Mistake('mean instead of sum', 'is averaged over the batch instead of summed: too small by a factor of S',
            lambda x, D, **_: D.T @ x / len(x)),
    Mistake('times S', 'is too large by a factor of S', lambda x, D, **_: D.T @ x * len(x)),
    Mistake('transpose', 'is the transpose of the correct result', lambda x, D, **_: x.T @ D),
    Mistake('sign', 'has the wrong sign', lambda x, D, **_: -D.T @ x),
    Mistake('never filled', 'stays at zero: backward does not fill it', lambda W, **_: np.zeros_like(W)),
    Mistake('counted twice', 'is twice the correct result', lambda x, D, **_: 2 * D.T @ x),
    Mistake('output instead of input', 'is computed with the output of forward instead of its input',
            lambda x, W, b, D, **_: D.T @ (x @ W.T + b)),
    Mistake('∂L/∂Y left out', 'is the sum of the inputs: ∂L/∂Y is not in it',
            lambda x, W, **_: np.broadcast_to(x.sum(axis=0), W.shape), lambda x, **_: x.sum(axis=0)),
    Mistake('sum before product', 'is the product of two sums over the batch, not the sum of the products',
            lambda x, D, **_: np.outer(D.sum(axis=0), x.sum(axis=0))),
    Mistake('sum before product', 'is the product of two means over the batch, not the sum of the products',
            lambda x, D, **_: np.outer(D.mean(axis=0), x.mean(axis=0))),
    Mistake('only the last sample', 'has the last sample in it only', lambda x, D, **_: np.outer(D[-1], x[-1])),
    Mistake('only the first sample', 'has the first sample in it only', lambda x, D, **_: np.outer(D[0], x[0])),
    Mistake('no sum over the batch', 'is not summed over the batch', lambda x, D, **_: D[:, :, None] * x[:, None, :]),
]
BIAS = [
    Mistake('mean instead of sum', 'is averaged over the batch instead of summed: too small by a factor of S',
            lambda D, **_: D.mean(axis=0)),
    Mistake('no sum over the batch', 'is ∂L/∂Y itself: the sum over the batch is missing', lambda D, **_: D, lambda D,
            **_: D.T),
    Mistake('∂L/∂Y left out', 'is all ones, whatever ∂L/∂Y is', lambda b, **_: np.ones_like(b)),
    Mistake('∂L/∂Y left out', 'is the number of samples, whatever ∂L/∂Y is',
            lambda b, x, **_: np.full(b.shape, len(x))),
    Mistake('never filled', 'stays at zero: backward does not fill it', lambda b, **_: np.zeros_like(b)),
    Mistake('sign', 'has the wrong sign', lambda D, **_: -D.sum(axis=0)),
    Mistake('times S', 'is too large by a factor of S', lambda D, **_: D.sum(axis=0) * len(D)),
    Mistake('wrong axis', 'is summed over the units instead of the samples', lambda D, **_: D.sum(axis=1)),
    Mistake('wrong axis', 'is the mean over the units instead of the sum over the samples',
            lambda D, **_: D.mean(axis=1)),
    Mistake('wrong axis', 'is the sum over samples and units', lambda b, D, **_: np.full(b.shape, D.sum()),
            lambda D, **_: D.sum()),
    Mistake('wrong axis', 'is the mean over samples and units', lambda D, **_: D.mean()),
    Mistake('counted twice', 'is twice the correct result', lambda D, **_: 2 * D.sum(axis=0)),
    Mistake('only the first sample', 'has the first sample in it only', lambda D, **_: D[0]),
    Mistake('only the last sample', 'has the last sample in it only', lambda D, **_: D[-1]),
]
INPUT = [
    Mistake('weights left out', 'is ∂L/∂Y itself: the weights are not in it', lambda D, **_: D),
    Mistake('scaled', 'is divided by the number of samples', lambda W, D, **_: D @ W / len(D)),
    Mistake('sign', 'has the wrong sign', lambda W, D, **_: -D @ W),
    Mistake('transpose', 'has the weights transposed', lambda W, D, **_: D @ W.T),
    Mistake('transposed result', 'is the transpose of the correct result', lambda W, D, **_: (D @ W).T),
    Mistake('gradient instead of weights', 'has the gradient of the weights in it instead of the weights',
            lambda x, D, **_: D @ (D.T @ x)),
    Mistake('never filled', 'is zero', lambda x, **_: np.zeros_like(x)),
]
GRADIENTS = {  # name → the subject of the sentence, the formula, the mistakes, where it is in the code, what to check
    'weight': ('∂L/∂W, the gradient of the weights,', WEIGHT, r"grads\b.*weight|weight.*=",
               '∂L/∂W = (∂L/∂Y)ᵀ X: a sum over the samples, of the shape of W'),
    'bias': ('∂L/∂b, the gradient of the bias,', BIAS, r"grads\b.*bias|bias.*=",
             '∂L/∂b = Σ_s ∂L/∂Y_s: each sample adds to the loss, so the gradients add up; the 1/S of the mean loss is '
             'in ∂L/∂Y already'),
    'x': ('∂L/∂X, the gradient of the input,', INPUT, r'return|dx\s*=', '∂L/∂X = ∂L/∂Y W, of the shape of X'),
}


def judge(context):
    """Grade LinearModule. Sets context.linear if it can be used for the MLP."""
    source, cls = context.modules, 'LinearModule'
    if source.is_stub(cls, 'forward', 'backward'):
        return context.skip(PART, NOT_IMPLEMENTED)
    try:
        maker = LinearMaker(context.session)
        maker.make(3, 2)
    except (SolutionError, Malformed) as error:
        context.blame(cls)
        return context.incorrect(PART, f'{cls}(3, 2) cannot be built: {error}.', cause='cannot be built',
                                 place=error.place, hint=hint_for(error))
    cases = {name: [] for name in ('y', 'weight', 'bias', 'x')}
    for size in SIZES:
        for name, case in one_size(context, maker, *size).items():
            cases[name].append(case)
    if not any(case.failed for cases_of in cases.values() for case in cases_of):
        for name, case in one_size(context, maker, *LARGE).items():
            cases[name].append(case)
    context.linear = maker
    _report(context, cls, maker, cases)
    _second_step(context, maker)
    _start(context, maker)
    nothing_shared(context, PART, cls, _with_parameters(maker), x := np.arange(12.0).reshape(4, 3), x[:, :2])
    cache(context, PART, cls, _with_parameters(maker), np.ones((4, 3)), np.ones((4, 2)))
    loops(context, PART, cls, ('forward', 'backward'))
    if context.errors(PART):
        context.blame(cls)


def _with_parameters(maker):
    """A function that makes a linear module (3 → 2) of these parameters, other ones for each number that it gets."""
    def make(number=1):
        linear = maker.make(3, 2)
        linear.set_parameters(number * np.array([[1.0, -2, 3], [0.5, 2, -1]]), np.array([number, -1.0]))
        return linear
    return make


def _numbers(rng, shape, small):
    """Small integers, which a student can check by hand, or normal random numbers, which exclude coincidences."""
    return rng.integers(1, 5, shape) * rng.choice([-1.0, 1.0], shape) if small else rng.normal(size=shape).round(2)


def one_size(context, maker, samples, in_features, out_features):
    """Comparisons of forward and of the three gradients for one size."""
    rng, small = context.rng, samples < 3
    x, D = (_numbers(rng, (samples, size), small) for size in (in_features, out_features))
    W, b = _numbers(rng, (out_features, in_features), small), _numbers(rng, out_features, small)
    linear = attempt(lambda: maker.make(in_features, out_features))
    answers = dict.fromkeys(['y', 'weight', 'bias', 'x'], linear)
    if not isinstance(linear, Exception):
        set_error = attempt(lambda: linear.set_parameters(W, b))
        if isinstance(set_error, Exception):
            answers = dict.fromkeys(answers, set_error)
        else:
            W, b = linear.parameter('weight').astype(float), linear.parameter('bias').astype(float)
            answers['y'] = attempt(lambda: linear.array('forward', x))
            answers['x'] = attempt(lambda: linear.array('backward', D))
            for name in ('weight', 'bias'):
                answers[name] = answers['x'] if isinstance(answers['x'], SolutionError) else attempt(
                    lambda name=name: linear.gradient(name))
            if small and attempt(lambda: close(linear.parameter('weight'), W) and close(linear.parameter('bias'),
                b)) is False:
                context.updates_itself = True
    expected = {'y': x @ W.T + b, 'weight': D.T @ x, 'bias': D.sum(axis=0), 'x': D @ W}
    inputs = {'x': x, 'W': W, 'b': b, 'D': D, 'samples': samples}
    return {name: Comparison(inputs, answers[name], expected[name]) for name in answers}


def _report(context, cls, maker, cases):
    place = context.modules.place
    if context.updates_itself:
        context.incorrect(PART, 'backward changes the parameters. Their update, a step of SGD or weight decay, belongs in the '
                                'training loop, after the gradients of all layers are known.', cause='update in backward',
                          place=place(cls, 'backward', r'-=|params\b.*[^=]=[^=]'), hint='backward fills grads and returns ∂L/∂X')
    forward = [STORED_IN_OUT, *FORWARD] if maker.transposed else FORWARD
    check(context, PART, 'forward', cases['y'], forward, place(cls, 'forward', r'@|dot|matmul|einsum|return'),
          'Y = X Wᵀ + b, of shape (S, N)', ['x', 'W', 'b'])
    same = isinstance(cases['x'][-1].actual, SolutionError) and str(cases['x'][-1].actual)
    if same and all(str(cases[name][-1].actual) == same for name in ('weight', 'bias')):
        if isinstance(cases['y'][-1].actual, SolutionError):
            return  # forward failed before it stored the input for backward, and must be fixed first
        error = cases['x'][-1].actual
        square, cause = _square(context, maker)
        return context.incorrect(PART, f'backward cannot be computed: {error}.{square and f" {square}"}',
                                 cause=cause or f'raises {error.kind}', place=error.place,
                                 hint='∂L/∂W = (∂L/∂Y)ᵀ X, ∂L/∂b = Σ_s ∂L/∂Y_s, ∂L/∂X = ∂L/∂Y W')
    for name, (what, mistakes, pattern, hint) in GRADIENTS.items():
        parameter = {'weight': 'W', 'bias': 'b'}.get(name)
        found = parameter and any(case.failed for case in cases[name]) and penalty(cases[name], parameter)
        where = place(cls, 'backward', pattern)
        if found:
            factor, divisor = found
            context.incorrect(PART, f'{what} has {factor:g}{divisor} · {parameter} added: a regularization term '
                                    f'(λ = {factor:g}) that the loss does not have.', cause='regularization term',
                              place=where, example=_example(cases[name]), hint=hint)
        elif not (name == 'x' and context.updates_itself):  # follows from it
            shown = ['x', 'D'] if name == 'weight' else ['D'] if name == 'bias' else ['W', 'D']
            check(context, PART, what, cases[name], mistakes, where, hint, shown, all_shown=['x', 'W', 'b', 'D'])


PRODUCTS = [Mistake('order of the product', f'is {words}: a product in the wrong order or with a wrong transpose',
                    formula)
            for words, formula in [
                ('W ∂L/∂Y', lambda W, D, **_: W @ D), ('Wᵀ ∂L/∂Y', lambda W, D, **_: W.T @ D),
                ('W (∂L/∂Y)ᵀ', lambda W, D, **_: W @ D.T), ('∂L/∂Y Wᵀ', lambda W, D, **_: D @ W.T),
                ('Wᵀ (∂L/∂Y)ᵀ', lambda W, D, **_: W.T @ D.T), ('(∂L/∂Y)ᵀ W', lambda W, D, **_: D.T @ W),
                ('∂L/∂Y X', lambda x, D, **_: D @ x), ('∂L/∂Y Xᵀ', lambda x, D, **_: D @ x.T),
                ('X ∂L/∂Y', lambda x, D, **_: x @ D), ('X (∂L/∂Y)ᵀ', lambda x, D, **_: x @ D.T),
                ('(∂L/∂Y)ᵀ Xᵀ', lambda x, D, **_: D.T @ x.T), ('Xᵀ (∂L/∂Y)ᵀ', lambda x, D, **_: x.T @ D.T)]]


def _square(context, maker):
    """If backward fails: the formula that it computes if all sizes are equal, as (text, cause)."""
    cases = one_size(context, maker, 4, 4, 4)
    found, causes = [], []
    for name, symbol in (('x', '∂L/∂X'), ('weight', '∂L/∂W'), ('bias', '∂L/∂b')):
        mistake = explain([cases[name]], GRADIENTS[name][1] + PRODUCTS)
        if mistake:
            found.append(f'{symbol} {mistake.text}')
            causes.append(mistake.cause)
    return (f'With S = M = N = 4, where it runs: {"; ".join(found)}.', causes[0]) if found else ('', '')


def _example(cases):
    case = next(case for case in cases if case.failed)
    return '\n'.join([show('got', case.actual), show('expected', case.expected)])


def _second_step(context, maker):
    """Check that forward and backward use the new parameters after an update, and the new batch after another size."""
    if context.errors(PART):
        return
    rng = context.rng
    try:
        linear = maker.make(3, 2)
        W, b = rng.normal(size=(2, 3)), rng.normal(size=2)
        linear.set_parameters(W, b)
        first, names = {}, ('weight', 'bias')
        for samples in (4, 2):
            x, D = rng.normal(size=(samples, 3)).round(2), rng.normal(size=(samples, 2)).round(2)
            linear.array('forward', x)
            linear.array('backward', D)
            own = {'weight': D.T @ x, 'bias': D.sum(axis=0)}
            first = first or own
        actual = {name: linear.gradient(name) for name in names}
        added = [name for name in names if not close(actual[name], own[name])
                 and close(actual[name], first[name] + own[name])]
        neither = [name for name in names if name not in added and not close(actual[name], own[name])]
        if neither:
            context.incorrect(PART, f'The gradient of the {neither[0]} of a second backward, with another batch, is '
                                    'neither its own nor added to the first one.', cause='second step',
                              example='\n'.join(show(*pair) for pair in [
                                  ('X', x), ('∂L/∂Y', D), ('the first one', first[neither[0]]), ('got', actual[neither[0]]),
                                  ('expected', own[neither[0]])]))
        elif added:
            linear.clear()
            linear.array('forward', x)
            linear.array('backward', D)
            cleared = all(close(linear.gradient(name), own[name]) for name in names)
            context.gradients_add_up = True
            which = 'Gradients are' if len(added) == 2 else f'Only the gradient of the {added[0]} is'
            if cleared and len(added) == 2:
                context.note(PART, f'{which} added up until clear_cache is called.', cause='gradients add up')
            else:
                context.deviates(PART, f'{which} added up from one backward to the next'
                                 + (' until clear_cache is called.' if cleared else
                                    ', and clear_cache does not set them to zero: the training loop has to.'),
                                 cause='gradients add up')
        linear.set_parameters(W - 0.1, b + 0.1)
        out = linear.array('forward', x)
        if not close(out, x @ (W - 0.1).T + b + 0.1):
            context.incorrect(PART, 'After an update of the parameters forward still uses the old ones.',
                              cause='old parameters')
    except (SolutionError, Malformed) as error:
        context.incorrect(PART, f'A second step with a batch of another size fails: {error}.', cause='second step',
                          place=error.place)


def _start(context, maker):
    """Initialization and the gradients before the first backward: departures at most."""
    try:
        linear = maker.make(5, 4)
        grads, params = linear.get('grads'), linear.get('params')
    except SolutionError as failed:
        return context.deviates(PART, f'There is no dict grads before the first backward: {failed}.',
                                cause='gradients at the start')
    for name in ('weight', 'bias'):
        key = maker.keys[name]
        grad = grads.get(key) if isinstance(grads, dict) else None
        shape = np.shape(params[key]) or (4,)  # a bias may be a number
        if isinstance(grads, dict) and key not in grads:
            context.deviates(PART, f'Before the first backward grads has no entry {key!r} (its keys: '
                                   f'{", ".join(map(str, grads)) or "none"}).', cause='gradients at the start')
        elif not isinstance(grad, np.ndarray) or grad.shape != shape or grad.any():
            met = describe_value(grad) if not isinstance(grad, np.ndarray) or grad.shape != shape else 'not zero'
            context.deviates(PART, f'Before the first backward the gradient of the {name} is {met}; it should be zeros '
                                   f'of shape {shape}.', cause='gradients at the start')
    if np.any(params[maker.keys['bias']]):
        _deviates_at_start(context, 'The bias does not start at zero.')
    try:
        linear.call('forward', np.ones((7, 5)))
        linear.call('backward', np.ones((7, 4)))
        after = as_array(linear.get('grads', [maker.keys['bias']]), 'grads is')
        bias = np.asarray(params[maker.keys['bias']])
        if after.size == 4 and after.shape != bias.shape:
            fails = bias.ndim and np.broadcast_shapes(after.shape, bias.shape) != bias.shape
            context.deviates(PART, f'The gradient of the bias has shape {after.shape}, the bias {bias.shape}'
                                   f'{": an update in place fails" if fails else ""}. The shapes should be equal.',
                             cause='shape of the bias gradient')
    except (SolutionError, Malformed):
        pass  # an error of backward, which another check reports
    _initialization(context, maker)


def _initialization(context, maker):
    sizes = [(400, 300), (200, 700)]  # M, N
    deviations = {}  # of the weights, without and with input_layer: (standard deviation, M, N) for each size
    try:
        for input_layer in (False, True) if maker.has_input_layer else (False,):
            arguments = (input_layer,) if maker.has_input_layer else ()
            context.session.ask('seed', number=3)
            weights = [maker.make(*size, *arguments).parameter('weight') for size in sizes]
            deviations[input_layer] = [(weight.std(), *size) for weight, size in zip(weights, sizes)]
            context.session.ask('seed', number=4)
            if weights[0].any() and np.array_equal(weights[0], maker.make(*sizes[0], *arguments).parameter('weight')):
                context.note(PART, "The weights are the same whatever NumPy's seed is.")
            if weights[0].any() and not np.ptp(weights[0], axis=0).any():
                _deviates_at_start(context, 'All units start with the same weights, so they stay equal.')
            elif abs(weights[0].mean()) > 0.02 * weights[0].std() > 0:  # 7 standard errors
                _deviates_at_start(context, f'The weights start with mean {weights[0].mean():.2g}'
                                   f'{" with input_layer=True" * input_layer}; it should be 0.')
        if maker.has_input_layer:
            _input_layer_changes_nothing_else(context, maker)
    except (SolutionError, Malformed) as error:
        return _deviates_at_start(context, f'A layer of 400 inputs or one with input_layer cannot be built: {error}.')
    found = {key: of_sizes[0][0] * np.sqrt(sizes[0][0]) for key, of_sizes in deviations.items()}  # · √M
    near = {key: abs(value / np.sqrt(1 if key else 2) - 1) < 0.03 for key, value in found.items()}
    shown = {key: f'{value:.4g}/√M{_named(deviations[key])}' for key, value in found.items()}
    if not maker.has_input_layer and abs(deviations[False][0][0] / 1e-4 - 1) < 0.03:
        context.note(PART, 'The weights start with standard deviation 0.0001, as the course asked before it asked for '
                           'Kaiming. LinearModule takes no input_layer.', cause='initialization')
    elif not maker.has_input_layer:
        _deviates_at_start(context, f'LinearModule takes no input_layer. Its weights start with standard '
                                    f'deviation {shown[False]}.')
    elif not all(near.values()):
        wrong = ' and '.join(f'{shown[key]} instead of {"1/√M with input_layer=True" if key else "1.414/√M"}'
                             for key in found if not near[key])
        ignored = abs(found[True] / found[False] - 1) < 0.03
        _deviates_at_start(
            context, f'The initialization ignores input_layer: with it or without, the weights start with standard deviation '
            f'{shown[False]}. Kaiming asks for 1.414/√M, and for 1/√M with input_layer=True.' if ignored else
            f'The weights start with standard deviation {wrong}.')


def _deviates_at_start(context, text):
    context.deviates(PART, text, cause='initialization')


STARTS = {  # common mistakes in the standard deviation
    '2/M, without the root': lambda M, N: 2 / M, '1/M, without the root': lambda M, N: 1 / M,
    '2/N, without the root': lambda M, N: 2 / N, '2/(M · N)': lambda M, N: 2 / (M * N),
    '1/(M · N)': lambda M, N: 1 / (M * N), '√(2/(M + N))': lambda M, N: np.sqrt(2 / (M + N)),
    '√(2/N): the outputs are counted, not the inputs': lambda M, N: np.sqrt(2 / N),
}


def _named(deviations):
    """The mistake that gives the standard deviations of all sizes, (deviation, M, N) each, in words."""
    first = deviations[0][0]
    if all(abs(deviation / first - 1) < 0.03 for deviation, *_ in deviations):
        return f' (that is {first:.2g} for every M)'
    return next((f' (that is {words})' for words, value in STARTS.items() if all(
        abs(deviation / value(M, N) - 1) < 0.03 for deviation, M, N in deviations)), '')


def _input_layer_changes_nothing_else(context, maker):
    x, W, b = (context.rng.normal(size=shape) for shape in ((3, 4), (2, 4), 2))
    linear = maker.make(4, 2, True)
    linear.set_parameters(W, b)
    plain = maker.make(4, 2)
    plain.set_parameters(W, b)
    outs = [attempt(lambda which=which: which.array('forward', x)) for which in (linear, plain)]
    if isinstance(outs[0], Exception) and not isinstance(outs[1], Exception):
        outs[0] = attempt(lambda: linear.array('forward', x.reshape(3, 4, 1, 1)))
        if not isinstance(outs[0], Exception) and close(*outs):
            context.deviates(PART, 'With input_layer=True forward takes images (S, channels, height, width) only.',
                             cause='images only',
                             place=context.modules.place('LinearModule', 'forward', 'reshape|view|flatten'))
    grads = [attempt(lambda which=which: which.array('backward', np.ones((3, 2)))) for which in (linear, plain)]
    same = all(isinstance(pair[0], Exception) == isinstance(pair[1], Exception)
               and (isinstance(pair[0], Exception) or close(*pair) or np.array_equal(*pair, equal_nan=True))
               for pair in (outs, grads))
    if not same:
        context.incorrect(PART, 'With input_layer=True more than the initialization changes: forward or backward '
                                'differ.',
                          cause='input_layer', place=context.modules.place('LinearModule', 'forward', 'if|return'))
