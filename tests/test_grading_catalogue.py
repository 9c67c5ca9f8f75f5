"""What the judge calls each mistake, and the text that a student reads, in catalogues: see catalogue.py."""

import itertools
import re

import pytest

import catalogue
import small_solutions
from conftest import LINUX, ROOT
from grading import activation_part, interface, judge as judging, linear_part, many_calls, remote, report
from grading.findings import CORE, CORRECT, INCORRECT
from grading.interface import LinearMaker
from in_process import Server

pytestmark = pytest.mark.skipif(not LINUX, reason='solutions are run on Linux')

LEAKY = [('self, alpha', 'self, neg_slope'), ('self.alpha = alpha', 'self.alpha = neg_slope'),
         ('self.alpha * (np.exp(x) - 1)', 'self.alpha * x'), ('self.alpha * np.exp(self.x)', 'self.alpha'),
         ('class ELUModule', 'class LeakyReLUModule'), ('ELUModule(alpha=1.0)', 'LeakyReLUModule(neg_slope=0.1)')]


def _linear_is_right(context):
    context.session.ask('seed', number=3)
    context.linear = LinearMaker(context.session)
    context.forgets.add('LinearModule')


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """judged(changes, parts=…, …) → the Judgement of the small solution with these changes, in these parts."""
    monkeypatch.setattr(linear_part, 'LARGE', (128, 20, 10))  # smaller sizes and fewer calls than those of the assignment
    monkeypatch.setattr(many_calls, 'ASSIGNMENT', [[20, 15, 10], 20, 10])
    monkeypatch.setattr(many_calls, 'CALLS', 60)
    numbers, judges = itertools.count(), dict(judging.JUDGES)

    def run(changes=(), within='class MLP', parts=CORE, files=small_solutions.NUMPY_HALF):
        for part in CORE:  # to save time
            right = _linear_is_right if part == 'linear' and 'mlp' in parts else lambda context: None
            monkeypatch.setitem(judging.JUDGES, part, judges[part] if part in parts else right)
        folder = small_solutions.write(tmp_path / str(next(numbers)), catalogue.changed(files, changes, within))
        return judging.judge(Server(), folder)

    return run


def verdicts(findings, parts):
    return [f'{part}: {findings.verdict(part)} {findings.reasons.get(part, "")}'.strip() for part in parts
            if findings.verdict(part) != CORRECT]


@pytest.mark.parametrize('part, cls', [
    ('linear', 'LinearModule'), ('activation', 'ELUModule'), ('softmax', 'SoftMaxModule'),
    ('cross_entropy', 'CrossEntropyModule')])
def test_each_mistake_in_a_module_is_told_as_approved(judged, part, cls):
    seen = set()

    def told(title, changes):
        files = catalogue.changed(small_solutions.NUMPY_HALF, LEAKY if title else [])
        findings = judged(changes, f'class {title or cls}', [part], files).findings
        return verdicts(findings, [part] if part in findings.status else []) + catalogue.told(findings.of(part), seen)

    catalogue.assert_catalogue(f'grading_{part}', told)


def test_rounding_of_float32_is_no_error_and_the_same_difference_in_float64_is_one(judged):
    for kind, verdict in ('np.float32', CORRECT), ('float', INCORRECT):
        changes = [('return np.where(x', 'return (1.00002 * np.where(x'),
                   ('(np.exp(x) - 1))', f'(np.exp(x) - 1))).astype({kind})')]
        assert judged(changes, 'class ELUModule', ['activation']).findings.verdict('activation') == verdict


def test_each_mistake_in_the_mlp_is_told_as_approved(judged):
    seen = set()

    def told(title, changes):
        findings = judged(changes, parts=['activation', 'mlp']).findings
        return verdicts(findings, ['mlp'] if 'mlp' in findings.status else []) + catalogue.told(findings.of('mlp'), seen)

    catalogue.assert_catalogue('grading_mlp', told)


@pytest.mark.parametrize('name, parts', [('inherited', CORE[4:]), ('chain', CORE[4:]), ('variants', CORE)])
def test_what_is_said_of_whole_solutions_is_told_as_approved(judged, name, parts):
    seen = set()

    def told(title, changes):
        files = dict(small_solutions.NUMPY_HALF)
        if 'training script' in title:
            files['train_mlp_numpy.py'] = 'from modules import SoftMaxModule\nsoftmax = SoftMaxModule()\n'
        findings = judged(changes, files=files).findings
        found = [finding for part in parts for finding in findings.of(part) if finding.cause != 'log of 0']
        return verdicts(findings, CORE) + catalogue.told(found, seen)

    catalogue.assert_catalogue(f'grading_{name}', told)


