"""What the README says is what results/ and the code say."""

import json
import re
import statistics

import numpy as np

from benchmark import targets
from cifar10.description import CIFAR10
from experiments import twins
from conftest import ROOT
from training import results

README = (ROOT / 'README.md').read_text(encoding='utf-8')
SPEED = (ROOT / 'docs' / 'speed.md').read_text(encoding='utf-8').partition('![')[0]  # its first lines
STEMS = {
    'python train_mlp_numpy.py': 'mlp_numpy',
    'python train_mlp_pytorch.py': 'mlp_pytorch',
    'python train_mlp_numpy.py --use_batch_norm': 'mlp_numpy_batch_norm',
    'python train_mlp_pytorch.py --use_batch_norm': 'mlp_pytorch_batch_norm',
}


def test_the_result_table_is_that_of_the_committed_results():
    rows = re.findall(r'^\| `(python train.*)` \| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$', README, re.MULTILINE)
    assert [row[0] for row in rows] == list(STEMS)
    for command, *numbers in rows:
        record = json.loads((ROOT / 'results' / 'reference' / f'{STEMS[command]}.json').read_text())
        best = record['best_epoch']
        values = [record['val_accuracy'][best - 1], record['test_accuracy'], record['last_test_accuracy']]
        assert numbers == [str(best), *(f'{value:.4f}' for value in values)]


def test_the_table_of_the_twins_is_that_of_the_committed_results():
    page = (ROOT / 'docs' / 'twins.md').read_text(encoding='utf-8')
    pairs = twins.compare(json.loads((ROOT / 'results' / 'reference' / 'twins.json').read_text())['runs'])
    assert '\n'.join(twins.table(pairs)) in page
    for pair in pairs:  # what the page says below the table
        ours, theirs = (np.mean(run['first_epoch_loss']) for run in pair)
        assert abs(ours - theirs) / theirs < 1e-3
    close = [abs(ours['test_accuracy'] - theirs['test_accuracy']) <= 0.01 for ours, theirs in pairs]
    assert f'within one percentage point in {sum(close)} of the {len(pairs)} pairs' in ' '.join(page.split())
    words_of = 'differ by {:.4f} on average for the same seed, and by {:.4f} for two seeds of one version'
    for use_batch_norm in (False, True):
        reached = np.array([[run['test_accuracy'] for run in pair] for pair in pairs
                            if pair[0]['use_batch_norm'] == use_batch_norm])
        apart = np.abs(reached[:, None] - reached)[np.triu_indices(len(reached), 1)].mean()
        words = words_of.format(np.abs(np.subtract(*reached.T)).mean(), apart)
        assert words in ' '.join(page.split())
        assert f'{np.corrcoef(reached.T)[0, 1]:.2f}' in page
    for use_batch_norm, words in ((False, 'without batch normalization'), (True, 'with it')):
        reached = [run['test_accuracy'] for pair in pairs for run in pair if run['use_batch_norm'] == use_batch_norm]
        assert f'from {min(reached):.4f} to {max(reached):.4f} {words}' in ' '.join(README.split())


def test_what_is_said_of_batch_normalization_is_that_of_the_committed_study():
    runs = json.loads((ROOT / 'results' / 'reference' / 'batch_norm.json').read_text())['runs']
    gains = {}
    for run in runs:
        sign = 1 if run['use_batch_norm'] else -1
        gains.setdefault(tuple(run['hidden_dims']), []).append(sign * run['test_accuracy'])
    points = [100 * sum(values) / (len(values) / 2) for values in gains.values()]
    assert ' '.join(README.split()).count(f'{min(points):.1f} to {max(points):.1f} percentage points') == 2


