"""Checks of the NumPy modules and MLP: every gradient against central differences and PyTorch's autograd.

    python unittests.py                  a readable report; exit code 1 where a check fails
    python unittests.py --solution DIR   the same checks on the modules.py and mlp_numpy.py in DIR
    python -m pytest unittests.py        the same checks under pytest

Where a check fails, the message says which gradient is off, by how much, and the probable cause.
"""

import sys
import unittest
from types import SimpleNamespace

import numpy as np

import mlp_numpy
import modules
from gradient_check import CENTRAL_TOLERANCE, TOLERANCE, central_differences, gradient_fault

try:
    import torch
except ImportError:  # the NumPy half of the project works without it, and so do most checks
    torch = None

# What is judged: this project, or somebody else's solution behind solution_adapter.py, which says what it found.
INTERFACE = getattr(modules, 'INTERFACE', SimpleNamespace(own=True, input_layer=True, labels=True, rows=True,
                                                          relu=True))

needs_torch = unittest.skipIf(torch is None, 'PyTorch is not installed')
only_here = unittest.skipUnless(INTERFACE.own, 'beyond the interfaces that every solution has')
needs_input_layer = unittest.skipUnless(INTERFACE.input_layer, 'LinearModule takes no input_layer')
needs_labels = unittest.skipUnless(INTERFACE.labels, 'CrossEntropyModule takes no integer labels')
needs_rows = unittest.skipUnless(INTERFACE.rows, 'CrossEntropyModule takes no target rows')

FORGOTTEN = RuntimeError if INTERFACE.own else Exception  # what backward raises after clear_cache

S, M, N, C = 7, 5, 4, 3  # samples, inputs, outputs, classes: all different, so that a wrong axis shows


class ModuleChecks(unittest.TestCase):
    """What the checks of every module need."""

    def setUp(self):
        np.random.seed(42)
        self.rng = np.random.default_rng(42)

    def assert_gradient(self, name, actual, expected, cause, tolerance=TOLERANCE):
        """cause: what to suspect, and the number of the result in derivations.md."""
        if torch is not None and isinstance(expected, torch.Tensor):
            expected = expected.numpy()
        fault = gradient_fault(name, actual, expected, S, tolerance, *cause)
        if fault:
            self.fail(fault)

    def assert_close(self, actual, expected, message, tolerance=1e-12):
        np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance, err_msg=message)

    def assert_matches_central_differences(self, module, x, causes, params=()):
        """Compare backward of a module with central differences of L = Σ forward(x) ∘ D for a random D."""
        dout = self.rng.normal(size=module.forward(x).shape)
        dx = module.backward(dout)

        def loss():
            return float((module.forward(x) * dout).sum())

        grads = {name: module.grads[name].copy() for name in params}  # before loss() runs forward again
        for name in params:
            expected = central_differences(loss, module.params[name])
            self.assert_gradient(f'∂L/∂{name}', grads[name], expected, causes[name], tolerance=CENTRAL_TOLERANCE)
        self.assert_gradient('∂L/∂X', dx, central_differences(loss, x), causes['x'], tolerance=CENTRAL_TOLERANCE)

    def assert_independent(self, module, x):
        """Two results of forward are two arrays, and backward belongs to the second."""
        first = module.forward(x)
        kept = first.copy()
        second = module.forward(x + 1)
        self.assertFalse(np.shares_memory(first, second), 'two calls of forward returned the same array')
        self.assert_close(first, kept, 'a later forward overwrote an earlier result', tolerance=0)

    def assert_forgets(self, module, x):
        """After clear_cache there is nothing to go back from."""
        out = module.forward(x)
        module.clear_cache()
        with self.assertRaises(FORGOTTEN, msg='backward after clear_cache used the cleared forward pass'):
            module.backward(out)


