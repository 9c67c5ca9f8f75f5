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
# What https://gradescope-autograders.readthedocs.io/en/latest/specs/ documents: field → type, or values.
TOP = {'score': (int, float), 'execution_time': (int, float), 'output': str, 'output_format': FORMATS,
       'test_output_format': FORMATS, 'test_name_format': FORMATS, 'visibility': VISIBLE, 'stdout_visibility': VISIBLE,
       'extra_data': dict, 'tests': list, 'leaderboard': list}
TEST = {'score': (int, float), 'max_score': (int, float), 'status': {'passed', 'failed'}, 'name': str,
        'name_format': FORMATS, 'number': str, 'output': str, 'output_format': FORMATS, 'tags': list,
        'visibility': VISIBLE, 'extra_data': dict}


def assert_documented(results):
    for fields, found in [(TOP, results), *((TEST, test) for test in results['tests'])]:
        for name, value in found.items():
            allowed = fields[name]
            assert value in allowed if isinstance(allowed, set) else isinstance(value, allowed), name
            assert not isinstance(value, bool)
    assert results['score'] == sum(test['score'] for test in results['tests'])


@pytest.fixture
def container(tmp_path):
    """The folder /autograder of a container that has unpacked our package."""
    (tmp_path / 'points.json').write_text('{"linear": 2, "training": 0}')
    gradescope.main([str(tmp_path / 'autograder.zip'), '--points', str(tmp_path / 'points.json')])
    with zipfile.ZipFile(tmp_path / 'autograder.zip') as package:
        package.extractall(tmp_path / 'autograder' / 'source')
    return tmp_path / 'autograder'


def results_of(container, python=sys.executable):
    subprocess.run(['bash', str(container / 'source' / 'run_autograder')], capture_output=True, cwd='/',
                   env={**os.environ, 'AUTOGRADER': str(container), 'PYTHON': python})
    return json.loads((container / 'results' / 'results.json').read_text(encoding='utf-8'), parse_constant=pytest.fail)


@pytest.mark.skipif(os.name == 'nt', reason='the container is Linux')
def test_a_submission_is_graded_in_the_container(container):
    small_solutions.write(container / 'submission', changes=[('dout.sum(axis=0)', 'dout.mean(axis=0)')])
    results = results_of(container)
    assert_documented(results)
    assert results['score'] == 5 and [test['score'] for test in results['tests']] == [0, 1, 1, 1, 1, 1, 0, 0]
    assert results['output'].startswith('submission: 4 of 6 NumPy parts correct; 5 of 8 points\n')
    assert str(container) not in json.dumps(results)
    (container / 'source' / 'gradescope.json').unlink()
    for python in (sys.executable, 'false', 'no-such-python'):  # the grader fails, ends, is not there
        results = results_of(container, python)
        assert_documented(results)
        assert results['output'] == gradescope.FAILED and results['tests'] == []


def test_the_package_has_no_solution(container):
    names = {path.relative_to(container / 'source').as_posix() for path in (container / 'source').rglob('*.py')}
    assert 'grading/worker/operations.py' in names and 'grading/judge.py' in names
    assert not {name for name in names if '/' not in name or name.startswith(('checks', 'tests'))}


def test_a_part_to_look_at_has_no_points():
    results = gradescope.results(entry(judgement(training=(NOT_GRADED, 'no answer'))), strict=False)
    assert_documented(results)
    test = results['tests'][-1]
    assert (results['score'], test['score'], test['max_score']) == (10.5, 0, 0) and 'status' not in test
    assert results['extra_data'] == {'to_look_at': ['training']}


def test_a_part_that_deviates_fails_only_if_the_teacher_is_strict():
    deviating = entry(judgement(('mlp', DEVIATES, 'no input_layer')))
    assert [gradescope.results(deviating, strict)['tests'][5]['status'] for strict in (False, True)] == ['passed', 'failed']


@pytest.mark.parametrize('arguments', [[], ['autograder'], ['a.zip', '--points', 'nowhere.json'], ['no/where/a.zip']])
def test_a_mistaken_argument_is_one_line(arguments, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        gradescope.main(arguments)
    err = capsys.readouterr().err.splitlines()[-1]
    assert ended.value.code == 2 and err.startswith('python -m grading.gradescope: error: ') and not os.listdir()
