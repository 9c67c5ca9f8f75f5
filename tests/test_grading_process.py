"""The process of a solution and its sandbox: what it may see and use, what it answers, what is told of its end."""

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from conftest import LINUX
from grading import remote, sandbox, submissions
from grading.findings import Place
from grading.remote import NoServer, NotGradable, Server, SolutionEnded, SolutionError
from grading.worker import messages
from grading.worker.messages import Ref

ENVIRONMENT = {
    'PATH': '/usr/bin:/bin', 'USER': 'student', 'LANG': 'C.UTF-8', 'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1',
    'MKL_NUM_THREADS': '1', 'MPLBACKEND': 'Agg', 'CUDA_VISIBLE_DEVICES': '', 'PYTHONDONTWRITEBYTECODE': '1',
    'PYTHONHASHSEED': '0', 'TQDM_DISABLE': '1'}
linux = pytest.mark.skipif(not LINUX, reason='only Linux has it')
STUDENT = '''
import json, os, random, signal, sys, warnings
import numpy as np

def deep(n):
    if n:
        deep(n - 1)
    raise ValueError('one\\n  two \\x1b[31m\\u202e' + 'x' * 600)

def run(code):
    exec(compile(code, __file__, 'exec'), globals())
    return globals().get('result')
'''
ROOM = '''
warnings.warn('is not seen')
folder = os.path.dirname(__file__)
result = {
    'argv': sys.argv, 'here': os.path.samefile(os.getcwd(), folder), 'errors': sorted(np.geterr().values()),
    'input': os.read(0, 9).decode(), 'output': os.path.sameopenfile(1, 2), 'environment': dict(os.environ),
    'first': os.path.samefile(folder, sys.path[0]), 'draws': [np.random.randint(99), random.randint(0, 99)]}
'''


@pytest.fixture(scope='module')
def server():
    with Server(bubblewrap=False) as server:
        yield server


@pytest.fixture
def opened(server, tmp_path):
    (tmp_path / 'student.py').write_text(STUDENT)
    with server.open(tmp_path) as solution:
        yield solution


def ask(opened, name, *args, timeout=None):
    return opened.ask('function', timeout, module='student', name=name, args=list(args))


def run(opened, code, timeout=None):
    return ask(opened, 'run', code, timeout=timeout)


def test_what_a_solution_raises_is_told_on_one_line_with_the_places_in_its_own_files(opened):
    def failure(name, *args):
        with pytest.raises(SolutionError) as failed:
            ask(opened, name, *args)
        return failed.value.kind, failed.value.message, failed.value.places, failed.value.place

    def line_of(words):
        return next(number for number, line in enumerate(STUDENT.split('\n'), 1) if words in line)

    last = line_of('raise ValueError')
    assert failure('deep', 9) == ('ValueError', 'one two \x1b[31m\u202e' + 'x' * 286,
                                  [('student.py', last - 1)] * 4 + [('student.py', last)], Place('student.py', last))
    places = [('student.py', line_of('exec')), ('student.py', 1)]
    assert failure('run', 'raise SystemExit(5)')[::2] == ('SystemExit', places)
    assert failure('run', 'json.loads("{")')[::2] == ('JSONDecodeError', places)
    assert failure('no_such_function')[::2] == ('AttributeError', [])
    assert run(opened, 'sys.stdout = None; result = 7') == 7


@linux
def test_what_the_machine_did_or_lacks_is_no_verdict(opened):
    for code, reason in {
            'raise OSError(28, "No space left on device")': 'OSError: [Errno 28] No space left on device',
            'import else_where\nelse_where.Thing()':
                'ImportError: else_where.Thing was not handed in and is not installed here',
            'os.kill(os.getpid(), 9)': 'its process was ended from outside, perhaps for lack of memory'}.items():
        with pytest.raises(NotGradable) as found:
            run(opened, code)
        assert str(found.value).startswith(reason)


def test_what_it_prints_is_counted_and_kept_at_the_start(opened):
    run(opened, "os.write(1, b'first\\n' + b'x' * 3001)")
    deadline = time.monotonic() + 20
    while opened.printed < 3007 and time.monotonic() < deadline:  # another pipe than the one of the answers
        time.sleep(0.01)
    assert (opened.output, opened.printed) == (b'first\n' + b'x' * 1994, 3007)


