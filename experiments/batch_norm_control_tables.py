"""The tables of the controls of the batch-normalization study; the others are in batch_norm_tables.py."""

import statistics

from experiments.batch_norm_runs import GROUPS, MULTIPLES, SCALES, SELECTION_SEED, SMALL_RATES, best_rate
from experiments.batch_norm_tables import (COLUMNS, cell, difference, difference_cell, differences, differences_by_seed,
                                           gain_by_seed, nets_of, select, yes)
from training.settings import net_name


def gradient_curves(results, net):
    """name of the curve → runs by seed, for the loss along the gradient."""
    curves = {'without batch normalization': select(results, hidden_dims=net, use_batch_norm=False),
              'data-dependent initialization': select(results, 'start_runs', hidden_dims=net, start='normalized'),
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
    return (['hidden layers', 'after epoch', 'network', 'seeds', *(f'{multiple:g} ×' for multiple in MULTIPLES)],
            rows)


def comparison_table(results, first, others, contrast=None):
    """Runs next to runs of the same network, for each network that has any of the others.

    first, others: (name, function from a network to its runs by seed); contrast: names of two whose difference is shown.
    """
    names, rows = ['measured', 'last', 'best', 'test'], []

    def difference_row(net, name, ours, theirs):
        rows.append([net_name(net), name, len(differences(ours, theirs, COLUMNS['best'][1])),
                     *(difference_cell(ours, theirs, COLUMNS[column][1]) for column in names)])

    for net in nets_of(results):
        runs = {name: select_runs(net) for name, select_runs in [first, *others]}
        if not any(runs[name] for name, _ in others[:1]):
            continue
        for name, of_seed in runs.items():
            if of_seed:
                rows.append([net_name(net), name, len(of_seed), *(cell(of_seed, COLUMNS[column][1]) for column in names)])
                if name != first[0]:
                    difference_row(net, f'{name} − {first[0]}', of_seed, runs[first[0]])
        if contrast:
            difference_row(net, ' − '.join(contrast), *map(runs.get, contrast))
    return ['hidden layers', 'runs', 'seeds', *(COLUMNS[name][0] for name in names)], rows


def start_table(results):
    return comparison_table(
        results, ('without', lambda net: select(results, hidden_dims=net, use_batch_norm=False)),
        [('initialized', lambda net: select(results, 'start_runs', hidden_dims=net, start='normalized')),
         ('with', lambda net: select(results, hidden_dims=net, use_batch_norm=True))], ('with', 'initialized'))


def group_sizes(results):
    """The group sizes of the study that the results have runs of, falling."""
    there = {run.get('group_size') for run in results['group_runs']}
    return [size for number in GROUPS if (size := results['config']['batch_size'] // number) in there]


def group_table(results):
    size = results['config']['batch_size']
    groups = [(str(group), lambda net, group=group: select(results, 'group_runs', hidden_dims=net, group_size=group))
              for group in reversed(group_sizes(results))]  # every network has the smallest groups
    return comparison_table(results, (str(size), lambda net: select(results, hidden_dims=net, use_batch_norm=True)), groups)


def small_rate_table(results):
    """Test accuracy at the small learning rates that several seeds were trained with, and the difference."""
    rows, test = [], COLUMNS['test'][1]
    for net in nets_of(results):
        for lr in SMALL_RATES:
            without, normalized = (runs_at(results, net, use, lr) for use in (False, True))
            if len(without.keys() & normalized.keys()) > 1:
                rows.append([net_name(net), f'{lr:g}', len(without.keys() & normalized.keys()), cell(without, test),
                             cell(normalized, test), difference_cell(normalized, without, test)])
    return ['hidden layers', 'learning rate', 'pairs', 'test without', 'test with', 'difference'], rows


def slower_table(results):
    """Without batch normalization: a smaller learning rate minus the study's, if several seeds have it."""
    rows, names, own = [], ['measured', 'best', 'test'], results['config']['lr']
    for net in nets_of(results):
        for lr in [lr for lr in rates(results) if lr < own]:
            runs, theirs = (runs_at(results, net, False, rate) for rate in (lr, own))
            if len(runs.keys() & theirs.keys()) > 1:
                rows.append([net_name(net), f'{lr:g} − {own:g}', len(runs.keys() & theirs.keys()),
                             *(difference_cell(runs, theirs, COLUMNS[name][1]) for name in names)])
    return ['hidden layers', 'learning rates', 'pairs', *(COLUMNS[name][0] for name in names)], rows


def scale_table(results):
    """Test accuracy from initial weights times a factor, the differences from factor 1, and with minus without."""
    rows, test = [], COLUMNS['test'][1]
    for net in nets_of(results):
        own = [select(results, hidden_dims=net, use_batch_norm=use) for use in (False, True)]
        for scale in [SCALES[0], 1, *SCALES[1:]]:
            scaled = own if scale == 1 else [
                select(results, 'start_runs', hidden_dims=net, use_batch_norm=use, start=scale) for use in (False, True)]
            if own[0] and any(run.get('start') in SCALES for run in results['start_runs'] if run['hidden_dims'] == list(net)):
                changes = ['', ''] if scale == 1 else [difference_cell(runs, ours, test) for runs, ours in zip(scaled, own)]
                rows.append([net_name(net), f'{scale:g}', len(scaled[0]), *(cell(runs, test) for runs in scaled), *changes,
                             difference_cell(*reversed(scaled), test)])
    return (['hidden layers', 'initial weights times', 'seeds', 'test without', 'test with', 'without: minus × 1',
             'with: minus × 1', 'with − without'], rows)


def length_table(results):
    """How the mean length of the rows of each linear layer's weight grows over the epochs."""
    rows = []
    for net in nets_of(results):
        for use_batch_norm in (False, True):
            runs = [run['row_length'] for run in select(results, hidden_dims=net, use_batch_norm=use_batch_norm).values()
                    if 'row_length' in run]
            if runs:
                growth = [statistics.mean(values) for values in zip(*(
                    [last / first for first, last in zip(lengths[0], lengths[-1])] for lengths in runs))]
                rows.append([net_name(net), yes(use_batch_norm), len(runs), ', '.join(f'{value:.2f}' for value in growth)])
    return ['hidden layers', 'batch normalization', 'seeds', 'length after the last epoch / initial length'], rows


def rates(results):
    """The learning rates that the study has runs with."""
    return sorted({run['lr'] for kind in ('runs', 'learning_rate_runs') for run in results[kind]})


def runs_at(results, net, use_batch_norm, lr):
    """The runs of a network at a learning rate, by seed, from all lists of runs."""
    settings = {'hidden_dims': net, 'use_batch_norm': use_batch_norm, 'lr': lr}
    return {**select(results, 'runs', **settings), **select(results, 'learning_rate_runs', **settings)}


def nets_with_rates(results):
    """The networks that were also trained at other learning rates, with and without batch normalization."""
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
    return ['hidden layers', 'batch normalization', *(f'{lr:g}' for lr in rates(results))], rows


def at_best_rates(results, net):
    """Two pairs (best rate, runs by seed) of a network, without and with batch normalization; the selection seed is left out."""
    pairs = []
    for use_batch_norm in (False, True):
        lr = best_rate(results, net, use_batch_norm)
        runs = runs_at(results, net, use_batch_norm, lr)
        pairs.append((lr, {seed: run for seed, run in runs.items() if seed != SELECTION_SEED}))
    return pairs


def best_rate_table(results):
    """The test accuracies and differences at the best rates, and the differences at the study's own rate.

    The last row is the trend with the size: the smallest network's difference minus the largest network's.
    """
    rows, gains = [], []
    test = COLUMNS['test'][1]
    for net in nets_with_rates(results):
        (slow, without), (fast, normalized) = at_best_rates(results, net)
        best = differences_by_seed(normalized, without, test)
        own = {seed: gain for seed, gain in gain_by_seed(results, net, test).items() if seed in best}
        if own:
            gains.append((best, own))
            rows.append([net_name(net), len(best), f'{slow:g}', cell(without, test), f'{fast:g}', cell(normalized, test),
                         *_gains(best, own)])
    if len(gains) > 1:
        smallest, largest = gains[0], gains[-1]
        seeds = sorted(smallest[0].keys() & largest[0].keys())
        best, own = ({seed: smallest[i][seed] - largest[i][seed] for seed in seeds} for i in (0, 1))
        rows.append([f'{rows[0][0]} − {rows[-1][0]}', len(best), '', '', '', '', *_gains(best, own)])
    return (['hidden layers', 'pairs', 'best rate without', 'test without', 'best rate with', 'test with',
             'difference at the best rates', f'difference at {results["config"]["lr"]:g}', 'change'], rows)


def _gains(best, own):
    return [*(difference(gains.values()) for gains in (best, own)), difference([best[seed] - own[seed] for seed in own])]
