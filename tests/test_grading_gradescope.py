"""The autograder for Gradescope: what is in its package, and what it answers in the container's layout."""

import json
import os
import subprocess
import sys
import zipfile

import pytest

import small_solutions
from grading import gradescope
from grading.findings import DEVIATES, NOT_GRADED
from test_grading_report import entry, judgement

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
        assert not [name for name in package.namelist() if name.startswith(('checks', 'tests')) or
                    '/' not in name and name.endswith('.py')]

    def results(python=sys.executable):
        subprocess.run(['bash', str(source / 'run_autograder')], capture_output=True, cwd='/',
                       env={**os.environ, 'AUTOGRADER': str(tmp_path), 'PYTHON': python})
        text = (tmp_path / 'results' / 'results.json').read_text(encoding='utf-8')
        found = json.loads(text, parse_constant=pytest.fail)
        assert_documented(found)
        assert str(tmp_path) not in text
        return found

    small_solutions.write(tmp_path / 'submission', changes=[('dout.sum(axis=0)', 'dout.mean(axis=0)')])
    found = results()
    assert found['score'] == 5 and [test['score'] for test in found['tests']] == [0, 1, 1, 1, 1, 1, 0, 0]
    assert found['output'].startswith('submission: 4 of 6 NumPy parts correct; 5 of 8 points\n')
    (source / 'gradescope.json').unlink()
    for python in (sys.executable, 'false', 'no-such-python'):  # the grader fails, ends, is not there
        found = results(python)
        assert found['output'] == gradescope.FAILED and found['tests'] == []


def test_a_part_to_look_at_has_no_points_and_one_that_deviates_fails_only_if_the_teacher_is_strict():
    solution = entry(judgement(('mlp', DEVIATES, 'no input_layer'), training=(NOT_GRADED, 'no answer')))
    for strict, status in ((False, 'passed'), (True, 'failed')):
        results = gradescope.results(solution, strict)
        assert_documented(results)
        *_, mlp, _, training = results['tests']
        assert mlp['status'] == status and 'status' not in training
        assert (results['score'], training['score'], training['max_score']) == (10.5, 0, 0)
        assert results['extra_data'] == {'to_look_at': ['training']}


@pytest.mark.parametrize('arguments', [[], ['autograder'], ['a.zip', '--points', 'nowhere.json'], ['no/where/a.zip']])
def test_a_mistaken_argument_is_one_line(arguments, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        gradescope.main(arguments)
    err = capsys.readouterr().err.splitlines()[-1]
    assert ended.value.code == 2 and err.startswith('python -m grading.gradescope: error: ') and not os.listdir()
