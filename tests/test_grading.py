"""The judge is right about the variants that solutions come in, and names the classic mistakes."""

import sys

import pytest

import small_solutions
from conftest import ROOT
from grading import report
from grading.findings import CORE
from grading.judge import judge
from grading.remote import Server

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


def causes(judgement, part, kind='wrong'):
    return [finding.cause for finding in judgement.findings.of(part, kind)]


def test_a_right_solution_is_right_in_every_part_without_a_finding(judged):
    judgement = judged()
    assert set(verdicts(judgement).values()) == {'right'}
    assert [finding.text for finding in judgement.findings.found if finding.kind != 'remark'] == []
    assert judgement.findings.overall() == 'right'


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
def test_a_variant_is_no_error(judged, name):
    judgement = judged(*VARIANTS[name])
    assert [finding.text for finding in judgement.findings.found if finding.kind == 'wrong'] == []
    assert set(verdicts(judgement).values()) <= {'right', 'departs'}


FUSED = [('-one_hot / x / len(y)', '(x - one_hot) / len(y)')]


SOFTMAX = '(np.exp(x) / np.exp(x).sum(axis=1, keepdims=True))'


@pytest.mark.parametrize('changes', [
    [*FUSED, ('reversed(self.layers)', 'reversed(self.layers[:-1])')],
    [*FUSED, ('return self.y * (dout - (dout * self.y).sum(axis=1, keepdims=True))', 'return dout + 0 * self.y')],
    [('-np.log(x[', f'-np.log({SOFTMAX}['), ('-one_hot / x / len(y)', f'({SOFTMAX} - one_hot) / len(y)'),
     ('        self.layers.append(SoftMaxModule())\n', '')]], ids=['left out', 'passed through', 'logits'])
def test_softmax_and_cross_entropy_in_one_step_are_judged_as_a_chain(judged, changes):
    judgement = judged(*changes)
    assert set(verdicts(judgement).values()) == {'right'}
    assert causes(judgement, 'cross_entropy', 'remark') == ['fused']


