"""The tables of the batch-normalization study from the runs in results/batch_norm.json, each as a heading and rows.

Accuracies are percentages and differences of them points; ± is the sample standard deviation (n − 1) over the seeds.
A difference is between two runs of one seed, which share the initial weights and the batches.
"""

import itertools
import statistics

from experiments.intervals import Difference, mean_and_deviation
from training.settings import net_name

THRESHOLD = 0.5  # the validation accuracy that a network has to pass
LAST = 5  # epochs at the end of a run, over which its training accuracy and its gap are averaged: one epoch is noisy
LEVELS = [60, 70, 80]  # percent of training accuracy at which the networks are compared

# The quantities that are compared: name → (heading, value of a run). All but 'passed' and 'best_epoch' are percentages.
COLUMNS = {
    'first': ('validation after epoch 1', lambda run: 100 * run['val_accuracy'][0]),
    'best': ('best validation', lambda run: 100 * max(run['val_accuracy'])),
    'best_epoch': ('best epoch', lambda run: run['best_epoch']),
    'test': ('test accuracy at the best epoch', lambda run: 100 * run['test_accuracy']),
    'last': ('validation, last epochs', lambda run: at_the_end(run['val_accuracy'])),
    'passed': ('epochs to pass 50 %', lambda run: epochs_to_pass(run)),
    'step': ('mean change of validation accuracy per epoch', lambda run: mean_step(run)),
    'running': ('training accuracy (epoch mean)', lambda run: at_the_end(run['train_accuracy'])),
    'rest': ('training accuracy: epoch mean − evaluation mode',
             lambda run: at_the_end(run['train_accuracy']) - at_the_end(run['measured_train_accuracy'])),
    'measured': ('training accuracy (evaluation mode)', lambda run: at_the_end(run['measured_train_accuracy'])),
    'gap': ('train–validation gap',
            lambda run: at_the_end(run['measured_train_accuracy']) - at_the_end(run['val_accuracy'])),
}


def at_the_end(values):
    """The mean of a value over the last epochs, in percent."""
    return 100 * statistics.mean(values[-LAST:])


def epochs_to_pass(run):
    """The first epoch, counted from 1, whose validation accuracy is above THRESHOLD; None if there is none."""
    return next((epoch for epoch, value in enumerate(run['val_accuracy'], start=1) if value > THRESHOLD), None)


def mean_step(run):
    """By how many points validation accuracy changes from one epoch to the next, up or down, on average."""
    values = run['val_accuracy']
    return 100 * statistics.mean(abs(b - a) for a, b in zip(values, values[1:])) if len(values) > 1 else 0


def validation_at(run, level):
    """Validation accuracy where training accuracy, measured alike, first reaches the level, in percent.

    Between the two epochs around the level both are taken as straight lines. None where the level is never
    reached, or was before the first epoch had ended.
    """
    fit, validation = ([100 * value for value in run[key]] for key in ('measured_train_accuracy', 'val_accuracy'))
    i = next((i for i, value in enumerate(fit) if value >= level), 0)
    if i == 0:
        return None
    part = (level - fit[i - 1]) / (fit[i] - fit[i - 1])
    return validation[i - 1] + part * (validation[i] - validation[i - 1])


def nets_of(results):
    return [tuple(net) for net in results['config']['nets']]


def select(results, kind='runs', **settings):
    """The runs of a kind with these settings, by seed; hidden_dims may be a tuple."""
    settings = {name: list(value) if name == 'hidden_dims' else value for name, value in settings.items()}
    chosen = [run for run in results[kind] if settings.items() <= run.items()]
    return {run['seed']: run for run in sorted(chosen, key=lambda run: run['seed'])}


def differences_by_seed(ours, theirs, value):
    """seed → value of our run − value of their run, for each seed for which both have a value."""
    pairs = {seed: (value(ours[seed]), value(theirs[seed])) for seed in ours if seed in theirs
             and 'diverged' not in ours[seed] and 'diverged' not in theirs[seed]}
    return {seed: a - b for seed, (a, b) in pairs.items() if a is not None and b is not None}


def differences(ours, theirs, value):
    """The same without the seeds."""
    return list(differences_by_seed(ours, theirs, value).values())


def gain_by_seed(results, net, value):
    """seed → value with batch normalization − value without."""
    without, normalized = (select(results, hidden_dims=net, use_batch_norm=use) for use in (False, True))
    return differences_by_seed(normalized, without, value)


def difference_cell(ours, theirs, value):
    return difference(differences(ours, theirs, value))


def difference(values):
    return Difference(tuple(values)) if values else '–'


def cell(runs, value):
    """Mean and deviation of the value over the runs, or why there is none."""
    runs = list(runs.values())
    diverged = sum('diverged' in run for run in runs)
    if not runs or diverged:
        return f'loss not finite in {diverged} of {len(runs)}' if runs else 'not run'
    values = [value(run) for run in runs]
    reached = [value for value in values if value is not None]
    if len(reached) < len(values):
        return f'in {len(reached)} of {len(values)}'
    return mean_and_deviation(reached)


