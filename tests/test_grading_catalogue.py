"""A catalogue of mistakes: what the judge calls each, and the text that a student reads, approved as a whole.

The parts are judged by themselves, so one solution has a mistake in each of them.
"""

import itertools
import sys

import pytest

import small_solutions
from approval import assert_approved
from forked import Server
from grading import judge as judging
from small_solutions import BUILT, E, H, HOT, JACOBIAN, LOSS, LOSS_GRADIENT, PICKED, ROW, SLOPE, W, X, Y

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='solutions are run on Linux')

# The lines of the small solution that are changed, in the order of the page.
WEIGHT = "self.grads['weight'] = dout.T @ self.x"
BIAS = "self.grads['bias'] = dout.sum(axis=0)"
NO_INPUT_LAYER = [(', input_layer=i == 0', ''), (', input_layer=not n_hidden', '')]
DEVIATION = 'np.sqrt((1 if input_layer else 2) / in_features)'
# (the cause that it has to have, what stands in the solution, what the mistake puts instead, further changes)
LINEAR = [
    ('bias forgotten', Y, f'return x @ {W}.T'),
    ('transpose', Y, f"return x @ {W} + self.params['bias']"),
    ('bias subtracted', Y, f"return x @ {W}.T - self.params['bias']"),
    ('bias twice', Y, f"return x @ {W}.T + 2 * self.params['bias']"),
    ('transposed result', Y, f"return (x @ {W}.T + self.params['bias']).T"),
    ('activation in the linear module', Y, f"return np.maximum(x @ {W}.T + self.params['bias'], 0)"),
    ('scaled', Y, f"return (x @ {W}.T + self.params['bias']) / len(x)"),
    ('unexplained', Y, f"return x @ {W}.T + self.params['bias'] + x.sum(axis=1, keepdims=True) ** 2"),
    ('raises ValueError', Y, f'return x @ np.ones((9, 9)) @ {W}'),
    ('raises NameError', Y, 'return wieght'),
    ('raises NameError', f'self.x = x\n        {Y}', f'self.x = X\n        {Y}'),
    ('raises no array', Y, 'return None'),
    ('unexplained', Y, f"return x @ {W}.T + self.params['bias'] * np.nan"),
    ('batch of one', Y, f"return np.squeeze(x @ {W}.T + self.params['bias'], 0) if len(x) == 1 else x @ {W}.T + "
                        "self.params['bias']"),
    ('mean instead of sum', WEIGHT, WEIGHT + ' / len(dout)'),
    ('times S', WEIGHT, WEIGHT + ' * len(dout)'),
    ('transpose', WEIGHT, "self.grads['weight'] = self.x.T @ dout"),
    ('sign', WEIGHT, "self.grads['weight'] = -dout.T @ self.x"),
    ('never filled', WEIGHT, 'pass'),
    ('counted twice', WEIGHT, "self.grads['weight'] = 2 * dout.T @ self.x"),
    ('output instead of input', WEIGHT, f"self.grads['weight'] = dout.T @ (self.x @ {W}.T + self.params['bias'])"),
    ('∂L/∂Y left out', WEIGHT, f"self.grads['weight'] = np.zeros_like({W}) + self.x.sum(axis=0)"),
    ('∂L/∂Y left out', WEIGHT, "self.grads['weight'] = self.x.sum(axis=0)"),
    ('sum before product', WEIGHT, "self.grads['weight'] = np.outer(dout.sum(axis=0), self.x.sum(axis=0))"),
    ('sum before product', WEIGHT, "self.grads['weight'] = np.outer(dout.mean(axis=0), self.x.mean(axis=0))"),
    ('only the last sample', WEIGHT, "self.grads['weight'] = np.outer(dout[-1], self.x[-1])"),
    ('only the first sample', WEIGHT, "self.grads['weight'] = np.outer(dout[0], self.x[0])"),
    ('no sum over the batch', WEIGHT, "self.grads['weight'] = dout[:, :, None] * self.x[:, None, :]"),
    ('regularization term', WEIGHT, WEIGHT + f' + 0.03 * {W}'),
    ('regularization term', WEIGHT, WEIGHT + f' + 0.5 * {W} / len(dout)'),
    ('regularization term', BIAS, BIAS + " - 0.25 * self.params['bias']"),
    ('mean instead of sum', BIAS, "self.grads['bias'] = dout.mean(axis=0)"),
    ('no sum over the batch', BIAS, "self.grads['bias'] = dout"),
    ('no sum over the batch', BIAS, "self.grads['bias'] = dout.T"),
    ('∂L/∂Y left out', BIAS, "self.grads['bias'] = np.ones(dout.shape[1])"),
    ('∂L/∂Y left out', BIAS, "self.grads['bias'] = np.full(dout.shape[1], float(len(dout)))"),
    ('never filled', BIAS, 'pass'),
    ('sign', BIAS, "self.grads['bias'] = -dout.sum(axis=0)"),
    ('times S', BIAS, "self.grads['bias'] = dout.sum(axis=0) * len(dout)"),
    ('wrong axis', BIAS, "self.grads['bias'] = dout.sum(axis=1)"),
    ('wrong axis', BIAS, "self.grads['bias'] = dout.mean(axis=1)"),
    ('wrong axis', BIAS, "self.grads['bias'] = np.full(dout.shape[1], dout.sum())"),
    ('wrong axis', BIAS, "self.grads['bias'] = dout.sum()"),
    ('wrong axis', BIAS, "self.grads['bias'] = dout.mean()"),
    ('counted twice', BIAS, "self.grads['bias'] = 2 * dout.sum(axis=0)"),
    ('only the first sample', BIAS, "self.grads['bias'] = dout[0]"),
    ('only the last sample', BIAS, "self.grads['bias'] = dout[-1]"),
    ('weights left out', X, 'return dout'),
    ('scaled', X, X + ' / len(dout)'),
    ('sign', X, f'return -dout @ {W}'),
    ('transpose', X, f'return dout @ {W}.T'),
    ('transposed result', X, f'return (dout @ {W}).T'),
    ('gradient instead of weights', X, "return dout @ self.grads['weight']"),
    ('never filled', X, 'return np.zeros_like(self.x)'),
    ('order of the product', WEIGHT, f'return {W}.T @ dout'),
    ('second step', WEIGHT, "self.grads['weight'] = dout.T @ self.x + 2 * self.grads['weight']"),
    ('gradients add up', WEIGHT, "self.grads['weight'] = dout.T @ self.x + self.grads['weight']"),
    ('gradients add up', f'{WEIGHT}\n        {BIAS}', "self.grads['weight'] = self.grads['weight'] + dout.T @ self.x\n"
                         "        self.grads['bias'] = self.grads['bias'] + dout.sum(axis=0)"),
    ('old parameters', Y, f"self.old = getattr(self, 'old', {W}.copy()) if len(x) < 3 and hasattr(self, 'old') else "
                          f"{W}.copy()\n        return x @ self.old.T + self.params['bias']"),
    ('gradients at the start', 'np.zeros((out_features, in_features))', 'np.ones((out_features, in_features))'),
    ('initialization', "'bias': np.zeros(out_features)}\n        self.grads", "'bias': np.ones(out_features)}\n"
                       '        self.grads'),
    ('initialization', '(1 if input_layer else 2) / in_features', '(2 if input_layer else 1) / in_features'),
    ('loop', Y, f"out = np.zeros((len(x), len({W})))\n        for i in range(len(x)):\n            out[i] = {W} @ x[i] + "
                "self.params['bias']\n        return out"),
    ('clear_cache', '    def clear_cache(self):\n        self.x = None\n\nclass ELU', '\nclass ELU'),
    ('clear_cache', '        self.x = None\n\nclass ELU', '        pass\n\nclass ELU'),
    ('clear_cache', '        self.x = None\n\nclass ELU', '        self.x = self.nothing\n\nclass ELU'),
    ('clear_cache', '        self.x = None\n\nclass ELU', '        self.params = None\n\nclass ELU'),
    ('clear_cache', '        self.x = None\n\nclass ELU', '        self.z = None\n\nclass ELU'),
    ('initialization', '(1 if input_layer else 2)', '2'),
    ('initialization', DEVIATION, '2 / in_features'),
    ('initialization', DEVIATION, 'np.sqrt(2 / out_features)'),
    ('update in backward', X, f"{W} -= 0.1 * self.grads['weight']\n        {X}"),
    ('input_layer', f'self.x = x\n        {Y}', f'self.x = x\n        if self.first:\n            return x\n        {Y}',
     (BUILT, f'self.first = input_layer\n        {BUILT}')),
    ('transpose', 'randn(out_features, in_features)', 'randn(in_features, out_features)'),
    ('raises ValueError', Y, f"{Y} * (np.ones(4) if len(x) > 100 else 1)"),
    ('changes after many calls', Y, f'self.calls = getattr(self, "calls", 0) + 1\n        {Y} * (1 + (self.calls > 500))'),
    ('initialization', ', input_layer=False', '', *NO_INPUT_LAYER, (DEVIATION, '0.0001')),
    ('initialization', ', input_layer=False', '', *NO_INPUT_LAYER, (DEVIATION, 'np.sqrt(1 / in_features)')),
    ('initialization', BUILT, f'if in_features > 99:\n            raise MemoryError("so large")\n        {BUILT}'),
    ('', BUILT, f'np.random.seed(1)\n        {BUILT}'),
    ('input_layer', f'self.x = x\n        {Y}', f'self.x = x\n        x = x * (2 if self.first else 1)\n        {Y}',
     (BUILT, f'self.first = input_layer\n        {BUILT}')),
    ('shape of the bias gradient', BIAS, "self.grads['bias'] = dout.sum(axis=0, keepdims=True)"),
    ('gradients at the start', "{'weight': np.zeros((out_features, in_features)), 'bias': np.zeros(out_features)}",
     "{'weight': None, 'bias': None}"),
    ('gradients at the start', '        self.grads = ', '        grads = ', (WEIGHT, f'self.grads = {{}}\n        {WEIGHT}')),
    ('gradients add up', WEIGHT, "self.grads['weight'] = self.grads['weight'] + dout.T @ self.x",
     (BIAS, "self.grads['bias'] = self.grads['bias'] + dout.sum(axis=0)"),
     ('        self.x = None\n\nclass ELU', "        self.x = None\n        for name in self.grads:\n"
      "            self.grads[name] = np.zeros_like(self.params[name])\n\nclass ELU")),
    ('second step', Y, f"if len(x) != getattr(self, 'n', len(x)):\n            raise ValueError('another batch')\n"
                       f"        self.n = len(x)\n        {Y}"),
    ('cannot be built', BUILT, 'raise RuntimeError("not today")\n        std = np'),
]
ACTIVATION = [
    ('does nothing', H, 'return x'),
    ('sign', H, H.replace('return ', 'return -')),
    ('wrong side', H, 'return np.where(x > 0, 0, x)'),
    ('wrong side', H, 'return np.where(x > 0, self.alpha * (1 - np.exp(-x)), x)'),
    ('absolute value', H, 'return np.abs(x)'),
    ('mask instead of values', H, 'return (x > 0) * 1.0'),
    ('α ignored', H, 'return np.where(x > 0, x, np.exp(x) - 1)'),
    ('−1 forgotten', H, 'return np.where(x > 0, x, self.alpha * np.exp(x))'),
    ('α misplaced', H, 'return np.where(x > 0, x, self.alpha * np.exp(x) - 1)'),
    ('α misplaced', H, 'return np.where(x > 0, x, np.exp(self.alpha * x) - 1)'),
    ('ReLU instead of ELU', H, 'return np.maximum(x, 0)'),
    ('unexplained', H, 'return x ** 2'),
    ('raises TypeError', H, 'raise TypeError("not like this")'),
    ('input changed in place', H, 'x[x <= 0] = self.alpha * (np.exp(x[x <= 0]) - 1)\n        return x'),
    ('slope missing', SLOPE, 'return dout'),
    ('slope missing for negative input', SLOPE, 'return dout * (self.x > 0)'),
    ('∂L/∂Y left out', SLOPE, SLOPE.replace('dout * ', '')),
    ('slope of ∂L/∂Y', SLOPE, 'return dout * np.where(dout > 0, 1, self.alpha * np.exp(dout))'),
    ('slope of ∂L/∂Y', SLOPE, 'return self.forward(dout)'),
    ('slope at the output', SLOPE, 'y = self.forward(self.x)\n        return dout * np.where(y > 0, 1, self.alpha * '
                                   'np.exp(y))'),
    ('input instead of slope', SLOPE, 'return dout * self.x'),
    ('output instead of slope', SLOPE, 'return dout * self.forward(self.x)'),
    ('wrong side', SLOPE, 'return dout * np.where(self.x < 0, 1, self.alpha * np.exp(-self.x))'),
    ('sign', SLOPE, SLOPE.replace('return ', 'return -')),
    ('row sums of ∂L/∂Y', SLOPE, 'return dout * dout.sum(axis=1, keepdims=True)'),
    ('never filled', SLOPE, 'return np.zeros_like(dout)'),
    ('α ignored', SLOPE, 'return dout * np.where(self.x > 0, 1, np.exp(self.x))'),
    ('output instead of slope', SLOPE, 'return dout * np.where(self.x > 0, 1, self.alpha * (np.exp(self.x) - 1))'),
    ('α misplaced', SLOPE, 'return dout * np.where(self.x > 0, 1, self.alpha * (np.exp(self.x) - 1) + 1)'),
    ('∂L/∂Y left out', SLOPE, 'return np.where(self.x > 0, dout, self.alpha * np.exp(self.x))'),
    ('∂L/∂Y left out', SLOPE, 'return np.where(self.x > 0, 1, dout * self.alpha * np.exp(self.x))'),
    ('x not in the exponent', SLOPE, 'return dout * np.where(self.x > 0, 1, self.alpha)'),
    ('overflow', H, 'return np.where(x > 0, x + 0 * (np.exp(x) - np.exp(x)), self.alpha * (np.exp(x) - 1))'),
    ('loop', H, 'return np.array([[v if v > 0 else self.alpha * (np.exp(v) - 1) for v in row] for row in x])'),
    ('overflow', H, 'return x', ('class SoftMaxModule', 'class ReLUModule(object):\n    def forward(self, x):\n'
                                 '        self.x = x\n        return np.log(np.exp(x) * (x > 0) + (x <= 0))\n\n'
                                 '    def backward(self, dout):\n        return dout * (self.x > 0)\n\n'
                                 '    def clear_cache(self):\n        self.x = None\n\nclass SoftMaxModule')),
    ('clear_cache', '        self.x = None\n\nclass Soft', '        self.z = None\n\nclass Soft'),
]
LEAKY = [('class ELUModule', 'class LeakyReLUModule'), ('self, alpha', 'self, neg_slope'),
         ('self.alpha = alpha', 'self.alpha = neg_slope'), ('ELUModule(alpha=1.0)', 'LeakyReLUModule(neg_slope=0.1)')]
