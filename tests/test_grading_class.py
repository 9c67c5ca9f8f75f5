"""`unittests.py --solution`: one solution or a class, with a page and a JSON for each, a summary, points, refusals.

Where what is said of a solution is not what is tested, the judge is one that gives verdicts by the name of the folder.
"""

import errno
import json
import os
import re
import shutil
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

import small_solutions
import unittests
from approval import assert_approved
from grading import class_run, command_line, sandbox
from grading.findings import BESIDE, CORE, PARTS
from grading.judge import Judgement
from grading.remote import NoServer
from training.command_line import ArgumentParser

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
    return call


class Judge:
    """A judge that takes the verdicts, or what to raise, from the name of the folder."""

    def __init__(self):
        self.judged, self.servers, self.says = [], [], {}

    def __call__(self, server, path, given, tell=lambda part, findings: None):
        self.judged.append(given)
        self.servers.append(server)
        says = self.says.get(Path(path).name, {})
        if callable(says):
            says = says()
        judgement = Judgement(given, protection='none', seconds=1.5)
        for part, verdict in says.items():
            if verdict in ('wrong', 'departs'):
                judgement.findings.add(part, verdict, f'{part} is so', cause='so')
            else:
                judgement.findings.status[part] = verdict
        for part in PARTS:
            tell(part, judgement.findings)
        return judgement


@pytest.fixture
def judge(monkeypatch):
    judge = Judge()
    monkeypatch.setattr(class_run, 'judge', judge)
    monkeypatch.setattr(command_line, 'judge', judge)
    monkeypatch.setattr(sandbox, 'has_bubblewrap', lambda: False)
    return judge


@pytest.fixture
def folders(tmp_path):
    """Make folders with one file each → their names."""
    def make(*names):
        for name in names:
            small_solutions.write(tmp_path / name, {'modules.py': 'x = 1'})
        return names
    return make


def summary(folder='graded'):
    lines = [line.split(',') for line in Path(folder, 'summary.csv').read_text(encoding='utf-8').splitlines()]
    return {line[0]: line[1] for line in lines[1:]}


def test_a_class_gets_what_is_approved(run, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)
    small_solutions.write(tmp_path / 'class' / 'anna')
    small_solutions.write(tmp_path / 'class' / 'ben', changes=[MEAN])
    (tmp_path / 'class' / 'cleo').mkdir()
    code, out, err = run('--solution', 'class/anna', 'class/ben', 'class/cleo', 'nowhere', '--report', 'new/graded')
    graded = tmp_path / 'new' / 'graded'
    assert code == 1 and re.search(r'(^|\r)solutions: 100%.* 4/4 .*\d(solution/s|s/solution)\]', err)
    assert sorted(os.listdir(graded)) == sorted(
        ['summary.csv', *(f'{name}.{suffix}' for name in ('anna', 'ben', 'cleo', 'nowhere') for suffix in
                          ('txt', 'json'))])
    rows, page = (graded / 'summary.csv').read_bytes().decode(), (graded / 'ben.txt').read_text(encoding='utf-8')
    assert rows.count('\r\n') == rows.count('\n') == 5
    rows = re.sub(r',[0-9.]+\r\n', ',SECONDS\n', rows).replace('\r\n', '\n')
    page = re.sub(r'Judged in [0-9.]+ s\. Protection: .*', 'Judged in … s. Protection: …', page, flags=re.DOTALL)
    assert_approved('grading_class', f'{out}\n--- summary.csv\n{rows}\n--- ben.txt\n{page}\n')
    entry = json.loads((graded / 'ben.json').read_text(encoding='utf-8'))
    assert [(test['part'], test['score']) for test in entry['tests']] == [
        (part, int(part not in ('linear', 'mlp', *BESIDE))) for part in PARTS]
    assert re.fullmatch('[0-9a-f]{16}', entry['fingerprint'])
    assert (graded / 'ben.json').read_text(encoding='utf-8').startswith('{\n "solution": "class/ben",')


