"""`unittests.py --solution DIR` judges other solutions: right ones pass, each classic mistake is named."""

import re
import sys

import pytest

from grading import solution_check
import unittests
from conftest import ROOT

# A solution as the course hands it out: weights (out, in), bias (N,), labels, ReLU.
MODULES = '''
import numpy as np

class LinearModule:
    def __init__(self, in_features, out_features, input_layer=False):
        std = np.sqrt((1 if input_layer else 2) / in_features)
        self.params = {'weight': std * np.random.randn(out_features, in_features), 'bias': np.zeros(out_features)}
        self.grads = {'weight': np.zeros((out_features, in_features)), 'bias': np.zeros(out_features)}

    def forward(self, x):
        self.x = x
        return x @ self.params['weight'].T + self.params['bias']

    def backward(self, dout):
        self.grads['weight'] = dout.T @ self.x
        self.grads['bias'] = dout.sum(axis=0)
        return dout @ self.params['weight']

    def clear_cache(self):
        self.x = None

class ReLUModule:
    def forward(self, x):
        self.x = x
        return np.maximum(x, 0)

    def backward(self, dout):
        return dout * (self.x > 0)

    def clear_cache(self):
        self.x = None

class SoftMaxModule:
    def forward(self, x):
        e = np.exp(x - x.max(axis=1, keepdims=True))
        self.y = e / e.sum(axis=1, keepdims=True)
        return self.y

    def backward(self, dout):
        return self.y * (dout - (dout * self.y).sum(axis=1, keepdims=True))

    def clear_cache(self):
        self.y = None

class CrossEntropyModule:
    def forward(self, x, y):
        return -np.log(x[np.arange(len(y)), y]).mean()

    def backward(self, x, y):
        dx = np.zeros_like(x)
        dx[np.arange(len(y)), y] = -1 / x[np.arange(len(y)), y] / len(y)
        return dx
'''
MLP_NUMPY = '''
from modules import *

class MLP:
    def __init__(self, n_inputs, n_hidden, n_classes):
        self.modules = []
        sizes = [n_inputs, *n_hidden, n_classes]
        for i in range(len(sizes) - 1):
            self.modules.append(LinearModule(sizes[i], sizes[i + 1], input_layer=i == 0))
            self.modules.append(ReLUModule() if i < len(n_hidden) else SoftMaxModule())

    def forward(self, x):
        x = x.reshape(len(x), -1)
        for module in self.modules:
            x = module.forward(x)
        return x

    def backward(self, dout):
        for module in self.modules[::-1]:
            dout = module.backward(dout)

    def clear_cache(self):
        for module in self.modules:
            module.clear_cache()
'''


@pytest.fixture
def check(tmp_path, monkeypatch, capsys):
    """check(changes) → (exit code, report) of the solution with pieces of its code replaced.

    Its process finds no torch: central differences name every mistake, seconds earlier.
    """
    def run(changes=(), timeout=20, files=('modules.py', 'mlp_numpy.py')):
        sources = {'modules.py': MODULES, 'mlp_numpy.py': MLP_NUMPY}
        for old, new in changes:
            assert any(old in source for source in sources.values()), old
            sources = {name: source.replace(old, new) for name, source in sources.items()}
        folder = tmp_path / 'solution'
        folder.mkdir()
        for name in files:
            (folder / name).write_text(sources[name], encoding='utf-8')
        (tmp_path / 'torch.py').write_text('raise ImportError')
        monkeypatch.setenv('PYTHONPATH', str(tmp_path))
        code = solution_check.main(str(folder), timeout)
        return code, capsys.readouterr().out

    return run


def report_on(report, module):
    """The lines of the report on one module."""
    return next(part for part in report.split('\n\n') if part.startswith(f'{module}:'))


def test_a_right_solution_passes(check):
    code, report = check()
    assert code == 0, report
    assert 'interface met: weight (out, in); bias (N,); cross-entropy on labels; activation ReLUModule' in report
    assert report.endswith('6 of 6 modules passed\n')


def test_our_own_solution_passes(run_script):
    run = run_script('unittests.py', '--solution', ROOT)
    assert run.returncode == 0, run.stdout
    assert 'cross-entropy on labels and rows' in run.stdout and '7 of 7 modules passed' in run.stdout


