"""Each injected bug in the modules fails the checks of its part, with the messages of the snapshot."""

import io
import os
import re
import sys
import types
import unittest

import pytest

import mlp_numpy
import modules
from approval import assert_approved
from checks import mlp_checks, module_checks
from conftest import ROOT
from unittests import Report


def of(old, *news):
    """For each of the new texts a bug, a list of replacements."""
    return [[(old, new)] for new in news]


# For each part: the bugs, each a list of replacements of texts that occur once. Bugs that fail different checks are
# injected together.
WEIGHT, BIAS = "dout.T @ _cached(self._x)", "dout.sum(axis=0)  # (N,)"
PRODUCT, NEEDED = "dout @ self.params['weight']", ' if needs_input_grad else None'
ONE_OF_EACH = 'in_features < 1 or out_features < 1'
ANOTHER_SIZE = 'x.ndim != 2 or x.shape[1] != features'
ZEROS = 'np.zeros_like(param) for name, param in self.params.items()}\n        self.clear'
DRAWN = 'np.random.normal(0, np.sqrt(gain / in_features), size'
FACTORS = '(1 + 6e-10)', '(1 + 2e-9)', '(1 + 6e-7)', '(1 + 2e-6)'
LINEAR = [
    *of("out += self.params['bias']", "out -= self.params['bias']"),
    *of(WEIGHT, '_cached(self._x).T @ dout', f'-{WEIGHT}', f"self.grads['weight'] + {WEIGHT}"),
    [(WEIGHT, f'np.abs({WEIGHT})'), (PRODUCT, f'{PRODUCT} * 1.3')],
    *of(f"self.grads['weight'] = {WEIGHT}", f"self.grads['weight'] = None if needs_input_grad else {WEIGHT}"),
    *of(BIAS, 'dout', 'dout.sum(axis=0) / len(dout)', 'dout.sum(axis=0) * len(dout)', 'dout.sum(axis=0, keepdims=True)',
        f"self.grads['bias'] + {BIAS}", "self.grads['bias']"),
    *of(PRODUCT, f'{PRODUCT} / 0'),
    *([(WEIGHT, f'{WEIGHT} * {factor}'), (BIAS, f'dout.sum(axis=0) * {factor}'), (PRODUCT, f'{PRODUCT} * {factor}')]
      for factor in FACTORS),
    *of(DRAWN, 'np.random.normal(0.002, np.sqrt(gain / in_features), size',
        'np.random.laplace(0, np.sqrt(gain / in_features / 2), size'),
    *of('gain = 1 if input_layer else 2', 'gain = 1'),
    [('gain = 1 if input_layer else 2', 'gain = 2'), (NEEDED, '')],
    [(DRAWN, 'np.random.standard_t(1, size'), ('np.zeros(out_features, dtype),', 'np.ones(out_features, dtype),')],
    *of(ZEROS, *(ZEROS.replace('np.zeros_like(param)', f'np.{start}')
                 for start in ('ones_like(param)', 'zeros_like(param, np.float32)', 'zeros_like(param.T)'))),
    [(ANOTHER_SIZE, 'x.shape[1:] < (features,)'), ('self._x = x', "self._x = x = x[:, :len(self.params['weight'].T)]")],
    *of(ANOTHER_SIZE, 'x.shape[-1] != features', 'x.ndim < 2 or x.shape[1] != features'),
    *of(ONE_OF_EACH, 'in_features < 1'),
    [(ONE_OF_EACH, 'out_features < 1'), ('(gain / in_features)', '(gain / max(in_features, 1))')],
    *of('needs at least 1 input', 'no'),
    [(f"self.grads['weight'] = {WEIGHT}", f"if needs_input_grad:\n            self.grads['weight'] = {WEIGHT}"),
     (f"self.grads['bias'] = {BIAS}", f"if needs_input_grad:\n            self.grads['bias'] = {BIAS}")],
    *of("out = x @ self.params['weight'].T",
        "out = self.out = np.matmul(x, self.params['weight'].T, out=getattr(self, 'out', None))"),
    *of('        self._x = None', '        self._x = np.ones((7, 5))'),
    *of('self._x = x', 'self._x, self.grads = x, {name: 0 * param for name, param in self.params.items()}'),  # no bug
]
SLOPE_OF_RELU = '(_cached(self._out) != 0)'
RELU = [
    *of('np.maximum(x, 0)', 'np.abs(x)', 'np.where(x > 0, x, 0)', 'np.minimum(x, 0)',
        "np.maximum(x, 0, out=getattr(self, '_out', None))"),
    *of(SLOPE_OF_RELU, '(_cached(self._out) >= 0)', '(_cached(self._out) > 0)', '1'),
    [('class ReLUModule', 'class Other'), ('class BatchNormModule', 'class ReLUModule(Other):\n    def clear_cache'
                                           '(self):\n        self._out = np.ones((7, 5))\n\n\nclass BatchNormModule')],
]
GAMMA, BETA = "self.grads['weight'] = (dout * x_hat).sum(axis=0)", "self.grads['bias'] = dout.sum(axis=0)\n        if"
CENTERED = "dout - (self.grads['bias'] + x_hat * self.grads['weight']) / len(dout)"
SCALED = "self.params['weight'] / self._std * dout"
MOVED = 'self.momentum) * self.running_mean + self.momentum * mean'
STATISTICS = 'self._batch_statistics(x) if self.training else (self.running_mean, self.running_var)'
BATCH_NORM = [
    *of("self._x_hat + self.params['bias']", "self._x_hat + 1.1 * self.params['bias']"),
    *of('(x - mean) / self._std', '(x - mean) / self._std * 1.01'),
    *of('var + self.eps', 'var + 100 * self.eps', 'var * (1 + 1e-4) + self.eps'),
    [(GAMMA, GAMMA.replace('sum', 'mean')), (BETA, BETA.replace('dout.sum', '-dout.sum'))],
    [(GAMMA, GAMMA.replace(' * x_hat', '')), (SCALED, f'-{SCALED}')],
    [(BETA, BETA.replace('dout.sum', '1.3 * dout.sum')), (CENTERED, 'dout')],
    *of(CENTERED, "dout - x_hat * self.grads['weight'] / len(dout)"),
    *of('if self._by_batch:', 'if True:', 'if self.training:'),
    *of('_check_rows(x, len(self.running_mean))', '', '_check_rows(x, x.shape[1])'),
    *of(f'(1 - {MOVED}', f'(1 - {MOVED} * 2'),
    *of('self.momentum * unbiased_var', 'self.momentum * var'),
    *of(f'mean, var = {STATISTICS}', *(f'mean, var = {STATISTICS}\n        if not self.training:\n            {moved}'
                                       for moved in ('self.running_mean = self.running_mean * 2',
                                                     'self.running_var = self.running_var * 3'))),
    *of("'weight': np.ones(num_features, dtype)", "'weight': 3 * np.ones(num_features, dtype)"),
    *of("'bias': np.zeros(num_features, dtype)}", "'bias': np.full(num_features, 3, dtype)}"),
    *of('np.zeros(num_features, dtype), np.ones', 'np.full(num_features, 3, dtype), np.ones'),
    *of(', np.ones(num_features, dtype)\n', ', np.full(num_features, 3, dtype)\n'),
    [('samples < 2', 'samples < 1'), ('(samples / (samples - 1))', 'samples / max(samples - 1, 1)')],
    *of('samples < 2', 'samples < 3'),
    *of("return self.params['weight'] * self._x_hat + self.params['bias']",
        "out = self.params['weight'] * self._x_hat + self.params['bias']\n"
        "        self.out = getattr(self, 'out', out)\n"
        "        self.out[:] = out if out.shape == self.out.shape else 0\n        return self.out"),
    *of('        self._x_hat = self._std = self._by_batch = None',
        "        self._x_hat, self._std = getattr(self, '_x_hat', None), 1"),
]
JACOBIAN = 'out * (dout - (dout * out).sum(axis=1, keepdims=True))'
EXP = 'np.exp(x - x.max(axis=1, keepdims=True))'
SOFTMAX = [
    *of('exp / exp.sum(axis=1, keepdims=True)', 'exp / exp.sum(axis=0)'),
    *of(JACOBIAN, 'out * dout', JACOBIAN.replace('axis=1', 'axis=0'), f'{JACOBIAN} * 2'),
    *of(EXP, 'np.exp(x)', 'np.exp(np.minimum(x, 80))'),
    *of('self._out = np.maximum(out, np', "self.kept = out if len(x) == 1 else getattr(self, 'kept', out)\n"
        '        self.kept = self.kept if self.kept.shape == out.shape else out\n'
        '        self._out = self.kept\n        self._out[:] = np.maximum(out, np'),
]
LOSS = 'float(-(targets * np.log(_at_least_tiny(x))).sum() / len(x))'
SLOPE = 'return np.clip(targets / x, -limit, limit) / -len(x)'
TAKE = '(y, axis=0)'
NOT_AMONG = '0 <= y.min() <= y.max() < classes'
NO_TARGETS = 'y.shape != x.shape[:1] or y.dtype.kind not in \'iu\''
CROSS_ENTROPY = [
    *of(LOSS, LOSS.replace('sum', 'mean'), f'np.float32({LOSS[6:-1]})', f'{LOSS} * (1 + 1e-11)'),
    [(LOSS, f'{LOSS} * (1.5 if y.ndim > 1 else 1)'), (SLOPE, f'{SLOPE} * (1.5 if y.ndim > 1 else 1)')],
    *of(SLOPE, f'{SLOPE} * (1.5 if y.ndim > 1 else 1)', 'return targets / x / -len(x)',
        SLOPE.replace('/ -len(x)', '* -1'), SLOPE.replace('/ x,', '* x,')),
    *of('x.min(initial=0) < 0', 'False'),
    *of(NOT_AMONG, 'y.max() < classes'),
    [(NOT_AMONG, '0 <= y.min()'), (TAKE, TAKE.replace('y', 'y % classes'))],
    [("y.dtype.kind not in 'iu'", 'False'), (TAKE, TAKE.replace('y', 'y.astype(int)'))],
    [(NO_TARGETS, f'y.ndim < 2 and ({NO_TARGETS})'),
     (TAKE, TAKE.replace('y', 'y.astype(int)[:, 0] if y.ndim > 1 else y'))],
    [(NO_TARGETS, 'y.ndim > 1 or y.dtype == float'), (TAKE, TAKE.replace('y', 'np.resize(y, len(x))'))],
    [('each must be a class', 'no'), ('they must be floating-point numbers', 'no')],
    [('they must be integer labels', 'no'), ('x, targets = _at_least_tiny(x), _target', 'targets = _target')],
    [("if x.dtype.kind != 'f'", 'if False'), ('np.finfo(x.dtype).tiny)\n\n\ndef _t', '1e-9)\n\n\ndef _t')],
]
AT_LEAST_TINY = 'self._out = np.maximum(out, np.finfo(out.dtype).tiny)'
TOGETHER = [
    *of(JACOBIAN, JACOBIAN.replace('axis=1', 'axis=0'), f'({JACOBIAN}).astype(np.float64)'),
    [(AT_LEAST_TINY, 'self._out = out'), ('np.maximum(x, np.finfo(x.dtype).tiny)', 'x')],
    *of(AT_LEAST_TINY, 'self._out = out'),
]
HIDDEN, LAST = 'not self.layers, dtype=dtype))\n            if', 'not self.layers, dtype=dtype))\n        self'
RESULT = 'layer.forward(out)\n        return out'
MLP = [
    *of('            self.layers.append(ReLUModule())\n', ''),
    *of('dout = layer.backward(dout)', 'dout = layer.backward(dout) * 1.3'),
    *of('in_features, n_classes, input', 'in_features, n_classes + 1, input'),
    *of('out_features, input_layer=not self.layers', 'out_features'),
    [('n_classes, input_layer=not self.layers', 'n_classes, input_layer=True'),
     ('out_features, input_layer=not self.layers', 'out_features, input_layer=True')],
    *of('x.reshape(len(x), -1)', 'np.moveaxis(x, 1, -1).reshape(len(x), -1)'),
    [('out = x.reshape(len(x), -1)', 'out = x.reshape(len(x), -1)\n        self.ndim = x.ndim'),
     ('dout = layer.backward(dout)', 'dout = layer.backward(dout) * self.ndim / 2')],
    *of(HIDDEN, HIDDEN.replace(', dtype=dtype', '')),
    *of(LAST, LAST.replace(', dtype=dtype', '')),
    [(HIDDEN, HIDDEN.replace(', dtype=dtype', '')), (RESULT, f'{RESULT}.astype(x.dtype)')],
    *of(WEIGHT, f'({WEIGHT}).astype(np.float64)'),
    *of(RESULT, f'{RESULT} * 1.5', "layer.forward(out)\n        self.out = getattr(self, 'out', out)\n"
        '        self.out[:] = out\n        return self.out'),
    [('            layer.clear_cache()', '            pass'), (ONE_OF_EACH, 'False'),
     ('(gain / in_features)', '(gain / max(in_features, 1))')],
    *of('for layer in self.layers:\n            layer.clear', *(f'for layer in {layers}:\n            layer.clear'
                                                               for layers in ('self.layers[1:]', 'self.layers[-1:]'))),
]
CATALOGUE = {
    'linear': (module_checks.LinearModuleChecks, LINEAR), 'relu': (module_checks.ReLUModuleChecks, RELU),
    'batch_norm': (module_checks.BatchNormModuleChecks, BATCH_NORM),
    'softmax': (module_checks.SoftMaxModuleChecks, SOFTMAX),
    'cross_entropy': (module_checks.CrossEntropyModuleChecks, CROSS_ENTROPY),
    'softmax_with_cross_entropy': (module_checks.SoftMaxWithCrossEntropyChecks, TOGETHER),
    'mlp': (mlp_checks.MLPChecks, MLP),
}


