"""docs/derivations.md taken apart: its results, formulas, lines of NumPy and tables."""

import re
from typing import NamedTuple

import numpy as np

from conftest import ROOT

TEXT = (ROOT / 'docs' / 'derivations.md').read_text(encoding='utf-8')
SECTIONS = {int(number): body for number, body in
            re.findall(r'^## (\d+)\. .*?\n(.*?)(?=^## |\Z)', TEXT, re.MULTILINE | re.DOTALL)}

# Formulas that are not statements but assumptions, or that hold at one place only.
CONDITIONS = {
    'i = j', 'm = i', 'n = j', r'h = \tanh', r'h(x) = \max(x, 0)', r'u_i = \max_k X_{ik}', r'\epsilon = 0',
    # of section 7: test_derivation_7_2_gain puts them in
    r'\mathrm{Var}[y_j] = 1', r'\mathrm{Var}[y_j] = \mathrm{Var}[a_k]', 'v = 1/M', 'v = 2/M', 'v = g/M',
    'g = 1', 'g = 2',
}
SHAPES = re.compile(r'\((\w), (\w)\)\((\w), (\w)\) = \((\w), (\w)\)')  # of two matrices and their product


class Result(NamedTuple):
    formulas: list  # every formula with = in it, in their order
    code: list  # its blocks of NumPy


def formulas(text):
    """Every formula with = in the text, displayed or not; the lines of one display are one formula."""
    text = re.sub(r'```.*?```|`[^`]*`', '', text, flags=re.DOTALL)
    found = [a or b for a, b in re.findall(r'\$\$(.+?)\$\$|\$([^$]+)\$', text, re.DOTALL)]
    return [' '.join(formula.split()) for formula in found
            if re.search(r'=|\\leftarrow', formula) and not SHAPES.fullmatch(formula)]


def code_blocks(text):
    return re.findall(r'```python\n(.*?)```', text, re.DOTALL)


def _results():
    """Number → Result, for each quotation that begins with one."""
    found = {}
    for block in re.findall(r'(?:^>.*\n)+', TEXT, re.MULTILINE):
        block = re.sub(r'^> ?', '', block, flags=re.MULTILINE)
        number, body = re.fullmatch(r'\*\*Result (\d+\.\d+)\.\*\* (.*)', block, re.DOTALL).groups()
        assert number not in found, f'two results have the number {number}'
        found[number] = Result(formulas(body), code_blocks(body))
    return found


RESULTS = _results()
# The formulas outside the results: (section, formula).
STEPS = [(number, formula) for number, body in SECTIONS.items()
         for formula in formulas(re.sub(r'^>.*\n', '', body, flags=re.MULTILINE))]


def table(section, first_cell):
    """The rows of the table of the section whose head begins with `first_cell`, each a list of cells."""
    lines = re.search(rf'^\| {first_cell} \|.*\n\|[- |]+\n((?:\|.*\n)+)', SECTIONS[section], re.MULTILINE)[1]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines.splitlines()]


def in_numpy(world):
    """The letters of a world as the lines of NumPy name them; columns and rows as vectors; D as dY."""
    names = {'np': np}
    for letter in world.values:
        name = re.sub(r'\\hat\{(\w)\}', r'\1_hat', letter).lstrip('\\').replace('epsilon', 'eps')
        if name.isidentifier():
            array = world[letter]
            names['dY' if name == 'D' else name] = array.ravel() if 1 in array.shape else array
    return {name: int(value) if name in 'SMNC' else value for name, value in names.items()}


def run(code, names):
    """What a block of NumPy assigns."""
    after = dict(names)
    exec(code, after)
    return {name: value for name, value in after.items() if name != '__builtins__' and value is not names.get(name)}
