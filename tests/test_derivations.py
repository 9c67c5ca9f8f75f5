"""Each numbered result of derivations.md, proven in numbers; the test bears the number of the result.

In float64 the index form (einsum, letter by letter as it is derived), the matrix form, the code,
central differences and PyTorch's autograd must give the same.
"""

import re

import numpy as np
import pytest
import torch

import modules
from conftest import ROOT
from checks.gradients import CENTRAL_TOLERANCE, TOLERANCE, central_differences, relative_error
from mlp_numpy import MLP

S, M, N, C = 7, 5, 4, 3
EXACT = 1e-12  # two ways to write the same sum


@pytest.fixture
def rng():
    np.random.seed(1)
    return np.random.default_rng(1)


def prove(result, claims):
    """Compare each claim (name → (value, tolerance)) with the first one, the index form."""
    (first, (reference, _)), *others = claims.items()
    for name, (value, tolerance) in others:
        error = relative_error(as_numpy(value), as_numpy(reference))
        assert error <= tolerance, (f'{name} differs from {first}: relative error {error:.2g}, allowed {tolerance:.0g}; '
                                    f'see derivations.md, Result {result}')


def as_numpy(value):
    return value.detach().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def leaf(array):
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


def gradient(result, index_form, matrix_form, code, function, x, torch_function):
    """Prove a gradient ∂f/∂x of f = function(), which reads the array x; torch_function takes x as a tensor."""
    tensor = leaf(x)
    torch_function(tensor).backward()
    claims = {'the index form': (index_form, 0), 'the matrix form': (matrix_form, EXACT)}
    if code is not None:
        claims['the code'] = (code, EXACT)
    claims['central differences'] = (central_differences(function, x), CENTRAL_TOLERANCE)
    claims['autograd'] = (tensor.grad, TOLERANCE)
    prove(result, claims)


def weighted(module, x, dout):
    """A loss L = Σ Y ∘ D, whose ∂L/∂Y is D."""
    return lambda: float((module.forward(x) * dout).sum())


def test_derivation_1_1_kronecker_delta(rng):
    x, v = rng.normal(size=M), rng.normal(size=M)
    delta = np.array([[1.0 if i == j else 0.0 for j in range(M)] for i in range(M)])
    central = np.stack([central_differences(lambda i=i: float(x[i]), x) for i in range(M)])
    prove('1.1', {
        'δ_ij': (delta, 0),
        'the unit matrix': (np.eye(M), 0),
        'central differences': (central, CENTRAL_TOLERANCE),
        'autograd': (torch.autograd.functional.jacobian(lambda t: 1 * t, torch.from_numpy(x)), TOLERANCE),
    })
    prove('1.1', {'v_i': (v, 0), 'Σ_j δ_ij v_j': (np.einsum('ij,j->i', delta, v), EXACT)})


def test_derivation_1_2_trace_and_hadamard_product(rng):
    a, b = rng.normal(size=(S, M)), rng.normal(size=(S, M))
    prove('1.2', {'Σ_ij A_ij B_ij': (np.einsum('ij,ij->', a, b), 0), 'tr(AᵀB)': (np.trace(a.T @ b), EXACT)})


def test_derivation_1_3_chain_rule_over_a_matrix(rng):
    # Y = sin(XV) and L = Σ Y³: every Y_ij of a row depends on every X_mn of it.
    x, v = rng.normal(size=(S, M)), rng.normal(size=(M, N))
    dout = 3 * np.sin(x @ v) ** 2  # ∂L/∂Y
    jacobian = torch.autograd.functional.jacobian(lambda t: torch.sin(t @ torch.from_numpy(v)), torch.from_numpy(x))
    index_form = np.einsum('ij,ijmn->mn', dout, jacobian.numpy())
    gradient('1.3', index_form, (dout * np.cos(x @ v)) @ v.T, None,
             lambda: float((np.sin(x @ v) ** 3).sum()), x, lambda t: (torch.sin(t @ torch.from_numpy(v)) ** 3).sum())


def test_derivation_1_4_dot_product(rng):
    x, a = rng.normal(size=M), rng.normal(size=M)
    index_form = np.einsum('ji,j->i', np.eye(M), a)
    gradient('1.4', index_form, a, None, lambda: float(x @ a), x, lambda t: t @ torch.from_numpy(a))


def test_derivation_1_5_bilinear_form(rng):
    x, b, c = rng.normal(size=(S, M)), rng.normal(size=S), rng.normal(size=M)
    index_form = np.einsum('i,im,jn,j->mn', b, np.eye(S), np.eye(M), c)
    gradient('1.5', index_form, b[:, None] @ c[None, :], None, lambda: float(b @ x @ c), x,
             lambda t: torch.from_numpy(b) @ t @ torch.from_numpy(c))


