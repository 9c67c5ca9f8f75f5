"""A class: a page and a JSON for each solution, a summary, points, and a run that goes on where it was."""

import csv
import json
import sys

import pytest

import small_solutions
import unittests
from grading import class_run, sandbox
from grading.command_line import read_points
from grading.findings import CORE, PARTS

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='solutions are run on Linux')

MEAN = ('dout.sum(axis=0)', 'dout.mean(axis=0)')


@pytest.fixture
def submissions(tmp_path):
    """Three students: right, one mistake, nothing."""
    folder = tmp_path / 'submissions'
    small_solutions.write(folder / 'anna')
    small_solutions.write(folder / 'ben', changes=[MEAN])
    (folder / 'cleo').mkdir()
    return [str(folder / name) for name in ('anna', 'ben', 'cleo')]


@pytest.fixture
def run(monkeypatch, capsys):
    """python unittests.py with these arguments → exit code, standard output, standard error."""
    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', ['unittests.py', *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            unittests.main()
        return ended.value.code, *capsys.readouterr()
    return call


def rows_of(folder):
    with open(folder / 'summary.csv', encoding='utf-8', newline='') as file:
        return list(csv.DictReader(file))


def test_a_class_gets_a_summary_pages_and_json(run, submissions, tmp_path):
    graded = tmp_path / 'graded'
    code, out, err = run('--solution', *submissions, tmp_path / 'nowhere', '--report', graded, '--jobs', 2)
    assert code == 1 and '4/4' in err  # the progress bar
    rows = rows_of(graded)
    assert list(rows[0]) == ['solution', 'verdict', *PARTS, 'findings', 'seconds']
    assert [row['solution'] for row in rows] == [*submissions, str(tmp_path / 'nowhere')]
    assert [row['verdict'] for row in rows] == ['right', 'wrong', 'missing', 'missing']
    assert [rows[1][part] for part in CORE] == ['wrong', 'right', 'right', 'right', 'right', 'wrong']
    assert 'mean over the batch' in rows[1]['findings'] and rows[0]['findings'] == ''
    assert 'mean over the batch in place of the sum' in (graded / 'ben.txt').read_text()
    entry = json.loads((graded / 'ben.json').read_text())
    assert entry['score'] == 4 and entry['max_score'] == 8
    assert entry['tests'][0] | {'output': ''} == {
        'name': 'linear module', 'part': 'linear', 'score': 0, 'max_score': 1, 'status': 'failed', 'output': ''}
    assert f'{submissions[1]}: wrong (mean in place of sum)' in out
    assert 'linear: mean in place of sum' in out.split('most frequent errors')[1]


def test_an_interrupted_run_goes_on(run, submissions, tmp_path, monkeypatch):
    graded, judged = tmp_path / 'graded', []
    judge = class_run.judge

    def interrupted(server, path, given):
        judged.append(given)
        if len(judged) == 2:
            raise KeyboardInterrupt
        return judge(server, path, given)

    monkeypatch.setattr(class_run, 'judge', interrupted)
    code, _, err = run('--solution', *submissions, '--report', graded)
    assert code == 130 and 'goes on where it was' in err
    assert rows_of(graded)[0]['verdict'] == 'right'
    run('--solution', *submissions, '--report', graded)
    assert [judged.count(folder) for folder in submissions[:2]] == [1, 2]
    assert [row['verdict'] for row in rows_of(graded)] == ['right', 'wrong', 'missing']
    judged.clear()
    small_solutions.write(submissions[1])  # repaired, and so judged again
    run('--solution', *submissions, '--report', graded)
    assert judged == [submissions[1]]
    assert [row['verdict'] for row in rows_of(graded)] == ['right', 'right', 'missing']


def test_one_solution_is_told_as_it_goes_and_exits_0_where_nothing_is_wrong(run, submissions):
    code, out, _ = run('--solution', submissions[0])
    assert code == 0 and out.splitlines()[1].split() == ['linear', 'module', 'right']
    assert run('--solution', submissions[1])[0] == 1


def test_strict_counts_departures(run, tmp_path):
    folder = small_solutions.write(tmp_path / 'student', changes=[('1 if input_layer else 2', '2')])
    assert run('--solution', folder)[0] == 0
    assert run('--solution', folder, '--strict')[0] == 1


def test_the_teacher_sets_the_points(run, submissions, tmp_path):
    points = tmp_path / 'points.json'
    points.write_text('{"linear": 2.5, "pytorch": 0, "training": 0}')
    run('--solution', *submissions[:2], '--report', tmp_path / 'graded', '--points', points)
    scores = [json.loads((tmp_path / 'graded' / f'{name}.json').read_text())['score'] for name in ('anna', 'ben')]
    assert scores == [7.5, 4]


@pytest.mark.parametrize('text, words', [
    ('{"linear": "a"}', "points of linear are 'a'"), ('[1]', 'one object'), ('{"sofmax": 1}', 'one object'),
    ('{', 'no JSON'), ('{"mlp": -1}', 'at least 0')])
def test_points_that_make_no_sense_are_refused(run, tmp_path, text, words):
    path = tmp_path / 'points.json'
    path.write_text(text)
    code, _, err = run('--solution', tmp_path, '--points', path)
    assert code == 2 and words in err and err.count('\n') == 1


def test_where_no_solution_can_be_run_none_is_blamed(run, submissions, tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, 'command', lambda *arguments: ['false'])
    for arguments in (submissions[:1], [*submissions, '--report', tmp_path / 'graded']):
        code, _, err = run('--solution', *arguments)
        assert code == 2 and 'ended at its start' in err.splitlines()[-1]


def test_points_are_1_where_nobody_says():
    assert read_points(None) == dict.fromkeys(PARTS, 1)


def test_a_report_needs_a_folder_and_solutions(run, tmp_path):
    (tmp_path / 'file').touch()
    assert 'is a file' in run('--solution', tmp_path, '--report', tmp_path / 'file')[2]
    assert '--solution' in run('--report', tmp_path / 'graded')[2]


def test_folders_of_the_same_name_get_different_reports(tmp_path):
    names = class_run.names_of(['a/code', 'b/code', 'b/code/', 'c'])
    assert names[3] == 'c' and len(set(names)) == 4
    assert names[0].endswith('a__code')


def test_a_cell_is_no_formula(tmp_path):
    entry = {'solution': '=1+1', 'verdict': 'right', 'parts': dict.fromkeys(PARTS, 'right'), 'findings': [],
             'seconds': 1}
    class_run.write_summary(tmp_path, [entry])
    assert rows_of(tmp_path)[0]['solution'] == "'=1+1"