VARIANT_OTHER_STORAGE = [  # weights (in, out), biases (1, N), gradients added up until clear_cache
    ('std * np.random.randn(out_features, in_features)', 'std * np.random.randn(in_features, out_features)'),
    ('np.zeros((out_features, in_features))', 'np.zeros((in_features, out_features))'),
    ('np.zeros(out_features)', 'np.zeros((1, out_features))'),
    ("x @ self.params['weight'].T", "x @ self.params['weight']"),
    ("self.grads['weight'] = dout.T @ self.x", "self.grads['weight'] += self.x.T @ dout"),
    ("self.grads['bias'] = dout.sum(axis=0)", "self.grads['bias'] += dout.sum(axis=0, keepdims=True)"),
    ("dout @ self.params['weight']", "dout @ self.params['weight'].T"),
    ('        self.x = None\n\nclass ReLU', '        self.x = None\n        for grad in self.grads.values():\n'
                                             '            grad[:] = 0\n\nclass ReLU'),
]
VARIANT_ONE_HOT_ELU = [  # cross-entropy on one-hot rows, ELU with a parameter, no input_layer
    (', input_layer=False', ''), ('(1 if input_layer else 2)', '2'), (', input_layer=i == 0', ''),
    ('-np.log(x[np.arange(len(y)), y]).mean()', '-(y * np.log(x)).sum() / len(x)'),
    ('        dx = np.zeros_like(x)\n', ''),
    ('        dx[np.arange(len(y)), y] = -1 / x[np.arange(len(y)), y] / len(y)\n', ''),
    ('return dx', 'return -y / x / len(x)'),
    ('class ReLUModule:', 'class ELUModule:\n    def __init__(self, alpha):\n        self.alpha = alpha\n'),
    ('np.maximum(x, 0)', 'np.where(x > 0, x, self.alpha * (np.exp(x) - 1))'),
    ('dout * (self.x > 0)', 'dout * np.where(self.x > 0, 1, self.alpha * np.exp(self.x))'),
    ('ReLUModule() if', 'ELUModule(1.0) if'),
]
VARIANT_LEAKY = [
    ('class ReLUModule:', 'class LeakyReLUModule:\n    def __init__(self, slope):\n        self.slope = slope\n'),
    ('np.maximum(x, 0)', 'np.where(x > 0, x, self.slope * x)'),
    ('dout * (self.x > 0)', 'dout * np.where(self.x > 0, 1, self.slope)'),
    ('n_hidden, n_classes):', 'n_hidden, n_classes, neg_slope):'),
    ('ReLUModule() if', 'LeakyReLUModule(neg_slope) if'),
]


@pytest.mark.parametrize('variant, interface', [
    (VARIANT_OTHER_STORAGE, 'weight (in, out); bias (1, N); cross-entropy on labels; activation ReLUModule'),
    (VARIANT_ONE_HOT_ELU, 'no input_layer; weight (out, in); bias (N,); cross-entropy on rows; ELUModule(alpha=0.1); '
                          'activation ELUModule'),
    (VARIANT_LEAKY, 'LeakyReLUModule(slope=0.1); MLP(…, neg_slope=0.1); activation LeakyReLUModule'),
])
def test_the_variants_of_the_course_pass(check, variant, interface):
    code, report = check(variant)
    assert code == 0, report
    assert interface in report