def test_a_right_solution_in_its_process_is_right_with_names_that_numpy_no_longer_has(tmp_path):
    old = '''__import__('operator').attrgetter(*'int bool object float_ NaN cumproduct alltrue sometrue row_stack'.split())(np)
        assert np.in1d([1], [np.asscalar(np.product([1]))]).all() and np.Inf > np.float_(0)
        np.reshape(x, newshape=-1)
        one_hot = np'''
    folder = small_solutions.write(tmp_path, changes=[('-np.log', 'np.float(-1) * np.log'), ('one_hot = np', old)])
    with remote.Server(bubblewrap=False) as server:
        findings = judging.judge(server, folder).findings
    assert verdicts(findings, CORE) == [] and findings.overall() == CORRECT
    assert 'modules.py uses np.float, which NumPy' in ' '.join(note.text for note in findings.of('linear', 'note'))


@pytest.mark.parametrize('body', ['', 'raise NotImplementedError\n        '])
def test_starter_code_is_a_stub_in_every_part(judged, body):
    # The editions differ: a name that was never set is returned, or an exception is raised before that.
    files = {name: re.sub(r'(def (?:__init__|forward|backward|clear_cache)\(.*\):\n)(?:        .*\n|\n(?=        ))+',
                          rf'\1        """Docs."""\n        {body}return out\n', text)
             for name, text in small_solutions.NUMPY_HALF.items()}
    findings = judged(files=files).findings
    assert verdicts(findings, CORE) == [f'{part}: not implemented' for part in CORE]
    assert findings.overall() == 'not implemented' and findings.found == []
    half = {name: re.sub(rf'(backward.*\n.*\n        ){body}return out', r'\1return 2 * dout', text)
            for name, text in files.items()}
    findings = judged(files=half).findings
    assert 'not implemented' not in [findings.verdict(part) for part in ('linear', 'softmax', 'cross_entropy')]


def test_a_mistake_in_an_imported_file_has_its_line(judged):
    core = small_solutions.MODULES.replace('dout.T @', '2 * dout.T @')
    files = small_solutions.NUMPY_HALF | {'modules.py': 'from layers.core import *', 'layers/core.py': core}
    finding, = judged(files=files).findings.of('linear', 'incorrect')
    assert (finding.place.file, finding.quote) == ('layers/core.py', core.splitlines()[finding.place.line - 1].strip())


def test_a_solution_that_takes_long_in_all_is_not_graded(judged, monkeypatch):
    monkeypatch.setattr(interface, 'CALLS', 0)
    findings = judged().findings
    assert {findings.verdict(part) for part in CORE} == {'not graded'}
    assert findings.reasons['linear'].endswith('all calls together take longer than 0 s: use a larger --timeout')


def test_of_very_many_activations_the_first_are_graded(judged, monkeypatch):
    monkeypatch.setattr(activation_part, 'MOST', 2)
    elu = small_solutions.MODULES.partition('class ELU')[2].partition('class SoftMax')[0]
    more = ''.join(f'class ELU{i}{elu}'.replace('return np', 'return 2 * np') for i in range(3))
    findings = judged(files={'modules.py': small_solutions.MODULES + more}).findings
    assert [finding.text for finding in findings.of('activation', 'note')] == [
        'Only the first 2 of 4 activations are graded.']
    assert len({finding.text for finding in findings.of('activation', 'incorrect')}) == 1
    assert findings.verdict('mlp') == 'missing'


def test_without_files_everything_is_missing(judged):
    assert judged(files={'notes.txt': 'nothing yet'}).findings.overall() == 'missing'


def test_the_page_in_the_docs_is_what_comes_out(judged):
    judgement = judged([('dout.sum(axis=0)', 'dout.mean(axis=0)'),
                        ('(dout - (dout * self.y).sum(axis=1, keepdims=True))', 'dout * (1 - self.y)')])
    shown = (ROOT / 'docs' / 'grading.md').read_text(encoding='utf-8').split('```text\n')[1].split('\n```')[0]
    assert f'\n\n{shown}\n' in report.details(report.record_of(judgement))
