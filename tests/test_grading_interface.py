"""What differs from solution to solution and from year to year: what the judge makes of it, and what it says.

The linear modules are classes of one file. In the catalogue grading_interface.txt, a case is a constructor's arguments →
the module's parameters → its gradients.
"""

import re
import sys

import numpy as np
import pytest

import catalogue
from grading.interface import LinearMaker, Malformed, Session, as_array
from grading.remote import Ref, Server, SolutionEnded, SolutionError

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='solutions are run on Linux')

FILE = '''
import os
import numpy as np

class Tensor:
    pass

class Mean:
    def __init__(self, sizes=()):
        if sizes:
            sizes.append(1)
        self.out = np.zeros(2)

    def mean(self, x):
        return x.mean()

    def inplace(self, x):
        x *= 2
        return x

    def same(self, x):
        return x[:1]

    def again(self, x):
        self.out += x
        return self.out

    def end(self):
        print('the end', flush=True)
        os._exit(3)

    def nothing(self):
        pass
'''


CASES = [changes[0] for _, _, changes in catalogue.cases('grading_interface')]


def class_of(number, arguments, attributes):
    params, _, grads = attributes.partition(' → ')
    lines = [f'class Linear{number}:', f'    def __init__(self, {arguments}):', '        pass']
    lines += [f'        self.{name} = {value}' for name, value in (('params', params), ('grads', grads)) if value]
    return '\n'.join(lines) + '\n'


@pytest.fixture(scope='module')
def server():
    with Server(bubblewrap=False) as server:
        yield server


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('solution')
    text = FILE + '\n'.join(class_of(number, *linear) for number, linear in enumerate(CASES))
    (folder / 'modules.py').write_text(text)
    (folder / 'raises.py').write_text('print("once", flush=True)\nraise OSError("no such thing")\n')
    return folder


@pytest.fixture(scope='module')
def session(server, folder):
    session = Session(server, folder)
    yield session
    session.close()


def text_of(value):
    """An array as its shape and its numbers, an exception as what it says."""
    try:
        value = value()
    except (SolutionError, Malformed) as error:
        return f'{type(error).__name__}: {error}'
    return f'{value.dtype.kind}{list(value.shape)} {value.ravel().tolist()}'


def told(session, cls, grads):
    session.interface.clear()
    try:
        maker = LinearMaker(session, cls)
    except (SolutionError, Malformed) as error:
        error = re.sub(r'line \d+', 'line …', str(error).replace(cls, 'LinearModule'))
        return [f'cannot be built: {error}']
    lines = [f'met: {"; ".join(session.interface)}'.replace(f'{cls}(', 'LinearModule(')]
    linear = maker.make(3, 2, *[True] * maker.has_input_layer)
    before = ', '.join(f'{number:g}' for number in [linear.parameter('weight')[0, 0], *linear.parameter('bias')])
    linear.set_parameters(np.array([[1.0, 2, 3], [4, 5, 6]]), np.array([7.0, 8]))
    stored = [linear.get('params', [key]) for key in maker.keys.values()]
    lines.append(f'starts with {before}, stores {", ".join(str(np.shape(value)) for value in stored)}')
    lines += [f'{name}: {text_of(lambda: linear.parameter(name))}' for name in ('weight', 'bias')]
    if grads:
        lines += [f'gradient of {name}: {text_of(lambda: linear.gradient(name))}' for name in ('weight', 'bias')]
    assert maker.around(linear.ref).shape == linear.shape == (2, 3)
    return lines


def test_linear_modules_of_all_kinds_are_met_as_approved(session):
    classes = (f'Linear{number}' for number in range(len(CASES)))
    catalogue.assert_catalogue('grading_interface', lambda title, changes: told(
        session, next(classes), ' → ' in changes[0][1]))


def test_a_linear_module_in_a_net_has_the_shape_of_its_weight(session):
    maker = LinearMaker(session, 'Linear1')  # stored (M, N)
    linear = maker.make(4, 5)
    assert (linear.shape, maker.around(linear.ref).shape) == ((5, 4), (5, 4))
    linear.set(['params', ['weight']], np.ones(6))
    with pytest.raises(Malformed, match=re.escape('a weight in the MLP has shape (6,)')):
        maker.around(linear.ref)


def test_what_calls_do_to_their_arguments_and_results_is_noted(session):
    session.facts.clear()
    thing = session.new('modules', 'Mean', [])
    assert session.facts == {}
    assert session.new('modules', 'Mean', [[1]]).cls == 'Mean' and session.facts == {('Mean', '__init__'): {'changed'}}
    x = np.array([1.0, 2])
    assert [thing.call(method, x).tolist() for method in ('inplace', 'same', 'again', 'again')] == [
        [2, 4], [1], [1, 2], [2, 4]]
    assert thing.array('mean', x) == 1.5 and thing.call('mean', x) == 1.5
    assert session.facts == {('Mean', '__init__'): {'changed'}, ('Mean', 'inplace'): {'changed', 'shares'},
                             ('Mean', 'same'): {'shares'}, ('Mean', 'again'): {'overwrote'}}
    with pytest.raises(Malformed, match=re.escape('Mean.nothing returned None, no array')):
        thing.array('nothing')


def test_a_process_that_has_ended_is_started_anew(server, folder):
    session = Session(server, folder)
    thing, first = session.new('modules', 'Mean', []), session.process
    with pytest.raises(SolutionEnded, match='exit code 3'):
        thing.call('end')
    assert session.process is first and first.ended
    thing = session.new('modules', 'Mean', [])
    assert session.process is not first and thing.call('mean', np.ones(2)) == 1
    for _ in range(2):
        with pytest.raises(SolutionError, match='no such thing'):
            session.require('raises')
    session.close()
    session.close()
    assert session.process is None and session.printed == len('the end\n') + len('once\n'), 'it is imported once'


@pytest.mark.parametrize('value, words', [
    (None, 'None'), (True, 'True'), ('a', "'a'"), ([[1], [1, 2]], 'a list'), (['a'], 'a list'), ({'a': 1}, 'a dict'),
    (Ref(3, 'Tensor'), 'an object of type Tensor'), ([None], 'a list'),
    (['a' * 10**6] * 10**6, 'a list')])  # no array of 4 TB is made of it
def test_what_is_no_array_is_named(value, words):
    with pytest.raises(Malformed) as error:
        as_array(value, 'forward returned')
    assert str(error.value) == f'forward returned {words}, no array'