@pytest.fixture
def linear(rng):
    """A linear module after forward and backward: (module, X, ∂L/∂Y, ∂L/∂X)."""
    module = modules.LinearModule(M, N)
    module.params['bias'][:] = rng.normal(size=N)
    x, dout = rng.normal(size=(S, M)), rng.normal(size=(S, N))
    module.forward(x)
    return module, x, dout, module.backward(dout)


def linear_loss(x, weight, bias, dout):
    tensors = [t if isinstance(t, torch.Tensor) else torch.from_numpy(t) for t in (x, weight, bias, dout)]
    return (torch.nn.functional.linear(*tensors[:3]) * tensors[3]).sum()


def test_derivation_2_1_linear_weight(linear):
    module, x, dout, _ = linear
    weight, bias = module.params['weight'], module.params['bias']
    index_form = np.einsum('ij,ik,jm,kn->mn', dout, x, np.eye(N), np.eye(M))
    gradient('2.1', index_form, dout.T @ x, module.grads['weight'].copy(), weighted(module, x, dout), weight,
             lambda t: linear_loss(x, t, bias, dout))


def test_derivation_2_2_linear_bias(linear):
    module, x, dout, _ = linear
    weight, bias = module.params['weight'], module.params['bias']
    index_form = np.einsum('ij,jn->n', dout, np.eye(N))
    gradient('2.2', index_form, (np.ones((1, S)) @ dout)[0], module.grads['bias'].copy(),
             weighted(module, x, dout), bias, lambda t: linear_loss(x, weight, t, dout))


def test_derivation_2_3_linear_input(linear):
    module, x, dout, dx = linear
    weight, bias = module.params['weight'], module.params['bias']
    index_form = np.einsum('ij,im,kn,jk->mn', dout, np.eye(S), np.eye(M), weight)
    gradient('2.3', index_form, dout @ weight, dx, weighted(module, x, dout), x,
             lambda t: linear_loss(t, weight, bias, dout))


def test_derivation_3_1_activation(rng):
    x, dout = rng.normal(size=(S, M)), rng.normal(size=(S, M))
    slope = 1 - np.tanh(x) ** 2
    index_form = np.einsum('ij,ij,im,jn->mn', dout, slope, np.eye(S), np.eye(M))
    gradient('3.1', index_form, dout * slope, None, lambda: float((np.tanh(x) * dout).sum()), x,
             lambda t: (torch.tanh(t) * torch.from_numpy(dout)).sum())


def test_derivation_3_2_relu(rng):
    module, x, dout = modules.ReLUModule(), rng.normal(size=(S, M)), rng.normal(size=(S, M))
    module.forward(x)
    slope = np.array([[1.0 if value > 0 else 0.0 for value in row] for row in x])
    index_form = np.einsum('ij,ij,im,jn->mn', dout, slope, np.eye(S), np.eye(M))
    gradient('3.2', index_form, dout * (x > 0), module.backward(dout), weighted(module, x, dout), x,
             lambda t: (torch.relu(t) * torch.from_numpy(dout)).sum())


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)


def test_derivation_4_1_softmax_jacobian(rng):
    x = rng.normal(size=(1, C))
    y = softmax(x)[0]
    index_form = np.einsum('jn,j->jn', np.eye(C), y) - np.einsum('j,n->jn', y, y)
    module = modules.SoftMaxModule()
    module.forward(x)
    code = np.stack([module.backward(row[None])[0] for row in np.eye(C)])  # row j: ∂Y_j/∂X
    central = np.stack([central_differences(lambda j=j: float(softmax(x)[0, j]), x)[0] for j in range(C)])
    autograd = torch.autograd.functional.jacobian(lambda t: torch.softmax(t, dim=0), torch.from_numpy(x[0]))
    prove('4.1', {'the index form': (index_form, 0), 'the matrix form': (np.diag(y) - y[:, None] @ y[None], EXACT),
                  'the code': (code, EXACT), 'central differences': (central, CENTRAL_TOLERANCE),
                  'autograd': (autograd, TOLERANCE)})


def test_derivation_4_2_softmax(rng):
    module, x, dout = modules.SoftMaxModule(), rng.normal(size=(S, C)), rng.normal(size=(S, C))
    y = softmax(x)
    jacobian = np.einsum('im,jn,ij->ijmn', np.eye(S), np.eye(C), y) - np.einsum('im,ij,in->ijmn', np.eye(S), y, y)
    matrix_form = y * (dout - (dout * y) @ np.ones((C, 1)) @ np.ones((1, C)))
    module.forward(x)
    gradient('4.2', np.einsum('ij,ijmn->mn', dout, jacobian), matrix_form, module.backward(dout),
             weighted(module, x, dout), x, lambda t: (torch.softmax(t, dim=1) * torch.from_numpy(dout)).sum())


