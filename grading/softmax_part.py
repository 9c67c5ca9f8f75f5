"""Softmax: each row by itself, and its Jacobian."""

import numpy as np

from grading.causes import Comparison, Mistake, close
from grading.common_checks import cache, loops, nothing_shared
from grading.diagnosis import attempt, check
from grading.findings import NOT_IMPLEMENTED
from grading.formulas import softmax, softmax_gradient
from grading.remote import SolutionError

SIZES = [(1, 3), (2, 3), (3, 3), (7, 4), (128, 10)]  # S, C; one of them square, the last as in the assignment


def _exp(x):
    return np.exp(x)


def _stable(x, axis):
    return np.exp(x - x.max(axis=axis, keepdims=True))


SOFTMAX_FORWARD = [
    Mistake('not normalized', 'is exp(X) without the division by the sum of the row', lambda x, **_: np.exp(x)),
    Mistake('not normalized', 'is exp(X − max) without the division by the sum of the row',
            lambda x, **_: np.exp(x - x.max(axis=1, keepdims=True))),
    Mistake('wrong axis', 'is normalized over the samples (columns) instead of the classes (rows)',
            lambda x, **_: _exp(x) / _exp(x).sum(axis=0),
            lambda x, **_: _stable(x, 1) / _stable(x, 1).sum(axis=0),
            lambda x, **_: _stable(x, 0) / _stable(x, 0).sum(axis=0)),
    Mistake('wrong axis', 'is divided by the sum over the whole batch instead of each row',
            lambda x, **_: _exp(x) / _exp(x).sum(),
            lambda x, **_: _stable(x, 1) / _stable(x, 1).sum()),
    Mistake('wrong maximum', 'subtracts the maximum of each column in exp but not in the same way in the sum',
            lambda x, **_: _exp(x - x.max(axis=0)) / _exp(x).sum(axis=1, keepdims=True)),
    Mistake('wrong maximum', 'subtracts the maximum of each column (axis 0), which changes the result',
            lambda x, **_: softmax(x - x.max(axis=0))),
    Mistake('logarithm', 'is the logarithm of the softmax', lambda x, **_: np.log(softmax(x))),
    Mistake('no exp', 'has no exp in it', lambda x, **_: x / x.sum(axis=1, keepdims=True)),
    Mistake('sign', 'has the wrong sign in exp', lambda x, **_: softmax(-x)),
    Mistake('does nothing', 'returns its input unchanged', lambda x, **_: x),
]
SOFTMAX_BACKWARD = [
    Mistake('off-diagonal part missing', 'uses only the diagonal of the Jacobian, Y (1 − Y): the off-diagonal '
            'part −Y_ij Σ_k≠j is missing', lambda y, D, **_: D * y * (1 - y)),
    Mistake('off-diagonal part missing', 'is Y ∘ ∂L/∂Y: the part −Y_ij Σ_k ∂L/∂Y_ik Y_ik is missing',
            lambda y, D, **_: D * y),
    Mistake('passed through', 'is ∂L/∂Y itself', lambda D, **_: D, fused=True),
    Mistake('wrong axis', 'has the sum over the samples instead of the classes',
            lambda y, D, **_: y * (D - (D * y).sum(axis=0))),
    Mistake('wrong axis', 'has the sum over the whole batch instead of each row',
            lambda y, D, **_: y * (D - (D * y).sum())),
    Mistake('mean instead of sum', 'has a mean over the classes instead of the sum',
            lambda y, D, **_: y * (D - (D * y).mean(axis=1, keepdims=True))),
    Mistake('sum without Y', 'has Σ_k ∂L/∂Y_ik in it instead of Σ_k ∂L/∂Y_ik Y_ik',
            lambda y, D, **_: y * (D - D.sum(axis=1, keepdims=True))),
    Mistake('diagonal missing', 'has the off-diagonal part alone',
            lambda y, D, **_: -y * (D * y).sum(axis=1, keepdims=True)),
    Mistake('Y left out', 'is ∂L/∂Y − Σ_k ∂L/∂Y_ik Y_ik: it is not multiplied by Y',
            lambda y, D, **_: D - (D * y).sum(axis=1, keepdims=True)),
    Mistake('sign', 'has the wrong sign', lambda y, D, **_: -softmax_gradient(y, D)),
    Mistake('scaled', 'is divided by the number of samples', lambda y, D, **_: softmax_gradient(y, D) / len(D)),
    Mistake('one Jacobian for the batch', 'takes one Jacobian, diag(Y) − Yᵀ Y of the whole batch, for all samples in '
            'place of one for each', lambda y, D, **_: D @ (np.diag(np.diag(y)) - y.T @ y),
            lambda y, D, **_: D @ (np.diag(y) - y.T @ y)),
    Mistake('one Jacobian for the batch', 'takes one Jacobian, diag(Σ Y) − Yᵀ Y of the whole batch, for all samples in '
            'place of one for each', lambda y, D, **_: D @ (np.diag(y.sum(axis=0)) - y.T @ y)),
    Mistake('never filled', 'is zero', lambda y, **_: np.zeros_like(y)),
]


