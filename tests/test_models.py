"""A trained model is kept in a file that both twins read, to the bit, and that nobody can smuggle anything into."""

import argparse
import contextlib
import inspect
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
from approval import assert_approved, assert_catalogue
from training import models
from training.models import ModelError
from training.settings import SETTINGS

TRAINING = {'settings': {'lr': 0.1, 'seed': 42}, 'test_accuracy': 0.5}
FILES = [{'n_hidden': []}, {'n_hidden': [7]}, {'n_hidden': [7], 'use_batch_norm': True},
         {'n_hidden': [6, 5], 'use_batch_norm': True}]  # whose content is approved
FEATURES, CLASSES = 20, 10


def other_values(setting):
    """Values of a setting besides its default, from two numbers and its words: a new module is found by them."""
    if setting.default is False:
        return [True]
    values = []
    for text in ['0.3', '0.6', '2', *re.findall(r'\w+', setting.allowed.words)]:
        with contextlib.suppress(argparse.ArgumentTypeError):
            values.append(setting.allowed(text))
    return [value for value in values if value != setting.default]


OTHER_NETWORKS = [{name: value} for name in inspect.signature(mlp_numpy.MLP).parameters if name in SETTINGS
                  for value in other_values(SETTINGS[name])]
NETS = [*FILES[:3], *({'n_hidden': [6, 5], **network} for network in OTHER_NETWORKS)]


def trained(dtype=np.float32, n_inputs=FEATURES, **arguments):
    """A NumPy MLP with parameters and running statistics that no initialization has."""
    rng = np.random.default_rng(0)
    model = mlp_numpy.MLP(n_inputs, n_classes=CLASSES, dtype=dtype, **arguments)
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
    models.save(tmp_path / 'net.npz', trained(**FILES[2]), TRAINING)
    return tmp_path / 'net.npz'


@pytest.mark.parametrize('dtype, tolerance', [(np.float32, 1e-5), (np.float64, 1e-12)])
@pytest.mark.parametrize('arguments', NETS)
def test_numpy_to_pytorch_and_back_is_the_same_file_with_the_same_predictions(tmp_path, arguments, dtype, tolerance):
    first, second, third = (tmp_path / f'{name}.npz' for name in ('numpy', 'pytorch', 'numpy again'))
    model = trained(dtype, **arguments)
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
    np.testing.assert_allclose(twin(torch.from_numpy(x)).softmax(dim=1).detach(), expected, rtol=0, atol=tolerance)
    assert expected.dtype == dtype and back.forward(x).dtype == dtype


def test_a_model_that_is_read_can_be_trained_on_and_reading_it_draws_nothing_at_random(path):
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    (model, _), (twin, _) = models.load_numpy(path), models.load_pytorch(path)
    assert (np.random.get_state()[1] == before[0]).all() and torch.equal(torch.get_rng_state(), before[1])
    model.train()
    model.backward(model.forward(np.ones((4, FEATURES), np.float32)) - 0.1)
    for layer in model.layers:
        for name, param in getattr(layer, 'params', {}).items():
            param -= layer.grads[name]
    assert twin.layers[1].momentum == 0.2 and all(param.requires_grad for param in twin.parameters())


def test_a_file_with_any_flipped_byte_is_refused_or_gives_the_same_model(path):
    sound, refused, step = path.read_bytes(), 0, 7
    for position in range(0, len(sound), step):
        path.write_bytes(sound[:position] + bytes([sound[position] ^ 0x5A]) + sound[position + 1:])
        try:
            model, training = models.load_numpy(path)
        except ModelError:
            refused += 1
        else:  # a date, say
            assert models.model_bytes(model, training) == sound
    assert refused > 0.8 * len(sound) / step


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


def change(path, name, value):
    """Write the file again with another array, which None leaves out, or another entry of the header."""
    with np.load(path) as sound:
        content = dict(sound)
    header = json.loads(content['header'].tobytes())
    part, _, key = name.partition('.')
    if part in ('arguments', 'batch_norm') and key:
        header[part][key] = value
    elif value is None or isinstance(value, np.ndarray):
        content[name] = value
    else:
        header[name] = value
    text = json.dumps(header).replace('"1e999"', '1e999')  # a number of JSON that is infinite in Python
    content['header'] = np.frombuffer(text.encode(), np.uint8)
    np.savez(path, **{name: array for name, array in content.items() if array is not None})


def test_what_is_not_the_network_of_its_header_is_refused_as_approved(path):
    sound = path.read_bytes()

    def refused_after(line):
        path.write_bytes(sound)
        name, value = line.split(' = ')
        change(path, name, eval(value, {'np': np, 'Bomb': Bomb}))
        return refused(path)

    assert_catalogue('model_refusals', refused_after)


def test_what_would_need_much_memory_is_refused(path, monkeypatch):
    sound = path.read_bytes()
    with np.load(path) as arrays:
        np.savez_compressed(path, **arrays)
    assert refused(path) == 'header is compressed'
    # NumPy's header of an array tells more than the file has.
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {'descr': '<f4', 'fortran_order': False, 'shape': (10**9, 10**9)})
    with zipfile.ZipFile(io.BytesIO(sound)) as archive, zipfile.ZipFile(path, 'w') as changed:
        for name in archive.namelist():
            changed.writestr(name, array.getvalue() if name == 'linear1.weight.npy' else archive.read(name))
    refused(path)
    path.write_bytes(sound)
    monkeypatch.setattr(models, 'LARGEST_HEADER', 200)
    assert re.fullmatch('header has [0-9]+ bytes, more than 200', refused(path))


def test_the_least_that_a_network_may_have_is_taken(path):
    change(path, 'batch_norm', {'eps': 5e-324, 'momentum': 0.0})
    change(path, 'batch_norm1.running_var', np.zeros(7, np.float32))
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
    for arguments in FILES:
        content = models.model_bytes(twin.MLP(FEATURES, n_classes=CLASSES, **arguments), TRAINING)
        with np.load(io.BytesIO(content)) as arrays:
            header = json.loads(text := arrays['header'].tobytes().decode())
            assert {'n_inputs': FEATURES, 'n_classes': CLASSES, **arguments}.items() <= header['arguments'].items()
            text = text.replace(json.dumps(header['arguments']), '…')
            lines.append(text if arguments is FILES[-1] else ', '.join(header['layers']))  # one is enough to read
            lines += [f'    {name} {array.shape}' for name, array in arrays.items() if name != 'header']
            assert {array.dtype for name, array in arrays.items() if name != 'header'} == {np.dtype(header['dtype'])}
        with pytest.raises(ValueError, match='JSON'):
            models.model_bytes(twin.MLP(2, [], 2), {'test_accuracy': math.nan})
    assert_approved('model_files', '\n'.join(lines).replace('"float64"', '"float32"') + '\n')
