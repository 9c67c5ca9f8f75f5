"""Train the NumPy and the PyTorch MLP side by side, seed by seed, and show how far they agree.

example:
  python -m experiments.twins

Both start with the same weights and see the same batches. Rounding makes them differ: sooner or later some ReLU
input is so close to 0 that the order of summation determines its sign. One difference is not due to rounding:
NumPy caps the loss of a sample at 87.3, the loss at the smallest normal float32, and PyTorch does not. The
gradients, and so the weights, still agree.
Each finished run is written at once to results/twins.json, and the same command resumes. At the end,
results/twins.md and results/twins.png are written.
"""

if __name__ == '__main__':
    import console.start  # noqa: F401 (an error in an import below becomes one line)

from pathlib import Path

import numpy as np

import train_mlp_numpy
import train_mlp_pytorch
from cifar10.sources import DATA_DIR
from console.arguments import SEED, ArgumentParser, add_folders
from console.errors import user_errors
from console.process import say
from experiments import study
from storage.files import plain_figures, png_bytes, write_together
from training.settings import DEFAULTS

TWINS = {'NumPy': train_mlp_numpy.train,
         'PyTorch': lambda **settings: train_mlp_pytorch.train(**settings, device='cpu')}
SMALLEST = 1e-8  # difference that the figure shows
SETTINGS = {name: DEFAULTS[name] for name in ('hidden_dims', 'lr', 'batch_size', 'epochs')}


def train_twins(results_filename, seeds, data_dir):
    """Train the missing combinations of seed, batch normalization and version; return all runs of the file."""
    with study.only_writer(results_filename):
        results = load_results(results_filename)
        planned = [('runs', {'twin': twin, 'seed': seed, 'use_batch_norm': use_batch_norm})
                   for seed in seeds for use_batch_norm in (False, True) for twin in TWINS]
        todo = study.missing(planned, results)
        for number, (_, run) in enumerate(todo, start=1):
            run = train_one(run, data_dir)
            results['runs'].append(run)
            study.save(results_filename, results)
            study.say_finished(number, len(todo), f'{run["twin"]}, {"with" if run["use_batch_norm"] else "without"} batch '
                                                  f'normalization, seed {run["seed"]}', run)
    if not todo:
        say(f'nothing is left to train: {results_filename} holds all runs')
    return results['runs']


def train_one(run, data_dir):
    """Train one version; return the run with the losses of its first epoch, its test accuracy and where it ran."""
    settings = {name: run[name] for name in ('seed', 'use_batch_norm')}
    _, _, test_accuracy, info = TWINS[run['twin']](**SETTINGS, **settings, data_dir=data_dir, verbose=False)
    batches = len(info['batch_loss']) // SETTINGS['epochs']
    return {**run, 'test_accuracy': test_accuracy, 'first_epoch_loss': info['batch_loss'][:batches],
            'environment': info['environment']}


def load_results(results_filename):
    """The results in the file, or empty ones if there is no file. Raises experiments.study.ResultsError."""
    def check(results):
        runs = results['runs']
        study.check_runs('runs', runs, {'twin': str, 'seed': int, 'use_batch_norm': bool},
                         {'test_accuracy': float, 'first_epoch_loss': [float]}, absent=['diverged'],
                         lengths=lambda run: len(run['first_epoch_loss']) == len(runs[0]['first_epoch_loss']))

    return study.load_results(results_filename, {'config': SETTINGS, 'runs': []}, check, SETTINGS)


def compare(runs):
    """Pair the versions: a list of (NumPy's run, PyTorch's run) of the same seed and setting."""
    pairs = {}
    for run in runs:
        pairs.setdefault((run['seed'], run['use_batch_norm']), {})[run['twin']] = run
    return [tuple(pair[twin] for twin in TWINS) for _, pair in sorted(pairs.items()) if len(pair) == len(TWINS)]


def relative_differences(pair):
    """|a − b| / b of the losses of each batch of the first epoch."""
    ours, theirs = (np.array(run['first_epoch_loss']) for run in pair)
    return np.abs(ours - theirs) / theirs