def test_derivation_5_1_cross_entropy(rng):
    module = modules.CrossEntropyModule()
    x, targets = rng.dirichlet(np.ones(C), size=S), rng.dirichlet(np.ones(C), size=S)
    index_form = -np.einsum('ik,ik,im,kn->mn', targets, 1 / x, np.eye(S), np.eye(C)) / S
    gradient('5.1', index_form, -(targets / x) / S, module.backward(x, targets), lambda: module.forward(x, targets), x,
             lambda t: -(torch.from_numpy(targets) * t.log()).sum() / S)


def test_derivation_6_1_softmax_with_cross_entropy(rng):
    softmax_module, cross_entropy = modules.SoftMaxModule(), modules.CrossEntropyModule()
    x, targets = rng.normal(size=(S, C)), rng.dirichlet(np.ones(C), size=S)
    y = softmax(x)
    jacobian = np.einsum('im,jn,ij->ijmn', np.eye(S), np.eye(C), y) - np.einsum('im,ij,in->ijmn', np.eye(S), y, y)
    code = softmax_module.backward(cross_entropy.backward(softmax_module.forward(x), targets))
    gradient('6.1', np.einsum('ij,ijmn->mn', -targets / y / S, jacobian), (y - targets) / S, code,
             lambda: cross_entropy.forward(softmax_module.forward(x), targets), x,
             lambda t: torch.nn.functional.cross_entropy(t, torch.from_numpy(targets)))


def test_derivation_6_2_shifted_logits(rng):
    x, c, dout = rng.normal(size=(S, C)), rng.normal(size=(S, 1)), rng.normal(size=(S, C))
    module = modules.SoftMaxModule()
    prove('6.2', {'softmax(X)': (softmax(x), 0), 'softmax(X − c1ᵀ)': (softmax(x - c @ np.ones((1, C))), EXACT),
                  'the code': (module.forward(x), EXACT), 'the code on X − c1ᵀ': (module.forward(x - c), EXACT)})
    row_sums = module.backward(dout).sum(axis=1)
    assert np.abs(row_sums).max() < EXACT, 'the rows of ∂L/∂X do not sum to 0; see derivations.md, Result 6.2'


def test_derivation_7_1_variance_of_a_linear_layer(rng):
    # The expectation is over the weights: many output features are many draws.
    in_features, draws, v = 50, 40_000, 0.3
    x = rng.uniform(0, 2, size=(1, in_features))
    y = x @ rng.normal(0, np.sqrt(v), size=(draws, in_features)).T
    expected = in_features * v * (x**2).mean()
    assert abs((y**2).mean() / expected - 1) < 5 * np.sqrt(2 / draws), 'see derivations.md, Result 7.1'


def test_derivation_7_2_gain(rng):
    # Five standard errors: each layer's variance is a mean over N units of samples that share their weights.
    features, layers = 1000, 5
    out = rng.normal(size=(200, features))
    for layer in range(layers):
        out = out @ modules.kaiming_normal(features, features, input_layer=layer == 0).T
        assert abs(out.var() - 1) < 5 * np.sqrt(2 * (layer + 1) * 4 / features), (
            f'variance {out.var():.2f} behind layer {layer + 1}; see derivations.md, Result 7.2')
        out = np.maximum(out, 0)


@pytest.fixture
def batch_norm(rng):
    """A batch normalization after forward and backward in training: (module, X, ∂L/∂Y, ∂L/∂X)."""
    module = modules.BatchNormModule(N)
    module.params['weight'][:], module.params['bias'][:] = rng.normal(size=(2, N))
    x, dout = rng.normal(1, 2, size=(S, N)), rng.normal(size=(S, N))
    module.forward(x)
    return module, x, dout, module.backward(dout)


def batch_norm_loss(x, weight, bias, dout, running=None):
    x, weight, bias, dout = (t if isinstance(t, torch.Tensor) else torch.from_numpy(t) for t in (x, weight, bias, dout))
    mean, var = map(torch.from_numpy, running) if running else (None, None)
    return (torch.nn.functional.batch_norm(x, mean, var, weight, bias, training=running is None) * dout).sum()


def test_derivation_8_1_batch_norm_parameters(batch_norm):
    module, x, dout, _ = batch_norm
    weight, bias = module.params['weight'], module.params['bias']
    grads = {name: grad.copy() for name, grad in module.grads.items()}
    x_hat = (x - x.mean(axis=0)) / np.sqrt(((x - x.mean(axis=0)) ** 2).mean(axis=0) + 1e-5)
    gradient('8.1', np.einsum('ij,jn,ij->n', dout, np.eye(N), x_hat), (np.ones((1, S)) @ (dout * x_hat))[0],
             grads['weight'], weighted(module, x, dout), weight, lambda t: batch_norm_loss(x, t, bias, dout))
    gradient('8.1', np.einsum('ij,jn->n', dout, np.eye(N)), (np.ones((1, S)) @ dout)[0],
             grads['bias'], weighted(module, x, dout), bias, lambda t: batch_norm_loss(x, weight, t, dout))


