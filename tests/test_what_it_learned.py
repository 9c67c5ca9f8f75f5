"""docs/what_it_learned.md says what the JSON files next to its figures say."""

import json
import re
import statistics

import numpy as np
import pytest

from conftest import ROOT
from experiments.intervals import confidence_interval

FOLDER = ROOT / 'results' / 'reference' / 'inspection'
TEXT = ' '.join((ROOT / 'docs' / 'what_it_learned.md').read_text(encoding='utf-8').split())
NETWORKS = ['mlp_numpy', 'mlp_pytorch', 'mlp_numpy_batch_norm', 'mlp_pytorch_batch_norm']
SEEDS = {42: '', **{seed: f'_seed{seed}' for seed in (43, 44, 45, 46)}}


def record(name):
    return json.loads((FOLDER / f'{name}_inspection.json').read_text(encoding='utf-8'))


RECORDS = [NUMPY, PYTORCH, NUMPY_BATCH_NORM, PYTORCH_BATCH_NORM] = [record(name) for name in NETWORKS]
PAIRS = [[record(f'mlp_numpy{batch_norm}{seed}') for batch_norm in ('', '_batch_norm')] for seed in SEEDS.values()]
CLASSES = NUMPY['classes']
CAT, DOG = CLASSES.index('cat'), CLASSES.index('dog')
VEHICLES = [name in ('airplane', 'automobile', 'ship', 'truck') for name in CLASSES]


def errors(record):
    return np.array(record['confusion']) - np.diag(np.diag(record['confusion']))


def within_kind(record):
    """The share of the errors that stay within the vehicles or within the animals."""
    return errors(record)[np.equal.outer(VEHICLES, VEHICLES)].sum() / errors(record).sum()


def with_interval(value, interval):
    return '{:.4f} [{:.4f}, {:.4f}]'.format(value, *interval)


def calibration_error(record):
    return with_interval(record['reliability']['ece'], record['ece_interval'])


def row(name, record):
    best, worst = (f'{CLASSES[record["f1"].index(f1)]} {f1:.4f}' for f1 in (max(record['f1']), min(record['f1'])))
    return ' | '.join([f'| `{name}`', with_interval(record['accuracy'], record['accuracy_interval']),
                       f'{record["mean_confidence"]:.4f}', calibration_error(record), best, f'{worst} |'])


def change(values):
    return '{:+.3f} [{:+.3f}, {:+.3f}]'.format(statistics.mean(values), *confidence_interval(values)).replace('-', '−')


@pytest.mark.parametrize('sentence', [
    *map(row, NETWORKS, RECORDS),
    *(' | '.join([f'| {seed}', *(f'{record["accuracy"]:.4f}' for record in pair),
                  *map(calibration_error, pair)]) + ' |' for seed, pair in zip(SEEDS, PAIRS)),
    f'by {change([b["reliability"]["ece"] - a["reliability"]["ece"] for a, b in PAIRS])}',
    f'in {len(NUMPY["reliability"]["count"])} bins of equal width',
    'The first 16 of the 128 units make up {:.2f} of all contributions, the first unit {:.2f}'.format(
        sum(NUMPY['units']['share_of_contributions'][:16]), NUMPY['units']['share_of_contributions'][0]),
    'The first 16 units make up {:.2f}'.format(sum(NUMPY_BATCH_NORM['units']['share_of_contributions'][:16])),
    'is first in the figure above is at position {} here'.format(
        NUMPY_BATCH_NORM['units']['index'].index(NUMPY['units']['index'][0]) + 1),
    f'the share of such errors is {within_kind(NUMPY):.2f} for the NumPy network and at most '
    f'{max(map(within_kind, RECORDS)):.2f} for the other three',
    f'at random, it would be {(6 * 5 + 4 * 3) / 90:.2f}',
    f'predicts cat for only {np.sum(NUMPY["confusion"], axis=0)[CAT]} of the 10,000 images',
    f'it predicts dog for {NUMPY["confusion"][CAT][DOG]} of them and cat for {NUMPY["confusion"][CAT][CAT]}',
    'predict cat for {}, {:,} and {:,} images'.format(*(np.sum(r['confusion'], axis=0)[CAT] for r in RECORDS[1:])),
    *('has an accuracy of {0[accuracy][9]:.3f} at a mean confidence of {0[confidence][9]:.3f}'.format(
        record['reliability']) for record in (NUMPY, NUMPY_BATCH_NORM)),
])
def test_a_number_on_the_page_is_that_of_the_records(sentence):
    assert sentence in TEXT


def test_the_records_are_of_default_runs_with_these_seeds_and_test_accuracies():
    runs = [(seed, use_batch_norm) for seed in SEEDS for use_batch_norm in (False, True)]
    for (seed, use_batch_norm), record in zip([(42, False), (42, True)] + runs, RECORDS[1::2] + sum(PAIRS, [])):
        assert record['training']['settings'].items() >= {
            'hidden_dims': [128], 'use_batch_norm': use_batch_norm, 'lr': 0.1, 'batch_size': 128, 'epochs': 10,
            'seed': seed, 'threads': None}.items()
        assert record['accuracy'] == pytest.approx(record['training']['test_accuracy'])


def test_statements_about_all_networks_hold():
    for record in (*RECORDS, *sum(PAIRS, [])):
        assert record['mean_confidence'] > record['accuracy']
    for without, with_batch_norm in PAIRS:
        assert with_batch_norm['ece_interval'][1] < without['ece_interval'][0]
    for record in RECORDS:
        assert CLASSES[np.argmax(record['f1'])] == 'ship' and CLASSES[np.argmin(record['f1'])] == 'cat'
        for name, other in [('automobile', 'truck'), ('truck', 'automobile'), ('airplane', 'ship')]:
            assert CLASSES[errors(record)[CLASSES.index(name)].argmax()] == other
        frog, horse = (next(entry['index'] for entry in record['gradients'] if CLASSES[entry['label']] == name)
                       for name in ('frog', 'horse'))
        assert f'the same most confident frog and horse, test images {frog} and {horse}' in TEXT
        entry, = (entry for entry in record['most_confident_errors'] if entry['index'] == 836)
        assert (CLASSES[entry['label']], CLASSES[entry['predicted']]) == ('automobile', 'truck')
    assert 'automobile (test image 836)' in TEXT and 'are five horses, three dogs, two frogs and two ships' in TEXT
    right = [CLASSES[entry['label']] for entry in NUMPY['most_confident_correct']]
    assert {name: right.count(name) for name in right} == {'horse': 5, 'dog': 3, 'frog': 2, 'ship': 2}


def test_every_figure_is_there_and_small():
    figures = re.findall(r'!\[.*?\]\(\.\./(.*?)\)', TEXT)
    assert len(figures) == 7 and all((ROOT / figure).exists() for figure in figures)
    assert max(path.stat().st_size for path in FOLDER.glob('*.png')) < 300_000
