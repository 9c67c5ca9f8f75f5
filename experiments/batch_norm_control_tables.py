"""The tables of the controls of the batch-normalization study, as Markdown; the rest are in batch_norm_tables.py."""

import statistics

from experiments.batch_norm_runs import GROUPS, MULTIPLES, SELECTION_SEED, best_rate
from experiments.batch_norm_tables import (COLUMNS, cell, control_net, difference_cell, differences,
                                           differences_by_seed, gain_by_seed, markdown, nets_of, select, yes)
from experiments.intervals import difference
from training.settings import net_name


def gradient_curves(results, net):
    """name of the curve → runs by seed, for the loss along the gradient."""
    curves = {'without batch normalization': select(results, hidden_dims=net, use_batch_norm=False),
              'normalized at its start only': select(results, 'start_runs', hidden_dims=net),
              'with batch normalization': select(results, hidden_dims=net, use_batch_norm=True)}
    complete = {name: {seed: run for seed, run in runs.items() if 'diverged' not in run}
                for name, runs in curves.items()}
    return {name: runs for name, runs in complete.items() if runs}


def moments(results):
    """The epochs after which the loss along the gradient was measured."""
    return sorted({moment['epoch'] for run in results['runs'] for moment in run.get('loss_along_gradient', [])})


def losses_at(runs, epoch):
    """For each multiple of the learning rate the mean loss over the runs, None where one is not finite."""
    columns = zip(*(moment['losses'] for run in runs.values() for moment in run['loss_along_gradient']
                    if moment['epoch'] == epoch))
    return [None if None in column else statistics.mean(column) for column in columns]


def gradient_table(results):
    rows = []
    for net in nets_of(results):
        for epoch in moments(results):
            for name, runs in gradient_curves(results, net).items():
                losses = ['not finite' if loss is None else f'{loss:.2f}' for loss in losses_at(runs, epoch)]
                if losses:
                    rows.append([net_name(net), epoch or 'start', name, len(runs), *losses])
    return markdown(['hidden layers', 'after epoch', 'net', 'seeds', *(f'{multiple:g} ×' for multiple in MULTIPLES)],
                    rows)


def comparison_table(results, first, others):
    """Runs beside runs of the same net: first and others are pairs of a name and runs by seed."""
    names = ['measured', 'last', 'best', 'test']
    rows = [[first[0], len(first[1]), *(cell(first[1], COLUMNS[name][1]) for name in names)]]
    for name, runs in others:
        rows.append([name, len(runs), *(cell(runs, COLUMNS[column][1]) for column in names)])
        rows.append([f'{name} − {first[0]}', len(differences(runs, first[1], COLUMNS['best'][1])),
                     *(difference_cell(runs, first[1], COLUMNS[column][1]) for column in names)])
    return markdown([net_name(control_net(results)), 'seeds', *(COLUMNS[name][0] for name in names)], rows)


def start_table(results):
    net = control_net(results)
    return comparison_table(
        results, ('without batch normalization', select(results, hidden_dims=net, use_batch_norm=False)),
        [('normalized at its start only', select(results, 'start_runs', hidden_dims=net)),
         ('with batch normalization', select(results, hidden_dims=net, use_batch_norm=True))])


def group_sizes(results):
    """The sizes of the groups whose statistics were taken, of those that the study takes, falling."""
    there = {run.get('group_size') for run in results['group_runs']}
    return [size for number in GROUPS if (size := results['config']['batch_size'] // number) in there]


def group_table(results):
    net = control_net(results)
    return comparison_table(
        results, (f'of {results["config"]["batch_size"]}',
                  select(results, hidden_dims=net, use_batch_norm=True)),
        [(f'of {size}', select(results, 'group_runs', hidden_dims=net, group_size=size))
         for size in group_sizes(results)])


def rates(results):
    """The learning rates that the study has runs with."""
    return sorted({run['lr'] for kind in ('runs', 'learning_rate_runs') for run in results[kind]})


def runs_at(results, net, use_batch_norm, lr):
    """The runs of a net at a learning rate, by seed, be they the six configurations or not."""
    settings = {'hidden_dims': net, 'use_batch_norm': use_batch_norm, 'lr': lr}
    return {**select(results, 'runs', **settings), **select(results, 'learning_rate_runs', **settings)}


def nets_with_rates(results):
    """The nets that were trained at other learning rates too, with and without batch normalization."""
    return [net for net in nets_of(results) if all(
        select(results, 'learning_rate_runs', hidden_dims=net, use_batch_norm=value, seed=SELECTION_SEED)
        for value in (False, True))]


def rate_table(results):
    """Best validation accuracy on the selection seed at each learning rate, the best rate's in bold."""
    rows = []
    for net in nets_with_rates(results):
        for use_batch_norm in (False, True):
            cells = []
            for lr in rates(results):
                run = runs_at(results, net, use_batch_norm, lr).get(SELECTION_SEED)
                text = cell({SELECTION_SEED: run} if run else {}, COLUMNS['best'][1])
                cells.append(f'**{text}**' if lr == best_rate(results, net, use_batch_norm) else text)
            rows.append([net_name(net), yes(use_batch_norm), *cells])
    return markdown(['hidden layers', 'batch normalization', *(f'{lr:g}' for lr in rates(results))], rows)


def at_best_rates(results, net):
    """Two pairs of a net's best rate and its runs by seed, without and with; the selection seed is left out."""
    pairs = []
    for use_batch_norm in (False, True):
        lr = best_rate(results, net, use_batch_norm)
        runs = runs_at(results, net, use_batch_norm, lr)
        pairs.append((lr, {seed: run for seed, run in runs.items() if seed != SELECTION_SEED}))
    return pairs


def best_rate_table(results):
    """The test accuracies and differences at the best rates, beside the differences at the study's own rate."""
    rows = []
    test = COLUMNS['test'][1]
    for net in nets_with_rates(results):
        (slow, without), (fast, normalized) = at_best_rates(results, net)
        best = differences_by_seed(normalized, without, test)
        own = {seed: gain for seed, gain in gain_by_seed(results, net, test).items() if seed in best}
        if own:
            rows.append([net_name(net), len(best), f'{slow:g}', cell(without, test), f'{fast:g}',
                         cell(normalized, test), *(difference(list(gains.values())) for gains in (best, own)),
                         difference([best[seed] - own[seed] for seed in own])])
    return markdown(['hidden layers', 'pairs', 'best rate without', 'test without', 'best rate with', 'test with',
                     'difference at the best rates', f'difference at {results["config"]["lr"]:g}', 'change'], rows)
