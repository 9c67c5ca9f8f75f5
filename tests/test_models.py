"""A trained model is kept in a file that both twins read, to the bit, and that nobody can smuggle anything into."""

import io
import json
import math
import pickle
import zipfile

import numpy as np
import pytest
import torch

import mlp_numpy
import mlp_pytorch
from approval import assert_approved
from training import models
from training.models import ModelError

TRAINING = {'settings': {'lr': 0.1, 'seed': 42}, 'test_accuracy': 0.5}
NETS = [([], False), ([7], False), ([7], True), ([6, 5], True)]
FEATURES, CLASSES = 20, 10


def trained(hidden_dims, use_batch_norm, dtype=np.float32):
    """A NumPy MLP with parameters and running statistics that no initialization has."""
    rng = np.random.default_rng(0)
    model = mlp_numpy.MLP(FEATURES, hidden_dims, CLASSES, use_batch_norm, dtype=dtype)
    for name, layer in models.named_layers(model):
        for param in getattr(layer, 'params', {}).values():
            param += rng.normal(0, 0.3, param.shape).astype(dtype)
        if name.startswith('batch_norm'):
            layer.momentum = 0.2
            layer.running_mean = rng.normal(size=layer.running_mean.shape).astype(dtype)
            layer.running_var = rng.uniform(0.5, 2, layer.running_var.shape).astype(dtype)
    model.eval()
    return model


@pytest.fixture
def path(tmp_path):
    models.save(tmp_path / 'net.npz', trained([7], True), TRAINING)
    return tmp_path / 'net.npz'


def probabilities_of(model, x):
    if isinstance(model, torch.nn.Module):
        return torch.softmax(model(torch.from_numpy(x)), dim=1).detach().numpy()
    return model.forward(x)