class LinearModuleChecks(ModuleChecks):
    CAUSES = {
        'weight': ('a transpose; ∂L/∂W = (∂L/∂Y)ᵀ X', '2.1'),
        'bias': ('the sum over the batch; ∂L/∂b = Σ_s ∂L/∂Y_s', '2.2'),
        'x': ('a transpose; ∂L/∂X = ∂L/∂Y W', '2.3'),
    }

    def setUp(self):
        super().setUp()
        self.module = modules.LinearModule(M, N)
        self.module.params['bias'][:] = self.rng.normal(size=N)  # zero would hide a forgotten bias
        self.x = self.rng.normal(size=(S, M))

    def test_forward(self):
        """linear: forward is X Wᵀ + b"""
        expected = np.einsum('sm,nm->sn', self.x, self.module.params['weight']) + self.module.params['bias']
        self.assert_close(self.module.forward(self.x), expected, 'Y = X Wᵀ + b')

    def test_gradients_numerically(self):
        """linear: gradients of weight, bias and input equal central differences"""
        self.assert_matches_central_differences(self.module, self.x, self.CAUSES, ['weight', 'bias'])

    @needs_torch
    def test_gradients_autograd(self):
        """linear: gradients of weight, bias and input equal autograd's"""
        dout = self.rng.normal(size=(S, N))
        self.module.forward(self.x)
        dx = self.module.backward(dout)
        x, weight, bias = leaves(self.x, self.module.params['weight'], self.module.params['bias'])
        torch.nn.functional.linear(x, weight, bias).backward(torch.from_numpy(dout))
        self.assert_gradient('∂L/∂weight', self.module.grads['weight'], weight.grad, self.CAUSES['weight'])
        self.assert_gradient('∂L/∂bias', self.module.grads['bias'], bias.grad, self.CAUSES['bias'])
        self.assert_gradient('∂L/∂X', dx, x.grad, self.CAUSES['x'])

    def test_second_backward_replaces_the_gradients(self):
        """linear: a second backward replaces the gradients of the first"""
        for _ in range(2):
            self.module.forward(self.x)
            self.module.backward(np.ones((S, N)))
        expected = np.ones((N, S)) @ self.x
        self.assert_gradient('∂L/∂weight', self.module.grads['weight'], expected, self.CAUSES['weight'])
        self.assert_gradient('∂L/∂bias', self.module.grads['bias'], np.full(N, float(S)), self.CAUSES['bias'])

    def test_initial_shapes(self):
        """linear: weight (N, M) and bias (N,); bias and gradients start at zero, in float64"""
        module = modules.LinearModule(M, N)
        for name, shape in {'weight': (N, M), 'bias': (N,)}.items():
            for arrays in (module.params, module.grads):
                self.assertEqual(arrays[name].shape, shape, name)
                self.assertEqual(arrays[name].dtype, np.float64, name)
            self.assertFalse(module.grads[name].any(), f'the gradient of the {name} does not start at zero')
        self.assertFalse(module.params['bias'].any(), 'the bias does not start at zero')

    @needs_input_layer
    def test_initialization_statistics(self):
        """linear: Kaiming initialization, mean 0, standard deviation √(gain / M), gain 2 or, at the input, 1"""
        in_features, out_features = 400, 500
        for input_layer, gain in ((False, 2), (True, 1)):
            weight = modules.LinearModule(in_features, out_features, input_layer=input_layer).params['weight']
            std = np.sqrt(gain / in_features)
            count = weight.size  # the bounds are five standard errors of mean and deviation
            self.assertLess(abs(weight.mean()), 5 * std / np.sqrt(count), f'mean with input_layer={input_layer}')
            self.assertLess(abs(weight.std() / std - 1), 5 / np.sqrt(2 * count),
                            f'standard deviation with input_layer={input_layer}: {weight.std():.4f} for {std:.4f}; '
                            f'the gain should be {gain}')

    @only_here
    def test_input_gradient_can_be_left_out(self):
        """linear: without needs_input_grad only ∂L/∂X is left out"""
        self.module.forward(self.x)
        self.assertIsNone(self.module.backward(np.ones((S, N)), needs_input_grad=False))
        self.assert_close(self.module.grads['bias'], np.full(N, S), '∂L/∂bias')

    def test_independent_results(self):
        """linear: two forward results are independent"""
        self.assert_independent(self.module, self.x)

    def test_clear_cache(self):
        """linear: clear_cache forgets the forward pass"""
        self.assert_forgets(self.module, self.x)


