"""A small CIFAR-10 look-alike in every format that the real one comes in."""

import dataclasses
import functools
import hashlib
import io
import json
import pickle
import struct
import tarfile

import numpy as np
from PIL import Image

from cifar10 import description

# The tests and their approved texts are about this data set, even if the project is changed to another one. The project
# reads its description on import, so this is set before the import of anything else.
OF_THE_PROJECT = description.CIFAR10
CIFAR10 = description.CIFAR10 = description.Description(
    name='CIFAR-10', image_shape=(3, 32, 32), train_size=50_000, test_size=10_000, validation_size=5_000, split_seed=42,
    classes=('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'),
    mean=(0.491, 0.482, 0.447), std=(0.247, 0.243, 0.262), archive_bytes=170_498_071, package_bytes=138_940_914,
    sha256='32e5966899bde482c0ef7d076bf69809b4b1488c806f657a814cfca4646ec493')

import cifar10_utils  # noqa: E402

BATCHES = [f'data_batch_{i}' for i in range(1, 6)]


class GeneratedData:
    """Images that show their class as a pattern under noise, five training batches and a test batch."""

    def __init__(self, train_size, test_size, validation_size=CIFAR10.validation_size):
        self.validation_size = validation_size
        rng = np.random.default_rng(0)
        patterns = rng.integers(0, 200, size=(10, 3, 32, 32))
        self.train_labels, self.test_labels = (rng.integers(10, size=size) for size in (train_size, test_size))
        self.train_images, self.test_images = (
            (patterns[labels] + rng.integers(0, 56, size=(len(labels), 3, 32, 32))).astype(np.uint8)
            for labels in (self.train_labels, self.test_labels))

    @functools.cached_property
    def content_bytes(self):
        arrays = (self.train_images, self.train_labels, self.test_images, self.test_labels)
        return b''.join(array.astype(np.uint8).tobytes() for array in arrays)

    @functools.cached_property
    def sha256(self):
        return hashlib.sha256(self.content_bytes).hexdigest()

    def content(self, archive_bytes=0):
        """What cifar10.description.CIFAR10 must be for this data."""
        return dataclasses.replace(CIFAR10, train_size=len(self.train_labels), test_size=len(self.test_labels),
                                   validation_size=self.validation_size, archive_bytes=archive_bytes,
                                   package_bytes=10**6, sha256=self.sha256)

    def batches(self):
        """Triples of a batch's name, images and labels."""
        for name, images, labels in zip(BATCHES, np.split(self.train_images, 5), np.split(self.train_labels, 5)):
            yield name, images, labels
        yield 'test_batch', self.test_images, self.test_labels

    def pickled_batches(self, protocol=None):
        """name → the bytes of an official batch file, as Python 2 wrote it, or as Python 3 does."""
        dump = functools.partial(pickle.dumps, protocol=protocol) if protocol else dumps_python_2
        return {name: dump({b'data': images.reshape(len(images), -1), b'labels': labels.tolist(),
                            b'batch_label': name.encode(), b'filenames': [b'image.png'] * len(labels)})
                for name, images, labels in self.batches()}

    def write_folder(self, data_dir, protocol=None):
        folder = data_dir / 'cifar-10-batches-py'
        folder.mkdir(parents=True)
        for name, data in self.pickled_batches(protocol).items():
            (folder / name).write_bytes(data)
        return folder

    @functools.cache
    def archive(self):
        """The bytes of cifar-10-python.tar.gz."""
        return tar_gz({f'cifar-10-batches-py/{name}': data for name, data in self.pickled_batches().items()})

    def npm_package(self):
        """The bytes of the npm package."""
        members = {}
        for name, images, _ in self.batches():
            rows = images.reshape(len(images), 3, 1024).transpose(0, 2, 1)  # (n, 1024, RGB)
            png = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(rows)).save(png, format='PNG')
            members[f'package/{name}.png'] = png.getvalue()
        members['package/train_lables.json'] = json.dumps(self.train_labels.tolist()).encode()
        members['package/test_lables.json'] = json.dumps(self.test_labels.tolist()).encode()
        return tar_gz(members)


class Python2Pickler(pickle._Pickler):
    """Writes bytes and text as Python 2 wrote its strings."""

    def _save_string(self, value):
        value = value.encode() if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack('<i', len(value)) + value)

    dispatch = {**pickle._Pickler.dispatch, bytes: _save_string, str: _save_string}


def dumps_python_2(value):
    file = io.BytesIO()
    Python2Pickler(file, protocol=2).dump(value)
    return file.getvalue().replace(b'numpy._core.', b'numpy.core.')


def take_for_cifar10(content, patch):
    """The project takes the data that is described so for CIFAR-10."""
    patch.setattr(description, 'CIFAR10', content)
    patch.setattr(cifar10_utils, 'get_cifar10',
                  functools.partial(cifar10_utils.get_cifar10, validation_size=content.validation_size))


def json_of(content):
    """A description as the environment variable GENERATED_CONTENT of run_script.py."""
    return json.dumps(dataclasses.asdict(content))


def tar_gz(members):
    """The bytes of a tar.gz archive: the name of a regular file, or a TarInfo → bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w:gz', compresslevel=1) as archive:
        for name, data in members.items():
            member = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()
