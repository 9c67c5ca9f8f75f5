"""What differs from solution to solution and from year to year: what the judge makes of it, and what it says.

The linear modules are classes of one file, each with another constructor; what is met and told of each is approved.
"""

import re
import sys

import numpy as np
import pytest

from approval import assert_approved
from grading.interface import LinearMaker, Malformed, Session, as_array
from grading.remote import Ref, Server, SolutionEnded, SolutionError

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='solutions are run on Linux')

ARGUMENTS = 'n_in, n_out'
# The parameters of the constructor, the parameters of the module, its gradients, further statements.
LINEAR = [
    (ARGUMENTS, "{'weight': np.ones((n_out, n_in)), 'bias': np.zeros(n_out)}"),
    (ARGUMENTS, "{'weight': np.ones((n_in, n_out)), 'bias': np.zeros((1, n_out))}"),
    (ARGUMENTS, "{'W': np.ones((n_in, n_out), 'f'), 'b': np.zeros((n_out, 1), 'f')}"),
    (ARGUMENTS, "{'w': np.ones((n_out, n_in)), 'B': 0.5}"),
    (ARGUMENTS, "{'kernel': np.ones((n_out, n_in)), 'biases': np.zeros(1), 'bias_used': 1}"),
    (ARGUMENTS, "{'weights': np.ones((n_out, n_in)), 'bias': np.zeros((1, 1))}"),
    (ARGUMENTS, "{'weight': np.ones((n_out, n_in)), 'weights': 0, 'bias': 0, 'b': 'no'}"),
    ('in_features, out_features, input_layer=False',
     "{'weight': np.ones((out_features, in_features)) * (2 if input_layer else 1), 'bias': np.zeros(out_features)}"),
    (f'{ARGUMENTS}, input_layer', "{'weight': np.ones((n_out, n_in)), 'bias': np.zeros(n_out) + input_layer}"),
    (f'{ARGUMENTS}, alpha, neg_slope, leak_rate, negative_part, use_bias, use_batch_norm, dropout_rate, init_small, '
     'Activation, layer_name, batch_size, lr, learning_rate, seed, other, given=1, *more, only, **most',
     "{'weight': np.ones((n_out, n_in)), 'bias': np.zeros(n_out)}"),
    ('*args, **kwargs', "{'weight': np.ones(args[::-1]), 'bias': np.zeros(args[1])}"),
    # what the gradients are
    (ARGUMENTS, "{'weight': np.ones((n_in, n_out)), 'bias': np.zeros((1, n_out))}",
     "{'weight': np.array([[1, 2], [3, 4], [5, 6]]), 'bias': np.array([[7], [8]])}"),
    (ARGUMENTS, "{'weight': np.ones((n_out, n_in)), 'bias': np.zeros(n_out)}",
     "{'weight': [[1, 2, 3], [4, 5, 6]], 'bias': [7.5, 8]}"),
    (ARGUMENTS, "{'weight': np.ones((n_in, n_out)), 'bias': np.zeros(n_out)}",
     "{'weight': np.arange(12).reshape(2, 3, 2), 'bias': np.arange(2).reshape(1, 1, 2)}"),
    (ARGUMENTS, "{'weight': np.ones((n_in, n_out)), 'bias': np.zeros(n_out)}",
     "{'weight': np.arange(6), 'bias': np.arange(3)}"),
    *[(ARGUMENTS, "{'weight': np.ones((n_out, n_in)), 'bias': np.zeros(n_out)}",
       f"{{'weight': {weight}, 'bias': {bias}}}")
      for weight, bias in [('None', '7'), ('True', 'np.float32(0.5)'), ("'text'", '[[1], [2, 3]]'),
                           ('{}', "['a', 'b']"), ('object()', '[None]'), ('(1, 2)', '[True]'),
                           ('[np.ones(2), np.zeros(2)]', '[]')]],
    (ARGUMENTS, "{'weight': np.ones((n_out, n_in)), 'bias': np.zeros(n_out)}", '{}'),
    # what can't be used
    (ARGUMENTS, None), (ARGUMENTS, 'None'), (ARGUMENTS, '[np.ones((n_out, n_in)), np.zeros(n_out)]'),
    (ARGUMENTS, '{}'), (ARGUMENTS, "{'weight': np.ones((n_out, n_in)), 'beta': 1, 'gamma': 2}"),
    (ARGUMENTS, "{'Weight': np.ones((n_out, n_in)), 'bias': np.zeros(n_out)}"),
    *[(ARGUMENTS, f"{{'W': {weight}, 'bias': np.zeros(n_out)}}") for weight in (
        'None', 'np.ones(6)', 'np.ones((n_in, n_in))', 'np.ones((n_out, n_in)).tolist()', '0.5', 'Tensor()', '{}',
        "'N(0, 1)'")],
    *[(ARGUMENTS, f"{{'weight': np.ones((n_out, n_in)), 'b': {bias}}}") for bias in (
        'None', 'np.zeros(n_in)', 'np.zeros((1, 1, n_out))', '[0, 0]', "'zero'", 'Tensor()', 'np.zeros((2, 2))')],
    ('sizes', "{'weight': np.ones(sizes), 'bias': 0}"),
    (ARGUMENTS, '1 / 0'),
    ('', '{}'),
]
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


