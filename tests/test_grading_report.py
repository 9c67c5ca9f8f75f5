"""What is written about solutions: the page, the JSON, a row, the table, the verdicts, the package for Gradescope."""

import json
import os
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import small_solutions
from approval import assert_approved
from grading import agreement, gradescope, report
from grading.findings import (CORE, CORRECT, DEVIATES, INCORRECT, KINDS, MISSING, NOT_GRADED, NOT_IMPLEMENTED, OPTIONAL,
                              INHERITED, NOTE, PARTS, Place)
from grading.judge import Judgement
from grading.points import BLOCKED, award

POINTS = dict(zip(PARTS, [3, 1, 2.5, 2, 0, 1, 1, 4]))


def judgement(*found, folder='submissions/anna', interface=(), **status):
    """found: the arguments of Findings.add; status: part → its verdict, and why."""
    made = Judgement(folder, interface=list(interface), protection='a process', fingerprint='0123456789abcdef',
                     seconds=2.3456, versions={'Python': '3.11.7', 'NumPy': '2.4.6', 'PyTorch': '2.13.0'})
    for part, kind, text, *more in found:
        made.findings.add(part, kind, text, **(more[0] if more else {}))
    for part, (verdict, reason) in status.items():
        made.findings.status[part] = verdict
        made.findings.reasons |= {part: reason} if reason else {}
    return made


MANY = judgement(
    ('linear', INCORRECT, '∂L/∂b, the gradient of the bias, is averaged over the batch instead of summed, which is a '
     'sentence that takes more than a line.',
     {'cause': 'mean instead of sum', 'place': Place('modules.py', 16), 'example': 'got = [[-1],\n       [1]]',
      'quote': "self.grads['bias'] = dout.mean(axis=0)", 'hint': '∂L/∂b = Σ_s ∂L/∂Y_s'}),
    ('linear', INCORRECT, 'forward raises KeyError (modules.py, line 12).',
     {'cause': 'raises KeyError', 'place': Place('modules.py', 12)}),
    ('linear', DEVIATES, 'the weights start with 2/√M.', {'place': Place('modules.py', 7)}),
    ('softmax', INCORRECT, 'forward has the wrong sign.', {'cause': 'sign'}),
    ('softmax', NOTE, 'αβγ is changed in place (modules.py, line 20).', {'place': Place('modules.py', 20)}),
    ('softmax', NOTE, 'clear_cache prints 7 characters.'),
    ('softmax_cross_entropy', INCORRECT, 'Incorrect only because softmax is (see there).', {'cause': INHERITED}),
    ('mlp', INCORRECT, 'Incorrect only because LinearModule is (see there).', {'cause': INHERITED}),
    ('training', INCORRECT, 'accuracy gives 2.', {'cause': 'accuracy'}), folder='submissions/cleo',
    interface=['weight (out, in)', 'bias (N,)', 'LinearModule(…, lr=0.1)', 'no input_layer', 'activation ELUModule',
               'cross-entropy on labels'], activation=(NOT_IMPLEMENTED, ''))
DEVIATING = judgement(
    ('mlp', DEVIATES, 'an empty n_hidden fails.', {'place': Place('mlp_numpy.py', 3)}), folder='dora',
    pytorch=(MISSING, 'no mlp_pytorch.py'), training=(NOT_GRADED, 'it takes other arguments, ' * 8))
EMPTY = judgement(folder='emil', **dict.fromkeys(CORE, (MISSING, 'no modules.py')))


def entry(solution, strict=False, decided=None, points=POINTS):
    record = report.record_of(solution)
    return report.entry_of(Path(solution.folder).name, record, award(record, points, strict, decided))


def test_pages_and_json_are_as_approved_and_a_strict_teacher_gives_no_points_for_a_deviation():
    solutions = judgement(), MANY, DEVIATING, EMPTY
    entries = list(map(entry, solutions))
    assert_approved('grading_pages', '\n\n'.join(map(report.page, entries)))
    assert_approved('grading_json', '\n'.join(f'{key}: {json.dumps(value, ensure_ascii=False)}' for key, value in {
        **entries[2], 'tests': len(entries[2]['tests']), **{test['part']: test for test in entries[2]['tests']}}.items()) + '\n')
    assert [made['score'] for made in entries] == [14.5, 4, 9.5, 5] and entries[0]['max_score'] == 14.5
    assert [entry(solution, strict=True)['score'] for solution in solutions] == [14.5, 4, 8.5, 5]


def points_of(*found, decided=None, **status):
    """What the parts earn that earn something other than their point: part → score, and the note."""
    made = entry(judgement(*found, **status), decided=decided, points=dict.fromkeys(PARTS, 1))
    return {test['part']: (test['score'], test['note']) for test in made['tests'] if test['score'] != 1 or test['note']}


