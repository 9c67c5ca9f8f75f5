"""The judge is right about the variants that solutions come in, and names the classic mistakes."""

import re
import sys

import pytest

import small_solutions
from conftest import ROOT
from forked import Server
from grading import activation_part, interface, report
from grading.findings import CORE
from grading.judge import judge

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='solutions are run on Linux')


@pytest.fixture(scope='module')
def server():
    with Server(timeout=20) as server:
        yield server


@pytest.fixture
def judged(server, tmp_path):
    """Judge the small solution with some changes → its Judgement."""
    def run(*changes, files=None):
        return judge(server, small_solutions.write(tmp_path / 'student', files, changes))
    return run


def verdicts(judgement):
    return {part: judgement.findings.verdict(part) for part in CORE}


def causes(judgement, part, kind='incorrect'):
    return [finding.cause for finding in judgement.findings.of(part, kind)]


def test_a_right_solution_is_right_in_every_part_without_a_finding(judged):
    judgement = judged()
    assert set(verdicts(judgement).values()) == {'correct'}
    assert [finding.text for finding in judgement.findings.found if finding.kind != 'note'] == []
    assert judgement.findings.overall() == 'correct'


VARIANTS = {
    'weights (in, out), bias (1, N)': [
        ("std * np.random.randn(out_features, in_features), 'bias': np.zeros(out_features)",
         "std * np.random.randn(in_features, out_features), 'bias': np.zeros((1, out_features))"),
        ("'weight': np.zeros((out_features, in_features)), 'bias': np.zeros(out_features)",
         "'weight': np.zeros((in_features, out_features)), 'bias': np.zeros((1, out_features)), 'more': 0"),
        ("['weight'].T + ", "['weight'] + "), ('dout.T @ self.x', 'self.x.T @ dout'),
        ('dout.sum(axis=0)', 'dout.sum(axis=0, keepdims=True)'),
        ("dout @ self.params['weight']", "dout @ self.params['weight'].T")],
    'bias (N, 1), its gradient (N,)': [
        ("'bias': np.zeros(out_features)", "'bias': np.zeros((out_features, 1))"),
        ("self.params['bias']\n", "self.params['bias'].T\n")],
    'a scalar bias at the start': [("in_features), 'bias': np.zeros(out_features)", "in_features), 'bias': 0.0")],
    'gradients None at the start': [("{'weight': np.zeros((out_features, in_features)), 'bias': "
                                     "np.zeros(out_features)}",
                                     "{'weight': None, 'bias': None}")],
    'gradients add up until clear_cache': [
        ("grads['weight'] =", "grads['weight'] = self.grads['weight'] +"),
        ("grads['bias'] =", "grads['bias'] = self.grads['bias'] +"),
        ('        self.x = None\n\nclass ELU', "        self.x = None\n        for name in self.grads:\n"
         "            self.grads[name] = np.zeros_like(self.params[name])\n\nclass ELU")],
    'no input_layer, start of 2018': [
        (', input_layer=False', ''), ('np.sqrt((1 if input_layer else 2) / in_features)', '0.0001'),
        (', input_layer=i == 0', ''), (', input_layer=not n_hidden', '')],
    'an alpha for each unit': [('ELUModule(alpha=1.0)', 'ELUModule(alpha=np.ones(n_hidden[i]))'),
                               ('from modules', 'import numpy as np\nfrom modules')],
    'float32 parameters': [("std * np.random.randn(out_features, in_features)",
                            "(std * np.random.randn(out_features, in_features)).astype(np.float32)")],
    'one-hot rows': [('x[np.arange(len(y)), y]', '(x * y).sum(axis=1)'), ('np.eye(x.shape[1])[y]', 'y')],
    'an epsilon of 1e-2': [('np.log(x[np.arange(len(y)), y])', 'np.log(x[np.arange(len(y)), y] + 1e-2)'),
                           ('one_hot / x', 'one_hot / (x + 1e-2)')],
    'backward needs forward': [('return -np.log', 'self.eps = 1e-9\n        return -np.log'),
                               ('one_hot / x', 'one_hot / (x + self.eps)')],
    'ReLU, layers in pairs, softmax apart': [
        ('class ELUModule', 'class ReLUModule'), ('def __init__(self, alpha)', 'def __init__(self, alpha=0)'),
        ('* (np.exp(x) - 1)', '* 0'), ('self.alpha * np.exp(self.x)', '0'),
        ('self.layers.append(ELUModule(alpha=1.0))', 'pass'),
        ('self.layers.append(LinearModule(sizes[i], sizes[i + 1], input_layer=i == 0))',
         "self.layers.append({'linear': LinearModule(sizes[i], sizes[i + 1], i == 0), 'act': ReLUModule()})"),
        ('        self.layers.append(LinearModule(sizes[-2], sizes[-1], input_layer=not n_hidden))\n'
         '        self.layers.append(SoftMaxModule())',
         '        self.last, self.soft = LinearModule(sizes[-2], sizes[-1], not n_hidden), SoftMaxModule()'),
        ('            x = layer.forward(x)\n        return x',
         "            x = layer['act'].forward(layer['linear'].forward(x))\n        return "
         "self.soft.forward(self.last.forward(x))"),
        ('        for layer in reversed(self.layers):\n            dout = layer.backward(dout)',
         "        dout = self.last.backward(self.soft.backward(dout))\n        for layer in self.layers[::-1]:\n"
         "            dout = layer['linear'].backward(layer['act'].backward(dout))"),
        ('            layer.clear_cache()', "            layer['linear'].clear_cache()\n        "
                                            "self.last.clear_cache()")],
    'LeakyReLU with a slope from the MLP': [
        ('class ELUModule', 'class LeakyReLUModule'), ('self, alpha', 'self, neg_slope'),
        ('self.alpha = alpha', 'self.alpha = neg_slope'),
        ('self.alpha * (np.exp(x) - 1)', 'self.alpha * x'), ('self.alpha * np.exp(self.x)', 'self.alpha'),
        ('n_classes):', 'n_classes, neg_slope):'), ('ELUModule(alpha=1.0)', 'LeakyReLUModule(neg_slope)')],
    'a base class and a container': [
        ('class LinearModule(object)', 'class Module(object):\n    def forward(self, x):\n        raise '
                                       'NotImplementedError\n\n'
         '    def backward(self, dout):\n        raise NotImplementedError\n\nclass Sequential(Module):\n'
         '    def __init__(self, *modules):\n        self.modules = modules\n\n    def forward(self, x):\n        '
         'return x\n\n'
         '    def backward(self, dout):\n        return dout\n\nclass LinearModule(Module)'),
        ('class ELUModule(object)', 'class ELUModule(Module)')],
    'imports by package path, of what is not there, and relative': [
        ('from modules import *', 'from assignment_1.code.modules import *\nfrom .modules import LinearModule\n'
         'import not_installed_anywhere\nfrom not_installed_anywhere.deep import Thing, other\n\nclass '
         'Unused(Thing):\n    pass\n')],
    'names that NumPy no longer has': [('-np.log', 'np.float(-1) * np.log'), ('one_hot = np', 'np.product(2)\n        '
                                                                                              'one_hot = np')],
    'layers made at the first forward': [
        ('        self.layers = []\n', '        self.sizes, self.layers = (n_inputs, n_hidden, n_classes), []\n\n'
         '    def make(self, n_inputs, n_hidden, n_classes):\n'),
        ('        x = x.reshape(len(x), -1)\n', '        x = x.reshape(len(x), -1)\n        if not self.layers:\n'
         '            self.make(*self.sizes)\n')],
    'slope 1 of the activation at 0': [('np.where(self.x > 0', 'np.where(self.x >= 0')],
}


