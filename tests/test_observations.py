"""What a run is watched by, before its first step and after each epoch: it is right, and the run takes no notice."""

import copy
import math

import numpy as np
import pytest
import torch

import cifar10_utils
import train_mlp_numpy
import train_mlp_pytorch
from modules import CrossEntropyModule
from training import models
from training.log import Diverged, TrainingLog

MODULES = [train_mlp_numpy, train_mlp_pytorch]
SETTINGS = {'hidden_dims': [16, 12], 'lr': 0.05, 'batch_size': 100, 'epochs': 2, 'seed': 42, 'verbose': False,
            'use_batch_norm': True}
LAYERS = ['linear1', 'batch_norm1', 'linear2', 'batch_norm2', 'linear3']


@pytest.fixture
def start(expect_trainable):
    """start(module) → a net with batch normalization and the loaders, the same in both twins."""
    def of(module):
        np.random.seed(0)
        model = module.MLP(3072, [16, 12], 10, use_batch_norm=True)
        cifar10 = cifar10_utils.get_cifar10(expect_trainable, validation_size=300)
        return model, cifar10_utils.get_dataloader(cifar10, 100, return_numpy=module is train_mlp_numpy)

    return of


@pytest.mark.parametrize('module', MODULES)
def test_a_record_has_a_number_from_before_the_first_step_and_one_for_each_epoch(expect_trainable, module):
    model, _, _, info = module.train(data_dir=expect_trainable, **SETTINGS)
    assert len(info['val_loss']) == 3 and info['val_loss'][2] < info['val_loss'][0]
    assert list(info['gradient_norm']) == LAYERS and list(info['dead_relus']) == ['relu1', 'relu2']
    for numbers in (*info['gradient_norm'].values(), *info['dead_relus'].values()):
        assert len(numbers) == 3 and all(0 <= number < math.inf for number in numbers)
    loaders = cifar10_utils.get_dataloader(cifar10_utils.get_cifar10(expect_trainable), 100,
                                           return_numpy=module is train_mlp_numpy)
    again = module.observe(model, loaders)
    best = info['best_epoch']
    assert again['val_loss'] == info['val_loss'][best] and again['val_accuracy'] == info['val_accuracy'][best - 1]
    assert again['gradient_norm'] == {name: numbers[best] for name, numbers in info['gradient_norm'].items()}


def test_both_twins_see_the_same_before_the_first_step(start):
    ours, theirs = (module.observe(*start(module)) for module in MODULES)
    assert ours['val_loss'] == pytest.approx(theirs['val_loss'], rel=1e-5)
    assert ours['gradient_norm'] == pytest.approx(theirs['gradient_norm'], rel=1e-4)
    assert (ours['dead_relus'], ours['val_accuracy']) == (theirs['dead_relus'], theirs['val_accuracy'])


def test_the_loss_is_that_of_all_images_and_the_norms_are_those_of_the_first_batch(start):
    model, loaders = start(train_mlp_numpy)
    seen = train_mlp_numpy.observe(model, loaders)
    model.eval()
    images, labels = loaders['validation'].images, loaders['validation'].labels
    probabilities = model.forward(cifar10_utils.normalize_numpy(images))
    assert seen['val_loss'] == pytest.approx(CrossEntropyModule().forward(probabilities, labels))
    assert seen['val_accuracy'] == train_mlp_numpy.evaluate_model(model, loaders['validation'])
    model.train()
    images, labels = (array[:100] for array in (loaders['train'].images, loaders['train'].labels))
    probabilities = model.forward(cifar10_utils.normalize_numpy(images))
    model.backward(CrossEntropyModule().backward(probabilities, labels))
    for name, layer in models.named_layers(model):
        if name in LAYERS:
            norm = np.sqrt((layer.grads['weight'] ** 2).sum() + (layer.grads['bias'] ** 2).sum())
            assert seen['gradient_norm'][name] == pytest.approx(norm)


@pytest.mark.parametrize('module', MODULES)
def test_a_relu_is_dead_that_no_image_gets_through(start, module):
    model, loaders = start(module)
    layers = dict(models.named_layers(model))
    norm = layers['batch_norm1']
    with torch.no_grad():
        for weight, bias in [(norm.params['weight'], norm.params['bias'])] if module is train_mlp_numpy else \
                [(norm.weight, norm.bias)]:
            weight[:3], bias[:3] = 0, -1
            weight[3], bias[3] = 0, 1  # always on is not dead
    assert module.observe(model, loaders)['dead_relus']['relu1'] == pytest.approx(3 / 16)


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('module', MODULES)
def test_whoever_watches_changes_nothing_and_draws_nothing(start, module, training):
    model, loaders = start(module)
    model.train(training)
    if module is train_mlp_pytorch:
        model(torch.ones(4, 3072)).sum().backward()
    content, drawn = models.model_bytes(model, {}), np.random.get_state()[1].copy()
    grads = copy.deepcopy([getattr(layer, 'grads', None) or [param.grad for param in layer.parameters()]
                           for name, layer in models.named_layers(model) if name in LAYERS])
    module.observe(model, loaders)
    assert models.model_bytes(model, {}) == content and model.training == training
    assert (np.random.get_state()[1] == drawn).all()
    after = [getattr(layer, 'grads', None) or [param.grad for param in layer.parameters()]
             for name, layer in models.named_layers(model) if name in LAYERS]
    for before, now in zip(grads, after, strict=True):
        for one, other in zip(*(list(part.values()) if isinstance(part, dict) else part for part in (before, now))):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('name, value', [('val_loss', math.inf), ('gradient_norm', {'linear1': math.nan})])
def test_a_loss_or_gradient_that_is_not_finite_stops_the_run(name, value):
    log = TrainingLog(1, 0.1, verbose=False)
    with pytest.raises(Diverged, match='the (validation loss is inf|norm of the gradient of linear1 is nan) in epoch'):
        log.start(**{'val_loss': 2.3, 'gradient_norm': {'linear1': 1.0}, 'dead_relus': {}, name: value})
