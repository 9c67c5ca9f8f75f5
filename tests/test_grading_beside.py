"""The rest of the assignment, where it lies beside the NumPy half: the PyTorch MLP and the training scripts."""

import sys

import pytest

import small_solutions
from conftest import ROOT
from grading.judge import judge
from grading.remote import Server

pytest.importorskip('torch')
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
    assert [findings.verdict(part) for part in ('pytorch', 'training')] == ['right', 'right']
    assert [finding.text for finding in findings.of('pytorch') + findings.of('training')] == []


def test_the_solution_of_this_project_is_right_in_its_scripts_too(server):
    findings = judge(server, ROOT).findings
    assert [(findings.verdict(part), findings.of(part)) for part in ('pytorch', 'training')] == [('right', [])] * 2


NORM = '            if use_batch_norm:\n                layers.append(nn.BatchNorm1d(out))\n'
MISTAKES = {
    'no module': ([('class MLP(nn.Module)', 'class MLP(object)'), ('super().__init__()\n        layers', 'layers')],
                  'pytorch', 'no nn.Module'),
    'probabilities': ([('nn.Linear(n_inputs, n_classes))', 'nn.Linear(n_inputs, n_classes))\n        '
                                                           'layers.append(nn.Softmax(dim=1))')],
                      'pytorch', 'probabilities in place of logits'),
    'activation at the end': ([('nn.Linear(n_inputs, n_classes))', 'nn.Linear(n_inputs, n_classes))\n        '
                                                                   'layers.append(nn.ELU())')],
                              'pytorch', 'activation behind the last layer'),
    'no activation': ([('            layers.append(nn.ELU())\n', '')], 'pytorch', 'no activation'),
    'sizes': ([('            n_inputs = out\n', '')], 'pytorch', ''),
    'a plain list': ([('self.layers = nn.Sequential(*layers)', 'self.layers = layers'),
                      ('return self.layers(x.flatten(1))', 'x = x.flatten(1)\n        for layer in self.layers:\n      '
                                                           '      x = layer(x)\n        return x'),
                      ('return next(self.parameters()).device', "return 'cpu'")],
                     'pytorch', 'layers not registered'),
    'norm ignored': ([(NORM, '')], 'pytorch', 'batch norm missing'),
    'norm behind': ([(NORM + '            layers.append(nn.ELU())\n', '            layers.append(nn.ELU())\n' + NORM)],
                    'pytorch',
                    'batch norm behind the activation'),
    'no gradient': ([('return self.layers(x.flatten(1))',
                      'return self.layers[-1](self.layers[:-1](x.flatten(1)).detach())')],
                    'pytorch', 'no gradients'),
    'accuracy': ([('(predictions.argmax(axis=1) == targets).mean()', '(predictions.argmax(axis=0) == '
                                                                     'targets[:4]).mean()')], 'training', 'accuracy'),
    'mean of batches': ([('* len(y)\n        count += len(y)\n    return right / count\n\ndef train(hidden_dims, lr, '
                          'batch',
                          '\n        count += 1\n    return right / count\n\ndef train(hidden_dims, lr, batch')],
                        'training', 'mean of batches'),
    'last model': ([('return best_model, accuracies, evaluate_model(best_model', 'return model, accuracies, '
                                                                                 'evaluate_model(model')], 'training',
                   'not the best model'),
    'no copy': ([('copy.deepcopy(model)', 'model')], 'training', 'not the best model'),
}


@pytest.mark.parametrize('name', MISTAKES)
def test_a_mistake_is_named(judged, name):
    changes, part, cause = MISTAKES[name]
    findings = judged(*changes)
    if not cause:  # what can't be called is not judged, and never wrong
        assert findings.verdict(part) == 'not judged' and 'can not be built or called' in findings.reasons[part]
        return
    assert findings.verdict(part) == 'wrong'
    assert [finding.cause for finding in findings.of(part, 'wrong')] in ([cause], [cause] * 2)
    assert findings.overall() == 'right', 'the verdict is that of the NumPy half'


def test_departures_of_evaluate_model(judged):
    findings = judged(('    mode = model.training\n    model.eval()\n', ''), ('    model.train(mode)\n', ''),
                      ('    with torch.no_grad():\n', '    if True:\n'))
    assert [finding.cause for finding in findings.of('training', 'departs')] == ['evaluation mode', 'no_grad']


def test_scripts_with_other_functions_are_not_judged(judged):
    other = 'def train():\n    pass\n'
    findings = judged(files={**small_solutions.NUMPY_HALF,
                             'train_mlp_numpy.py': 'import nothing_there\nnothing_there.run()\n',
                             'train_mlp_pytorch.py': other, 'mlp_pytorch.py': 'class MLP:\n    def __init__(self):\n   '
                                                                              '     self.x = 1\n'})
    assert findings.verdict('training') == 'not judged' and 'nothing_there' in findings.reasons['training']
    assert findings.verdict('pytorch') == 'not judged'


def test_a_half_that_is_not_there_is_missing(judged):
    assert judged(files=small_solutions.NUMPY_HALF).verdict('pytorch') == 'missing'
