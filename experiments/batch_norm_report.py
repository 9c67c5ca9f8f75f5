"""The report of the batch-normalization study: which tables and figures there are, and what each shows."""

from experiments import batch_norm_figures as figures
from experiments import batch_norm_control_tables as controls
from experiments import batch_norm_tables as tables
from experiments.batch_norm_runs import GRADIENT_BATCHES, SAMPLE_IMAGES, SELECTION_SEED, SPREAD_IMAGES
from storage.files import plain_figures, png_bytes, write_together
from training.settings import net_name

INTRODUCTION = '''# Tables of the batch-normalization study

Written by `compare_batch_norm.py`. Accuracies are percentages, differences of accuracies are points. ± is the sample
standard deviation (n − 1) over the seeds. A difference is taken between the two runs of one seed, which share start and
batches; behind its mean stands the 95 % interval (Student's t), in bold where it leaves out 0 before rounding. Both tell
how far another seed can move a result; neither holds the sampling error of the images that it is measured on: about 0.7
points for an accuracy near 50 % on 5,000 images, 0.5 on 10,000. Of twenty intervals about a difference that isn't
there, one leaves out 0.'''

# Number → what the table needs to have runs of, its caption, the function that makes it. {net} is that of the controls.
TABLES = {
    1: ('runs', 'The six configurations. The best validation accuracy over the epochs, its epoch, and the test '
        'accuracy of that model; the step is how far validation accuracy moves from one epoch to the next, up or down.',
        tables.configurations_table),
    2: ('runs', 'How well the nets fit at the end. The mean over the last epoch is taken in training mode, while the '
        f'net changes; measured alike is training accuracy after it, in evaluation mode, on {SAMPLE_IMAGES:,} training '
        'images, as validation accuracy is. The gap is the difference of these two.', tables.fit_table),
    3: ('runs', 'With batch normalization minus without, of the same seed; in the last row, by how much that is more '
        'for the smallest net than for the largest.', tables.paired_table),
    4: ('runs', 'Validation accuracy where training accuracy, measured alike, first reaches a level.',
        tables.same_fit_table),
    5: ('runs', f'Standard deviation of what enters each ReLU, over {SPREAD_IMAGES:,} validation images and all units, '
        'in evaluation mode.', tables.spread_table),
    6: ('runs', 'The loss of a batch after a step along its gradient, for steps of so many times the learning rate; '
        f'mean over {GRADIENT_BATCHES} batches and the seeds.', controls.gradient_table),
    7: ('start_runs', 'The net {net}, weights and biases set so that a first batch comes out normalized, then trained '
        'without batch normalization. Differences to the net without, of the same seed.', controls.start_table),
    8: ('group_runs', 'The net {net} with batch normalization, the same batches, mean and variance taken over groups '
        'of so many of its samples. Differences to the statistics of the whole batch.', controls.group_table),
    9: ('learning_rate_runs', f'Best validation accuracy of seed {SELECTION_SEED} at each learning rate; in bold that '
        'of the best rate of each net.', controls.rate_table),
    10: ('learning_rate_runs', 'Test accuracy of each net at its own best rate of the table before, and the difference '
         f'with minus without, on the other seeds than {SELECTION_SEED}; the change is that from the rate of the study '
         'to the best rates.', controls.best_rate_table),
}


def table_texts(results):
    """The tables that the results have runs for: number → (caption, Markdown)."""
    net = net_name(tables.control_net(results))
    return {number: (caption.replace('{net}', net), make(results))
            for number, (kind, caption, make) in TABLES.items() if results[kind]}


def figures_of(results):
    """File name ending → figure: the two of the assignment, and those that the controls call for."""
    drawn = {'_train': figures.draw_accuracy(results, 'train_accuracy', 'training', 'mean over the epoch'),
             '_validation': figures.draw_accuracy(results, 'val_accuracy', 'validation', 'after the epoch')}
    if results['start_runs']:
        drawn['_gradient'] = figures.draw_gradient(results)
    if results['group_runs']:
        drawn['_groups'] = figures.draw_groups(results)
    if results['learning_rate_runs']:
        drawn['_rates'] = figures.draw_rates(results)
    if len(drawn) > 2:
        drawn['_fit'] = figures.draw_fit(results)
        drawn['_spread'] = figures.draw_spread(results)
    return drawn


def markdown(results):
    """All tables as one text."""
    parts = [INTRODUCTION]
    for number, (caption, table) in table_texts(results).items():
        parts += [f'## Table {number}', caption, table]
    return '\n\n'.join(parts) + '\n'


@plain_figures()
def write_report(results_filename, results):
    """Write STEM.md and STEM_….png beside the results; return the paths and a table for the terminal."""
    endings = {f'{ending}.png': png_bytes(figure) for ending, figure in figures_of(results).items()}
    endings['.md'] = markdown(results).encode()
    files = {results_filename.with_name(results_filename.stem + ending): content
             for ending, content in endings.items()}
    write_together(files)
    return list(files), tables.terminal_table(results)
