"""The process of a solution: what it may see and use, what it answers, and what is told of its errors and its end."""

import errno
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import pytest

from conftest import LINUX, ROOT
from grading import remote, sandbox, submissions
from grading.findings import Place
from grading.remote import NoServer, NotGradable, Server, SolutionEnded, SolutionError
from grading.worker.messages import Ref

linux = pytest.mark.skipif(not LINUX, reason='only Linux has it')
FAILS = '''
import os, sys

def deep(n):
    if n:
        deep(n - 1)
    raise ValueError('one\\n  two \\x1b[31m\\u202e' + 'x' * 600)

def leaves():
    raise SystemExit(5)

def library():
    import json
    json.loads('{')

def full():
    raise OSError(28, 'No space left on device')

def not_here():
    import somewhere_else
    somewhere_else.Thing()

def broken_output():
    sys.stdout = None
    return 'still here'

def prints(text):
    print(text)

def ends(code):
    os._exit(code)

def is_killed(number):
    import signal
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)

def closes_its_pipes():
    for number in range(3, 64):
        try:
            os.close(number)
        except OSError:
            pass
    while True:
        pass
'''
ROOM = '''
import os, random, sys, warnings
import numpy as np

def draws():
    return [int(np.random.randint(1000)), random.randint(0, 999)]

def process():
    warnings.warn('is not seen')
    return {'argv': sys.argv, 'here': os.path.samefile(os.getcwd(), os.path.dirname(__file__)),
            'errors': sorted(np.geterr().values()), 'input': os.read(0, 9).decode(), 'output': os.path.sameopenfile(1, 2),
            'first': os.path.samefile(os.path.dirname(__file__), sys.path[0]), 'environment': dict(os.environ)}

def limits():
    import resource
    return {name: list(resource.getrlimit(getattr(resource, name))) for name in sys.modules['grading_worker.main'].NAMES}

def libraries(names):
    return [name in sys.modules for name in names]
'''


@pytest.fixture(scope='module')
def server():
    with Server(bubblewrap=False) as server:
        yield server


@pytest.fixture
def opened(server, tmp_path):
    (tmp_path / 'fails.py').write_text(FAILS)
    (tmp_path / 'room.py').write_text(ROOM)
    with server.open(tmp_path) as solution:
        yield solution


def ask(opened, module, name, *args, timeout=None):
    return opened.ask('function', timeout, module=module, name=name, args=list(args))


def test_one_seed_gives_the_same_numbers(opened):
    for number in (7, 8):
        opened.ask('seed', number=number)
        assert ask(opened, 'room', 'draws') == [np.random.RandomState(number).randint(1000),
                                                random.Random(number).randint(0, 999)]


def line_of(words):
    return FAILS.split('\n').index(words) + 1


def test_what_a_solution_raises_is_told_on_one_line_with_the_places_in_its_own_files(opened):
    def failure(name, *args):
        with pytest.raises(SolutionError) as failed:
            ask(opened, 'fails', name, *args)
        return failed.value.kind, failed.value.message, failed.value.places, failed.value.place

    last = line_of("    raise ValueError('one\\n  two \\x1b[31m\\u202e' + 'x' * 600)")
    assert failure('deep', 9) == ('ValueError', 'one two ?[31m?' + 'x' * 286,
                                  [('fails.py', last - 1)] * 4 + [('fails.py', last)], Place('fails.py', last))
    assert failure('leaves')[::2] == ('SystemExit', [('fails.py', line_of('    raise SystemExit(5)'))])
    assert failure('library')[::2] == ('JSONDecodeError', [('fails.py', line_of("    json.loads('{')"))])
    assert failure('no_such_function')[::2] == ('AttributeError', [])
    assert ask(opened, 'fails', 'broken_output') == 'still here'


@pytest.mark.parametrize('name, reason', [('full', 'OSError: [Errno 28] No space left on device'),
                                          ('not_here', 'ImportError: somewhere_else.Thing was not handed in and is not installed here'),
                                          pytest.param('is_killed', 'its process was ended from outside, perhaps for lack '
                                                       'of memory', marks=linux)])
def test_what_the_machine_did_or_lacks_is_no_verdict(opened, name, reason):
    with pytest.raises(NotGradable) as found:
        ask(opened, 'fails', name, *[9][:name == 'is_killed'])
    assert str(found.value).startswith(reason)


