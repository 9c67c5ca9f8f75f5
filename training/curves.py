"""The curves of a training run: loss over batches and epochs, accuracy over the epochs, in training and validation."""

from training.settings import SETTINGS, net_name

FIRST_STEPS = 100  # with a learning rate of 0.1 they overshoot, to several times the loss of an untrained network


def title(name, record):
    """The title: model, hidden layers, every setting that differs from its default, test accuracy."""
    config = record['config']
    parts = [f'{"PyTorch" if "pytorch" in name else "NumPy"} MLP', _net(config["hidden_dims"])]
    if config.get('use_batch_norm'):
        parts.append('batch normalization')
    parts += [f'{setting.words} {config[name]}' for name, setting in SETTINGS.items()
              if setting.words and config.get(name, setting.default) != setting.default]
    return f'{", ".join(parts)}: test accuracy {record["test_accuracy"]:.3f}'


def _net(hidden_dims):
    return f'hidden layer{"s" * (len(hidden_dims) > 1)} {net_name(hidden_dims)}' if hidden_dims else net_name(hidden_dims)


def draw(name, record):
    """A figure of two panels: the loss, the accuracy."""
    from matplotlib.figure import Figure  # without pyplot, which is slow to import and looks for a screen
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10, 4), layout='constrained')
    figure.suptitle(title(name, record))
    left, right = figure.subplots(1, 2)
    _draw_loss(left, record)
    _draw_accuracy(right, record)
    for axes in (left, right):
        axes.xaxis.set_major_locator(MaxNLocator('auto', integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
    return figure


def _draw_loss(axes, record):
    """Training loss of each batch and epoch, validation loss. An inset shows the large losses of the first steps."""
    losses, epochs = record['batch_loss'], len(record['train_loss'])
    positions = [(step + 1) * epochs / len(losses) for step in range(len(losses))]
    axes.plot(positions, losses, color='C0', alpha=0.3, linewidth=0.5, label='training (per batch)')
    # A mean over an epoch is drawn at the middle of the epoch.
    axes.plot([epoch + 0.5 for epoch in range(epochs)], record['train_loss'], 'o-', color='C0', markersize=4,
              label='training (epoch mean)')
    val_losses = record.get('val_loss', [])  # older results do not have it
    axes.plot(range(len(val_losses)), val_losses, 's-', color='C1', markersize=4, label='validation (end of epoch)')
    settled = (losses[FIRST_STEPS:] or losses) + record['train_loss'] + val_losses[1:]
    room = 0.05 * (max(settled) - min(settled))
    axes.set(title='loss', xlabel='epoch', ylabel='cross-entropy', xlim=(0, epochs),
             ylim=(min(settled) - 8 * room, max(settled) + 12 * room))
    axes.legend(loc='lower left', fontsize='small', ncols=2)
    inset = axes.inset_axes((0.45, 0.68, 0.52, 0.28))
    inset.plot(range(1, len(losses[:FIRST_STEPS]) + 1), losses[:FIRST_STEPS], color='C0', linewidth=1)
    inset.plot(range(len(val_losses[:1])), val_losses[:1], 's', color='C1', markersize=4)  # before the first step
    inset.set(xlim=(0, None))
    inset.tick_params(labelsize='x-small')
    inset.set_title(f'first {len(losses[:FIRST_STEPS])} batches (full range)', fontsize='x-small', pad=2)
    inset.grid(alpha=0.3)


def _draw_accuracy(axes, record):
    epochs = range(1, len(record['val_accuracy']) + 1)
    best = record['best_epoch']
    best_accuracy = record['val_accuracy'][best - 1]
    axes.plot([epoch - 0.5 for epoch in epochs], record['train_accuracy'], 'o-', color='C0', markersize=4,
              label='training (epoch mean)')
    axes.plot(epochs, record['val_accuracy'], 's-', color='C1', markersize=4, label='validation (end of epoch)')
    axes.plot(best, best_accuracy, '*', color='C3', markersize=14,
              label=f'best epoch: {best} (validation {best_accuracy:.3f})')
    lowest, highest = (limit(record['train_accuracy'] + record['val_accuracy']) for limit in (min, max))
    room = max(highest - lowest, 0.05)
    axes.set(title='accuracy', xlabel='epoch', ylabel='accuracy', xlim=(0, len(epochs) + 0.5),
             ylim=(lowest - 0.3 * room, highest + 0.1 * room))  # with room for the legend
    axes.legend(loc='lower right', fontsize='small')
