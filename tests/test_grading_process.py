"""The process of a solution: what it may see and use, and what is told of its exceptions and of its end."""

import random
import sys

import numpy as np
import pytest

from grading import sandbox
from grading.remote import SolutionError, SolutionEnded, Server, Solution

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='solutions are run on Linux')

FAILS = '''
def deep(n):
    if n:
        deep(n - 1)
    raise ValueError('one\\n  two ' + 'x' * 600)

def leaves():
    raise SystemExit(5)

def library():
    import json
    json.loads('{')

def nameless():
    raise KeyError

def broken_output():
    import sys
    sys.stdout = None
    return 'still here'

def prints(text):
    print(text)

def leaves_for_good(code):
    import os
    os._exit(code)

def by_signal(number):
    import os, signal
    if number != signal.SIGKILL:
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
'''
ROOM = '''
import ctypes, os, random, resource, sys, warnings
import numpy as np

def draws():
    return [int(np.random.randint(1000)), random.randint(0, 999)]

def fds():
    return [sorted(int(fd) for fd in os.listdir('/proc/self/fd')), os.read(0, 9).decode(),
            os.path.sameopenfile(1, 2), os.get_inheritable(3), os.get_inheritable(4)]

def process():
    warnings.warn('is not seen')
    return {'argv': sys.argv, 'leads': os.getsid(0) == os.getpid(), 'here': os.getcwd() == os.path.dirname(__file__),
            'errors': sorted(np.geterr().values()),
            'first': os.path.dirname(__file__) == sys.path[0], 'ours': [p for p in sys.path if p == os.environ['HOME']],
            'looks': ctypes.CDLL(None).prctl(3), 'environment': dict(os.environ)}

def adopts_an_orphan():
    read, write = os.pipe()
    if not (child := os.fork()):
        middle = os.getpid()
        if not os.fork():
            while os.getppid() == middle:
                pass
            os.write(write, b'%d' % os.getppid())
        os._exit(0)
    os.waitpid(child, 0)
    return int(os.read(read, 20)) == os.getppid()

def limits():
    return {name: list(resource.getrlimit(getattr(resource, name)))
            for name in ('RLIMIT_AS', 'RLIMIT_CPU', 'RLIMIT_FSIZE', 'RLIMIT_NPROC', 'RLIMIT_CORE')}

def more_than_allowed():
    limit = sys.modules['grading_worker.server'].limit
    limit({'RLIMIT_AS': 1 << 60, 'RLIMIT_CPU': 999, 'RLIMIT_FSIZE': 5, 'RLIMIT_NPROC': 1 << 30, 'RLIMIT_CORE': 9})
    return limits()

def used():
    with open('/proc/self/statm') as file:
        return int(file.read().split()[0]) * resource.getpagesize()

def old_names():
    return [np.float is float, np.int is int, np.object is object, int(np.product([2, 3])), np.asscalar(np.ones(1))]

def libraries(names):
    return [name in sys.modules for name in names]

def torch_was_asked():
    return sys.modules['torch'].asked
'''
TORCH = '''
asked = []
def manual_seed(number):
    asked.append(['seed', number])
def zeros(*args, **kwargs):
    asked.append(['zeros', args, kwargs])
    return 'zeros'
class optim:
    def SGD(*args, **kwargs):
        asked.append(['SGD', args, kwargs])
'''
LIBRARIES = ['counted', 'broken', 'not_there', 'torch']


@pytest.fixture(scope='module')
def server():
    with Server(bubblewrap=False) as server:  # its folder comes first in where libraries are looked for
        for name, text in {'torch': TORCH, 'counted': '', 'broken': '1 / 0'}.items():
            (server.work / f'{name}.py').write_text(text)
        yield server


@pytest.fixture
def opened(server, tmp_path):
    (tmp_path / 'fails.py').write_text(FAILS)
    (tmp_path / 'room.py').write_text(ROOM)
    with server.open(tmp_path, LIBRARIES) as solution:
        yield solution


def test_one_seed_gives_the_same_numbers(opened):
    for number in (7, 8):
        opened.ask('seed', number=number)
        assert opened.ask('function', module='room', name='draws', args=[]) == [
            np.random.RandomState(number).randint(1000), random.Random(number).randint(0, 999)]
    assert opened.ask('function', module='room', name='torch_was_asked', args=[])[-2:] == [['seed', 7], ['seed', 8]]


def line_of(text, words):
    return text.split('\n').index(words) + 1