def test_a_mistake_costs_points_once():
    parts = 'linear', 'activation', 'cross_entropy'
    own = [(part, INCORRECT, f'{part} is wrong.', {'cause': 'sign'}) for part in parts]
    follows = ('mlp', INCORRECT, 'Wrong because LinearModule is.', {'cause': 'inherited'})
    assert points_of(*own, ('softmax_cross_entropy', INCORRECT, 'So.', {'cause': 'inherited'}), follows) == {
        **dict.fromkeys(parts, (0, '')), 'softmax_cross_entropy': (1, 'follows from 3'),
        'mlp': (1, 'follows from 1 and 2')}
    assert points_of(*own[:1], follows, ('mlp', INCORRECT, 'Its own.', {'cause': 'order'}))['mlp'] == (0, '')
    assert points_of(*own[:1], ('mlp', INCORRECT, 'Not built.', {'cause': BLOCKED}))['mlp'] == (None, 'follows from 1')
    unusable = points_of(*own[:1], **dict.fromkeys(CORE, (INCORRECT, '')))
    assert unusable == dict.fromkeys(CORE, (None, 'follows from 1')) | {'linear': (0, '')}, 'an import that fails'
    assert points_of(*own[:1], follows, decided={'mlp': (0.5, 'late')})['mlp'] == (0.5, 'set by the teacher: late')


def test_what_could_not_be_graded_is_to_look_at():
    assert points_of(training=(NOT_GRADED, 'why')) == {'training': (None, 'why')}
    assert entry(judgement(training=(NOT_GRADED, 'why')), points=dict.fromkeys(PARTS, 0))['to_look_at'] == []
    assert points_of(activation=(NOT_IMPLEMENTED, ''), pytorch=(MISSING, '')) == {
        'activation': (0, ''), 'pytorch': (0, '')}
    assert points_of(**dict.fromkeys(CORE + ['training'], (MISSING, ''))) == dict.fromkeys(CORE + ['training'], (None, ''))


def test_what_a_student_wrote_is_harmless_text():
    hostile = '\x1b[2J\u202e<b>\u2028a\ttab\x00 /home/teacher/subs/anna/modules.py C:\\Users\\t\\x.py 1/S \ud800'
    found = ('mlp', INCORRECT, f'raises {hostile}', {'quote': hostile, 'example': f'a\n{hostile}', 'cause': hostile})
    made = entry(judgement(found, training=(NOT_GRADED, hostile), interface=[hostile]))
    for text in (report.page(made), report.table([made]), report.one_line(made), str(report.row(made))):
        assert text.replace('\n', '').isprintable() and text.encode(), text
    assert '<b>' in report.page(made) and ' 1/S' in report.page(made)
    assert report.page(made).count('/home/teacher') == 1, 'only in the line that she wrote herself'
    assert report.clean('a\tb\x00\u2028\ue000\n') == 'a b\ufffd \ufffd\n'
    assert len(report.clean('x' * 10 ** 6)) < 3000


def test_a_finding_that_hangs_on_a_version_names_it():
    lacks = "raises AttributeError: module '{}' has no attribute 'float'.", "raises ImportError: cannot import name 'float' from '{}'."
    made = entry(judgement(*(('mlp', INCORRECT, text.format(module)) for module in ('numpy', 'torch', 'typing', 'nets')
                             for text in lacks)))
    assert [finding['text'].rpartition("'")[2] for finding in made['findings']] == [
        version for version in (' (NumPy 2.4.6).', ' (PyTorch 2.13.0).', ' (Python 3.11.7).', '.') for _ in lacks]
    text = 'raises TypeError: only 0-dimensional arrays can be converted to Python scalars'
    assert report.record_of(judgement(('mlp', INCORRECT, text)))['findings'][0]['text'] == f'{text} (NumPy 2.4.6)'


def test_the_verdict_on_a_solution_is_that_of_its_numpy_half():
    def overall(**verdicts):
        found = [(part, kind, 'text') for part, kind in verdicts.items() if kind in KINDS]
        status = {part: (kind, '') for part, kind in verdicts.items() if kind not in KINDS}
        return judgement(*found, **status).findings.overall()

    assert [overall(mlp=NOTE, pytorch=INCORRECT, training=DEVIATES), overall(mlp=DEVIATES),
            overall(linear=DEVIATES, mlp=INCORRECT)] == [CORRECT, DEVIATES, INCORRECT]
    for verdict in (MISSING, NOT_IMPLEMENTED, NOT_GRADED):
        assert overall(**dict.fromkeys(CORE[1:], verdict)) == verdict
        assert overall(mlp=verdict, linear=INCORRECT) == INCORRECT and overall(mlp=verdict, linear=DEVIATES) == verdict
        assert overall(**dict.fromkeys(OPTIONAL, verdict)) == CORRECT
    assert overall(linear=NOT_IMPLEMENTED, mlp=MISSING, softmax=NOT_GRADED) == NOT_GRADED


