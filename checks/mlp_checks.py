"""Checks of the NumPy MLP: its modules together, with no, one and three hidden layers."""

import copy

import numpy as np

import mlp_numpy
import modules
from checks.case import C, ForwardChecks, M, ModuleChecks, S, leaves, needs_torch, torch
from checks.gradients import CENTRAL_TOLERANCE, TOLERANCE, central_differences


class MLPChecks(ForwardChecks, ModuleChecks):
    part = 'mlp'
    HIDDEN = ([], [6], [6, 5, 4])
    RESULT = ('the order of the layers in backward, and each module by its own checks', '1.3')

    def setUp(self):
        super().setUp()
        self.module, self.x = mlp_numpy.MLP(M, [6], C), self.rng.normal(size=(S, M))
        self.dout = self.rng.normal(size=(S, C))  # ∂L/∂probabilities of L = Σ probabilities ∘ dout

    def linear_layers(self, model, sizes):
        """The linear layers in order; `sizes`: of all layers, from input to output."""
        linears = [layer for layer in model.layers if isinstance(layer, modules.LinearModule)]
        shapes = [linear.params['weight'].shape for linear in linears]
        if shapes != (expected := list(zip(sizes[1:], sizes))):
            self.fail(f'the weights of the linear layers have the shapes {shapes} instead of {expected}')
        return linears

    @needs_torch
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
                                             self.RESULT)

    def test_gradients_numerically(self):
        """mlp: all gradients equal central differences with 0, 1 and 3 hidden layers"""
        for hidden in self.HIDDEN:
            with self.subTest(n_hidden=hidden):
                model = mlp_numpy.MLP(M, hidden, C)
                linears = self.linear_layers(model, [M, *hidden, C])
                model.forward(self.x)
                model.backward(self.dout)  # copy the gradients before forward runs again
                grads = [copy.deepcopy(linear.grads) for linear in linears]
                for i, linear in enumerate(linears, start=1):
                    for name, param in linear.params.items():
                        expected = central_differences(
                            lambda m=model: float((m.forward(self.x) * self.dout).sum()), param)
                        self.assert_gradient(f'∂L/∂{name} of linear layer {i}', grads[i - 1][name], expected,
                                             self.RESULT, CENTRAL_TOLERANCE)

    def test_input_layer_has_gain_1(self):
        """mlp: the first layer starts with gain 1, the others with gain 2"""
        linears = self.linear_layers(mlp_numpy.MLP(150, [100, 125], 100), [150, 100, 125, 100])
        for layer, (linear, gain) in enumerate(zip(linears, (1, 2, 2)), start=1):
            weight = linear.params['weight']
            std = np.sqrt(gain / weight.shape[1])
            self.assert_statistic(f'the standard deviation of the weights of linear layer {layer} (gain {gain})',
                                  weight.std(), std, 5 * std / np.sqrt(2 * weight.size))

    def test_probabilities(self):
        """mlp: forward gives rows that sum to 1"""
        out = mlp_numpy.MLP(M, [6], C).forward(self.x)
        self.assert_kind('the output', out, (S, C))
        self.assert_close(out.sum(axis=1), np.ones(S), 'the sums of the rows')

    def test_four_dimensional_input(self):
        """mlp: images (S, channels, height, width) and their flattened rows give the same, gradients too"""
        model = mlp_numpy.MLP(2 * 3 * 4, [6], C)
        images = self.rng.normal(size=(S, 2, 3, 4))
        linears = self.linear_layers(model, [24, 6, C])
        outs, grads = [], []
        for x in (images, images.reshape(S, -1)):
            outs.append(model.forward(x))
            model.backward(self.dout)
            grads.append(linears[0].grads['weight'].copy())
        self.assert_close(outs[0], outs[1], 'the probabilities', tolerance=0)
        self.assert_close(grads[0], grads[1], '∂L/∂weight of linear layer 1', tolerance=0)

    def test_a_layer_without_units_is_rejected(self):
        """mlp: a hidden layer of 0 units is rejected"""
        self.assert_rejected('a hidden layer of 0 units', 'at least 1 input and 1 output', mlp_numpy.MLP, M, [0], C)

    def test_dtype(self):
        """mlp: a float32 model stays float32 in parameters, results and gradients"""
        model = mlp_numpy.MLP(M, [6], C, dtype=np.float32)
        out = model.forward(self.x.astype(np.float32))
        self.assert_kind('the output', out, (S, C), np.float32)
        model.backward(out)
        for i, linear in enumerate(self.linear_layers(model, [M, 6, C]), start=1):
            for name, param in linear.params.items():
                self.assert_kind(f'the {name} of linear layer {i}', param, param.shape, np.float32)
                self.assert_kind(f'∂L/∂{name} of linear layer {i}', linear.grads[name], param.shape, np.float32)

    def test_clear_cache(self):
        """mlp: clear_cache forgets the forward pass in every layer"""
        super().test_clear_cache()
        for linear in self.linear_layers(self.module, [M, 6, C]):
            with self.assertRaises(RuntimeError, msg='clear_cache did not reach a linear layer'):
                linear.backward(np.ones((S, len(linear.params['bias']))))
