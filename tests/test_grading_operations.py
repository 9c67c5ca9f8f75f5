"""What the process of a solution answers to each question, and what it may see and use: whole answers compared."""

import random
import sys

import numpy as np
import pytest

from grading import sandbox
from grading.remote import Failed, Gone, Ref, Server, Solution
from whole_values import same

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='solutions are run on Linux')

PARTS = '''
import numpy as np

class Linear:
    def __init__(self, inputs, outputs=1, first=False):
        self.w = np.ones((outputs, inputs))

    def forward(self, x):
        return x

class Special(Linear):
    step = None

    def _hidden(self):
        pass

OF_THE_MODULE = Linear(10)
'''
THINGS = '''
import random
import numpy as np
import parts
from collections import OrderedDict
from fractions import Fraction
from parts import Linear, Special
from not_installed_anywhere import Thing

alias, number, same = Linear, 3, np.ones(2)
Made = type('Made', (), {'__module__': 'nowhere'})

class Base:
    def method(self):
        pass

class Shared(Base, list):
    SIZE = 1

def every_kind(a, /, b, c=1, *rest, d, e=None, **more):
    pass

class Calls:
    def __init__(self, *args, **kwargs):
        self.kwargs = kwargs
        for arg in args:
            if isinstance(arg, np.ndarray) and arg.size == 3:
                arg[0] = 7
            if isinstance(arg, list):
                arg.append(1)
        self.kept = np.zeros(2)
        self.loose = [1, {'deep': (2, 3)}]

    def double(self, x, times=2):
        return times * x

    def first_and_back(self, x, y, z, numbers):
        x[0] += 1
        numbers.append(4)
        return y[1:]

    def same_again(self, value):
        self.kept[:] = value
        return self.kept

    def changes_the_last(self, value):
        last, self.last = getattr(self, 'last', None), np.full(2, value)
        if last is not None:
            last += 1
        return self.last

    def nothing(self):
        pass

def together(*args, **kwargs):
    return [args, kwargs]

def draws():
    return [int(np.random.randint(1000)), random.randint(0, 999)]

def lock(calls):
    calls.kept.flags.writeable = False
'''
NETS = '''
import numpy as np
import parts
from parts import Linear, Special

class Holder:
    shared = [Linear(1)]
    by_name = {'a': Linear(2)}
    alone = Linear(3)
    ignored = 'text'

class Slots:
    __slots__ = ['inner']

class More(Special):
    pass

class Unused:
    inside = Linear(11)

class Net(Holder):
    def __init__(self):
        self.layers = [Linear(4), (Special(5), {'more': Linear(6)}), 7, 'text', None]
        self.again = self.layers[0]
        self.me = self
        self.function = lambda: 1
        self.function.inside = Linear(12)
        self.module = parts
        self.array = np.array([Linear(8)], dtype=object)
        self.kind = Unused
        self.layers[0].inside = Linear(9)
        self.slots = Slots()
        self.more = More(7)

class Builds:
    def __init__(self, sizes, extra=None):
        Linear(sizes[0], sizes[1])
        parts.Linear(np.int64(sizes[1]), True, outputs=sizes[2], name='x')
        Linear(1.5, inputs=3, outputs=4, first=5)
        if extra:
            raise ValueError(extra)

def inputs_of(linear):
    return linear.w.shape[1]
'''
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
import ctypes, os, resource, subprocess, sys, warnings
import numpy as np

def fds():
    child = subprocess.run(['ls', '/proc/self/fd'], capture_output=True, text=True).stdout.split()
    return [sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[:6], child[:3],
            os.read(0, 9).decode(), os.path.sameopenfile(1, 2), os.get_inheritable(3), os.get_inheritable(4)]

def process():
    warnings.warn('is not seen')
    return {'argv': sys.argv, 'leads': os.getsid(0) == os.getpid(), 'here': os.getcwd() == os.path.dirname(__file__),
            'zero': float(np.ones(1) @ (np.zeros(1) / np.zeros(1))) != 0, 'errors': set(np.geterr().values()) == {'ignore'},
            'first': os.path.dirname(__file__) == sys.path[0], 'ours': [p for p in sys.path if p == os.environ['HOME']],
            'looks': ctypes.CDLL(None).prctl(3), 'environment': dict(os.environ)}

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
    return [np.float is float, np.int is int, np.object is object, np.product is np.prod, float(np.asscalar(np.ones(1)))]

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
FILES = {'parts': PARTS, 'things': THINGS, 'nets': NETS, 'fails': FAILS, 'room': ROOM}


@pytest.fixture(scope='module')
def server():
    with Server(bubblewrap=False, timeout=20) as server:  # its folder comes first in where libraries are looked for
        for name, text in {'torch': TORCH, 'counted': '', 'broken': '1 / 0'}.items():
            (server.work / f'{name}.py').write_text(text)
        yield server


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('student')
    for name, text in FILES.items():
        (folder / f'{name}.py').write_text(text)
    return folder