def table(pairs):
    """The comparison as lines of a Markdown table."""
    lines = ['| seed | batch normalization | first epoch, loss: NumPy | PyTorch | relative difference '
             '| test accuracy: NumPy | PyTorch | difference |', '| --- ' * 8 + '|']
    for ours, theirs in pairs:
        (a, loss_a), (b, loss_b) = ((run['test_accuracy'], np.mean(run['first_epoch_loss'])) for run in (ours, theirs))
        batch_norm = 'yes' if ours['use_batch_norm'] else 'no'
        lines.append(f'| {ours["seed"]} | {batch_norm} | {loss_a:.4f} | {loss_b:.4f} '
                     f'| {abs(loss_a - loss_b) / loss_b:.1e} | {a:.4f} | {b:.4f} | {abs(a - b):.4f} |')
    return lines


def terminal_table(pairs):
    """The test accuracies of the comparison, as wide as a terminal."""
    lines = ['seed  batch normalization   NumPy   PyTorch  difference']
    for ours, theirs in pairs:
        a, b = ours['test_accuracy'], theirs['test_accuracy']
        batch_norm = 'yes' if ours['use_batch_norm'] else 'no'
        lines.append(f'{ours["seed"]:<4}  {batch_norm:<19}  {a:.4f}   {b:.4f}      {abs(a - b):.4f}')
    return lines


def draw(pairs):
    """A figure: the losses of both twins, how fast they part, and the test accuracies of all seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout='constrained')
    left, middle, right = figure.subplots(1, 3)
    seed = min(ours['seed'] for ours, _ in pairs)
    of_one_seed = [(ours, theirs) for ours, theirs in pairs if ours['seed'] == seed]
    for run, style in zip(of_one_seed[0], ('-', '--')):
        left.plot(run['first_epoch_loss'], style, linewidth=1, label=run['twin'])
    left.set(yscale='log', xlabel='batch of the first epoch', ylabel='training loss (cross-entropy, log scale)',
             title=f'losses of the twins, seed {seed}')
    left.set_yticks([2, 3, 5, 10], ['2', '3', '5', '10'])
    left.yaxis.minorticks_off()
    for (ours, theirs), color in zip(of_one_seed, ('C2', 'C4')):
        middle.plot(np.maximum(relative_differences((ours, theirs)), SMALLEST), color=color, linewidth=1,
                    label='with batch normalization' if ours['use_batch_norm'] else 'without batch normalization')
    middle.axhline(2**-24, color='C7', linestyle=':', label='float32 rounding')
    middle.set(yscale='log', xlabel='batch of the first epoch',
               ylabel=f'relative difference of the losses\n(smaller ones and 0 are drawn at {SMALLEST:g})',
               title=f'difference of their losses, seed {seed}')
    for marker, use_batch_norm in (('o', False), ('s', True)):
        for column, twin in enumerate(TWINS):
            chosen = [run for pair in pairs for run in pair
                      if run['use_batch_norm'] == use_batch_norm and run['twin'] == twin]
            right.plot([run['seed'] + 0.15 * (2 * column - 1) for run in chosen],
                       [run['test_accuracy'] for run in chosen], marker, color=f'C{column}',
                       label=f'{twin}, {"with" if use_batch_norm else "without"} batch normalization')
    right.set(xlabel='seed', ylabel='test accuracy', title='test accuracies of the twins')
    lowest, highest = right.get_ylim()
    right.set_ylim(lowest - 0.5 * (highest - lowest), highest)  # room for the legend
    right.set_xticks(sorted({ours['seed'] for ours, _ in pairs}))
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize='small', loc='lower right' if axes is not left else 'upper right')
    return figure


def main():
    parser = ArgumentParser(__doc__, 'experiments.twins')
    parser.add_argument('--seeds', type=SEED, nargs='+', metavar='N', default=[42, 43, 44, 45, 46],
                        help='random seeds; both models are trained once per seed')
    add_folders(parser, DATA_DIR)
    arguments = parser.parse_args()
    results_dir = Path(arguments.results_dir)
    results_filename = results_dir / 'twins.json'
    with user_errors(parser, when_interrupted=lambda: study.kept(results_filename, ['runs'])):
        pairs = compare(train_twins(results_filename, list(dict.fromkeys(arguments.seeds)), arguments.data_dir))
        say('\n'.join(terminal_table(pairs)))
        with plain_figures():
            contents = {results_dir / 'twins.md': ('\n'.join(table(pairs)) + '\n').encode(),
                        results_dir / 'twins.png': png_bytes(draw(pairs))}
        write_together(contents)
        say(' '.join(map(str, ['written:', results_filename, *contents])))


if __name__ == '__main__':
    main()