def test_one_solution_is_told_as_approved(run, tmp_path):
    small_solutions.write(tmp_path / 'ben', changes=[MEAN])
    code, out, err = run('--solution', 'ben', '--timeout', 30)
    assert (code, err) == (1, '')
    assert_approved('grading_one', re.sub('protection: .*', 'protection: …', out))


def test_a_part_is_told_as_soon_as_it_is_done(run, folders, judge, capsys):
    told = []
    folders('anna')
    judge.says['anna'] = lambda: told.append(capsys.readouterr().out) or {'mlp': 'wrong'}
    code, out, _ = run('--solution', 'anna', '--timeout', 7)
    assert told == ['solution: anna\n'] and judge.servers[0].timeout == 7
    assert out == ''.join(f'  {title:36}{"wrong" if title == "NumPy MLP" else "right"}\n' for title in
                          command_line.report.TITLES.values()) + (
        '\nErrors: what is computed is not what the mathematics says\n\n1. NumPy MLP\n   Mlp is so\n'
        '\ninterface met: none\nprotection: none\n\nverdict: anna: wrong, 5 of 6 parts right\n')


@pytest.mark.parametrize('says, codes', [
    ({}, (0, 0)), ({'mlp': 'departs'}, (0, 1)), ({'training': 'departs'}, (0, 1)), ({'mlp': 'wrong'}, (1, 1)),
    ({'training': 'wrong'}, (1, 1)), ({'training': 'not judged'}, (0, 0)), (dict.fromkeys(CORE, 'stub'), (1, 1))])
def test_the_exit_code_says_whether_something_is_wrong(run, folders, judge, says, codes):
    folders('anna', 'ben')
    judge.says['anna'] = says
    for solutions in (['anna'], ['anna', 'ben'], ['ben', 'anna']):
        assert (run('--solution', *solutions)[0], run('--solution', *solutions, '--strict')[0]) == codes


def interrupted():
    raise KeyboardInterrupt


def test_what_has_not_begun_when_a_run_is_interrupted_does_not_begin(run, folders, judge, monkeypatch):
    ending, shutdown = threading.Event(), ThreadPoolExecutor.shutdown

    def shut_down(executor, wait=True, **options):
        shutdown(executor, wait=False, **options)
        ending.set()
        shutdown(executor, wait=wait)

    monkeypatch.setattr(ThreadPoolExecutor, 'shutdown', shut_down)
    judge.says = {'anna': interrupted, 'ben': lambda: ending.wait(20) and {}}
    run('--solution', *folders('anna', 'ben', 'cleo'))
    assert judge.judged in (['anna'], ['anna', 'ben'])


def test_sigterm_and_sighup_end_the_judging_as_ctrl_c_does(run, folders, judge):
    folders('anna')
    for number in (signal.SIGTERM, signal.SIGHUP):
        judge.says['anna'] = lambda number=number: os.kill(os.getpid(), number)
        assert run('--solution', 'anna')[::2] == (128 + number, 'unittests.py: interrupted\n')


def test_an_interrupted_run_goes_on(run, folders, judge):
    names = folders('anna', 'ben', 'cleo')
    judge.says = {'ben': interrupted, 'cleo': {'mlp': 'wrong'}}
    command = ['--solution', *names, '--report', 'graded']
    assert run(*command)[::2] == (130, AnyEnd('unittests.py: interrupted: the same command goes on where it was\n'))
    assert list(summary()) == ['anna']
    judge.says['ben'] = {}
    assert run(*command)[0] == 1
    assert summary() == {'anna': 'right', 'ben': 'right', 'cleo': 'wrong'}
    assert judge.judged == ['anna', 'ben', 'ben', 'cleo'] or judge.judged == ['anna', 'ben', 'cleo', 'ben']
    judge.judged.clear()
    run(*command)
    assert judge.judged == [] and summary()['cleo'] == 'wrong'
    for file, text in (('graded/anna.txt', None), ('graded/ben.json', '{'), ('graded/cleo.json', '[]')):
        os.remove(file) if text is None else Path(file).write_text(text)
    run(*command)
    assert judge.judged == ['anna', 'ben', 'cleo'], 'what is not whole is judged again'
    assert run('--solution', 'anna', 'ben', '--report', 'graded', '--strict')[0] == 0
    assert judge.judged == ['anna', 'ben', 'cleo', 'anna', 'ben'], 'and so it is with other options'
    judge.says['anna'] = judge.says['ben'] = interrupted
    for solutions in (['anna'], ['anna', 'ben']):
        assert run('--solution', *solutions)[::2] == (130, AnyEnd('unittests.py: interrupted\n'))


