"""What the study of batch normalization measures, and what its tables and figures hold."""

import itertools
import math
import statistics

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from experiments import batch_norm_figures as figures
from experiments import batch_norm_report as report
from experiments import batch_norm_runs as runs
from experiments import batch_norm_training as training
from experiments import batch_norm_tables as tables
from experiments import intervals
from mlp_pytorch import MLP

NETS = [[4], [5, 4], [6, 5, 4]]
SEEDS = [42, 43, 44]


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


def test_means_deviations_and_intervals_of_known_numbers():
    assert intervals.mean_and_deviation([1, 2, 3]) == '2.0 ± 1.0'  # n − 1
    assert intervals.mean_and_deviation([-2.5]) == '−2.5'
    low, high = intervals.confidence_interval([1, 2, 3])  # 2 ± 4.303 · 1/√3
    assert (low, high) == (pytest.approx(-0.484, abs=1e-3), pytest.approx(4.484, abs=1e-3))
    assert intervals.difference([1, 2, 3]) == '+2.0 [−0.5, +4.5]'
    assert intervals.difference([2, 2.1, 1.9]) == '**+2.0 [+1.8, +2.2]**'
    assert intervals.difference([-1.5]) == '−1.5'
    assert intervals.signed(-0.04) == '0.0'


# Tables and figures, of results whose numbers are known.

def known_run(net, use_batch_norm, seed, **settings):
    """Numbers that tell which run, curve and epoch they are of; larger with the seed."""
    base = 0.1 * len(net) + 0.04 * use_batch_norm + 0.001 * (seed - 42) * (1 + use_batch_norm) + 0.2
    epochs = settings.get('epochs', 3)
    return {'hidden_dims': net, 'use_batch_norm': use_batch_norm, 'seed': seed, 'lr': 0.1, 'batch_size': 64,
            'epochs': epochs, 'train_accuracy': [base + 0.05 * i for i in range(epochs)],
            'val_accuracy': [base - 0.15 + 0.01 * i for i in range(epochs)], 'best_epoch': epochs,
            'measured_train_accuracy': [base + 0.02 + 0.06 * i for i in range(epochs)],
            'test_accuracy': base - 0.11, 'seconds_per_epoch': 1.0, 'train_loss': [1.0] * epochs, 'environment': {},
            'activation_spread': [[1.0 + i + use_batch_norm + 0.1 * epoch for i in range(len(net))]
                                  for epoch in range(epochs)],
            'loss_along_gradient': [{'epoch': epoch, 'losses': [2 + base + multiple + epoch
                                                                for multiple in runs.MULTIPLES]}
                                    for epoch in dict.fromkeys((0, 1, epochs))], **settings}


def diverged(run):
    """The run as it is kept when its loss is no longer finite."""
    settings = ('hidden_dims', 'use_batch_norm', 'seed', 'lr', 'batch_size', 'epochs', 'start', 'group_size')
    return {**{key: run[key] for key in settings if key in run}, 'diverged': 'the loss is nan'}


@pytest.fixture
def results():
    six = [known_run(net, use_batch_norm, seed) for net in NETS for use_batch_norm in (False, True) for seed in SEEDS]
    starts = [known_run(net, False, seed, start='normalized', epochs=1 if len(net) > 1 else 3)
              for net in NETS for seed in SEEDS]
    groups = [known_run(NETS[0], True, seed, group_size=size) for size in (16, 8) for seed in SEEDS]
    rates = [{**run, 'lr': 0.3, 'val_accuracy': [0.01 + value for value in run['val_accuracy']]}
             for run in six if run['use_batch_norm']]
    rates += [{**diverged(run), 'lr': 0.3} for run in six if not run['use_batch_norm'] and run['seed'] == 42]
    return {'config': {'lr': 0.1, 'batch_size': 64, 'epochs': 3, 'nets': NETS}, 'runs': six, 'start_runs': starts,
            'group_runs': groups, 'learning_rate_runs': rates}


