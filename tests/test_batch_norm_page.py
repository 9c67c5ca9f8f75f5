"""docs/batch_normalization.md says what the committed study says: each number, and the † of a difference, is in a table that its paragraph links to."""

import json
import re

import pytest

from conftest import ROOT
from experiments import batch_norm_report, batch_norm_runs
from experiments.batch_norm_runs import load_results

REFERENCE = ROOT / 'results' / 'reference'
PAGE = (ROOT / 'docs' / 'batch_normalization.md').read_text(encoding='utf-8')
NUMBER = re.compile(r'[+−]?\d+\.\d+ \[[^]]*\]†?|[+−]?\d+\.\d+')


def tables():
    """Number → text of the table of the committed study, without bold."""
    text = (REFERENCE / 'batch_norm.md').read_text(encoding='utf-8').replace('**', '')
    parts = re.split(r'^## Table (\d+)$', text, flags=re.MULTILINE)[1:]
    return dict(zip(map(int, parts[::2]), parts[1::2]))


def paragraphs():
    """The paragraphs and list items with numbers; a table belongs to the paragraph before it."""
    text = PAGE.partition('## The literature')[0].replace('\n\n|', ' |')
    for paragraph in re.split(r'\n\n+|\n(?=\d\. )', text):
        yield ' '.join(paragraph.split())


SHOWN = [(number, paragraph) for paragraph in paragraphs() for number in NUMBER.findall(
    re.sub(r'`[^`]*`|\(\.\.[^)]*\)|learning rate 0\.1|[Aa]t 0\.\d+|rate of 0\.1|best rates are 0\.\d+( or |, )0\.\d+|Q2\.2', '', paragraph))]


@pytest.mark.parametrize('number, paragraph', SHOWN, ids=[number for number, _ in SHOWN])
def test_a_number_on_the_page_is_in_a_table_that_its_paragraph_links_to(number, paragraph):
    linked = [tables()[int(name)] for name in re.findall(r'#table-(\d+)', paragraph)]
    assert any(re.search(rf'(?<![\d.]){re.escape(number)}(?![\d†])', table) for table in linked), paragraph


def test_the_page_shows_numbers():
    assert len(SHOWN) >= 60


def test_the_tables_and_figures_that_the_page_shows_are_there():
    for path in re.findall(r'\]\((\.\./[^)#]*)', PAGE) + re.findall(r'\]\(([a-z_]+\.md)\)', PAGE):
        assert (ROOT / 'docs' / path).exists(), path
    assert {int(number) for number in re.findall(r'#table-(\d+)', PAGE)} <= tables().keys()


def test_the_committed_tables_follow_from_the_committed_runs():
    results = load_results(REFERENCE / 'batch_norm.json')
    assert (REFERENCE / 'batch_norm.md').read_text(encoding='utf-8') == batch_norm_report.markdown(results)


def test_the_committed_study_is_that_of_the_assignment_and_has_whole_seeds():
    results = load_results(REFERENCE / 'batch_norm.json', batch_norm_runs.SETTINGS)
    seeds = sorted({run['seed'] for run in results['runs']})
    for run in batch_norm_runs.planned_runs(seeds, batch_norm_runs.SETTINGS):
        assert any(run.items() <= finished.items() for finished in results['runs']), run
    assert all('environment' in run or 'diverged' in run for kind in batch_norm_runs.KINDS for run in results[kind])
    assert json.loads((REFERENCE / 'batch_norm.json').read_text())['config'].items() >= batch_norm_runs.SETTINGS.items()
