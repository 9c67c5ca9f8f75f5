"""The report of the batch-normalization study: its tables and figures, and the text of each."""

from experiments import batch_norm_figures as figures
from experiments import batch_norm_control_tables as controls
from experiments import batch_norm_tables as tables
from experiments import intervals
from experiments.batch_norm_runs import GRADIENT_BATCHES, SAMPLE_IMAGES, SELECTION_SEED, SPREAD_IMAGES
from storage.files import plain_figures, png_bytes, write_together

INTRODUCTION = '''# Tables of the batch-normalization study

`compare_batch_norm.py` wrote these tables. Accuracies are percentages; differences are percentage points. ± is the sample standard deviation
(n − 1) over the seeds. A difference is the mean difference between two runs of the same seed, which share the initial weights and the batches.
The 95 % interval (Student's t) follows in brackets. It is an interval for the mean over seeds, not for one further run. The sampling error of the
images is not included: the standard error of an accuracy near 50 % is about 0.7 points on 5,000 images and 0.5 points on 10,000. "At the end" is the
mean over the last five epochs.

If there is no difference, 1 in 20 intervals excludes 0. Therefore the tables are tested together, by Benjamini and Hochberg (1995), so that about
5 % of the differences called significant are false. **Bold** differences are significant. A † marks an interval that excludes 0, but is not
significant together with the others.'''

# Number → the caption of the table, the function that makes it.
TABLES = {
    1: ('The six configurations: the best validation accuracy over the epochs, its epoch, the test accuracy of that model, and '
        'the mean change of validation accuracy from one epoch to the next, up or down.', tables.configurations_table),
    2: ('Training accuracy at the end. The epoch mean is taken in training mode while the network changes; in evaluation mode '
        f'the accuracy is measured after the epoch, on {SAMPLE_IMAGES:,} training images, as validation accuracy is. The gap is training '
        'accuracy (evaluation mode) minus validation accuracy.', tables.fit_table),
    3: ('With batch normalization minus without, same seed. The last row is the difference of the smallest network minus the '
        'difference of the largest. The epochs are compared on the seeds on which both pass 50 %. Training accuracy (epoch mean) is training '
        'accuracy (evaluation mode) plus the column after it.', tables.paired_table),
    4: ('Validation accuracy where training accuracy (evaluation mode) first reaches a level.', tables.same_fit_table),
    5: (f'Standard deviation of the pre-activations, over {SPREAD_IMAGES:,} validation images and all units, in evaluation mode.',
        tables.spread_table),
    6: ('The loss of a batch after a step along its gradient, for step sizes in multiples of the learning rate; mean over '
        f'{GRADIENT_BATCHES} batches and the seeds.', controls.gradient_table),
    7: ('Data-dependent initialization ("initialized"): weights and biases are set so that a first batch is normalized in '
        'every layer; then the network is trained without batch normalization.', controls.start_table),
    8: ('Ghost batch normalization: the same batches, mean and variance over groups of so many of their samples.',
        controls.group_table),
    9: (f'Best validation accuracy of seed {SELECTION_SEED} at each learning rate; the best rate of each network '
        'is bold.', controls.rate_table),
    10: ('Test accuracy of each network at its best rate of Table 9, and the difference with minus without, on the '
         f'seeds other than {SELECTION_SEED}. The last row is the trend with size: the difference of the smallest network minus the '
         'difference of the largest. The change is the value at the best rates minus the value at the study\'s rate.',
         controls.best_rate_table),
    11: ('Test accuracy if the initial weights of all layers are multiplied by a factor, its difference from the factor 1 '
         '(without and with batch normalization), and the difference with minus without.', controls.scale_table),
    12: ('Growth of the mean length of the rows of each linear layer\'s weight, from the initialization to the last epoch. '
         'A run that was repeated on another processor for this table differs in rounding from the run of the other tables.',
         controls.length_table),
    13: ('Test accuracy at small learning rates, and the difference with minus without batch normalization.',
         controls.small_rate_table),
    14: ('A larger network minus a smaller one, same seed. The epochs are compared on the seeds on which both pass 50 %.',
         tables.size_table),
    15: ('Networks without batch normalization: a smaller learning rate minus the study\'s rate.',
         controls.slower_table),
}


def table_texts(results):
    """The tables that the results have runs for: number → (caption, Markdown)."""
    made = {number: (caption, *make(results)) for number, (caption, make) in TABLES.items()}
    survivors = intervals.significant({cell for _, _, rows in made.values() for row in rows for cell in row
                                       if isinstance(cell, intervals.Difference)})

    def text(cell):
        return cell.text(survivors) if isinstance(cell, intervals.Difference) else str(cell)

    return {number: (caption, '\n'.join(f'| {" | ".join(map(text, line))} |' for line in [heading, ['---'] * len(heading), *rows]))
            for number, (caption, heading, rows) in made.items() if rows}


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
    """Write STEM.md and STEM_….png next to the results; return the paths and a table for the terminal."""
    endings = {f'{ending}.png': png_bytes(figure) for ending, figure in figures_of(results).items()}
    endings['.md'] = markdown(results).encode()
    files = {results_filename.with_name(results_filename.stem + ending): content
             for ending, content in endings.items()}
    write_together(files)
    return list(files), tables.terminal_table(results)
