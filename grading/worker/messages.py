"""Messages between the grader and the process of a solution; both sides use this file.

A message is a line of JSON. {"array": [dtype, shape, bytes in base64]} is an array, {"object": n, "type": name} an object
that stays in the solution's process, {"dict": [[key, value], …]} a dict. Every other value is a JSON value.
"""

import base64
import json
from dataclasses import dataclass

import numpy as np

MAX_BYTES = 16 << 20  # of a message; the weights of 3072 inputs and 500 outputs fit
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
    return json.dumps({key: _encode(value, keep, 0) for key, value in values.items()}).encode() + b'\n'


def _encode(value, keep, depth):
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
        return {'array': [array.dtype.str, list(array.shape), base64.b64encode(array.tobytes()).decode()]}
    if depth < DEEPEST or not keep:
        if isinstance(value, (list, tuple)):
            return [_encode(item, keep, depth + 1) for item in value[:LONGEST]]
        if isinstance(value, dict):
            return {'dict': [[str(key), _encode(item, keep, depth + 1)] for key, item in value.items()]}
    return _reference(keep(kept))


def _reference(ref):
    return {'object': ref.number, 'type': ref.type}


def unpack(message, resolve):
    """A message → its dict of values, every part of it checked. Raises Unreadable.

    resolve: called with a Ref, returns the value in its place.
    """
    def decode(value):
        if isinstance(value, list):
            return [decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        if 'array' in value:
            dtype, shape, data = value['array']
            if dtype not in DTYPES or not all(type(size) is int and size >= 0 for size in shape):
                raise ValueError
            return np.frombuffer(base64.b64decode(data, validate=True), dtype).reshape(shape).copy()
        if 'object' in value:
            return resolve(Ref(int(value['object']), str(value['type'])))
        return {str(key): decode(item) for key, item in value['dict']}

    try:
        return {key: decode(value) for key, value in json.loads(message).items()}
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise Unreadable('cannot be read') from error
