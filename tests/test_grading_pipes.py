"""The judge's end of the pipes: what it sends, what it takes for an answer, and what it says where there is none."""

import io
import os
import struct
import sys
import threading

import numpy as np
import pytest

from grading import remote, sandbox
from grading.remote import SolutionError, SolutionEnded, NoServer, Ref, Solution
from grading.worker.messages import Objects, read_message, write_message
from whole_values import same

pytestmark = pytest.mark.skipif(not sys.platform.startswith('linux'), reason='solutions are run on Linux')


class Script:
    """In the place of a Server: a solution's end of the pipes, to be written and read by the test."""

    def __init__(self, work, status=0):
        self.work, self.timeout, self.status, self.messages, self.stopped = work, 5, status, [], 0

    def command(self, message, fds=()):
        self.messages.append(message)
        if fds:
            self.requests, self.replies, self.output = map(os.dup, fds)
            return {}
        if self.status is None:
            raise NoServer
        return {'status': self.status}

    def stop(self):
        self.stopped += 1

    def close(self, *names):
        for name in names or ('requests', 'replies', 'output'):
            if getattr(self, name, None) is not None:
                os.close(getattr(self, name))
                setattr(self, name, None)

    def says(self, header, arrays=()):
        file = io.BytesIO()
        write_message(file, header, arrays)
        os.write(self.replies, file.getvalue())

    def was_asked(self):
        return read_message(io.BytesIO(os.read(self.requests, 1 << 16)))


@pytest.fixture
def script(tmp_path):
    script = Script(tmp_path)
    yield script
    script.close()


@pytest.fixture
def solution(script, tmp_path):
    (tmp_path / 'solution').mkdir()
    with Solution(script, tmp_path / 'solution', ('torch',)) as solution:
        yield solution


def test_a_solution_is_started_with_its_folder_its_limits_and_its_libraries(solution, script):
    assert script.messages == [{'folder': str(solution.folder), 'limits': sandbox.LIMITS, 'preload': ['torch']}]
    assert (solution.output, solution.printed, solution.ended, solution.timeout) == (b'', 0, None, 5)
    (solution.folder / 'file').touch()
    assert solution.close() == 0 and not solution.folder.exists()
    assert script.messages[1:] == [{'end': True}]
    assert solution.close() is None and len(script.messages) == 2, 'closed once'


def test_a_server_that_went_with_its_solution_is_stopped(solution, script):
    script.status = None
    assert solution.close() is None and script.stopped == 1


def test_a_message_is_a_length_json_and_arrays(solution, script):
    script.says({'value': None})
    array = np.array([[1, 2], [3, 4]], np.int16)
    assert solution.ask('op', name=array.T, also=[Ref(3), (np.float32(0.5), 'é')], more={'a': Ref(1), 'b': array[0]}) \
        is None
    text = (b'{"op": "op", "name": {"array": ["<i2", [2, 2]]}, "also": [{"object": 3}, [0.5, "\\u00e9"]], '
            b'"more": {"a": {"object": 1}, "b": {"array": ["<i2", [2]]}}}')
    assert os.read(script.requests, 1000) == struct.pack('>Q', len(text)) + text + bytes(
        [1, 0, 3, 0, 2, 0, 4, 0, 1, 0, 2, 0])


class Tensor:
    """As PyTorch's."""

    def detach(self):
        return Detached()


class Detached:
    def cpu(self):
        return self

    def numpy(self):
        return np.array([1.5])


Tensor.cpu = None
OnlyDetached = type('OnlyDetached', (), {'detach': None})
OnlyMoved = type('OnlyMoved', (), {'cpu': None})
VALUES = [  # what a solution returns, and what the judge gets
    (True, True), (3, 3), (-2.5, -2.5), (float('inf'), float('inf')), ('é' * 10_001, 'é' * 10_000), (None, None),
    (np.float32(0.5), np.array(0.5, np.float32)), (np.array([True, False]), np.array([True, False])),
    (np.arange(6, dtype='>i4').reshape(2, 3), np.arange(6, dtype='<i4').reshape(2, 3)),
    (np.arange(6.0).reshape(2, 3).T, np.array([[0.0, 3], [1, 4], [2, 5]])), (np.zeros((0, 4)), np.zeros((0, 4))),
    (np.zeros((1,) * 8, np.uint8), np.zeros((1,) * 8, np.uint8)), (Tensor(), np.array([1.5])),
    (np.array([1j]), Ref(0, 'ndarray')), (np.array(['text']), Ref(0, 'ndarray')), (np.str_('text'), 'text'),
    (np.complex64(1), Ref(0, 'complex64')), (object(), Ref(0, 'object')),
    (OnlyDetached(), Ref(0, 'OnlyDetached')), (OnlyMoved(), Ref(0, 'OnlyMoved')), (Objects().keep(1), Ref(0)),
    ([1, (2, [])], [1, [2, []]]), ([[[[[1]]]]], [[[[Ref(0, 'list')]]]]), ([[[[()]]]], [[[[Ref(0, 'tuple')]]]]),
    (list(range(10_001)), list(range(10_000))), ({1: 2, 'b': {'c': [None]}}, {'1': 2, 'b': {'c': [None]}}),
    ({'a': {'a': {'a': {'a': {}}}}}, {'a': {'a': {'a': {'a': Ref(0, 'dict')}}}}),
    ({'a': [{'a': [{}]}]}, {'a': [{'a': [Ref(0, 'dict')]}]}),
    ({'array': [np.ones(1), np.zeros(2, np.int8)], 'object': 5, 'dict': 'x'},
     {'array': [np.ones(1), np.zeros(2, np.int8)], 'object': 5, 'dict': 'x'})]


