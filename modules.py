"""The building blocks of a multi-layer perceptron, each with its gradients derived by hand.

Every module has `forward`, which caches arrays for the backward pass, `backward`, which turns the
gradient of the loss L with respect to its output into the gradient with respect to its input, and
`clear_cache`, which drops the cached arrays. Each gradient has the shape of the variable it belongs to.

S samples, M input features, N output features, C classes. NumPy only.
"""

import numpy as np


def kaiming_normal(out_features, in_features, input_layer=False):
    """Draw a weight matrix W ~ N(0, gain / in_features) from NumPy's global random state.

    The gain is 2 after a ReLU, which halves the second moment, and 1 for the input layer, which
    has no ReLU before it (He et al. 2015; derivations.md, section 7).

    Returns: (out_features, in_features), float64. Raises ValueError for a layer without inputs or outputs.
    """
    if in_features < 1 or out_features < 1:
        raise ValueError(f'a linear layer needs at least 1 input and 1 output, not {in_features} and {out_features}')
    gain = 1 if input_layer else 2
    return np.random.normal(0, np.sqrt(gain / in_features), size=(out_features, in_features))


class LinearModule:
    """Affine map of each sample (Q1.1 a; derivations.md, section 2).

        forward    Y     = X Wᵀ + B          X (S, M), W (N, M), B = b (N,) in each of the S rows
        backward   ∂L/∂W = (∂L/∂Y)ᵀ X        (N, M)
                   ∂L/∂b = Σ_i ∂L/∂Y_i       (N,)
                   ∂L/∂X = ∂L/∂Y W           (S, M)

    `params` and `grads` are dicts with the keys 'weight' (N, M) and 'bias' (N,). Weights start
    Kaiming normal, biases and gradients at zero.
    """

    def __init__(self, in_features, out_features, input_layer=False, dtype=np.float64):
        self.params = {
            'weight': kaiming_normal(out_features, in_features, input_layer).astype(dtype),
            'bias': np.zeros(out_features, dtype),
        }
        self.grads = {name: np.zeros_like(param) for name, param in self.params.items()}
        self.clear_cache()

    def forward(self, x):
        """x: (S, M) → (S, N). Raises ValueError for another number of features than M."""
        _check_rows(x, self.params['weight'].shape[1])
        self._x = x
        out = x @ self.params['weight'].T  # (S, N)
        out += self.params['bias']
        return out

    def backward(self, dout, needs_input_grad=True):
        """dout = ∂L/∂Y: (S, N) → ∂L/∂X: (S, M). Fills `grads`.

        The first layer does not need ∂L/∂X: with needs_input_grad=False that product is skipped
        and None is returned.
        """
        self.grads['weight'] = dout.T @ _cached(self._x)  # (N, M)
        self.grads['bias'] = dout.sum(axis=0)  # (N,)
        return dout @ self.params['weight'] if needs_input_grad else None

    def clear_cache(self):
        self._x = None


class ReLUModule:
    """Element-wise rectified linear unit (Q1.1 b; derivations.md, section 3).

        forward    Y     = max(X, 0)
        backward   ∂L/∂X = ∂L/∂Y ∘ [X > 0]   (the subgradient at 0 is 0)
    """

    def __init__(self):
        self.clear_cache()

    def forward(self, x):
        """x: any shape → the same shape."""
        # maximum and backward propagate NaN: a diverged network must not look healthy.
        self._out = np.maximum(x, 0)
        return self._out

    def backward(self, dout):
        """dout = ∂L/∂Y → ∂L/∂X, both of the shape of x."""
        return dout * (_cached(self._out) != 0)  # unlike Y > 0, this is true for NaN

    def clear_cache(self):
        self._out = None


class BatchNormModule:
    """Batch normalization of each feature (Ioffe and Szegedy 2015; derivations.md, section 8).

        forward    Y     = γ ∘ X̂ + β,  X̂ = (X − μ) / s,  s = √(σ² + eps)
        backward   ∂L/∂γ = Σ_i ∂L/∂Y_i ∘ X̂_i     (N,)
                   ∂L/∂β = Σ_i ∂L/∂Y_i           (N,)
                   ∂L/∂X = γ / s ∘ (∂L/∂Y − (∂L/∂β + X̂ ∘ ∂L/∂γ) / S)    (S, N)

    In training μ and σ² are the mean and (biased) variance over the batch, and depend on X. Running
    estimates follow them with PyTorch's conventions. In evaluation (`training = False`) the running
    estimates replace μ and σ². They are constants, so ∂L/∂X = γ / s ∘ ∂L/∂Y. backward uses the mode
    in which forward ran.

    `params` and `grads` have the keys 'weight' (γ, starts at 1) and 'bias' (β, starts at 0), all (N,).
    """

    def __init__(self, num_features, eps=1e-5, momentum=0.1, dtype=np.float64):
        self.params = {'weight': np.ones(num_features, dtype), 'bias': np.zeros(num_features, dtype)}
        self.grads = {name: np.zeros_like(param) for name, param in self.params.items()}
        self.running_mean, self.running_var = np.zeros(num_features, dtype), np.ones(num_features, dtype)
        self.eps, self.momentum = eps, momentum
        self.training = True
        self.clear_cache()

    def forward(self, x):
        """x: (S, N) → (S, N). Raises ValueError for another number of features than N, and for a
        single sample in training, which has no variance."""
        _check_rows(x, len(self.running_mean))
        self._by_batch = self.training
        mean, var = self._batch_statistics(x) if self.training else (self.running_mean, self.running_var)
        self._std = np.sqrt(var + self.eps)
        self._x_hat = (x - mean) / self._std
        return self.params['weight'] * self._x_hat + self.params['bias']

    def _batch_statistics(self, x):
        samples = len(x)
        if samples < 2:
            raise ValueError(f'batch normalization needs at least 2 samples in training, not {samples}')
        mean, var = x.mean(axis=0), x.var(axis=0)
        unbiased_var = var * (samples / (samples - 1))
        self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean
        self.running_var = (1 - self.momentum) * self.running_var + self.momentum * unbiased_var
        return mean, var

    def backward(self, dout):
        """dout = ∂L/∂Y: (S, N) → ∂L/∂X: (S, N). Fills `grads`."""
        x_hat = _cached(self._x_hat)
        self.grads['weight'] = (dout * x_hat).sum(axis=0)
        self.grads['bias'] = dout.sum(axis=0)
        if self._by_batch:
            dout = dout - (self.grads['bias'] + x_hat * self.grads['weight']) / len(dout)
        return self.params['weight'] / self._std * dout

    def clear_cache(self):
        self._x_hat = self._std = self._by_batch = None


