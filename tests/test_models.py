"""A trained model is kept in a file that both twins read, to the bit, and that nobody can smuggle anything into."""

import io
import json
import math
import os
import pickle
import re
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
    """The reason in the message, which both twins' readers give, in one line that names the file and the remedy."""
    messages = []
    for load in (models.load_numpy, models.load_pytorch):
        with pytest.raises(ModelError) as caught:
            load(path)
        messages.append(str(caught.value))
    before, after = f'cannot load {path}: ', '. Pass the .npz file written by a training script.'
    assert messages[0] == messages[1] == before + messages[0][len(before):-len(after)] + after
    assert '\n' not in messages[0]
    return messages[0][len(before):-len(after)]


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


def replaced(path, member, array):
    """Write the file again with another content of one of its members, a header of NumPy's in some version of it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in {**members, member: array.getvalue()}.items():
            archive.writestr(name, content)


ARGUMENTS = {'n_inputs': FEATURES, 'n_hidden': [7], 'n_classes': CLASSES, 'use_batch_norm': True}
BATCH_NORM = {'eps': 1e-05, 'momentum': 0.1}
NOT_THE_NETWORK = [
    dict(linear1__bias=np.array([np.nan] * 7, np.float32)), dict(linear2__weight=np.full((10, 7), np.inf, np.float32)),
    dict(linear2__bias=np.array([0] * 9 + [-np.inf], np.float32)),
    dict(batch_norm1__running_var=np.array([1] * 6 + [-1e-30], np.float32)),
    dict(linear1__bias=np.array([Bomb()] * 7, object)), dict(linear1__bias=np.zeros(8, np.float32)),
    dict(linear1__bias=np.zeros(7)), dict(linear1__bias=np.zeros(7, '>f4')), dict(linear1__bias=np.zeros(7, np.int32)),
    dict(linear1__weight=np.zeros((7, 20), np.float32, order='F')), dict(linear1__bias=np.zeros((7, 1), np.float32)),
    dict(linear1__bias=None), dict(linear1__weight=None), dict(batch_norm1__running_mean=None),
    dict(more=np.zeros(7, np.float32)), dict(linear3__weight=np.zeros((10, 10), np.float32)),
    *(dict(header={'arguments': {**ARGUMENTS, **entry}}) for entry in [
        {'n_hidden': [8]}, {'n_hidden': [7, 7]}, {'n_hidden': [7, 10]}, {'n_hidden': [10**12]}, {'n_hidden': ['7']},
        {'n_hidden': [7.0]}, {'n_hidden': [True]}, {'n_hidden': [0]}, {'n_inputs': 21}, {'n_inputs': 0},
        {'n_classes': 11}, {'n_classes': None}, {'use_batch_norm': False}, {'slope': 0.1}]),
    *(dict(header=entry) for entry in [
        {'layers': ['linear1', 'batch_norm1', 'tanh1', 'linear2']}, {'batch_norm': {**BATCH_NORM, 'eps': -1.0}},
        {'batch_norm': {**BATCH_NORM, 'eps': 0.0}}, {'batch_norm': {**BATCH_NORM, 'momentum': math.inf}},
        {'batch_norm': {**BATCH_NORM, 'momentum': 0}}, {'batch_norm': {**BATCH_NORM, 'affine': 1.0}},
        {'batch_norm': {'eps': 1e-05}}, {'dtype': 'object'}, {'dtype': 'float64'}, {'dtype': 'float16'},
        {'version': 1}, {'more': 1}])]


def described(change):
    """A change in words: the entries of the header, or the arrays."""
    entries = change.get('header', {})
    entries = {name: value for name, value in entries.get('arguments', entries).items()
               if repr(ARGUMENTS.get(name)) != repr(value)}
    return ', '.join([*(f'{name} {value}' for name, value in entries.items()), *(
        f'{name.replace("__", ".")} ' + ('left out' if array is None else f'{array.dtype} {array.shape}')
        for name, array in change.items() if name != 'header')])


def test_what_is_not_the_network_of_its_header_is_refused_as_approved(path, monkeypatch):
    sound = path.read_bytes()
    lines = []
    for change in NOT_THE_NETWORK:
        path.write_bytes(sound)
        changed(path, **change)
        lines.append(f'{described(change)}: {refused(path)}')
    path.write_bytes(sound)
    with np.load(path) as arrays:
        np.savez_compressed(path, **arrays)
    lines.append(f'all compressed: {refused(path)}')
    path.write_bytes(sound)
    # NumPy's header of an array tells more than the file has.
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {'descr': '<f4', 'fortran_order': False, 'shape': (10**9, 10**9)})
    replaced(path, 'linear1.weight.npy', array)
    refused(path)
    path.write_bytes(sound)
    monkeypatch.setattr(models, 'LARGEST_HEADER', 200)
    lines.append(f'a header as large as none may be: {re.sub("has [0-9]+", "has …", refused(path))}')
    assert_approved('model_refusals', '\n'.join(lines) + '\n')


def test_the_least_that_a_network_may_have_is_taken(path):
    changed(path, header={'batch_norm': {'eps': 5e-324, 'momentum': 0.0}},
            batch_norm1__running_var=np.zeros(7, np.float32))
    norm = models.load_numpy(path)[0].layers[1]
    assert (norm.eps, norm.momentum, norm.running_var.tolist()) == (5e-324, 0, [0] * 7)
    models.save(path, mlp_numpy.MLP(1, [1], 1), None)
    assert models.load_numpy(path)[1] is models.load_pytorch(path)[1] is None


def test_other_files_are_refused(path, tmp_path):
    sound = path.read_bytes()
    for content in [b'no archive', pickle.dumps(Bomb()), *(sound[:int(part * len(sound))] for part in (0, 0.5, 0.99))]:
        path.write_bytes(content)
        refused(path)
    assert refused(tmp_path / 'nowhere.npz') == 'No such file or directory'
    assert refused(tmp_path) == 'Is a directory'
    assert refused(os.devnull) == 'it is a device'


@pytest.mark.parametrize('twin', [mlp_numpy, mlp_pytorch])
def test_the_content_of_a_file_is_as_approved(twin):
    lines = []
    for hidden_dims, use_batch_norm in NETS:
        content = models.model_bytes(twin.MLP(FEATURES, hidden_dims, CLASSES, use_batch_norm), TRAINING)
        with np.load(io.BytesIO(content)) as arrays:
            text = arrays['header'].tobytes().decode()
            header = json.loads(text)
            lines.append(text if hidden_dims == NETS[-1][0] else ', '.join(header['layers']))  # one is enough to read
            lines += [f'    {name} {array.shape}' for name, array in arrays.items() if name != 'header']
            assert {array.dtype for name, array in arrays.items() if name != 'header'} == {np.dtype(header['dtype'])}
        with pytest.raises(ValueError, match='JSON'):
            models.model_bytes(twin.MLP(2, [], 2), {'test_accuracy': math.nan})
    assert_approved('model_files', '\n'.join(lines).replace('"float64"', '"float32"') + '\n')