@pytest.mark.parametrize('code, words', [
    *((f'os._exit({code})', f'it ended its process (exit code {code})') for code in (0, 3)),
    *(pytest.param(f'signal.signal({number}, signal.SIG_DFL); os.kill(os.getpid(), {number})',
                   f'its process was ended by signal {number}{words}', marks=linux)
      for number, words in ((11, ' (a crash)'), (24, ' (processor time)'), (25, ' (file size)'), (15, '')))])
def test_how_it_ended_is_told(opened, code, words):
    for _ in range(2):
        with pytest.raises(SolutionEnded) as ended:
            run(opened, code)
        assert str(ended.value) == words == opened.ended
    opened.close()
    assert not opened.room.exists()


def test_a_process_has_its_folder_an_empty_room_and_random_numbers_of_a_seed(opened):
    for seed in (7, 8):
        opened.ask('seed', number=seed)
        assert run(opened, ROOM) == {
            'argv': ['solution'], 'here': True, 'errors': ['ignore'] * 4, 'input': '', 'output': True, 'first': True,
            'draws': [np.random.RandomState(seed).randint(99), random.Random(seed).randint(0, 99)],
            'environment': {**ENVIRONMENT, 'HOME': str(opened.room), 'TMPDIR': str(opened.room),
                            **{name: os.environ[name] for name in ('SYSTEMROOT', 'PATH') if os.name == 'nt'}}}
    assert opened.output == b'', 'warnings are not shown'


@linux
def test_limits_are_what_the_sandbox_says_on_top_of_what_is_in_use(opened):
    for name, value in sandbox.LIMITS.items():
        soft, hard = run(opened, f'import resource; result = list(resource.getrlimit(resource.{name}))')
        most = {'RLIMIT_AS': 8 << 30, 'RLIMIT_NPROC': 100_000}.get(name, 0)  # what may be in use
        assert soft == hard and bool(most) <= soft - value <= most, name


def test_libraries_are_loaded_before_its_own_files_can_be_in_their_place(server, tmp_path):
    (tmp_path / 'student.py').write_text(STUDENT)
    (tmp_path / 'colorsys.py').write_text('MINE = 1')
    with server.open(tmp_path, ['colorsys', 'not_there']) as solution:
        assert run(solution, 'result = [name in sys.modules for name in ("colorsys", "not_there")]') == [True, False]
        with pytest.raises(SolutionError, match='MINE'):
            solution.ask('get', target=None, path=['MINE'])


MALFORMED = {  # operation → answers that do not have its form; test_grading_operations asks for those that do
    'signature': [[['a', 'KIND']], [['a', 'KIND', 1]], [['a', 1, True]], [[1, 'KIND', True]], ['abc']],
    'classes': [[['A', [1], [], 'a']], [['A', [], [1], 'a']], [['A', None, [], 'a']], [['A', [], [], 1]]],
    'new': [dict(made=1, changed=[]), dict(made=Ref(1))], 'call': [dict(value=1, changed=[])],
    'find': [[[1, 'a']], [[Ref(1), 0]]], 'sizes': [[[1]], [[1, 'a']]], 'torch_facts': [{}],
    'torch_trace': [{}, dict(passed=[['ReLU', np.ones(1), 1]]), dict(passed=[[1, np.ones(1), np.ones(1)]])],
    'torch_gradients': [dict(none=[]), dict(none=[1], not_finite=[]), dict(not_finite=[])],
    'evaluate': [dict(result=1)], 'missing': [],
    'train': [dict(outputs={}, validation=[], test=1), dict(outputs={}, test=1.0), dict(validation=[], test=1.0)]}


def test_an_answer_has_the_form_that_its_question_asks_for(opened, monkeypatch):
    assert remote.ANSWERS.keys() == MALFORMED.keys()
    for op, value in [(op, value) for op, wrong in MALFORMED.items() for value in (None, 'a', [1], Ref(1), *wrong)]:
        monkeypatch.setattr(opened, '_exchange', lambda *_: {'value': value})
        for _ in range(2):
            with pytest.raises(SolutionEnded, match='its process answered what it was not asked'):
                opened.ask(op)
        opened.ended = None


def test_an_error_that_the_process_made_up_is_short_and_on_one_line(opened, monkeypatch):
    long = {'type': 'T' * 61, 'message': 'a\n b' + 'x' * 300, 'places': [['n' * 101, 3]]}
    for error, told in [(long, f'{"T" * 60}: a b{"x" * 297} ({"n" * 100}, line 3)'), (None, 'Exception'),
                        ({'type': 'Error', 'message': '', 'places': []}, 'Error'),
                        ({}, 'Exception'), ({**long, 'places': [['x', 'y']]}, 'Exception')]:
        monkeypatch.setattr(opened, '_exchange', lambda *_: {'error': error})
        with pytest.raises(SolutionError) as failed:
            opened.ask('call')
        assert str(failed.value) == told and not opened.ended


