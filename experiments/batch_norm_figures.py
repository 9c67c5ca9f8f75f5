"""The figures of the batch-normalization study, drawn from the runs in results/batch_norm.json.

A line is the mean over the seeds, the band around it the standard deviation. Color and line style mean the
same everywhere: with batch normalization solid, without it dashed.
"""

import statistics

from experiments import batch_norm_control_tables as controls
from experiments import batch_norm_tables as tables
from experiments.batch_norm_runs import MULTIPLES, SAMPLE_IMAGES, SELECTION_SEED
from training.settings import net_name

# Okabe and Ito's colors, which color-blind readers can tell apart; markers and line styles tell them apart in print.
WITHOUT = {'color': '#D55E00', 'linestyle': '--', 'marker': 's'}
WITH = {'color': '#0072B2', 'linestyle': '-', 'marker': 'o'}
STYLES = {'without batch normalization': WITHOUT,
          'data-dependent initialization': {'color': '#009E73', 'linestyle': ':', 'marker': '^'},
          'with batch normalization': WITH}
SHADES = ['#0072B2', '#56B4E9', '#CC79A7']  # with batch normalization, in three variants
MARKERS = ['o', '^', 'D']
LOSS_TICKS = [0.2, 0.5, 1, 1.5, 2, 3, 5, 10, 20]
BOTH = [(False, 'without batch normalization', WITHOUT), (True, 'with batch normalization', WITH)]


def draw_accuracy(results, key, name, when):
    """A panel for each network: the accuracy of that key per epoch, with and without batch normalization."""
    figure, panels = _panels(len(tables.nets_of(results)))
    for axes, net in zip(panels, tables.nets_of(results)):
        for use_batch_norm, label, style in BOTH:
            runs = _finished(tables.select(results, hidden_dims=net, use_batch_norm=use_batch_norm))
            if runs:
                _plot_band(axes, [run[key] for run in runs], label=label, **style)
        axes.set(title=f'hidden layers {net_name(net)}: {name}', xlabel='epoch')
        axes.xaxis.get_major_locator().set_params(integer=True)
    panels[0].set_ylabel(f'{name} accuracy ({when})')
    _finish(figure, panels, results)
    return figure


def draw_fit(results):
    """A panel for each network: validation over training accuracy, both in evaluation mode, from epoch to epoch."""
    figure, panels = _panels(len(tables.nets_of(results)))
    for axes, net in zip(panels, tables.nets_of(results)):
        for use_batch_norm, name, style in BOTH:
            runs = _finished(tables.select(results, hidden_dims=net, use_batch_norm=use_batch_norm))
            if runs:
                fit, validation = (_mean_and_deviation([run[key] for run in runs])[0]
                                   for key in ('measured_train_accuracy', 'val_accuracy'))
                axes.plot(fit, validation, markersize=3.5, label=name, **style)
                for epoch in {1, len(fit)}:
                    axes.annotate(epoch, (fit[epoch - 1], validation[epoch - 1]), (0, 9 if use_batch_norm else -9),
                                  textcoords='offset points', fontsize='small', ha='center', va='center', color=style['color'])
        axes.margins(y=0.1)
        axes.set(title=f'hidden layers {net_name(net)}',
                 xlabel=f'training accuracy (after the epoch,\n{SAMPLE_IMAGES:,} images)')
    panels[0].set_ylabel('validation accuracy (after the epoch)')
    _finish(figure, panels, results, 'a point for each epoch, from the first (1) to the last, joined in order; mean')
    return figure


def draw_spread(results):
    """Two panels: the pre-activations of the largest network, without and with batch normalization."""
    net = max(tables.nets_of(results), key=len)
    figure, panels = _panels(2)
    for axes, (use_batch_norm, name, style) in zip(panels, BOTH):
        runs = _finished(tables.select(results, hidden_dims=net, use_batch_norm=use_batch_norm))
        for layer in range(len(net) if runs else 0):
            _plot_band(axes, [[spread[layer] for spread in run['activation_spread']] for run in runs],
                       color=SHADES[layer], marker=MARKERS[layer], linestyle='-',
                       label=f'pre-activations, layer {layer + 1}')
        axes.set(title=f'hidden layers {net_name(net)}, {name}', xlabel='epoch')
        axes.xaxis.get_major_locator().set_params(integer=True)
    panels[0].set_ylim(0, None)  # the panels share the axis; both have their lines already, because a fixed limit does not grow
    panels[0].set_ylabel('standard deviation of the pre-activations')
    _finish(figure, panels, results)
    return figure