def test_every_kind_of_value_comes_back(solution, script):
    for value, expected in VALUES:
        arrays = []
        script.says({'value': Objects().encode(value, arrays)}, arrays)
        assert same(solution.ask('get'), expected), value
        script.was_asked()


def test_what_is_sent_is_what_is_asked(solution, script):
    objects = Objects()
    kept = object()
    objects.keep('another')
    number = objects.keep(kept).number
    sent = [np.arange(3.0), np.zeros((2, 0), np.float32), np.arange(4).reshape(2, 2).T, {'a': [Ref(number), 'text']}, 7]
    script.says({})
    assert solution.ask('op', value=sent) is None
    received = objects.decode(script.was_asked())
    assert same(received, {'op': 'op', 'value': [*sent[:3], {'a': [kept, 'text']}, 7]})


@pytest.mark.parametrize('message', [b'', b'\0' * 7, b'\0' * 7 + b'\x05[1]', b'\0' * 7 + b'\x16{"array":["<f8", [2]]}' +
                                     b'\0' * 15])
def test_a_message_that_ends_too_early_is_the_end(message):
    with pytest.raises(EOFError):
        read_message(io.BytesIO(message))


def test_an_answer_may_come_in_pieces_and_a_request_be_longer_than_a_pipe(solution, script):
    large = np.arange(100_000.0)
    file = io.BytesIO()
    write_message(file, {'value': Objects().encode([large, large], arrays := [])}, arrays)

    def answer():
        received = b''
        while len(received) < large.nbytes:
            received += os.read(script.requests, 1 << 20)
        os.write(script.output, b'half way')
        for start in range(0, len(file.getvalue()), 300_000):
            part = file.getvalue()[start:start + 300_000]
            while part:
                part = part[os.write(script.replies, part):]

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        assert same(solution.ask('op', value=large), [large, large])
    finally:
        thread.join(5)
    assert (solution.output, solution.printed) == (b'half way', 8)
    script.says({'value': 1})
    assert solution.ask('op') == 1


FRAMED = 'its process sent an answer that can not be read'


def framed(text):
    return struct.pack('>Q', len(text)) + text


@pytest.mark.parametrize('answer, words', [
    (struct.pack('>Q', remote.MAX_HEADER + 1), 'its process sent an answer that is too long'),
    (framed(b'{,}'), FRAMED), (framed(b'[]'), FRAMED), (framed(b'"value"'), FRAMED), (framed(b'\xff'), FRAMED),
    (framed(b'['), FRAMED),
    (framed(b'[' * 30_000), FRAMED)] + [(framed(b'{"value": %s}' % value) + bytes(8), FRAMED) for value in (
        b'{"array": ["|O", [1]]}', b'{"array": ["<c8", [1]]}', b'{"array": ["<f8", [-1]]}',
        b'{"array": ["<f8", [2000000000, 2000000]]}', b'{"array": ["<f8", [1.0]]}',
        b'{"array": ["<f8", [true]]}', b'{"array": ["<f8", [0, 2147483648]]}',
        b'{"array": ["<f8", 1]}', b'{"array": ["<f8"]}', b'{"array": [["<f8"], [1]]}', b'{"array": null}',
        b'{"array": ["|u1", [1, 1, 1, 1, 1, 1, 1, 1, 1]]}', b'{"array": ["<f8", [33554433]]}',
        b'[{"array": ["<f8", [1]]}, {"array": ["<f8", [33554432]]}]', b'{"object": null}', b'{"object": "x"}',
        b'{"dict": [1]}', b'{"dict": [[1, 2, 3]]}', b'{"dict": 1}')])
def test_nonsense_ends_the_conversation(solution, script, answer, words):
    os.write(script.replies, answer)
    for _ in range(2):
        with pytest.raises(SolutionEnded) as gone:
            solution.ask('get', timeout=1)
        assert str(gone.value) == words == solution.ended