class SoftMaxModule:
    """Softmax over each row (Q1.1 c i; derivations.md, section 4).

        forward    Y_ij      = exp(X_ij) / Σ_k exp(X_ik)
        backward   ∂L/∂X_ij  = Y_ij (∂L/∂Y_ij − Σ_k ∂L/∂Y_ik Y_ik)

    The row's maximum is subtracted from X first. That does not change Y and keeps exp finite.
    Y is kept at or above the smallest normal number of its type. So 1/Y in the gradient of
    cross-entropy is finite, Y · 1/Y is 1, and the gradient of the two modules together is
    (Y − T)/S for any distance between the logits (derivations.md, section 6).
    """

    def __init__(self):
        self.clear_cache()

    def forward(self, x):
        """x: logits (S, C) → probabilities (S, C)."""
        exp = np.exp(x - x.max(axis=1, keepdims=True))
        out = exp / exp.sum(axis=1, keepdims=True)
        self._out = np.maximum(out, np.finfo(out.dtype).tiny)
        return self._out

    def backward(self, dout):
        """dout = ∂L/∂Y: (S, C) → ∂L/∂X: (S, C)."""
        out = _cached(self._out)
        return out * (dout - (dout * out).sum(axis=1, keepdims=True))

    def clear_cache(self):
        self._out = None


class CrossEntropyModule:
    """Cross-entropy of targets against probabilities, a mean over the samples (Q1.1 c ii; derivations.md, section 5).

        forward    L         = −(1/S) Σ_i Σ_k T_ik log X_ik
        backward   ∂L/∂X_ij  = −(1/S) T_ij / X_ij

    The targets y are integer labels (S,) or rows T (S, C); a label means its one-hot row. A
    probability below the smallest normal number of its type counts as that number, so that the
    loss stays finite: at most 87.3 per sample in float32, 708.4 in float64. Both methods raise
    ValueError for negative or integer probabilities and for targets of the wrong shape, type or range.
    """

    def forward(self, x, y):
        """x: (S, C) probabilities, y: (S,) or (S, C) targets → the loss, a float."""
        targets = _target_rows(y, x)
        return float(-(targets * np.log(_at_least_tiny(x))).sum() / len(x))

    def backward(self, x, y):
        """x: (S, C) probabilities, y: (S,) or (S, C) targets → ∂L/∂X: (S, C)."""
        x, targets = _at_least_tiny(x), _target_rows(y, x)
        limit = np.finfo(x.dtype).max
        with np.errstate(over='ignore'):  # a target above 1 divided by the smallest probability
            return np.clip(targets / x, -limit, limit) / -len(x)


def _at_least_tiny(x):
    if x.dtype.kind != 'f':
        raise ValueError(f'the probabilities are of type {x.dtype}: they must be floating-point numbers')
    if x.min(initial=0) < 0:
        raise ValueError(f'a probability is {x.min():.3g}: none may be negative (are these logits?)')
    return np.maximum(x, np.finfo(x.dtype).tiny)


def _target_rows(y, x):
    """The one-hot rows of labels (S,), or rows (S, C) unchanged, in the type of x."""
    y = np.asarray(y)
    if y.shape == x.shape:
        return y.astype(x.dtype, copy=False)
    if y.shape != x.shape[:1] or y.dtype.kind not in 'iu':
        raise ValueError(f'targets of shape {y.shape} and type {y.dtype} do not fit probabilities of shape {x.shape}: '
                         f'they must be integer labels of shape {x.shape[:1]} or rows of shape {x.shape}')
    classes = x.shape[1]
    if y.size and not 0 <= y.min() <= y.max() < classes:
        raise ValueError(f'labels from {y.min()} to {y.max()}: each must be a class from 0 to {classes - 1}')
    return np.eye(classes, dtype=x.dtype).take(y, axis=0)  # take is twice as fast as [y]


def _check_rows(x, features):
    if x.ndim != 2 or x.shape[1] != features:
        raise ValueError(f'the input has shape {x.shape}: it must be rows of {features} features')


def _cached(value):
    if value is None:
        raise RuntimeError('call forward before backward (clear_cache discards its cache)')
    return value
