"""Each numbered result of docs/derivations.md, proven in numbers: `python -m pytest -k "derivation[2.1]"`.

The formulas and the lines of NumPy are read from the page and evaluated (derivations_page.py, formulas.py) with the
numbers of derivation_worlds.py, in float64. Every formula must hold, its derivatives taken by central differences. Its
value and the line of NumPy must agree with PyTorch's autograd. (unittests.py compares the code with autograd.)
"""

import functools
import inspect
import re

import numpy as np
import pytest
import torch
from torch.nn.functional import batch_norm, cross_entropy, linear

import derivation_worlds as worlds
import derivations_page as page
import formulas
import modules
from checks.gradients import CENTRAL_TOLERANCE, relative_error
from counting_array import CountingArray, count_operations
from derivation_worlds import M, N, S

def proofs():
    """Number of a result → the function of a random generator that proves it."""
    return {**{number: functools.partial(prove_gradients, number) for number in GRADIENTS},
            **{number: functools.partial(prove_jacobian, number) for number in JACOBIANS},
            **{name[6:].replace('_', '.'): value for name, value in globals().items() if re.match(r'prove_\d', name)}}


@pytest.mark.parametrize('number', page.RESULTS)
def test_derivation(number):
    np.random.seed(1)
    proofs()[number](np.random.default_rng(1))


def test_every_proof_has_its_result():
    assert proofs().keys() == page.RESULTS.keys()


def hold(number, world, only=lambda formula: True):
    """Check the formulas of a result; returns the right side of each."""
    stated = [formula for formula in page.RESULTS[number].formulas if formula not in page.CONDITIONS and only(formula)]
    assert stated, f'Result {number} states nothing'
    return [side for formula in stated for side in formulas.check(formula, world, broadcast=number.startswith('7'))]


def lines(number, world, **names):
    """The variables that the NumPy below a result assigns."""
    (code,) = page.RESULTS[number].code
    return page.run(code, {**page.in_numpy(world), **names})


def agree(number, reference, *others):
    """The values are equal up to the error of central differences."""
    reference, *others = (value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
                          for value in (reference, *others))
    for value in others:
        if reference.ndim == 1 and 1 in value.shape:  # a column or a row of the page
            value = value.ravel()
        error = relative_error(value, reference)
        assert error <= CENTRAL_TOLERANCE, f'relative error {error:.2g}; see docs/derivations.md, Result {number}'


def tensors(world, function):
    """The arguments of a function, letters of the world, as tensors; columns and rows as vectors."""
    arrays = page.in_numpy(world)
    return [torch.tensor(arrays[name], requires_grad=True) for name in inspect.signature(function).parameters]


def jacobian(function, world):
    """The derivative with respect to the first argument."""
    return torch.autograd.functional.jacobian(function, tuple(tensors(world, function)))[0].numpy()


# Result: (its world, a function of letters, a variable of the lines)
JACOBIANS = {
    '1.1': (worlds.tools, lambda x: 1 * x, 'delta'),
    '1.7': (worlds.tools, lambda P, Q: P @ Q, 'J'),
    '1.8': (worlds.tools, lambda X: X @ X.T, 'J'),
    '4.1': (worlds.softmax_module, lambda x: torch.softmax(x, dim=0), 'J'),
}


def prove_jacobian(number, rng):
    make_world, function, name = JACOBIANS[number]
    world = make_world(rng)
    expected = jacobian(function, world)
    stated = [side for side in hold(number, world) if side.shape == expected.shape]
    assert stated
    agree(number, expected, *stated, lines(number, world)[name])


def loss_of_linear(X, W, b, dY):
    return (linear(X, W, b) * dY).sum()


def loss_of_batch_norm(X, gamma, beta, dY):
    return (batch_norm(X, None, None, gamma, beta, training=True) * dY).sum()