def test_an_answer_of_the_largest_size_is_read(solution, script, monkeypatch):
    monkeypatch.setattr(remote, 'MAX_HEADER', 60)
    monkeypatch.setattr(remote, 'MAX_ARRAYS', 16)
    text = b'{"value": [{"array": ["<f8", [1]]}, {"array": ["<f8", [1]]}]}'.replace(b': ', b':').ljust(60)
    assert len(text) == 60
    os.write(script.replies, framed(text) + bytes(16))
    assert same(solution.ask('get'), [np.zeros(1), np.zeros(1)])
    os.write(script.replies, framed(b'{"value": {"array": ["<f8", [2147483647, 0]]}}'.ljust(60)))
    assert solution.ask('get').shape == (2147483647, 0)
    os.write(script.replies, framed(b'{"value": {"array": ["|u1", [17]]}}') + bytes(17))
    with pytest.raises(SolutionEnded):
        solution.ask('get')


def test_objects_and_dicts_are_taken_as_they_are_agreed(solution, script):
    for text, value in ((b'{"object": 4}', Ref(4, '')), (b'{"object": "5", "type": 6}', Ref(5, '6')),
                        (b'{"dict": [[1, 2], ["a", {"dict": []}]]}', {'1': 2, 'a': {}}),
                        (b'{"a": {"object": 1, "type": "t"}}', {'a': Ref(1, 't')})):
        os.write(script.replies, framed(b'{"value": ' + text + b'}'))
        assert same(solution.ask('get'), value)


@pytest.mark.parametrize('error, told', [
    ({'type': 'T' * 61, 'message': 'a\n b' + 'x' * 300, 'places': [['n' * 101, '3'], ['modules.py', 4]]},
     ('T' * 60, 'a b' + 'x' * 297, [('n' * 100, 3), ('modules.py', 4)],
      'T' * 60 + ': a b' + 'x' * 297 + ' (modules.py, line 4)')),
    ({'type': 'Error', 'message': '', 'places': []}, ('Error', '', [], 'Error')),
    ({'type': 1, 'message': 2, 'places': []}, ('1', '2', [], '1: 2')),
    *[(error, ('Exception', '', [], 'Exception')) for error in (
        None, {}, 'text', {'type': 'a', 'message': 'b'}, {'type': 'a', 'places': []}, {'message': 'b', 'places': []},
        {'type': 'a', 'message': 'b', 'places': [['x']]}, {'type': 'a', 'message': 'b', 'places': [['x', 'y']]})]])
def test_what_is_told_of_an_exception_is_short_and_on_one_line(solution, script, error, told):
    script.says({'error': error})
    with pytest.raises(SolutionError) as failed:
        solution.ask('call')
    assert (failed.value.kind, failed.value.message, failed.value.places, str(failed.value)) == told
    assert str(failed.value.place) == ('modules.py, line 4' if told[2] else '') and not solution.ended


def dictionary(**entries):
    return {'dict': list(entries.items())}


MADE, ARRAY = {'object': 1}, {'array': ['<f8', [0]]}
FORMS = {  # operation → answers of its form, answers that are not
    'signature': ([[], [['a', 'KIND', True], ['b', 'KIND', False]]],
                  [None, 'text', dictionary(), [1], [['a', 'KIND']], [['a', 'KIND', True, 1]], [['a', 'KIND', 1]],
                   [['a', 1, True]], [['a', 'KIND', True], [1, 'KIND', True]], ['abc']]),
    'classes': ([[], [['A', [], ['B']], ['C', ['d', 'e'], []]]],
                [[['A', ['d', 1], []]], [['A', [], [1]]], [['A', 'text', []]], [['A', [], 'text']], [['A', None, []]]]),
    'new': ([dictionary(made=MADE, changed=[])], [None, MADE, dictionary(made=1, changed=[]), dictionary(made=MADE)]),
    'call': ([dictionary(value=1, changed=[], shares=[])], [None, dictionary(value=1, changed=[])]),
    'find': ([[], [[MADE, 0]]], [[[1, 0]], [[MADE, 'a']], [MADE]]),
    'sizes': ([[], [[1, 2]]], [None, [[1]], [[1, 'a']], [1]]),
    'torch_facts': ([dictionary(module=False)], [None, dictionary()]),
    'torch_trace': ([dictionary(passed=[]), dictionary(passed=[['ReLU', ARRAY, ARRAY]])],
                    [None, dictionary(), dictionary(passed=[['ReLU', ARRAY, 1]]),
                     dictionary(passed=[[1, ARRAY, ARRAY]])]),
    'torch_gradients': ([dictionary(none=[], not_finite=['a'])],
                        [None, dictionary(none=[]), dictionary(none=[1], not_finite=[])]),
    'evaluate': ([dictionary(result=1, training=1, grad=1, after=1)], [None, dictionary(result=1)]),
    'train': ([dictionary(outputs=dictionary(), validation=[], test=0.5)],
              [None, dictionary(outputs=dictionary(), validation=[], test=1),
               dictionary(outputs=dictionary(), test=1.0)]),
    'get': ([None, 1, 'text', [[]], dictionary()], []),
}


