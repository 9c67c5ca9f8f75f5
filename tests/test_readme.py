"""What the README says is what results/ and the code say."""

import json
import re

import numpy as np

from benchmark import report
from experiments import twins
import plant_faults
import test_command_line
import test_damaged_files
import test_downloads
from conftest import ROOT

README = (ROOT / 'README.md').read_text(encoding='utf-8')
STEMS = {
    'python train_mlp_numpy.py': 'mlp_numpy',
    'python train_mlp_pytorch.py': 'mlp_pytorch',
    'python train_mlp_numpy.py --use_batch_norm': 'mlp_numpy_batch_norm',
    'python train_mlp_pytorch.py --use_batch_norm': 'mlp_pytorch_batch_norm',
}


def test_the_result_table_is_that_of_the_committed_results():
    rows = re.findall(r'^\| `(python train.*)` \| (\d+) \| ([\d.]+) \| ([\d.]+) \|$', README, re.MULTILINE)
    assert [row[0] for row in rows] == list(STEMS)
    for command, *numbers in rows:
        record = json.loads((ROOT / 'results' / 'reference' / f'{STEMS[command]}.json').read_text())
        best = record['best_epoch']
        assert numbers == [str(best), f'{record["val_accuracy"][best - 1]:.4f}', f'{record["test_accuracy"]:.4f}']


def test_the_table_of_the_twins_is_that_of_the_committed_results():
    pairs = twins.compare(json.loads((ROOT / 'results' / 'reference' / 'twins.json').read_text())['runs'])
    assert '\n'.join(twins.table(pairs)) in README
    for pair in pairs:  # what the README says below the table
        ours, theirs = (np.mean(run['first_epoch_loss']) for run in pair)
        assert abs(ours - theirs) / theirs < 1e-3
    apart = [pair[0] for pair in pairs if abs(pair[0]['test_accuracy'] - pair[1]['test_accuracy']) > 0.01]
    assert [(run['seed'], run['use_batch_norm']) for run in apart] == [(42, False)]


def test_the_example_run_is_that_of_the_committed_results():
    record = json.loads((ROOT / 'results' / 'reference' / 'mlp_numpy.json').read_text())
    shown = re.findall(r'epoch +(\d+)/10  train loss ([\d.]+)  train accuracy ([\d.]+)  validation accuracy ([\d.]+)',
                       README)
    assert len(shown) >= 3
    for epoch, *numbers in shown:
        values = [record[key][int(epoch) - 1] for key in ('train_loss', 'train_accuracy', 'val_accuracy')]
        assert numbers == [f'{value:.4f}' for value in values]


def test_the_speed_is_that_of_the_committed_benchmark():
    record = json.loads((ROOT / 'results' / 'reference' / 'benchmark.json').read_text())
    assert report.summary(record) in ' '.join(README.split())


def test_the_committed_results_ran_with_default_settings():
    for stem in STEMS.values():
        config = json.loads((ROOT / 'results' / 'reference' / f'{stem}.json').read_text())['config']
        assert config.items() >= {'hidden_dims': [128], 'lr': 0.1, 'batch_size': 128, 'epochs': 10, 'seed': 42}.items()


def test_every_file_is_described_and_every_picture_is_there():
    for path in ROOT.glob('*.py'):
        assert f'`{path.name}`' in README, path.name
    for picture in re.findall(r'!\[.*?\]\((.*?)\)', README):
        assert (ROOT / picture).exists(), picture


def test_the_faults_counted_are_those_that_the_tests_inject():
    for count, tests in [(2 * len(test_downloads.FAULTS), 'addresses that misbehave'),
                         (2 * (len(test_damaged_files.BAD_BATCHES) + test_damaged_files.ATTACKS), 'damaged batches'),
                         (len(test_command_line.BAD_INVOCATIONS), 'invocations that make no sense')]:
        assert re.search(rf'^\| {tests}.*\| {count} \| {count}( |$)', README, re.MULTILINE), tests
    planted, caught, tried = map(int, re.search(r'^\| faults planted in the code.*\| (\d+) \| (\d+) of the (\d+) tried',
                                                README, re.MULTILINE).groups())
    assert plant_faults.WANTED * tried <= caught <= tried <= planted == len(plant_faults.all_faults())


def test_the_autograder_example_runs():
    example = re.search(r'```python\n(.*?)```', README, re.DOTALL)[1]
    exec(example[:example.index('\nmodel, val_accuracies')], {})  # up to the training on the real data
