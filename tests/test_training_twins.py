"""What a training of either twin says and notes, as approved; and what it does with batches whose numbers are known."""

import json
import math
import re
import types

import numpy as np
import pytest
import torch

import train_mlp_numpy
import train_mlp_pytorch
from approval import assert_approved
from training import command_line, data_parallel, results, settings, threads
from training.log import TrainingLog

TWINS = {'numpy': train_mlp_numpy, 'pytorch': train_mlp_pytorch}
SETTINGS = {'hidden_dims': [4], 'lr': 0.05, 'batch_size': 500, 'epochs': 2, 'seed': 42}


def without_digits(value):
    """A record with … in place of every number with a fraction, or with a dot in a text."""
    return re.sub(r'\d+\.\d+(\.\d+)?\S*?(?=[,}\]" ]|$)|NaN', '…', value, flags=re.M)


@pytest.mark.parametrize('twin', TWINS)
def test_a_training_says_and_notes_what_is_approved(expect_trainable, capsys, monkeypatch, twin):
    monkeypatch.setattr(results, 'platform', types.SimpleNamespace(
        python_version=lambda: '3.9', system=lambda: 'CP/M', machine=lambda: 'Z80'))
    monkeypatch.setattr(threads, 'processors', lambda: 9)
    monkeypatch.setenv('OPENBLAS_NUM_THREADS', '3')
    monkeypatch.setattr(torch, 'get_num_threads', lambda: 3)
    epochs_seen = [] if twin == 'pytorch' else None
    more = {} if twin == 'numpy' else {'device': 'cpu', 'after_epoch': lambda model: epochs_seen.append(model)}
    model, val_accuracies, test_accuracy, info = TWINS[twin].train(**SETTINGS, use_batch_norm=True,
                                                                   data_dir=expect_trainable, **more)
    assert type(test_accuracy) is type(info['last_test_accuracy']) is float
    assert val_accuracies == info['val_accuracy'] and (not more or len(epochs_seen) == 2)
    lines = [f'{name}: {json.dumps(value)}' for name, value in info.items()]
    assert_approved(f'training_{twin}', without_digits('\n'.join([capsys.readouterr().out, *lines])) + '\n')
    again = TWINS[twin].train(**SETTINGS, use_batch_norm=False, data_dir=expect_trainable, verbose=False)
    assert list(again[3]['gradient_norm']) == ['linear1', 'linear2'] and capsys.readouterr().out == ''


@pytest.mark.parametrize('twin', TWINS)
def test_settings_out_of_range_are_told_before_anything_is_done(twin):
    for name, value in {'hidden_dims': [0], 'lr': 0, 'batch_size': 0, 'epochs': 0, 'seed': -1}.items():
        with pytest.raises(settings.SettingsError, match=f'^{name} is .*: give '):
            TWINS[twin].train(**{**SETTINGS, name: value}, use_batch_norm=False, data_dir='/proc/no such folder')


def scores(module, rows):
    return (np.array if module is train_mlp_numpy else torch.tensor)(rows)


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


@pytest.mark.parametrize('module', TWINS.values())
@pytest.mark.parametrize('training', [True, False])
def test_an_evaluation_is_in_evaluation_mode_and_leaves_no_trace(module, training):
    model = Scores().train(training)
    batches = [(scores(module, [[1.0, 0, 0], [0, 0, 1], [0, 1, 0]]), scores(module, [0, 1, 2])),
               (scores(module, [[0.0, 2, 1]]), scores(module, [1]))]
    found = module.evaluate_model(model, batches)
    assert found == 0.5 and type(found) is float
    assert (model.modes, model.training) == ([False, False], training)
    assert model.cleared == (module is train_mlp_numpy)
    assert module.evaluate_model(model, batches, lambda x: -x) == 0
    assert module.accuracy(*batches[0]) == pytest.approx(1 / 3) and type(module.accuracy(*batches[0])) is float
    batches[1][0][0, 0] = math.inf
    assert math.isnan(module.evaluate_model(model, batches))
    with pytest.raises(ValueError, match='^there is no sample to evaluate on: give a data set that is not empty$'):
        module.evaluate_model(model, [])
    assert model.training == training and not list(model.parameters())


class Noted(TrainingLog):
    """A log that keeps what each step is."""

    def __init__(self):
        super().__init__(1, 0.1, verbose=False)
        self.steps = []

    def step(self, *numbers):
        self.steps.append(tuple(map(float, numbers)))
        super().step(*numbers)


@pytest.mark.parametrize('module', TWINS.values())
def test_a_step_is_that_of_the_gradient_of_the_mean_loss_of_its_batch(module):
    # Two inputs, two classes: scores of 0, so the probabilities are ½ and the gradients known.
    model = module.MLP(2, [], 2)
    layer = model.layers[0]
    weight, bias = (layer.params[name] if module is train_mlp_numpy else getattr(layer, name).data
                    for name in ('weight', 'bias'))
    weight[:], bias[:] = 0, 0
    images, labels = scores(module, [[4.0, 0], [0, 8], [0, 0], [4, 0]]), scores(module, [0, 1, 1, 0])
    log = Noted()
    norms = module.gradient_norms(model, images if module is train_mlp_numpy else images.float(), labels)
    assert norms == {'linear1': pytest.approx(2)} and type(norms['linear1']) is float
    module.train_epoch(model, [(images if module is train_mlp_numpy else images.float(), labels)], 0.5, log)
    assert log.steps == [(pytest.approx(math.log(2)), 0.5)]  # of two that are equal the first one is the largest
    np.testing.assert_allclose(weight, [[0.5, -0.5], [-0.5, 0.5]], rtol=1e-6)
    np.testing.assert_allclose(bias, [0, 0], atol=1e-9)
    assert log.batch_losses == [pytest.approx(math.log(2))]


