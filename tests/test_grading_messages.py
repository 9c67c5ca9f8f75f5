"""Messages to and from the process of a solution: every value comes back, and nonsense is refused."""

import io
import struct

import numpy as np
import pytest

from grading.worker import messages
from grading.worker.messages import Ref, Unreadable, pack, unpack
from whole_values import same


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

    return unpack(io.BytesIO(pack({'value': value}, keep)).read, lambda ref: ref)['value']


@pytest.mark.parametrize('value, expected', [
    *((value, value) for value in (True, 3, -2.5, float('inf'), None, 'é')),
    ('é' * 10_001, 'é' * 10_000), (np.float32(0.5), np.array(0.5, np.float32)), (np.str_('text'), 'text'),
    (np.arange(6, dtype='>i4').reshape(2, 3), np.arange(6, dtype='<i4').reshape(2, 3)),
    (np.arange(6.0).reshape(2, 3).T, np.array([[0.0, 3], [1, 4], [2, 5]])), (np.zeros((0, 4)), np.zeros((0, 4))),
    (np.zeros((1,) * 8, np.uint8), np.zeros((1,) * 8, np.uint8)), (Tensor(), np.array([1.5])),
    (np.array([1j]), Ref(7, 'ndarray')), (np.complex64(1), Ref(7, 'complex64')), (object(), Ref(7, 'object')),
    (Ref(1, 'Mine'), Ref(1, 'Mine')), ([1, (2, [])], [1, [2, []]]), ([[[[[1]]]]], [[[[Ref(7, 'list')]]]]),
    (list(range(10_001)), list(range(10_000))), ({1: 2, 'b': {'c': [None]}}, {'1': 2, 'b': {'c': [None]}}),
    ({'array': [np.ones(1), np.zeros(2, np.int8)], 'object': 5}, {'array': [np.ones(1), np.zeros(2, np.int8)], 'object': 5})])
def test_every_kind_of_value_comes_back(value, expected):
    assert same(sent(value), expected)


def test_a_message_is_a_length_json_and_arrays_and_the_grader_sends_plain_numbers():
    array = np.array([[1, 2], [3, 4]], np.int16)
    text = b'{"op": "op", "of": [{"array": ["<i2", [2, 2]]}, 0.5], "to": {"object": 3, "type": ""}}'
    message = pack({'op': 'op', 'of': [array.T, np.float32(0.5)], 'to': Ref(3)})
    assert message == struct.pack('>Q', len(text)) + text + bytes([1, 0, 3, 0, 2, 0, 4, 0])
    objects = ['zero', 'one', 'two', 'three']
    assert unpack(io.BytesIO(message).read, lambda ref: objects[ref.number])['to'] == 'three'


def framed(text):
    return struct.pack('>Q', len(text)) + text


@pytest.mark.parametrize('answer', [
    framed(text) for text in (b'{,}', b'[]', b'"value"', b'\xff', b'[', b'[' * 30_000)] + [
    framed(b'{"value": %s}' % value) + bytes(8) for value in (
        b'{"array": ["|O", [1]]}', b'{"array": ["<c8", [1]]}', b'{"array": ["<f8", [-1]]}', b'{"array": ["<f8", [1.0]]}',
        b'{"array": ["<f8", [2000000000, 2000000]]}', b'{"array": ["<f8", [true]]}', b'{"array": ["<f8", [0, 2147483648]]}',
        b'{"array": ["<f8", 1]}', b'{"array": ["<f8"]}', b'{"array": [["<f8"], [1]]}', b'{"array": null}',
        b'{"array": ["|u1", [1, 1, 1, 1, 1, 1, 1, 1, 1]]}', b'{"array": ["<f8", [33554433]]}', b'{"object": null}',
        b'[{"array": ["<f8", [1]]}, {"array": ["<f8", [33554432]]}]', b'{"object": "x"}', b'{"dict": [1]}',
        b'{"dict": [[1, 2, 3]]}', b'{"dict": 1}', b'{"other": 1}')])
def test_nonsense_is_refused(answer):
    with pytest.raises(Unreadable, match='^cannot be read$'):
        unpack(io.BytesIO(answer).read, lambda ref: ref)


def test_a_message_has_a_largest_size(monkeypatch):
    with pytest.raises(Unreadable, match='^is too long$'):
        unpack(io.BytesIO(struct.pack('>Q', messages.MAX_HEADER + 1)).read, lambda ref: ref)
    monkeypatch.setattr(messages, 'MAX_ARRAYS', 16)
    pair = pack({'value': [np.zeros(1), np.zeros(1)]})
    assert same(unpack(io.BytesIO(pair).read, lambda ref: ref), {'value': [np.zeros(1), np.zeros(1)]})
    with pytest.raises(Unreadable):
        unpack(io.BytesIO(pack({'value': np.zeros(17, np.uint8)})).read, lambda ref: ref)
