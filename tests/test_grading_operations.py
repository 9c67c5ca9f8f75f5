"""Messages to and from the process of a solution, and what it answers to each question: whole values compared."""

import io

import numpy as np
import pytest

from grading.remote import SolutionError
from grading.worker.messages import Ref, Unreadable, pack, read
from in_process import Server

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

def accuracy(predictions, targets):
    return [predictions, targets]

def lock(calls):
    calls.kept.flags.writeable = False
'''
NETS = '''
import numpy as np
import parts
from collections import deque
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
        self.slots.inner = deque([Linear(13)])
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


def same(actual, expected):
    """Are two values equal, with the types of their parts, and the types and shapes of their arrays?"""
    if isinstance(expected, np.ndarray):
        return isinstance(actual, np.ndarray) and actual.dtype == expected.dtype and actual.shape == expected.shape \
            and np.array_equal(actual, expected) and actual.flags.writeable
    if isinstance(expected, dict):
        return isinstance(actual, dict) and list(actual) == list(expected) and all(
            same(actual[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return isinstance(actual, list) and len(actual) == len(expected) and all(map(same, actual, expected))
    return type(actual) is type(expected) and actual == expected


@pytest.fixture
def opened(tmp_path):
    for name, text in {'parts': PARTS, 'things': THINGS, 'nets': NETS}.items():
        (tmp_path / f'{name}.py').write_text(text)
    with Server().open(tmp_path) as solution:
        yield solution


def test_signature_and_classes(opened):
    assert opened.ask('signature', module='things', name='every_kind') == [
        ['a', 'POSITIONAL_ONLY', False], ['b', 'POSITIONAL_OR_KEYWORD', False], ['c', 'POSITIONAL_OR_KEYWORD', True],
        ['rest', 'VAR_POSITIONAL', False], ['d', 'KEYWORD_ONLY', False], ['e', 'KEYWORD_ONLY', True],
        ['more', 'VAR_KEYWORD', False]]
    methods = {name: value for name, value in vars(list).items() if callable(value) and not name.startswith('__')}
    assert opened.ask('classes', module='things') == [
        ['Linear', ['forward'], [], 'parts.py'], ['Special', ['_hidden', 'forward'], ['Linear'], 'parts.py'],
        ['alias', ['forward'], [], 'parts.py'], ['Base', ['method'], [], 'things.py'],
        ['Shared', sorted([*methods, 'method']), ['Base', 'list'], 'things.py'],
        ['Calls', ['changes_the_last', 'double', 'first_and_back', 'nothing', 'same_again'], [], 'things.py']]


def test_objects_are_made_and_called_and_what_that_does_to_arrays_is_told(opened):
    arrays = [np.zeros(3), np.array([np.nan, 1.0]), [5], 4, np.zeros((3, 1)), [], 'text']
    assert opened.ask('new', module='things', name='Calls', args=arrays, kwargs={'key': 'value'}) == {
        'made': Ref(0, 'Calls'), 'changed': [0, 2, 4, 5]}
    assert opened.ask('new', module='things', name='Base', args=[]) == {'made': Ref(1, 'Base'), 'changed': []}
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
    assert same(opened.ask('accuracy', args=['things', ones, calls, False]), [ones, Ref(4, 'Calls')])


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
    found = opened.ask('find', target=net, module='parts', classes=['Linear', 'Special'])
    sizes = [opened.ask('function', module='nets', name='inputs_of', args=[ref]) for ref, _ in found]
    assert sizes == [4, 9, 5, 6, 8, 13, 7, 1, 2, 3]
    assert [name for _, name in found] == ['Linear', 'Linear', 'Special', *['Linear'] * 7]
    assert opened.ask('find', target=net, module='nets', classes=['Builds']) == []
    found = opened.ask('find', target=net, module='parts', classes=['Linear'])
    assert [name for _, name in found] == ['Linear'] * 10, 'a class below the wanted one is one too'


def test_sizes_are_what_the_linear_modules_are_asked_for(opened):
    assert opened.ask('sizes', module='nets', name='Builds', args=[[5, 4, 3]], kwargs={}, linear='Linear') == [
        [5, 4], [4, 3], [3, 4]]
    with pytest.raises(SolutionError, match='ValueError: why'):
        opened.ask('sizes', module='nets', name='Builds', args=[[5, 4, 3]], kwargs={'extra': 'why'}, linear='Linear')
    made = opened.ask('new', module='nets', name='Linear', args=[2])['made']
    assert made.type == 'Linear', 'the class is back in its place'


class Tensor:
    """As PyTorch's."""

    def detach(self):
        return self

    cpu = detach

    def numpy(self):
        return np.array([1.5])


def sent(value):
    """What arrives when a solution returns a value; objects that it keeps are numbered from 7."""
    kept = []

    def keep(kept_value):
        kept.append(kept_value)
        return Ref(6 + len(kept), type(kept_value).__name__)

    return read(io.BytesIO(pack({'value': value}, keep)), lambda ref: ref)['value']


@pytest.mark.parametrize('value, expected', [*((value, value) for value in (True, 3, -2.5, float('inf'), None, 'é')),
    ('é' * 10_001, 'é' * 10_000), (np.float32(0.5), np.array(0.5, np.float32)), (np.str_('text'), 'text'),
    (np.arange(6, dtype='>i4').reshape(2, 3), np.arange(6, dtype='<i4').reshape(2, 3)),
    (np.arange(6.0).reshape(2, 3).T, np.array([[0.0, 3], [1, 4], [2, 5]])), (np.zeros((0, 4)), np.zeros((0, 4))),
    (np.zeros((2,) * 8, np.uint8), np.zeros((2,) * 8, np.uint8)), (Tensor(), np.array([1.5])),
    (np.array([1j]), Ref(7, 'ndarray')), (np.complex64(1), Ref(7, 'complex64')), (object(), Ref(7, 'object')),
    (Ref(1, 'Mine'), Ref(1, 'Mine')), ([1, (2, [])], [1, [2, []]]), ([[[[[1]]]]], [[[[Ref(7, 'list')]]]]),
    (list(range(10_001)), list(range(10_000))), ({(1,): 2, 'b': {'c': [None]}}, {'(1,)': 2, 'b': {'c': [None]}}),
    ({'array': [np.ones(1)], 'object': 5}, {'array': [np.ones(1)], 'object': 5})])
def test_every_kind_of_value_comes_back(value, expected):
    assert same(sent(value), expected)


def test_a_message_is_a_size_json_and_arrays_and_the_grader_sends_plain_numbers():
    array = np.array([[1, 2], [3, 4]], np.int16)
    message = pack({'op': 'a\nb', 'of': [array.T, np.float32(0.5), array[0]], 'to': Ref(3)})
    assert message == (b'12 {"op": "a\\nb", "of": [{"@array": ["<i2", [2, 2]]}, 0.5, {"@array": ["<i2", [2]]}], '
                       b'"to": {"@object": [3, ""]}}\n' + bytes([1, 0, 3, 0, 2, 0, 4, 0, 1, 0, 2, 0]))
    objects, pipe = ['zero', 'one', 'two', 'three'], io.BytesIO(message * 2 + message[:-1])
    for _ in range(2):
        assert read(pipe, lambda ref: objects[ref.number])['to'] == 'three'
    assert read(pipe, None) is None, 'not whole'


@pytest.mark.parametrize('answer', [
    b'{,}', b'[]', b'"value"', b'\xff', b'[', b'[' * 30_000, b'', *(b'{"value": %s}' % value for value in (
        b'{"@array": ["|O", [1]]}', b'{"@array": ["<c8", [1]]}', b'{"@array": ["<f8", [-1]]}', b'{"@array": ["<f8", [1.0]]}',
        b'{"@array": ["<f8", [20000000, 2000000]]}', b'{"@array": ["<f8", [true]]}', b'{"@array": ["<f8", [2]]}',
        b'{"@array": ["<f8", [0, 100000000]]}', b'{"@array": ["|u1", [%s]]}' % b', '.join([b'1'] * 33),
        b'[{"@array": ["<f8", [1]]}, {"@array": ["<f8", [1]]}]', b'{"@array": ["<f8", 1]}', b'{"@array": ["<f8"]}',
        b'{"@array": [["<f8"], [1]]}', b'{"@array": null}', b'{"@object": null}', b'{"@object": ["x", ""]}',
        b'{"@object": [Infinity, ""]}'))])
def test_nonsense_is_refused(answer):
    with pytest.raises(Unreadable, match='^cannot be read$'):
        read(io.BytesIO(b'8 %s\n%s' % (answer, bytes(8))), lambda ref: ref)
