"""The tables of the batch-normalization study, as Markdown, from the runs in results/batch_norm.json.

Accuracies are percentages and differences of them points; ± is the sample standard deviation (n − 1) over the seeds.
A difference is that of the runs of one seed, which share start and batches.
"""

import statistics

from experiments.batch_norm_runs import CONTROL_NET, MULTIPLES, SELECTION_SEED, best_rate
from experiments.intervals import difference, mean_and_deviation, signed
from training.settings import net_name

THRESHOLD = 0.5  # of the validation accuracy that a net is to pass
LEVELS = [60, 70, 80]  # percent of training accuracy at which the nets are compared

# What is compared: name → (heading, value of a run). All but 'passed' and 'best_epoch' are percentages.
COLUMNS = {
    'first': ('validation after epoch 1', lambda run: 100 * run['val_accuracy'][0]),
    'best': ('best validation', lambda run: 100 * max(run['val_accuracy'])),
    'best_epoch': ('its epoch', lambda run: run['best_epoch']),
    'test': ('test there', lambda run: 100 * run['test_accuracy']),
    'last': ('validation after the last epoch', lambda run: 100 * run['val_accuracy'][-1]),
    'passed': ('epochs to pass 50 %', lambda run: epochs_to_pass(run)),
    'step': ('mean step of validation', lambda run: mean_step(run)),
    'running': ('training, mean over the last epoch', lambda run: 100 * run['train_accuracy'][-1]),
    'measured': ('training, measured alike', lambda run: 100 * run['measured_train_accuracy'][-1]),
    'gap': ('gap, measured alike', lambda run: 100 * (run['measured_train_accuracy'][-1] - run['val_accuracy'][-1])),
}


def epochs_to_pass(run):
    """The first epoch, counted from 1, whose validation accuracy is above THRESHOLD; None where there is none."""
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
    for i in range(1, len(fit) if fit[0] < level else 0):
        if fit[i] >= level:
            part = (level - fit[i - 1]) / (fit[i] - fit[i - 1])
            return validation[i - 1] + part * (validation[i] - validation[i - 1])
    return None


def nets_of(results):
    return [tuple(net) for net in results['config']['nets']]


def control_net(results):
    return nets_of(results)[CONTROL_NET]


def select(results, kind='runs', **settings):
    """The runs of a kind with these settings, by seed; hidden_dims may be a tuple."""
    settings = {name: list(value) if name == 'hidden_dims' else value for name, value in settings.items()}
    chosen = [run for run in results[kind] if settings.items() <= run.items()]
    return {run['seed']: run for run in sorted(chosen, key=lambda run: run['seed'])}


def differences(ours, theirs, value):
    """value of our run − that of theirs, for each seed that both have, where both have a value."""
    pairs = [(value(ours[seed]), value(theirs[seed])) for seed in ours if seed in theirs
             and 'diverged' not in ours[seed] and 'diverged' not in theirs[seed]]
    return [a - b for a, b in pairs if a is not None and b is not None]


def difference_cell(ours, theirs, value, digits=1):
    values = differences(ours, theirs, value)
    return difference(values, digits) if values else '–'


def cell(runs, value, digits=1):
    """Mean and deviation of the value over the runs, or why there is none."""
    runs = list(runs.values())
    diverged = sum('diverged' in run for run in runs)
    if not runs or diverged:
        return f'loss not finite in {diverged} of {len(runs)}' if runs else 'not run'
    values = [value(run) for run in runs]
    reached = [value for value in values if value is not None]
    if len(reached) < len(values):
        return f'in {len(reached)} of {len(values)}'
    return mean_and_deviation(reached, digits)


def markdown(heading, rows):
    lines = [heading, ['---'] * len(heading), *rows]
    return '\n'.join(f'| {" | ".join(map(str, line))} |' for line in lines)


def yes(use_batch_norm):
    return 'yes' if use_batch_norm else 'no'


def six(results):
    """(net, use_batch_norm, runs by seed) of each configuration that has a run, small nets first."""
    groups = [(net, use_batch_norm, select(results, hidden_dims=net, use_batch_norm=use_batch_norm))
              for net in nets_of(results) for use_batch_norm in (False, True)]
    return [group for group in groups if group[2]]


def configurations_table(results):
    names = ['first', 'best', 'best_epoch', 'test', 'last', 'passed', 'step']
    return markdown(['hidden layers', 'batch normalization', 'seeds', *(COLUMNS[name][0] for name in names)],
                    [[net_name(net), yes(use_batch_norm), len(runs), *(cell(runs, COLUMNS[name][1]) for name in names)]
                     for net, use_batch_norm, runs in six(results)])


def fit_table(results):
    names = ['running', 'measured', 'last', 'gap']
    return markdown(['hidden layers', 'batch normalization', *(COLUMNS[name][0] for name in names)],
                    [[net_name(net), yes(use_batch_norm), *(cell(runs, COLUMNS[name][1]) for name in names)]
                     for net, use_batch_norm, runs in six(results)])


def paired_table(results):
    names = ['first', 'best', 'test', 'step', 'running', 'measured', 'gap']
    rows = []
    for net in nets_of(results):
        without, normalized = (select(results, hidden_dims=net, use_batch_norm=value) for value in (False, True))
        rows.append([net_name(net), len(differences(normalized, without, COLUMNS['best'][1])),
                     *(difference_cell(normalized, without, COLUMNS[name][1]) for name in names)])
    return markdown(['hidden layers', 'pairs', *(COLUMNS[name][0] for name in names)], rows)


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
    return markdown(['hidden layers', 'training accuracy', 'pairs', 'validation without batch normalization', 'with',
                     'difference'], rows)


def spread_table(results):
    rows = []
    for net, use_batch_norm, runs in six(results):
        runs = [run for run in runs.values() if 'diverged' not in run]
        if runs:
            rows.append([net_name(net), yes(use_batch_norm), *(', '.join(
                f'{statistics.mean(values):.2f}' for values in zip(*(run['activation_spread'][epoch] for run in runs)))
                for epoch in (0, -1))])
    return markdown(['hidden layers', 'batch normalization', 'before each ReLU after epoch 1', 'after the last epoch'],
                    rows)


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
    return sorted({run['group_size'] for run in results['group_runs']}, reverse=True)


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
    rows = []
    test = COLUMNS['test'][1]
    for net in nets_with_rates(results):
        (slow, without), (fast, normalized) = at_best_rates(results, net)
        if differences(normalized, without, test):
            own = [{seed: run for seed, run in select(results, hidden_dims=net, use_batch_norm=value).items()
                    if seed in without and seed in normalized} for value in (False, True)]
            rows.append([net_name(net), len(differences(normalized, without, test)), f'{slow:g}', cell(without, test),
                         f'{fast:g}', cell(normalized, test), difference_cell(normalized, without, test),
                         difference_cell(own[1], own[0], test)])
    return markdown(['hidden layers', 'pairs', 'best rate without', 'test without', 'best rate with', 'test with',
                     'difference at the best rates', f'difference at {results["config"]["lr"]:g}'], rows)


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
