"""Each numbered result of docs/derivations.md, proven in numbers; the test bears the number of the result.

The formulas and the lines of NumPy are read from the page and evaluated (derivations_page.py, formulas.py) with the
numbers of derivation_worlds.py, in float64. Every formula must hold, its derivatives taken by central differences; the
formula, the line of NumPy and the code must give what PyTorch's autograd gives.
"""

import re

import numpy as np
import pytest
import torch

import derivation_worlds as worlds
import derivations_page as page
import formulas
import modules
from checks.gradients import CENTRAL_TOLERANCE, TOLERANCE, central_differences, relative_error
from counting_array import CountingArray, count_operations
from derivation_worlds import C, M, N, S
from inspection.inside import backward
from random_nets import initialization, variance_is_kept


@pytest.fixture
def rng():
    np.random.seed(1)
    return np.random.default_rng(1)


def hold(number, world, only=lambda formula: True):
    """Check the formulas of a result; returns the right side of each."""
    right_sides = []
    for formula in page.RESULTS[number].formulas:
        if formula not in page.CONDITIONS and only(formula):
            right_sides += formulas.check(formula, world, broadcast=number.startswith('7'))
    assert right_sides, f'Result {number} states nothing'
    return right_sides


def lines(number, world, **names):
    """What the NumPy below a result assigns."""
    (code,) = page.RESULTS[number].code
    return page.run(code, {**page.in_numpy(world), **names})


def prove(number, claims):
    """Compare each claim (name → (value, tolerance)) with the first one."""
    (first, (reference, _)), *others = claims.items()
    reference = as_numpy(reference)
    for name, (value, tolerance) in others:
        value = as_numpy(value)
        if reference.ndim == 1 and 1 in value.shape:  # a column or a row of the page
            value = value.ravel()
        error = relative_error(value, reference)
        assert error <= tolerance, (f'{name} differs from {first}: relative error {error:.2g}, '
                                    f'allowed {tolerance:.0g}; see docs/derivations.md, Result {number}')


def as_numpy(value):
    return value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def tensors(world, *names):
    """Letters of the world as tensors, columns and rows as vectors."""
    arrays = page.in_numpy(world)
    return [torch.from_numpy(np.array(arrays[name])) for name in names]


def gradient(number, world, names, variable, loss, formula, line, code=None, function=None):
    """Prove that a formula, a line of NumPy and the code give ∂L/∂variable.

    names: of what the loss takes, as tensors in this order; function: the loss that the code computes.
    """
    arguments = dict(zip(names, tensors(world, *names)))
    arguments[variable].requires_grad_()
    loss(*arguments.values()).backward()
    claims = {'autograd': (arguments[variable].grad, 0), 'the formula': (formula, CENTRAL_TOLERANCE),
              'the line of NumPy': (line, TOLERANCE)}
    if code is not None:
        claims['the code'] = (code, TOLERANCE)
        claims['central differences of the code'] = (central_differences(*function), CENTRAL_TOLERANCE)
    prove(number, claims)


def weighted(module, x, dout):
    """A loss L = Σ Y ∘ D of a module, whose ∂L/∂Y is D."""
    return lambda: float((module.forward(x) * dout).sum())


def test_derivation_1_1_kronecker_delta(rng):
    world = worlds.tools(rng)
    hold('1.1', world)
    (x,) = tensors(world, 'x')
    prove('1.1', {'autograd': (torch.autograd.functional.jacobian(lambda x: 1 * x, x), 0),
                  'the line of NumPy': (lines('1.1', world)['delta'], 0)})


def test_derivation_1_2_trace_and_hadamard_product(rng):
    world = worlds.tools(rng)
    hold('1.2', world)
    prove('1.2', {'Σ_ij P_ij Q_ij': ((world['P'] * world['Q']).sum(), 0),
                  'the line of NumPy': (lines('1.2', world)['total'], TOLERANCE)})


def test_derivation_1_3_chain_rule_over_a_matrix(rng):
    world = worlds.tools(rng)
    (formula,) = hold('1.3', world)
    x, v = tensors(world, 'X', 'V')
    jacobian = torch.autograd.functional.jacobian(lambda x: torch.sin(x @ v), x)
    gradient('1.3', world, 'XV', 'X', lambda x, v: (torch.sin(x @ v) ** 3).sum(), formula,
             lines('1.3', world, J=jacobian.numpy())['dX'])


