"""A catalogue of mistakes in the NumPy MLP, and of what follows from wrong modules in the parts below them.

What the judge calls each, and the texts that a student reads, approved as a whole.
"""

import itertools
import sys

import pytest

import small_solutions
from approval import assert_approved
from forked import Server
from grading import judge as judging
from grading.findings import CORE
from grading.interface import LinearMaker
from small_solutions import (BUILT, E, H, HOT, JACOBIAN, LOSS, LOSS_GRADIENT, PICKED, ROW, SLOPE, W, X, Y)

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='solutions are run on Linux')

# The lines of the small solution that are changed.
START = '        self.layers = []\n'
HIDDEN = '            self.layers.append(LinearModule(sizes[i], sizes[i + 1], input_layer=i == 0))\n'
ACTIVATION = '            self.layers.append(ELUModule(alpha=1.0))\n'
LAST = '        self.layers.append(LinearModule(sizes[-2], sizes[-1], input_layer=not n_hidden))\n'
SOFTMAX = '        self.layers.append(SoftMaxModule())\n'
SIZES = 'sizes = [n_inputs, *n_hidden, n_classes]'
RESHAPE = 'x = x.reshape(len(x), -1)\n'
FORWARD = '            x = layer.forward(x)\n        return x'
BACKWARD = '            dout = layer.backward(dout)'
REVERSED = 'reversed(self.layers)'
CLEAR = '            layer.clear_cache()'
# (the cause that it has to have, what stands in the solution, what the mistake puts instead, further changes)
MLP = [
    ('no activation', ACTIVATION, ''),
    ('activation after the last layer', SOFTMAX, '        self.layers += [ELUModule(1.0), SoftMaxModule()]\n'),
    ('activation after the last layer', SOFTMAX, '        self.layers += [ELUModule(1.0), SoftMaxModule()]\n',
     (ACTIVATION, '')),
    ('softmax twice', SOFTMAX, 2 * SOFTMAX),
    ('no softmax', SOFTMAX, ''),
    ('softmax instead of the activation', ACTIVATION, '    ' + SOFTMAX),
    ('no softmax', SOFTMAX, '        self.layers.append(ELUModule(1.0))\n'),
    ('softmax after the hidden layers', ACTIVATION, ACTIVATION + '    ' + SOFTMAX),
    ('activation of the input', START, '        self.layers = [ELUModule(1.0)]\n'),
    ('unexplained', FORWARD, FORWARD + ' ** 2'),
    ('unexplained', FORWARD, FORWARD + '[:, :2]'),
    ('unexplained', FORWARD, FORWARD + ' * np.inf'),
    ('raises no array', FORWARD, FORWARD + ', self.layers'),
    ('raises AttributeError', FORWARD, FORWARD + '.numpy()'),
    ('raises ValueError', FORWARD, FORWARD.replace('forward(x)', 'forward(x.T)')),
    ('batch of one', FORWARD, FORWARD.replace('return x', 'return np.squeeze(x)')),
    ('batch of one', FORWARD, FORWARD.replace('return x', 'return x / (1 + (len(x) == 1))')),
    ('batch of one', FORWARD, FORWARD.replace('return x', 'assert len(x) > 1\n        return x')),
    ('softmax left out of backward', REVERSED, 'self.layers[-2::-1]'),
    ('activation left out of backward', BACKWARD, '            if not isinstance(layer, ELUModule):\n    ' + BACKWARD),
    ('activation and softmax left out', BACKWARD, '            if isinstance(layer, LinearModule):\n    ' + BACKWARD),
    ('backward does nothing', REVERSED, '[]'),
    ('not the first layer', REVERSED, 'self.layers[:0:-1]'),
    ('unexplained', BACKWARD, BACKWARD + ' * 0.9'),
    ('raises ValueError', REVERSED, 'self.layers'),
    ('raises NameError', BACKWARD, BACKWARD.replace('(dout)', '(grad)')),
    ('raises ValueError', BACKWARD, BACKWARD.replace('(dout)', '(dout.T)')),
    ('batch of one', BACKWARD, BACKWARD + ' * (1 + (len(dout) == 1))'),
    ('one activation object', START, START + '        elu = ELUModule(1.0)\n', ('ELUModule(alpha=1.0)', 'elu')),
    ('layers left reversed', REVERSED, '(self.layers.reverse() or self.layers)'),
    ('backward changes the network', BACKWARD, BACKWARD + "\n            getattr(layer, 'params', {}).clear()"),
    ('old parameters', f'        {RESHAPE}        for layer in self.layers:\n',
     f"        {RESHAPE}        if not hasattr(self, 'old'):\n            import copy\n            self.old = "
     'copy.deepcopy(self.layers)\n        for layer in self.old:\n'),
    ('unexplained', FORWARD, FORWARD + ' / (1 + (len(x) > 2))'),
    ('layers left reversed', f'for layer in {REVERSED}',
     'self.layers = self.layers[::-1]\n        for layer in self.layers'),
    ('backward changes the network', BACKWARD, BACKWARD + '\n        self.layers = self.layers[::-1]'),
    ('backward changes the network', BACKWARD, BACKWARD + '\n            layer.alpha = 0.5'),
    ('layer sizes', HIDDEN, HIDDEN.replace('sizes[i],', 'sizes[max(i - 1, 0)],')),
    ('layer sizes', LAST, LAST.replace('sizes[-2]', 'sizes[0]')),
    ('layer sizes', LAST, ''),
    ('layer sizes', HIDDEN, '', (LAST, '')),
    ('raises ValueError', RESHAPE, 'x = x.reshape(-1, 3072)\n'),
    ('cannot be built', SIZES, 'sizes = n_inputs + n_hidden + n_classes'),
    ('cannot be built', SIZES, f'{SIZES}\n        for i, n in sizes:\n            print(n)'),
    ('cannot be built', LAST, LAST + "        self.layers[-1].params['weight'] = np.zeros((2, 3, 4))\n"),
    ('empty n_hidden', START, START + '        n_hidden[0]\n'),
    ('empty n_hidden', LAST, LAST.replace('sizes[-2]', 'sizes[-2 if n_hidden else -1]')),
    ('empty n_hidden', FORWARD, FORWARD + ' + 0 * self.layers[2].alpha if len(self.layers) == 2 else x'),
    ('empty n_hidden', BACKWARD, BACKWARD + '\n        self.layers[2]'),
    ('no softmax', SOFTMAX, f'        if n_hidden:\n    {SOFTMAX}'),
    ('softmax left out of backward', REVERSED, 'reversed(self.layers[:-1] if len(self.layers) == 2 else self.layers)'),
    ('initialization', ', input_layer=i == 0', '', (RESHAPE, 'pass\n'), (CLEAR, '            pass')),
    ('initialization', SOFTMAX, SOFTMAX + '        self.layers[0].params["weight"] *= 0.5\n'),
    ('clear_cache', 'for layer in self.layers:\n' + CLEAR, 'pass'),
    ('clear_cache', '    def clear_cache(self):\n        for layer in self.layers:\n' + CLEAR, ''),
    ('clear_cache', CLEAR, '            layer.clear()'),
    ('images', RESHAPE, 'x = x if x.ndim == 2 else x.reshape(len(x), -1)[:, ::-1]\n'),
    ('only small sizes', START, START + '        if n_inputs > 5:\n            raise MemoryError("so large")\n'),
    ('in place', SIZES,
     'n_hidden.append(n_classes)\n        sizes = [n_inputs, *n_hidden]\n        n_hidden = n_hidden[:-1]'),
    ('prints', RESHAPE, f'print(x.shape)\n        {RESHAPE}'),
    ('', 'alpha=1.0', 'alpha=0.5'),
    ('', SIZES, f'{SIZES}\n        self.last = LinearModule(sizes[-2], sizes[-1], not n_hidden)',
     (LAST, '        self.layers.append(self.last)\n')),
    ('', H, 'return np.tanh(x)', (SLOPE, 'return dout * (1 - np.tanh(self.x) ** 2)'), ('class ELU', 'class Tanh'),
     ('ELUModule(', 'TanhModule(')),
    ('', H, 'return x * np.tanh(x)', (SLOPE, 'return dout * (np.tanh(self.x) + self.x * (1 - np.tanh(self.x) ** 2))'),
     ('class ELU', 'class Odd'), ('ELUModule(', 'OddModule(')),
    ('', H, 'return np.where(x > 0, x, self.alpha * x)', (SLOPE, 'return dout * np.where(self.x > 0, 1, self.alpha)'),
     ('class ELU', 'class LeakyReLU'), ('ELUModule(alpha=1.0', 'LeakyReLUModule(alpha=0.25')),
]
MEAN = ("self.grads['bias'] = dout.sum(axis=0)", "self.grads['bias'] = dout.mean(axis=0)")
TWICE = ("+ self.params['bias']", "+ 2 * self.params['bias']")
ONE_OBJECT = [(START, START + '        elu = ELUModule(1.0)\n'), ('ELUModule(alpha=1.0)', 'elu')]
STUB = 'raise NotImplementedError\n        '
ELU_STUB = [(f'self.x = x\n        {H}', f'{STUB}return out'), (SLOPE, STUB + SLOPE)]
SOFTMAX_STUB = [(E, STUB + E), (JACOBIAN, STUB + JACOBIAN)]
NOT_BUILT = BUILT, 'std = np.root'
FUSED = LOSS_GRADIENT, 'return (x - one_hot) / len(y)'
LEFT_OUT = REVERSED, 'reversed(self.layers[:-1])'
OWN = '(np.exp(x) / np.exp(x).sum(axis=1, keepdims=True))'
ROWS = [(PICKED, '(x * y).sum(axis=1)'), (HOT, 'y')]
EPSILON = [(f'np.log({PICKED})', f'np.log({PICKED} + 1e-3)'), ('one_hot / x', 'one_hot / (x + 1e-3)')]
WRONG_LINEAR = [
    [MEAN],
    [TWICE],
    [MEAN, (SLOPE, 'return dout')],
    [(SLOPE, 'return dout'), ('alpha=1.0', 'alpha=0.5')],
    [(H, 'return np.where(x > 0, x, self.alpha * np.exp(x))'), ('alpha=1.0', 'alpha=0.5')],
    [(f'self.x = x\n        {Y}', f'self.x = x\n        x = x * (2 if self.first else 1)\n        {Y}'),
     (BUILT, f'self.first = input_layer\n        {BUILT}')],
    [MEAN, (SOFTMAX, 2 * SOFTMAX)],
    [MEAN, LEFT_OUT],
    [("['weight'] = dout.T", "['weight'] = -dout.T"), LEFT_OUT],
    [MEAN, *ONE_OBJECT],
    [MEAN, (BACKWARD, BACKWARD + ' * 0.9')],
    [TWICE, (FORWARD, FORWARD + ' ** 2')],
    [TWICE, LEFT_OUT],
    [TWICE, ('alpha=1.0', 'alpha=0.5'), (ONE_OBJECT[0][0], ONE_OBJECT[0][1].replace('1.0', '0.5')),
     ('ELUModule(alpha=0.5)', 'elu')],
    [(Y, 'return None')],
    [(X, f'return dout @ {W}.T')],
    [('1 if input_layer else 2', '2'), ('self.x = None\n\nclass ELU', 'self.z = None\n\nclass ELU')],
    [NOT_BUILT, ('n_classes):', 'n_classes, alpha):')],
    [NOT_BUILT, (HIDDEN, HIDDEN.replace('sizes[i],', 'sizes[0],'))],
    [NOT_BUILT, (SIZES, 'sizes = n_inputs + n_hidden')],
    [FUSED, LEFT_OUT, MEAN],
]
CHAIN = [  # of mistakes in the modules that show in the parts below them
    [(ROW, 'self.y = e / e.sum(axis=0)')],
    [(ROW, 'self.y = x / 0')],
    [('        return self.y\n', '')],
    [(JACOBIAN, 'return dout * self.y')],
    [(JACOBIAN, f'{JACOBIAN} * (1 + (len(dout) == 1))')],
    [(LOSS, LOSS.replace('mean', 'sum')), (LOSS_GRADIENT, 'return -one_hot / x')],
    [(JACOBIAN, 'return dout * self.y'), (LOSS_GRADIENT, 'return -one_hot / x')],
    [(HOT, 'np.eye(y.max() + 1)[y]')],
    ELU_STUB,
    SOFTMAX_STUB,
    [*ELU_STUB, *SOFTMAX_STUB],
    [*ELU_STUB, (ACTIVATION, '')],
    [('class SoftMaxModule', 'class Softmax'), (SOFTMAX, ''), (FORWARD, f'{FORWARD[:-1]}SoftMaxModule().forward(x)')],
    [(LOSS, STUB + LOSS), (f'one_hot = {HOT}', f'{STUB}one_hot = {HOT}')],
    [FUSED],
    [FUSED, LEFT_OUT],
    [FUSED, (JACOBIAN, 'return dout + 0 * self.y')],
    [(LOSS_GRADIENT, 'return x - one_hot'), LEFT_OUT],
    [(LOSS, LOSS.replace('x[', f'{OWN}[')), (LOSS_GRADIENT, f'return ({OWN} - one_hot) / len(y)'), (SOFTMAX, '')],
    [FUSED, LEFT_OUT, *ROWS],
    [*EPSILON, LEFT_OUT],
    [(LOSS, LOSS.replace(PICKED, f'np.clip({PICKED}, 1e-2, 1)')), LEFT_OUT,
     (LOSS_GRADIENT, 'return (np.clip(x, 1e-2, 1) - one_hot) / len(y)')],
    [(ROW, f'LinearModule.kept = {ROW}'), (JACOBIAN, JACOBIAN.replace('self.y', 'LinearModule.kept')),
     (LOSS, f'LinearModule.kept = x ** 2\n        {LOSS}')],
]
PATTERNS = {  # of solutions that were once graded wrongly: the changes, and other files
    'gradients that add up and that clear_cache keeps': [("['weight'] = dout", "['weight'] += dout"),
                                                         ("['bias'] = dout", "['bias'] += dout")],
    'a forward and a backward that are not implemented': [(RESHAPE, f'{STUB}{RESHAPE}'),
                                                          (f'for layer in {REVERSED}', f'{STUB}for layer in {REVERSED}')],
    'an MLP for images only': [(RESHAPE, 'samples, channels, height, width = x.shape\n        '
                                         'x = x.reshape(samples, channels * height * width)\n')],
    'one activation object and a name that is not defined': [
        *ONE_OBJECT, (BACKWARD, f'{BACKWARD}\n            if len(self.layers) > 4:\n                dout *= scale')],
    'softmax in the training script': [(SOFTMAX, '')],
    'no softmax and no script': [(SOFTMAX, '        # none\n')],
    'an edition without input_layer and clear_cache': [
        (', input_layer=False', ''), (', input_layer=i == 0', ''), (', input_layer=not n_hidden', ''),
        ('(1 if input_layer else 2)', '2'), ('    def clear_cache(self):\n        self.y = None\n', '')],
    'a package that is not here': [('import numpy as np', 'import numpy as np\nfrom nowhere_at_all import softmax'),
                                   (ROW, 'self.y = softmax(x)')],
    'an MLP for small batches only': [(RESHAPE, f'{RESHAPE}        x = x * (1 + (len(x) > 100))\n')],
    'an MLP for few steps only': [(BACKWARD, f'{BACKWARD}\n        MLP.n = getattr(MLP, "n", 0) + 1\n'
                                             '        self.layers *= MLP.n < 500')],
}
FILES = {  # what stands in mlp_numpy.py
    'it is not there': None,
    'the markers of a merge': '<<<<<<< HEAD\n=======\n>>>>>>> main\n',
    'no Python': 'class MLP:\n    def forward(self, x)\n        return x\n',
    'the starter code': 'class MLP(object):\n    def __init__(self, n_inputs, n_hidden, n_classes):\n        pass\n\n'
                        '    def forward(self, x):\n        return out\n\n'
                        '    def backward(self, dout):\n        pass\n',
    'the starter code but for backward': 'class MLP(object):\n    def __init__(self, n_inputs, n_hidden, n_classes):\n'
                                         '        pass\n\n    def forward(self, x):\n        return out\n\n'
                                         '    def backward(self, dout):\n        return self.layer.backward(dout)\n',
    'an import that fails': 'import numpy as np\nnp.load("weights.npy")\n\nclass MLP(object):\n    '
                            'def forward(self, x):\n        return x.T\n',
    'another class': 'class Network(object):\n    pass\n',
}


