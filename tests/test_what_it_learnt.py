"""docs/what_it_learnt.md says what the JSON files beside its pictures say."""

import json
import re

import numpy as np
import pytest

from conftest import ROOT

FOLDER = ROOT / 'results' / 'reference' / 'inspection'
TEXT = ' '.join((ROOT / 'docs' / 'what_it_learnt.md').read_text(encoding='utf-8').split())
NETS = ['mlp_numpy', 'mlp_pytorch', 'mlp_numpy_batch_norm', 'mlp_pytorch_batch_norm']
RECORDS = {name: json.loads((FOLDER / f'{name}_inside.json').read_text(encoding='utf-8')) for name in NETS}
CLASSES = RECORDS['mlp_numpy']['classes']
NUMPY, NUMPY_BATCH_NORM = RECORDS['mlp_numpy'], RECORDS['mlp_numpy_batch_norm']
VEHICLES = [name in ('airplane', 'automobile', 'ship', 'truck') for name in CLASSES]


def within_kind(record):
    """The share of the errors that stay among the vehicles or among the animals."""
    errors = np.array(record['confusion']) - np.diag(np.diag(record['confusion']))
    return errors[np.equal.outer(VEHICLES, VEHICLES)].sum() / errors.sum()


def says(record, name):
    """For how many images the net says the class."""
    return int(np.sum(record['confusion'], axis=0)[CLASSES.index(name)])


@pytest.mark.parametrize('name', NETS)
def test_each_row_of_the_table_is_that_of_its_record(name):
    record = RECORDS[name]
    best, worst = (f'{CLASSES[label]} {record["f1"][label]:.4f}' for label in (np.argmax(record['f1']),
                                                                             np.argmin(record['f1'])))
    values = record['accuracy'], record['mean_confidence'], record['reliability']['ece']
    numbers = [f'{value:.4f}' for value in values]
    assert f'| `{name}` | {" | ".join(numbers)} | {best} | {worst} |' in TEXT
    assert record['accuracy'] == pytest.approx(record['training']['test_accuracy']), 'as the run measured it'
    settings = {'hidden_dims': [128], 'lr': 0.1, 'batch_size': 128, 'epochs': 10, 'seed': 42}
    assert record['training']['settings'].items() >= settings.items()


@pytest.mark.parametrize('sentence', [
    'the first 16 of 128 units carry {:.2f} of the whole, the first one {:.2f}'.format(
        sum(NUMPY['units']['share_of_contributions'][:16]), NUMPY['units']['share_of_contributions'][0]),
    'The first 16 units carry {:.2f}'.format(sum(NUMPY_BATCH_NORM['units']['share_of_contributions'][:16])),
    f'Of the errors of the NumPy net, {within_kind(NUMPY):.2f} stay within the animals or within the vehicles',
    'as {:.2f} to {:.2f} do in the others'.format(*(limit(within_kind(RECORDS[name]) for name in NETS[1:])
                                                    for limit in (min, max))),
    f'at random, {(6 * 5 + 4 * 3) / 90:.2f} would',
    f'for {says(NUMPY, "cat")} of 10,000 images, where 1,000 are',
    'It takes {} cats for dogs and finds {}'.format(*(NUMPY['confusion'][3][label] for label in (5, 3))),
    'The other three say cat for {:,} to {:,} images'.format(*(limit(says(RECORDS[name], 'cat') for name in NETS[1:])
                                                               for limit in (min, max))),
    'its twin in PyTorch for {}, the two with batch normalization for {} and {}'.format(
        *(says(RECORDS[name], 'cat') for name in NETS[1:])),
    'above 0.9, it is right in {:.3f} of the cases, at a mean confidence of {:.3f}'.format(
        *(NUMPY['reliability'][key][-1] for key in ('accuracy', 'confidence'))),
    'with batch normalization in {:.3f}, at {:.3f}'.format(
        *(NUMPY_BATCH_NORM['reliability'][key][-1] for key in ('accuracy', 'confidence'))),
    'the calibration error from {:.4f} to {:.4f} in NumPy, and from {:.4f} to {:.4f} in PyTorch'.format(
        *(RECORDS[name]['reliability']['ece'] for name in (NETS[0], NETS[2], NETS[1], NETS[3]))),
])
def test_a_sentence_with_a_number_is_that_of_the_records(sentence):
    assert sentence in TEXT


def test_what_is_said_of_all_four_nets_holds_for_all_four():
    surest = set()
    for record in RECORDS.values():
        assert CLASSES[np.argmax(record['f1'])] == 'ship' and CLASSES[np.argmin(record['f1'])] == 'cat'
        errors = np.array(record['confusion'])
        np.fill_diagonal(errors, 0)
        for name, other in [('automobile', 'truck'), ('truck', 'automobile'), ('airplane', 'ship')]:
            assert CLASSES[errors[CLASSES.index(name)].argmax()] == other
        assert record['mean_confidence'] > record['accuracy']
        surest.add(tuple(entry['index'] for entry in record['gradients']
                         if CLASSES[entry['label']] in ('frog', 'horse')))
    assert 'the same surest frog and the same surest horse, test images {} and {}'.format(*surest.pop()) in TEXT
    assert not surest


def test_what_is_said_of_the_surest_images_holds():
    assert 'what it calls a frog, test image 2405, is a frog, and a cat in the labels only' in TEXT
    for record in RECORDS.values():
        entry, = (entry for entry in record['surest_wrong'] if entry['index'] == 2405)
        assert (CLASSES[entry['label']], CLASSES[entry['predicted']]) == ('cat', 'frog')
    right = [CLASSES[entry['label']] for entry in NUMPY['surest_right']]
    assert 'Of the twelve surest right images, five are horses' in TEXT
    assert {name: right.count(name) for name in right} == {'horse': 5, 'dog': 4, 'ship': 2, 'frog': 1}


def test_every_picture_is_there_and_small():
    pictures = re.findall(r'!\[.*?\]\(\.\./(.*?)\)', TEXT)
    assert len(pictures) == 7 and all((ROOT / picture).exists() for picture in pictures)
    for name in NETS:
        for shown in ('weights', 'confusion', 'surest', 'confidence', 'gradients'):
            assert (FOLDER / f'{name}_{shown}.png').stat().st_size < 300_000
