"""CIFAR-10 in memory: the course's split, and loaders that make a batch with array operations."""

import functools
from dataclasses import dataclass

import numpy as np

from cifar10 import description, sources
from cifar10.sources import DataUnavailable  # noqa: F401 (get_cifar10 raises it)

# In the shape of an image: NumPy is a third faster with it than with the shape (3, 1, 1).
MEAN, STD = (np.broadcast_to(np.reshape(values, (-1, 1, 1)), description.CIFAR10.image_shape).copy()
             for values in (description.CIFAR10.mean, description.CIFAR10.std))
# (x / 255 − MEAN) / STD = x · SCALE − SHIFT
SCALE = (1 / (255 * STD)).astype(np.float32)
SHIFT = (MEAN / STD).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Dataset:
    """images: uint8 (n, 3, 32, 32); labels: int64 (n,). The length is n."""
    images: np.ndarray
    labels: np.ndarray

    def __len__(self):
        return len(self.labels)


@sources.memory_for_data()
def get_cifar10(data_dir=sources.DATA_DIR, validation_size=description.CIFAR10.validation_size):
    """CIFAR-10 as {'train': Dataset, 'validation': Dataset, 'test': Dataset}.

    It is downloaded into data_dir (default: data/ next to this file) if it is missing, and verified
    each time. The validation set is the course's own: the last `validation_size` of the 50,000
    training images after a fixed permutation.
    Raises DataUnavailable if no source works or the memory is too small, ValueError for an impossible size.
    """
    train_size = description.CIFAR10.train_size
    if not 0 <= validation_size <= train_size:
        raise ValueError(f'validation_size is {validation_size}: must be an integer from 0 to {train_size}')
    train_images, train_labels, test_images, test_labels = sources.load_content(data_dir)
    order = torch_randperm(train_size, description.CIFAR10.split_seed)
    train, validation = np.split(order, [train_size - validation_size])
    return {
        'train': Dataset(train_images[train], train_labels[train].astype(np.int64)),
        'validation': Dataset(train_images[validation], train_labels[validation].astype(np.int64)),
        # A copy, because a view would keep the training images in memory as well.
        'test': Dataset(test_images.copy(), test_labels.astype(np.int64)),
    }


def torch_randperm(n, seed):
    """The permutation torch.randperm(n, generator=torch.Generator().manual_seed(seed)), without torch.

    Torch swaps the elements i and i + raw_i % (n − i) for i = 0 … n − 2, where raw_i are the
    outputs of a 32-bit Mersenne Twister.
    """
    raw = np.random.RandomState(seed).randint(0, 2**32, size=max(n - 1, 0), dtype=np.uint32).tolist()
    order = list(range(n))
    for i, value in enumerate(raw):
        j = i + value % (n - i)
        order[i], order[j] = order[j], order[i]
    return np.array(order, dtype=np.int64)


def get_dataloader(dataset, batch_size, return_numpy=False, device=None, shard=(0, 1)):
    """Loaders of (images, labels) for the datasets of `get_cifar10`, under the same keys.

    images: float32 (B, 3, 32, 32), normalized per channel; labels: int64 (B,). The training loader
    shuffles at each iteration, with NumPy's global random state, and drops the last incomplete
    batch; the other loaders keep the order and every sample. With return_numpy the batches are
    NumPy arrays, otherwise torch tensors on `device` (default: the CPU), which holds the whole
    dataset. shard = (rank, world size), for one of several processes that have the same seed: the
    training loader then takes only the samples rank, rank + world size, … of each batch.
    Raises ValueError for a batch_size below 1 or above the number of training images, and for an empty training set.
    """
    if not len(dataset['train']):
        raise ValueError('the training set is empty: use a smaller validation_size')
    if not 1 <= batch_size <= len(dataset['train']):
        raise ValueError(f'batch_size is {batch_size}: must be an integer from 1 to '
                         f'{len(dataset["train"])}, the number of training images')
    loaders = {}
    for name, part in dataset.items():
        train = name == 'train'
        slices = batch_slices(len(part), batch_size, drop_incomplete=train, shard=shard if train else (0, 1))
        loaders[name] = NumpyLoader(part, slices, train) if return_numpy else TorchLoader(part, slices, train, device)
    return loaders


def batch_slices(size, batch_size, drop_incomplete, shard):
    """A list of slices of the sample order, one for each batch or its shard."""
    rank, world_size = shard
    end = size - size % batch_size if drop_incomplete else size
    return [slice(start + rank, start + batch_size, world_size) for start in range(0, end, batch_size)]


class NumpyLoader:
    """Batches of a Dataset as NumPy arrays. One index operation makes a batch from the images in memory."""

    def __init__(self, dataset, slices, shuffle):
        self.images, self.labels = dataset.images, dataset.labels
        self.slices, self.shuffle = slices, shuffle

    def __len__(self):
        return len(self.slices)

    def __iter__(self):
        order = sample_order(len(self.labels), self.shuffle)
        for part in self.slices:
            yield self.batch(order[part])

    def batch(self, index):
        """The samples of an index."""
        return normalize_numpy(self.images.take(index, axis=0)), self.labels.take(index)


class TorchLoader:
    """Batches of a Dataset as torch tensors, made on the device that holds all images: no batch is copied to it."""

    def __init__(self, dataset, slices, shuffle, device=None):
        import torch

        self.to_device = functools.partial(torch.as_tensor, device=device)
        self.images, self.labels = self.to_device(dataset.images), self.to_device(dataset.labels)
        self.scale, self.shift = self.to_device(SCALE), self.to_device(SHIFT)
        self.slices, self.shuffle = slices, shuffle

    def __len__(self):
        return len(self.slices)

    def __iter__(self):
        order = self.to_device(sample_order(len(self.labels), self.shuffle))
        for part in self.slices:
            yield self.batch(order[part])

    def batch(self, index):
        """The samples of an index."""
        index = self.to_device(index)
        images = self.images.index_select(0, index)  # copies whole images, nine times as fast as images[index]
        return images.float().mul_(self.scale).sub_(self.shift), self.labels.index_select(0, index)


def first_batch(loader):
    """The first whole batch of a loader in the order of the data set, without a change of the random state."""
    return loader.batch(np.arange(loader.slices[0].stop))


def sample_order(size, shuffle):
    """The numbers 0 … size − 1, shuffled with NumPy's global random state or in order."""
    return np.random.permutation(size) if shuffle else np.arange(size)


def normalize_numpy(images):
    """uint8 (B, 3, 32, 32) → float32: (images / 255 − MEAN) / STD."""
    out = images.astype(np.float32)
    out *= SCALE
    out -= SHIFT
    return out