# Result: (its world, the loss, the variables, a function of the world that gives more names to the lines)
GRADIENTS = {
    '1.3': (worlds.tools, lambda X, V: (torch.sin(X @ V) ** 3).sum(), 'X',
            lambda world: {'J': jacobian(lambda X, V: torch.sin(X @ V), world)}),
    '1.4': (worlds.tools, lambda x, p: x @ p, 'x', None),
    '1.5': (worlds.tools, lambda p, X, q: p @ X @ q, 'X', None),
    '2.1': (worlds.linear, loss_of_linear, 'W', None),
    '2.2': (worlds.linear, loss_of_linear, 'b', None),
    '2.3': (worlds.linear, loss_of_linear, 'X', None),
    '3.1': (worlds.activation, lambda X, dY: (torch.tanh(X) * dY).sum(), 'X',
            lambda world: {'dh': lambda x: 1 - np.tanh(x) ** 2}),
    '3.2': (worlds.relu, lambda X, dY: (torch.relu(X) * dY).sum(), 'X', None),
    '4.2': (worlds.softmax_module, lambda X, dY: (torch.softmax(X, dim=1) * dY).sum(), 'X', None),
    '5.1': (worlds.cross_entropy, lambda X, T: -(T * X.log()).sum() / S, 'X', None),
    '6.1': (worlds.softmax_with_cross_entropy, lambda X, T: cross_entropy(X, T), 'X', None),
    '8.1': (worlds.batch_norm, loss_of_batch_norm, ['gamma', 'beta'], None),
    '8.2': (worlds.batch_norm, loss_of_batch_norm, 'X', lambda world: lines('8.1', world)),
    '10.1': (worlds.score_of_a_class, lambda P, mu, sigma, W, b, V, c, T:
             (T * (torch.relu((P - mu) / sigma @ W.T + b) @ V.T + c)).sum(), 'P', None),
}


def prove_gradients(number, rng):
    make_world, loss, variables, more_names = GRADIENTS[number]
    world = make_world(rng)
    right_sides, assigned = hold(number, world), lines(number, world, **(more_names(world) if more_names else {}))
    arguments = dict(zip(inspect.signature(loss).parameters, tensors(world, loss)))
    loss(**arguments).backward()
    for variable, formula in zip(variables, right_sides, strict=True):
        agree(number, arguments[variable].grad, formula, assigned[f'd{variable}'])


def prove_1_2(rng):
    """Trace and hadamard product."""
    world = worlds.tools(rng)
    agree('1.2', (world['P'] * world['Q']).sum(), *hold('1.2', world), lines('1.2', world)['total'])


def prove_1_6(rng):
    """Back to matrices."""
    world = worlds.tools(rng)
    rows = page.table(1, 'by index')
    assert len(rows) == 7
    for by_index, in_matrices, code in rows:
        (value,) = formulas.check(f'{by_index} = {in_matrices}'.replace('$', ''), world)
        agree('1.6', value, eval(code.strip('`'), page.in_numpy(world)))


def prove_6_2(rng):
    """Shifted logits."""
    world = worlds.softmax_with_cross_entropy(rng)
    hold('6.2', world)
    agree('6.2', world['Y'], lines('6.2', world)['Y'])


def prove_7_1(rng):
    """Variance of a linear layer."""
    # No luck in it: the expectations are means over all possible draws, exact up to rounding.
    world = worlds.kaiming(rng)
    (formula,) = hold('7.1', world)
    for variance in world['y'].var(axis=1):
        agree('7.1', variance, formula[0], lines('7.1', world)['var_y'])


def prove_7_2(rng):
    """Gain."""
    world, text = worlds.kaiming(rng), ' '.join(page.SECTIONS[7].split())
    required = re.findall(r'For \$(.+?)\$ the variance of the weights must be \$(.+?)\$: gain (\d)', text)
    assert page.RESULTS['7.2'].formulas == ['v = g/M', *(f'g = {g}' for *_, g in required), r'\mathrm{Var}[y_j] = 1']
    for (aim, variance, g), input_layer in zip(required, (True, False), strict=True):
        ((_, (_, v)),) = formulas.evaluate(variance, world)
        assert v == float(g) / world['M']
        formulas.check(aim, world.having({'v': v}), broadcast=True)
        np.random.seed(1)
        line = page.run(page.RESULTS['7.2'].code[0], {'np': np, 'N': N, 'M': M, 'g': float(g)})['W']
        np.random.seed(1)
        assert np.array_equal(modules.kaiming_normal(N, M, input_layer), line)
    assert all(abs(scores).max() < 5 for scores in standard_scores())  # of Result 7.3 too