def test_agreement_counts_parts_and_solutions_that_the_truth_knows(tmp_path, capsys):
    truth = {name: dict.fromkeys(CORE, 'right') for name in 'abd'}
    truth['b'] |= {'linear': 'wrong', 'mlp': 'stub'}
    right = dict.fromkeys(CORE, CORRECT)
    rows = [{'solution': 'x/c', **right}, {'solution': 'x/a', **right, 'linear': DEVIATES},
            {'solution': 'x/b/', **right, 'mlp': INCORRECT}, {'solution': 'd', **right, 'softmax': INCORRECT}]
    text = '\n'.join(','.join(row) for row in [rows[0], *(row.values() for row in rows)])
    (tmp_path / 'summary.csv').write_text('\ufeff' + text, encoding='utf-8')
    (tmp_path / 'truth.json').write_text(json.dumps(truth), encoding='utf-8')
    agreement.main(tmp_path / 'summary.csv', tmp_path / 'truth.json')
    assert capsys.readouterr().out.splitlines()[0] == 'parts: 15 of 18 agree; solutions: 1 of 3 agree in every part'


FORMATS = {'text', 'html', 'simple_format', 'md', 'ansi'}
VISIBLE = {'hidden', 'after_due_date', 'after_published', 'visible'}
NUMBER = (int, float)
# What https://gradescope-autograders.readthedocs.io/en/latest/specs/ documents: field → type, or values.
BOTH = {'score': NUMBER, 'output': str, 'output_format': FORMATS, 'visibility': VISIBLE, 'extra_data': dict}
TOP = {**BOTH, 'execution_time': NUMBER, 'test_output_format': FORMATS, 'test_name_format': FORMATS,
       'stdout_visibility': VISIBLE, 'tests': list, 'leaderboard': list}
TEST = {**BOTH, 'max_score': NUMBER, 'status': {'passed', 'failed'}, 'name': str, 'name_format': FORMATS, 'number': str,
        'tags': list}


def assert_documented(results):
    for fields, found in [(TOP, results), *((TEST, test) for test in results['tests'])]:
        for name, value in found.items():
            allowed = fields[name]
            assert value in allowed if isinstance(allowed, set) else isinstance(value, allowed), name
            assert not isinstance(value, bool)
    assert results['score'] == sum(test['score'] for test in results['tests'])


@pytest.mark.skipif(os.name == 'nt', reason='the container is Linux')
def test_a_submission_is_graded_in_the_container_without_a_solution_of_ours(tmp_path):
    (tmp_path / 'points.json').write_text('{"linear": 2, "training": 0}')
    gradescope.main([str(tmp_path / 'autograder.zip'), '--points', str(tmp_path / 'points.json')])
    source = tmp_path / 'source'
    with zipfile.ZipFile(tmp_path / 'autograder.zip') as package:
        package.extractall(source)
        assert [package.getinfo(name).external_attr >> 16 for name in ('setup.sh', 'run_autograder')] == [0o755] * 2
        assert not [name for name in package.namelist() if name.startswith(('checks', 'tests')) or
                    '/' not in name and name.endswith('.py')]

    errors = []

    def results(python=sys.executable):
        (tmp_path / 'results' / 'results.json').unlink(missing_ok=True)
        ended = subprocess.run(['bash', str(source / 'run_autograder')], capture_output=True, cwd='/',
                               env={**os.environ, 'AUTOGRADER': str(tmp_path), 'PYTHON': python})
        errors.append(ended.stderr.decode())
        text = (tmp_path / 'results' / 'results.json').read_text(encoding='utf-8')
        found = json.loads(text, parse_constant=pytest.fail)
        assert_documented(found)
        assert str(tmp_path) not in text
        return found

    small_solutions.write(tmp_path / 'submission', changes=[('dout.sum(axis=0)', 'dout.mean(axis=0)')])
    found = results()
    assert found['score'] == 5 and [test['score'] for test in found['tests']] == [0, 1, 1, 1, 1, 1, 0, 0]
    assert found['output'].startswith('submission: 4 of 6 NumPy parts correct; 5 of 8 points\n')
    assert f'* Graded with Python {platform.python_version()}, NumPy ' in found['output']
    (source / 'gradescope.json').unlink()
    for python in (sys.executable, 'false', 'no-such-python'):  # the grader fails, ends, is not there
        found = results(python)
        assert found['output'] == gradescope.FAILED and found['tests'] == []
    assert 'grading.gradescope: FileNotFoundError: ' in errors[-3], 'for the teacher'


def test_a_part_to_look_at_has_no_points_and_one_that_deviates_fails_only_if_the_teacher_is_strict():
    solution = entry(judgement(('mlp', DEVIATES, 'no input_layer'), training=(NOT_GRADED, 'no answer')))
    for strict, status in ((False, 'passed'), (True, 'failed')):
        results = gradescope.results(solution, strict)
        assert_documented(results)
        *_, mlp, _, training = results['tests']
        assert mlp['status'] == status and 'status' not in training
        assert [results['score'], *(training[key] for key in ('score', 'max_score', 'name'))] == [
            10.5, 0, 0, 'training scripts (not graded, your teacher will look at it)']
        assert results['extra_data'] == {'to_look_at': ['training']}
