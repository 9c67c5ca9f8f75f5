"""Train the NumPy and the PyTorch MLP side by side, seed by seed, and show how far they agree.

    python -m experiments.twins

Both start with the same weights and see the same batches. What parts them is rounding: sooner or later the
input of some ReLU is so near 0 that the order of summation decides its sign.
Writes results/twins.json and results/twins.png.
"""

from pathlib import Path

import numpy as np

import train_mlp_numpy
import train_mlp_pytorch
from storage.files import json_bytes, png_bytes, write_together
from training.command_line import ArgumentParser, add_folders, user_errors
from training.process import say
from training.settings import DEFAULTS, SEED

TWINS = {'NumPy': train_mlp_numpy.train,
         'PyTorch': lambda **settings: train_mlp_pytorch.train(**settings, device='cpu')}
SETTINGS = {name: DEFAULTS[name] for name in ('hidden_dims', 'lr', 'batch_size', 'epochs')}


def train_twins(seeds, data_dir):
    """Train every combination of seed, batch normalization and twin; return one record for each."""
    from tqdm import tqdm

    combinations = [(seed, use_batch_norm, twin)
                    for seed in seeds for use_batch_norm in (False, True) for twin in TWINS]
    runs = []
    for seed, use_batch_norm, twin in tqdm(combinations, 'training', unit='run', disable=None):
        _, _, test_accuracy, info = TWINS[twin](**SETTINGS, seed=seed, use_batch_norm=use_batch_norm,
                                                data_dir=data_dir, verbose=False)
        batches = len(info['batch_loss']) // SETTINGS['epochs']
        runs.append({'twin': twin, 'seed': seed, 'use_batch_norm': use_batch_norm, 'test_accuracy': test_accuracy,
                     'first_epoch_loss': info['batch_loss'][:batches]})
    return runs


def compare(runs):
    """Pair the twins: a list of (NumPy's run, PyTorch's run) of the same seed and setting."""
    return list(zip(runs[::2], runs[1::2], strict=True))


def relative_differences(pair):
    """|a − b| / b of the losses of each batch of the first epoch."""
    ours, theirs = (np.array(run['first_epoch_loss']) for run in pair)
    return np.abs(ours - theirs) / theirs


def table(pairs):
    """The comparison as lines of a Markdown table."""
    lines = ['| seed | batch normalization | first epoch, loss: NumPy | PyTorch | relative difference '
             '| test accuracy: NumPy | PyTorch | difference |', '| --- ' * 8 + '|']
    for pair in pairs:
        ours, theirs = (np.mean(run['first_epoch_loss']) for run in pair)
        a, b = (run['test_accuracy'] for run in pair)
        seed, batch_norm = pair[0]['seed'], 'yes' if pair[0]['use_batch_norm'] else 'no'
        lines.append(f'| {seed} | {batch_norm} | {ours:.4f} | {theirs:.4f} '
                     f'| {abs(ours - theirs) / theirs:.1e} | {a:.4f} | {b:.4f} | {abs(a - b):.4f} |')
    return lines


def draw(pairs):
    """A figure: the losses of both twins, how fast they part, and the test accuracies of all seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout='constrained')
    left, middle, right = figure.subplots(1, 3)
    pair = pairs[0]
    for run, style in zip(pair, ('-', '--')):
        left.plot(run['first_epoch_loss'], style, linewidth=1, label=run['twin'])
    left.set(yscale='log', xlabel='batch of the first epoch', ylabel='training loss (cross-entropy, log scale)',
             title=f'the curves lie on each other (seed {pair[0]["seed"]})')
    left.set_yticks([2, 3, 5, 10], ['2', '3', '5', '10'])
    left.yaxis.minorticks_off()
    for pair, color in zip(pairs[:2], ('C2', 'C4')):
        differences = np.maximum(relative_differences(pair), 1e-8)
        middle.plot(differences, color=color, linewidth=1,
                    label='with batch normalization' if pair[0]['use_batch_norm'] else 'without batch normalization')
    middle.axhline(2**-24, color='gray', linestyle=':', label='float32 rounding')
    middle.set(yscale='log', xlabel='batch of the first epoch', ylabel='relative difference of the losses',
               title='until rounding decides about one ReLU')
    for marker, use_batch_norm in (('o', False), ('s', True)):
        for column, twin in enumerate(TWINS):
            chosen = [run for pair in pairs for run in pair
                      if run['use_batch_norm'] == use_batch_norm and run['twin'] == twin]
            right.plot([run['seed'] + 0.15 * (2 * column - 1) for run in chosen],
                       [run['test_accuracy'] for run in chosen], marker, color=f'C{column}',
                       label=f'{twin}, {"with" if use_batch_norm else "without"} batch normalization')
    right.set(xlabel='seed', ylabel='test accuracy', title='and they end in the same range')
    lowest, highest = right.get_ylim()
    right.set_ylim(lowest - 0.5 * (highest - lowest), highest)  # room for the legend
    right.set_xticks([pair[0]['seed'] for pair in pairs[::2]])
    for axes in (left, middle, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize='small', loc='lower right' if axes is not left else 'upper right')
    return figure


def main():
    parser = ArgumentParser(__doc__, 'experiments.twins')
    parser.add_argument('--seeds', type=SEED, nargs='+', metavar='N', default=[42, 43, 44, 45, 46], help='seeds to compare the twins with')
    add_folders(parser)
    arguments = parser.parse_args()
    with user_errors(parser, when_interrupted='no result was written'):
        runs = train_twins(arguments.seeds, arguments.data_dir)
        pairs = compare(runs)
        say('\n'.join(table(pairs)))
        results_dir = Path(arguments.results_dir)
        files = {results_dir / 'twins.json': json_bytes({'config': SETTINGS, 'runs': runs}),
                 results_dir / 'twins.png': png_bytes(draw(pairs))}
        write_together(files)
        say(' '.join(map(str, ['written:', *files])))


if __name__ == '__main__':
    main()
