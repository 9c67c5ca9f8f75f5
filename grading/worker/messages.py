"""Messages between the grader and the process of a solution; both sides use this file.

A message is a line and the bytes of its arrays. The line has the number of these bytes, a space, and JSON. In the JSON,
{"@array": [dtype, shape]} is an array, whose bytes follow those of the array before it, and {"@object": [number, type]}
an object that stays in the solution's process. A dict of a solution that has one of these keys is read as one, too.
"""

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

MAX_BYTES = 4 << 20  # of the line
MAX_DIGITS = 8  # of the number of bytes: at most 100 MB of arrays
DTYPES = {'|b1', '|i1', '|u1', '<i2', '<u2', '<i4', '<u4', '<i8', '<u8', '<f2', '<f4', '<f8'}
LONGEST = 10_000  # of a text or a list
DEEPEST = 5  # levels of lists and dicts; what is deeper, or contains itself, is an object
ARRAY, OBJECT = '@array', '@object'


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

    def encoded(value, depth):
        if isinstance(value, (bool, int, float, str, type(None))):
            return value[:LONGEST] if isinstance(value, str) else value
        if isinstance(value, Ref):
            return {OBJECT: [value.number, value.type]}
        if depth < DEEPEST and isinstance(value, (list, tuple)):
            return [encoded(item, depth + 1) for item in value[:LONGEST]]
        if depth < DEEPEST and isinstance(value, Mapping):
            return {str(key): encoded(item, depth + 1) for key, item in value.items()}
        is_tensor = hasattr(value, 'detach') and hasattr(value, 'cpu')
        array = value.detach().cpu().numpy() if is_tensor else value
        if isinstance(array, np.generic) and not keep:  # the grader's own numbers
            return array.item()
        if isinstance(array, (np.ndarray, np.generic)) and array.dtype.kind in 'biuf':
            dtype = array.dtype.newbyteorder('<')
            array = np.asarray(array, dtype if dtype.str in DTYPES else float)  # np.longdouble
            data.extend(array.tobytes())
            return {ARRAY: [array.dtype.str, array.shape]}
        return encoded(keep(value), depth)

    text = json.dumps(encoded(values, 0))
    return b'%d %s\n%s' % (len(data), text.encode(), data)


def read(pipe, resolve):
    """The next message of a buffered pipe as its dict, every part of it checked; None if no whole one is left.

    resolve: called with a Ref, returns the value in its place. Raises Unreadable.
    """
    line = pipe.readline(MAX_BYTES)
    size, _, text = line.partition(b' ')
    if len(line) == MAX_BYTES or len(size) > MAX_DIGITS:
        raise Unreadable('is too long')
    if not line.endswith(b'\n'):
        return None
    try:
        if not size.isdigit():
            raise ValueError
        data = io.BytesIO(pipe.read(int(size)))
        if data.getbuffer().nbytes < int(size):
            return None
        return {**json.loads(text, object_hook=lambda value: _decoded(value, data, resolve))}
    except (ValueError, TypeError, OverflowError, RecursionError) as error:  # TypeError: no dict, for example
        raise Unreadable('cannot be read') from error


def _decoded(value, data, resolve):
    if ARRAY in value:
        dtype, shape = value[ARRAY]
        if dtype not in DTYPES or len(shape) > 32 or not all(type(n) is int and 0 <= n < 10 ** MAX_DIGITS for n in shape):
            raise ValueError
        content = data.read(math.prod(shape) * np.dtype(dtype).itemsize)
        return np.frombuffer(content, dtype).reshape(shape).copy()
    if OBJECT in value:
        number, kind = value[OBJECT]
        return resolve(Ref(int(number), str(kind)))
    return value
