"""The rest of the assignment, next to the NumPy half: the PyTorch MLP and the training scripts."""

import itertools
import re
import sys

import numpy as np
import pytest

import catalogue
import in_process
import small_solutions
from approval import APPROVED, assert_approved
from conftest import ROOT
from grading import training_part
from grading.judge import judge
from grading.remote import Server
from grading.worker import training, watch

torch = pytest.importorskip('torch')
pytestmark = [pytest.mark.skipif(not sys.platform.startswith('linux'), reason='solutions are run on Linux'),
              pytest.mark.xdist_group('torch')]  # one process imports PyTorch
# Without a modules.py, so that the NumPy half is not judged.
NETS = {'layers.py': small_solutions.MODULES, 'mlp_numpy.py': small_solutions.MLP_NUMPY.replace('modules', 'layers'),
        'mlp_pytorch.py': small_solutions.MLP_PYTORCH}


@pytest.fixture
def judged(tmp_path):
    """The Findings about a solution."""
    folders = (tmp_path / str(number) for number in itertools.count())
    return lambda files: judge(in_process.Server(), small_solutions.write(next(folders), files)).findings


def told(findings, part, seen):
    """What was found in a part, as the student reads it; the verdict if that is all, or no verdict could be given."""
    found = [each for each in findings.of(part) if part not in findings.status or each.cause != 'not graded']  # told above
    verdict = [f'[{findings.verdict(part)}{", retry" * findings.retry}] {findings.reasons.get(part, "")}'.rstrip()]
    return verdict * (not found or part in findings.status) + catalogue.told(found, seen)


def test_the_solution_of_this_project_is_right_in_its_scripts_too():
    with Server(bubblewrap=False, timeout=60) as server:
        findings = judge(server, ROOT).findings
    assert [(findings.verdict(part), findings.of(part)) for part in ('pytorch', 'training')] == [('correct', [])] * 2


def test_each_mistake_in_the_mlp_is_told_as_approved(judged):
    right, seen = {'mlp_pytorch.py': small_solutions.MLP_PYTORCH}, set()
    catalogue.assert_catalogue('grading_pytorch', lambda title, changes: told(
        judged(catalogue.changed(right, changes)), 'pytorch', seen))


def test_each_mistake_in_a_function_of_a_script_is_told_as_approved(judged, monkeypatch):
    judges, scripts, seen = dict(training_part.JUDGES), training_part.SCRIPTS, set()
    images_and_labels = training_part.data(np.random.default_rng(5))
    monkeypatch.setattr(training_part, 'data', lambda rng: images_and_labels)  # made once, to save time

    def told_of_function(title, changes):
        function, script = title.split(' of ')
        for name in judges:
            monkeypatch.setitem(training_part.JUDGES, name, judges[name] if name == function else lambda *_: None)
        monkeypatch.setattr(training_part, 'SCRIPTS', {script[:-3]: scripts[script[:-3]]})
        text = small_solutions.WHOLE[script].replace('from modules', 'from layers').replace('lr=lr', 'lr=2 * lr')
        wrong = catalogue.changed({script: text}, changes, f'def {function}')
        return told(judged({**NETS, **wrong}), 'training', seen)

    catalogue.assert_catalogue('grading_training', told_of_function)


def test_a_wrong_evaluate_model_is_no_error_of_train_too(judged):
    text = small_solutions.TRAIN_MLP_NUMPY.replace('from modules', 'from layers')
    findings = judged({**NETS, 'train_mlp_numpy.py': text.replace('right / count', 'right / (3 * count)')})
    assert [finding.cause for finding in findings.of('training', 'incorrect')] == ['evaluate_model']


def test_scripts_that_cannot_be_judged_are_told_as_approved(judged, monkeypatch):
    lines, seen = [], set()
    approved = (APPROVED / 'grading_scripts.txt').read_text(encoding='utf-8')
    for case in approved.split('===== ')[1:]:  # a title, the files, the findings
        title = case.partition('\n')[0]
        files = re.findall(r'^### (.*)\n((?:[^#\[].*\n|\n)*)', case, re.M)
        if title == 'without PyTorch':
            monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
        findings = judged({**NETS, **dict(files)})
        lines += [f'===== {title}', *(f'### {name}\n{text[:-1]}' for name, text in files)]
        lines += told(findings, 'training', seen)
    assert findings.reasons['pytorch'] == 'PyTorch is not installed here'
    assert_approved('grading_scripts', '\n'.join(lines) + '\n')


@pytest.mark.parametrize('torch_kind', [False, True])
def test_scripts_find_a_tiny_data_set_in_place_of_cifar10_utils(monkeypatch, torch_kind):
    monkeypatch.setitem(sys.modules, 'cifar10_utils', None)
    images = {'train': np.arange(60, dtype=np.float32).reshape(5, 3, 2, 2), 'test': np.zeros((3, 3, 2, 2), np.float32)}
    labels = {'train': [np.array([0, 1, 2, 3, 4]), np.array([5, 6, 7, 8, 9])], 'test': [np.array([1, 2, 3])]}
    pictures = images['train'].tolist()
    training.use_data(images, labels, torch_kind)
    tiny = sys.modules['cifar10_utils']

    def of(array, kind=torch.Tensor if torch_kind else np.ndarray):
        assert isinstance(array, kind)
        return array.tolist()

    split = tiny.get_cifar10('data/', validation_size=2)['train']
    assert [len(split), split.data.shape, split.targets.tolist()] == [5, (5, 2, 2, 3), [0, 1, 2, 3, 4]]
    assert [of(split[2][0], torch.Tensor), split[2][1]] == [pictures[2], 2]  # also for a script without PyTorch
    with monkeypatch.context() as without_torch:
        without_torch.setattr('importlib.util.find_spec', lambda name: None)
        assert of(tiny.DataSet(images['train'], [0, 1, 2])[2][0], np.ndarray) == pictures[2]
    with pytest.raises(ImportError, match='the grader gives its own cifar10_utils, which has no get_images'):
        tiny.get_images()
    loaders = tiny.get_dataloader(tiny.get_cifar10(), 2)
    train, test = loaders['train'], loaders['test']
    assert [of(part) for part in tiny.first_batch(train)] == [pictures[:2], [0, 1]]
    with watch.Watch(torch_kind, {}) as noted:
        for noted.trained, first, second in (0, [0, 1], [2, 3]), (1, [0, 1], [2, 3]), (2, [5, 6], [7, 8]), (9, [5, 6], [7, 8]):
            batches = []
            for x, y in train:
                batches.append((of(x), of(y)))
                x[:], y[:] = 0, 0  # what a script does to a batch stays there
            assert batches == [(pictures[:2], first), (pictures[2:4], second)]
    assert [of(y) for _, y in test] == [[1, 2], [3]]
