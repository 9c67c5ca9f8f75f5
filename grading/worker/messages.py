"""Messages between the grader and the process of a solution; both sides use this file.

A message is a line and the bytes of its arrays. The line has the number of these bytes, a space, and JSON. In the JSON,
{"array": [dtype, shape, first byte]} is an array, {"object": n, "type": name} an object that stays in the solution's
process, and {"dict": [[key, value], …]} a dict. Every other value is a JSON value.
"""

import json
import math
from dataclasses import dataclass

import numpy as np

MAX_BYTES = 4 << 20  # of the line
MAX_DIGITS = 8  # of the number of bytes: at most 100 MB of arrays
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
    data = bytearray()
    text = json.dumps({key: _encode(value, data, keep, 0) for key, value in values.items()})
    return b'%d %s\n%s' % (len(data), text.encode(), data)


def _encode(value, data, keep, depth):
    if isinstance(value, Ref):
        return _reference(value)
    if isinstance(value, (bool, int, float, str, type(None))):
        return value[:LONGEST] if isinstance(value, str) else value
    kept = value
    if hasattr(value, 'detach') and hasattr(value, 'cpu'):  # a tensor of PyTorch
        value = value.detach().cpu().numpy()
    if isinstance(value, np.generic) and not keep:  # the grader's own numbers
        return value.item()
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in 'biuf':
        array = np.asarray(value, value.dtype.newbyteorder('<'))
        first = len(data)
        data += array.tobytes()
        return {'array': [array.dtype.str, list(array.shape), first]}
    if depth < DEEPEST or not keep:
        if isinstance(value, (list, tuple)):
            return [_encode(item, data, keep, depth + 1) for item in value[:LONGEST]]
        if isinstance(value, dict):
            return {'dict': [[str(key), _encode(item, data, keep, depth + 1)] for key, item in value.items()]}
    return _reference(keep(kept))


def _reference(ref):
    return {'object': ref.number, 'type': ref.type}


def read(pipe):
    """The next message of a buffered pipe: its JSON and its bytes; None if no whole one is left. Raises Unreadable."""
    line = pipe.readline(MAX_BYTES)
    size, _, text = line.partition(b' ')
    if len(line) == MAX_BYTES or len(size) > MAX_DIGITS:
        raise Unreadable('is too long')
    if not line.endswith(b'\n'):
        return None
    if not size.isdigit():
        raise Unreadable('cannot be read')
    data = pipe.read(int(size))
    return (text, data) if len(data) == int(size) else None


def unpack(message, resolve):
    """A message → its dict of values, every part of it checked. Raises Unreadable.

    message: from `read`; resolve: called with a Ref, returns the value in its place.
    """
    def decode(value):
        if isinstance(value, list):
            return [decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        if 'array' in value:
            dtype, shape, first = value['array']
            if dtype not in DTYPES or not all(type(size) is int and size >= 0 for size in shape):
                raise ValueError
            return np.frombuffer(data, dtype, math.prod(shape), first).reshape(shape).copy()
        if 'object' in value:
            return resolve(Ref(int(value['object']), str(value['type'])))
        return {str(key): decode(item) for key, item in value['dict']}

    text, data = message
    try:
        return {key: decode(value) for key, value in json.loads(text).items()}
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise Unreadable('cannot be read') from error