MISTAKES = {  # what is changed → part, cause, words that the student reads
    'mean': ([('dout.sum(axis=0)', 'dout.mean(axis=0)')], 'linear', 'mean in place of sum', 'bias, is the mean over '
                                                                                            'the batch'),
    'bias unsummed': ([('dout.sum(axis=0)', 'dout')], 'linear', 'no sum over the batch', 'sum over the batch is '
                                                                                         'missing'),
    'penalty': ([('dout.T @ self.x', "dout.T @ self.x + 0.03 * self.params['weight']")], 'linear',
                'regularization term', 'λ = 0.03'),
    'no bias': ([(" + self.params['bias']\n", '\n')], 'linear', 'bias forgotten', 'has no bias in it'),
    'transpose': ([("['weight'].T + ", "['weight'] + ")], 'linear', '', 'X W'),
    'input layer': ([('self.x = x\n        return x @', 'self.x = x\n        x = x * (2 if self.first else 1)\n        '
                                                        'return x @'),
                     ('std = np', 'self.first = input_layer\n        std = np')], 'linear', 'input_layer',
                    'more than the initialization changes'),
    'assert': ([('self.x = x\n        return x @', 'self.x = x\n        assert len(x) > 3\n        return x @')],
               'linear', 'raises AssertionError', ''),
    'slope': ([('dout * np.where(self.x > 0, 1, self.alpha * np.exp(self.x))', 'dout')], 'activation', 'slope missing',
              'is missing'),
    'alpha': ([('self.alpha * (np.exp(x) - 1)', 'np.exp(x) - 1')], 'activation', 'α ignored',
              'takes no notice of alpha'),
    'no −1': ([('self.alpha * (np.exp(x) - 1)', 'self.alpha * np.exp(x)')], 'activation', '−1 forgotten',
              'is α exp(X) for negative X: the −1 is missing'),
    'exchanged': ([('np.where(x > 0, x, self.alpha * (np.exp(x) - 1))',
                    'np.where(x > 0, self.alpha * (1 - np.exp(-x)), x)')], 'activation', 'wrong side',
                  'has the two cases exchanged'),
    'another activation': ([('self.alpha * (np.exp(x) - 1)', '0')], 'activation', 'ReLU in place of ELU',
                           'is ReLU: 0 for negative X'),
    'in place': ([('self.x = x\n        return np.where(x > 0, x, self.alpha * (np.exp(x) - 1))',
                   'self.x = x\n        x[x <= 0] = self.alpha * (np.exp(x[x <= 0]) - 1)\n        return x')],
                 'activation', 'input changed in place', 'in place'),
    'off-diagonal': ([('(dout - (dout * self.y).sum(axis=1, keepdims=True))', 'dout * (1 - self.y)')], 'softmax',
                     'off-diagonal part missing', 'off-diagonal part'),
    'axis': ([('e / e.sum(axis=1, keepdims=True)', 'e / e.sum(axis=0)')], 'softmax', 'wrong axis', 'over the samples'),
    'overflow': ([('np.exp(x - x.max(axis=1, keepdims=True))', 'np.exp(x)')], 'softmax', 'maximum not subtracted',
                 'overflows'),
    'squeeze': ([('return self.y * (dout - (dout * self.y).sum(axis=1, keepdims=True))',
                  'return np.squeeze(self.y * (dout - (dout * self.y).sum(axis=1, keepdims=True)))')], 'softmax',
                'batch of one', 'batch of one'),
    'sum in the loss': ([('.mean()', '.sum()')], 'cross_entropy', 'sum in place of mean', 'S times too large'),
    'other classes': ([('-np.log(x[np.arange(len(y)), y]).mean()',
                       '-np.log(np.where(np.eye(x.shape[1])[y] > 0, x, 1 - x)).sum() / len(y)')], 'cross_entropy',
                      'binary cross-entropy', 'log(1 − X) of the other classes is in it'),
    'no 1/S': ([(' / x / len(y)', ' / x')], 'cross_entropy', '1/S missing', 'no 1/S'),
    'fused': (FUSED, 'cross_entropy', 'fused gradient', 'differentiated twice'),
    'width': ([('np.eye(x.shape[1])[y]', 'np.eye(y.max() + 1)[y]')], 'cross_entropy', 'one-hot width', 'max(y) + 1'),
    'no activation': ([('            self.layers.append(ELUModule(alpha=1.0))\n', '')], 'mlp', 'no activation',
                      'one linear map'),
    'one too many': ([('self.layers.append(SoftMaxModule())', 'self.layers += [ELUModule(1.0), SoftMaxModule()]')],
                     'mlp', 'activation behind the last layer', 'behind the last linear layer'),
    'softmax twice': ([('self.layers.append(SoftMaxModule())', 'self.layers += [SoftMaxModule(), SoftMaxModule()]')],
                      'mlp', 'softmax twice', 'twice'),
    'one activation': ([('self.layers = []\n', 'self.layers = []\n        elu = ELUModule(1.0)\n'),
                        ('self.layers.append(ELUModule(alpha=1.0))', 'self.layers.append(elu)')], 'mlp',
                       'one activation object', 'one ELUModule object serves all hidden layers'),
    'reversed': ([('reversed(self.layers)', '(self.layers.reverse() or self.layers)')], 'mlp', 'layers left reversed',
                 'reverse order'),
    'sizes': ([('LinearModule(sizes[i], sizes[i + 1],', 'LinearModule(sizes[max(i - 1, 0)], sizes[i + 1],')], 'mlp',
              'layer sizes', '5→6, 5→4'),
    'softmax left out': ([('reversed(self.layers)', 'reversed(self.layers[:-1])')], 'mlp',
                         'softmax left out of backward', 'leaves softmax out'),
}