def planted(name, changes):
    """The module `name` of the project with those of the changes that are in it, and their number."""
    text = (ROOT / f'{name}.py').read_text(encoding='utf-8')
    here = [change for change in changes if text.count(change[0]) == 1]
    for old, new in here:
        text = text.replace(old, new)
    module = types.ModuleType(name)
    exec(compile(text, name, 'exec'), module.__dict__)
    return module, len(here)


def failures(case, changes, patch):
    """Check → its message, for each check of a case that fails with the changes."""
    faulty, count = planted('modules', changes)
    patch.setitem(sys.modules, 'modules', faulty)
    mlp, more = planted('mlp_numpy', changes)
    assert count + more == len(changes), changes
    for checks, name, module in ((module_checks, 'modules', faulty), (mlp_checks, 'modules', faulty),
                                 (mlp_checks, 'mlp_numpy', mlp)):
        patch.setattr(checks, name, module)
    runner = unittest.TextTestRunner(io.StringIO(), resultclass=Report, warnings='ignore')
    result = runner.run(unittest.defaultTestLoader.loadTestsFromTestCase(case))
    return {re.search(r'test_(\w+)', test.id())[1]: message.strip().splitlines()[-1]
            for test, message in result.failures + result.errors}


@pytest.mark.parametrize('part', CATALOGUE)
def test_each_bug_fails_the_checks_of_its_part_with_the_messages_of_the_snapshot(part, monkeypatch):
    case, bugs = CATALOGUE[part]
    lines, messages = [], {}
    for changes in bugs:
        failed = failures(case, changes, monkeypatch)
        causes = dict.fromkeys(re.findall(r'Probable cause: (.+?) \(der', ' '.join(failed.values())))
        for check, message in failed.items():  # the first message of each kind, whatever its numbers
            kind = re.sub(r'∂L/∂.+? is off: .+?\. (?=[PN])|\d[\d.e+-]*', '', message)
            messages.setdefault(kind, f'{check}: {message}')
        label = ' '.join('; '.join(new or f'without {old}' for old, new in changes).split())
        lines.append(f'{label[:90]}: {", ".join(failed) or "no check fails"}' + ''.join(f' [{it}]' for it in causes))
    assert_approved(f'checks_{part}', '\n'.join([*lines, '', *messages.values()]) + '\n')