@pytest.mark.parametrize('module, dtype', [(train_mlp_numpy, {'dtype': np.float32}), (train_mlp_pytorch, {})])
def test_the_norm_of_a_gradient_may_be_larger_than_the_root_of_the_largest_number(module, dtype):
    images = scores(module, [[1e25, 0], [0, 1e25]])
    images = images.astype(np.float32) if module is train_mlp_numpy else images.float()
    norms = module.gradient_norms(module.MLP(2, [], 2, **dtype), images, scores(module, [0, 1]))
    assert math.isfinite(norms['linear1']) and norms['linear1'] > 0


class Batches(list):
    """Of a validation set with labels."""
    labels = None


@pytest.mark.parametrize('module', TWINS.values())
def test_what_is_observed_is_that_of_all_batches_together(module, monkeypatch):
    monkeypatch.setattr(module.cifar10_utils, 'first_batch', lambda loader: (loader, 'labels'))
    monkeypatch.setattr(module, 'gradient_norms', lambda model, *batch: {'linear1': batch})
    model = module.MLP(2, [3], 2)
    layers = [model.layers[0], model.layers[2]]
    for layer, weight in zip(layers, ([[1, 0], [0, 1], [-1, -1]], [[1, 0, 0], [0, 1, 0]])):
        place, bias = (layer.params[name] if module is train_mlp_numpy else getattr(layer, name).data
                       for name in ('weight', 'bias'))
        place[:], bias[:] = scores(module, weight), 0
    batches = Batches((scores(module, [row]) if module is train_mlp_numpy else scores(module, [row]).float(),
                       scores(module, [0])) for row in ([2.0, 0], [0.0, 2], [0.0, 1]))
    batches.labels = scores(module, [0, 0, 0])
    seen = module.observe(model, {'validation': batches, 'train': 'the training set'})
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(2)) + math.log(1 + math.exp(1))) / 3
    assert seen == {'val_accuracy': pytest.approx(1 / 3), 'val_loss': pytest.approx(expected, rel=1e-6),
                    'gradient_norm': {'linear1': ('the training set', 'labels')},
                    'dead_relus': {'relu1': pytest.approx(1 / 3)}}
    assert {type(value) for value in (seen['val_loss'], seen['dead_relus']['relu1'])} == {float}


@pytest.mark.parametrize('rank, world_size, name', [(0, 1, 'mlp_pytorch'), (0, 2, 'mlp_pytorch_processes2'),
                                                    (1, 2, 'mlp_pytorch_processes2')])
def test_the_scripts_hand_over_what_they_train(monkeypatch, rank, world_size, name):
    handed = []
    monkeypatch.setattr(command_line, 'main', lambda name, train, parser, writes=True: handed.append(
        (name, train, parser.description.split()[2], writes)))
    monkeypatch.setattr(data_parallel, 'rank_and_world_size', lambda: (rank, world_size))
    for module in TWINS.values():
        module.main()
    assert handed == [('mlp_numpy', train_mlp_numpy.train, 'NumPy', True),
                      (name, train_mlp_pytorch.train, 'PyTorch', rank == 0)]


def test_what_can_not_be_had_of_devices_and_processes_is_told_as_approved(monkeypatch):
    told, counts = [], {'gpus': 0, 'processes': 1}
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: counts['gpus'] > 0)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: counts['gpus'])
    monkeypatch.setattr(torch.cuda, 'set_device', lambda index: told.append(f'takes GPU {index}'))
    monkeypatch.setattr(torch.cuda, 'get_device_name', lambda device: f'GPU {device.index} by name')
    monkeypatch.setattr(data_parallel, 'local_rank_and_world_size', lambda: (1, counts['processes']))
    for name, gpus, processes in [('auto', 0, 1), ('cpu', 0, 1), ('cuda', 0, 1), ('tpu', 0, 1), ('cuda', 2, 2),
                                  ('auto', 2, 2), ('cpu', 2, 2), ('auto', 2, 3)]:
        counts.update(gpus=gpus, processes=processes)
        try:
            device = train_mlp_pytorch.find_device(name)
            told.append(f'{name} with {gpus} GPUs: {device}, {train_mlp_pytorch.device_name(device)}')
        except ValueError as error:
            told.append(f'{name} with {gpus} GPUs, {processes} processes: {error}')
    monkeypatch.setattr(data_parallel, 'rank_and_world_size', lambda: (1, 2))
    monkeypatch.setattr(train_mlp_pytorch.cifar10_utils, 'get_cifar10', lambda data_dir: 1 / 0)  # as far as it goes
    for size, use_batch_norm, hidden_dims in [(101, False, [4]), (2, True, [4]), (2, True, []), (2, False, [4]),
                                              (4, True, [4])]:
        try:
            train_mlp_pytorch.train(**{**SETTINGS, 'batch_size': size, 'hidden_dims': hidden_dims},
                                    use_batch_norm=use_batch_norm, data_dir='nowhere', device='cpu')
        except (settings.SettingsError, ZeroDivisionError) as error:
            told.append(f'{size}, {hidden_dims}, {use_batch_norm}: {error}')
    assert_approved('devices', '\n'.join(told) + '\n')