def standard_scores(nets=2000, widths=(20, 40, 25, 50, 30)):
    """How many standard errors the mean squares in each layer of random networks are from their expectations.

    Returns two arrays: of the outputs, with expectation 1, and of ∂L/∂(output) in the hidden layers, with the
    expectation outputs / units of the layer. No two widths are equal, so that fan-out instead of fan-in shows.
    """
    weights = [modules.kaiming_normal(nets * fan_out, fan_in, fan_in == widths[0]).reshape(nets, fan_out, fan_in)
               for fan_in, fan_out in zip(widths, widths[1:])]
    outputs, gradients = [np.random.normal(size=(nets, widths[0], 1))], [np.random.normal(size=(nets, 1, widths[-1]))]
    for weight in weights:
        outputs.append(weight @ (outputs[-1] if weight is weights[0] else np.maximum(outputs[-1], 0)))
    for weight, output in zip(weights[:0:-1], outputs[-2::-1]):
        gradients.append(gradients[-1] @ weight * (output > 0).transpose(0, 2, 1))
    scores = []
    for values, expected in ((outputs[1:], 1), (gradients[:0:-1], widths[-1] / np.array(widths[1:-1]))):
        squares = np.array([(value**2).mean(axis=(1, 2)) for value in values])  # (layers, nets)
        scores.append((squares.mean(axis=1) - expected) / (squares.std(axis=1, ddof=1) / np.sqrt(nets)))
    return scores


def prove_7_3(rng):
    """Gradients and widths."""
    world = worlds.kaiming(rng)
    world = world.having({'v': 2 / world['M']})
    (formula,) = hold('7.3', world)
    agree('7.3', formula[0], lines('7.3', world)['mean_square'])


def prove_8_3(rng):
    """Batch norm in evaluation."""
    world = worlds.batch_norm(rng)
    mean, variance = world[r'\bar{\mu} \leftarrow'], world[r'\bar{\sigma} ^ 2 \leftarrow']
    world = worlds.at_evaluation(world.having({r'\bar{\mu}': mean, r'\bar{\sigma}': np.sqrt(variance)}))
    output, formula = hold('8.3', world)
    x, gamma, beta, dout = tensors(world, loss_of_batch_norm)
    out = batch_norm(x, *(torch.from_numpy(values[0]) for values in (mean, variance)), gamma, beta)
    (out * dout).sum().backward()
    agree('8.3', out, output)
    agree('8.3', x.grad, formula, lines('8.3', world, running_var=variance[0])['dX'])


def linear_and_batch_norm(world, eps, scale=1.0):
    """The gradients of a linear layer with scale · W, and of the batch normalization after it, by the code."""
    layer, norm = modules.LinearModule(M, N), modules.BatchNormModule(N, eps=eps)
    layer.params['weight'][:], layer.params['bias'][:] = scale * world['W'], world['b']
    norm.params['weight'][:], norm.params['bias'][:] = world[r'\gamma'], world[r'\beta']
    out = norm.forward(layer.forward(world['X']))
    layer.backward(norm.backward(world['D']))
    return out, layer.grads, norm.grads['weight']


def prove_8_4(rng):
    """Linear layer before it."""
    world = worlds.linear_before_batch_norm(rng)
    stated = page.RESULTS['8.4'].formulas
    with_epsilon = stated[:stated.index(r'\epsilon = 0')]
    zero, radial = hold('8.4', world, with_epsilon.__contains__)
    *_, scaled = hold('8.4', world.having({r'\epsilon': 0}), lambda formula: formula not in with_epsilon)

    _, grads, dgamma = linear_and_batch_norm(world, float(world[r'\epsilon']))
    line = lines('8.4', world, dgamma=dgamma, dW=0)
    assert zero == 0 and np.abs(grads['bias'] - line['db']).max() < 1e-12
    agree('8.4', (world['W'] * grads['weight']).sum(axis=1), line['radial'], radial)

    out, grads, dgamma = linear_and_batch_norm(world, 0)
    scaled_out, scaled_grads, _ = linear_and_batch_norm(world, 0, float(world[r'\alpha']))
    agree('8.4', out, scaled_out)
    agree('8.4', scaled_grads['weight'], scaled, lines('8.4', world, dgamma=dgamma, dW=grads['weight'])['dW_scaled'])
    # Orthogonal with ε = 0, so a step makes every row of the weights longer.
    assert np.abs((world['W'] * grads['weight']).sum(axis=1)).max() < 1e-12
    assert (np.linalg.norm(world['W'] - 0.1 * grads['weight'], axis=1) > np.linalg.norm(world['W'], axis=1)).all()


def prove_9_1(rng):
    """Matrix products."""
    module, world = modules.LinearModule(M, N), worlds.linear(rng)
    x, one_product = world['X'].view(CountingArray), lines('9.1', world)['operations']
    assert count_operations(lambda: module.backward(module.forward(x))) == 3 * one_product
    assert count_operations(lambda: module.backward(module.forward(x), needs_input_grad=False)) == 2 * one_product
    (formula,) = re.findall(r'The matrix products of a linear layer take \$(.+?)\$ operations', page.TEXT)
    (((_, operations),),) = formulas.evaluate(formula, world)
    assert operations == one_product == 2 * S * M * N