def lines_of(axes):
    """label → y values of the lines of a panel."""
    return {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}


def mean_of(results, key, net, use_batch_norm):
    chosen = [run[key] for run in results['runs']
              if run['hidden_dims'] == net and run['use_batch_norm'] == use_batch_norm]
    return [statistics.mean(values) for values in zip(*chosen)]


LABELS = {False: 'without batch normalization', True: 'with batch normalization'}


@pytest.mark.parametrize('ending, key, name', [('_train', 'train_accuracy', 'training'),
                                               ('_validation', 'val_accuracy', 'validation')])
def test_the_figures_of_the_assignment_hold_what_their_labels_say(results, ending, key, name):
    figure = report.figures_of(results)[ending]
    for axes, net in zip(figure.axes, NETS, strict=True):
        assert axes.get_title() == f'net {" ".join(map(str, net))}: {name}' and axes.get_xlabel() == 'epoch'
        drawn = lines_of(axes)
        assert drawn.keys() == set(LABELS.values())
        for use_batch_norm, label in LABELS.items():
            assert drawn[label] == pytest.approx(mean_of(results, key, net, use_batch_norm))
    assert figure.axes[0].get_ylabel().startswith(f'{name} accuracy')
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(LABELS.values())


def test_the_figure_of_the_fit_holds_validation_over_training_measured_alike(results):
    figure = report.figures_of(results)['_fit']
    for axes, net in zip(figure.axes, NETS, strict=True):
        for line, use_batch_norm in zip(axes.get_lines(), (False, True), strict=True):
            assert line.get_label() == LABELS[use_batch_norm]
            assert list(line.get_xdata()) == pytest.approx(
                mean_of(results, 'measured_train_accuracy', net, use_batch_norm))
            assert list(line.get_ydata()) == pytest.approx(mean_of(results, 'val_accuracy', net, use_batch_norm))
        assert axes.get_xlabel().startswith('training accuracy')
    assert figure.axes[0].get_ylabel().startswith('validation accuracy')


def test_the_figure_of_the_gradient_holds_three_nets_at_two_moments(results):
    panels = iter(figures.draw_gradient(results).axes)
    for epoch, net in itertools.product((0, 1), NETS):
        axes = next(panels)
        assert axes.get_title() == (f'net {" ".join(map(str, net))}, '
                                    + ('after epoch 1' if epoch else 'at the start'))
        drawn = lines_of(axes)
        assert set(drawn) == {*LABELS.values(), 'normalized at its start only'}
        for use_batch_norm, label in LABELS.items():
            base = 0.1 * len(net) + 0.04 * use_batch_norm + 0.001 * (1 + use_batch_norm) + 0.2
            assert drawn[label] == pytest.approx([2 + base + multiple + epoch for multiple in runs.MULTIPLES[1:]])


def test_the_figure_of_the_groups_shows_training_and_validation(results):
    left, right = figures.draw_groups(results).axes
    for axes, key in ((left, 'measured_train_accuracy'), (right, 'val_accuracy')):
        assert list(lines_of(axes)) == [f'statistics of {size} samples' for size in (64, 16, 8)]
        assert lines_of(axes)['statistics of 64 samples'] == pytest.approx(mean_of(results, key, NETS[0], True))
    assert left.get_ylabel().startswith('training') and right.get_ylabel().startswith('validation')


def test_the_figure_of_the_rates_marks_what_diverged(results):
    for axes, net in zip(figures.draw_rates(results).axes, NETS, strict=True):
        drawn = lines_of(axes)
        best = 0.1 * len(net) + 0.2 - 0.15 + 0.02
        assert drawn['with batch normalization'] == pytest.approx([best + 0.04, best + 0.05])
        assert drawn['without batch normalization'] == pytest.approx([best])
        assert 'without batch normalization: loss not finite' in drawn


