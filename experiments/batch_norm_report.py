"""Figures and table of the batch-normalization study, from the runs in results/batch_norm.json."""

import statistics

from storage.files import png_bytes, write_together
from training.settings import net_name

# Okabe and Ito's colours, which colour-blind readers can tell apart; markers tell the nets apart in print.
COLORS = ['#0072B2', '#D55E00', '#009E73']
MARKERS = ['o', 's', '^']
THRESHOLD = 0.5


def write_report(results_filename, results):
    """Write STEM_train.png, STEM_validation.png, STEM_explained.png and STEM.md; return the paths and the table."""
    table = '\n\n'.join([make_table(results['runs']), make_learning_rate_table(results), make_spread_table(results)])
    contents = {
        '_train.png': png_bytes(draw_accuracy(results, 'train_accuracy', 'training accuracy (mean over the epoch)')),
        '_validation.png': png_bytes(draw_accuracy(results, 'val_accuracy', 'validation accuracy (after the epoch)')),
        '_explained.png': png_bytes(draw_explanation(results)),
        '.md': f'{table}\n'.encode(),
    }
    files = {results_filename.with_name(results_filename.stem + ending): content
             for ending, content in contents.items()}
    write_together(files)
    return list(files), table


def configurations(runs):
    """Runs by configuration: (hidden_dims, use_batch_norm) → list of runs, small nets first."""
    groups = {}
    for run in sorted(runs, key=lambda run: (len(run['hidden_dims']), run['use_batch_norm'], run['seed'])):
        groups.setdefault((tuple(run['hidden_dims']), run['use_batch_norm']), []).append(run)
    return groups