def test_what_it_prints_is_counted_and_kept_at_the_start(opened):
    for text in ('first', 'x' * 3000):
        ask(opened, 'fails', 'prints', text)
    deadline = time.monotonic() + 20
    while opened.printed < 3007 and time.monotonic() < deadline:  # another pipe than that of the answers
        time.sleep(0.01)
    assert (opened.output, opened.printed) == (b'first\n' + b'x' * 1994, 3007)


@pytest.mark.parametrize('name, arguments, words', [
    ('ends', [3], 'it ended its process (exit code 3)'), ('ends', [0], 'it ended its process (exit code 0)'),
    *(pytest.param('is_killed', [number], f'its process was ended by signal {number}{words}', marks=linux) for number, words in
      ((11, ' (a crash)'), (24, ' (processor time)'), (25, ' (file size)'), (15, '')))])
def test_how_it_ended_is_told(opened, name, arguments, words):
    for _ in range(2):
        with pytest.raises(SolutionEnded) as ended:
            ask(opened, 'fails', name, *arguments)
        assert str(ended.value) == words == opened.ended
    opened.close()
    assert not opened.room.exists()


def test_a_process_that_closes_its_pipes_or_is_silent_ends(opened):
    with pytest.raises(SolutionEnded, match='its process has closed its pipe|no answer within 1 s: an endless loop'):
        ask(opened, 'fails', 'closes_its_pipes', timeout=1)
    opened.close()
    assert opened._process.poll() is not None


def test_a_process_has_its_folder_and_an_empty_room(opened):
    assert ask(opened, 'room', 'process') == {
        'argv': ['solution'], 'here': True, 'errors': ['ignore'] * 4, 'input': '', 'output': True, 'first': True,
        'environment': sandbox.environment(opened.room)}
    assert opened.output == b'', 'warnings are not shown'


@linux
def test_limits_are_what_the_sandbox_says_on_top_of_what_is_in_use(server, tmp_path):
    (tmp_path / 'room.py').write_text('import resource\n\ndef limits(names):\n'
                                      '    return [list(resource.getrlimit(getattr(resource, name))) for name in names]\n')
    with server.open(tmp_path) as solution:
        limits = dict(zip(sandbox.LIMITS, ask(solution, 'room', 'limits', list(sandbox.LIMITS))))
    for name, (soft, hard) in limits.items():
        more = {'RLIMIT_AS': (1, 8 << 30), 'RLIMIT_NPROC': (1, 100_000)}.get(name, (0, 0))  # of what is in use
        assert soft == hard and more[0] <= soft - sandbox.LIMITS[name] <= more[1], name


def test_libraries_are_loaded_before_its_own_files_can_be_in_their_place(server, tmp_path):
    (tmp_path / 'room.py').write_text(ROOM)
    (tmp_path / 'colorsys.py').write_text('MINE = 1')
    with server.open(tmp_path, ['colorsys', 'not_there']) as solution:
        assert ask(solution, 'room', 'libraries', ['colorsys', 'not_there']) == [True, False]
        with pytest.raises(SolutionError, match='MINE'):
            solution.ask('get', target=None, path=['MINE'])


FORMS = {  # operation → answers of its form, answers that are not
    'signature': ([[], [['a', 'KIND', True], ['b', 'KIND', False]]],
                  [None, 'text', {}, [1], [['a', 'KIND']], [['a', 'KIND', 1]], [['a', 1, True]], ['abc']]),
    'classes': ([[], [['A', [], ['B'], 'a.py'], ['C', ['d', 'e'], [], 'a.py']]],
                [[['A', ['d', 1], [], 'a']], [['A', [], [1], 'a']], [['A', 'text', [], 'a']], [['A', None, [], 'a']],
                 [['A', [], [], 1]]]),
    'new': ([dict(made=Ref(1), changed=[])], [None, Ref(1), dict(made=1, changed=[]), dict(made=Ref(1))]),
    'call': ([dict(value=1, changed=[], shares=[])], [None, dict(value=1, changed=[])]),
    'find': ([[], [[Ref(1), 0]]], [[[1, 0]], [[Ref(1), 'a']], [Ref(1)]]),
    'sizes': ([[], [[1, 2]]], [None, [[1]], [[1, 'a']], [1]]),
    'torch_facts': ([dict(module=False)], [None, {}]),
    'torch_trace': ([dict(passed=[]), dict(passed=[['ReLU', np.zeros(0), np.zeros(0)]])],
                    [None, {}, dict(passed=[['ReLU', np.zeros(0), 1]]), dict(passed=[[1, np.ones(1), np.ones(1)]])]),
    'torch_gradients': ([dict(none=[], not_finite=['a'])],
                        [None, dict(none=[]), dict(none=[1], not_finite=[])]),
    'evaluate': ([dict(result=1, training=1, grad=1, after=1)], [None, dict(result=1)]),
    'train': ([dict(outputs={}, validation=[], test=0.5)],
              [None, dict(outputs={}, validation=[], test=1), dict(outputs={}, test=1.0)]),
    'get': ([None, 1, 'text', [[]], {}], [])}