def test_the_figure_of_the_spread_has_a_line_for_each_layer(results):
    without, normalized = figures.draw_spread(results).axes
    assert lines_of(without)['before the ReLU of layer 2'] == pytest.approx([2.0, 2.1, 2.2])
    assert lines_of(normalized)['before the ReLU of layer 2'] == pytest.approx([3.0, 3.1, 3.2])
    assert LABELS[False] in without.get_title() and LABELS[True] in normalized.get_title()


def row(table, *beginning):
    """The cells of the only row that begins so."""
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines()]
    chosen = [cells for cells in rows if cells[:len(beginning)] == list(beginning)]
    assert len(chosen) == 1, (beginning, rows)
    return chosen[0][len(beginning):]


def test_the_tables_hold_means_deviations_and_paired_differences(results):
    texts = {number: table for number, (_, table) in report.table_texts(results).items()}
    assert list(texts) == list(range(1, 11))
    # Seeds 42, 43, 44: 0.1, 0.2 points more each without, twice that with batch normalization.
    assert row(texts[1], '4', 'no') == ['3', '15.1 ± 0.1', '17.1 ± 0.1', '3.0 ± 0.0', '19.1 ± 0.1', '17.1 ± 0.1',
                                        'in 0 of 3', '1.0 ± 0.0']
    assert row(texts[2], '4', 'yes') == ['44.2 ± 0.2', '48.2 ± 0.2', '21.2 ± 0.2', '27.0 ± 0.0']
    # A mean of 4.1 with a deviation of 0.1: ± 4.303 · 0.1/√3 = 0.2.
    assert row(texts[3], '4')[:3] == ['3', '**+4.1 [+3.9, +4.3]**', '**+4.1 [+3.9, +4.3]**']
    assert row(texts[3], '4 − 6 5 4')[:2] == ['3', '0.0 [0.0, 0.0]']
    assert row(texts[5], '5 4', 'no') == ['1.00, 2.00', '1.20, 2.20']
    assert row(texts[6], '4', 'start', 'with batch normalization')[:3] == ['3', '2.34', '2.59']
    assert row(texts[7], 'with batch normalization − without batch normalization')[-1] == '**+4.1 [+3.9, +4.3]**'
    assert row(texts[8], 'of 16 − of 64')[1:] == ['0.0 [0.0, 0.0]'] * 4
    assert row(texts[9], '4', 'no') == ['**17.0**', 'loss not finite in 1 of 1']
    assert row(texts[9], '4', 'yes') == ['21.0', '**22.0**']
    assert row(texts[10], '4')[:5] == ['2', '0.1', '19.2 ± 0.1', '0.3', '23.3 ± 0.1']


def test_validation_is_compared_at_the_same_fit():
    run = {'measured_train_accuracy': [0.5, 0.7, 0.6, 0.9], 'val_accuracy': [0.4, 0.5, 0.3, 0.2]}
    assert tables.validation_at(run, 60) == pytest.approx(45)
    assert tables.validation_at(run, 80) == pytest.approx(100 * (0.3 - 0.1 * 2 / 3))
    assert tables.validation_at(run, 95) is None
    run['measured_train_accuracy'][0] = 0.85  # and after falling back above 80 % again
    assert tables.validation_at(run, 80) is None


def test_diverged_runs_are_named_in_every_table_and_break_no_figure(results):
    results['runs'][0] = diverged(results['runs'][0])
    for kind in ('start_runs', 'group_runs'):
        results[kind] = [diverged(run) for run in results[kind]]
    assert 'loss not finite in 1 of 3' in row(report.table_texts(results)[1][1], '4', 'no')
    assert row(report.table_texts(results)[3][1], '4')[0] == '2'
    assert 'loss not finite in 1 of 3' in tables.terminal_table(results)
    report.figures_of(results)


def test_a_study_of_which_everything_diverged_is_reported(results):
    for kind in runs.KINDS:
        results[kind] = [diverged(run) for run in results[kind]]
    report.markdown(results)
    report.figures_of(results)