def test_an_answer_has_the_form_that_its_question_asks_for(script, tmp_path):
    assert remote.ANSWERS.keys() == FORMS.keys() - {'get'}
    for op, (right, wrong) in FORMS.items():
        for value in right + wrong:
            with Solution(script, tmp_path, ()) as solution:
                script.says({'value': value})
                if value in right:
                    solution.ask(op)
                    continue
                for _ in range(2):
                    with pytest.raises(SolutionEnded) as gone:
                        solution.ask(op)
                    assert str(gone.value) == solution.ended == 'its process answered what it was not asked', op
            script.close()
            tmp_path.mkdir()


@pytest.mark.parametrize('status, words', [
    (None, 'its process has ended'), (0, 'it ended its process (exit code 0)'),
    (1, 'it ended its process (exit code 1)')])
@pytest.mark.parametrize('ends', [('requests', 'replies', 'output'), ('replies', 'output')])
def test_the_end_of_its_process_is_told(solution, script, status, words, ends):
    script.status = status
    script.close(*ends)
    for _ in range(2):
        with pytest.raises(SolutionEnded) as gone:
            solution.ask('get')
        assert str(gone.value) == words == solution.ended
    assert script.messages[1:] == [{'end': True}] and not solution.folder.exists()


@pytest.fixture
def impatient(monkeypatch):
    """Looks every 10 ms, and takes ten bytes for a mebibyte."""
    monkeypatch.setattr(remote, 'LOOK_SECONDS', 0.01)
    monkeypatch.setattr(sandbox, 'MEBIBYTE', 10)


def gone(solution, **arguments):
    with pytest.raises(SolutionEnded) as gone:
        solution.ask('get', **arguments)
    assert str(gone.value) == solution.ended
    return solution.ended


def test_silence_is_an_endless_loop(solution, impatient):
    assert gone(solution, timeout=0.0625) == 'no answer within 0.0625 s: an endless loop?'


def test_a_solution_has_the_patience_of_its_server(script, tmp_path, impatient):
    script.timeout = 0.03125
    with Solution(script, tmp_path, ()) as solution:
        assert gone(solution) == 'no answer within 0.03125 s: an endless loop?'


def test_a_request_that_nobody_reads_is_silence_too(solution, impatient):
    assert gone(solution, timeout=0.0625, value=np.zeros(1 << 16)) == 'no answer within 0.0625 s: an endless loop?'


def test_what_is_printed_is_counted_kept_at_the_start_and_bounded(solution, script, impatient, monkeypatch):
    monkeypatch.setattr(sandbox, 'MAX_OUTPUT_BYTES', 3025)
    for text, printed in ((b'a' * 1500, 1500), (b'b' * 1525, 3025)):
        os.write(script.output, text)
        script.says({})
        solution.ask('get')
        assert solution.printed == printed
    assert solution.output == b'a' * 1500 + b'b' * 500
    os.write(script.output, b'c')
    assert gone(solution) == 'it printed more than 302 MB'


def test_output_that_is_closed_holds_nothing_up(solution, script):
    script.close('output')
    timer = threading.Timer(0.02, lambda: script.says({'value': 1}))
    timer.start()
    assert solution.ask('get') == 1
    timer.join()


def test_what_is_written_is_bounded_for_all_together(script, tmp_path, impatient, monkeypatch):
    (tmp_path / 'before').write_bytes(b'a' * 20_000)
    size = sandbox.bytes_in(tmp_path, 1 << 40)
    monkeypatch.setattr(sandbox, 'MAX_FOLDER_BYTES', size)
    (tmp_path / 'solution').mkdir()
    with Solution(script, tmp_path / 'solution', ()) as solution:
        (tmp_path / 'solution' / 'one').write_bytes(b'a' * 20_000)
        assert gone(solution, timeout=0.0625).startswith('no answer')
        script.close()
    (tmp_path / 'solution').mkdir()
    with Solution(script, tmp_path / 'solution', ()) as solution:
        (tmp_path / 'another').write_bytes(b'a' * 20_000)
        (tmp_path / 'solution' / 'one').write_bytes(b'a')
        assert gone(solution, timeout=5) == f'it wrote more than {size // 10} MB of files'