LEAKY_H = H, 'return np.where(x > 0, x, self.alpha * x)'
LEAKY_SLOPE = SLOPE, 'return dout * np.where(self.x > 0, 1, self.alpha)'
ACTIVATION += [
    ('sign of the slope', H, 'return np.where(x > 0, x, -self.alpha * x)', LEAKY_SLOPE, *LEAKY),
    ('sign of the slope', SLOPE, 'return dout * np.where(self.x > 0, 1, -self.alpha)', LEAKY_H, *LEAKY),
    ('sign of the slope', H, 'return np.where(x > 0, x, -0.1 * x)', (SLOPE, 'return dout * np.where(self.x > 0, 1, 0.1)'),
     ('self, alpha', 'self'), ('self.alpha = alpha', 'pass'), LEAKY[0], ('ELUModule(alpha=1.0)', 'LeakyReLUModule()')),
    ('output instead of slope', SLOPE, 'return dout * np.minimum(1, self.forward(self.x))'),
    ('changes after many calls', SLOPE, 'ELUModule.n = getattr(ELUModule, "n", 0) + 1\n        '
                                        f'{SLOPE} * (1 + (ELUModule.n > 500))'),
    ('slope missing', H, 'return np.maximum(x, 0)', LEAKY_SLOPE, *LEAKY),
    ('wrong side', H, 'return np.where(x > 0, self.alpha * x, x)', LEAKY_SLOPE, *LEAKY),
    ('slope not multiplied', H, 'return np.where(x > 0, x, self.alpha)', LEAKY_SLOPE, *LEAKY),
    ('slope ignored', H, 'return np.where(x > 0, x, 0.01 * x)', LEAKY_SLOPE, *LEAKY),
    ('slope missing for negative input', SLOPE, 'return dout * (self.x > 0)', LEAKY_H, *LEAKY),
    ('∂L/∂Y left out', SLOPE, 'return np.where(self.x > 0, dout, self.alpha)', LEAKY_H, *LEAKY),
    ('slope ignored', SLOPE, 'return dout * np.where(self.x > 0, 1, 0.01)', LEAKY_H, *LEAKY),
]
SOFTMAX = [
    ('not normalized', f'{E}\n        {ROW}', 'self.y = np.exp(x)'),
    ('not normalized', ROW, 'self.y = e'),
    ('wrong axis', ROW, 'self.y = np.exp(x) / np.exp(x).sum(axis=0)'),
    ('wrong axis', ROW, 'self.y = e / e.sum(axis=0)'),
    ('wrong axis', f'{E}\n        {ROW}', 'e = np.exp(x - x.max(axis=0))\n        self.y = e / e.sum(axis=0)'),
    ('wrong axis', ROW, 'self.y = np.exp(x) / np.exp(x).sum()'),
    ('wrong axis', ROW, 'self.y = e / e.sum()'),
    ('wrong maximum', ROW, 'self.y = np.exp(x - x.max(axis=0)) / np.exp(x).sum(axis=1, keepdims=True)'),
    ('wrong maximum', ROW, 'e = np.exp(x - x.max(axis=0))\n        self.y = e / e.sum(axis=1, keepdims=True)'),
    ('logarithm', ROW, f'{ROW}\n        self.y = np.log(self.y)'),
    ('no exp', ROW, 'self.y = x / x.sum(axis=1, keepdims=True)'),
    ('sign', E, 'e = np.exp(-x)'),
    ('does nothing', ROW, 'self.y = x'),
    ('unexplained', ROW, 'self.y = e / e.sum(axis=1, keepdims=True) ** 2'),
    ('raises AxisError', ROW, 'self.y = e / e.sum(axis=2)'),
    ('maximum not subtracted', E, 'e = np.exp(x)'),
    ('np.seterr', E, f'np.seterr(all="raise")\n        {E}'),
    ('unexplained', ROW, f'{ROW} + (len(x) > 100)'),
    ('maximum of the batch', E, 'e = np.exp(x - x.max())'),
    ('large logits', E, 'e = np.exp(np.maximum(x - x.max(axis=1, keepdims=True), -2000) * (x.max() < 5000))'),
    ('off-diagonal part missing', JACOBIAN, 'return dout * self.y * (1 - self.y)'),
    ('off-diagonal part missing', JACOBIAN, 'return dout * self.y'),
    ('passed through', JACOBIAN, 'return dout'),
    ('wrong axis', JACOBIAN, 'return self.y * (dout - (dout * self.y).sum(axis=0))'),
    ('wrong axis', JACOBIAN, 'return self.y * (dout - (dout * self.y).sum())'),
    ('mean instead of sum', JACOBIAN, 'return self.y * (dout - (dout * self.y).mean(axis=1, keepdims=True))'),
    ('sum without Y', JACOBIAN, 'return self.y * (dout - dout.sum(axis=1, keepdims=True))'),
    ('diagonal missing', JACOBIAN, 'return -self.y * (dout * self.y).sum(axis=1, keepdims=True)'),
    ('Y left out', JACOBIAN, 'return dout - (dout * self.y).sum(axis=1, keepdims=True)'),
    ('sign', JACOBIAN, JACOBIAN.replace('return ', 'return -')),
    ('scaled', JACOBIAN, f'{JACOBIAN} / len(dout)'),
    ('one Jacobian for the batch', JACOBIAN, 'return dout @ (np.diag(self.y.sum(axis=0)) - self.y.T @ self.y)'),
    ('never filled', JACOBIAN, 'return np.zeros_like(dout)'),
    ('batch of one', JACOBIAN, JACOBIAN + ' + (len(dout) == 1)'),
    ('loop', JACOBIAN, 'return np.array([y * (d - d @ y) for d, y in zip(dout, self.y)])'),
    ('clear_cache', '    def clear_cache(self):\n        self.y = None\n', ''),
]
BETWEEN = f'\n\n    def backward(self, x, y):\n        one_hot = {HOT}\n        '
CROSS_ENTROPY = [
    ('sum instead of mean', LOSS, LOSS.replace('mean', 'sum')),
    ('sign', LOSS, LOSS.replace('-', '')),
    ('mean over all', LOSS, f'return -np.log({PICKED}).sum() / x.size'),
    ('mean over classes', LOSS, f'return -np.log({PICKED}).sum() / x.shape[1]'),
    ('not reduced', LOSS, f'return -np.log({PICKED})'),
    ('not reduced', LOSS, f'return -{HOT} * np.log(x)'),
    ('wrong logarithm', LOSS, LOSS.replace('log', 'log2')),
    ('wrong logarithm', LOSS, LOSS.replace('log', 'log10')),
    ('wrong logarithm', LOSS, 'return -(np.eye(x.shape[1])[y] * np.log2(x)).mean()'),
    ('no logarithm', LOSS, f'return -{PICKED}.mean()'),
    ('all classes', LOSS, 'return -np.log(x).sum() / len(x)'),
    ('binary cross-entropy', LOSS, f'return -np.log(np.where({HOT} > 0, x, 1 - x)).sum() / len(y)'),
    ('mean inside the logarithm', LOSS, f'return -np.log({PICKED}.mean())'),
    ('softmax in the loss', LOSS, f'x = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)\n        {LOSS}'),
    ('only the first sample', LOSS, f'return -np.log({PICKED})[0]'),
    ('unexplained', LOSS, LOSS + ' ** 3'),
    ('raises AttributeError', LOSS, 'return -x.log(y)'),
    ('1/S missing', LOSS_GRADIENT, 'return -one_hot / x'),
    ('fused gradient', LOSS_GRADIENT, 'return (x - one_hot) / len(y)'),
    ('fused gradient', LOSS_GRADIENT, 'return x - one_hot'),
    ('fused gradient', LOSS_GRADIENT, 'return (one_hot - x) / len(y)'),
    ('fused gradient', LOSS_GRADIENT, 'return one_hot - x'),
    ('fused gradient', LOSS_GRADIENT, 'return (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) - one_hot) / len(y)'),
    ('fused gradient', LOSS_GRADIENT, 'return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) - one_hot'),
    ('sign', LOSS_GRADIENT, 'return one_hot / x / len(y)'),
    ('sign', LOSS_GRADIENT, 'return one_hot / x'),
    ('1/S twice', LOSS_GRADIENT, LOSS_GRADIENT + ' ** 2'),
    ('mean over all', LOSS_GRADIENT, 'return -one_hot / x / x.size'),
    ('mean over classes', LOSS_GRADIENT, 'return -one_hot / x / x.shape[1]'),
    ('targets left out', LOSS_GRADIENT, 'return -1 / x / len(y)'),
    ('targets left out', LOSS_GRADIENT, 'return -1 / x'),
    ('X instead of 1/X', LOSS_GRADIENT, 'return -one_hot * x / len(y)'),
    ('X instead of 1/X', LOSS_GRADIENT, 'return -one_hot / len(y)'),
    ('logarithm in the gradient', LOSS_GRADIENT, 'return -one_hot * np.log(x) / len(y)'),
    ('binary cross-entropy', LOSS_GRADIENT, 'return (-one_hot / x + (1 - one_hot) / (1 - x)) / len(y)'),
    ('summed', LOSS_GRADIENT, 'return (-one_hot / x / len(y)).sum(axis=0)'),
    ('never filled', LOSS_GRADIENT, 'return np.zeros_like(x)'),
    ('one-hot width', HOT, 'np.eye(y.max() + 1)[y]'),
    ('epsilon', 'one_hot / x', 'one_hot / (x + 1e-3)'),
    ('sum instead of mean', f'np.log({PICKED}).mean()', f'np.log({PICKED} + 1e-3).sum()'),
    ('raises AttributeError', LOSS, 'return -np.log((x * y).sum(axis=1)).meen()', ('one_hot = ', 'one_hot = yy or ')),
    ('epsilon', f'np.log({PICKED})', f'np.log({PICKED} + 1e-3)'),
    ('log of 0', LOSS, LOSS),
    ('needs forward', f'{LOSS}{BETWEEN}{LOSS_GRADIENT}', f'self.n = len(y)\n        {LOSS}{BETWEEN}'
                                                         'return -one_hot / x / self.n'),
    ('loop', LOSS, 'loss = 0\n        for s in range(len(y)):\n            loss -= np.log(x[s, y[s]]) / len(y)\n'
                   '        return loss'),
]
CATALOGUE = {'linear': LINEAR, 'activation': ACTIVATION, 'softmax': SOFTMAX, 'cross_entropy': CROSS_ENTROPY}


