"""What a figure of matplotlib shows, as a text that can be read and approved."""

from matplotlib.colors import to_hex
from matplotlib.ticker import FixedLocator, NullLocator


def described(figure):
    """The figure in words, panel by panel: titles, axes, and each line with its style and numbers of three digits."""
    width, height = figure.get_size_inches()
    rows, columns = figure.axes[0].get_gridspec().get_geometry()
    layout = type(figure.get_layout_engine()).__name__
    lines = [f'{width:g} × {height:g} inches, {rows} × {columns} panels, {layout}']
    if figure.get_suptitle():
        lines.append(f'above: {figure.get_suptitle()}')
    for axes in [axes for panel in figure.axes for axes in (panel, *panel.child_axes)]:  # a panel and its insets
        lines += ['', f'panel: {axes.get_title()}', *_axis('x', axes.xaxis, axes.get_xlim()),
                  *_axis('y', axes.yaxis, axes.get_ylim()), *map(_line, axes.get_lines()), *_legend(axes.get_legend())]
        lines += [f'{len(axes.collections)} bands'] * bool(axes.collections)
    for legend in figure.legends:
        lines += ['', *_legend(legend)]
    return '\n'.join(lines) + '\n'


def _axis(name, axis, limits):
    """Of limits and ticks only what was set: what matplotlib chooses differs between its versions."""
    grid = axis.get_gridlines()[0]
    words = [f'{name}: {axis.get_label_text()}'.replace('\n', ' / ').strip(), f'{axis.get_scale()} scale']
    words += ['no grid' if not grid.get_visible() else f'grid {grid.get_alpha()}']
    if isinstance(axis.get_major_locator(), FixedLocator):
        texts = [label.get_text() for label in axis.get_ticklabels()]
        words.append('ticks ' + ' '.join(map(_digits, axis.get_ticklocs())) + f' as {" ".join(texts)}' * any(texts))
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
