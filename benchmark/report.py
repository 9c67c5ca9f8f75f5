"""The tables and figures of the benchmark."""

import statistics

from benchmark import busy, startup, targets
from storage.files import json_bytes, plain_figures, png_bytes, write_together

COLORS = {'NumPy, matrix products only': '0.6', 'PyTorch, matrix products only': '0.75', 'JAX, matrix products only': '0.75',
          'NumPy MLP (this project)': 'C0', 'PyTorch MLP (this project)': 'C1'}
OTHERS_COLOR = 'C7'


def text(record):
    """Lines of Markdown: tables of the parts in the record, with times, ratios, profile and targets."""
    lines = []
    if 'epochs' in record:
        seconds = record['epochs']['seconds']
        baseline = next(iter(seconds[next(iter(seconds))]))
        lines += [f'Seconds per training epoch (median of {record["epochs"]["rounds"]} rounds; min–max), and the median '
                  f'ratio to the first row. Data: {record["epochs"]["data"]}. {_machine(record, "epochs")}', '']
        lines += _table(seconds, {name: [_cell(seconds[network], name, baseline) for network in seconds]
                                  for name in seconds[next(iter(seconds))]})
    if 'profile' in record:
        shares = record['profile']['shares']
        lines += ['', f'Where the time of an epoch goes. {_machine(record, "profile")}', '']
        lines += _table(next(iter(shares.values())),
                        {network: [f'{share:.0%}' for share in row.values()] for network, row in shares.items()})
    if 'runs' in record.get('start', {}):  # not in files of earlier versions
        runs = record['start']['runs']
        seconds = {part: [run[part] for run in runs] for part in runs[0]}
        lines += ['', f'Seconds of `python train_mlp_numpy.py` (median of {len(runs)} runs with the profiler; min–max). The rest is '
                  f'Python\'s start and the imports. {_machine(record, "start")}', '']
        lines += _table(seconds, {'seconds': [_range(values) for values in seconds.values()],
                                  'fraction': [f'{_ratio(values, seconds[startup.WHOLE]):.0%}' for values in seconds.values()]})
    if 'busy' in record:
        seconds = record['busy']['seconds']
        lines += ['', 'Seconds per training epoch (hidden layer of 128), idle and under load (median of '
                  f'{record["busy"]["rounds"]} rounds; min–max). {_machine(record, "busy")}', '']
        lines += _table(busy.COLUMNS,
                        {name: [_range(values) for values in row.values()] for name, row in seconds.items()})
    if 'scaling' in record:
        lines += ['', _second_thread(record['scaling']['axes']['width of the hidden layer'])]
    rows = targets.check(record)
    lines += ['', '| target | median | min–max | at most | met |', '| --- ' * 5 + '|']
    lines += [f'| {row["target"]} | {row["median"]:.3g} | {row["smallest"]:.3g} to {row["largest"]:.3g} '
              f'| {row["limit"]:g} | {"yes" if row["met"] else "NO"} |' for row in rows]
    return [*lines, '', _met(rows)]


def _table(columns, rows):
    """Lines of a Markdown table: {name of a row: its cells}."""
    columns = list(columns)
    return ['| | ' + ' | '.join(columns) + ' |', '| --- ' * (len(columns) + 1) + '|',
            *(f'| {name} | ' + ' | '.join(cells) + ' |' for name, cells in rows.items())]


def _machine(record, part):
    """A sentence about the machine on which the part was measured."""
    machine = record[part]['machine']
    return (f'Measured on {machine["processors"]} processors ({machine["processor"]}), {machine["platform"]}, '
            f'NumPy {machine["numpy"]}, PyTorch {machine["torch"]}.')


def _second_thread(widths):
    """A sentence about the gain from a second thread, over the widths of the hidden layer."""
    baseline, _, numpy_mlp, pytorch_mlp = widths['1']
    gains = {name: [one / two for one, two in zip(widths['1'][name], widths['2'][name])]
             for name in (baseline, numpy_mlp, pytorch_mlp)}
    words = [f'{min(values):.1f} to {max(values):.1f}' for values in gains.values()]
    return (f'Over the widths of the hidden layer, a second thread makes the products in NumPy {words[0]} times as '
            f'fast, an epoch of the NumPy MLP {words[1]} times and one of the PyTorch MLP {words[2]} times.')


def _met(rows):
    return f'{sum(row["met"] for row in rows)} of {len(rows)} targets are met.'


def summary(record):
    """The main results of the parts in the record, in a few sentences."""
    sentences = []
    if 'epochs' in record:
        seconds = record['epochs']['seconds']
        small, *_, large = [network for network in seconds if 'batch normalization' not in network]
        baseline, _, numpy_mlp, pytorch_mlp, *_, course = seconds[small]

        def ratio(network, name, other):
            return statistics.median(targets.ratios(seconds, network, name, other))

        sentences = [
            f'Relative to its matrix products in NumPy, an epoch of {small} takes '
            f'{ratio(small, numpy_mlp, baseline):.2f} × (NumPy MLP) and {ratio(small, pytorch_mlp, baseline):.2f} × '
            f'(PyTorch MLP), an epoch of {large} {ratio(large, numpy_mlp, baseline):.2f} × and '
            f'{ratio(large, pytorch_mlp, baseline):.2f} ×.',
            f'The course\'s own data pipeline takes {ratio(small, course, numpy_mlp):.1f} × as long as the NumPy MLP '
            f'and {ratio(small, course, pytorch_mlp):.1f} × as long as the PyTorch MLP ({small}).']
    return ' '.join([*sentences, _met(targets.check(record))])