class AnyEnd(str):
    """A text that is equal to all that end with it: a progress bar may stand before."""

    def __eq__(self, other):
        return other.endswith(self) and other.count('unittests.py') == 1


def test_a_solution_that_changed_is_judged_again(folders, tmp_path, monkeypatch):
    def fingerprint(**options):
        options = SimpleNamespace(**{'points': {}, 'strict': False, 'timeout': 20, **options})
        return class_run.fingerprint_of(tmp_path / 'anna', options)

    seen = [fingerprint(), fingerprint(points={'mlp': 2}), fingerprint(strict=True), fingerprint(timeout=21)]
    folders('anna')
    inner = tmp_path / 'anna'
    for change in (lambda: (inner / 'modules.py').write_text('x = 2'),
                   lambda: (inner / 'modules.py').rename(inner / 'mlp_numpy.py'),
                   lambda: (inner / 'more').mkdir() or (inner / 'more' / 'more.py').write_text('y = 1'),
                   lambda: (inner / os.fsdecode(b'\xff.py')).write_text('z = 1'),
                   lambda: (inner / 'zz.py').write_text('#' * 10 ** 6),
                   lambda: monkeypatch.setattr(class_run, '__file__', str(inner / 'more' / 'class_run.py'))):
        seen.append(fingerprint())
        change()
    seen.append(fingerprint())
    assert len(set(seen)) == len(seen) and all(re.fullmatch('[0-9a-f]{16}', one) for one in seen)
    (inner / 'notes.txt').write_text('no Python')
    (inner / 'x.py').mkdir()
    (inner / 'dangling.py').symlink_to(inner / 'nothing')
    (inner / 'zzz.py').write_text('#' * (10 ** 6 + 1))
    assert fingerprint() == seen[-1], 'what is not read has no part in it'


def test_folders_of_the_same_name_get_different_reports():
    assert class_run.names_of(['a/code', 'b/code', 'b/code/', 'c', '.', '/']) == [
        'a__code', *[f'{"__".join(Path("b/code").absolute().parts[1:])}{end}' for end in ('', '__3')], 'c',
        Path.cwd().name, 'solution']
    assert class_run.names_of(['/x/1/code', '/x/2/code', '/y/2/code', '/code']) == [
        '1__code', 'x__2__code', 'y__2__code', 'code']


def test_several_are_judged_at_a_time_each_by_a_server_of_its_own(run, folders, judge):
    both = threading.Barrier(2, timeout=20)
    judge.says = {name: lambda: both.wait() and {} or {} for name in ('anna', 'ben')}
    assert run('--solution', *folders('anna', 'ben'), '--jobs', 2, '--timeout', 3)[0] == 0
    assert len(set(map(id, judge.servers))) == 2 and [server.timeout for server in judge.servers] == [3, 3]
    judge.servers.clear()
    judge.says = {}
    run('--solution', 'anna', 'ben')
    assert judge.servers[0] is judge.servers[1]
    assert not any(server.work.exists() for server in judge.servers), 'nothing of it is left'


def test_a_folder_that_the_judge_does_not_foresee_is_a_row(run, folders, judge):
    def fails():
        raise ZeroDivisionError('so it is')

    names = folders('=1+1', 'ben', os.fsdecode(b'\xff'))
    judge.says['=1+1'] = fails
    code, out, _ = run('--report', 'graded', '--solution', *names)
    assert code == 1 and '=1+1: not judged\n' in out and 'ben: right\n' in out
    page = Path('graded', '=1+1.txt').read_text(encoding='utf-8')
    assert page.count('not judged (the checker itself failed, ZeroDivisionError: so it is)') == len(PARTS)
    assert summary() == {"'=1+1": 'not judged', 'ben': 'right', '?': 'right'}