class ActivationChecks:
    """What holds for every element-wise activation; mixed into the checks of one, which give make_module."""

    CAUSES = {'x': ('the slope h′(X) taken at the wrong place, or not multiplied with ∂L/∂Y', '3.1')}

    def setUp(self):
        super().setUp()
        self.x = self.rng.normal(size=(S, M))
        self.module = self.make_module()

    def test_gradient_numerically(self):
        """activation: gradient equals central differences"""
        self.assert_matches_central_differences(self.module, self.x, self.CAUSES)

    def test_independent_results(self):
        """activation: two forward results are independent"""
        self.assert_independent(self.module, self.x)

    def test_clear_cache(self):
        """activation: clear_cache forgets the forward pass"""
        self.assert_forgets(self.module, self.x)


class ReLUModuleChecks(ActivationChecks, ModuleChecks):
    CAUSES = {'x': ('the mask X > 0 applied to the wrong array, or not at all', '3.2')}

    def make_module(self):
        return modules.ReLUModule()

    def test_forward(self):
        """relu: forward is max(X, 0)"""
        self.assert_close(self.module.forward(np.array([[-2.0, 0.0, 3.0]])), [[0, 0, 3]], 'Y = max(X, 0)')

    @only_here
    def test_nan_passes(self):
        """relu: a NaN stays a NaN"""
        self.assertTrue(np.isnan(self.module.forward(np.array([np.nan]))).all(), 'a NaN was hidden')

    @needs_torch
    def test_gradient_autograd(self):
        """relu: gradient equals autograd's, at 0 too"""
        self.x[0] = 0
        dout = self.rng.normal(size=(S, M))
        self.module.forward(self.x)
        x, = leaves(self.x)
        torch.relu(x).backward(torch.from_numpy(dout))
        self.assert_gradient('∂L/∂X', self.module.backward(dout), x.grad, self.CAUSES['x'])