def test_derivation_8_2_batch_norm_input(batch_norm):
    module, x, dout, dx = batch_norm
    weight, bias = module.params['weight'], module.params['bias']
    std = np.sqrt(x.var(axis=0) + 1e-5)
    x_hat = (x - x.mean(axis=0)) / std
    jacobian = (np.einsum('jn,n,im->ijmn', np.eye(N), 1 / std, np.eye(S) - 1 / S)
                - np.einsum('jn,n,in,mn->ijmn', np.eye(N), 1 / std, x_hat, x_hat) / S)
    ones = np.ones((S, 1))
    dbias, dweight = ones.T @ dout, ones.T @ (dout * x_hat)  # (1, N)
    matrix_form = ones @ (weight / std)[None] * (dout - (ones @ dbias + x_hat * (ones @ dweight)) / S)
    gradient('8.2', np.einsum('j,ij,ijmn->mn', weight, dout, jacobian), matrix_form, dx,
             weighted(module, x, dout), x, lambda t: batch_norm_loss(t, weight, bias, dout))
    assert np.abs(dx.sum(axis=0)).max() < 1e-12, 'the columns of ∂L/∂X do not sum to 0; see derivations.md, Result 8.2'


def test_derivation_8_3_batch_norm_evaluation(batch_norm):
    module, x, dout, _ = batch_norm
    weight, bias = module.params['weight'], module.params['bias']
    mean, var = 0.1 * x.mean(axis=0), 0.9 + 0.1 * x.var(axis=0) * S / (S - 1)
    prove('8.3', {'0.9 · 0 + 0.1 μ': (mean, 0), 'the code': (module.running_mean, EXACT)})
    prove('8.3', {'0.9 · 1 + 0.1 σ² S/(S − 1)': (var, 0), 'the code': (module.running_var, EXACT)})
    module.training = False
    std = np.sqrt(var + 1e-5)
    prove('8.3', {'Y': (weight * (x - mean) / std + bias, 0), 'the code': (module.forward(x), EXACT)})
    index_form = np.einsum('ij,j,im,jn->mn', dout, weight / std, np.eye(S), np.eye(N))
    gradient('8.3', index_form, dout * (weight / std), module.backward(dout), weighted(module, x, dout), x,
             lambda t: batch_norm_loss(t, weight, bias, dout, (module.running_mean, module.running_var)))


class CountingArray(np.ndarray):
    """An array that adds up the operations of the matrix products it takes part in."""

    operations = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        inputs = [value.view(np.ndarray) if isinstance(value, CountingArray) else value for value in inputs]
        if 'out' in kwargs:
            kwargs['out'] = tuple(value.view(np.ndarray) for value in kwargs['out'])
        if ufunc is np.matmul:
            (rows, inner), (_, columns) = (value.shape for value in inputs)
            CountingArray.operations += 2 * rows * inner * columns
        out = getattr(ufunc, method)(*inputs, **kwargs)
        return out.view(CountingArray) if isinstance(out, np.ndarray) else out


def test_derivation_9_1_matrix_products(rng, monkeypatch):
    monkeypatch.setattr(CountingArray, 'operations', 0)
    module = modules.LinearModule(M, N)
    x = rng.normal(size=(S, M)).view(CountingArray)
    module.backward(module.forward(x))
    assert CountingArray.operations == 3 * 2 * S * M * N, 'see derivations.md, Result 9.1'

    CountingArray.operations = 0
    model = MLP(3072, [128], 10)
    out = model.forward(rng.normal(size=(128, 3072)).view(CountingArray))
    model.backward(out)
    assert CountingArray.operations == 2 * 2 * 128 * 3072 * 128 + 3 * 2 * 128 * 128 * 10
    assert round(CountingArray.operations / 1e6) == 202, 'see the last paragraph of derivations.md, section 9'


def test_every_numbered_result_has_a_test_and_every_test_a_result():
    text = (ROOT / 'docs' / 'derivations.md').read_text(encoding='utf-8')
    results = re.findall(r'\*\*Result (\d+)\.(\d+)\.\*\*', text)
    assert len(set(results)) == len(results) > 0
    tests = [name for name in globals() if name.startswith('test_derivation_')]
    assert [tuple(name.split('_')[2:4]) for name in tests] == results
    assert re.findall(r'`(test_derivation_\w+)`', text) == tests, 'a result names another test than its own'