def heading(changes):
    lines = [line.strip() for old, new in changes for line in (new.strip() or f'without {old.strip()}').splitlines()]
    return f'### {" / ".join(filter(None, lines))}'


def told(judgement, part, seen):
    """The verdict on a part and what is said of it, as the student reads it."""
    findings = judgement.findings
    lines = [f'{part}: {findings.verdict(part)}']
    return '\n'.join([*lines, *small_solutions.told(findings.of(part), seen)])


def _linear_is_right(context):
    context.session.ask('seed', number=3)
    context.linear = LinearMaker(context.session)


@pytest.fixture(autouse=True)
def smaller(monkeypatch):
    small_solutions.judge_faster(monkeypatch)


@pytest.fixture
def linear_is_right(monkeypatch):
    """The linear module, which takes longest, is judged only where it has a mistake; as below, to save time."""
    monkeypatch.setitem(judging.JUDGES, 'linear', _linear_is_right)


@pytest.fixture
def loss_is_right(monkeypatch):
    for part in ('softmax', 'cross_entropy', 'softmax_cross_entropy'):
        monkeypatch.setitem(judging.JUDGES, part, lambda context: None)


@pytest.fixture(scope='module')
def server():
    with Server(timeout=20) as server:
        yield server


@pytest.fixture
def judge(server, tmp_path):
    """Judge the small solution with some changes, or other files."""
    folders = (str(number) for number in itertools.count())
    return lambda changes=(), files=None: judging.judge(
        server, small_solutions.write(tmp_path / next(folders), files, changes))