@pytest.fixture
def opened(server, folder):
    with server.open(folder, ['counted', 'broken', 'not_there', 'torch']) as solution:
        yield solution


def test_signature_and_classes(opened):
    assert opened.ask('signature', module='things', name='every_kind') == [
        ['a', 'POSITIONAL_ONLY', False], ['b', 'POSITIONAL_OR_KEYWORD', False], ['c', 'POSITIONAL_OR_KEYWORD', True],
        ['rest', 'VAR_POSITIONAL', False], ['d', 'KEYWORD_ONLY', False], ['e', 'KEYWORD_ONLY', True],
        ['more', 'VAR_KEYWORD', False]]
    methods = {name: value for name, value in vars(list).items() if callable(value) and not name.startswith('__')}
    assert opened.ask('classes', module='things') == [
        ['Linear', ['forward'], []], ['Special', ['_hidden', 'forward'], ['Linear']], ['alias', ['forward'], []],
        ['Base', ['method'], []], ['Shared', sorted([*methods, 'method']), ['Base', 'list']],
        ['Calls', ['changes_the_last', 'double', 'first_and_back', 'nothing', 'same_again'], []]]


def test_objects_are_made_and_called_and_what_that_does_to_arrays_is_told(opened):
    arrays = [np.zeros(3), np.array([np.nan, 1.0]), [5], 4, np.zeros((3, 1)), [], 'text']
    assert opened.ask('new', module='things', name='Calls', args=arrays, kwargs={'key': 'value'}) == {
        'made': Ref(0), 'changed': [0, 2, 4, 5]}
    assert opened.ask('new', module='things', name='Base', args=[]) == {'made': Ref(1), 'changed': []}
    calls = Ref(0)
    assert opened.ask('get', target=calls, path=['kwargs']) == {'key': 'value'}

    def call(method, *args, **kwargs):
        return opened.ask('call', target=calls, method=method, args=list(args), **kwargs)

    ones = np.ones(2, np.float32)
    assert same(call('double', ones, kwargs={'times': 3}), {
        'value': 3 * ones, 'changed': [], 'shares': [], 'overwrote': False})
    assert same(call('double', 4), {'value': 8, 'changed': [], 'shares': []})
    assert same(call('double', [4, [5]]), {'value': [4, [5], 4, [5]], 'changed': [], 'shares': []})
    assert same(call('first_and_back', ones, np.arange(4), np.zeros(1), [3]), {
        'value': np.arange(1, 4), 'changed': [0, 3], 'shares': [1], 'overwrote': False})
    assert [call('same_again', value)['overwrote'] for value in (1, 1)] == [False, True]
    assert [call('changes_the_last', value)['overwrote'] for value in (1, 2)] == [False, True]
    assert call('nothing') == {'value': None, 'changed': [], 'shares': []}
    assert [opened.ask('has', target=calls, name=name) for name in ('double', 'kept', 'no')] == [True, False, False]
    assert same(opened.ask('function', module='things', name='together', args=[calls, [1, ones]], kwargs={'a': calls}),
                [[Ref(2, 'Calls'), [1, ones]], {'a': Ref(3, 'Calls')}])
    assert opened.ask('function', module='things', name='together', args=[]) == [[], {}]


def test_attributes_are_read_and_set_in_place_where_they_can_be(opened):
    opened.ask('new', module='things', name='Calls', args=[], kwargs={})
    things = Ref(0)

    def get(*path):
        return opened.ask('get', target=things, path=list(path))

    def put(value, *path):
        assert opened.ask('set', target=things, path=list(path), value=value) is None

    assert get('loose', [1], ['deep'], [0]) == 2 and get('loose') == [1, {'deep': [2, 3]}]
    opened.ask('call', target=things, method='same_again', args=[1])  # from now on `kept` is a result

    def is_still_there():
        return opened.ask('call', target=things, method='same_again', args=[1])['overwrote']

    put(np.array([5.0, 6.0]), 'kept')
    assert same(get('kept'), np.array([5.0, 6.0])) and is_still_there()
    put(np.array([5.0, 6.0], np.float32), 'kept')
    assert same(get('kept'), np.array([5.0, 6.0], np.float32)) and not is_still_there()
    put(np.zeros((1, 2), np.float32), 'kept')
    assert get('kept').shape == (1, 2) and not is_still_there()
    put(np.array([1, 2]), 'loose', [1], ['deep'])
    put(np.array([3, 4]), 'loose', [1], ['deep'])
    put(np.array([5]), 'loose', [0])
    assert same(get('loose'), [np.array([5]), {'deep': np.array([3, 4])}])


