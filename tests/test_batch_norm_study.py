"""What the study of batch normalization measures, and the tables and figures of runs that are known."""

import json
import math
import statistics

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import cifar10_utils
import known_runs
import train_mlp_pytorch
from approval import assert_approved
from cifar10_utils import get_dataloader
from experiments import batch_norm_report as report, batch_norm_runs as runs, batch_norm_tables as tables, intervals
from experiments import batch_norm_training as training
from figures_in_words import described
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


def test_the_spread_is_that_of_what_enters_each_relu(model, batches):
    images, expected = batches[0][0], []
    for layer in model.eval().layers:
        if isinstance(layer, nn.ReLU):
            layer.register_forward_hook(lambda _, args, __: expected.append(args[0].std().item()))
    model(images)
    assert training.activation_spread(model.train(), images) == pytest.approx(expected[:2]) and model.training


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
    model.load_state_dict(before)
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
    x[:, 5] = torch.randn(32) * 0.003  # whose variance is as small as ε
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
    model = MLP(12, [7, 5], 3, use_batch_norm=True)
    training.normalize_in_groups(model, group_size)
    assert [layer.group_size for layer in model.layers if isinstance(layer, nn.BatchNorm1d)] == [group_size] * 2


@pytest.mark.parametrize('settings', [
    {'use_batch_norm': False, 'start': 'normalized'}, {'use_batch_norm': True, 'group_size': 20},
    {'use_batch_norm': True, 'start': 0.5}], ids=['data-dependent initialization', 'in groups', 'scaled weights'])
def test_a_run_holds_what_was_measured_and_measuring_changes_nothing_about_the_training(expect_trainable, settings):
    """Trained here by hand: in evaluation mode after each epoch, on images that are fewer than the sample."""
    run = {'hidden_dims': [6, 5], 'seed': 5, 'lr': 0.02, 'batch_size': 100, 'epochs': 3, **settings}
    data = cifar10_utils.get_cifar10(expect_trainable)
    loader = get_dataloader({'train': data['train'], 'sample': data['train'], 'spread': data['validation']}, 500)
    batches = list(get_dataloader({'train': data['train'], 'sample': data['train']}, 100)['sample'])[:8]
    accuracies, spreads, moments, lengths = [], [], [], []

    def make_model(*arguments):
        model = MLP(*arguments)
        if 'group_size' in run:
            training.normalize_in_groups(model, 20)
        if run.get('start') == 'normalized':
            training.normalize_at_start(model, batches[0][0])
        elif 'start' in run:
            for layer in linear_layers(model):
                layer.weight.data *= 0.5
        after_epoch(model, of_the_start=True)
        return model

    def linear_layers(model):
        return [layer for layer in model.layers if isinstance(layer, nn.Linear)]

    def after_epoch(model, of_the_start=False):
        lengths.append([float(layer.weight.data.square().sum(1).sqrt().mean()) for layer in linear_layers(model)])
        if not of_the_start:
            accuracies.append(train_mlp_pytorch.evaluate_model(model, loader['sample']))
            spreads.append(training.activation_spread(model, next(iter(loader['spread']))[0]))
        if len(spreads) != 2:  # of three epochs
            moments.append({'epoch': len(spreads), 'losses': training.loss_along_gradient(model, batches, 0.02)})

    _, val_accuracies, test_accuracy, info = train_mlp_pytorch.train(
        [6, 5], 0.02, settings['use_batch_norm'], 100, 3, 5, expect_trainable, device='cpu', verbose=False,
        after_epoch=after_epoch, make_model=make_model)
    measured = training.train_one(run, expect_trainable)
    np.testing.assert_allclose(measured.pop('row_length'), lengths, atol=6e-6)
    assert measured.pop('seconds_per_epoch') > 0 and accuracies != info['train_accuracy']
    expected = {name: info[name] for name in ('train_loss', 'train_accuracy', 'best_epoch', 'environment')} | {
        'val_accuracy': val_accuracies, 'test_accuracy': test_accuracy, 'measured_train_accuracy': accuracies,
        'activation_spread': spreads, 'loss_along_gradient': moments}
    assert measured == run | json.loads(json.dumps(expected), parse_float=lambda text: float(f'{float(text):.5f}'))