@pytest.mark.parametrize('name', VARIANTS)
def test_a_variant_is_no_error(judged, monkeypatch, name):
    small_solutions.judge_faster(monkeypatch)
    judgement = judged(*VARIANTS[name])
    assert [finding.text for finding in judgement.findings.found if finding.kind == 'incorrect'] == []
    assert set(verdicts(judgement).values()) <= {'correct', 'deviates'}


def test_two_mistakes_in_one_part_are_both_told(judged):
    judgement = judged(('dout.sum(axis=0)', 'dout.mean(axis=0)'), ('dout.T @ self.x', '-dout.T @ self.x'))
    assert causes(judgement, 'linear') == ['sign', 'mean instead of sum']


def test_an_exception_is_told_with_its_line(judged):
    judgement = judged(('self.x = x\n        return x @', 'self.x = x\n        {}["key"]\n        return x @'))
    line = small_solutions.MODULES.split('\n').index('        self.x = x') + 2
    assert f"KeyError: 'key' (modules.py, line {line})" in judgement.findings.of('linear', 'incorrect')[0].text


@pytest.mark.parametrize('body', ['', 'raise NotImplementedError\n        '])
def test_starter_code_is_a_stub_in_every_part(judged, body):
    # The editions differ: a name that was never set is returned, or an exception is raised before that.
    files = {name: re.sub(r'(def (?:__init__|forward|backward|clear_cache)\(.*\):\n)(?:        .*\n|\n(?=        ))+',
                          rf'\1        """Docs."""\n        {body}return out\n', text)
             for name, text in small_solutions.NUMPY_HALF.items()}
    judgement = judged(files=files)
    assert verdicts(judgement) == dict.fromkeys(CORE, 'not implemented')
    assert judgement.findings.overall() == 'not implemented'
    assert judgement.findings.found == []
    half = {name: re.sub(rf'(backward.*\n.*\n        ){body}return out', r'\1return 2 * dout', text) for name, text in files.items()}
    assert 'not implemented' not in [verdicts(judged(files=half))[part] for part in ('linear', 'softmax', 'cross_entropy')]