def judge(context):
    part, cls, source, session = 'softmax', 'SoftMaxModule', context.modules, context.session
    if source.is_stub(cls, 'forward', 'backward'):
        return context.skip(part, NOT_IMPLEMENTED)
    forward, backward = [], []
    for samples, classes in SIZES:
        small = samples < 3
        x = context.rng.integers(-1, 2, (samples, classes)).astype(float) if small else context.rng.normal(
            size=(samples, classes)).round(2)
        x[:, 0] += 1  # not symmetric, so that the classes differ
        D = context.rng.integers(-3, 4, (samples, classes)).astype(float) + 0.5 if small else context.rng.normal(
            size=(samples, classes)).round(2)
        thing = attempt(lambda: session.new('modules', cls, []))
        y = thing if isinstance(thing, Exception) else attempt(lambda: thing.array('forward', x))
        dx = y if isinstance(y, Exception) else attempt(lambda: thing.array('backward', D))
        came = not isinstance(y, Exception) and y.shape == x.shape and np.isfinite(y).all()
        forward.append(Comparison({'x': x, 'samples': samples}, y, softmax(x)))
        if came:  # so that backward is not blamed for a wrong forward
            own = np.asarray(y, float)
            backward.append(Comparison({'x': x, 'y': own, 'D': D, 'samples': samples}, dx, softmax_gradient(own, D)))
    check(context, part, 'forward', forward, SOFTMAX_FORWARD, source.place(cls, 'forward', r'/|divide|return'),
          'Y_ij = exp(X_ij) / Σ_k exp(X_ik): each row sums to 1', ['x'])
    if not any(isinstance(case.actual, Exception) for case in forward):
        check(context, part, '∂L/∂X, the gradient of the input,', backward, SOFTMAX_BACKWARD,
              source.place(cls, 'backward', r'dx|dout|return'),
              '∂L/∂X_ij = Y_ij (∂L/∂Y_ij − Σ_k ∂L/∂Y_ik Y_ik), for each sample by itself', ['x', 'D'])
    _large_logits(context, part, cls)
    if context.errors(part):
        context.blame(cls)
    x = np.array([[0.0, 1.0, -1.0], [2.0, 0.5, 0.0]])  # not constant: then the gradient would be zero in any case
    nothing_shared(context, part, cls, lambda _: session.new('modules', cls, []), x, x)
    cache(context, part, cls, lambda: session.new('modules', cls, []), x, x)
    loops(context, part, cls, ('forward', 'backward'))


LARGE_ROWS = [np.array([row]) for row in ([1000.0, 0.0, 999.0], [0.0, 999.0, 1000.0], [1000.0, 0.0, -1000.0],
                                          [-1000.0, -1000.0, -1001.0])]


def _large_logits(context, part, cls):
    """Logits that overflow exp: the assignment asks for the maximum; one for the whole batch is enough for it."""
    def forward(x):
        return attempt(lambda: context.session.new('modules', cls, []).array('forward', x))

    if context.errors(part):
        return
    for row in LARGE_ROWS:
        out = forward(row)
        if isinstance(out, SolutionError) and out.kind == 'FloatingPointError' and 'underflow' in out.message:
            return context.note(part, 'exp of the smallest logits underflows, which np.seterr makes an error in this '
                                      'solution: large logits were not tried.', cause='np.seterr')
        if isinstance(out, Exception) or not close(out, softmax(row)):
            got = out if isinstance(out, Exception) else np.asarray(out).tolist()
            return context.incorrect(
                part, f'forward gives {got} for the logits {row.tolist()}: the maximum of the row is not subtracted before exp.',
                cause='maximum not subtracted',
                place=context.modules.place(cls, 'forward', r'exp'),
                hint='exp(X − max X) / Σ exp(X − max X) is the same number, and never overflows')
    rows = np.array([[1000.0, 0.0, 999.0], [0.0, 1.0, 2.0]])
    out = forward(rows)
    if isinstance(out, Exception) or not close(out, softmax(rows)):
        context.note(part, 'Rows of logits 1000 apart give NaN or zeros: the maximum of the whole batch is '
                           'subtracted, not the maximum of each row.', cause='maximum of the batch')
        return
    far = np.array([[1e4, -1e4, 0.0], [-1e4, 1.0, 2.0]])
    out = forward(far)
    if isinstance(out, Exception) or not close(out, softmax(far)):
        context.note(part, 'Logits of ±1e4 in different rows do not give the correct results.', cause='large logits')
