"""Tools to check a gradient: central differences, relative error, and the mistake that explains an error."""

import numpy as np

TOLERANCE = 1e-9  # against autograd: two float64 computations that differ in rounding only
CENTRAL_TOLERANCE = 1e-6  # against central differences, whose own error is about 1e-9


def central_differences(function, x, eps=1e-5):
    """∂f/∂x_i ≈ (f(x + eps e_i) − f(x − eps e_i)) / (2 eps) for each element of x.

    function: takes no argument, returns a float that depends on the float64 array x. x is changed
    in place and restored. Returns: the gradient, of the shape of x.
    """
    grad = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
        value = x[index]
        x[index] = value + eps
        above = function()
        x[index] = value - eps
        below = function()
        x[index] = value
        grad[index] = (above - below) / (2 * eps)
    return grad


def relative_error(actual, expected):
    """max |actual − expected| / max |expected|; infinite if the shapes differ or a number is not finite."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape or not np.isfinite(actual).all():
        return np.inf
    # The gradients of the checks are about 1; without the lower bound, rounding would fail an exact zero.
    return np.abs(actual - expected).max() / max(np.abs(expected).max(), 1e-6)


def difference(actual, expected, tolerance):
    """None if the relative error is within the tolerance; otherwise a description of the difference."""
    error = relative_error(actual, expected)
    if error <= tolerance:
        return None
    shape, expected_shape = np.asarray(actual).shape, np.asarray(expected).shape
    if shape == expected_shape:
        return f'relative error {error:.2g}, allowed {tolerance:.0g}'
    return f'shape {shape} instead of {expected_shape}'


def gradient_fault(name, actual, expected, samples, tolerance, formula, result):
    """None if the gradient `actual` is correct; otherwise a message with its name, the error and the probable cause.

    samples: the number S in the batch; formula: printed if no known mistake explains the error.
    """
    if actual is None:
        return f'{name} is None: backward did not compute it (derivations.md, Result {result})'
    extent = difference(actual, expected, tolerance)
    if extent is None:
        return None
    cause = probable_cause(np.asarray(actual), np.asarray(expected), samples)
    advice = f'Probable cause: {cause}' if cause else f'No known mistake matches. Check: {formula}'
    return f'{name} is off: {extent}. {advice} (derivations.md, Result {result})'


def probable_cause(actual, expected, samples):
    """The common mistake that turns `expected` into `actual`, or None."""
    suspects = [
        ('a transpose (this is the transposed gradient)', expected.T),
        ('a wrong sign', -expected),
        ('the gradient was never filled', np.zeros_like(expected)),
        ('the factor 1/S of the mean over the batch is missing', expected * samples),
        ('1/S applied twice, or a mean over the batch instead of the sum', expected / samples),
        ('added to an earlier gradient, or counted twice', expected * 2),
    ]
    # The first condition skips a suspect that equals the correct gradient, such as the transpose of a symmetric one.
    for cause, suspect in suspects:
        if relative_error(suspect, expected) > 1e-6 and relative_error(actual, suspect) < 1e-6:
            return cause
    if actual.ndim == expected.ndim + 1 and relative_error(actual.sum(axis=0), expected) < 1e-6:
        return 'the sum over the batch was forgotten'
    if not np.isfinite(actual).all():
        return 'a division by zero, or log or exp of a number too large or too small'
    return None