def test_a_mistake_in_an_imported_file_has_its_line(judged, monkeypatch):
    small_solutions.judge_faster(monkeypatch)
    core = small_solutions.NUMPY_HALF['modules.py'].replace('dout.T @', '2 * dout.T @')
    files = small_solutions.NUMPY_HALF | {'modules.py': 'from layers.core import *', 'layers/core.py': core}
    finding, = judged(files=files).findings.of('linear', 'incorrect')
    assert (finding.place.file, finding.quote) == ('layers/core.py', core.splitlines()[finding.place.line - 1].strip())


def test_a_solution_that_takes_long_in_all_is_not_graded(judged, monkeypatch):
    monkeypatch.setattr(interface, 'CALLS', 0)
    judgement = judged()
    assert set(verdicts(judgement).values()) == {'not graded'}
    assert judgement.findings.reasons['linear'].endswith('all calls together take longer than 0 s: use a larger --timeout')


def test_of_very_many_activations_the_first_are_graded(judged, monkeypatch):
    monkeypatch.setattr(activation_part, 'MOST', 2)
    elu = small_solutions.MODULES.partition('class ELU')[2].partition('class SoftMax')[0]
    more = ''.join(f'class ELU{i}{elu}'.replace('return np', 'return 2 * np') for i in range(3))
    judgement = judged(files={**small_solutions.NUMPY_HALF, 'modules.py': small_solutions.MODULES + more})
    assert [finding.text for finding in judgement.findings.of('activation', 'note')] == [
        'Only the first 2 of 4 activations are graded.']
    assert len({finding.text for finding in judgement.findings.of('activation', 'incorrect')}) == 1


def test_without_files_everything_is_missing(judged):
    judgement = judged(files={'notes.txt': 'nothing yet'})
    assert judgement.findings.overall() == 'missing'


def test_the_page_in_the_docs_is_what_comes_out(judged):
    judgement = judged(('dout.sum(axis=0)', 'dout.mean(axis=0)'),
                       ('(dout - (dout * self.y).sum(axis=1, keepdims=True))', 'dout * (1 - self.y)'))
    shown = (ROOT / 'docs' / 'grading.md').read_text(encoding='utf-8').split('```text\n')[1].split('\n```')[0]
    assert f'\n\n{shown}\n' in report.details(report.record_of(judgement))
