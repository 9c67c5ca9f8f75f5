"""What a training of either twin says and records, a step with known numbers, and what the devices refuse."""

import inspect
import math

import numpy as np
import pytest
import torch

import train_mlp_numpy
import train_mlp_pytorch
from approval import assert_approved
from console.arguments import POSITIVE
from training import command_line, data_parallel, devices, settings, threads
from training.log import TrainingLog

TWINS = [train_mlp_numpy, train_mlp_pytorch]
SETTINGS = {'hidden_dims': [4], 'lr': 0.05, 'batch_size': 500, 'epochs': 2, 'seed': 42}


@pytest.mark.parametrize('twin', TWINS)
def test_a_training_says_a_line_for_each_epoch_and_records_the_numbers_and_the_environment(
        expect_trainable, capsys, monkeypatch, twin):
    monkeypatch.setattr(twin, 'environment', lambda packages, threads, device: (packages, threads, device))
    monkeypatch.setattr(threads, 'processors', lambda: 9)
    monkeypatch.setattr(threads, 'numpy_threads', lambda: 3)
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 3)
    _, val_accuracies, test_accuracy, info = twin.train(**SETTINGS, use_batch_norm=True, data_dir=expect_trainable)
    assert [line.split('  train')[0] for line in capsys.readouterr().out.splitlines()] == ['epoch 1/2', 'epoch 2/2']
    assert list(info) == ['dataset', 'train_loss', 'train_accuracy', 'val_accuracy', 'val_loss', 'best_epoch',
                          'seconds_per_epoch', 'batch_loss', 'last_test_accuracy', 'environment']
    packages = ['numpy'] if twin is train_mlp_numpy else ['numpy', 'torch']
    assert info['environment'] == (packages, 3, 'cpu') and val_accuracies == info['val_accuracy']
    numbers = [test_accuracy, info['last_test_accuracy'], *val_accuracies, *info['val_loss'], *info['batch_loss']]
    assert {type(number) for number in numbers} == {float} and len(numbers) == 2 + 2 + 3 + 4
    twin.train(**SETTINGS, use_batch_norm=False, data_dir=expect_trainable, verbose=False)
    assert capsys.readouterr().out == ''


def test_settings_are_refused_as_approved():
    sound = {'hidden_dims': [1, 65536], 'lr': 3.4e38, 'batch_size': 45000, 'epochs': 1, 'seed': 2**32 - 1}
    settings.check_settings(**sound)
    settings.check_settings(hidden_dims=[], lr=5e-324, batch_size=1, seed=0)
    told = []
    for change in [{'hidden_dims': [8, 0]}, {'hidden_dims': [65537]}, {'lr': 0}, {'lr': 3.5e38}, {'lr': math.nan},
                   {'batch_size': 0}, {'batch_size': 45001}, {'epochs': 0}, {'seed': -1}, {'seed': 2**32}]:
        with pytest.raises(settings.SettingsError) as refused:
            settings.check_settings(**{**sound, **change})
        told.append(str(refused.value))
    assert_approved('settings', '\n'.join(told) + '\n')
    assert POSITIVE('1e300') == 1e300
    assert (settings.net_name([512, 8]), settings.net_name([])) == ('512 8', 'no hidden layer')


@pytest.mark.parametrize('twin', TWINS)
def test_settings_out_of_range_are_refused_before_anything_is_done(twin):
    sound = {**SETTINGS, 'use_batch_norm': False, 'data_dir': '/proc/no such folder'}
    taken = {*inspect.signature(twin.train).parameters, *inspect.signature(twin.MLP).parameters}
    for name in taken & settings.SETTINGS.keys():
        with pytest.raises(settings.SettingsError, match=f'^{name} is None: it must be '):
            twin.train(**{**sound, name: [None] if name == 'hidden_dims' else None})
    with pytest.raises(settings.SettingsError, match='^there is no setting momentum: it must be one of hidden_dims, '):
        twin.train(**sound, momentum=0.9)


class Scores(torch.nn.Module):
    """A model whose scores are its input."""

    def __init__(self):
        super().__init__()
        self.modes, self.cleared = [], 0

    def forward(self, x):
        self.modes.append(self.training)
        return x

    def clear_cache(self):
        self.cleared += 1


