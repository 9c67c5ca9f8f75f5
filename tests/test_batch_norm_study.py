"""What the study of batch normalization measures, and its means and intervals."""

import math
import statistics

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from experiments import batch_norm_runs as runs
from experiments import batch_norm_training as training
from experiments import batch_norm_tables as tables
from experiments import intervals
from mlp_pytorch import MLP


@pytest.fixture
def batches():
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(32, 12, generator=generator) * 3 + 1, torch.randint(3, (32,), generator=generator))
            for _ in range(2)]


@pytest.fixture(params=[False, True], ids=['without', 'with'])
def model(request):
    np.random.seed(0)
    return MLP(12, [7, 5], 3, use_batch_norm=request.param)


# What is measured.

def test_the_spread_is_that_of_what_enters_each_relu(model, batches):
    images = batches[0][0]
    model.eval()
    inputs = []
    for layer in model.layers:
        if isinstance(layer, nn.ReLU):
            layer.register_forward_hook(lambda _, args, __: inputs.append(args[0]))
    model(images)
    expected = [values.std().item() for values in inputs]
    assert any((values < 0).any() for values in inputs)  # behind a ReLU nothing is negative
    assert training.activation_spread(model.train(), images) == pytest.approx(expected)
    assert model.training


def test_the_loss_along_the_gradient_is_that_after_a_step(model, batches):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    losses = training.loss_along_gradient(model, batches, lr=0.3)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
    for multiple, loss in zip(runs.MULTIPLES, losses):
        expected = []
        for images, labels in batches:
            model.load_state_dict(before)
            model.train()
            model.zero_grad()
            cross_entropy(model(images), labels).backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= multiple * 0.3 * parameter.grad
                expected.append(cross_entropy(model(images), labels).item())
        assert loss == pytest.approx(statistics.mean(expected), rel=1e-4)


def test_a_loss_that_is_not_finite_is_none(model, batches):
    losses = training.loss_along_gradient(model, batches, lr=1e38)
    assert None in losses and all(loss is None or math.isfinite(loss) for loss in losses)


def test_normalized_at_its_start_a_net_computes_what_batch_normalization_does(batches):
    images = batches[0][0]
    nets = []
    for use_batch_norm in (False, True):
        np.random.seed(3)
        nets.append(MLP(12, [7, 5], 3, use_batch_norm))
    training.normalize_at_start(nets[0], images)
    torch.testing.assert_close(nets[0](images), nets[1].train()(images), rtol=1e-4, atol=1e-5)
    assert not any(isinstance(layer, nn.BatchNorm1d) for layer in nets[0].layers)


@pytest.mark.parametrize('group_size', [32, 8])
def test_statistics_of_groups_are_batch_normalization_of_each_group(group_size):
    torch.manual_seed(0)
    x = torch.randn(32, 6) * 4 + 2
    grouped, plain = training.GroupedBatchNorm(6, group_size), nn.BatchNorm1d(6)
    with torch.no_grad():
        for layer in (grouped, plain):
            layer.weight.copy_(torch.arange(6.)), layer.bias.fill_(0.5)
    torch.testing.assert_close(grouped(x), torch.cat([plain(part) for part in x.split(group_size)]),
                               rtol=1e-4, atol=1e-5)
    # The running statistics move once a step, to the mean over the groups.
    means, variances = (torch.stack(values).mean(0) for values in
                        zip(*((part.mean(0), part.var(0)) for part in x.split(group_size))))
    torch.testing.assert_close(grouped.running_mean, 0.1 * means)
    torch.testing.assert_close(grouped.running_var, 0.9 + 0.1 * variances)
    grouped.eval()
    plain.load_state_dict(grouped.state_dict())
    assert torch.equal(grouped(x), plain.eval()(x))


def test_groups_replace_every_batch_normalization():
    model = MLP(12, [7, 5], 3, use_batch_norm=True)
    training.normalize_in_groups(model, 8)
    assert [layer.group_size for layer in model.layers if isinstance(layer, nn.BatchNorm1d)] == [8, 8]


def test_training_accuracy_is_measured_as_validation_accuracy_is(expect_trainable):
    """In evaluation mode and after the epoch; measuring changes nothing about the training."""
    import train_mlp_pytorch

    run = {'hidden_dims': [6], 'use_batch_norm': True, 'seed': 5, 'lr': 0.02, 'batch_size': 100, 'epochs': 1}
    measured = training.train_one(run, expect_trainable)
    accuracies = []

    def after_epoch(model):
        data = train_mlp_pytorch.cifar10_utils.get_cifar10(expect_trainable)
        sample = {'train': data['train'], 'sample': data['train']}  # the 1,400 images are fewer than the sample
        loader = train_mlp_pytorch.cifar10_utils.get_dataloader(sample, 100)['sample']
        accuracies.append(train_mlp_pytorch.evaluate_model(model, loader))

    _, val_accuracies, test_accuracy, info = train_mlp_pytorch.train(**run, data_dir=expect_trainable, device='cpu',
                                                                     verbose=False, after_epoch=after_epoch)
    assert measured['measured_train_accuracy'] == accuracies != info['train_accuracy']
    assert (measured['val_accuracy'], measured['test_accuracy']) == (val_accuracies, test_accuracy)
    assert [moment['epoch'] for moment in measured['loss_along_gradient']] == [0, 1]


# Means and intervals.

def test_students_quantiles_are_the_tabulated_ones():
    """NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2, the column 0.975."""
    for degrees, quantile in {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 30: 2.042}.items():
        assert intervals.student_quantile(degrees) == pytest.approx(quantile, abs=5e-4)


def test_an_interval_of_known_numbers():
    low, high = intervals.confidence_interval([1, 2, 3])  # 2 ± 4.303 · 1/√3
    assert (low, high) == (pytest.approx(-0.484, abs=1e-3), pytest.approx(4.484, abs=1e-3))


def test_validation_is_compared_at_the_same_fit():
    run = {'measured_train_accuracy': [0.5, 0.7, 0.6, 0.9], 'val_accuracy': [0.4, 0.5, 0.3, 0.2]}
    assert tables.validation_at(run, 60) == pytest.approx(45)
    assert tables.validation_at(run, 80) == pytest.approx(100 * (0.3 - 0.1 * 2 / 3))
    assert tables.validation_at(run, 95) is None
    run['measured_train_accuracy'][0] = 0.85  # and after falling back above 80 % again
    assert tables.validation_at(run, 80) is None