def test_what_a_solution_raises_is_told_with_the_places_in_its_own_files(opened):
    def failure(name, *args):
        with pytest.raises(SolutionError) as failed:
            opened.ask('function', module='fails', name=name, args=list(args))
        return failed.value.kind, failed.value.message, failed.value.places, str(failed.value)

    last = line_of(FAILS, "    raise ValueError('one\\n  two ' + 'x' * 600)")
    message = 'one two ' + 'x' * 292
    assert failure('deep', 9) == ('ValueError', message, [('fails.py', last - 1)] * 4 + [('fails.py', last)],
                                  f'ValueError: {message} (fails.py, line {last})')
    line = line_of(FAILS, '    raise SystemExit(5)')
    assert failure('leaves') == ('SystemExit', '5', [('fails.py', line)], f'SystemExit: 5 (fails.py, line {line})')
    line = line_of(FAILS, "    json.loads('{')")
    kind, _, places, _ = failure('library')
    assert (kind, places) == ('JSONDecodeError', [('fails.py', line)])
    line = line_of(FAILS, '    raise KeyError')
    assert failure('nameless') == ('KeyError', '', [('fails.py', line)], f'KeyError (fails.py, line {line})')
    assert failure('not_there')[::2] == ('AttributeError', [])
    with pytest.raises(SolutionError) as failed:
        opened.ask('no_such_operation')
    assert failed.value.kind == 'AttributeError'


def test_a_file_that_is_no_python_is_told_with_its_line(server, tmp_path):
    (tmp_path / 'student.py').write_text('x = 1\ndef f(:\n')
    with server.open(tmp_path) as solution, pytest.raises(SolutionError) as failed:
        solution.ask('import_module', name='student')
    assert (failed.value.kind, failed.value.places) == ('SyntaxError', [('student.py', 2)])


def test_what_it_prints_is_there_when_it_has_answered(opened):
    for text in ('first', 'second'):
        opened.ask('function', module='fails', name='prints', args=[text])
    assert (opened.output, opened.printed) == (b'first\nsecond\n', 13)
    assert opened.ask('function', module='fails', name='broken_output', args=[]) == 'still here'


@pytest.mark.parametrize('name, arguments, words', [
    ('leaves_for_good', [3], 'it ended its process (exit code 3)'),
    ('by_signal', [9], 'its process was ended by signal 9 (memory, or killed)'),
    ('by_signal', [11], 'its process was ended by signal 11 (a crash)'),
    ('by_signal', [24], 'its process was ended by signal 24 (processor time)'),
    ('by_signal', [25], 'its process was ended by signal 25 (file size)'),
    ('by_signal', [15], 'its process was ended by signal 15')])
def test_how_it_ended_is_told(opened, name, arguments, words):
    for _ in range(2):
        with pytest.raises(SolutionEnded) as gone:
            opened.ask('function', module='fails', name=name, args=arguments)
        assert str(gone.value) == words == opened.ended
    assert opened.close() is None, 'it has been closed'
    assert not opened.folder.exists()


def test_a_process_that_can_not_be_set_up_ends_by_itself(server, tmp_path):
    with Solution(server, tmp_path / 'nowhere', ()) as solution, pytest.raises(SolutionEnded) as gone:
        solution.ask('import_module', name='room')
    assert str(gone.value) == 'it ended its process (exit code 0)'


def test_a_process_has_its_folder_three_files_and_no_more(opened, server):
    assert opened.ask('function', module='room', name='fds', args=[]) == [
        [0, 1, 2, 3, 4, 5], '', True, False, False]
    assert opened.ask('function', module='room', name='process', args=[]) == {
        'argv': ['solution'], 'leads': True, 'here': True, 'errors': ['ignore'] * 4, 'first': True, 'ours': [],
        'looks': 0, 'environment': sandbox.environment(server.work)}
    assert (opened.output, opened.printed) == (b'', 0), 'warnings are not shown'
    assert opened.ask('function', module='room', name='old_names', args=[]) == [True, True, True, 6, 1.0]


def test_what_it_leaves_behind_is_the_servers(opened):
    assert opened.ask('function', module='room', name='adopts_an_orphan', args=[])


def test_limits_are_what_the_sandbox_says_on_top_of_what_is_in_use(opened):
    limits = opened.ask('function', module='room', name='limits', args=[])
    used = opened.ask('function', module='room', name='used', args=[])
    address, tasks = (limits.pop(name) for name in ('RLIMIT_AS', 'RLIMIT_NPROC'))
    assert address[0] == address[1] and tasks[0] == tasks[1]
    assert abs(address[0] - sandbox.LIMITS['RLIMIT_AS'] - used) < 64 << 20
    assert sandbox.LIMITS['RLIMIT_NPROC'] + 2 < tasks[0] < sandbox.LIMITS['RLIMIT_NPROC'] + 100_000
    assert limits == {name: [value, value] for name, value in sandbox.LIMITS.items() if name in limits}
    assert opened.ask('function', module='room', name='more_than_allowed', args=[]) == {
        'RLIMIT_AS': address, 'RLIMIT_CPU': limits['RLIMIT_CPU'], 'RLIMIT_FSIZE': [5, 5], 'RLIMIT_NPROC': tasks,
        'RLIMIT_CORE': [0, 0]}


def test_libraries_are_loaded_once_before_it_starts(server, tmp_path):
    (tmp_path / 'room.py').write_text(ROOM)
    for _ in range(2):
        with server.open(tmp_path, LIBRARIES) as solution:
            assert solution.ask('function', module='room', name='libraries', args=[LIBRARIES]) == [
                True, False, False, True]
            assert solution.ask('function', module='room', name='torch_was_asked', args=[]) == [
                ['zeros', [1], {'requires_grad': True}], ['SGD', [['zeros']], {'lr': 1.0}]]
