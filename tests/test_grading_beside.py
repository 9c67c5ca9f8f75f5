"""The rest of the assignment, where it lies beside the NumPy half: the PyTorch MLP and the training scripts."""

import sys

import numpy as np
import pytest

import mistakes_beside
import small_solutions
from approval import assert_approved
from conftest import ROOT
from forked import Server
from grading.findings import Findings
from grading.judge import judge
from grading.worker import training

torch = pytest.importorskip('torch')
pytestmark = [pytest.mark.skipif(not sys.platform.startswith('linux'), reason='solutions are run on Linux'),
              pytest.mark.xdist_group('torch')]  # one server imports PyTorch, once


@pytest.fixture(scope='module')
def server():
    with Server(timeout=60) as server:
        yield server


@pytest.fixture
def judged(server, tmp_path):
    def run(*changes, files=None):
        return judge(server, small_solutions.write(tmp_path / 'student', files or small_solutions.WHOLE,
                                                   changes)).findings
    return run


def test_right_scripts_are_right(judged):
    findings = judged()
    assert [findings.verdict(part) for part in ('pytorch', 'training')] == ['correct', 'correct']
    assert [finding.text for finding in findings.of('pytorch') + findings.of('training')] == []


def test_the_solution_of_this_project_is_right_in_its_scripts_too(server):
    findings = judge(server, ROOT).findings
    assert [(findings.verdict(part), findings.of(part)) for part in ('pytorch', 'training')] == [('correct', [])] * 2


TAKES = '(hidden_dims, lr, batch_size, epochs, seed, data_dir):\n    '
SKELETON = f'''
def accuracy(predictions, targets):
    """Computes the share of right predictions."""
    return accuracy

def evaluate_model(model, data_loader):
    for x, y in data_loader:
        pass

def train{TAKES}np.random.seed(seed)
    cifar10 = cifar10_utils.get_cifar10(data_dir)
    return model, val_accuracies, test_accuracy, logging_info
'''
UNSET = SKELETON.replace('    for x, y in data_loader:\n        pass', '    avg = None\n    return avg')
ELLIPSIS = f'def train{TAKES}loss = ...\n    np.random.seed(seed)\n    return seed'
ONE_LINE = 'def accuracy(predictions, targets):\n    return predictions, targets, 1\n'
FILLED = f'def train{TAKES}info = ...\n    for epoch in range(epochs):\n        pass\n    return 1'
OTHER = 'def train():\n    pass\n'
# The verdict on the scripts, train_mlp_numpy.py and train_mlp_pytorch.py; None where there is none.
SCRIPTS = [
    ('missing', None, None), ('not implemented', UNSET, None), ('not implemented', ELLIPSIS, OTHER), ('not graded', SKELETON, UNSET),
    ('not graded', FILLED, None), ('not graded', 'def train():)', None), ('not graded', None, 'import torch\n'),
    ('not graded', 'import nothing_there\nnothing_there.run()\n' + FILLED, f'import os\nos._exit(3)\n{FILLED}'),
    ('incorrect', ONE_LINE, OTHER), ('not graded', small_solutions.TRAIN_MLP_NUMPY, FILLED),
]


def told(findings, part):
    """What was found in a part, as the student reads it; the verdict where that is all, or could not be given."""
    found = findings.of(part)
    lines = [f'[{findings.verdict(part)}] {findings.reasons.get(part, "")}'.rstrip()] * (
        not found or part in findings.status)
    return '\n'.join([*lines, *small_solutions.told(found, {'', (False, False, False), (False, False, True)})])


def told_of(findings, part, mistake, words=('',)):
    """Of a part what has one of these words in it, under the line that is wrong; the cause is the one it has to be."""
    cause, old, new, *_ = mistake
    about = Findings([finding for finding in findings.of(part) if any(word in finding.text for word in words)])
    if words == ('',):  # what is said of the part as a whole is said of this mistake
        about.status, about.reasons = findings.status, findings.reasons
    assert cause in {about.verdict(part), *(finding.cause for finding in about.found)}, (part, about, new)
    heading = ' / '.join(line.strip() for line in (new or f'without {old}').splitlines() if line.strip())
    return f'### {heading}\n{told(about, part)}'