def told(judgement, part, seen, cause, old, new, *_):
    """What is said of a part, as the student reads it, under the line that is wrong."""
    assert cause in {finding.cause for finding in judgement.findings.of(part)}, (part, cause, new)
    changed = ' / '.join(line.strip() for line in (new or f'without {old}').splitlines() if line.strip())
    lines = [f'### {changed}']
    return '\n'.join([*lines, *small_solutions.told(judgement.findings.of(part), seen)])


def test_each_mistake_is_called_by_its_name_and_told_as_approved(tmp_path, monkeypatch):
    small_solutions.judge_faster(monkeypatch, calls=600)
    for part in ('softmax_cross_entropy', 'mlp'):  # what follows for them is told in test_grading_mlp_catalogue.py
        monkeypatch.setitem(judging.JUDGES, part, lambda context: None)
    texts, seen = {part: [] for part in CATALOGUE}, {part: set() for part in CATALOGUE}
    with Server(timeout=20) as server:
        for number, mistakes in enumerate(itertools.zip_longest(*CATALOGUE.values())):
            changes = [change for mistake in mistakes if mistake for change in (mistake[1:3], *mistake[3:])]
            judgement = judging.judge(server, small_solutions.write(tmp_path / str(number), changes=changes, spread=True))
            for part, mistake in zip(CATALOGUE, mistakes):
                if mistake:
                    texts[part].append(told(judgement, part, seen[part], *mistake))
    for part, told_of_it in texts.items():
        assert_approved(f'grading_{part}', '\n'.join(told_of_it) + '\n')