def test_derivation_1_4_dot_product(rng):
    world = worlds.tools(rng)
    gradient('1.4', world, 'xp', 'x', torch.dot, *hold('1.4', world), lines('1.4', world)['dx'])


def test_derivation_1_5_bilinear_form(rng):
    world = worlds.tools(rng)
    gradient('1.5', world, 'pXq', 'X', lambda p, x, q: p @ x @ q, *hold('1.5', world), lines('1.5', world)['dX'])


def test_derivation_1_6_back_to_matrices(rng):
    world = worlds.tools(rng)
    rows = page.table(1, 'by index')
    assert len(rows) == 7
    for by_index, in_matrices, code in rows:
        (value,) = formulas.check(f'{by_index} = {in_matrices}'.replace('$', ''), world)
        prove('1.6', {in_matrices: (value, 0), code: (eval(code.strip('`'), page.in_numpy(world)), TOLERANCE)})


def test_derivation_1_7_several_free_indices(rng):
    world = worlds.tools(rng)
    (formula,) = hold('1.7', world)
    jacobian = torch.autograd.functional.jacobian(lambda x: x @ x.T, *tensors(world, 'X'))
    assert jacobian.shape == (S, S, S, M)
    axes = [r'ijmn'.index(letter) for letter in 'imjn']  # of the formula, in the order in which it names them
    prove('1.7', {'autograd': (jacobian, 0), 'the formula': (formula.transpose(np.argsort(axes)), TOLERANCE),
                  'the line of NumPy': (lines('1.7', world)['J'], TOLERANCE)})


@pytest.fixture
def linear(rng):
    """A linear module after forward and backward: (world, module, X, ∂L/∂Y, ∂L/∂X)."""
    world, module = worlds.linear(rng), modules.LinearModule(M, N)
    module.params['weight'][:], module.params['bias'][:] = world['W'], world['b']
    x, dout = world['X'], world['D']
    module.forward(x)
    return world, module, x, dout, module.backward(dout)


def linear_loss(x, weight, bias, dout):
    return (torch.nn.functional.linear(x, weight, bias) * dout).sum()


LINEAR = ['X', 'W', 'b', 'dY']


def test_derivation_2_1_linear_weight(linear):
    world, module, x, dout, _ = linear
    gradient('2.1', world, LINEAR, 'W', linear_loss, *hold('2.1', world), lines('2.1', world)['dW'],
             module.grads['weight'].copy(), (weighted(module, x, dout), module.params['weight']))


def test_derivation_2_2_linear_bias(linear):
    world, module, x, dout, _ = linear
    gradient('2.2', world, LINEAR, 'b', linear_loss, *hold('2.2', world), lines('2.2', world)['db'],
             module.grads['bias'].copy(), (weighted(module, x, dout), module.params['bias']))


def test_derivation_2_3_linear_input(linear):
    world, module, x, dout, dx = linear
    gradient('2.3', world, LINEAR, 'X', linear_loss, *hold('2.3', world), lines('2.3', world)['dX'],
             dx, (weighted(module, x, dout), x))


def test_derivation_3_1_activation(rng):
    world = worlds.activation(rng)
    gradient('3.1', world, ['X', 'dY'], 'X', lambda x, dout: (torch.tanh(x) * dout).sum(), *hold('3.1', world),
             lines('3.1', world, dh=lambda x: 1 - np.tanh(x) ** 2)['dX'])


def test_derivation_3_2_relu(rng):
    world, module = worlds.activation(rng, lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0)), modules.ReLUModule()
    x, dout = world['X'], world['D']
    module.forward(x)
    gradient('3.2', world, ['X', 'dY'], 'X', lambda x, dout: (torch.relu(x) * dout).sum(), *hold('3.2', world),
             lines('3.2', world)['dX'], module.backward(dout), (weighted(module, x, dout), x))


def test_derivation_4_1_softmax_jacobian(rng):
    world, module = worlds.softmax_module(rng), modules.SoftMaxModule()
    _, formula = hold('4.1', world)
    (x,) = tensors(world, 'x')
    module.forward(world['x'].T)
    code = np.stack([module.backward(row[None])[0] for row in np.eye(C)])  # row j: ∂y_j/∂x
    prove('4.1', {'autograd': (torch.autograd.functional.jacobian(lambda x: torch.softmax(x, dim=0), x), 0),
                  'the formula': (formula, TOLERANCE), 'the line of NumPy': (lines('4.1', world)['J'], TOLERANCE),
                  'the code': (code, TOLERANCE)})