def told_of_all(judge, mistakes):
    texts, seen = [], set()
    for changes in mistakes:
        findings = (judgement := judge(changes)).findings
        verdicts = [f'{part}: {findings.verdict(part)}' for part in CORE[:4] if findings.verdict(part) != 'correct']
        texts.append('\n'.join([heading(changes), *verdicts, *(told(judgement, part, seen) for part in CORE[4:])]))
    return '\n'.join(texts) + '\n'


def test_each_mistake_is_called_by_its_name_and_told_as_approved(judge, linear_is_right, loss_is_right):
    texts, seen = [], set()
    for cause, *mistake in MLP:
        changes = [mistake[:2], *mistake[2:]]
        judgement = judge(changes)
        causes = {finding.cause for finding in judgement.findings.of('mlp')}
        assert cause in causes or not causes and not cause, (cause, causes, changes)
        texts.append(f'{heading(changes)}\n{told(judgement, "mlp", seen)}')
    assert_approved('grading_mlp', '\n'.join(texts) + '\n')


def test_what_follows_from_a_wrong_linear_module_is_told_as_approved(judge):
    assert_approved('grading_inherited', told_of_all(judge, WRONG_LINEAR))


def test_what_follows_from_other_modules_is_told_as_approved(judge, linear_is_right):
    assert_approved('grading_chain', told_of_all(judge, CHAIN))