def test_what_is_said_of_the_default_runs_is_that_of_the_committed_results():
    records = {name: json.loads((ROOT / 'results' / 'reference' / f'{name}.json').read_text())
               for name in [*STEMS.values(), 'twins']}
    text, record = ' '.join(README.split()), records['mlp_numpy']
    best, pytorch, batch_norm = (f'{records[name]["test_accuracy"]:.4f}'
                                 for name in ('mlp_numpy', 'mlp_pytorch', 'mlp_pytorch_batch_norm'))
    assert f'The last epoch of the NumPy MLP gives {record["last_test_accuracy"]:.4f}, the best one {best}.' in text
    assert f'| test accuracy {best} |' in text
    assert f'| test accuracy {pytorch}, with `--use_batch_norm` {batch_norm} |' in text
    loss, steps = record['val_loss'][0], len(record['batch_loss']) // 10
    assert f'The loss of an untrained network is {loss:.2f} here' in text and f'the loss is below {loss:.2f} again' in text
    assert 15 < max(step for step, value in enumerate(record['batch_loss'][:steps]) if value > loss) < 25
    for found in (records[name]['environment'] for name in STEMS.values()):
        assert (f'These runs used {found["platform"]}, NumPy {found["numpy"]}, PyTorch {found.get("torch", "2.13.0+cpu")} and '
                f'{found["threads"]} threads.') in text
    on_one_thread = [run['test_accuracy'] for run in records['twins']['runs']
                     if run['seed'] == 42 and not run['use_batch_norm']]
    elsewhere = [json.loads((ROOT / 'results' / 'reference' / 'inspection' / f'{name}_inspection.json').read_text())['accuracy']
                 for name in ('mlp_numpy', 'mlp_pytorch')]
    assert ('the table gave {:.4f} and {:.4f} on one machine, and {:.4f} and {:.4f} on another machine.'
            .format(*on_one_thread, *elsewhere)) in text
    assert (f'downloads CIFAR-10 (at most {CIFAR10.archive_bytes / 1e6:.0f} MB) and keeps '
            f'{CIFAR10.content_bytes / 1e6:.0f} MB') in text


def test_the_example_run_is_that_of_the_committed_results():
    record = json.loads((ROOT / 'results' / 'reference' / 'mlp_numpy.json').read_text())
    shown = re.findall(r'epoch +(\d+)/10  train loss ([\d.]+)  train accuracy ([\d.]+)  validation accuracy ([\d.]+)',
                       README)
    assert len(shown) >= 3
    assert f'\n    {results.reference_line("mlp_numpy", record["environment"]["threads"])}\n' in README
    best = record['best_epoch']
    assert (f'\n    best epoch {best} of 10: validation accuracy {record["val_accuracy"][best - 1]:.4f}, test accuracy '
            f'{record["test_accuracy"]:.4f} (last epoch: test accuracy {record["last_test_accuracy"]:.4f})\n') in README
    for epoch, *numbers in shown:
        values = [record[key][int(epoch) - 1] for key in ('train_loss', 'train_accuracy', 'val_accuracy')]
        assert numbers == [f'{value:.4f}' for value in values]


def test_the_speed_is_that_of_the_committed_benchmark():
    seconds = json.loads((ROOT / 'results' / 'reference' / 'benchmark.json').read_text())['epochs']['seconds']
    floor, _, *ours = seconds['128']
    course = list(seconds['128'])[-1]
    for net in ('128', '512 256 128'):
        ratios = [statistics.median(targets.ratios(seconds, net, name, floor)) for name in ours[:2]]
        assert f'| {net} | {ratios[0]:.2f} × | {ratios[1]:.2f} × |' in README
        assert f'takes {ratios[0]:.2f}' in SPEED and f'{ratios[1]:.2f} times' in SPEED, net
    slower = [statistics.median(targets.ratios(seconds, '128', course, name)) for name in ours[:2]]
    assert (f'takes {slower[0]:.1f} times as long as with the NumPy MLP, and {slower[1]:.1f} times as long as with the PyTorch '
            'MLP') in ' '.join(README.split())


def test_the_committed_results_ran_with_default_settings():
    for stem in STEMS.values():
        config = json.loads((ROOT / 'results' / 'reference' / f'{stem}.json').read_text())['config']
        assert config.items() >= {'hidden_dims': [128], 'lr': 0.1, 'batch_size': 128, 'epochs': 10, 'seed': 42}.items()


def test_every_file_is_described_and_every_picture_is_there():
    for path in ROOT.glob('*.py'):
        assert f'`{path.name}`' in README, path.name
    for picture in re.findall(r'!\[.*?\]\((.*?)\)', README):
        assert (ROOT / picture).exists(), picture


def test_the_tests_that_the_pages_name_are_there():
    files = list((ROOT / 'tests').glob('*.py'))
    names = {path.name for path in files} | set(re.findall(
        r'^def (test_\w+)', '\n'.join(path.read_text(encoding='utf-8') for path in files), re.MULTILINE))
    for page in [ROOT / 'README.md', *(ROOT / 'docs').glob('*.md')]:
        named = re.findall(r'`(test_\w+)|`tests/(\w+\.py)', page.read_text(encoding='utf-8'))
        assert {name for pair in named for name in pair if name} <= names, page.name


def test_the_autograder_example_runs():
    example = re.search(r'```python\n(.*?)```', README, re.DOTALL)[1]
    exec(example[:example.index('\nmodel, val_accuracies')], {})  # up to the training on the real data
