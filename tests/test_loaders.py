"""The split is the course's own; loaders give normalized batches, the same for NumPy and torch."""

import numpy as np
import pytest
import torch

import cifar10_utils
import generated_data
from cifar10_utils import Dataset, get_dataloader, torch_randperm


@pytest.fixture
def dataset():
    rng = np.random.default_rng(0)
    return {name: Dataset(rng.integers(0, 256, size=(size, 3, 32, 32), dtype=np.uint8), np.arange(size))
            for name, size in (('train', 50), ('validation', 20), ('test', 23))}


def labels_of(loader):
    return np.concatenate([np.asarray(labels) for _, labels in loader]).tolist()


def test_the_data_set_of_the_project_is_cifar10_or_has_another_name_and_another_hash():
    found, cifar10 = generated_data.OF_THE_PROJECT, generated_data.CIFAR10
    assert found == cifar10 or (found.name != cifar10.name and found.sha256 != cifar10.sha256)


def test_the_split_is_the_courses_and_torchs():
    for n in (0, 1, 2, 3, 4, 5, 6, 1000, 50_000):
        order = torch_randperm(n, 42)
        np.testing.assert_array_equal(order, torch.randperm(n, generator=torch.Generator().manual_seed(42)))
    assert order[:4].tolist() == [37542, 44491, 216, 43688]
    assert order[45_000:45_004].tolist() == [17408, 40845, 3378, 22188]


def test_get_cifar10_splits_the_training_images(expect_tiny, tmp_path):
    expect_tiny.write_folder(tmp_path)
    cifar10 = cifar10_utils.get_cifar10(tmp_path, validation_size=10)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(42)).numpy()
    for name, part in (('train', order[:50]), ('validation', order[50:])):
        np.testing.assert_array_equal(cifar10[name].images, expect_tiny.train_images[part])
        np.testing.assert_array_equal(cifar10[name].labels, expect_tiny.train_labels[part])
    np.testing.assert_array_equal(cifar10['test'].images, expect_tiny.test_images)
    np.testing.assert_array_equal(cifar10['test'].labels, expect_tiny.test_labels)


def test_a_split_that_can_not_be_is_refused(expect_tiny, tmp_path):
    for size in (-1, 61):
        with pytest.raises(ValueError, match=f'^validation_size is {size}: must be an integer from 0 to 60$'):
            cifar10_utils.get_cifar10(tmp_path, validation_size=size)
    (tmp_path / 'cifar10.bin').write_bytes(expect_tiny.content_bytes)
    for size in (0, 60):
        parts = cifar10_utils.get_cifar10(tmp_path, validation_size=size)
        lengths = {'train': 60 - size, 'validation': size, 'test': 12}
        assert {name: (len(part.images), part.labels.dtype, part.labels.shape) for name, part in parts.items()} == {
            name: (length, np.int64, (length,)) for name, length in lengths.items()}
    with pytest.raises(ValueError, match='^the training set is empty: use a smaller validation_size$'):
        get_dataloader(parts, 1)


@pytest.mark.parametrize('return_numpy', [True, False])
@pytest.mark.parametrize('name', ['train', 'validation'])
def test_batches_are_normalized_images_with_their_labels(dataset, name, return_numpy):
    mean, std = np.array([0.491, 0.482, 0.447]), np.array([0.247, 0.243, 0.262])
    images, labels = next(iter(get_dataloader(dataset, 8, return_numpy=return_numpy)[name]))
    assert isinstance(images, np.ndarray if return_numpy else torch.Tensor) and tuple(images.shape) == (8, 3, 32, 32)
    images, labels = np.asarray(images), np.asarray(labels)
    assert (images.dtype, labels.dtype, labels.shape) == (np.float32, np.int64, (8,))
    expected = (dataset[name].images[labels] / 255 - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(images, expected, rtol=1e-5, atol=1e-6)


def test_the_training_loader_shuffles_whole_batches_and_the_others_keep_order_and_every_sample(dataset):
    loaders = get_dataloader(dataset, 8, return_numpy=True)
    first, second = labels_of(loaders['train']), labels_of(loaders['train'])
    assert len(loaders['train']) == 6 and len(first) == 48 == len(set(first))
    assert first != sorted(first) and first != second
    for name, size in (('validation', 20), ('test', 23)):
        assert (labels_of(loaders[name]), len(loaders[name])) == (list(range(size)), 3)


def test_the_seed_alone_decides_the_order_for_numpy_and_torch(dataset):
    orders = []
    for return_numpy in (True, True, False):
        np.random.seed(7)
        orders.append(list(get_dataloader(dataset, 8, return_numpy=return_numpy)['train']))
    for batches in zip(*orders, strict=True):
        for images, labels in batches[1:]:
            np.testing.assert_array_equal(images, batches[0][0])
            np.testing.assert_array_equal(labels, batches[0][1])


def test_the_shards_of_several_processes_make_up_each_training_batch(dataset):
    def loaders(shard):
        np.random.seed(1)
        loaders = get_dataloader(dataset, 8, return_numpy=True, shard=shard)
        return [labels for _, labels in loaders['train']], labels_of(loaders['test'])

    whole, test = loaders((0, 1))
    shards = [loaders((rank, 3)) for rank in range(3)]
    for batch, *parts in zip(whole, *(batches for batches, _ in shards), strict=True):
        assert sorted(np.concatenate(parts)) == sorted(batch)
    assert all(labels == test for _, labels in shards), 'each process evaluates on all of the test set'


def test_a_batch_size_that_can_not_be_is_refused(dataset):
    for batch_size in (0, 51):
        with pytest.raises(ValueError, match=f'^batch_size is {batch_size}: must be an integer from 1 to 50, the '
                                             'number of training images$'):
            get_dataloader(dataset, batch_size)
    assert [len(get_dataloader(dataset, batch_size)['train']) for batch_size in (1, 50)] == [50, 1]


def test_the_first_batch_is_whole_in_a_shard_too_and_draws_nothing(dataset):
    for return_numpy in (True, False):
        for name, size in (('train', 16), ('validation', 16)):
            loader = get_dataloader(dataset, 16, return_numpy=return_numpy, shard=(1, 3))[name]
            before = np.random.get_state()[2]
            images, labels = cifar10_utils.first_batch(loader)
            assert np.asarray(labels).tolist() == list(range(size)) and len(images) == size
            assert np.random.get_state()[2] == before
