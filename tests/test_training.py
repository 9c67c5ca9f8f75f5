"""Training learns, repeats to the bit, keeps the best model, and stops where the loss is not finite."""

import copy
import inspect

import numpy as np
import pytest
import torch

import cifar10_utils
import train_mlp_numpy
import train_mlp_pytorch
from conftest import little_memory
from test_models import other_values
from training import devices
from training.log import Diverged
from training.settings import SETTINGS as TABLE

SETTINGS = {'hidden_dims': [16], 'lr': 0.05, 'batch_size': 100, 'epochs': 3, 'seed': 42, 'verbose': False}
VARIANTS = {
    'numpy': lambda **settings: train_mlp_numpy.train(**settings),
    'pytorch': lambda **settings: train_mlp_pytorch.train(use_batch_norm=False, device='cpu', **settings),
    'pytorch_batch_norm': lambda **settings: train_mlp_pytorch.train(use_batch_norm=True, device='cpu', **settings),
}


@pytest.fixture(params=VARIANTS)
def train(request, expect_trainable):
    return lambda **changes: VARIANTS[request.param](**{**SETTINGS, 'data_dir': expect_trainable, **changes})


@pytest.fixture
def two_threads():
    """For PyTorch, which conftest.py starts with one."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def parameters_of(model):
    if isinstance(model, torch.nn.Module):
        return [tensor.numpy() for tensor in model.state_dict().values()]
    return [param for layer in model.layers for param in getattr(layer, 'params', {}).values()]


def test_the_loss_falls_and_the_net_learns(train):
    _, val_accuracies, test_accuracy, info = train()
    assert info['train_loss'][-1] < 0.5 * info['train_loss'][0]
    assert test_accuracy > 0.8 and val_accuracies[-1] > 0.8


def test_the_same_seed_gives_the_same_bits_and_parameters_are_float32(train, two_threads):
    # One large batch: on a busy machine two threads wait for each other in every operation.
    (model, val, test, info), (model2, val2, test2, info2) = (train(epochs=1, batch_size=1400) for _ in range(2))
    for param, param2 in zip(parameters_of(model), parameters_of(model2), strict=True):
        np.testing.assert_array_equal(param, param2)
        assert param.dtype == np.float32 or not param.ndim  # the number of batches that batch normalization has seen
    assert (val, test, info['batch_loss']) == (val2, test2, info2['batch_loss'])


@pytest.mark.parametrize('module', [train_mlp_numpy, train_mlp_pytorch])
def test_the_best_model_is_kept_by_validation_accuracy(expect_trainable, monkeypatch, module):
    # Validation is best after the second of three epochs, and as good after the third; the first one is no candidate.
    scripted, seen, after_epochs, test = iter([0.3, 0.6, 0.6]), [], [], []

    def accuracy(predictions, labels, real=module.accuracy):
        return next(scripted) if len(labels) == 500 else real(predictions, labels)

    def predict(model, loader, real=module.predict):
        if len(loader.labels) == 500:
            seen.append(copy.deepcopy(model))
        return real(model, loader)

    def which_on_which(model, loader):  # in place of evaluate_model
        test.append(loader)
        return len(loader.labels) + float(parameters_of(model)[0][0, 0])

    monkeypatch.setattr(module, 'accuracy', accuracy)
    monkeypatch.setattr(module, 'predict', predict)
    monkeypatch.setattr(module, 'evaluate_model', which_on_which)
    more = {} if module is train_mlp_numpy else {
        'device': 'cpu', 'after_epoch': lambda model: after_epochs.append(copy.deepcopy(model))}
    model, val_accuracies, test_accuracy, info = module.train(
        **SETTINGS, use_batch_norm=False, data_dir=expect_trainable, **more)
    assert val_accuracies == info['val_accuracy'] == [0.3, 0.6, 0.6] and info['best_epoch'] == 2
    _, first, best, last = map(parameters_of, seen)
    assert not np.array_equal(best[0], last[0])
    for param, expected in zip(parameters_of(model), best, strict=True):
        np.testing.assert_array_equal(param, expected)
    for watched, epoch in zip(after_epochs, (first, best, last)):  # the model as it is then, not the best one so far
        np.testing.assert_array_equal(parameters_of(watched)[0], epoch[0])
    assert len(after_epochs) == 3 * bool(more) and not model.training, 'it is returned ready to predict'
    assert len(test[0].labels) == 300 and test_accuracy == which_on_which(model, test[0])
    assert info['last_test_accuracy'] == which_on_which(seen[3], test[0])


@pytest.mark.parametrize('module', [train_mlp_numpy, train_mlp_pytorch])
def test_each_value_of_a_setting_gives_another_run_and_the_same_again(expect_trainable, module):
    settings = {**SETTINGS, 'epochs': 1, 'use_batch_norm': False, 'data_dir': expect_trainable}
    for name in [*inspect.signature(module.train).parameters, *inspect.signature(module.MLP).parameters]:
        if name in TABLE and name not in ('hidden_dims', 'device'):
            changes = [{name: value} for value in other_values(TABLE[name])[:2] if value != settings.get(name)]
            runs = [module.train(**{**settings, **change})[3]['batch_loss'] for change in [{}, *changes, changes[-1]]]
            assert len(set(map(tuple, runs))) == len(changes) + 1 and runs[-2] == runs[-1], name


def test_numpys_evaluation_takes_any_object_with_forward():
    class Scores:  # as the MLP of a submission may be
        def forward(self, x):
            return x

    assert train_mlp_numpy.evaluate_model(Scores(), [(np.eye(4), np.array([0, 1, 2, 0]))]) == 0.75


def test_predictions_that_are_not_finite_stop_the_run(train):
    # One batch an epoch: the loss is still finite when the parameters overflow.
    with pytest.raises(Diverged, match='validation loss is nan at epoch 1, step 1 '):
        train(lr=1e38, batch_size=1400, hidden_dims=[])


@pytest.mark.parametrize('module', [train_mlp_numpy, train_mlp_pytorch])
def test_an_empty_data_set_cannot_be_evaluated_on(module):
    model = module.MLP(3072, [4], 10)
    with pytest.raises(ValueError, match='there is no sample to evaluate on: '):
        module.evaluate_model(model, [])
    assert model.training, 'as it was'


@pytest.mark.parametrize('module', [train_mlp_numpy, train_mlp_pytorch])
def test_the_validation_loss_is_that_of_all_samples_from_before_the_first_step_on(expect_trainable, module):
    more = {} if module is train_mlp_numpy else {'device': 'cpu'}
    settings = {**SETTINGS, 'epochs': 2, 'use_batch_norm': True, 'data_dir': expect_trainable, **more}
    model, *_, info = module.train(**settings)
    assert len(info['val_loss']) == 3 and info['val_loss'][2] < info['val_loss'][0]
    loaders = cifar10_utils.get_dataloader(cifar10_utils.get_cifar10(expect_trainable), 7, return_numpy=True)
    images, labels = (np.concatenate(parts) for parts in zip(*loaders['validation']))
    if module is train_mlp_numpy:
        probabilities = model.forward(images)
    else:
        with torch.no_grad():
            probabilities = torch.softmax(model(torch.from_numpy(images)), dim=1).numpy()
    loss = -np.log(probabilities[np.arange(500), labels].astype(np.float64)).mean()
    assert info['val_loss'][info['best_epoch']] == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize('use_batch_norm', [False, True])
@pytest.mark.parametrize('module', [train_mlp_numpy, train_mlp_pytorch])
@pytest.mark.parametrize('changes', [
    {'hidden_dims': []}, {'hidden_dims': [1]}, {'hidden_dims': [4] * 20}, {'batch_size': 1400}, {'batch_size': 13},
], ids=['no hidden layer', 'a layer of one unit', '20 layers', 'one batch an epoch', 'a last batch of one sample'])
def test_unusual_nets_and_batches_train(expect_trainable, module, changes, use_batch_norm):
    # The 300 test images make a last batch of one sample where the batch size is 13.
    settings = {**SETTINGS, 'lr': 0.01, 'epochs': 1, 'data_dir': expect_trainable, **changes}
    _, val_accuracies, test_accuracy, info = module.train(use_batch_norm=use_batch_norm, **settings)
    assert len(val_accuracies) == 1 and 0 <= test_accuracy <= 1
    assert np.isfinite(info['batch_loss']).all() and len(info['batch_loss']) == 1400 // settings['batch_size']


@pytest.mark.parametrize('module', [train_mlp_numpy, train_mlp_pytorch])
def test_batch_normalization_refuses_a_training_batch_of_one_sample(expect_trainable, module):
    with pytest.raises(ValueError, match='batch|Expected more than 1 value per channel'):
        module.train(use_batch_norm=True, data_dir=expect_trainable, **{**SETTINGS, 'batch_size': 1})


def test_a_net_too_large_for_the_memory_is_a_memory_error(expect_trainable):
    with little_memory(6 * 10**8), pytest.raises(MemoryError, match="can't allocate memory"):
        VARIANTS['pytorch'](**{**SETTINGS, 'hidden_dims': [65536, 65536]}, data_dir=expect_trainable)


def test_a_gpu_without_room_is_a_memory_error_and_other_errors_stay_what_they_are():
    for error, expected in ((torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20 GiB.\n more'), MemoryError),
                            (RuntimeError('a defect'), RuntimeError)):
        with pytest.raises(expected, match='^CUDA out of memory. Tried to allocate 20 GiB.$|^a defect$') as raised:
            with devices.memory_errors():
                raise error
        assert type(raised.value) is expected
