"""Messages between the grader and the process of a solution; both sides use this file.

A message is an eight-byte length, that many bytes of JSON, and the bytes of its arrays in the order in which the JSON
names them: {"array": [dtype, shape]}. {"object": n, "type": name} is an object that stays in the solution's process,
{"dict": [[key, value], …]} a dict. Every other value is a JSON value.
"""

import json
import math
import struct
from dataclasses import dataclass

import numpy as np

MAX_HEADER = 4 << 20  # bytes of JSON
MAX_ARRAYS = 256 << 20  # bytes of all arrays of a message
DTYPES = {'|b1', '|i1', '|u1', '<i2', '<u2', '<i4', '<u4', '<i8', '<u8', '<f2', '<f4', '<f8'}
LONGEST = 10_000  # of a text or a list from a solution
DEEPEST = 4  # levels of lists and dicts from a solution


class Unreadable(ValueError):
    """The bytes are not a message."""


@dataclass(frozen=True)
class Ref:
    """An object that stays in the solution's process."""

    number: int
    type: str = ''


def pack(values, keep=None):
    """A dict of values as the bytes of a message.

    keep: called with an object of the solution that a message cannot hold; returns its Ref.
    """
    arrays = []
    header = {key: _encode(value, arrays, keep, 0) for key, value in values.items()}
    text = json.dumps(header).encode()
    return b''.join([struct.pack('>Q', len(text)), text, *(array.tobytes() for array in arrays)])


def _encode(value, arrays, keep, depth):
    if isinstance(value, Ref):
        return {'object': value.number, 'type': value.type}
    if isinstance(value, (bool, int, float, str, type(None))):
        return value[:LONGEST] if isinstance(value, str) else value
    kept = value
    if hasattr(value, 'detach') and hasattr(value, 'cpu'):  # a tensor of PyTorch
        value = value.detach().cpu().numpy()
    if isinstance(value, np.generic) and not keep:  # the grader's own numbers
        return value.item()
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in 'biuf':
        value = np.asarray(value)
        arrays.append(value.astype(value.dtype.newbyteorder('<')))
        return {'array': [arrays[-1].dtype.str, list(value.shape)]}
    if depth < DEEPEST or not keep:
        if isinstance(value, (list, tuple)):
            return [_encode(item, arrays, keep, depth + 1) for item in value[:LONGEST]]
        if isinstance(value, dict):
            return {'dict': [[str(key), _encode(item, arrays, keep, depth + 1)] for key, item in value.items()]}
    return _encode(keep(kept), arrays, keep, depth)


def unpack(read, resolve):
    """A message → its dict of values, every part of it checked. Raises Unreadable.

    read: called with a number of bytes, returns them; resolve: called with a Ref, returns the value in its place.
    """
    length, = struct.unpack('>Q', read(8))
    if length > MAX_HEADER:
        raise Unreadable('is too long')
    text, left = read(length), MAX_ARRAYS

    def decode(value):
        nonlocal left
        if isinstance(value, list):
            return [decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        if 'array' in value:
            dtype, shape = value['array']
            if dtype not in DTYPES or len(shape) > 8 or not all(type(n) is int and 0 <= n < 1 << 31 for n in shape):
                raise ValueError
            count = math.prod(shape) * np.dtype(dtype).itemsize
            left -= count
            if left < 0:
                raise ValueError
            return np.frombuffer(read(count), dtype).reshape(shape).copy()
        if 'object' in value:
            return resolve(Ref(int(value['object']), str(value.get('type', ''))))
        return {str(key): decode(item) for key, item in value['dict']}

    try:
        return {key: decode(value) for key, value in json.loads(text).items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Unreadable('cannot be read') from error