class BatchNormModuleChecks(ModuleChecks):
    CAUSES = {
        'weight': ('the sum over the batch of ∂L/∂Y ∘ X̂', '8.1'),
        'bias': ('the sum over the batch of ∂L/∂Y', '8.1'),
        'x': ('the dependence of the batch mean or variance on X', '8.2'),
    }

    def setUp(self):
        super().setUp()
        self.module = modules.BatchNormModule(N)
        self.module.params['weight'][:] = self.rng.normal(1, 0.5, size=N)
        self.module.params['bias'][:] = self.rng.normal(size=N)
        self.x = self.rng.normal(2, 3, size=(S, N))

    def test_start(self):
        """batch norm: weight 1, bias 0, running mean 0, running variance 1, gradients 0"""
        module = modules.BatchNormModule(N)
        for array, value in ((module.params['weight'], 1), (module.params['bias'], 0), (module.running_mean, 0),
                             (module.running_var, 1), (module.grads['weight'], 0), (module.grads['bias'], 0)):
            self.assert_close(array, np.full(N, value), 'start')

    def test_forward_normalizes(self):
        """batch norm: each feature of the output has mean β and standard deviation γ"""
        out = self.module.forward(self.x)
        self.assert_close(out.mean(axis=0), self.module.params['bias'], 'mean')
        self.assert_close(out.std(axis=0), np.abs(self.module.params['weight']), 'deviation', 1e-4)

    def test_gradients_numerically(self):
        """batch norm: gradients of γ, β and input equal central differences, in training and in evaluation"""
        for training in (True, False):
            with self.subTest(training=training):
                self.module.training = training
                self.assert_matches_central_differences(self.module, self.x, self.CAUSES, ['weight', 'bias'])

    @needs_torch
    def test_everything_autograd(self):
        """batch norm: output, gradients and running estimates equal PyTorch's, in training and in evaluation"""
        twin = torch.nn.BatchNorm1d(N, dtype=torch.float64)
        with torch.no_grad():
            for name in ('weight', 'bias'):
                getattr(twin, name).copy_(torch.from_numpy(self.module.params[name]))
        for training in (True, True, False):  # twice, so that the running estimates have moved twice
            dout = self.rng.normal(size=(S, N))
            self.x = self.x + 1
            self.module.training = training
            twin.train(training)
            twin.zero_grad()
            x, = leaves(self.x)
            expected = twin(x)
            expected.backward(torch.from_numpy(dout))
            self.assert_close(self.module.forward(self.x), expected.detach(), 'Y')
            self.assert_gradient('∂L/∂X', self.module.backward(dout), x.grad, self.CAUSES['x'])
            for name in ('weight', 'bias'):
                self.assert_gradient(f'∂L/∂{name}', self.module.grads[name], getattr(twin, name).grad,
                                     self.CAUSES[name])
            self.assert_close(self.module.running_mean, twin.running_mean, 'running mean')
            self.assert_close(self.module.running_var, twin.running_var, 'running variance: unbiased, momentum 0.1?')

    def test_evaluation_leaves_the_running_estimates(self):
        """batch norm: evaluation does not move the running estimates"""
        self.module.forward(self.x)
        mean, var = self.module.running_mean.copy(), self.module.running_var.copy()
        self.module.training = False
        self.module.forward(self.x)
        self.assert_close(self.module.running_mean, mean, 'running mean', tolerance=0)
        self.assert_close(self.module.running_var, var, 'running variance', tolerance=0)

    def test_a_single_sample_is_refused_in_training(self):
        """batch norm: a batch of one sample is refused in training, and fine in evaluation"""
        with self.assertRaisesRegex(ValueError, 'at least 2'):
            self.module.forward(self.x[:1])
        self.module.training = False
        self.assertEqual(self.module.forward(self.x[:1]).shape, (1, N))

    def test_independent_results(self):
        """batch norm: two forward results are independent"""
        self.assert_independent(self.module, self.x)

    def test_clear_cache(self):
        """batch norm: clear_cache forgets the forward pass"""
        self.assert_forgets(self.module, self.x)


class SoftMaxModuleChecks(ModuleChecks):
    CAUSES = {
        'x': ('the off-diagonal part of the Jacobian: −Y_ij Σ_k ∂L/∂Y_ik Y_ik, a sum over the classes', '4.2'),
    }

    def setUp(self):
        super().setUp()
        self.module = modules.SoftMaxModule()
        self.x = self.rng.normal(size=(S, C))

    def test_forward(self):
        """softmax: forward is exp(X_ij) / Σ_k exp(X_ik)"""
        exp = np.exp(self.x)
        self.assert_close(self.module.forward(self.x), exp / exp.sum(axis=1)[:, None], 'Y_ij = exp(X_ij) / Σ_k')

    def test_gradient_numerically(self):
        """softmax: gradient equals central differences"""
        self.assert_matches_central_differences(self.module, self.x, self.CAUSES)

    @needs_torch
    def test_gradient_autograd(self):
        """softmax: gradient equals autograd's"""
        dout = self.rng.normal(size=(S, C))
        self.module.forward(self.x)
        x, = leaves(self.x)
        torch.softmax(x, dim=1).backward(torch.from_numpy(dout))
        self.assert_gradient('∂L/∂X', self.module.backward(dout), x.grad, self.CAUSES['x'])

    def test_extreme_logits(self):
        """softmax: finite for logits of ±1e4, and the same for X and X + 1e4"""
        for dtype in (np.float32, np.float64):
            out = self.module.forward(np.array([[1e4, -1e4, 0]], dtype))
            self.assert_close(out, [[1, 0, 0]], 'is the row maximum subtracted before exp?')
        self.assert_close(self.module.forward(self.x + 1e4), self.module.forward(self.x), 'shifted logits', 1e-11)

    def test_independent_results(self):
        """softmax: two forward results are independent"""
        self.assert_independent(self.module, self.x)

    def test_clear_cache(self):
        """softmax: clear_cache forgets the forward pass"""
        self.assert_forgets(self.module, self.x)