def draw_gradient(results):
    """A column for each network, rows before the first step and after an epoch: the loss over the length of the step."""
    from matplotlib.figure import Figure

    nets, epochs = tables.nets_of(results), controls.moments(results)[:2] or [0]
    figure = Figure(figsize=(10, 6.5), layout='constrained')
    panels = figure.subplots(len(epochs), len(nets), sharex=True, sharey='row', squeeze=False)
    for row, epoch in zip(panels, epochs):
        for axes, net in zip(row, nets):
            for name, runs in controls.gradient_curves(results, net).items():
                points = [(multiple, loss) for multiple, loss in zip(MULTIPLES, controls.losses_at(runs, epoch))
                          if multiple and loss is not None]
                if points:
                    axes.plot(*zip(*points), markersize=4, label=name, **STYLES[name])
            when = f'after epoch {epoch}' if epoch else 'at the initialization'
            axes.set(title=f'hidden layers {net_name(net)},\n{when}', xscale='log', yscale='log')
            axes.set_xticks(MULTIPLES[1:], ['1/4', '1/2', *(f'{multiple:g}' for multiple in MULTIPLES[3:])])
            axes.xaxis.minorticks_off()
        lowest, highest = row[0].get_ylim()
        ticks = [loss for loss in LOSS_TICKS if lowest <= loss <= highest]
        row[0].set_yticks(ticks, [f'{loss:g}' for loss in ticks])
        row[0].set_ylabel('training loss of a batch after\na step along its own gradient')
        for axes in row:
            axes.yaxis.minorticks_off()
    for axes in panels[-1]:
        axes.set_xlabel('step size (multiples of the learning rate)')
    _finish(figure, panels.flat, results, 'mean')
    return figure


def draw_groups(results):
    """Two panels: training and validation accuracy, measured alike, by the group that the statistics are of."""
    net = tables.nets_of(results)[0]  # the smallest, whose groups have all sizes
    sizes = {results['config']['batch_size']: tables.select(results, hidden_dims=net, use_batch_norm=True),
             **{size: tables.select(results, 'group_runs', hidden_dims=net, group_size=size)
                for size in controls.group_sizes(results)}}
    figure, panels = _panels(2, sharey=False)
    for axes, (key, name) in zip(panels, [('measured_train_accuracy', 'training'), ('val_accuracy', 'validation')]):
        for i, (size, runs) in enumerate(sizes.items()):
            if _finished(runs):
                _plot_band(axes, [run[key] for run in _finished(runs)], color=SHADES[i], marker=MARKERS[i],
                           linestyle='-', label=f'group size {size}')
        axes.set(title=f'hidden layers {net_name(net)}: {name}', xlabel='epoch',
                 ylabel=f'{name} accuracy (after the epoch)')
        axes.xaxis.get_major_locator().set_params(integer=True)
    _finish(figure, panels, results)
    return figure


def draw_rates(results):
    """A panel for each network: the best validation accuracy of the selection seed over the learning rate."""
    nets, all_rates = controls.nets_with_rates(results), controls.rates(results)
    figure, panels = _panels(max(1, len(nets)))
    for axes, net in zip(panels, nets):
        for use_batch_norm, name, style in BOTH:
            runs = [(lr, controls.runs_at(results, net, use_batch_norm, lr).get(SELECTION_SEED)) for lr in all_rates]
            points = [(lr, max(run['val_accuracy'])) for lr, run in runs if run and 'diverged' not in run]
            if points:
                axes.plot(*zip(*points), label=name, **style)
            diverged = [lr for lr, run in runs if run and 'diverged' in run]
            if diverged:
                height = 0.1 if use_batch_norm else 0.04  # of the panel, so that both crosses are visible if both diverge
                axes.plot(diverged, [height] * len(diverged), 'x', color=style['color'], markersize=9,
                          markeredgewidth=2, transform=axes.get_xaxis_transform(), label=f'{name}: loss not finite')
        axes.set(title=f'hidden layers {net_name(net)}', xlabel='learning rate', xscale='log')
        axes.set_xticks(all_rates, [f'{lr:g}' for lr in all_rates])
        axes.xaxis.minorticks_off()
    panels[0].set_ylabel(f'best validation accuracy (seed {SELECTION_SEED})')
    _finish(figure, panels)
    return figure


def _finished(runs):
    return [run for run in runs.values() if 'diverged' not in run]


def _panels(number, sharey=True):
    """A figure as wide as the README, with panels next to each other."""
    from matplotlib.figure import Figure  # without pyplot, which is slow to import and looks for a screen

    figure = Figure(figsize=(10, 4), layout='constrained')
    return figure, figure.subplots(1, number, sharey=sharey, squeeze=False)[0]


def _finish(figure, panels, results=None, shown='mean and standard deviation'):
    """A grid, one legend below the panels, and above them the statistic and the number of seeds."""
    handles = {}
    for axes in panels:
        axes.grid(alpha=0.3)
        for handle, label in zip(*axes.get_legend_handles_labels()):
            handles.setdefault(label, handle)
    figure.legend(handles.values(), handles, loc='outside lower center', ncols=3, handlelength=3.5, frameon=False)
    if results:
        seeds = len({run['seed'] for run in results['runs']})
        figure.suptitle(f'CIFAR-10, learning rate {results["config"]["lr"]:g}, '
                        + (f'{shown} of {seeds} seeds' if seeds > 1 else 'one seed'),
                        fontsize='medium')


def _mean_and_deviation(rows):
    """Per column, mean and standard deviation (0 for a single row)."""
    columns = list(zip(*rows))
    return ([statistics.mean(column) for column in columns],
            [statistics.stdev(column) if len(column) > 1 else 0 for column in columns])


def _plot_band(axes, rows, **style):
    """The mean of the rows over the epochs 1, 2, …, in a band of their deviation."""
    means, deviations = _mean_and_deviation(rows)
    epochs = range(1, len(means) + 1)
    axes.plot(epochs, means, markersize=3.5, **style)
    axes.fill_between(epochs, [mean - deviation for mean, deviation in zip(means, deviations)],
                      [mean + deviation for mean, deviation in zip(means, deviations)],
                      color=style['color'], alpha=0.15, linewidth=0)
