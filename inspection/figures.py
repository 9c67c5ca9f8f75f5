"""The figures of an inspection, each drawn from the numbers that the JSON beside it holds, and from images.

Images are uint8 (n, 3, 32, 32). Signed pictures (n, 3, 32, 32), such as weights, are shown on a
grey ground: grey is 0, a channel brighter than that is above 0, darker below.
"""

import math

import numpy as np
from matplotlib.figure import Figure  # without pyplot, which is slow to import and looks for a screen

COLUMNS = 16  # unit pictures in a row
STEPS = 8  # of brightness in the pictures of many units, at which the eye sees no difference and a PNG can be small


def picture_scale(values, covered):
    """The number that becomes the full brightness of a channel, and its negative darkness.

    covered: the share of all numbers that are within; the few outliers are shown as if they were at the limit.
    """
    return float(np.quantile(np.abs(values), covered)) or 1.0


def signed_pictures(values, scale):
    """(n, 3, 32, 32), from −scale to scale → RGB (n, 32, 32, 3) in [0, 1]."""
    return np.clip(0.5 + values / (2 * scale), 0, 1).transpose(0, 2, 3, 1)


def draw_units(values, scale, title, names):
    """Signed pictures in rows, with a key to the colors; names: one for each, or None to number the rows."""
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
    size = pictures.shape[1] + gap
    rows = math.ceil(len(pictures) / columns)
    mosaic = np.ones((rows * size - gap, columns * size - gap, 3))
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        mosaic[row * size:row * size + size - gap, column * size:column * size + size - gap] = picture
    axes.imshow(mosaic, interpolation='nearest')
    axes.set_yticks([row * size + (size - gap) / 2 for row in range(rows)],
                    [f'{row * columns + 1}–{min((row + 1) * columns, len(pictures))}' for row in range(rows)])
    axes.set_xticks([])
    axes.spines[:].set_visible(False)


def _color_key(figure, scale):
    """What red, green, blue, all three and their opposites stand for, from −scale to scale."""
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
    """The confusion matrix as numbers on colors."""
    confusion = np.asarray(confusion)
    figure = Figure(figsize=(8, 7), layout='constrained')
    axes = figure.subplots()
    axes.imshow(confusion, cmap='Blues')
    for (row, column), count in np.ndenumerate(confusion):
        axes.text(column, row, str(count), ha='center', va='center', fontsize=9,
                  color='white' if count > confusion.max() / 2 else 'black')
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha='right', rotation_mode='anchor')
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel='what the net calls it', ylabel='what it is', title=title)
    return figure


def draw_surest(images, wrong, right, classes, title):
    """The images of the lists `wrong` and `right` (report.surest), with names and probabilities."""
    columns = 6
    rows = [math.ceil(len(part) / columns) for part in (wrong, right)]
    figure = Figure(figsize=(10, 1.95 * max(sum(rows), 1) + 1), layout='constrained')
    figure.suptitle(title)
    parts = figure.subfigures(2, 1, height_ratios=[max(number, 0.3) for number in rows])
    for part, entries, number, name in zip(parts, (wrong, right), rows, ('wrong', 'right')):
        part.suptitle(f'most sure and {name}' + ('' if entries else ': none'))
        grid = list(part.subplots(number, columns, squeeze=False).flat) if number else []
        for axes in grid:
            axes.set_axis_off()
        for axes, entry in zip(grid, entries):
            text = f'{classes[entry["predicted"]]} {entry["probability"]:.4f}'
            if name == 'wrong':
                text += f'\nis {classes[entry["label"]]} {entry["probability_of_label"]:.4f}'
            _image(axes, images[entry['index']].transpose(1, 2, 0), text)
    return figure


def draw_reliability(bins, accuracy, title):
    """Accuracy against confidence (metrics.reliability), above how many samples have that confidence."""
    figure = Figure(figsize=(7, 6), layout='constrained')
    figure.suptitle(title)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    edges, width = np.array(bins['edges']), bins['edges'][1]
    filled = [number for number, count in enumerate(bins['count']) if count]
    confidence, right = ([bins[key][number] for number in filled] for key in ('confidence', 'accuracy'))
    upper.bar(edges[filled], right, width, align='edge', color='C0', alpha=0.7, edgecolor='white', label='accuracy')
    upper.plot(confidence, right, 'o', color='C3', label='mean confidence of the bin')
    upper.plot([0, 1], [0, 1], '--', color='black', label='as right as it is sure')
    upper.set(ylabel='share that is right', ylim=(0, 1), xlim=(0, 1))
    upper.legend(loc='upper left')
    lower.bar(edges[:-1], bins['count'], width, align='edge', color='C7', edgecolor='white')
    mean = sum(count * (value or 0) for count, value in zip(bins['count'], bins['confidence'])) / sum(bins['count'])
    lower.axvline(mean, color='C3', label=f'mean confidence {mean:.3f}')
    lower.axvline(accuracy, color='C0', linestyle='--', label=f'accuracy {accuracy:.3f}')
    lower.set(xlabel='confidence: the largest probability', ylabel='images', ylim=(0, 1.5 * max(bins['count'])))
    lower.legend(loc='upper center', ncols=2)
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    return figure


def draw_gradients(images, gradients, names, title):
    """Each image above its signed gradient, which has a scale of its own."""
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
               f'from −{scale:.2g} to {scale:.2g}')
    return figure