FAKE = '''
import sys, threading, time
from grading_worker.messages import pack
out = sys.stdout.buffer
def say(nonsense):
    threading.Thread(target=sys.stdin.buffer.read, daemon=True).start()
    out.write(nonsense)
    out.flush()
    time.sleep(600)
out.write(pack({'value': True}))
out.flush()
'''


@pytest.mark.parametrize('program, words', [
    ('say(b"1 " + b"1" * 1001)', 'its process sent an answer that is too long'),
    ('say(b"123456789 {}\\n")', 'its process sent an answer that is too long'),
    ('say(b"-1 {}\\n")', 'its process sent an answer that cannot be read'),
    ('say(pack({"value": [1]})[:-2] + b"}}\\n")', 'its process sent an answer that cannot be read'),
    ('time.sleep(600)', 'no answer within 0.5 s, perhaps because of an endless loop'), ('', r'it ended its process \(exit code 0\)')])
def test_nonsense_and_silence_end_the_conversation(server, tmp_path, monkeypatch, program, words):
    monkeypatch.setattr(sandbox, 'command', lambda *_: [sys.executable, '-c', f'{FAKE}{program}'])
    monkeypatch.setattr(messages, 'MAX_BYTES', 1000)
    with server.open(tmp_path) as solution:
        for _ in range(2):
            with pytest.raises(SolutionEnded, match=f'^{words}$'):
                while True:
                    solution.ask('get', timeout=0.5, value=np.zeros(1 << 18))  # more than a pipe holds


@pytest.mark.parametrize('program, words', [('raise SystemExit("no NumPy")', 'cannot start .*no NumPy'),
                                            ('import time; time.sleep(600)', 'cannot start .*no answer'),
                                            (None, r'\(No space left on device\): free space there')])
def test_where_no_solution_can_run_that_is_no_verdict(server, tmp_path, monkeypatch, program, words):
    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(sandbox, 'command', lambda *_: [sys.executable, '-c', program])
    monkeypatch.setattr(remote, 'START_UP_SECONDS', 1 if program and 'sleep' in program else 60)
    if not program:
        monkeypatch.setattr(remote.Path, 'write_bytes', full)
    with pytest.raises(NoServer, match=words):
        server.open(tmp_path)
    assert not program or not list(server.work.iterdir())


def test_a_solution_runs_on_a_copy_without_data_large_files_and_links_that_lead_outside(server, tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, 'LARGEST', 20_000)
    folder = tmp_path / 'student'
    for name in ('code.py', 'deep/m.py', 'data/a.py', 'data/b.npy', '.git/config', 'deep/__pycache__/x.pyc'):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name[:10])
    (tmp_path / 'secret').write_text('secret')
    (folder / 'weights.bin').write_bytes(bytes(20_001))
    for name, target in {'link.py': 'code.py', 'none.py': 'none', 'secret.py': '../secret', 'o': 'o'}.items():
        (folder / name).symlink_to(target)
    if hasattr(os, 'mkfifo'):
        os.mkfifo(folder / 'pipe')
    with server.open(folder) as solution:
        copied = {path.relative_to(solution.folder).as_posix(): path.read_text()
                  for path in solution.folder.rglob('*') if path.is_file()}
    assert copied == {name: name for name in ('code.py', 'deep/m.py', 'data/a.py')} | {'link.py': 'code.py'}


def test_nothing_of_a_solution_is_there_for_the_next_one(server, tmp_path):
    (tmp_path / 'student.py').write_text(STUDENT)
    with server.open(tmp_path) as solution:
        run(solution, 'for folder in (".", "..", "../.."): open(f"{folder}/pandas.py", "w").write("STOLEN = 1")')
    with server.open(tmp_path, ['pandas']) as solution:
        assert run(solution, 'import pandas; result = vars(pandas).get("STOLEN")') is None


def test_a_server_that_was_stopped_opens_no_more(tmp_path):
    with Server(bubblewrap=False) as server:
        server.stop()
        with pytest.raises(NoServer, match='stopped'):
            server.open(tmp_path)
        assert not list(server.work.iterdir())


MISSING_ELSEWHERE = {os: 'fork killpg getuid setuid setgid setgroups chown mkfifo'.split(), signal: ['SIGXCPU']}