def test_what_is_no_longer_finite_ends_a_run_with_the_reason(expect_trainable, monkeypatch, capsys):
    """The loss, or what is measured after an epoch."""
    run = {'hidden_dims': [6], 'use_batch_norm': True, 'seed': 5, 'lr': 1e30, 'batch_size': 100, 'epochs': 2}
    assert training.train_one(run, expect_trainable) == {
        **run, 'diverged': 'training diverged: loss is nan at epoch 1, step 2 (learning rate 1e+30)'}
    run['lr'] = 0.02
    monkeypatch.setattr(training, 'activation_spread', lambda model, images, given=[[1.0], [math.inf]]: given.pop(0))
    assert training.train_one(run, expect_trainable) == {
        **run, 'diverged': 'the activations or the weights are not finite after epoch 2'}
    assert capsys.readouterr() == ('', '')


# The report.

def test_the_tables_of_a_study_are_as_approved():
    """A study of four seeds and controls; some runs have diverged or are missing."""
    results = known_runs.with_gaps()
    text = report.markdown(results)
    assert text.startswith(report.INTRODUCTION + '\n\n## Table 1\n\n') and text.endswith('|\n')
    parts = [text[len(report.INTRODUCTION):].strip(), '# in the terminal', tables.terminal_table(results)]
    assert_approved('batch_norm_report', '\n\n'.join(parts) + '\n')


def test_one_seed_without_controls_has_tables_without_deviations_and_intervals():
    made = report.table_texts(known_runs.of_one_seed())
    assert list(made) == [1, 2, 3, 4, 5, 6, 14]
    assert not any(mark in table for _, table in made.values() for mark in ('±', '[', '**', '†'))
    run, other = (known_runs.known_run([4], use, 42) for use in (False, True))
    assert f'| 4 | 1 | {intervals.signed(100 * (other["val_accuracy"][0] - run["val_accuracy"][0]))} |' in made[3][1]


def test_runs_that_have_all_diverged_have_tables_that_say_so_and_empty_figures():
    results = known_runs.without_results()
    made, figures = report.table_texts(results), report.figures_of(results)
    assert list(made) == [1, 2, 3, 7, 8, 9, 14]
    rows = [line.strip('| ').split(' | ') for _, table in made.values() for line in table.splitlines()[2:]]
    cells = {cell for row in rows for cell in row[2:]}
    assert cells == {'0', '1', '–', 'loss not finite in 1 of 1'}
    assert tables.terminal_table(results).count('loss not finite in 1 of 1') == 6
    assert list(figures) == ['_train', '_validation', '_gradient', '_groups', '_rates', '_fit', '_spread']
    assert [len(axes.get_lines()) for axes in figures['_validation'].axes] == [0, 0, 0]
    assert {line.get_label() for axes in figures['_rates'].axes for line in axes.get_lines()} == {
        'without batch normalization: loss not finite', 'with batch normalization: loss not finite'}


def test_the_figures_of_a_study_are_as_approved():
    figures = report.figures_of(known_runs.with_gaps())
    validation = figures.pop('_validation')  # which differs from '_train' in this
    first = validation.axes[0]
    assert first.get_title() == 'hidden layers 4: validation'
    assert first.get_ylabel() == 'validation accuracy (after the epoch)'
    reached = [known_runs.known_run([4], False, seed)['val_accuracy'][0] for seed in known_runs.MEASURED]
    assert first.get_lines()[0].get_ydata()[0] == pytest.approx(sum(reached) / 4)
    texts = [f'# {ending}\n{described(figure)}' for ending, figure in figures.items()]
    assert_approved('batch_norm_figures', '\n'.join(texts))


