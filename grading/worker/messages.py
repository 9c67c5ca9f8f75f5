"""Values as messages, and messages as values; see the package for their form."""

import json
import struct

import numpy as np

SIMPLE = (bool, int, float, str, type(None))


def write_message(file, header, arrays):
    """header: what JSON can hold, which names the arrays in their order."""
    text = json.dumps(header).encode()
    file.write(struct.pack('>Q', len(text)) + text)
    for array in arrays:
        file.write(np.ascontiguousarray(array).tobytes())
    file.flush()


def read_message(file):
    """→ header, with arrays in place of what names them; EOFError where the other side has closed."""
    header = json.loads(_read(file, *struct.unpack('>Q', _read(file, 8))))

    def decode(value):
        if isinstance(value, list):
            return [decode(item) for item in value]
        if not isinstance(value, dict):
            return value
        if 'array' in value:
            dtype, shape = value['array']
            dtype = np.dtype(dtype)
            count = int(np.prod(shape, dtype=np.int64))
            return np.frombuffer(_read(file, count * dtype.itemsize), dtype).reshape(shape).copy()
        return {key: decode(item) for key, item in value.items()}

    return decode(header)


def _read(file, count):
    data = file.read(count)
    if len(data) < count:
        raise EOFError
    return data


class Kept:
    """The number of an object that stays here."""

    def __init__(self, number):
        self.number = number


class Objects:
    """The objects that stay here, by number, and how a value is written as JSON and arrays."""

    def __init__(self):
        self.objects = []

    def keep(self, value):
        self.objects.append(value)
        return Kept(len(self.objects) - 1)

    def encode(self, value, arrays, depth=0):
        if isinstance(value, Kept):
            return {'object': value.number}
        if isinstance(value, SIMPLE):
            return value if not isinstance(value, str) else value[:10_000]
        kind = type(value).__name__
        if hasattr(value, 'detach') and hasattr(value, 'cpu'):  # a tensor of PyTorch
            value = value.detach().cpu().numpy()
        if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in 'biuf':
            value = np.asarray(value)
            value = value.astype(value.dtype.newbyteorder('<'))
            arrays.append(value)
            return {'array': [value.dtype.str, list(value.shape)]}
        if isinstance(value, (list, tuple)) and depth < 4:
            return [self.encode(item, arrays, depth + 1) for item in value[:10_000]]
        if isinstance(value, dict) and depth < 4:
            return {'dict': [[str(key), self.encode(item, arrays, depth + 1)] for key, item in value.items()]}
        return {'object': self.keep(value).number, 'type': kind}

    def decode(self, value):
        if isinstance(value, dict) and 'object' in value:
            return self.objects[value['object']]
        if isinstance(value, list):
            return [self.decode(item) for item in value]
        if isinstance(value, dict):
            return {key: self.decode(item) for key, item in value.items()}
        return value