@pytest.mark.parametrize('twin', TWINS)
@pytest.mark.parametrize('training', [True, False])
def test_an_evaluation_is_in_evaluation_mode_and_leaves_no_trace(twin, training):
    array = np.array if twin is train_mlp_numpy else torch.tensor
    model = Scores().train(training)
    batches = [(array([[1.0, 0, 0], [0, 0, 1], [0, 1, 0]]), array([0, 1, 2])), (array([[0.0, 2, 1]]), array([1]))]
    found = twin.evaluate_model(model, batches)
    assert found == 0.5 and type(found) is float
    assert (model.modes, model.training) == ([False, False], training)
    assert model.cleared == (twin is train_mlp_numpy)
    assert twin.accuracy(*batches[0]) == pytest.approx(1 / 3) and type(twin.accuracy(*batches[0])) is float
    with pytest.raises(ValueError, match=r'^targets have shape \(3, 1\): it must be \(3,\)$'):
        twin.accuracy(batches[0][0], batches[0][1][:, None])
    batches[1][0][0, 0] = math.inf
    assert math.isnan(twin.evaluate_model(model, batches))


@pytest.mark.parametrize('twin', TWINS)
def test_a_step_goes_down_the_gradient_of_the_mean_loss_of_its_batch(twin):
    # Two inputs, two classes, scores of 0: the probabilities are ½ and the gradients are known.
    model = twin.MLP(2, [], 2)
    weight, bias = (model.layers[0].params[name] if twin is train_mlp_numpy else getattr(model.layers[0], name).data
                    for name in ('weight', 'bias'))
    weight[:], bias[:] = 0, 0
    images, labels = np.array([[4, 0], [0, 8], [0, 0], [4, 0]], np.float32), np.array([0, 1, 1, 0])
    if twin is train_mlp_pytorch:
        images, labels = torch.from_numpy(images), torch.from_numpy(labels)
    log = TrainingLog(1, 0.1, verbose=False)
    twin.train_epoch(model, [(images, labels)], 0.5, log)
    np.testing.assert_allclose(weight, [[0.5, -0.5], [-0.5, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(bias, [0, 0], atol=1e-9)
    assert log.batch_losses == [pytest.approx(math.log(2))]
    assert log.train_accuracies == [0.5], 'of two equal scores the first is the prediction'


@pytest.mark.parametrize('rank, processes, name', [(0, 1, 'mlp_pytorch'), (0, 2, 'mlp_pytorch_processes2'),
                                                   (1, 2, 'mlp_pytorch_processes2')])
def test_the_scripts_hand_over_what_they_train_and_the_first_process_alone_writes(monkeypatch, rank, processes, name):
    handed = []
    monkeypatch.setattr(command_line, 'main', lambda name, train, model_class, text, writes=True: handed.append(
        (name, train, model_class, text.split()[2], writes)))
    monkeypatch.setattr(data_parallel, 'rank_and_world_size', lambda: (rank, processes))
    for twin in TWINS:
        twin.main()
    assert handed == [('mlp_numpy', train_mlp_numpy.train, train_mlp_numpy.MLP, 'NumPy', True),
                      (name, train_mlp_pytorch.train, train_mlp_pytorch.MLP, 'PyTorch', rank == 0)]


def test_the_devices_that_processes_take_and_what_is_refused_is_as_approved(monkeypatch, capsys):
    lines, counts = [], {'gpus': 0, 'processes': 1}
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: counts['gpus'] > 0)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: counts['gpus'])
    monkeypatch.setattr(torch.cuda, 'set_device', lambda index: lines.append(f'GPU {index} is the current one'))
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda device: f'GPU {device.index} by name')

    def try_out(device):
        lines.append(f'{device} is tried out')
        if not counts['processes']:  # stands for a GPU that is too old for PyTorch
            raise RuntimeError('CUDA error: no kernel image is available\nCompile with …')

    monkeypatch.setattr(devices, 'try_out', try_out)
    monkeypatch.setattr(data_parallel, 'local_rank_and_world_size', lambda: (1, counts['processes']))
    for name, gpus, processes in [('auto', 0, 1), ('cpu', 0, 1), ('cuda', 0, 1), ('cuda', 2, 2), ('auto', 2, 2),
                                  ('cpu', 2, 2), ('auto', 2, 3), ('auto', 1, 0), ('cuda', 1, 0)]:
        counts.update(gpus=gpus, processes=processes)
        try:
            device = devices.find_device(name)
            lines.append(f'{name} with {gpus} GPUs: {device}, {devices.device_name(device)}')
        except ValueError as error:
            lines.append(f'{name} with {gpus} GPUs, {processes} processes: {error}')
        lines.extend(capsys.readouterr().err.splitlines())
    monkeypatch.setattr(data_parallel, 'rank_and_world_size', lambda: (1, 2))
    for size, normalized_layers in [(101, 0), (2, 1), (2, 0), (4, 1)]:
        try:
            data_parallel.check_batch_size(size, normalized_layers, torch.device('cpu'))
            lines.append(f'batch size {size}, {normalized_layers} normalized layers: taken')
        except settings.SettingsError as error:
            lines.append(f'batch size {size}, {normalized_layers} normalized layers: {error}')
    assert_approved('devices', '\n'.join(lines) + '\n')