def test_derivation_4_2_softmax(rng):
    world, module = worlds.softmax_module(rng), modules.SoftMaxModule()
    x, dout = world['X'], world['D']
    module.forward(x)
    (formula,), line = hold('4.2', world), lines('4.2', world)['dX']
    gradient('4.2', world, ['X', 'dY'], 'X', lambda x, dout: (torch.softmax(x, dim=1) * dout).sum(), formula,
             line, module.backward(dout), (weighted(module, x, dout), x))
    (with_einsum,) = [code for code in page.code_blocks(page.SECTIONS[4]) if '> ' not in code]
    assigned = page.run(with_einsum, page.in_numpy(world))
    prove('4.2', {'the line of NumPy': (line, 0), 'with einsum': (assigned['dX'], TOLERANCE)})
    assert assigned['J'].size == S * C**2


def test_derivation_5_1_cross_entropy(rng):
    world, module = worlds.cross_entropy(rng), modules.CrossEntropyModule()
    x, targets = world['X'], world['T']
    gradient('5.1', world, ['X', 'T'], 'X', lambda x, targets: -(targets * x.log()).sum() / S, *hold('5.1', world),
             lines('5.1', world)['dX'], module.backward(x, targets), (lambda: module.forward(x, targets), x))


def test_derivation_6_1_softmax_with_cross_entropy(rng):
    world = worlds.softmax_with_cross_entropy(rng)
    softmax, cross_entropy = modules.SoftMaxModule(), modules.CrossEntropyModule()
    x, targets = world['X'], world['T']
    code = softmax.backward(cross_entropy.backward(softmax.forward(x), targets))
    gradient('6.1', world, ['X', 'T'], 'X', torch.nn.functional.cross_entropy, *hold('6.1', world),
             lines('6.1', world)['dX'], code, (lambda: cross_entropy.forward(softmax.forward(x), targets), x))


def test_derivation_6_2_shifted_logits(rng):
    world, module = worlds.softmax_with_cross_entropy(rng), modules.SoftMaxModule()
    hold('6.2', world)
    x, u = world['X'], world['u']
    prove('6.2', {'softmax(X)': (world['Y'], 0), 'the lines of NumPy': (lines('6.2', world)['Y'], TOLERANCE),
                  'the code': (module.forward(x), TOLERANCE),
                  'the code on X − u𝟏ᵀ': (module.forward(x - u), TOLERANCE)})
    row_sums = module.backward(rng.normal(size=(S, C))).sum(axis=1)
    assert np.abs(row_sums).max() < 1e-12, 'the rows of ∂L/∂X do not sum to 0; see docs/derivations.md, Result 6.2'


def test_derivation_7_1_variance_of_a_linear_layer(rng):
    # No luck in it: the expectations are means over all possible draws, exact but for rounding.
    world = worlds.kaiming(rng)
    (formula,) = hold('7.1', world)
    line = lines('7.1', world)['var_y']
    for variance in world['y'].var(axis=1):
        prove('7.1', {'the variance': (variance, 0), 'the line of NumPy': (line, TOLERANCE)})
    prove('7.1', {'the line of NumPy': (line, 0), 'the formula': (formula[0], TOLERANCE)})


def test_derivation_7_2_gain(rng):
    # What the page says, with exact expectations: each gain gives the variance that it is for.
    world, text = worlds.kaiming(rng), ' '.join(page.SECTIONS[7].split())
    variance, *gains, kept = page.RESULTS['7.2'].formulas
    at_input, behind_relu = (formulas.evaluate(gain, world.having({'g': 0}))[0][1][1].array for gain in gains)
    for gain, aim in [(at_input, kept), (behind_relu, r'\mathrm{Var}[y_j] = \mathrm{Var}[a_k]')]:
        ((_, (_, v)),) = formulas.evaluate(variance, world.having({'g': gain}))
        formulas.check(aim, world.having({'v': v.array}), broadcast=True)
    required = re.findall(r'For \$(.+?)\$ the variance of the weights must be \$(.+?)\$: gain (\d)', text)
    assert len(required) == 2
    for aim, variance, gain in required:
        ((_, (_, v)),) = formulas.evaluate(variance, world)
        formulas.check(aim, world.having({'v': v.array}), broadcast=True)
        assert float(gain) in (at_input, behind_relu) and v.array == float(gain) / world['M']

    # The code draws as the line of NumPy does, and the layers keep the variance.
    for gain, input_layer in [(at_input, True), (behind_relu, False)]:
        np.random.seed(1)
        (code,) = page.RESULTS['7.2'].code
        line = page.run(code, {'np': np, 'N': N, 'M': M, 'g': gain})['W']
        np.random.seed(1)
        assert np.array_equal(modules.kaiming_normal(N, M, input_layer), line)
    assert variance_is_kept(modules.kaiming_normal) is None