def test_solutions_run_on_a_system_that_has_nothing_of_linux(tmp_path, monkeypatch):
    """A simulation: what macOS or Windows lack is taken away, in the grader and in the process of the solution."""
    for module, names in MISSING_ELSEWHERE.items():
        for name in names:
            monkeypatch.delattr(module, name, raising=False)
    without = 'import os, signal, sys, ctypes; sys.modules["resource"] = ctypes.CDLL = None; ' + '; '.join(
        f'vars({module.__name__}).pop({name!r}, 0)' for module, names in MISSING_ELSEWHERE.items() for name in names)
    monkeypatch.setattr(sandbox, 'command', lambda room, arguments, _: [
        sys.executable, '-I', '-B', '-c', f'{without}; {arguments[1]}'])
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    (tmp_path / 'student').mkdir()
    (tmp_path / 'student' / 'student.py').write_text(STUDENT)
    with Server(bubblewrap=False) as server:
        for code, words in (('os._exit(3)', 'exit code 3'), ('os.closerange(3, 64)\nwhile 1: 1', 'endless|closed its')):
            with server.open(tmp_path / 'student') as solution:
                assert run(solution, 'result = 7') == 7
                with pytest.raises(SolutionEnded, match=words):
                    run(solution, code, timeout=1)
            assert solution._process.poll() is not None and not solution.room.exists()


def program(folder, text):
    LINUX or pytest.skip('a shell script')
    folder.mkdir(exist_ok=True)
    (folder / 'bwrap').write_text(text)
    (folder / 'bwrap').chmod(0o755)
    return str(folder / 'bwrap')


def test_behind_bubblewrap_python_sees_the_system_the_folder_and_packages_outside_of_the_project(tmp_path, monkeypatch):
    def folder(name):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        return str(tmp_path / name)

    packages = [folder(name) for name in ('a/site-packages', 'b/dist-packages', 'project-venv/site-packages')]
    monkeypatch.setattr(sandbox, '__file__', folder('project/grading') + '/sandbox.py')
    bwrap = program(tmp_path / 'bin', '')
    monkeypatch.setenv('PATH', str(tmp_path / 'bin'))
    monkeypatch.setattr(sandbox, 'SYSTEM', [folder('system'), str(tmp_path / 'not there')])
    monkeypatch.setattr(sys, 'path', [folder('c/packages'), folder('project/venv/site-packages'), *2 * packages,
                                      '/usr/lib/site-packages', str(tmp_path / 'not there/site-packages')])
    monkeypatch.setattr(sys, 'prefix', '/usr/local')
    monkeypatch.setattr(sys, 'base_prefix', '/opt/python')
    assert sandbox.command(Path('/work'), ['-c', 'pass'], True) == [
        bwrap, '--unshare-all', '--die-with-parent', '--new-session', '--proc', '/proc', '--dev', '/dev', '--size',
        '67108864', '--tmpfs', '/tmp', *(word for path in (folder('system'), '/opt/python', *packages)
                                         for word in ('--ro-bind', path, path)),
        '--bind', '/work', '/work', '--chdir', '/work', sys.executable, '-I', '-B', '-X', 'utf8', '-c', 'pass']


@pytest.mark.parametrize('text, there', [
    ('#!/bin/sh\n[ "$*" = "--unshare-all --ro-bind / / --dev /dev --proc /proc true" ]\n', True),
    ('#!/bin/sh\necho no; echo no >&2; exit 1\n', False), ('', False), (None, False)])
def test_bubblewrap_is_tried(tmp_path, monkeypatch, capfd, text, there):
    monkeypatch.setenv('PATH', str(tmp_path))
    if text is not None:
        program(tmp_path, text)
    assert sandbox.has_bubblewrap() is there and capfd.readouterr() == ('', '')
    with Server() as server:
        assert server.bubblewrap is there


def test_the_report_says_what_a_solution_is_kept_from(monkeypatch):
    for system, limits in (('linux', 'time, memory, processes, files'), ('darwin', 'time, files')):
        monkeypatch.setattr(sys, 'platform', system)
        for bubblewrap, user, closed in ((True, False, 'bubblewrap: no network, no view of other files'),
                (False, False, 'network and files are accessible (no bubblewrap)'),
                (False, True, 'a user of its own: the network and all files that every user may read are accessible '
                              '(no bubblewrap)')):
            monkeypatch.setattr(sandbox, 'can_change_user', lambda: user)
            assert sandbox.protection(bubblewrap) == (
                f'a process and a copy of the folder for each solution; limits on {limits} and output; {closed}')