def test_an_array_that_can_not_be_written_is_replaced(opened):
    opened.ask('import_module', name='things')
    kept = opened.ask('new', module='things', name='Calls', args=[])['made']
    opened.ask('set', target=kept, path=['kept'], value=np.zeros(2))
    opened.ask('function', module='things', name='lock', args=[kept])
    opened.ask('set', target=kept, path=['kept'], value=np.ones(2))
    assert same(opened.ask('get', target=kept, path=['kept']), np.ones(2))


def test_layers_are_found_wherever_a_net_keeps_them(opened):
    net = opened.ask('new', module='nets', name='Net', args=[])['made']
    found = opened.ask('find', target=net, classes=[['parts', 'Linear'], ['parts', 'Special']])
    sizes = [opened.ask('function', module='nets', name='inputs_of', args=[ref]) for ref, _ in found]
    assert list(zip(sizes, [kind for _, kind in found])) == [(4, 0), (9, 0), (5, 1), (6, 0), (7, 0),
                                                              (1, 0), (2, 0), (3, 0)]
    assert opened.ask('find', target=net, classes=[['nets', 'Builds']]) == []
    found = opened.ask('find', target=net, classes=[['parts', 'Linear']])
    assert [kind for _, kind in found] == [0] * 8, 'a class below the wanted one is one too'


def test_sizes_are_what_the_linear_modules_are_asked_for(opened):
    for _ in range(2):  # the class is back in its place
        assert opened.ask('sizes', module='nets', name='Builds', args=[[5, 4, 3]], kwargs={}, linear='Linear') == [
            [5, 4], [4, 3], [3, 4]]
    with pytest.raises(Failed, match='ValueError: why'):
        opened.ask('sizes', module='nets', name='Builds', args=[[5, 4, 3]], kwargs={'extra': 'why'}, linear='Linear')
    assert opened.ask('new', module='nets', name='Linear', args=[2])['changed'] == []


def test_one_seed_gives_the_same_numbers(opened):
    for number in (7, 8):
        opened.ask('seed', number=number)
        assert opened.ask('function', module='things', name='draws', args=[]) == [
            np.random.RandomState(number).randint(1000), random.Random(number).randint(0, 999)]
    assert opened.ask('function', module='room', name='torch_was_asked', args=[])[-2:] == [['seed', 7], ['seed', 8]]


def line_of(text, words):
    return text.split('\n').index(words) + 1


def test_what_a_solution_raises_is_told_with_the_places_in_its_own_files(opened):
    def failure(name, *args):
        with pytest.raises(Failed) as failed:
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
    with pytest.raises(Failed) as failed:
        opened.ask('no_such_operation')
    assert failed.value.kind == 'AttributeError'


def test_a_file_that_is_no_python_is_told_with_its_line(server, tmp_path):
    (tmp_path / 'student.py').write_text('x = 1\ndef f(:\n')
    with server.open(tmp_path) as solution, pytest.raises(Failed) as failed:
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
        with pytest.raises(Gone) as gone:
            opened.ask('function', module='fails', name=name, args=arguments)
        assert str(gone.value) == words == opened.ended
    assert opened.close() is None, 'it has been closed'
    assert not opened.folder.exists()


def test_a_process_that_can_not_be_set_up_ends_by_itself(server, tmp_path):
    with Solution(server, tmp_path / 'nowhere', ()) as solution, pytest.raises(Gone) as gone:
        solution.ask('import_module', name='things')
    assert str(gone.value) == 'it ended its process (exit code 0)'


def test_a_process_has_its_folder_three_files_and_no_more(opened, server):
    assert opened.ask('function', module='room', name='fds', args=[]) == [
        [0, 1, 2, 3, 4, 5], ['0', '1', '2'], '', True, False, False]
    assert opened.ask('function', module='room', name='process', args=[]) == {
        'argv': ['solution'], 'leads': True, 'here': True, 'zero': True, 'errors': True, 'first': True, 'ours': [],
        'looks': 0, 'environment': sandbox.environment(server.work)}
    assert (opened.output, opened.printed) == (b'', 0), 'warnings are not shown'
    assert opened.ask('function', module='room', name='old_names', args=[]) == [True, True, True, True, 1.0]


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


def test_libraries_are_loaded_once_before_it_starts(server, folder):
    for _ in range(2):
        with server.open(folder, ['counted', 'broken', 'not_there', 'torch']) as solution:
            names = ['counted', 'broken', 'not_there', 'torch']
            assert solution.ask('function', module='room', name='libraries', args=[names]) == [True, False, False, True]
            assert solution.ask('function', module='room', name='torch_was_asked', args=[]) == [
                ['zeros', [1], {'requires_grad': True}], ['SGD', [['zeros']], {'lr': 1.0}]]