def test_an_answer_has_the_form_that_its_question_asks_for(opened, monkeypatch):
    assert remote.ANSWERS.keys() == FORMS.keys() - {'get'}
    for op, (right, wrong) in FORMS.items():
        for fits, value in [(True, value) for value in right] + [(False, value) for value in wrong]:
            monkeypatch.setattr(opened, '_exchange', lambda *_, value=value: {'value': value})
            opened.ended = None
            if fits:
                opened.ask(op)
            else:
                for _ in range(2):
                    with pytest.raises(SolutionEnded, match='its process answered what it was not asked'):
                        opened.ask(op)


@pytest.mark.parametrize('error, told', [
    ({'type': 'T' * 61, 'message': 'a\n b' + 'x' * 300, 'places': [['n' * 101, 3]]}, f'{"T" * 60}: a b{"x" * 297} ({"n" * 100}, '
     'line 3)'), ({'type': 'Error', 'message': '', 'places': []}, 'Error'),
    *((error, 'Exception') for error in (None, {}, 'text', {'type': 'a', 'message': 'b', 'places': [['x', 'y']]}))])
def test_an_error_that_the_process_made_up_is_short_and_on_one_line(opened, monkeypatch, error, told):
    monkeypatch.setattr(opened, '_exchange', lambda *_: {'error': error})
    with pytest.raises(SolutionError) as failed:
        opened.ask('call')
    assert str(failed.value) == told and not opened.ended


FAKE = f'''
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from grading.worker.messages import pack
out = sys.stdout.buffer
out.write(pack({{'value': True}}))
out.flush()
'''


@pytest.mark.parametrize('program, words', [
    ('out.write(b"12345678" + bytes(8))', 'its process sent an answer that is too long'),
    ('out.write(pack({"value": [1]})[:-2] + b"}}")', 'its process sent an answer that cannot be read'),
    ('time.sleep(600)', 'no answer within 0.5 s: an endless loop.'), ('', r'it ended its process \(exit code 0\)')])
def test_nonsense_and_silence_end_the_conversation(server, tmp_path, monkeypatch, program, words):
    monkeypatch.setattr(sandbox, 'command', lambda *_: [sys.executable, '-c', f'{FAKE}{program}\nout.flush()'])
    with server.open(tmp_path) as solution:
        for _ in range(2):
            with pytest.raises(SolutionEnded, match=f'^{words}$'):
                solution.ask('get', timeout=0.5, value=np.zeros(1 << 18))  # more than a pipe holds


@pytest.mark.parametrize('program, words', [
    ('raise SystemExit("no NumPy")', 'cannot start .*no NumPy'), ('import time; time.sleep(600)', 'cannot start .*no answer')])
def test_where_no_solution_can_run_that_is_no_verdict(server, tmp_path, monkeypatch, program, words):
    monkeypatch.setattr(sandbox, 'command', lambda *_: [sys.executable, '-c', program])
    monkeypatch.setattr(remote, 'START_UP_SECONDS', 1)
    with pytest.raises(NoServer, match=words):
        server.open(tmp_path)
    assert not list(server.work.iterdir())


