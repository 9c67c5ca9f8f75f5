"""What a training run leaves behind: a JSON file with every number, and a picture of its curves."""

import platform
from importlib.metadata import version

from storage.files import json_bytes, png_bytes, write_together
from training.settings import DEFAULTS


def result_stem(model_name, settings):
    """A name for the results that tells every setting that differs from the default."""
    parts = [model_name]
    if settings.get('use_batch_norm'):
        parts.append('batch_norm')
    for name, default in DEFAULTS.items():
        value = settings.get(name, default)
        if value != default:
            text = '-'.join(map(str, value)) or 'none' if name == 'hidden_dims' else value
            parts.append(f'{name}{text}')
    return '_'.join(parts)


def environment(packages, threads, device):
    """What a result may depend on beside its settings."""
    return {
        'python': platform.python_version(),
        **{package: version(package) for package in packages},
        'platform': f'{platform.system()} {platform.machine()}',
        'threads': threads,
        'device': device,
    }


def write_results(stem, record):
    """Write the record as STEM.json and its curves as STEM.png; return the two paths."""
    contents = {stem.with_name(f'{stem.name}.json'): json_bytes(record),
                stem.with_name(f'{stem.name}.png'): png_bytes(draw_curves(record, stem.name))}
    write_together(contents)
    return list(contents)


def draw_curves(record, title):
    """A figure: loss over training, training and validation accuracy per epoch, the best epoch marked."""
    from matplotlib.figure import Figure  # without pyplot, which is slow to import and looks for a screen
    from matplotlib.ticker import FuncFormatter

    epochs = range(1, len(record['val_accuracy']) + 1)
    steps = len(record['batch_loss'])
    batch_positions = [(step + 1) * len(epochs) / steps for step in range(steps)]
    best = record['best_epoch']
    best_accuracy = record['val_accuracy'][best - 1]

    figure = Figure(figsize=(10, 4), layout='constrained')
    figure.suptitle(f'{title}: test accuracy {record["test_accuracy"]:.3f}')
    left, right = figure.subplots(1, 2)
    left.plot(batch_positions, record['batch_loss'], color='C0', alpha=0.3, linewidth=0.5, label='each batch')
    left.plot([epoch - 0.5 for epoch in epochs], record['train_loss'], 'o-', color='C0', label='mean of the epoch')
    # Logarithmic: the first few steps overshoot to several times the loss of an untrained net.
    left.set(xlabel='epoch', ylabel='training loss (cross-entropy, log scale)', xlim=(0, len(epochs)), yscale='log')
    for set_formatter in (left.yaxis.set_major_formatter, left.yaxis.set_minor_formatter):
        set_formatter(FuncFormatter(lambda loss, _: f'{loss:g}'))
    right.plot(epochs, record['train_accuracy'], 'o-', color='C0', label='training (mean over the epoch)')
    right.plot(epochs, record['val_accuracy'], 's-', color='C1', label='validation (after the epoch)')
    right.plot(best, best_accuracy, '*', color='C3', markersize=16,
               label=f'best epoch: {best} (validation {best_accuracy:.3f})')
    right.set(xlabel='epoch', ylabel='accuracy')
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure
