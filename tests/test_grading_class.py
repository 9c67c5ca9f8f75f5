"""`unittests.py --solution`: one solution or a class, with a page and a JSON for each, a summary, points, refusals.

Where what is said of a solution is not what is tested, the judge is one that gives verdicts by the name of the folder.
"""

import _thread
import csv
import os
import re
import shutil
import signal
import sys
import threading
from pathlib import Path

import pytest

import small_solutions
import unittests
from approval import assert_approved
from grading import class_run, command_line, judge as judging, records, report, sandbox
from grading.findings import CORE, CORRECT, DEVIATES, INCORRECT, NOT_GRADED, NOT_IMPLEMENTED, PARTS, Findings
from grading.judge import Judgement
from grading.remote import NoServer

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='solutions are run on Linux')

MEAN = ('dout.sum(axis=0)', 'dout.mean(axis=0)')


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """python unittests.py with these arguments in a temporary folder → exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, 'argv', ['unittests.py', *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            unittests.main()
        return ended.value.code, *capsys.readouterr()
    yield call
    signal.signal(signal.SIGINT, signal.default_int_handler)  # an interrupted run leaves the next Ctrl-C to the system


class Judge:
    """A judge that takes the verdicts, or what to raise, from the name of the folder."""

    def __init__(self):
        self.judged, self.servers, self.says, self.retry = [], [], {}, False

    def __call__(self, server, path, given, after_part=lambda part, findings: None):
        self.judged.append(given)
        self.after_part = after_part
        self.servers.append(server)
        says = self.says.get(Path(path).name, {})
        judgement = Judgement(given, protection='none', seconds=1.5)
        for part, verdict in (says() if callable(says) else says).items():
            if verdict in (INCORRECT, DEVIATES):
                judgement.findings.add(part, verdict, f'{part} is so', cause='so')
            else:
                judgement.findings.status[part], judgement.findings.retry = verdict, self.retry
        for part in PARTS:
            after_part(part, judgement.findings)
        return judgement


@pytest.fixture
def judge(monkeypatch):
    judge = Judge()
    for module in (class_run, command_line):
        monkeypatch.setattr(module, 'judge', judge)
    monkeypatch.setattr(sandbox, 'has_bubblewrap', lambda: True)
    return judge


@pytest.fixture
def graded_by(run, judge):
    """Grade folders, with a report → those that were judged now."""
    def call(*arguments):
        judge.judged.clear()
        run('--report', 'graded', '--solution', *arguments)
        return [*judge.judged]
    return call


def folders(*names):
    """Make folders with one file each → their names."""
    for name in names:
        small_solutions.write(name, {'modules.py': 'x = 1'})
    return names


def raises(error):
    def fail(*_):
        raise error
    return fail


def rows():
    with open('graded/summary.csv', encoding='utf-8-sig', newline='') as file:
        return {row['student']: row for row in csv.DictReader(file)}


def verdicts():
    return {student: row['verdict'] for student, row in rows().items()}


def told(text):
    """The text without what differs from machine to machine."""
    return re.sub(r'(sandbox: |Graded with ).*', r'\1…', re.sub(r'\d+\.\d+,class', 'SECONDS,class', text))


def test_a_class_gets_what_is_approved(run, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)
    small_solutions.write(tmp_path / 'class' / 'anna')
    small_solutions.write(tmp_path / 'class' / 'ben', changes=[MEAN])
    (tmp_path / 'class' / 'cleo').mkdir()
    code, out, err = run('--solution', 'class/anna', 'class/ben', '--solution', 'class/cleo', '--report', 'new/graded')
    graded = tmp_path / 'new' / 'graded'
    assert code == 1 and re.search(r'(^|\r)solutions: 100%.* 3/3 .*\d(solution/s|s/solution)\]', err)
    assert {path.name for path in graded.glob('[!.]*')} == {'summary.csv', 'index.html', *(
        f'{name}.{suffix}' for name in ('anna', 'ben', 'cleo') for suffix in ('txt', 'json'))}
    table, page = (graded / 'summary.csv').read_bytes().decode(), (graded / 'ben.txt').read_text('utf-8')
    assert table.count('\r\n') == table.count('\n') == 4 and table[0] == '\ufeff'
    table = table[1:].replace('\r\n', '\n')
    assert_approved('grading_class', told(f'{out}\n--- summary.csv\n{table}\n--- ben.txt\n{page}\n'))
    assert str(tmp_path) not in page and (graded / 'ben.json').read_text('utf-8').startswith('{\n "student": "ben",')


def test_one_solution_is_told_as_approved(run, tmp_path):
    small_solutions.write(tmp_path / 'ben', changes=[MEAN])
    code, out, err = run('--solution', 'ben', '--timeout', 30)
    assert (code, err) == (1, '')
    assert_approved('grading_one', told(out))


def test_a_part_is_told_as_soon_as_it_is_done(run, judge, capsys):
    before = []
    judge.says['anna'] = lambda: judge.after_part('mlp', Findings()) or before.append(capsys.readouterr().out) or {}
    run('--solution', *folders('anna'), '--timeout', 7)
    assert before[0].split() == 'solution: anna NumPy MLP correct 1 of 1'.split() and judge.servers[0].timeout == 7


@pytest.mark.parametrize('says, codes', [
    ({}, (0, 0)), ({'mlp': DEVIATES}, (0, 1)), ({'training': DEVIATES}, (0, 1)), ({'mlp': INCORRECT}, (1, 1)),
    ({'training': INCORRECT}, (1, 1)), ({'training': NOT_GRADED}, (0, 0)),
    (dict.fromkeys(CORE, NOT_IMPLEMENTED), (1, 1))])
def test_the_exit_code_says_whether_something_is_wrong(run, judge, says, codes):
    folders('anna', 'ben')
    judge.says['anna'] = says
    for solutions in (['anna'], ['anna', 'ben'], ['ben', 'anna']):
        assert (run('--solution', *solutions)[0], run('--solution', *solutions, '--strict')[0]) == codes
    points = [re.search(r'anna.* ([\d.]+) of', run('--solution', 'anna', *strict)[1])[1] for strict in ([], ['--strict'])]
    assert float(points[0]) - float(points[1]) == (DEVIATES in says.values())


def test_sigterm_and_sighup_end_the_judging_as_ctrl_c_does(run, judge):
    folders('anna')
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup ignores it
    for number in (signal.SIGTERM, signal.SIGHUP):
        judge.says['anna'] = lambda: signal.raise_signal(number)
        assert run('--solution', 'anna')[::2] == (128 + number, 'unittests.py: interrupted\n')
    signal.signal(signal.SIGHUP, before)


def test_ctrl_c_is_noticed_before_the_next_solution_is_done(run, judge):
    stopped, ended, noticed = threading.Event(), threading.Event(), []

    def hangs():
        judge.servers[0].stop = stopped.set
        _thread.interrupt_main()  # as Ctrl-C on Windows: it wakes nobody up
        noticed.append(stopped.wait(20))
        ended.set()  # nobody waits for this thread if the interrupt comes while it is being started

    judge.says['anna'] = lambda: hangs() or {}
    assert run('--solution', *folders('anna', 'ben'))[0] == 130 and ended.wait(20) and noticed == [True]


def test_an_interrupted_run_resumes(run, judge, graded_by):
    names = folders('anna', 'ben', 'cleo')
    judge.says = {'ben': raises(KeyboardInterrupt), 'cleo': {'mlp': INCORRECT}}
    code, _, err = run('--solution', *names, '--report', 'graded')
    assert code == 130 and err.endswith('unittests.py: interrupted: run the same command again to resume\n')
    assert 'anna' in verdicts() and 'ben' not in verdicts()
    judge.says['ben'] = {}
    assert graded_by(*names) in (['ben', 'cleo'], ['ben'])
    assert verdicts() == {'anna': CORRECT, 'ben': CORRECT, 'cleo': INCORRECT}
    assert graded_by(*names, '--strict') == [] and verdicts()['cleo'] == INCORRECT
    for file, text in (('ben.json', '{'), ('cleo.json', '[]')):
        Path('graded', file).write_text(text)
    os.remove('graded/anna.txt')
    assert 'cleo.json is damaged' in run('--report', 'graded', '--solution', 'ben')[1] and 'cleo' not in verdicts()
    assert graded_by(*names) == ['cleo'] and Path('graded/anna.txt').exists(), 'what is not whole is made again'
    for retry, again in (True, ['anna']), (False, []):
        judge.says['anna'], judge.retry = {'training': NOT_GRADED}, retry
        assert [graded_by(*names, '--timeout', 7 + retry), graded_by(*names, '--timeout', 7 + retry)] == [[*names], again]
    judge.says['anna'] = judge.says['ben'] = raises(KeyboardInterrupt)
    for solutions in (['anna'], ['anna', 'ben']):
        assert run('--solution', *solutions)[2].endswith('unittests.py: interrupted\n')


def test_a_resumed_run_believes_only_entries_that_no_solution_can_have_written(run, judge, graded_by, monkeypatch):
    names, graded = folders('anna', 'ben'), Path('graded')
    judge.says = {'ben': {'mlp': INCORRECT}}
    assert graded_by(*names) == ['anna', 'ben'] and graded_by(*names) == []
    assert (graded / '.key').stat().st_mode & 0o777 == 0o600
    text = (graded / 'ben.json').read_text()
    (graded / 'ben.json').write_text(text.replace(f'"{INCORRECT}"', f'"{CORRECT}"'))
    assert graded_by(*names) == ['ben'] and verdicts()['ben'] == INCORRECT, 'forged'
    (graded / 'anna.json').write_text((graded / 'ben.json').read_text().replace('"ben"', '"anna"'))
    assert graded_by(*names) == ['anna'], 'the seal of another'
    (graded / '.key').chmod(0o644)
    assert graded_by(*names) == ['anna', 'ben'], 'a key that others can read'
    monkeypatch.setattr(sandbox, 'has_bubblewrap', lambda: False)
    assert graded_by(*names) == graded_by(*names) == ['anna', 'ben'] and not (graded / '.key').exists()
    _, out, _ = run('--report', 'graded', '--solution', *names)
    assert out.startswith('warning: a malicious solution could read') and 'Not verified' not in out
    assert '"seal": ""' in (graded / 'ben.json').read_text()
    for protected in (False, True):
        monkeypatch.setattr(sandbox, 'has_bubblewrap', lambda protected=protected: protected)
        assert '\nNot verified: ben. A run' in run('--report', 'graded', '--solution', 'anna')[1]
        assert 'Not verified: ben. A run' in (graded / 'index.html').read_text()
    assert graded_by(*names) == ['ben'] and graded_by(*names) == []


def test_a_report_keeps_its_students_from_run_to_run(run, judge, graded_by):
    folders('a/anna', 'a/Ben', 'b/anna', 'b/ben')
    graded_by('a/anna', 'a/Ben')
    judge.says['anna'] = {'mlp': INCORRECT}
    graded_by('a/anna', '--timeout', 9)
    assert verdicts() == {'anna': INCORRECT, 'Ben': CORRECT}, 'one student again: her row'
    graded_by('b/anna', 'b/ben')
    assert verdicts() == {'anna': INCORRECT, 'b__anna': INCORRECT, 'b__ben': CORRECT, 'Ben': CORRECT}, 'two classes'
    shutil.rmtree('a/anna')
    _, out, _ = run('--solution', 'a/Ben', '--report', 'graded')
    assert list(verdicts()) == ['b__anna', 'b__ben', 'Ben'] and 'anna: ' in out and 'moved to' in out
    assert sorted(os.listdir('graded/gone')) == ['anna.json', 'anna.txt'] and not Path('graded/anna.txt').exists()


def test_a_solution_that_changed_is_judged_again(judge, graded_by, monkeypatch):
    inner = Path(*folders('anna'))
    unread = lambda: [(inner / 'zzz.py').write_text('#' * (2 ** 21 + 1)),
                      (inner / 'x.py').mkdir(), (inner / 'dangling.py').symlink_to(inner / 'nothing')]
    for change, judged in [(lambda: None, ['anna']), (unread, []), *((change, ['anna']) for change in (
                lambda: (inner / 'modules.py').write_text('x = 2'),
                lambda: (inner / 'modules.py').rename(inner / 'mlp_numpy.py'),
                lambda: folders('anna/more'), lambda: (inner / 'weights.txt').write_text('1'),
                lambda: (inner / os.fsdecode(b'\xff.py')).write_text('z = 1'),
                lambda: (inner / 'zz.py').write_text('#' * 10 ** 6),
                lambda: monkeypatch.setattr(judging.platform, 'python_version', lambda: '3.9.0'),
                lambda: monkeypatch.setattr(class_run, '__file__', str(inner.absolute() / 'more' / 'class_run.py'))))]:
        change()
        judging.versions.cache_clear()
        assert graded_by('anna') == judged and graded_by('anna') == []


def test_each_folder_gets_a_name_of_its_own():
    def names(*folders, **known):
        return records.names_for(folders, known)

    assert names('/x/1/code', '/x/2/code', '/y/2/code', '/code', '/x/1/code', '/') == [
        '1__code', 'x__2__code', 'y__2__code', 'code', '1__code', 'solution']
    assert names('/x/Ann', '/x/ann', '/y/b', '/z/c', anna='/z/c', b='/q/b') == [
        'Ann', 'ann__2', 'y__b', 'anna'], 'two names that are one file on some systems; those of earlier runs'
    assert names('/x/ann', Ann='/x/Ann') == ['ann__2']
    for odd in ('n' * 250, 'a\nb', '=cmd()', 'a,"b"', '\u202egnp', os.fsdecode(b'\xff'), 'CON. ', '<script>'):
        name, = names(f'/x/{odd}')
        assert name.isprintable() and len(name.encode()) <= 120 and name.rstrip('. ') == name and not set(name) & set('<>"\\')


def test_several_are_judged_at_a_time(run, judge):
    both = threading.Barrier(2, timeout=20)
    judge.says = {name: lambda: both.wait() and {} or {} for name in ('anna', 'ben')}
    assert run('--solution', *folders('anna', 'ben'), '--jobs', 2, '--timeout', 3)[0] == 0
    assert judge.servers[0].timeout == 3 and not judge.servers[0].work.exists(), 'nothing of it is left'


def test_a_folder_that_the_judge_does_not_foresee_is_a_row(run, judge, graded_by):
    names = folders('=1+1', 'ben', 'a,"b"\nc;=2', 'n' * 250, os.fsdecode(b'\xff'), 'in/' * 500 + 'deep')
    judge.says['=1+1'] = raises(ZeroDivisionError('so it is'))
    code, out, _ = run('--report', 'graded', '--solution', *names)
    assert code == 1 and f'=1+1: {NOT_GRADED}, 0 of 8 points, to look at: all parts\n' in out
    page = Path('graded', '=1+1.txt').read_text(encoding='utf-8')
    assert page.count('(the grader itself failed, ZeroDivisionError: so it is)') == len(PARTS)
    assert 'ben' not in graded_by(*names) and len(rows()) == len(names) and verdicts()["'=1+1"] == NOT_GRADED


def test_code_that_is_the_same_is_seen_and_is_no_verdict(graded_by):
    first, *others = small_solutions.MODULES.split('\nclass ')
    renamed = '\nclass '.join([f'{first}# mine', *reversed(others)]).replace('self.x', 'self.kept').replace('dout', 'd')
    stubs = re.sub(r'(    def .*\n)(        .*\n|\n(?=   ))+', r'\1        pass\n', small_solutions.MODULES)
    for name, text in {'anna': small_solutions.MODULES, 'ben': renamed, 'dora': stubs, 'emil': stubs,
                       'cleo': small_solutions.MODULES.replace('axis=0', 'axis=-2'),
                       'fay': small_solutions.MODULES.replace('dout - (dout * self.y)', 'self.y - (dout * dout)')}.items():
        small_solutions.write(name, {'modules.py': text})
    graded_by('anna', 'ben', 'cleo', 'dora', 'emil', 'fay')
    same = {student: row['same_code'] for student, row in rows().items() if row['same_code']}
    assert same == {'anna': 'ben', 'ben': 'anna'} and set(verdicts().values()) == {CORRECT}


@pytest.mark.parametrize('text, cell', [
    ('=1', "'=1"), ('+1', "'+1"), ('-1', "'-1"), ('@a', "'@a"), ('a=1', 'a=1'), ('', ''), (-1, -1), ('＝1', "'＝1"),
    (' =1', "' =1"), ('a;=1', "a;'=1"), ('a; "-1', "a;' \"-1"), ('[1, -1]', '[1, -1]')])
def test_a_cell_is_no_formula(text, cell):
    assert report.cell(text) == cell


def test_the_teacher_sets_the_points(run, judge, graded_by):
    names = folders('anna', 'ben')
    Path('points.json').write_text('\ufeff{"linear": 2.5, "pytorch": 0, "training": 0, "mlp": 999999.5}')
    judge.says['ben'] = {'linear': DEVIATES, 'mlp': INCORRECT, 'training': NOT_GRADED}

    def points(*more):
        graded_by(*names, *more)
        return [(float(row['points']), float(row['max_points'])) for row in rows().values()]

    assert points('--points', 'points.json') == [(1000006, 1000006), (6.5, 1000006)]
    assert points() == [(8, 8), (6, 8)] and points('--strict') == [(8, 8), (5, 8)]
    assert ('\nThe options have changed, and with them the points of all students. Before: points: 1 for each part; strict: yes; '
            'timeout: 20 s. Now: points: 1 for each part; strict: no; ') in run('--solution', *names, '--report', 'graded')[1]
    assert rows()['ben']['to_look_at'] == 'training' and rows()['ben']['points_training'] == ''
    for text in ('student,part,points,reason\nben,training,0.5,"read it, fine"\nzoe,mlp,0,\n\nanna, mlp, 0, \n',
                 '\ufeffstudent;part;points;reason\r\nben;training;0,5;read it, fine\r\nanna;mlp;0\r\nzoe;mlp;0\r\n'):
        Path('graded/overrides.csv').write_text(text, encoding='utf-8')
        assert points() == [(7, 8), (6.5, 8)] and rows()['ben']['to_look_at'] == ''
        assert 'overrides.csv names students who are not in this report: zoe.' in Path('graded/index.html').read_text()
        page = Path('graded/ben.txt').read_text(encoding='utf-8')
        assert re.search(r'training scripts +\S.* 0.5 of 1 +\(set by the teacher: read it, fine\)\n', page)
        assert Path('graded/overrides.csv').read_text(encoding='utf-8') == text.replace('\r\n', '\n')


def test_what_makes_no_sense_is_refused_as_approved(run, judge, monkeypatch):
    folders('anna', 'ben', 'full', 'copy', 'noserver')
    full = raises(OSError(28, 'No space left on device'))
    judge.says = {'full': full, 'copy': raises(shutil.Error([('a', 'b', 'why')])),
                  'noserver': raises(NoServer('no solution can be run here: give it up'))}
    lines = [run('--solution', 'anna', '--points', '9.json')]
    for number, points in enumerate((b'{', b'\xff', b'[1]', b'{"sofmax": 1}', b'{"linear": "a"}', b'{"mlp": -1}',
                                     b'{"mlp": true}', b'{"mlp": 1e6}', b'{"mlp": NaN}')):
        Path(f'{number}.json').write_bytes(points)
        lines.append(run('--solution', 'anna', '--points', f'{number}.json'))
    Path('old').mkdir()
    for decided in (b'anna,mlp', b'anna;nlp;1;', b'anna,mlp,-1', b'\xff'):
        Path('old/overrides.csv').write_bytes(decided)
        lines.append(run('--solution', 'anna', '--report', 'old'))
    for arguments in (['anna', '--report', '0.json/more'], ['full'], ['copy'], ['noserver'], ['noserver', 'anna']):
        lines.append(run('--solution', *arguments))
    monkeypatch.setattr(records, 'atomic_write', full)
    lines.append(run('--solution', 'anna', '--report', 'graded'))
    assert [code for code, _, _ in lines].count(2) == len(lines) - 2  # 1 for the two that the surroundings end
    assert_approved('grading_refusals', ''.join(err.splitlines()[-1] + '\n' for _, _, err in lines))