def make_table(runs):
    """The study as a Markdown table: mean ± standard deviation over the seeds."""
    columns = {
        'validation accuracy after epoch 1': lambda run: run['val_accuracy'][0],
        'best validation accuracy': lambda run: max(run['val_accuracy']),
        'its epoch': lambda run: run['best_epoch'],
        'test accuracy there': lambda run: run['test_accuracy'],
        'final training accuracy': lambda run: run['train_accuracy'][-1],
        'gap at the end (training − validation)': lambda run: run['train_accuracy'][-1] - run['val_accuracy'][-1],
        'epochs to pass 50 % in validation': epochs_to_pass,
        'seconds per epoch': lambda run: run['seconds_per_epoch'],
    }
    lines = ['| hidden layers | batch normalization | seeds | ' + ' | '.join(columns) + ' |',
             '| --- ' * (len(columns) + 3) + '|']
    for (hidden_dims, use_batch_norm), group in configurations(runs).items():
        cells = [_mean_and_deviation([column(run) for run in group], 1 if name.endswith(('epoch', 'validation')) else 4)
                 for name, column in columns.items()]
        lines.append(f'| {net_name(hidden_dims)} | {"yes" if use_batch_norm else "no"} | {len(group)} | '
                     + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def make_learning_rate_table(results):
    """Best validation accuracy of the largest net within the epochs of the sweep, over the learning rate."""
    epochs, by_rate = learning_rates(results)
    lines = [f'| learning rate | within {epochs} epochs, without batch normalization | with |', '| --- ' * 3 + '|']
    for rate in sorted({rate for rate, _ in by_rate}):
        cells = []
        for use_batch_norm in (False, True):
            values = by_rate.get((rate, use_batch_norm), [])
            diverged = values.count(None)
            cells.append(f'loss not finite in {diverged} of {len(values)}' if diverged
                         else _mean_and_deviation(values, 4) if values else 'not run')
        lines.append(f'| {rate:g} | ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines)


def learning_rates(results):
    """(epochs of the sweep, {(lr, use_batch_norm): best validation accuracies, None for a run that diverged})."""
    largest = max((run['hidden_dims'] for run in results['runs']), key=len)
    runs = [run for run in results['runs'] + results['learning_rate_runs'] if run['hidden_dims'] == largest]
    epochs = min(run['epochs'] for run in runs)
    by_rate = {}
    for run in runs:
        best = None if 'diverged' in run else max(run['val_accuracy'][:epochs])
        by_rate.setdefault((run['lr'], run['use_batch_norm']), []).append(best)
    return epochs, by_rate


def make_spread_table(results):
    """Standard deviation of the inputs of each ReLU after the first and the last epoch, mean over the seeds."""
    lines = ['| hidden layers | batch normalization | spread before each ReLU after epoch 1 | after the last epoch |',
             '| --- ' * 4 + '|']
    for (hidden_dims, use_batch_norm), group in configurations(results['runs']).items():
        first, last = (', '.join(f'{statistics.mean(values):.2f}' for values in
                                 zip(*(run['activation_spread'][epoch] for run in group))) for epoch in (0, -1))
        lines.append(f'| {net_name(hidden_dims)} | {"yes" if use_batch_norm else "no"} | {first} | {last} |')
    return '\n'.join(lines)


def epochs_to_pass(run):
    """The first epoch, counted from 1, whose validation accuracy is above THRESHOLD; None where there is none."""
    return next((epoch for epoch, value in enumerate(run['val_accuracy'], start=1) if value > THRESHOLD), None)


def _mean_and_deviation(values, digits):
    if None in values:
        reached = sum(value is not None for value in values)
        return f'reached by {reached} of {len(values)}'
    text = f'{statistics.mean(values):.{digits}f}'
    return f'{text} ± {statistics.stdev(values):.{digits}f}' if len(values) > 1 else text


def _mean_and_band(runs, key):
    """Per epoch, mean and standard deviation (0 for a single seed) over the runs."""
    epochs = list(zip(*(run[key] for run in runs)))
    return ([statistics.mean(values) for values in epochs],
            [statistics.stdev(values) if len(values) > 1 else 0 for values in epochs])


def _plot_band(axes, x, means, deviations, **style):
    axes.plot(x, means, **style)
    axes.fill_between(x, [mean - deviation for mean, deviation in zip(means, deviations)],
                      [mean + deviation for mean, deviation in zip(means, deviations)],
                      color=style['color'], alpha=0.15, linewidth=0)


def draw_accuracy(results, key, label):
    """A figure: one colour per net, solid with and dashed without batch normalization, mean and deviation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout='constrained')
    axes = figure.subplots()
    groups = configurations(results['runs'])
    nets = list(dict.fromkeys(hidden_dims for hidden_dims, _ in groups))
    for (hidden_dims, use_batch_norm), runs in groups.items():
        net = nets.index(hidden_dims)
        means, deviations = _mean_and_band(runs, key)
        _plot_band(axes, range(1, len(means) + 1), means, deviations, color=COLORS[net], marker=MARKERS[net],
                   markersize=4, linestyle='-' if use_batch_norm else '--',
                   label=f'{net_name(hidden_dims)}, {"with" if use_batch_norm else "without"} batch normalization')
    seeds = len({run['seed'] for run in results['runs']})
    axes.set(xlabel='epoch', ylabel=label,
             title=f'CIFAR-10, learning rate {results["config"]["lr"]}: '
                   + (f'mean and standard deviation over {seeds} seeds' if seeds > 1 else 'one seed'))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.grid(alpha=0.3)
    axes.legend(fontsize='small', handlelength=3.5)
    return figure


def draw_explanation(results):
    """A figure: sensitivity to the learning rate, and the spread of the activations, of the largest net."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4.5), layout='constrained')
    left, right = figure.subplots(1, 2)
    groups = configurations(results['runs'])
    largest = max((hidden_dims for hidden_dims, _ in groups), key=len)
    epochs, by_rate = learning_rates(results)
    for use_batch_norm in (True, False):
        if (largest, use_batch_norm) in groups:
            _plot_learning_rates(left, by_rate, use_batch_norm)
            _plot_spread(right, groups[largest, use_batch_norm], use_batch_norm)
    lowest, highest = left.get_ylim()
    left.set_ylim(lowest, highest + 0.25 * (highest - lowest))  # room for the legend
    left.set(xscale='log', xlabel='learning rate', ylabel=f'best validation accuracy within {epochs} epochs',
             title=f'{net_name(largest)}: sensitivity to the learning rate')
    rates = sorted({run['lr'] for run in results['learning_rate_runs'] + results['runs']})
    left.set_xticks(rates, [f'{rate:g}' for rate in rates])
    left.minorticks_off()
    left.legend(fontsize='small', handlelength=3.5, loc='upper left')
    right.set(xlabel='epoch', ylabel='standard deviation of the inputs of the ReLUs', ylim=(0, None),
              title=f'{net_name(largest)}: spread of the activations, learning rate {results["config"]["lr"]}')
    right.xaxis.get_major_locator().set_params(integer=True)
    right.legend(fontsize='small', handlelength=3.5, loc='center left', bbox_to_anchor=(1, 0.5))
    for axes in (left, right):
        axes.grid(alpha=0.3)
    return figure


def _plot_learning_rates(axes, by_rate, use_batch_norm):
    """The best validation accuracy over the learning rate; crosses where runs diverged."""
    color, label = COLORS[0 if use_batch_norm else 1], 'with' if use_batch_norm else 'without'
    best = {rate: values for (rate, normalized), values in sorted(by_rate.items()) if normalized == use_batch_norm}
    reached = {rate: [value for value in values if value is not None] for rate, values in best.items()}
    reached = {rate: values for rate, values in reached.items() if values}
    _plot_band(axes, list(reached), [statistics.mean(values) for values in reached.values()],
               [statistics.stdev(values) if len(values) > 1 else 0 for values in reached.values()], color=color,
               marker='o', linestyle='-' if use_batch_norm else '--', label=f'{label} batch normalization')
    diverged = [rate for rate, values in best.items() if None in values]
    if diverged:
        axes.plot(diverged, [0.02] * len(diverged), 'x', color=color, markersize=10, markeredgewidth=2,
                  transform=axes.get_xaxis_transform(), clip_on=False,
                  label=f'{label} batch normalization: the loss is not finite')


def _plot_spread(axes, runs, use_batch_norm):
    for layer in range(len(runs[0]['hidden_dims'])):
        spreads = [{'spread': [epoch[layer] for epoch in run['activation_spread']]} for run in runs]
        means, deviations = _mean_and_band(spreads, 'spread')
        _plot_band(axes, range(1, len(means) + 1), means, deviations, color=COLORS[layer], marker=MARKERS[layer],
                   markersize=4, linestyle='-' if use_batch_norm else '--',
                   label=f'layer {layer + 1}, {"with" if use_batch_norm else "without"}\nbatch normalization')