def test_validation_is_compared_at_the_same_fit():
    run = {'measured_train_accuracy': [0.5, 0.7, 0.6, 0.9], 'val_accuracy': [0.4, 0.5, 0.3, 0.2]}
    assert tables.validation_at(run, 60) == pytest.approx(45) and tables.validation_at(run, 70) == pytest.approx(50)
    assert tables.validation_at(run, 80) == pytest.approx(100 * (0.3 - 0.1 * 2 / 3))
    assert tables.validation_at(run, 95) is None
    run['measured_train_accuracy'][0] = 0.85  # and after falling back above 80 % again
    assert tables.validation_at(run, 80) is None
    # The mean step is that of all epochs.
    steps = [tables.mean_step({'val_accuracy': values}) for values in ([0.5], [0.5, 0.25], [0.5, 0.25, 0.75])]
    assert steps == [0, 25, 37.5]
    assert tables.at_the_end([0.9, 0.1, 0.1, 0.1, 0.1, 0.2]) == pytest.approx(12)  # of the last five epochs


def test_each_kind_of_control_has_its_figure_and_any_of_them_the_fit_and_the_spread(monkeypatch):
    for name in ('accuracy', 'gradient', 'groups', 'rates', 'fit', 'spread'):
        monkeypatch.setattr(report.figures, f'draw_{name}', lambda *_: 'a figure')
    for kind, ending in (('start_runs', '_gradient'), ('group_runs', '_groups'), ('learning_rate_runs', '_rates')):
        drawn = report.figures_of({**known_runs.of_one_seed(), kind: known_runs.with_gaps()[kind]})
        assert list(drawn) == ['_train', '_validation', ending, '_fit', '_spread']


def test_the_report_is_written_beside_the_results(monkeypatch, tmp_path):
    results = known_runs.of_one_seed()
    monkeypatch.setattr(report, 'png_bytes', lambda figure: described(figure).encode())
    paths, table = report.write_report(tmp_path / 'a.b.json', results)
    assert [path.name for path in paths] == ['a.b_train.png', 'a.b_validation.png', 'a.b.md']
    assert set(paths) == set(tmp_path.iterdir()) and table == tables.terminal_table(results)
    figures = report.figures_of(results)
    assert [path.read_text(encoding='utf-8') for path in paths] == [
        described(figures['_train']), described(figures['_validation']), report.markdown(results)]


def test_a_mean_a_deviation_and_an_interval_as_texts():
    """Differences are judged together: p = 0.04 is significant next to smaller ones, and not next to larger ones."""
    few = [[1, 2, 3], [-2.5], [2, 2.1, 1.9], [-0.04], [-3, -2.6], [0, 0], [0, 0, 0.3], [1, -1], [1, 1], [0.5, 1.5, 1]]
    one, many = [0.4, 1, 1.9, 1.4], [[-2, 1, 2], [-1, 1, 2], [0, 1, 2]]
    lines = []
    for together in ([*few, one], [one], [one, *many], [one, *3 * [[1, 1]]]):
        differences = [intervals.Difference(tuple(values)) for values in together]
        survivors = intervals.significant(differences)
        for each in differences:
            p = f'; p = {intervals.p_value(each.values):.4f}' if len(each.values) > 1 else ''
            lines.append(f'{list(each.values)}: {intervals.mean_and_deviation(each.values)}; {each.text(survivors)}{p}')
        lines.append('')
    assert_approved('intervals', '\n'.join(lines))


def test_the_quantiles_of_students_t_are_those_of_the_tables():
    """NIST/SEMATECH e-Handbook, 1.3.6.7.2."""
    quantiles = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 30: 2.0423}
    assert {freedom: intervals.quantile(freedom) for freedom in quantiles} == pytest.approx(quantiles, abs=5e-5)
