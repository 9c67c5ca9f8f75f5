"""What a figure of matplotlib shows, as a text that can be read and approved."""

import numpy as np
from matplotlib.colors import to_hex
from matplotlib.ticker import FixedLocator, NullLocator


def described(figure):
    """The figure in words, panel by panel: titles, axes, pictures, texts; lines and bars with three digits."""
    width, height = figure.get_size_inches()
    rows, columns = figure.axes[0].get_gridspec().get_geometry()
    layout = type(figure.get_layout_engine()).__name__
    lines = [f'{width:g} × {height:g} inches, {rows} × {columns} panels, {layout}']
    lines += [f'above: {part.get_suptitle()}' for part in (figure, *figure.subfigs) if part.get_suptitle()]
    for axes in [axes for panel in figure.axes for axes in (panel, *panel.child_axes)]:  # a panel and its insets
        if axes.axison:
            lines += ['', f'panel: {axes.get_title()}'.strip(), *_axis('x', axes.xaxis, axes.get_xlim()),
                      *_axis('y', axes.yaxis, axes.get_ylim())]
        elif axes.get_title():
            lines.append(axes.get_title())
        lines += [*map(_line, axes.get_lines()), *_legend(axes.get_legend())]
        lines += [f'{len(axes.collections)} bands'] * bool(axes.collections)
        lines += [' '.join(text.get_text() for text in axes.texts)] * bool(axes.texts)
        lines += [colors(image.get_array()) for image in axes.get_images() if len(image.get_array()) == 32]
        lines += ['bars ' + ', '.join(f'{_digits(bar.get_x())}: {_digits(bar.get_y() + bar.get_height())}'
                                      for bar in axes.patches)] * bool(axes.patches)
    for legend in figure.legends:
        lines += ['', *_legend(legend)]
    return '\n'.join(lines) + '\n'


def colors(picture):
    """Pixels of the left and right half of each tile in a picture (32, 34 · n − 2, RGB)."""
    tiles = picture.shape[1] // 34 + 1  # there are two pixels between them
    return ' | '.join(' '.join(f'{value:g}' for value in np.round(picture[16, column].astype(float), 2))
                      for number in range(tiles) for column in (34 * number + 8, 34 * number + 24))


def _axis(name, axis, limits):
    """Of limits and ticks only what was set: what matplotlib chooses differs between its versions."""
    grid = next(iter(axis.get_gridlines()), None)
    words = [f'{name}: {axis.get_label_text()}'.replace('\n', ' / ').strip(), f'{axis.get_scale()} scale']
    words += ['no grid' if not (grid and grid.get_visible()) else f'grid {grid.get_alpha()}']
    if isinstance(axis.get_major_locator(), FixedLocator):
        texts = [label.get_text() for label in axis.get_ticklabels()]
        words.append(' '.join(['ticks', *map(_digits, axis.get_ticklocs())]) + f' as {" ".join(texts)}' * any(texts))
    if axis.get_scale() == 'log':
        words.append(f'minor ticks {"off" if isinstance(axis.get_minor_locator(), NullLocator) else "on"}')
    if not getattr(axis.axes, f'get_autoscale{name}_on')():
        words.append(f'from {_digits(limits[0])} to {_digits(limits[1])}')
    yield '; '.join(words)


def _line(line):
    points = ', '.join(f'{_digits(x)}: {_digits(y)}' for x, y in zip(line.get_xdata(), line.get_ydata()))
    marker = '' if line.get_marker() in ('None', '') else f' {line.get_marker()} of {line.get_markersize():g}'
    name = '' if line.get_label().startswith('_') else f' {line.get_label()}'
    return f'{to_hex(line.get_color())} {line.get_linestyle()} {line.get_linewidth():g}{marker}{name} = {points}'


def _legend(legend):
    if legend:
        texts = legend.get_texts()
        place = next(name for name, code in legend.codes.items() if code == legend._loc)
        yield f'legend, {place}: {"; ".join(text.get_text() for text in texts)} ({texts[0].get_size():.3g} pt)'


def _digits(number):
    return f'{number:.3g}'