class CrossEntropyModuleChecks(ModuleChecks):
    CAUSE = ('the sign, the missing 1/S, or X in place of 1/X; ∂L/∂X = −T / X / S', '5.1')

    def setUp(self):
        super().setUp()
        self.module = modules.CrossEntropyModule()
        self.x = self.rng.dirichlet(np.ones(C), size=S)  # (S, C), rows of probabilities
        self.labels = self.rng.integers(C, size=S)
        self.soft_targets = self.rng.dirichlet(np.ones(C), size=S)

    def test_forward(self):
        """cross-entropy: forward is −(1/S) Σ_i log X_i,label, as a float"""
        loss = self.module.forward(self.x, self.labels)
        self.assertIsInstance(loss, float)
        self.assert_close(loss, -np.log([row[label] for row, label in zip(self.x, self.labels)]).mean(), 'L')

    @needs_labels
    @needs_rows
    def test_labels_and_one_hot_rows_agree(self):
        """cross-entropy: labels and one-hot rows mean the same"""
        rows = np.eye(C)[self.labels]
        self.assertEqual(self.module.forward(self.x, self.labels), self.module.forward(self.x, rows))
        self.assert_close(self.module.backward(self.x, self.labels), self.module.backward(self.x, rows), '∂L/∂X')

    def test_gradient_numerically(self):
        """cross-entropy: gradient equals central differences, for labels and soft targets"""
        for targets in (self.labels, self.soft_targets) if INTERFACE.rows else (self.labels,):
            expected = central_differences(lambda y=targets: self.module.forward(self.x, y), self.x)
            self.assert_gradient('∂L/∂X', self.module.backward(self.x, targets), expected, self.CAUSE,
                                 tolerance=CENTRAL_TOLERANCE)

    @needs_torch
    @needs_rows
    def test_loss_and_gradient_autograd(self):
        """cross-entropy: loss and gradient equal autograd's for soft targets"""
        x, = leaves(self.x)
        loss = -(torch.from_numpy(self.soft_targets) * x.log()).sum(dim=1).mean()
        loss.backward()
        self.assert_close(self.module.forward(self.x, self.soft_targets), loss.item(), 'L')
        self.assert_gradient('∂L/∂X', self.module.backward(self.x, self.soft_targets), x.grad, self.CAUSE)

    @only_here
    def test_wrong_targets_are_refused(self):
        """cross-entropy: labels outside of the classes and targets of a wrong shape are refused"""
        for targets in (np.full(S, C), np.full(S, -1), np.zeros(S), np.zeros((S, C + 1)), np.zeros(S - 1, int)):
            with self.assertRaises(ValueError):
                self.module.forward(self.x, targets)


class SoftMaxWithCrossEntropyChecks(ModuleChecks):
    CAUSE = ('either module alone, or 1/Y of a probability that became zero', '6.1')

    def gradient(self, logits, targets):
        softmax, cross_entropy = modules.SoftMaxModule(), modules.CrossEntropyModule()
        probabilities = softmax.forward(logits)
        loss = cross_entropy.forward(probabilities, targets)
        return probabilities, loss, softmax.backward(cross_entropy.backward(probabilities, targets))

    def test_gradient_collapses(self):
        """softmax + cross-entropy: the gradient of the logits is (Y − T) / S, for soft targets too"""
        labels = self.rng.integers(C, size=S)
        soft_targets = self.rng.dirichlet(np.ones(C), size=S)
        for targets, rows in ((labels, np.eye(C)[labels]), (soft_targets, soft_targets))[:1 + INTERFACE.rows]:
            probabilities, _, grad = self.gradient(self.rng.normal(size=(S, C)), targets)
            self.assert_gradient('∂L/∂logits', grad, (probabilities - rows) / S, self.CAUSE)

    @only_here
    def test_extreme_logits(self):
        """softmax + cross-entropy: logits of ±1e4 give a finite loss and the gradient (Y − T) / S"""
        labels = np.arange(S) % C
        for dtype, tolerance in ((np.float32, 1e-6), (np.float64, TOLERANCE)):
            logits = np.full((S, C), -1e4, dtype)
            logits[np.arange(S), (labels + np.arange(S)) % C] = 1e4  # some right, some wrong
            with np.errstate(all='raise', under='ignore'):
                _, loss, grad = self.gradient(logits, labels)
            self.assertTrue(np.isfinite(loss), f'the loss is {loss} in {np.dtype(dtype)}')
            expected = ((logits > 0).astype(float) - np.eye(C)[labels]) / S
            self.assertEqual(grad.dtype, dtype)
            self.assert_gradient('∂L/∂logits', grad, expected, self.CAUSE, tolerance=tolerance)