@pytest.mark.parametrize('name', MISTAKES)
def test_a_mistake_is_named_where_it_is_made(judged, name):
    changes, part, cause, words = MISTAKES[name]
    judgement = judged(*changes)
    assert cause in causes(judgement, part) or not cause
    assert any(words in finding.text for finding in judgement.findings.of(part, 'wrong'))
    guilty = {finding.part for finding in judgement.findings.found
              if finding.kind == 'wrong' and finding.cause not in ('follows', 'inherited')}
    assert guilty == {part}, 'blamed once'
    for finding in judgement.findings.of(part, 'wrong'):
        assert ', line ' in finding.place or cause == 'input_layer', 'the line that is wrong'


def test_the_mlp_is_wrong_only_since_a_module_is(judged):
    judgement = judged(('dout.sum(axis=0)', 'dout.mean(axis=0)'))
    assert verdicts(judgement) == dict.fromkeys(CORE, 'right') | {'linear': 'wrong', 'mlp': 'wrong'}
    assert [finding.text for finding in judgement.findings.of('mlp')] == [
        'Wrong only since LinearModule is (see there): the MLP itself is put together rightly.']


def test_two_mistakes_in_one_part_are_both_told(judged):
    judgement = judged(('dout.sum(axis=0)', 'dout.mean(axis=0)'), ('dout.T @ self.x', '-dout.T @ self.x'))
    assert causes(judgement, 'linear') == ['sign', 'mean in place of sum']


def test_an_exception_is_told_with_its_line(judged):
    judgement = judged(('self.x = x\n        return x @', 'self.x = x\n        {}["key"]\n        return x @'))
    line = small_solutions.MODULES.split('\n').index('        self.x = x') + 2
    assert f"KeyError: 'key' (modules.py, line {line})" in judgement.findings.of('linear', 'wrong')[0].text


DEPARTURES = {
    'initialization': ([('1 if input_layer else 2', '2')], 'linear', 'initialization'),
    'input_layer not passed on': ([(', input_layer=i == 0', '')], 'mlp', 'initialization'),
    'no clear_cache': ([('    def clear_cache(self):\n        self.y = None\n', '')], 'softmax', 'clear_cache'),
    'a stub': ([('        for layer in self.layers:\n            layer.clear_cache()', '        pass')], 'mlp',
               'clear_cache'),
    'empty n_hidden': ([('self.layers = []\n', 'self.layers = []\n        n_hidden[0]\n')], 'mlp', 'empty n_hidden'),
    'the shape of a gradient': ([('dout.sum(axis=0)', 'dout.sum(axis=0, keepdims=True)')], 'linear',
                                'shape of the bias gradient'),
    'a loop over samples': ([('(dout * self.y).sum(axis=1, keepdims=True)', 'np.array([[a @ b] for a, b in zip(dout, '
                                                                            'self.y)])')],
                            'softmax', 'loop'),
}


@pytest.mark.parametrize('name', DEPARTURES)
def test_a_departure_is_shown_and_is_no_error(judged, name):
    changes, part, cause = DEPARTURES[name]
    judgement = judged(*changes)
    assert judgement.findings.verdict(part) == 'departs'
    assert cause in causes(judgement, part, 'departs')
    assert judgement.findings.overall() == 'departs'


REMARKS = {
    'prints': ([('self.x = x\n        return x @', 'self.x = x\n        print("forward")\n        return x @')],
               'Prints'),
    'in place': ([('e = np.exp(x - x.max(axis=1, keepdims=True))', 'x -= x.max(axis=1, keepdims=True)\n        e = '
                                                                   'np.exp(x)')],
                 'SoftMaxModule.forward changes its argument in place'),
    'the caller\'s list': ([('sizes = [n_inputs, *n_hidden, n_classes]', 'n_hidden.append(n_classes)\n        sizes = '
                                                                         '[n_inputs, *n_hidden]\n'
                             '        n_hidden = n_hidden[:-1]')], 'MLP.__init__ changes its argument in place'),
    'images': ([('x = x.reshape(len(x), -1)', 'pass')], 'not flattened'),
    'rows far apart': ([('x - x.max(axis=1, keepdims=True)', 'x - x.max()')], 'Rows of logits 1000 apart'),
    'seed': ([('std = np', 'np.random.seed(1)\n        std = np')], 'the constructor seeds'),
}


