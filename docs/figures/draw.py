"""Draw the figures of docs/derivations.md as SVG files, next to this script or in another folder.

    python docs/figures/draw.py [FOLDER]
"""

import sys
from pathlib import Path

STYLE = '''
  .paper { fill: #ffffff; stroke: #d0d7de } text { fill: #1f2328; font: 15px "DejaVu Sans", Arial, sans-serif }
  .box { fill: #ddf4ff; stroke: #0969da } .cell { fill: none; stroke: #59636e }
  .forward { stroke: #0969da; fill: #0969da } .backward { stroke: #bc4c00; fill: #bc4c00 } .small { font-size: 12px }
  text.forward, text.backward { stroke: none } line, path { stroke-width: 1.6 }
  @media (prefers-color-scheme: dark) {
    .paper { fill: #0d1117; stroke: #3d444d } text { fill: #f0f6fc } .box { fill: #121d2f; stroke: #4493f8 }
    .cell { stroke: #9198a1 } .forward { stroke: #4493f8; fill: #4493f8 } .backward { stroke: #f0883e; fill: #f0883e } }
'''


def text(x, y, words, kind='', anchor='middle'):
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" class="{kind}">{words}</text>'


def box(x, y, width, height, words='', kind='box'):
    middle = text(x + width / 2, y + height / 2 + 5, words) if words else ''
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" class="{kind}"/>{middle}'


def arrow(x1, y1, x2, y2, kind):
    """A horizontal or vertical line with a head at its end."""
    dx, dy = (x2 > x1) - (x2 < x1), (y2 > y1) - (y2 < y1)
    head = [(x2, y2), (x2 - 9 * dx + 5 * dy, y2 - 9 * dy + 5 * dx), (x2 - 9 * dx - 5 * dy, y2 - 9 * dy - 5 * dx)]
    points = ' '.join(f'{x},{y}' for x, y in head)
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="{kind}"/><polygon points="{points}" class="{kind}"/>'


def labeled_arrow(x1, x2, y, kind, matrix, shape):
    """A horizontal arrow with a matrix above and its shape below."""
    middle = (x1 + x2) / 2
    return arrow(x1, y, x2, y, kind) + text(middle, y - 8, matrix, kind) + text(middle, y + 18, shape, 'small')


def network():
    """The modules of a network with one hidden layer."""
    parts, width, gap = [], 118, 76
    names = ['Linear', 'ReLU', 'Linear', 'SoftMax', 'CrossEntropy']
    forward = [('X', '(S, M)'), ('A', '(S, N)'), ('H', '(S, N)'), ('Z', '(S, C)'), ('Y', '(S, C)')]
    for i, (name, (matrix, shape)) in enumerate(zip(names, forward)):
        x = 20 + gap + i * (width + gap)
        parts.append(box(x, 60, width, 100, name))
        parts.append(labeled_arrow(x - gap + 4, x - 4, 84, 'forward', matrix, shape))
        if i:  # the first layer does not compute ∂L/∂X
            parts.append(labeled_arrow(x - 4, x - gap + 4, 136, 'backward', f'∂L/∂{matrix}', ''))
        if name == 'Linear':
            parts.append(arrow(x + width / 2, 162, x + width / 2, 196, 'backward'))
            weight, bias = ('V', 'c') if i else ('W', 'b')
            parts.append(text(x + width / 2, 214, f'∂L/∂{weight}, ∂L/∂{bias}', 'backward'))
            parts.append(arrow(x + width / 2, 34, x + width / 2, 58, 'forward'))
            parts.append(text(x + width / 2, 26, f'{weight}, {bias}', 'forward'))
    end = 20 + 5 * (width + gap)
    parts.append(labeled_arrow(end + 4, end + gap - 4, 84, 'forward', 'L', 'a number'))
    parts.append(arrow(end - width / 2, 34, end - width / 2, 58, 'forward'))
    parts.append(text(end - width / 2, 26, 'labels or T (S, C)', 'forward'))
    return end + gap + 20, 232, parts


def batch():
    """A batch of four images as the rows of a matrix, and their outputs."""
    parts = []
    for i in range(4):
        y = 50 + 46 * i
        parts += [f'<rect x="{24 + 9 * column}" y="{y + 9 * row}" width="9" height="9" class="cell"/>'
                  for row in range(4) for column in range(4)]
        parts.append(arrow(70, y + 18, 112, y + 18, 'forward'))
        parts.append(box(118, y, 200, 36, f'row {i + 1}: M pixels', 'cell'))
        parts.append(arrow(326, y + 18, 388, y + 18, 'forward'))
        parts.append(box(396, y, 150, 36, f'row {i + 1}: N outputs', 'cell'))
    parts += [text(42, 32, 'images'), text(218, 32, 'X (S, M)'), text(357, 32, 'Wᵀ, b', 'forward'),
              text(471, 32, 'Y (S, N)')]
    parts.append(text(285, 256, 'S samples, one in each row; all rows use the same W and b', 'small'))
    return 570, 274, parts


def passes():
    """The two passes of a linear module and of an activation, one below the other."""
    parts = [arrow(305, 42, 305, 66, 'forward'), text(305, 32, 'W (N, M), b (N,)', 'forward'),
             arrow(305, 194, 305, 218, 'backward'), text(305, 238, '∂L/∂W (N, M), ∂L/∂b (N,)', 'backward')]
    for y, name, size, formulas in (
            (70, 'Linear', 'M', ('Y = X Wᵀ + b', '∂L/∂W = (∂L/∂Y)ᵀ X', '∂L/∂b = sum of the rows of ∂L/∂Y',
                                 '∂L/∂X = ∂L/∂Y W')),
            (270, 'ReLU', 'N', ('Y = max(X, 0)', '∂L/∂X = ∂L/∂Y ∘ [X &gt; 0]'))):
        parts += [box(220, y, 170, 120, name), text(20, y + 39, 'forward', 'forward', 'start'),
                  labeled_arrow(120, 216, y + 34, 'forward', 'X', f'(S, {size})'),
                  labeled_arrow(394, 490, y + 34, 'forward', 'Y', '(S, N)'),
                  text(20, y + 91, 'backward', 'backward', 'start'),
                  labeled_arrow(490, 394, y + 86, 'backward', '∂L/∂Y', '(S, N)'),
                  labeled_arrow(216, 120, y + 86, 'backward', '∂L/∂X', f'(S, {size})')]
        parts += [text(525, y + 66 - 13 * len(formulas) + 26 * i + 18, words, 'backward' if i else 'forward', 'start')
                  for i, words in enumerate(formulas)]
    return 790, 410, parts


def svg(width, height, parts):
    return '\n'.join([f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">',
                      f'<style>{STYLE}</style>', f'<rect x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" '
                      'rx="8" class="paper"/>', *parts, '</svg>', ''])


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
    for figure in (network, batch, passes):
        (folder / f'{figure.__name__}.svg').write_text(svg(*figure()), encoding='utf-8', newline='\n')


if __name__ == '__main__':
    main()