def test_a_full_temporary_folder_is_no_verdict(server, tmp_path, monkeypatch):
    (tmp_path / 'modules.py').write_text('x = 1')

    def full(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(remote.Path, 'write_bytes', full)
    with pytest.raises(NoServer, match=r'\(No space left on device\): free space there'):
        server.open(tmp_path)


def test_a_solution_runs_on_a_copy_without_data_large_files_and_links_that_lead_outside(server, tmp_path, monkeypatch):
    monkeypatch.setattr(submissions, 'LARGEST', 10)
    folder = tmp_path / 'student'
    for name in ('code.py', 'deep/deeper.py', 'data/a.py', 'data/b.npy', '.git/config', 'deep/__pycache__/x.pyc'):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name[:10])
    (tmp_path / 'secret').write_text('secret')
    (folder / 'weights.bin').write_bytes(bytes(11))
    for name, target in {'link.py': 'code.py', 'nowhere': 'not there', 'outside.py': '../secret', 'circle': 'circle'}.items():
        (folder / name).symlink_to(target)
    if hasattr(os, 'mkfifo'):
        os.mkfifo(folder / 'pipe')
    with server.open(folder) as solution:
        copied = {path.relative_to(solution.folder).as_posix(): path.read_text()
                  for path in solution.folder.rglob('*') if path.is_file()}
    assert copied == {'code.py': 'code.py', 'deep/deeper.py': 'deep/deepe', 'data/a.py': 'data/a.py', 'link.py': 'code.py'}


def test_nothing_of_a_solution_is_there_for_the_next_one(server, tmp_path):
    (tmp_path / 'one').mkdir()
    (tmp_path / 'one' / 'modules.py').write_text('import os\nfor folder in (".", "..", "../.."):\n'
                                                 '    open(os.path.join(folder, "pandas.py"), "w").write("STOLEN = 1")\n')
    (tmp_path / 'two').mkdir()
    (tmp_path / 'two' / 'modules.py').write_text('import sys\n\ndef stolen():\n    import pandas\n'
                                                 '    return getattr(pandas, "STOLEN", 0) == 1\n')
    with server.open(tmp_path / 'one') as solution:
        solution.ask('import_module', name='modules')
    with server.open(tmp_path / 'two', ['pandas']) as solution:
        assert ask(solution, 'modules', 'stolen') is False


def test_a_server_that_is_stopped_ends_what_runs_and_opens_no_more(tmp_path):
    (tmp_path / 'modules.py').write_text('while True: pass')
    told = []

    def ask(solution):
        try:
            solution.ask('import_module', timeout=600, name='modules')
        except Exception as error:
            told.append(type(error))

    with Server(bubblewrap=False) as server:
        thread = threading.Thread(target=ask, args=[server.open(tmp_path)])
        thread.start()
        server.stop()
        thread.join(60)
        assert told == [NoServer] and not list(server.work.iterdir())
        with pytest.raises(NoServer, match='stopped'):
            server.open(tmp_path)


MISSING_ELSEWHERE = {os: ['fork', 'killpg', 'getuid', 'setuid', 'setgid', 'setgroups', 'chown', 'mkfifo'], signal: ['SIGXCPU']}


def test_solutions_run_on_a_system_that_has_nothing_of_linux(tmp_path, monkeypatch):
    """A simulation: what macOS or Windows lack is taken away, in the grader and in the process of the solution."""
    for module, names in MISSING_ELSEWHERE.items():
        for name in names:
            monkeypatch.delattr(module, name, raising=False)
    without = '; '.join(['import os, signal, sys, builtins, ctypes', "sys.modules['resource'] = None",
                         'ctypes.CDLL = None', *(f'vars({module.__name__}).pop({name!r}, 0)'
                                                 for module, names in MISSING_ELSEWHERE.items() for name in names)])
    monkeypatch.setattr(sandbox, 'command', lambda room, arguments, _: [
        sys.executable, '-I', '-B', '-c', f'{without}; {arguments[1]}'])
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    (tmp_path / 'student').mkdir()
    (tmp_path / 'student' / 'fails.py').write_text(FAILS)
    with Server(bubblewrap=False) as server:
        for name, words in (('ends', 'exit code 3'), ('closes_its_pipes', 'endless|closed its pipe')):
            with server.open(tmp_path / 'student') as solution:
                assert ask(solution, 'fails', 'broken_output') == 'still here'
                with pytest.raises(SolutionEnded, match=words):
                    ask(solution, 'fails', name, *[3][:name == 'ends'], timeout=1)
            assert solution._process.poll() is not None and not solution.room.exists()