def test_solutions_that_were_once_graded_wrongly(judge, monkeypatch):
    small_solutions.judge_faster(monkeypatch, calls=600)
    texts, seen = [], set()
    for name, changes in PATTERNS.items():
        files = dict(small_solutions.NUMPY_HALF)
        if 'script' in name and 'no script' not in name:
            files['train_mlp_numpy.py'] = 'from modules import SoftMaxModule\nsoftmax = SoftMaxModule()\n'
        findings = judge(changes, files).findings
        verdicts = [f'{part}: {findings.verdict(part)} {findings.reasons.get(part, "")}'.strip() for part in CORE
                    if findings.verdict(part) != 'correct']
        found = [finding for finding in findings.found if finding.part in CORE and finding.kind != 'note']
        texts.append('\n'.join([f'### {name}', *verdicts, *small_solutions.told(found, seen)]))
    assert_approved('grading_patterns', '\n'.join(texts) + '\n')


def test_a_file_that_can_not_be_used_is_told_as_approved(judge):
    texts, seen = [], set()
    for what, text in FILES.items():
        judgement = judge(files={'modules.py': small_solutions.MODULES, **({'mlp_numpy.py': text} if text else {})})
        texts.append(f'### {what}\n{told(judgement, "mlp", seen)}')
    assert_approved('grading_mlp_file', '\n'.join(texts) + '\n')