def class_of(number, arguments, params, grads=None):
    lines = [f'class Linear{number}:', f'    def __init__(self, {arguments}):', '        pass']
    if params:
        lines.append(f'        self.params = {params}')
    if grads:
        lines.append(f'        self.grads = {grads}')
    return '\n'.join(lines) + '\n'


@pytest.fixture(scope='module')
def server():
    with Server(bubblewrap=False) as server:
        yield server


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('solution')
    text = FILE + '\n'.join(class_of(number, *linear) for number, linear in enumerate(LINEAR))
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


def told(session, cls, arguments, params, grads=None):
    session.interface.clear()
    lines = [f'### ({arguments}) {params}' + (f' {grads}' if grads else '')]
    try:
        maker = LinearMaker(session, cls)
    except (SolutionError, Malformed) as error:
        error = re.sub(r'line \d+', 'line …', str(error).replace(cls, 'LinearModule'))
        return '\n'.join([*lines, f'cannot be built: {error}'])
    lines.append(f'met: {"; ".join(session.interface)}'.replace(f'{cls}(', 'LinearModule('))
    linear = maker.make(3, 2, *[True] * maker.has_input_layer)
    before = ', '.join(f'{number:g}' for number in [linear.parameter('weight')[0, 0], *linear.parameter('bias')])
    linear.set_parameters(np.array([[1.0, 2, 3], [4, 5, 6]]), np.array([7.0, 8]))
    stored = [linear.get('params', [key]) for key in maker.keys.values()]
    lines.append(f'starts with {before}, stores {", ".join(str(np.shape(value)) for value in stored)}')
    lines += [f'{name}: {text_of(lambda: linear.parameter(name))}' for name in ('weight', 'bias')]
    if grads:
        lines += [f'gradient of {name}: {text_of(lambda: linear.gradient(name))}' for name in ('weight', 'bias')]
    assert maker.around(linear.ref).shape == linear.shape == (2, 3)
    return '\n'.join(lines)


def test_linear_modules_of_all_kinds_are_met_as_approved(session):
    texts = [told(session, f'Linear{number}', *linear) for number, linear in enumerate(LINEAR)]
    assert_approved('grading_interface', '\n\n'.join(texts) + '\n')


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
    (Ref(3, 'Tensor'), 'an object of type Tensor'), ([None], 'a list')])
def test_what_is_no_array_is_named(value, words):
    with pytest.raises(Malformed) as error:
        as_array(value, 'forward returned')
    assert str(error.value) == f'forward returned {words}, no array'