@pytest.mark.parametrize('name', REMARKS)
def test_a_remark_changes_no_verdict(judged, name):
    changes, words = REMARKS[name]
    judgement = judged(*changes)
    assert set(verdicts(judgement).values()) == {'right'}
    assert any(words in finding.text for finding in judgement.findings.found if finding.kind == 'remark')


@pytest.mark.parametrize('body', ['', 'raise NotImplementedError\n        '])
def test_starter_code_is_a_stub_in_every_part(judged, body):
    stub = '''
class LinearModule(object):
    def __init__(self, in_features, out_features, input_layer=False):
        self.params = {'weight': None, 'bias': None}
    def forward(self, x):
        """Docs."""
        return out
    def backward(self, dout):
        return dx
class ELUModule(object):
    def forward(self, x):
        return out
    def backward(self, dout):
        return dx
class SoftMaxModule(object):
    def forward(self, x):
        return out
    def backward(self, dout):
        return dx
class CrossEntropyModule(object):
    def forward(self, x, y):
        return out
    def backward(self, x, y):
        return dx
'''
    mlp = '''
class MLP(object):
    def __init__(self, n_inputs, n_hidden, n_classes):
        pass
    def forward(self, x):
        return out
'''
    # The editions differ: a name that was never set is returned, or an exception stands before that.
    files = {name: text.replace('return ', f'{body}return ') for name, text in
             {'modules.py': stub, 'mlp_numpy.py': mlp}.items()}
    judgement = judged(files=files)
    assert verdicts(judgement) == dict.fromkeys(CORE, 'stub')
    assert judgement.findings.overall() == 'stub'
    assert judgement.findings.found == []


@pytest.mark.parametrize('text, words', [
    ('import numpy as np\n<<<<<<< HEAD\nx = 1\n=======\nx = 2\n>>>>>>> main\n', 'merge conflict, the first in line 2'),
    ('def f(:\n', 'Python can not read modules.py'),
    ('import numpy as np\nraise OSError("no such thing")\n', 'no such thing')])
def test_a_file_that_can_not_be_used_is_one_finding(judged, text, words):
    judgement = judged(files={'modules.py': text, 'mlp_numpy.py': small_solutions.MLP_NUMPY})
    told = [finding for finding in judgement.findings.found if finding.cause != 'inherited']
    assert len(told) == 1 and words in told[0].text
    assert set(verdicts(judgement).values()) == {'wrong'}


def test_without_files_everything_is_missing(judged):
    judgement = judged(files={'notes.txt': 'nothing yet'})
    assert judgement.findings.overall() == 'missing'


def test_a_module_that_can_not_be_built_does_not_hide_the_sizes_of_the_mlp(judged):
    judgement = judged(("'bias': np.zeros(out_features)}", "'bias': np.zeros(out_features, in_features)}"),
                       ('LinearModule(sizes[i], sizes[i + 1],', 'LinearModule(sizes[0], sizes[i + 1],'))
    assert causes(judgement, 'linear') == ['can not be built']
    assert causes(judgement, 'mlp') == ['inherited', 'layer sizes']
    assert 'a tuple' in judgement.findings.of('linear')[0].hint


def test_the_page_in_the_docs_is_what_comes_out(judged):
    judgement = judged(('dout.sum(axis=0)', 'dout.mean(axis=0)'),
                       ('(dout - (dout * self.y).sum(axis=1, keepdims=True))', 'dout * (1 - self.y)'))
    shown = (ROOT / 'docs' / 'grading.md').read_text(encoding='utf-8').split('```text\n')[1].split('\n```')[0]
    wrong = [finding for part in CORE for finding in judgement.findings.of(part, 'wrong')]
    assert shown == '\n\n'.join(report.paragraph(finding, number) for number, finding in enumerate(wrong, 1))


def test_files_in_the_only_folder_that_has_them_are_found(server, tmp_path):
    small_solutions.write(tmp_path / 'student' / 'assignment1' / 'code')
    assert judge(server, tmp_path / 'student').findings.overall() == 'right'