def _range(values):
    return f'{statistics.median(values):.2f} s ({min(values):.2f} to {max(values):.2f})'


def _cell(seconds, name, baseline):
    if name not in seconds:
        return '–'
    return f'{_range(seconds[name])}, {_ratio(seconds[name], seconds[baseline]):.2f} ×'


def _ratio(values, baseline):
    return statistics.median(a / b for a, b in zip(values, baseline))


def _seconds_and_ratio(values, baseline):
    return f'{statistics.median(values):.2f} s, {_ratio(values, baseline):.2f} ×'


@plain_figures()
def check(record):
    """Raise an error for a record of which no report can be written."""
    text(record), summary(record), _figures(record)
    for part in record.values():
        part['machine'].items()


def _figures(record):
    """Ending of the file name → figure, of the parts that the record holds."""
    drawn = {'.png': draw_epochs(record['epochs'])} if 'epochs' in record else {}
    return {**drawn, '_scaling.png': draw_scaling(record['scaling']['axes'])} if 'scaling' in record else drawn


@plain_figures()
def write(path, record):
    """Write the record as JSON, its tables and figures next to it; return the paths."""
    tables = '\n'.join(text(record)) + '\n'
    contents = {path: json_bytes(record), path.with_suffix('.md'): tables.encode(),
                **{path.with_name(path.stem + ending): png_bytes(figure) for ending, figure in _figures(record).items()}}
    write_together(contents)
    return list(contents)


def draw_epochs(measured):
    """A bar for each contender, with and without batch normalization: seconds per training epoch."""
    from matplotlib.figure import Figure

    plain_networks = list(measured['seconds'])[::2]
    names = list(measured['seconds'][plain_networks[0]])
    figure = Figure(figsize=(13, 5), layout='constrained')
    figure.suptitle(f'one training epoch of 45,000 images, batch size {measured["batch_size"]}, '
                    f'{measured["machine"]["threads"]} threads')
    figure.supxlabel('seconds (bar: median; black line: min–max). ×: the median over the rounds of the ratio to the products in NumPy, '
                     'not the ratio of the bars', fontsize='medium')
    for axes, network in zip(figure.subplots(1, 2, sharey=True), plain_networks):
        for offset, key, height in ((-0.2, network, 0.4), (0.2, f'{network}, batch normalization', 0.34)):
            for row, name in enumerate(names):
                values = measured['seconds'][key].get(name)
                if not values or offset > 0 and 'matrix products' in name:
                    continue
                median = statistics.median(values)
                axes.barh(row + offset, median, height, color=COLORS.get(name, OTHERS_COLOR),
                          hatch='///' if offset > 0 else None, edgecolor='white')
                axes.plot([min(values), max(values)], [row + offset] * 2, color='black', linewidth=1)
                axes.annotate(f' {_seconds_and_ratio(values, measured["seconds"][key][names[0]])}',
                              (max(values), row + offset), va='center', fontsize=8)
        axes.set_title(f'hidden layers: {network}')
        axes.margins(x=0.25)
        axes.grid(axis='x', alpha=0.3)
        axes.set_axisbelow(True)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.barh([0], [0], color='white', edgecolor='black', hatch='///', label='with batch normalization')
    axes.legend(loc='upper right')
    return figure


def draw_scaling(growth):
    """Epoch time relative to its matrix products, over batch size, width and depth, on one and on two threads."""
    from matplotlib.figure import Figure

    baseline, _, *ours = growth[next(iter(growth))]['1']
    figure = Figure(figsize=(11, 4), layout='constrained')
    figure.suptitle('epoch time relative to its matrix products '
                    '(default: one hidden layer of 128, batch size 128)')
    panels = figure.subplots(1, len(growth), sharey=True)
    for axes, (axis, results) in zip(panels, growth.items()):
        for name in ours:
            for threads, style in (('1', ':'), ('2', '-')):
                ratios = [a / b for a, b in zip(results[threads][name], results[threads][baseline])]
                axes.plot(results['values'], ratios, style, color=COLORS[name], marker='o', markersize=4,
                          label=f'{name.split(" (")[0]}, {threads} thread{"s" * (threads != "1")}')
        axes.axhline(1, color='0.6', linewidth=1)
        axes.set_xscale('log', base=2)
        axes.set_xticks(results['values'], results['values'], fontsize='small')
        axes.set(xlabel=axis)
        axes.grid(alpha=0.3)
    panels[0].set(ylabel='ratio to the products in NumPy', ylim=(0, None))  # last: the panels share the axis
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=4, fontsize='small')
    return figure