def test_a_failure_in_a_subtest_is_reported_with_its_parameters_and_the_message_alone():
    class Checks(unittest.TestCase):
        def test_several(self):
            """numbers are odd"""
            with self.subTest(number=2):
                self.fail('2 is even')

    runner = unittest.TextTestRunner(io.StringIO(), resultclass=Report)
    result = runner.run(unittest.defaultTestLoader.loadTestsFromTestCase(Checks))
    ((test, message),) = result.failures
    assert (result.getDescription(test), message) == ('numbers are odd (number=2)', '2 is even\n')


def test_unittests_prints_each_check_each_failure_and_each_error_and_ends_with_1(run_in_process, monkeypatch):
    def backward(self, x, y):
        return x

    def clear_cache(self):
        raise KeyError('four')

    monkeypatch.setattr(modules.CrossEntropyModule, 'backward', backward)
    monkeypatch.setattr(mlp_numpy.MLP, 'clear_cache', clear_cache)
    monkeypatch.setenv('FORCE_COLOR', '1')
    monkeypatch.setenv('NO_COLOR', '')  # restored after the script has set it
    code, out, err = run_in_process('unittests.py', [])
    assert code in (1, True) and out == '' and os.environ['NO_COLOR']
    lines = re.sub(r'in \d+\.\d+s', 'in … s', err).splitlines()
    assert_approved('unittests', '\n'.join(line for line in lines if not line.startswith('  ')) + '\n')