def test_each_mistake_is_called_by_its_name_and_told_as_approved(server, tmp_path):
    mlps, functions = [], {function: [] for function in mistakes_beside.FUNCTIONS}
    for number, (mlp, mistakes, files) in enumerate(mistakes_beside.solutions()):
        findings = judge(server, small_solutions.write(tmp_path / str(number), files)).findings
        if mlp:
            mlps.append(told_of(findings, 'pytorch', mlp))
        for (name, function), mistake in mistakes.items():
            words = f'{name}.py {function}', f'{name}.py the test accuracy that {function}', f'{function} of {name}.py'
            functions[name, function].append(told_of(findings, 'training', mistake, words))
    assert_approved('grading_pytorch', '\n\n'.join(mlps) + '\n')
    assert_approved('grading_training', '\n'.join(
        f'===== {function} of {name}.py\n\n' + '\n\n'.join(texts) + '\n'
        for (name, function), texts in functions.items()))


def test_scripts_that_can_not_be_judged_are_told_as_approved(server, judged, tmp_path, monkeypatch):
    nets = {'layers.py': small_solutions.MODULES, 'mlp_numpy.py': small_solutions.MLP_NUMPY}
    texts = []
    for number, (verdict, *scripts) in enumerate(SCRIPTS):
        files = {name: text for name, text in zip(('train_mlp_numpy.py', 'train_mlp_pytorch.py'), scripts) if text}
        changes = [('from modules', 'from layers')] * 2 if scripts[0] == small_solutions.TRAIN_MLP_NUMPY else []
        findings = judge(server, small_solutions.write(tmp_path / str(number), {**nets, **files}, changes)).findings
        assert findings.verdict('training') == verdict, files
        shown = {**files, **{name: 'as it should be' for name in files if files[name] == small_solutions.WHOLE[name]}}
        texts.append('\n'.join([*(f'### {name}\n{text.strip()}' for name, text in shown.items()),
                                told(findings, 'training')]))
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    findings = judged()
    texts.append('\n'.join(['### without PyTorch', told(findings, 'pytorch'), told(findings, 'training')]))
    assert_approved('grading_scripts', '\n\n'.join(texts) + '\n')


@pytest.mark.parametrize('torch_kind', [False, True])
def test_scripts_find_a_tiny_data_set_in_place_of_cifar10_utils(monkeypatch, torch_kind):
    monkeypatch.setitem(sys.modules, 'cifar10_utils', None)
    images = {'train': np.arange(60, dtype=np.float32).reshape(5, 3, 2, 2), 'test': np.zeros((3, 3, 2, 2), np.float32)}
    labels = {'train': [np.array([0, 1, 2, 3, 4]), np.array([5, 6, 7, 8, 9])], 'test': [np.array([1, 2, 3])]}
    pictures = images['train'].tolist()
    training.use_data(images, labels, torch_kind)
    tiny = sys.modules['cifar10_utils']

    def of(array):
        assert isinstance(array, torch.Tensor if torch_kind else np.ndarray)
        return array.tolist()

    split = tiny.get_cifar10('data/', validation_size=2)['train']
    assert [len(split), split.data.shape, split.targets.tolist()] == [5, (5, 2, 2, 3), [0, 1, 2, 3, 4]]
    assert [of(split[2][0]), split[2][1]] == [pictures[2], 2]
    loaders = tiny.get_dataloader(tiny.get_cifar10(), 2)
    train, test = loaders['train'], loaders['test']
    assert [of(part) for part in tiny.first_batch(train)] == [pictures[:2], [0, 1]]
    for first, second in ([0, 1], [2, 3]), ([5, 6], [7, 8]), ([5, 6], [7, 8]):  # of each pass: a look at a batch is none
        batches = []
        for x, y in train:
            batches.append((of(x), of(y)))
            x[:], y[:] = 0, 0  # what a script does to a batch stays there
        assert batches == [(pictures[:2], first), (pictures[2:4], second)]
    assert [of(y) for _, y in test] == [[1, 2], [3]]