@pytest.mark.parametrize('wrong', [
    {'gain': 1.0}, {'gain': 1.3}, {'gain': 2.3}, {'input_gain': 1.4}, {'fan_out_for_in': True},
], ids=str)
def test_a_wrong_gain_does_not_keep_the_variance(rng, wrong):
    assert 'see docs/derivations.md' in variance_is_kept(initialization(**wrong))


@pytest.fixture
def batch_norm(rng):
    """A batch normalization after forward and backward in training: (world, module, X, ∂L/∂Y, ∂L/∂X)."""
    world, module = worlds.batch_norm(rng), modules.BatchNormModule(N)
    module.params['weight'][:], module.params['bias'][:] = world[r'\gamma'], world[r'\beta']
    module.running_mean, module.running_var = world[r'\bar{\mu}'][0], world[r'\bar{\sigma}'][0] ** 2
    x, dout = world['X'], world['D']
    module.forward(x)
    return world, module, x, dout, module.backward(dout)


def batch_norm_loss(x, weight, bias, dout, mean=None, var=None):
    return (torch.nn.functional.batch_norm(x, mean, var, weight, bias, training=mean is None) * dout).sum()


BATCH_NORM = ['X', 'gamma', 'beta', 'dY']


def test_derivation_8_1_batch_norm_parameters(batch_norm):
    world, module, x, dout, _ = batch_norm
    grads = {name: grad.copy() for name, grad in module.grads.items()}
    for variable, name, formula in zip(['gamma', 'beta'], ['weight', 'bias'], hold('8.1', world)):
        gradient('8.1', world, BATCH_NORM, variable, batch_norm_loss, formula, lines('8.1', world)['d' + variable],
                 grads[name], (weighted(module, x, dout), module.params[name]))


def test_derivation_8_2_batch_norm_input(batch_norm):
    world, module, x, dout, dx = batch_norm
    line = lines('8.2', world, **lines('8.1', world))['dX']
    gradient('8.2', world, BATCH_NORM, 'X', batch_norm_loss, *hold('8.2', world), line, dx,
             (weighted(module, x, dout), x))
    assert np.abs(dx.sum(axis=0)).max() < 1e-12, 'the columns of ∂L/∂X do not sum to 0; see Result 8.2'


def test_derivation_8_3_batch_norm_evaluation(batch_norm, rng):
    world, module, x, dout, _ = batch_norm
    mean, variance = world[r'\bar{\mu} \leftarrow'], world[r'\bar{\sigma} ^ 2 \leftarrow']
    prove('8.3', {'the code': (module.running_mean, 0), 'the running mean': (mean, TOLERANCE)})
    prove('8.3', {'the code': (module.running_var, 0), 'the running variance': (variance, TOLERANCE)})
    world = worlds.at_evaluation(world.having({r'\bar{\mu}': mean, r'\bar{\sigma}': np.sqrt(variance)}))
    module.training = False
    output, formula = hold('8.3', world)
    prove('8.3', {'the code': (module.forward(x), 0), 'Y': (output, TOLERANCE)})
    running = [torch.from_numpy(module.running_mean), torch.from_numpy(module.running_var)]
    line = lines('8.3', world, running_var=module.running_var)['dX']
    gradient('8.3', world, BATCH_NORM, 'X', lambda *arguments: batch_norm_loss(*arguments, *running), formula, line,
             module.backward(dout), (weighted(module, x, dout), x))


