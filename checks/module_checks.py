"""Checks of each NumPy module: forward, gradients against central differences and autograd, initialization, cache."""

import numpy as np

import modules
from checks.case import C, ForwardChecks, M, ModuleChecks, N, S, leaves, needs_torch, torch
from checks.gradients import CENTRAL_TOLERANCE, TOLERANCE, central_differences


class LinearModuleChecks(ForwardChecks, ModuleChecks):
    part = 'linear'
    RESULTS = {
        'weight': ('∂L/∂W = (∂L/∂Y)ᵀ X', '2.1'),
        'bias': ('∂L/∂b = Σ_s ∂L/∂Y_s', '2.2'),
        'x': ('∂L/∂X = ∂L/∂Y W', '2.3'),
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
        self.assert_matches_central_differences(self.module, self.x, self.RESULTS, ['weight', 'bias'])

    @needs_torch
    def test_gradients_autograd(self):
        """linear: gradients of weight, bias and input equal autograd's"""
        dout = self.rng.normal(size=(S, N))
        self.module.forward(self.x)
        dx = self.module.backward(dout)
        x, weight, bias = leaves(self.x, self.module.params['weight'], self.module.params['bias'])
        torch.nn.functional.linear(x, weight, bias).backward(torch.from_numpy(dout))
        self.assert_gradient('∂L/∂weight', self.module.grads['weight'], weight.grad, self.RESULTS['weight'])
        self.assert_gradient('∂L/∂bias', self.module.grads['bias'], bias.grad, self.RESULTS['bias'])
        self.assert_gradient('∂L/∂X', dx, x.grad, self.RESULTS['x'])

    def test_second_backward_replaces_the_gradients(self):
        """linear: a second backward replaces the gradients of the first"""
        for _ in range(2):
            self.module.forward(self.x)
            self.module.backward(np.ones((S, N)))
        expected = np.ones((N, S)) @ self.x
        self.assert_gradient('∂L/∂weight', self.module.grads['weight'], expected, self.RESULTS['weight'])
        self.assert_gradient('∂L/∂bias', self.module.grads['bias'], np.full(N, float(S)), self.RESULTS['bias'])

    def test_initial_shapes(self):
        """linear: weight (N, M) and bias (N,); bias and gradients start at zero, in float64"""
        module = modules.LinearModule(M, N)
        for name, shape in {'weight': (N, M), 'bias': (N,)}.items():
            for which, arrays in (('the', module.params), ('the gradient of the', module.grads)):
                self.assert_kind(f'{which} {name}', arrays[name], shape)
            self.assert_close(module.grads[name], np.zeros(shape), f'the gradient of the {name} does not start at 0')
        self.assert_close(module.params['bias'], np.zeros(N), 'the bias does not start at 0')

    def test_initialization_statistics(self):
        """linear: Kaiming initialization, mean 0, standard deviation √(gain / M), gain 2 or, at the input, 1"""
        in_features, out_features = 200, 250
        for input_layer, gain in ((False, 2), (True, 1)):
            options = {'input_layer': True} if input_layer else {}  # by default the layer is not the first
            weight = modules.LinearModule(in_features, out_features, **options).params['weight']
            std = np.sqrt(gain / in_features)
            of_which = f'with input_layer={input_layer} (gain {gain})'
            # By chance: five standard errors of mean and deviation.
            self.assert_statistic(f'the mean {of_which}', weight.mean(), 0, 5 * std / np.sqrt(weight.size))
            self.assert_statistic(f'the standard deviation {of_which}', weight.std(), std,
                                  5 * std / np.sqrt(2 * weight.size))

    def test_weights_are_normal(self):
        """linear: the weights are normally distributed"""
        weight = modules.LinearModule(200, 250).params['weight'].ravel()
        for deviations, share in ((1, 0.6827), (2, 0.9545), (3, 0.9973)):
            inside = (np.abs(weight) < deviations * weight.std()).mean()
            self.assert_statistic(f'the fraction of weights within ±{deviations} standard deviations', inside, share,
                                  5 * np.sqrt(share * (1 - share) / weight.size))

    def test_input_of_another_size_is_rejected(self):
        """linear: an input with another number of features is rejected, and so is a layer without any"""
        for shape in ((S, M + 1), (M,), (S, M, 1)):
            self.assert_rejected(f'an input of shape {shape}', f'must be rows of {M} features',
                                self.module.forward, np.zeros(shape))
        for sizes in ((0, N), (M, 0)):
            self.assert_rejected(f'a layer of {sizes} features', 'at least 1 input and 1 output', modules.LinearModule,
                                *sizes)

    def test_input_gradient_can_be_left_out(self):
        """linear: without needs_input_grad only ∂L/∂X is left out"""
        self.module.forward(self.x)
        dx = self.module.backward(np.ones((S, N)), needs_input_grad=False)
        if dx is not None:
            self.fail('∂L/∂X is not left out')
        self.assert_close(self.module.grads['bias'], np.full(N, S), '∂L/∂bias')


class ActivationChecks:
    """The checks of every element-wise activation; the class of one activation adds `part` and make_module."""

    RESULTS = {'x': ('∂L/∂X = ∂L/∂Y ∘ h′(X)', '3.1')}

    def setUp(self):
        super().setUp()
        self.x = self.rng.normal(size=(S, M))
        self.module = self.make_module()

    def test_gradient_numerically(self):
        """{part}: gradient equals central differences"""
        self.assert_matches_central_differences(self.module, self.x, self.RESULTS)


class ReLUModuleChecks(ActivationChecks, ForwardChecks, ModuleChecks):
    part = 'relu'
    RESULTS = {'x': ('∂L/∂X = ∂L/∂Y ∘ [X > 0]', '3.2')}

    def make_module(self):
        return modules.ReLUModule()

    def test_forward(self):
        """relu: forward is max(X, 0)"""
        self.assert_close(self.module.forward(np.array([[-2.0, 0.0, 3.0]])), [[0, 0, 3]], 'Y = max(X, 0)')

    def test_nan_passes(self):
        """relu: forward and backward pass a NaN on"""
        out = self.module.forward(np.array([np.nan]))
        if not np.isnan(out).all():
            self.fail(f'a NaN became {out}')
        dx = self.module.backward(np.ones(1))
        if dx != 1:
            self.fail(f'∂L/∂X is {dx} for a NaN and ∂L/∂Y = 1: the gradient is not passed on')

    @needs_torch
    def test_gradient_autograd(self):
        """relu: gradient equals autograd's, at 0 too"""
        self.x[0] = 0
        dout = self.rng.normal(size=(S, M))
        self.module.forward(self.x)
        x, = leaves(self.x)
        torch.relu(x).backward(torch.from_numpy(dout))
        self.assert_gradient('∂L/∂X', self.module.backward(dout), x.grad, self.RESULTS['x'])


class BatchNormModuleChecks(ForwardChecks, ModuleChecks):
    part = 'batch norm'
    RESULTS = {
        'weight': ('∂L/∂γ = Σ_s ∂L/∂Y_s ∘ X̂_s', '8.1'),
        'bias': ('∂L/∂β = Σ_s ∂L/∂Y_s', '8.1'),
        'x': ('in training, the mean and the variance of the batch depend on X', '8.2'),
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
        for name, array, value in (('γ', module.params['weight'], 1), ('β', module.params['bias'], 0),
                                   ('∂L/∂γ', module.grads['weight'], 0), ('∂L/∂β', module.grads['bias'], 0),
                                   ('the running mean', module.running_mean, 0),
                                   ('the running variance', module.running_var, 1)):
            self.assert_close(array, np.full(N, value), f'{name} does not start at {value}')

    def test_forward_normalizes(self):
        """batch norm: each feature of the output has mean β and standard deviation γ"""
        out = self.module.forward(self.x)
        self.assert_close(out.mean(axis=0), self.module.params['bias'], 'the mean of each feature, β')
        # If the variance is small, eps makes the standard deviation a little smaller.
        self.assert_close(out.std(axis=0), np.abs(self.module.params['weight']),
                          'the standard deviation of each feature, |γ|', tolerance=1e-4)

    def test_gradients_numerically(self):
        """batch norm: gradients of γ, β and input equal central differences, in training and in evaluation"""
        for training in (True, False):
            with self.subTest(training=training):
                self.module.training = training
                self.assert_matches_central_differences(self.module, self.x, self.RESULTS, ['weight', 'bias'])

    @needs_torch
    def test_everything_autograd(self):
        """batch norm: output, gradients and running estimates equal PyTorch's, in training and in evaluation"""
        reference = torch.nn.BatchNorm1d(N, dtype=torch.float64)
        with torch.no_grad():
            for name in ('weight', 'bias'):
                getattr(reference, name).copy_(torch.from_numpy(self.module.params[name]))
        for training in (True, True, False):  # twice, so that the running estimates have moved twice
            dout = self.rng.normal(size=(S, N))
            self.x = self.x + 1
            self.module.training = training
            reference.train(training)
            reference.zero_grad()
            x, = leaves(self.x)
            expected = reference(x)
            expected.backward(torch.from_numpy(dout))
            self.assert_close(self.module.forward(self.x), expected.detach(), 'Y')
            self.assert_gradient('∂L/∂X', self.module.backward(dout), x.grad, self.RESULTS['x'])
            for name in ('weight', 'bias'):
                self.assert_gradient(f'∂L/∂{name}', self.module.grads[name], getattr(reference, name).grad,
                                     self.RESULTS[name])
            self.assert_close(self.module.running_mean, reference.running_mean, 'running mean')
            self.assert_close(self.module.running_var, reference.running_var,
                              'running variance: unbiased, momentum 0.1?')

    def test_evaluation_leaves_the_running_estimates(self):
        """batch norm: evaluation does not move the running estimates"""
        self.module.forward(self.x)
        mean, var = self.module.running_mean.copy(), self.module.running_var.copy()
        self.module.training = False
        self.module.forward(self.x)
        self.assert_close(self.module.running_mean, mean, 'running mean', tolerance=0)
        self.assert_close(self.module.running_var, var, 'running variance', tolerance=0)

    def test_backward_belongs_to_its_forward(self):
        """batch norm: a change to evaluation after forward does not change the gradient"""
        grads = []
        for training in (True, False):
            self.module.training = True
            self.module.forward(self.x)
            self.module.training = training
            grads.append(self.module.backward(np.arange(S * N).reshape(S, N) % 3.0))
        self.assert_close(grads[1], grads[0], '∂L/∂X after a change to evaluation', tolerance=0)

    def test_wrong_inputs_are_rejected(self):
        """batch norm: another number of features is rejected, and in training a batch of one sample"""
        for shape in ((S, N + 1), (S, 1), (N,), (S, N, 1)):
            self.assert_rejected(f'an input of shape {shape}', f'must be rows of {N} features',
                                self.module.forward, np.zeros(shape))
        self.assert_rejected('a batch of one sample', 'at least 2 samples', self.module.forward, self.x[:1])
        self.module.forward(self.x[:2])  # this and the next forward raise no error
        self.module.training = False
        self.module.forward(self.x[:1])


class SoftMaxModuleChecks(ForwardChecks, ModuleChecks):
    part = 'softmax'
    RESULTS = {'x': ('∂L/∂X_ij = Y_ij (∂L/∂Y_ij − Σ_k ∂L/∂Y_ik Y_ik), a sum over the classes', '4.2')}

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
        self.assert_matches_central_differences(self.module, self.x, self.RESULTS)

    @needs_torch
    def test_gradient_autograd(self):
        """softmax: gradient equals autograd's"""
        dout = self.rng.normal(size=(S, C))
        self.module.forward(self.x)
        x, = leaves(self.x)
        torch.softmax(x, dim=1).backward(torch.from_numpy(dout))
        self.assert_gradient('∂L/∂X', self.module.backward(dout), x.grad, self.RESULTS['x'])

    def test_extreme_logits(self):
        """softmax: finite for logits of ±1e4, and the same for X and X + 1e4"""
        for dtype in (np.float32, np.float64):
            out = self.module.forward(np.array([[1e4, -1e4, 0]], dtype))
            self.assert_close(out, [[1, 0, 0]], 'is the row maximum subtracted before exp?')
        self.assert_close(self.module.forward(self.x + 1e4), self.module.forward(self.x), 'shifted logits', 1e-11)


class CrossEntropyModuleChecks(ModuleChecks):
    RESULT = ('∂L/∂X = −T / X / S', '5.1')

    def setUp(self):
        super().setUp()
        self.module = modules.CrossEntropyModule()
        self.x = self.rng.dirichlet(np.ones(C), size=S)  # (S, C), rows of probabilities
        self.labels = self.rng.integers(C, size=S)
        self.soft_targets = self.rng.dirichlet(np.ones(C), size=S)

    def test_forward(self):
        """cross-entropy: forward is −(1/S) Σ_i log X_i,label, as a float"""
        loss = self.module.forward(self.x, self.labels)
        if not isinstance(loss, float):
            self.fail(f'the loss is of type {type(loss).__name__}')
        self.assert_close(loss, -np.log([row[label] for row, label in zip(self.x, self.labels)]).mean(), 'L')

    def test_labels_and_one_hot_rows_agree(self):
        """cross-entropy: labels and one-hot rows mean the same"""
        rows = np.eye(C)[self.labels]
        self.assert_close(self.module.forward(self.x, self.labels), self.module.forward(self.x, rows), 'L')
        self.assert_close(self.module.backward(self.x, self.labels), self.module.backward(self.x, rows), '∂L/∂X')

    def test_gradient_numerically(self):
        """cross-entropy: gradient equals central differences, for labels and soft targets"""
        for targets in (self.labels, self.soft_targets):
            expected = central_differences(lambda y=targets: self.module.forward(self.x, y), self.x)
            self.assert_gradient('∂L/∂X', self.module.backward(self.x, targets), expected, self.RESULT,
                                 tolerance=CENTRAL_TOLERANCE)

    @needs_torch
    def test_loss_and_gradient_autograd(self):
        """cross-entropy: loss and gradient equal autograd's for soft targets"""
        x, = leaves(self.x)
        loss = -(torch.from_numpy(self.soft_targets) * x.log()).sum(dim=1).mean()
        loss.backward()
        self.assert_close(self.module.forward(self.x, self.soft_targets), loss.item(), 'L')
        self.assert_gradient('∂L/∂X', self.module.backward(self.x, self.soft_targets), x.grad, self.RESULT)

    def test_wrong_targets_are_rejected(self):
        """cross-entropy: labels outside of the classes and targets of a wrong shape are rejected"""
        for label in (C, -1):
            self.assert_rejected(f'the label {label}', f'must be a class from 0 to {C - 1}',
                                self.module.forward, self.x, np.full(S, label))
        for targets in (np.zeros(S), np.zeros((S, C + 1)), np.zeros(S - 1, int)):
            self.assert_rejected(f'an array of {targets.dtype} and shape {targets.shape} for targets',
                                f'must be integer labels of shape ({S},)', self.module.forward, self.x, targets)

    def test_wrong_probabilities_are_rejected(self):
        """cross-entropy: integer and negative probabilities are rejected"""
        for method in (self.module.forward, self.module.backward):
            for kind, x, words in (('integers', np.ones((S, C), int), 'must be floating-point numbers'),
                                   ('logits', np.log(self.x), 'none may be negative')):
                self.assert_rejected(f'an array of {kind} in {method.__name__}', words, method, x, self.labels)

    def test_gradient_is_finite(self):
        """cross-entropy: the gradient is finite for a probability of 0 and a target above 1"""
        for dtype in (np.float32, np.float64):
            grad = self.module.backward(np.array([[0, 1]], dtype), np.array([[9, -8]]))
            if not np.isfinite(grad).all() or not grad[0, 0] < -1e38:
                self.fail(f'∂L/∂X is {grad[0]} in {np.dtype(dtype)}')


class SoftMaxWithCrossEntropyChecks(ModuleChecks):
    RESULT = ('∂L/∂X = (Y − T) / S, also where a probability is nearly 0', '6.1')

    def gradient(self, logits, targets):
        softmax, cross_entropy = modules.SoftMaxModule(), modules.CrossEntropyModule()
        probabilities = softmax.forward(logits)
        loss = cross_entropy.forward(probabilities, targets)
        return probabilities, loss, softmax.backward(cross_entropy.backward(probabilities, targets))

    def test_gradient_collapses(self):
        """softmax + cross-entropy: the gradient of the logits is (Y − T) / S, for soft targets too"""
        labels = self.rng.integers(C, size=S)
        soft_targets = self.rng.dirichlet(np.ones(C), size=S)
        for targets, rows in ((labels, np.eye(C)[labels]), (soft_targets, soft_targets)):
            probabilities, _, grad = self.gradient(self.rng.normal(size=(S, C)), targets)
            self.assert_gradient('∂L/∂logits', grad, (probabilities - rows) / S, self.RESULT)

    def test_extreme_logits(self):
        """softmax + cross-entropy: logits of ±1e4 give a finite loss and the gradient (Y − T) / S"""
        labels = np.arange(S) % C
        for dtype, tolerance in ((np.float32, 1e-6), (np.float64, TOLERANCE)):
            logits = np.full((S, C), -1e4, dtype)
            logits[np.arange(S), (labels + np.arange(S)) % C] = 1e4  # some right, some wrong
            _, loss, grad = self.gradient(logits, labels)
            if not np.isfinite(loss):
                self.fail(f'the loss is {loss} in {np.dtype(dtype)}')
            expected = ((logits > 0).astype(float) - np.eye(C)[labels]) / S
            self.assert_kind('∂L/∂logits', grad, (S, C), dtype)
            self.assert_gradient('∂L/∂logits', grad, expected, self.RESULT, tolerance=tolerance)