@pytest.mark.parametrize('dtype, tolerance', [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize('hidden_dims, use_batch_norm', NETS)
def test_numpy_to_pytorch_and_back_is_the_same_file_and_gives_the_same_predictions(tmp_path, hidden_dims,
                                                                                   use_batch_norm, dtype, tolerance):
    first, second, third = (tmp_path / f'{name}.npz' for name in ('numpy', 'pytorch', 'numpy again'))
    model = trained(hidden_dims, use_batch_norm, dtype)
    models.save(first, model, TRAINING)
    twin, training = models.load_pytorch(first)
    models.save(second, twin, training)
    back, training = models.load_numpy(second)
    models.save(third, back, training)
    assert first.read_bytes() == second.read_bytes() == third.read_bytes()
    assert training == TRAINING and not twin.training and not back.training
    x = np.random.default_rng(1).normal(size=(300, FEATURES)).astype(dtype)
    expected = model.forward(x)
    np.testing.assert_array_equal(back.forward(x), expected)
    np.testing.assert_allclose(probabilities_of(twin, x), expected, rtol=0, atol=tolerance)
    assert expected.dtype == dtype and back.forward(x).dtype == dtype


def test_a_model_of_pytorch_with_batches_behind_it_is_read_by_numpy(tmp_path):
    twin = mlp_pytorch.MLP(FEATURES, [6, 5], CLASSES, use_batch_norm=True)
    x = np.random.default_rng(1).normal(2, 3, size=(50, FEATURES)).astype(np.float32)
    for _ in range(3):
        twin(torch.from_numpy(x))  # moves the running statistics
    twin.eval()
    models.save(tmp_path / 'net.npz', twin, TRAINING)
    model, _ = models.load_numpy(tmp_path / 'net.npz')
    np.testing.assert_allclose(model.forward(x), probabilities_of(twin, x), atol=1e-5)


def test_a_model_that_is_read_can_be_trained_on(path):
    model, _ = models.load_numpy(path)
    model.train()
    model.backward(model.forward(np.ones((4, FEATURES), np.float32)) - 0.1)
    for layer in model.layers:
        for name, param in getattr(layer, 'params', {}).items():
            param -= layer.grads[name]
    twin, _ = models.load_pytorch(path)
    assert twin.layers[1].momentum == 0.2 and all(param.requires_grad for param in twin.parameters())


def test_reading_a_model_draws_nothing_at_random(path):
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    models.load_numpy(path), models.load_pytorch(path)
    assert (np.random.get_state()[1] == before[0]).all() and torch.equal(torch.get_rng_state(), before[1])


def test_a_file_with_any_flipped_byte_is_refused_or_gives_the_same_model(path):
    sound = path.read_bytes()
    refused = 0
    for position in range(0, len(sound), 5):
        path.write_bytes(sound[:position] + bytes([sound[position] ^ 0x5A]) + sound[position + 1:])
        try:
            model, training = models.load_numpy(path)
        except ModelError:
            refused += 1
        else:  # a date, say
            assert models.model_bytes(model, training) == sound
    assert refused > 0.8 * len(sound) / 5


def refused(path):
    """The message, one line that begins with the file and ends with what to give."""
    messages = []
    for load in (models.load_numpy, models.load_pytorch):
        with pytest.raises(ModelError) as caught:
            load(path)
        messages.append(str(caught.value))
    assert messages[0] == messages[1] and '\n' not in messages[0]
    assert messages[0].startswith(f'{path} is not a model that can be used (') and 'give the .npz file' in messages[0]
    return messages[0]


class Bomb:
    """Pickled, it raises the alarm where it is read."""

    def __reduce__(self):
        return pytest.fail, ('a pickle was executed',)


def changed(path, header=None, **arrays):
    """Write the file again with other entries in its header and other arrays; None leaves one out."""
    with np.load(path) as sound:
        content = {**sound, **{name.replace('__', '.'): array for name, array in arrays.items()}}
    header = {**json.loads(content['header'].tobytes()), **(header or {})}
    content['header'] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, **{name: array for name, array in content.items() if array is not None})


BATCH_NORM = {'eps': 1e-05, 'momentum': 0.1}
NOT_THE_NET = [
    dict(linear1__bias=np.array([np.nan] * 7, np.float32)), dict(linear2__weight=np.full((10, 7), np.inf, np.float32)),
    dict(linear2__bias=np.array([0] * 9 + [-np.inf], np.float32)),
    dict(batch_norm1__running_var=np.array([1] * 6 + [-1e-30], np.float32)),
    dict(linear1__bias=np.array([Bomb()] * 7, object)), dict(linear1__bias=np.zeros(8, np.float32)),
    dict(linear1__bias=np.zeros(7)), dict(linear1__bias=np.zeros(7, '>f4')), dict(linear1__bias=np.zeros(7, np.int32)),
    dict(linear1__weight=np.zeros((7, 20), np.float32, order='F')), dict(linear1__bias=np.zeros((7, 1), np.float32)),
    dict(linear1__bias=None), dict(linear1__weight=None), dict(batch_norm1__running_mean=None),
    dict(more=np.zeros(7, np.float32)), dict(linear3__weight=np.zeros((10, 10), np.float32)),
    *(dict(header=entries) for entries in [
        {'hidden_dims': [8]}, {'hidden_dims': [7, 7]}, {'hidden_dims': [7, 10]}, {'hidden_dims': [10**12]},
        {'hidden_dims': ['7']},
        {'hidden_dims': [7.0]}, {'hidden_dims': [True]}, {'hidden_dims': [0]}, {'hidden_dims': [-7]}, {'n_inputs': 21},
        {'n_inputs': 0}, {'n_classes': 11}, {'n_classes': None}, {'batch_norm': None},
        {'batch_norm': {**BATCH_NORM, 'eps': -1.0}}, {'batch_norm': {**BATCH_NORM, 'momentum': math.inf}},
        {'batch_norm': {**BATCH_NORM, 'momentum': 0}}, {'batch_norm': {**BATCH_NORM, 'affine': 1.0}},
        {'batch_norm': {'eps': 1e-05}}, {'dtype': 'object'}, {'dtype': 'float64'}, {'dtype': 'float16'}, {'version': 2},
        {'version': None}])]


def told(change):
    """A change in words: the entries of the header, or the arrays."""
    return str(change.get('header')) if 'header' in change else ', '.join(
        f'{name.replace("__", ".")} ' + ('left out' if array is None else f'{array.dtype} {array.shape}')
        for name, array in change.items())


@pytest.mark.parametrize('twin', [mlp_numpy, mlp_pytorch])
def test_the_content_of_a_file_is_as_approved(twin):
    lines = []
    for hidden_dims, use_batch_norm in NETS:
        content = models.model_bytes(twin.MLP(FEATURES, hidden_dims, CLASSES, use_batch_norm), TRAINING)
        with np.load(io.BytesIO(content)) as arrays:
            lines.append(arrays['header'].tobytes().decode())
            lines += [f'    {name} {array.shape}' for name, array in arrays.items() if name != 'header']
            assert {array.dtype for name, array in arrays.items() if name != 'header'} == {
                np.dtype(json.loads(lines[-len(arrays)])['dtype'])}
        with pytest.raises(ValueError, match='JSON'):
            models.model_bytes(twin.MLP(2, [], 2), {'test_accuracy': math.nan})
    assert_approved('model_files', '\n'.join(lines).replace('"float64"', '"float32"') + '\n')
