"""The figures of an inspection, drawn from images and from the numbers in the JSON file next to the figures.

Images are uint8 (n, 3, 32, 32). Signed pictures (n, 3, 32, 32), such as weights, are shown on gray:
gray is 0, a brighter color channel is positive, a darker one negative.
"""

import math

import numpy as np
from matplotlib.figure import Figure  # pyplot is slow to import and looks for a screen

COLUMNS = 16  # tiles in a row
STEPS = 8  # levels of brightness in the tiles: the PNG file is small, and the eye sees no difference


def picture_scale(values, covered):
    """The absolute value that is shown at full brightness or darkness; larger values are clipped.

    covered: the share of all values that are not clipped.
    """
    return float(np.quantile(np.abs(values), covered)) or 1.0


def signed_pictures(values, scale):
    """(n, 3, 32, 32), from −scale to scale → RGB (n, 32, 32, 3) in [0, 1]."""
    return np.clip(0.5 + values / (2 * scale), 0, 1).transpose(0, 2, 3, 1)


def draw_units(values, scale, title, names):
    """Signed pictures in rows, with a color key; names: one name for each picture, or None to number the rows."""
    columns, height = (min(COLUMNS, len(values)), 0.56) if names is None else (5, 1.85)  # inches
    rows = math.ceil(len(values) / columns)
    figure = Figure(figsize=(9.86 if names is None else 9, rows * height + 1.9), layout='constrained')
    figure.suptitle(title)
    top, key = figure.subfigures(2, 1, height_ratios=[rows * height + 0.4, 1])
    if names is None:
        _mosaic(top.subplots(), np.round(signed_pictures(values, scale) * STEPS) / STEPS, columns)
    else:
        for axes, picture, name in zip(top.subplots(rows, columns).flat, signed_pictures(values, scale), names):
            _image(axes, picture, name)
    _color_key(key, scale)
    return figure


def _mosaic(axes, pictures, columns, gap=2):
    height, width = pictures.shape[1] + gap, pictures.shape[2] + gap
    rows = math.ceil(len(pictures) / columns)
    mosaic = np.ones((rows * height - gap, columns * width - gap, 3))
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        mosaic[row * height:(row + 1) * height - gap, column * width:(column + 1) * width - gap] = picture
    axes.imshow(mosaic, interpolation='nearest')
    axes.set_yticks([row * height + (height - gap) / 2 for row in range(rows)],
                    [f'{row * columns + 1}–{min((row + 1) * columns, len(pictures))}' for row in range(rows)])
    axes.set_xticks([])
    axes.spines[:].set_visible(False)


def _color_key(figure, scale):
    """The colors of a positive or negative value in the red, green or blue channel, and in all three."""
    ramp = np.linspace(-1, 1, 101)
    for axes, (name, channels) in zip(figure.subplots(1, 4), {'red': [0], 'green': [1], 'blue': [2],
                                                               'all three': [0, 1, 2]}.items()):
        picture = np.full((1, len(ramp), 3), 0.5)
        for channel in channels:
            picture[0, :, channel] = 0.5 + ramp / 2
        axes.imshow(picture, aspect='auto', extent=(-scale, scale, 0, 1))
        axes.set(yticks=[], xticks=[-scale, 0, scale], xticklabels=[f'−{scale:.2g}', '0', f'{scale:.2g}'])
        axes.set_xlabel(name)


def _image(axes, picture, title):
    axes.imshow(picture, interpolation='nearest')
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()


def draw_confusion(confusion, classes, title):
    """The confusion matrix as a heat map with its counts."""
    confusion = np.asarray(confusion)
    figure = Figure(figsize=(8, 7), layout='constrained')
    axes = figure.subplots()
    axes.imshow(confusion, cmap='Blues')
    for (row, column), count in np.ndenumerate(confusion):
        axes.text(column, row, str(count), ha='center', va='center', fontsize=9,
                  color='white' if count > confusion.max() / 2 else 'black')
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha='right', rotation_mode='anchor')
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel='predicted class', ylabel='true class', title=title)
    return figure


def draw_most_confident(images, errors, correct, classes, title):
    """The images of the two lists of report.inspect, with their predicted and true classes."""
    columns = 6
    rows = [math.ceil(len(part) / columns) for part in (errors, correct)]
    figure = Figure(figsize=(10, 1.95 * max(sum(rows), 1) + 1), layout='constrained')
    figure.suptitle(title)
    parts = figure.subfigures(2, 1, height_ratios=[max(number, 0.3) for number in rows])
    names = 'most confident errors', 'most confident correct predictions'
    for part, entries, number, name in zip(parts, (errors, correct), rows, names):
        part.suptitle(name + ('' if entries else ': none'))
        grid = list(part.subplots(number, columns, squeeze=False).flat) if number else []
        for axes in grid:
            axes.set_axis_off()
        for axes, entry in zip(grid, entries):
            text = f'{classes[entry["predicted"]]} {entry["probability"]:.4f}'
            if entry['label'] != entry['predicted']:
                text += f'\ntrue: {classes[entry["label"]]} {entry["probability_of_label"]:.4f}'
            _image(axes, images[entry['index']].transpose(1, 2, 0), text)
    return figure


def draw_reliability(bins, accuracy, title):
    """The reliability diagram of metrics.reliability, and below it the number of samples in each bin."""
    figure = Figure(figsize=(7, 6), layout='constrained')
    figure.suptitle(title)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    edges, width = np.array(bins['edges']), bins['edges'][1]
    filled = [number for number, count in enumerate(bins['count']) if count]
    confidence, right = (np.array([bins[key][number] for number in filled]) for key in ('confidence', 'accuracy'))
    style = {'width': width, 'align': 'edge', 'edgecolor': 'white'}
    upper.bar(edges[filled], right, color='C0', alpha=0.7, label='accuracy in the bin', **style)
    upper.bar(edges[filled], confidence - right, bottom=right, color='C3', alpha=0.35, hatch='//',
              label='gap between accuracy and mean confidence', **style)
    upper.plot([0, 1], [0, 1], '--', color='black', label='perfect calibration')
    upper.set(ylabel='accuracy', ylim=(0, 1), xlim=(0, 1))
    upper.legend(loc='upper left')
    lower.bar(edges[:-1], bins['count'], color='C7', **style)
    mean = sum(count * (value or 0) for count, value in zip(bins['count'], bins['confidence'])) / sum(bins['count'])
    lower.axvline(mean, color='C3', label=f'mean confidence {mean:.3f}')
    lower.axvline(accuracy, color='C0', linestyle='--', label=f'accuracy {accuracy:.3f}')
    lower.set(xlabel='confidence (highest predicted probability)', ylabel='test images',
              ylim=(0, 1.5 * max(bins['count'])))
    lower.legend(loc='upper center', ncols=2)
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    return figure


def draw_gradients(images, gradients, names, title):
    """Each image above its signed gradient; every gradient has its own scale."""
    columns = 5
    rows = math.ceil(len(images) / columns) or 1
    figure = Figure(figsize=(8, 3.5 * rows + 0.6), layout='constrained')
    figure.suptitle(title)
    grid = figure.subplots(2 * rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for number, (image, gradient, name) in enumerate(zip(images, gradients, names)):
        row, column = divmod(number, columns)
        scale = picture_scale(gradient, 0.99)
        _image(grid[2 * row, column], image.transpose(1, 2, 0), name)
        _image(grid[2 * row + 1, column], signed_pictures(gradient[None], scale)[0],
               f'gradient (±{scale:.2g})')
    return figure