@pytest.mark.parametrize('old, new, module, finding', [
    ('dout.T @ self.x', '-dout.T @ self.x', 'LinearModule', '∂L/∂weight is off: .*the sign'),
    ('dout.T @ self.x', 'self.x.T @ dout', 'LinearModule', r'∂L/∂weight .*shape \(5, 4\) instead of .*a transpose'),
    ('dout.T @ self.x', 'dout.T @ self.x / len(dout)', 'LinearModule', '∂L/∂weight is off: .*1/S applied twice'),
    ("self.grads['weight'] =", "self.grads['weight'] +=", 'LinearModule', 'added to an earlier gradient'),
    ("        self.grads['weight'] = dout.T @ self.x\n", '', 'LinearModule', '∂L/∂weight .*never filled'),
    ('dout.sum(axis=0)', 'dout', 'LinearModule', '∂L/∂bias .*the sum over the batch was forgotten'),
    ('dout.sum(axis=0)', 'dout.mean(axis=0)', 'LinearModule', '∂L/∂bias .*a mean over the batch in place of the sum'),
    ("return dout @ self.params['weight']", 'return None', 'LinearModule', '∂L/∂X is None'),
    ('(1 if input_layer else 2)', '2', 'LinearModule', 'input_layer=True: .*the gain should be 1'),
    ('dout * (self.x > 0)', 'dout * (dout > 0)', 'activation', '∂L/∂X is off: .*X > 0 applied to the wrong array'),
    ('np.maximum(x, 0)', 'np.minimum(x, 0)', 'activation', r'Y = max\(X, 0\)'),
    ('self.y * (dout - (dout * self.y).sum(axis=1, keepdims=True))', 'self.y * (1 - self.y) * dout', 'SoftMaxModule',
     '∂L/∂X is off: .*off-diagonal part'),
    ('.sum(axis=1, keepdims=True))', '.sum(axis=0, keepdims=True))', 'SoftMaxModule', '∂L/∂X is off'),
    ('x - x.max(axis=1, keepdims=True)', 'x', 'SoftMaxModule', 'row maximum'),
    ('/ len(y)', '', 'CrossEntropyModule', r'∂L/∂X is off: .*missing 1/S'),
    ('= -1 / x', '= 1 / x', 'CrossEntropyModule', '∂L/∂X is off: .*the sign'),
    ('.mean()', '.sum()', 'CrossEntropyModule', 'L\n'),
    ('self.modules[::-1]', 'self.modules', 'MLP', 'linear layer|Error'),
    ('if i < len(n_hidden) else SoftMaxModule()', '', 'MLP', 'probabilities'),
    ('            module.clear_cache()', '            pass', 'MLP', 'used the cleared forward pass'),
    ('x = x.reshape(len(x), -1)', 'pass', 'MLP', 'Error: '),
])
def test_each_classic_mistake_is_named(check, old, new, module, finding):
    code, report = check([(old, new)])
    assert code == 1
    part = report_on(report, module)
    assert f'{module}: WRONG' in part
    assert re.search(finding, part), report


@pytest.mark.parametrize('old, new, finding', [
    ('np.maximum(x, 0)', 'x.no_such_attribute', "AttributeError: .*no_such_attribute.* (modules.py, line 25)"),
    ('class SoftMaxModule:', 'class SoftmaxModule:', 'class SoftMaxModule is missing in modules.py'),
    ('class MLP:', 'class Mlp:', 'class MLP is missing in mlp_numpy.py'),
    ('import numpy as np', 'import numpy as np\nimport no_such_package', 'modules.py can not be imported: '
     "ModuleNotFoundError: No module named 'no_such_package' (modules.py, line 3)"),
    ('class LinearModule:', 'class LinearModule', 'modules.py can not be imported: SyntaxError: '),
    ('return np.maximum(x, 0)', '__import__("os")._exit(3)', 'the solution ended the process (exit code 3)'),
    ('import numpy as np', 'import os; os._exit(4)',
     'import of modules.py: the solution ended the process (exit code 4)'),
])
def test_what_breaks_in_a_solution_is_a_finding(check, old, new, finding):
    code, report = check([(old, new)])
    assert code == 1
    for piece in finding.split('.*'):
        assert piece in report


def test_a_missing_file_is_a_finding(check):
    code, report = check(files=['modules.py'])
    assert code == 1 and 'mlp_numpy.py is missing' in report and 'LinearModule: passed' in report


def test_an_endless_loop_is_a_finding_and_the_other_modules_are_still_judged(check):
    code, report = check([('e = np.exp', 'while True: pass\n        e = np.exp')], timeout=1)
    assert code == 1
    assert 'no answer within 1 s: an endless loop?' in report_on(report, 'SoftMaxModule')
    for module in ('LinearModule', 'activation', 'CrossEntropyModule'):
        assert f'{module}: passed' in report


@pytest.mark.parametrize('arguments, named', [
    (['--solution', 'no/such/folder'], "argument --solution: 'no/such/folder' is not a folder"),
    (['--solution', '.', '--timeout', '0'], "argument --timeout: '0' is not allowed"),
])
def test_bad_arguments_are_refused(arguments, named, monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['unittests.py', *arguments])
    with pytest.raises(SystemExit) as ended:
        unittests.main()
    err = capsys.readouterr().err
    assert ended.value.code == 2 and named in err and err.count('\n') == 1