def yes(use_batch_norm):
    return 'yes' if use_batch_norm else 'no'


def six(results):
    """(net, use_batch_norm, runs by seed) of each configuration that has a run, small networks first."""
    groups = [(net, use_batch_norm, select(results, hidden_dims=net, use_batch_norm=use_batch_norm))
              for net in nets_of(results) for use_batch_norm in (False, True)]
    return [group for group in groups if group[2]]


def configurations_table(results):
    names = ['first', 'best', 'best_epoch', 'test', 'last', 'passed', 'step']
    return (['hidden layers', 'batch normalization', 'seeds', *(COLUMNS[name][0] for name in names)],
            [[net_name(net), yes(use_batch_norm), len(runs), *(cell(runs, COLUMNS[name][1]) for name in names)]
            for net, use_batch_norm, runs in six(results)])


def fit_table(results):
    names = ['running', 'measured', 'last', 'gap']
    return (['hidden layers', 'batch normalization', *(COLUMNS[name][0] for name in names)],
            [[net_name(net), yes(use_batch_norm), *(cell(runs, COLUMNS[name][1]) for name in names)]
            for net, use_batch_norm, runs in six(results)])


def paired_table(results):
    names = ['first', 'best', 'test', 'passed', 'step', 'running', 'measured', 'rest', 'gap']
    gains = {net: [gain_by_seed(results, net, COLUMNS[name][1]) for name in names] for net in nets_of(results)}
    rows = [[net_name(net), len(columns[0]), *(difference(gain.values()) for gain in columns)]
            for net, columns in gains.items()]
    smallest, largest = nets_of(results)[0], nets_of(results)[-1]
    changes = [[small[seed] - large[seed] for seed in small if seed in large]
               for small, large in zip(gains[smallest], gains[largest])]
    rows.append([f'{net_name(smallest)} − {net_name(largest)}', len(changes[0]),
                 *map(difference, changes)])
    return ['hidden layers', 'pairs', *(COLUMNS[name][0] for name in names)], rows


def size_table(results):
    """A larger network minus a smaller one, the largest minus the smallest last."""
    names, nets, rows = ['first', 'best', 'test', 'passed', 'measured', 'gap'], nets_of(results), []
    for use_batch_norm in (False, True):
        runs = {net: select(results, hidden_dims=net, use_batch_norm=use_batch_norm) for net in nets}
        for small, large in [*itertools.pairwise(nets), (nets[0], nets[-1])]:
            rows.append([f'{net_name(large)} − {net_name(small)}', yes(use_batch_norm),
                         *(difference_cell(runs[large], runs[small], COLUMNS[name][1]) for name in names)])
    return ['hidden layers', 'batch normalization', *(COLUMNS[name][0] for name in names)], rows


def same_fit_table(results):
    rows = []
    for net in nets_of(results):
        without, normalized = (select(results, hidden_dims=net, use_batch_norm=value) for value in (False, True))
        for level in LEVELS:
            def value(run, level=level):
                return validation_at(run, level)

            pairs = differences(normalized, without, value)
            if pairs:
                rows.append([net_name(net), f'{level} %', len(pairs), cell(without, value), cell(normalized, value),
                             difference(pairs)])
    return (['hidden layers', 'training accuracy', 'pairs', 'validation without batch normalization', 'with',
             'difference'], rows)


def spread_table(results):
    rows = []
    for net, use_batch_norm, runs in six(results):
        runs = [run for run in runs.values() if 'diverged' not in run]
        if runs:
            rows.append([net_name(net), yes(use_batch_norm), *(', '.join(
                f'{statistics.mean(values):.2f}' for values in zip(*(run['activation_spread'][epoch] for run in runs)))
                for epoch in (0, -1))])
    return (['hidden layers', 'batch normalization', 'before each ReLU after epoch 1', 'after the last epoch'],
            rows)


def terminal_table(results):
    """The six configurations, means over the seeds, in plain text that fits a terminal."""
    heading = f'{"hidden layers":13}  {"batch norm":10}  {"seeds":5}  {"best validation":15}  {"test":6}  training'
    lines = [heading, '-' * len(heading)]
    for net, use_batch_norm, runs in six(results):
        finished = [run for run in runs.values() if 'diverged' not in run]
        line = f'{net_name(net):13}  {yes(use_batch_norm):10}  {len(runs):5}  '
        if len(finished) < len(runs):
            line += f'loss not finite in {len(runs) - len(finished)} of {len(runs)}'
        else:
            best, test, measured = (statistics.mean(COLUMNS[name][1](run) for run in finished) / 100
                                    for name in ('best', 'test', 'measured'))
            line += f'{best:15.4f}  {test:6.4f}  {measured:8.4f}'
        lines.append(line)
    return '\n'.join(lines)
