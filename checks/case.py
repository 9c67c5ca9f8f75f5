"""The base classes of all checks: comparisons whose message names the cause, and the checks that modules share."""

import copy
import unittest

import numpy as np

from checks.gradients import CENTRAL_TOLERANCE, TOLERANCE, central_differences, difference, gradient_fault

try:
    import torch
except ImportError:  # the NumPy MLP and most checks work without it
    torch = None

needs_torch = unittest.skipIf(torch is None, 'PyTorch is not installed')

S, M, N, C = 7, 5, 4, 3  # samples, inputs, outputs, classes: all different, so that a wrong axis is detected


class ModuleChecks(unittest.TestCase):
    """Comparisons for the checks of a module."""

    def setUp(self):
        np.random.seed(42)
        self.rng = np.random.default_rng(42)

    def assert_gradient(self, name, actual, expected, result, tolerance=TOLERANCE):
        """result: the formula of the gradient, and the number of that result in derivations.md."""
        fault = gradient_fault(name, actual, expected, S, tolerance, *result)
        if fault:
            self.fail(fault)

    def assert_close(self, actual, expected, message, tolerance=1e-12):
        extent = difference(actual, expected, tolerance)
        if extent:
            self.fail(f'{message}: {extent}')

    def assert_kind(self, name, array, shape, dtype=np.float64):
        actual, expected = (f'{np.dtype(of_type)} of shape {of_shape}'
                            for of_type, of_shape in ((array.dtype, array.shape), (dtype, shape)))
        if actual != expected:
            self.fail(f'{name} is {actual} instead of {expected}')

    def assert_statistic(self, name, value, expected, chance):
        """chance: the largest deviation of a correct value."""
        if not abs(value - expected) <= chance:
            self.fail(f'{name} is {value:.4f}: expected {expected:.4f} ± {chance:.2g}')

    def assert_rejected(self, name, words, function, *arguments):
        """function(*arguments) raises a ValueError whose message contains these words."""
        try:
            function(*arguments)
        except ValueError as error:
            if words not in str(error):
                self.fail(f'{name} is rejected, but not with the words "{words}"')
        else:
            self.fail(f'{name} is not rejected')

    def assert_matches_central_differences(self, module, x, results, params=()):
        """Compare backward of a module with central differences of L = Σ forward(x) ∘ D for a random D."""
        dout = self.rng.normal(size=module.forward(x).shape)
        dx = module.backward(dout)

        grads = copy.deepcopy(getattr(module, 'grads', {}))  # before loss() runs forward again

        def loss():
            return float((module.forward(x) * dout).sum())

        for name in params:
            expected = central_differences(loss, module.params[name])
            self.assert_gradient(f'∂L/∂{name}', grads[name], expected, results[name], CENTRAL_TOLERANCE)
        self.assert_gradient('∂L/∂X', dx, central_differences(loss, x), results['x'], CENTRAL_TOLERANCE)


class ForwardChecks:
    """The checks of every module with a forward pass of one argument; its class has `part`, self.module and self.x."""

    def shortDescription(self):
        return super().shortDescription().format(part=self.part)

    def test_independent_results(self):
        """{part}: two forward results are independent"""
        first = self.module.forward(self.x)
        kept = first.copy()
        self.module.forward(self.x[::-1])  # with the rows in another order, the result of every module differs
        self.assert_close(first, kept, 'a later forward overwrote an earlier result', tolerance=0)

    def test_clear_cache(self):
        """{part}: clear_cache forgets the forward pass"""
        out = self.module.forward(self.x)
        self.module.clear_cache()
        with self.assertRaises(RuntimeError, msg='backward after clear_cache used the cleared forward pass'):
            self.module.backward(out)


def leaves(*arrays):
    """Copies of NumPy arrays as float64 tensors whose gradients autograd computes."""
    return [torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in arrays]