def test_a_cell_is_no_formula(tmp_path):
    names = ['=1', '+1', '-1', '@a', 'a=1', '']
    class_run.write_summary(tmp_path, [{'solution': name, 'verdict': 'right', 'parts': dict.fromkeys(PARTS, 'right'),
                                        'findings': [], 'seconds': 1} for name in names] + [None])
    assert list(summary(tmp_path)) == ["'=1", "'+1", "'-1", "'@a", 'a=1', '']


def test_the_teacher_sets_the_points(run, folders, judge):
    Path('points.json').write_text('{"linear": 2.5, "pytorch": 0, "training": 0, "mlp": 999999.5}')
    judge.says['ben'] = {'linear': 'departs', 'mlp': 'wrong'}
    run('--solution', *folders('anna', 'ben'), '--report', 'graded', '--points', 'points.json')
    scores = [json.loads(Path('graded', f'{name}.json').read_text())['score'] for name in ('anna', 'ben')]
    assert scores == [1000006, 6.5]
    run('--solution', *folders('anna', 'ben'), '--report', 'graded')
    assert json.loads(Path('graded', 'ben.json').read_text())['score'] == 7
    run('--solution', *folders('anna', 'ben'), '--report', 'graded', '--strict')
    assert json.loads(Path('graded', 'ben.json').read_text())['score'] == 6


def test_what_makes_no_sense_is_refused_as_approved(run, folders, judge, monkeypatch):
    def full():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def copy():
        raise shutil.Error([('a', 'b', 'why')])

    def nowhere():
        raise NoServer('no solution can be run here: give it up')

    folders('anna', 'ben', 'full', 'copy', 'noserver')
    judge.says = {'full': full, 'copy': copy, 'noserver': nowhere}
    lines = []
    for number, points in enumerate((b'{', b'\xff', b'[1]', b'{"sofmax": 1}', b'{"linear": "a"}', b'{"mlp": -1}',
                                     b'{"mlp": true}', b'{"mlp": 1e6}', b'{"mlp": NaN}', None)):
        if points is not None:
            Path(f'{number}.json').write_bytes(points)
        lines.append(run('--solution', 'anna', '--points', f'{number}.json'))
    for arguments in (['--report', 'graded'], ['--strict'], ['--jobs', '2'],
                      ['--solution', 'nowhere'], ['--solution', '0.json'],
                      ['--solution', 'anna', '--report', '0.json'], ['--solution', 'anna', '--report', '0.json/more'],
                      ['--solution', 'anna', 'ben', '--report', '0.json'],
                      ['--solution', 'anna', '--jobs', '0'], ['--solution', 'anna', '--timeout', '0'],
                      ['--solution', 'full'], ['--solution', 'copy'], ['--solution', 'noserver'],
                      ['--solution', 'noserver', 'anna']):
        lines.append(run(*arguments))
    monkeypatch.setattr(class_run, '_write', lambda path, text: full())
    lines.append(run('--solution', 'anna', '--report', 'graded'))
    assert [code for code, _, _ in lines].count(2) == len(lines) - 2  # 1 for the two that the surroundings end
    assert_approved('grading_refusals', ''.join(err.splitlines()[-1] + '\n' for _, _, err in lines))


def test_where_no_solution_can_be_run_none_is_blamed(run, folders, monkeypatch):
    monkeypatch.setattr(sandbox, 'command', lambda *arguments: ['false'])
    for arguments in (folders('anna'), [*folders('anna', 'ben'), '--report', 'graded']):
        code, _, err = run('--solution', *arguments)
        assert code == 2 and 'ended at its start' in err.splitlines()[-1]


def test_the_flags_of_the_judge_are_as_approved():
    parser = ArgumentParser('')
    known = len(parser._actions)
    command_line.add_arguments(parser)
    lines = []
    for action in parser._actions[known:]:
        words = ' '.join(filter(None, [*action.option_strings, action.metavar, action.nargs and str(action.nargs)]))
        lines.append(f'{words} (default: {action.default})\n    {action.help}')
    assert_approved('grading_flags', '\n'.join(lines) + '\n')