class MLPChecks(ModuleChecks):
    HIDDEN = ([], [6], [6, 5, 4])
    CAUSE = ('the order of the layers in backward, or one of the modules (see its own checks)', '1.3')

    def setUp(self):
        super().setUp()
        self.x = self.rng.normal(size=(S, M))
        self.dout = self.rng.normal(size=(S, C))  # ∂L/∂probabilities of L = Σ probabilities ∘ dout

    def linear_layers(self, model, sizes):
        """The linear layers in order; `sizes` are those of the net from input to output."""
        linears = [layer for layer in model.layers if isinstance(layer, modules.LinearModule)]
        shapes = [linear.params['weight'].shape for linear in linears]
        self.assertEqual(shapes, list(zip(sizes[1:], sizes)), 'the linear layers of the MLP have other weights')
        return linears

    @needs_torch
    @unittest.skipUnless(INTERFACE.relu, 'the activation is not ReLU')
    def test_gradients_autograd(self):
        """mlp: probabilities and all gradients equal autograd's with 0, 1 and 3 hidden layers"""
        for hidden in self.HIDDEN:
            with self.subTest(n_hidden=hidden):
                model = mlp_numpy.MLP(M, hidden, C)
                linears = self.linear_layers(model, [M, *hidden, C])
                params = leaves(*(linear.params[name] for linear in linears for name in ('weight', 'bias')))
                out = torch.from_numpy(self.x)
                for i in range(0, len(params), 2):
                    out = torch.nn.functional.linear(torch.relu(out) if i else out, params[i], params[i + 1])
                expected = torch.softmax(out, dim=1)
                expected.backward(torch.from_numpy(self.dout))
                self.assert_close(model.forward(self.x), expected.detach(), 'the probabilities are off', TOLERANCE)
                model.backward(self.dout)
                for i, linear in enumerate(linears):
                    for name, param in zip(('weight', 'bias'), params[2 * i:2 * i + 2]):
                        self.assert_gradient(f'∂L/∂{name} of linear layer {i + 1}', linear.grads[name], param.grad,
                                             self.CAUSE)

    def test_gradients_numerically(self):
        """mlp: all gradients equal central differences with 0, 1 and 3 hidden layers"""
        for hidden in self.HIDDEN:
            with self.subTest(n_hidden=hidden):
                model = mlp_numpy.MLP(M, hidden, C)
                linears = self.linear_layers(model, [M, *hidden, C])
                model.forward(self.x)
                model.backward(self.dout)
                grads = [{name: grad.copy() for name, grad in linear.grads.items()} for linear in linears]
                for i, linear in enumerate(linears):
                    for name, param in linear.params.items():
                        expected = central_differences(
                            lambda m=model: float((m.forward(self.x) * self.dout).sum()), param)
                        self.assert_gradient(f'∂L/∂{name} of linear layer {i + 1}', grads[i][name], expected,
                                             self.CAUSE, tolerance=CENTRAL_TOLERANCE)

    @needs_input_layer
    def test_input_layer_has_gain_1(self):
        """mlp: the first layer starts with gain 1, the others with gain 2"""
        linears = self.linear_layers(mlp_numpy.MLP(300, [200, 250], 200), [300, 200, 250, 200])
        for layer, (linear, gain) in enumerate(zip(linears, (1, 2, 2)), start=1):
            weight = linear.params['weight']
            self.assertLess(abs(weight.std() / np.sqrt(gain / weight.shape[1]) - 1), 5 / np.sqrt(2 * weight.size),
                            f'the standard deviation of the weights of linear layer {layer} is not √({gain} / M)')

    def test_probabilities(self):
        """mlp: forward gives rows that sum to 1"""
        out = mlp_numpy.MLP(M, [6], C).forward(self.x)
        self.assertEqual(out.shape, (S, C))
        self.assert_close(out.sum(axis=1), np.ones(S), 'rows of probabilities')

    def test_four_dimensional_input(self):
        """mlp: images (S, channels, height, width) give what their flattened rows give, gradients too"""
        model = mlp_numpy.MLP(2 * 3 * 4, [6], C)
        images = self.rng.normal(size=(S, 2, 3, 4))
        linears = self.linear_layers(model, [24, 6, C])
        outs, grads = [], []
        for x in (images, images.reshape(S, -1)):
            outs.append(model.forward(x))
            model.backward(self.dout)
            grads.append(linears[0].grads['weight'].copy())
        self.assert_close(outs[0], outs[1], 'forward', tolerance=0)
        self.assert_close(grads[0], grads[1], '∂L/∂weight', tolerance=0)

    @only_here
    def test_dtype(self):
        """mlp: a float32 model stays float32 in parameters, results and gradients"""
        model = mlp_numpy.MLP(M, [6], C, dtype=np.float32)
        out = model.forward(self.x.astype(np.float32))
        self.assertEqual(out.dtype, np.float32)
        model.backward(out)
        for linear in self.linear_layers(model, [M, 6, C]):
            for name in ('weight', 'bias'):
                self.assertEqual((linear.params[name].dtype, linear.grads[name].dtype), (np.float32, np.float32))

    def test_independent_results(self):
        """mlp: two forward results are independent"""
        self.assert_independent(mlp_numpy.MLP(M, [6], C), self.x)

    def test_clear_cache(self):
        """mlp: clear_cache forgets the forward pass in every layer"""
        model = mlp_numpy.MLP(M, [6], C)
        out = model.forward(self.x)
        model.clear_cache()
        with self.assertRaises(FORGOTTEN, msg='backward after clear_cache used the cleared forward pass'):
            model.backward(out)
        for linear in self.linear_layers(model, [M, 6, C]):
            with self.assertRaises(FORGOTTEN, msg='clear_cache did not reach a linear layer'):
                linear.backward(np.ones((S, len(linear.params['bias']))))


def leaves(*arrays):
    """Copies of NumPy arrays as float64 tensors whose gradients autograd computes."""
    return [torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in arrays]


class Report(unittest.TextTestResult):
    """One line per check, and of a failed one the message alone: the traceback leads into the check."""

    def getDescription(self, test):
        return test.shortDescription() or str(test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.failures[-1] = (test, f'{err[1]}\n')

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err and issubclass(err[0], test.failureException):
            self.failures[-1] = (subtest, f'{err[1]}\n')


def main():
    from train_utils import CHECKS, ArgumentParser, argument_type

    parser = ArgumentParser('Check the NumPy modules and MLP of this project or of a solution.')
    parser.add_argument('--solution', metavar='DIR', help='check the modules.py and mlp_numpy.py in DIR instead')
    parser.add_argument('--timeout', type=argument_type(*CHECKS['lr']), default=20, metavar='SECONDS',
                        help='how long one check of a solution may take')
    arguments = parser.parse_args()
    if arguments.solution is not None:
        import solution_check
        sys.exit(solution_check.main(arguments.solution, arguments.timeout))
    unittest.main(__name__, argv=sys.argv[:1], testRunner=unittest.TextTestRunner(resultclass=Report, verbosity=2))


if __name__ == '__main__':
    main()
