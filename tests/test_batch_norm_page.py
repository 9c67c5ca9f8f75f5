"""Each figure in the prose of docs/batch_normalization.md is that of the table, row and column that it links to.

A figure is written [+2.5][3: 128: test there]: table 3, the row that begins with 128, the column 'test there'. The
link's text is the mean or the whole cell. A difference that the data does not decide is only shown with its interval.
"""

import json
import re

import pytest

from conftest import ROOT
from experiments import batch_norm_report, batch_norm_runs, batch_norm_tables
from experiments.batch_norm_runs import load_results

REFERENCE = ROOT / 'results' / 'reference'
PAGE = (ROOT / 'docs' / 'batch_normalization.md').read_text(encoding='utf-8')
FIGURE = re.compile(r'\[([^][]*(?:\[[^][]*\])?)\]\[(\d+): ([^]:]+): ([^]]+)\]')
TARGET = '../results/reference/batch_norm.md#table-'


def tables():
    """Number → table of the committed study, as a list of lists of cells."""
    text = (REFERENCE / 'batch_norm.md').read_text(encoding='utf-8')
    parts = re.split(r'^## Table (\d+)$', text, flags=re.MULTILINE)[1:]
    return {int(number): [[cell.strip() for cell in line.strip('|').split('|')]
                          for line in part.splitlines() if line.startswith('|') and '---' not in line]
            for number, part in zip(parts[::2], parts[1::2])}


def cell_of(number, row, column):
    heading, *rows = tables()[int(number)]
    keys = row.split(', ')
    chosen = [cells for cells in rows if cells[:len(keys)] == keys]
    columns = [i for i, name in enumerate(heading) if name == column]
    assert len(chosen) == len(columns) == 1, f'table {number} has no single cell {row}: {column}'
    return chosen[0][columns[0]]


def texts_allowed(cell):
    """What the page may show of a cell."""
    plain = cell.strip('*')
    undecided = ' [' in cell and not cell.startswith('**')
    return {plain} if undecided else {plain, re.split(r' ±| \[', plain)[0]}


@pytest.mark.parametrize('text, number, row, column', FIGURE.findall(PAGE))
def test_a_figure_in_the_prose_is_that_of_its_table(text, number, row, column):
    assert ' '.join(text.split()) in texts_allowed(cell_of(number, ' '.join(row.split()), ' '.join(column.split())))


def test_figures_are_linked_to_their_tables():
    assert len(FIGURE.findall(PAGE)) >= 20
    defined = dict(re.findall(r'^\[(\d+: [^]]+)\]: (\S+)$', PAGE, re.MULTILINE))
    used = {f'{number}: {" ".join(row.split())}: {" ".join(column.split())}' for _, number, row, column in
            FIGURE.findall(PAGE)}
    assert used == set(defined)
    for label, target in defined.items():
        assert target == f'{TARGET}{label.split(":")[0]}'


def test_no_figure_stands_in_the_prose_without_its_table():
    """Beside settings, years, seeds and numbers of tables, which stand in the code or are no results."""
    prose = re.sub(r'^\[.*?\]: .*$|^    .*$|^\d\. ', '', PAGE, flags=re.MULTILINE)
    prose = FIGURE.sub('', prose)
    prose = re.sub(r'`[^`]*`|!\[[^]]*\]\([^)]*\)|\]\([^)]*\)|\[Table \d+', '', prose)
    prose = re.sub(r'\((?:19|20)\d\d\)|arXiv:\d+\.\d+|section \d[\d.]*|Q2\.2|CIFAR-10', '', prose)
    settings = {*map(str, sum(batch_norm_runs.NETS, [])), *map(str, batch_norm_runs.SETTINGS.values()),
                *map(str, batch_norm_runs.LEARNING_RATES), *map(str, batch_norm_runs.MULTIPLES),
                *map(str, batch_norm_tables.LEVELS), '32', '16', '95', '10,000', '45,000',
                f'{batch_norm_runs.SAMPLE_IMAGES:,}', f'{batch_norm_runs.SPREAD_IMAGES:,}',
                *(str(run['seed']) for run in load_results(REFERENCE / 'batch_norm.json')['runs'])}
    left = [number for number in re.findall(r'\d[\d.,]*\d|\d', prose) if number not in settings]
    assert not left, left


def test_every_paragraph_with_a_claim_names_its_table_or_figure():
    body = PAGE.split('## What one sees')[1].split('## The literature')[0]
    for paragraph in re.split(r'\n\n+', body):
        if paragraph.startswith('**'):
            assert re.search(r'\]\[\d+: |\[Table \d+\]\(|\[figure\]\(', paragraph), paragraph


def test_the_tables_and_figures_that_the_page_shows_are_there():
    for path in re.findall(r'\]\((\.\./[^)#]*)', PAGE) + re.findall(r'\]\(([a-z_]+\.md)\)', PAGE):
        assert (ROOT / 'docs' / path).exists(), path
    for number in map(int, re.findall(r'#table-(\d+)', PAGE)):
        assert number in tables()
    assert '| --- |' not in PAGE  # the tables exist once


def test_the_committed_tables_follow_from_the_committed_runs():
    results = load_results(REFERENCE / 'batch_norm.json')
    assert (REFERENCE / 'batch_norm.md').read_text(encoding='utf-8') == batch_norm_report.markdown(results)


def test_the_committed_study_is_that_of_the_assignment_and_has_whole_seeds():
    results = load_results(REFERENCE / 'batch_norm.json', batch_norm_runs.SETTINGS)
    seeds = sorted({run['seed'] for run in results['runs']})
    for run in batch_norm_runs.planned_runs(seeds, batch_norm_runs.SETTINGS):
        assert any(run.items() <= finished.items() for finished in results['runs']), run
    assert all('environment' in run or 'diverged' in run for kind in batch_norm_runs.KINDS for run in results[kind])
    for ending in batch_norm_report.figures_of(results):
        assert (REFERENCE / f'batch_norm{ending}.png').exists()
    assert json.loads((REFERENCE / 'batch_norm.json').read_text())['config'].items() >= batch_norm_runs.SETTINGS.items()