def linear_and_batch_norm(world, eps, scale=1.0):
    """The gradients of a linear layer with scale · W, and of the batch normalization behind it, by the code."""
    layer, norm = modules.LinearModule(M, N), modules.BatchNormModule(N, eps=eps)
    layer.params['weight'][:], layer.params['bias'][:] = scale * world['W'], world['b']
    norm.params['weight'][:], norm.params['bias'][:] = world[r'\gamma'], world[r'\beta']
    out = norm.forward(layer.forward(world['X']))
    layer.backward(norm.backward(world['D']))
    return out, layer.grads, norm.grads


def test_derivation_8_4_linear_layer_before_it(rng):
    world = worlds.linear_before_batch_norm(rng)
    eps, alpha = float(world[r'\epsilon']), float(world[r'\alpha'])

    def with_epsilon(formula):
        return page.RESULTS['8.4'].formulas.index(formula) < page.RESULTS['8.4'].formulas.index(r'\epsilon = 0')

    def without_epsilon(formula):
        return not with_epsilon(formula)

    zero, radial = hold('8.4', world, only=with_epsilon)
    *_, scaled = hold('8.4', world.having({r'\epsilon': 0}), only=without_epsilon)

    _, grads, norm_grads = linear_and_batch_norm(world, eps)
    line = lines('8.4', world, dgamma=norm_grads['weight'], dW=0)
    assert zero == 0 and np.abs(grads['bias'] - line['db']).max() < 1e-12
    prove('8.4', {'the code': ((world['W'] * grads['weight']).sum(axis=1), 0),
                  'the line of NumPy': (line['radial'], TOLERANCE), 'the formula': (radial, CENTRAL_TOLERANCE)})

    out, grads, norm_grads = linear_and_batch_norm(world, 0)
    scaled_out, scaled_grads, _ = linear_and_batch_norm(world, 0, alpha)
    prove('8.4', {'BN(XWᵀ)': (out, 0), 'BN(αXWᵀ)': (scaled_out, TOLERANCE)})
    line = lines('8.4', world, dgamma=norm_grads['weight'], dW=grads['weight'])
    prove('8.4', {'the code': (scaled_grads['weight'], 0), 'the line of NumPy': (line['dW_scaled'], TOLERANCE),
                  'the formula': (scaled, CENTRAL_TOLERANCE)})
    # At right angles, with ε = 0: a step makes every row of the weights longer.
    assert np.abs((world['W'] * grads['weight']).sum(axis=1)).max() < 1e-12
    assert (np.linalg.norm(world['W'] - 0.1 * grads['weight'], axis=1) > np.linalg.norm(world['W'], axis=1)).all()


def test_derivation_9_1_matrix_products(rng):
    module = modules.LinearModule(M, N)
    x = rng.normal(size=(S, M)).view(CountingArray)
    one_product = lines('9.1', worlds.linear(rng))['operations']
    assert count_operations(lambda: module.backward(module.forward(x)))[0] == 3 * one_product
    assert count_operations(lambda: module.backward(module.forward(x), needs_input_grad=False))[0] == 2 * one_product
    (formula,) = re.findall(r'The matrix products of a linear layer take \$(.+?)\$ operations', page.TEXT)
    (((_, operations),),) = formulas.evaluate(formula, worlds.linear(rng))
    assert operations.array == one_product == 2 * S * M * N


def test_derivation_10_1_score_of_a_class(rng):
    world = worlds.score_of_a_class(rng)
    first, relu, second = modules.LinearModule(M, N), modules.ReLUModule(), modules.LinearModule(N, C)
    for module, weight, bias in ((first, 'W', 'b'), (second, 'V', 'c')):
        module.params['weight'][:], module.params['bias'][:] = world[weight], world[bias]
    pixels, (mean, std) = world['P'], (page.in_numpy(world)[name] for name in ('mu', 'sigma'))

    def scores():
        return second.forward(relu.forward(first.forward((pixels - mean) / std)))

    def loss(p, mean, std, w, b, v, c, chosen):
        return (chosen * (torch.relu((p - mean) / std @ w.T + b) @ v.T + c)).sum()

    scores()
    code = backward([first, relu, second], world['T']) / std
    gradient('10.1', world, ['P', 'mu', 'sigma', 'W', 'b', 'V', 'c', 'T'], 'P', loss, *hold('10.1', world),
             lines('10.1', world)['dP'], code, (lambda: float((world['T'] * scores()).sum()), pixels))
