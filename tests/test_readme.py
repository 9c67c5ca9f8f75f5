"""README.md and docs/ say what results/reference/ and the code say."""

import json
import re
import statistics

import numpy as np
import pytest

from benchmark import targets
from cifar10.description import CIFAR10
from conftest import ROOT
from experiments import batch_norm_report, batch_norm_runs, twins
from experiments.batch_norm_runs import load_results
from experiments.intervals import confidence_interval
from training import results

REFERENCE = ROOT / 'results' / 'reference'
DEFAULTS = {'hidden_dims': [128], 'lr': 0.1, 'batch_size': 128, 'epochs': 10, 'seed': 42}
STEMS = {'python train_mlp_numpy.py': 'mlp_numpy', 'python train_mlp_pytorch.py': 'mlp_pytorch',
         'python train_mlp_numpy.py --use_batch_norm': 'mlp_numpy_batch_norm',
         'python train_mlp_pytorch.py --use_batch_norm': 'mlp_pytorch_batch_norm'}


def read(path):
    return (ROOT / path).read_text(encoding='utf-8')


def on_one_line(text):
    return ' '.join(text.split())


def record(name):
    """A committed file of results."""
    return json.loads(read(REFERENCE / f'{name}.json'))


# The README.

README, ON_ONE_LINE = read('README.md'), on_one_line(read('README.md'))


def test_the_result_table_is_that_of_the_committed_results_of_default_runs():
    rows = re.findall(r'^\| `(python train.*)` \| (\d+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$', README, re.MULTILINE)
    assert [row[0] for row in rows] == list(STEMS)
    for command, *numbers in rows:
        run = record(STEMS[command])
        values = [run['val_accuracy'][run['best_epoch'] - 1], run['test_accuracy'], run['last_test_accuracy']]
        assert numbers == [str(run['best_epoch']), *(f'{value:.4f}' for value in values)]
        assert run['config'].items() >= DEFAULTS.items()


def test_what_is_said_of_batch_normalization_is_that_of_the_committed_study():
    gains = {}
    for run in record('batch_norm')['runs']:
        sign = 1 if run['use_batch_norm'] else -1
        gains.setdefault(tuple(run['hidden_dims']), []).append(sign * run['test_accuracy'])
    points = [200 * statistics.mean(values) for values in gains.values()]  # half of them are of either kind
    assert ON_ONE_LINE.count(f'{min(points):.1f} to {max(points):.1f} percentage points') == 2


def test_what_is_said_of_the_default_runs_is_that_of_the_committed_results():
    records = {name: record(name) for name in STEMS.values()}
    run = records['mlp_numpy']
    best, pytorch, batch_norm = (f'{records[name]["test_accuracy"]:.4f}'
                                 for name in ('mlp_numpy', 'mlp_pytorch', 'mlp_pytorch_batch_norm'))
    loss, steps = run['val_loss'][0], len(run['batch_loss']) // 10
    assert 15 < max(step for step, value in enumerate(run['batch_loss'][:steps]) if value > loss) < 25
    on_one_thread = [run['test_accuracy'] for run in record('twins')['runs']
                     if (run['seed'], run['use_batch_norm']) == (42, False)]
    elsewhere = [record(f'inspection/{name}_inspection')['accuracy'] for name in ('mlp_numpy', 'mlp_pytorch')]
    for sentence in [
            f'The last epoch of the NumPy MLP gives {run["last_test_accuracy"]:.4f}, the best one {best}.',
            f'| test accuracy {best} |', f'| test accuracy {pytorch}, with `--use_batch_norm` {batch_norm} |',
            f'The loss of an untrained network is {loss:.2f} here', f'the loss is below {loss:.2f} again',
            *('These runs used {platform}, NumPy {numpy}, PyTorch {torch} and {threads} threads.'.format(
                **{'torch': '2.13.0+cpu', **run['environment']}) for run in records.values()),
            'the table gave {:.4f} and {:.4f} on one machine, and {:.4f} and {:.4f} on another machine.'.format(
                *on_one_thread, *elsewhere),
            'downloads CIFAR-10 (at most {:.0f} MB) and keeps {:.0f} MB'.format(
                CIFAR10.archive_bytes / 1e6, CIFAR10.content_bytes / 1e6)]:
        assert sentence in ON_ONE_LINE


def test_the_example_run_is_that_of_the_committed_results():
    run = record('mlp_numpy')
    words = r'epoch +(\d+)/10  train loss ([\d.]+)  train accuracy ([\d.]+)  validation accuracy ([\d.]+)'
    shown = re.findall(words, README)
    assert len(shown) >= 3
    for epoch, *numbers in shown:
        values = [run[key][int(epoch) - 1] for key in ('train_loss', 'train_accuracy', 'val_accuracy')]
        assert numbers == [f'{value:.4f}' for value in values]
    assert f'\n    {results.reference_line("mlp_numpy", run["dataset"], run["environment"]["threads"])}\n' in README
    best, last = run['best_epoch'], run['last_test_accuracy']
    assert (f'\n    best epoch {best} of 10: validation accuracy {run["val_accuracy"][best - 1]:.4f}, '
            f'test accuracy {run["test_accuracy"]:.4f} (last epoch: test accuracy {last:.4f})\n') in README


def test_the_speed_is_that_of_the_committed_benchmark():
    seconds = record('benchmark')['epochs']['seconds']
    speed = read('docs/speed.md').partition('![')[0]  # its first lines
    floor, _, *ours, course = seconds['128']
    for net in ('128', '512 256 128'):
        ratios = [statistics.median(targets.ratios(seconds, net, name, floor)) for name in ours[:2]]
        assert f'| {net} | {ratios[0]:.2f} × | {ratios[1]:.2f} × |' in README
        assert f'takes {ratios[0]:.2f}' in speed and f'{ratios[1]:.2f} times' in speed, net
    slower = [statistics.median(targets.ratios(seconds, '128', course, name)) for name in ours[:2]]
    assert ('takes {:.1f} times as long as with the NumPy MLP, and {:.1f} times as long as with the PyTorch MLP'
            .format(*slower)) in ON_ONE_LINE


def test_every_script_is_described_and_what_a_page_names_or_links_to_is_there():
    for path in ROOT.glob('*.py'):
        assert f'`{path.name}`' in README, path.name
    files = list((ROOT / 'tests').glob('*.py'))
    names = {path.name for path in files}.union(*(re.findall(r'^def (test_\w+)', read(path), re.M) for path in files))
    for page in [ROOT / 'README.md', *(ROOT / 'docs').glob('*.md')]:
        named = re.findall(r'`(test_\w+)|`tests/(\w+\.py)', read(page))
        assert {name for pair in named for name in pair if name} <= names, page.name
        for path in re.findall(r'\]\((?!https?:)([^)#]+)', read(page)):
            assert (page.parent / path).exists(), (page.name, path)


def test_the_autograder_example_runs():
    example = re.search(r'```python\n(.*?)```', README, re.DOTALL)[1]
    exec(example[:example.index('\nmodel, val_accuracies')], {})  # up to the training on the real data


# docs/twins.md

def test_the_table_of_the_twins_is_that_of_the_committed_results():
    page, pairs = read('docs/twins.md'), twins.compare(record('twins')['runs'])
    assert '\n'.join(twins.table(pairs)) in page
    for pair in pairs:  # what the page says below the table
        ours, theirs = (np.mean(run['first_epoch_loss']) for run in pair)
        assert abs(ours - theirs) / theirs < 1e-3
    close = [abs(ours['test_accuracy'] - theirs['test_accuracy']) <= 0.01 for ours, theirs in pairs]
    assert f'within one percentage point in {sum(close)} of the {len(pairs)} pairs' in on_one_line(page)
    for use_batch_norm, words in ((False, 'without batch normalization'), (True, 'with it')):
        reached = np.array([[run['test_accuracy'] for run in pair] for pair in pairs
                            if pair[0]['use_batch_norm'] == use_batch_norm])
        apart = np.abs(reached[:, None] - reached)[np.triu_indices(len(reached), 1)].mean()
        same = np.abs(np.subtract(*reached.T)).mean()
        assert (f'differ by {same:.4f} on average for the same seed, and by {apart:.4f} for two seeds of one version'
                ) in on_one_line(page)
        assert f'{np.corrcoef(reached.T)[0, 1]:.2f}' in page
        assert f'from {reached.min():.4f} to {reached.max():.4f} {words}' in ON_ONE_LINE


# docs/batch_normalization.md: each number, and the † of a difference, is in a table that its paragraph links to.

STUDY = read('docs/batch_normalization.md')
NUMBER = re.compile(r'[+−]?\d+\.\d+ \[[^]]*\]†?|[+−]?\d+\.\d+')
NOT_RESULTS = re.compile(r'`[^`]*`|\(\.\.[^)]*\)|learning rate 0\.1|[Aa]t 0\.\d+|rate of 0\.1|'
                         r'best rates are 0\.\d+( or |, )0\.\d+|Q2\.2')
# The paragraphs and list items; a table belongs to the paragraph before it.
PARAGRAPHS = re.split(r'\n\n+|\n(?=\d\. )', STUDY.partition('## The literature')[0].replace('\n\n|', ' |'))
SHOWN = [(number, paragraph) for paragraph in map(on_one_line, PARAGRAPHS)
         for number in NUMBER.findall(NOT_RESULTS.sub('', paragraph))]


def tables():
    """Number → text of the table of the committed study, without bold."""
    parts = re.split(r'^## Table (\d+)$', read(REFERENCE / 'batch_norm.md').replace('**', ''), flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2]))


@pytest.mark.parametrize('number, paragraph', SHOWN, ids=[number for number, _ in SHOWN])
def test_a_number_on_the_page_is_in_a_table_that_its_paragraph_links_to(number, paragraph):
    linked = [tables()[name] for name in re.findall(r'#table-(\d+)', paragraph)]
    assert any(re.search(rf'(?<![\d.]){re.escape(number)}(?![\d†])', table) for table in linked), paragraph


def test_the_page_shows_numbers_and_links_to_tables_that_are_there():
    assert len(SHOWN) >= 60
    assert set(re.findall(r'#table-(\d+)', STUDY)) <= tables().keys()


def test_the_committed_study_is_that_of_the_assignment_has_whole_seeds_and_gives_the_committed_tables():
    study = load_results(REFERENCE / 'batch_norm.json', batch_norm_runs.SETTINGS)
    for run in batch_norm_runs.planned_runs({run['seed'] for run in study['runs']}, batch_norm_runs.SETTINGS):
        assert any(run.items() <= finished.items() for finished in study['runs']), run
    assert all('environment' in run or 'diverged' in run for kind in batch_norm_runs.KINDS for run in study[kind])
    assert study['config'].items() >= batch_norm_runs.SETTINGS.items()
    assert read(REFERENCE / 'batch_norm.md') == batch_norm_report.markdown(study)


# docs/what_it_learned.md

LEARNED = on_one_line(read('docs/what_it_learned.md'))
SEEDS = {42: '', **{seed: f'_seed{seed}' for seed in (43, 44, 45, 46)}}
NETWORKS = {name: record(f'inspection/{name}_inspection') for name in (
    'mlp_numpy', 'mlp_pytorch', 'mlp_numpy_batch_norm', 'mlp_pytorch_batch_norm')}
NUMPY, NUMPY_BATCH_NORM = NETWORKS['mlp_numpy'], NETWORKS['mlp_numpy_batch_norm']
PAIRS = [[record(f'inspection/mlp_numpy{batch_norm}{seed}_inspection') for batch_norm in ('', '_batch_norm')]
         for seed in SEEDS.values()]
CLASSES = NUMPY['classes']
CAT, DOG = CLASSES.index('cat'), CLASSES.index('dog')
VEHICLES = [name in ('airplane', 'automobile', 'ship', 'truck') for name in CLASSES]


def errors(network):
    return np.array(network['confusion']) - np.diag(np.diag(network['confusion']))


def within_kind(network):
    """The share of the errors that stay within the vehicles or within the animals."""
    return errors(network)[np.equal.outer(VEHICLES, VEHICLES)].sum() / errors(network).sum()


def called_cat(network):
    return np.sum(network['confusion'], axis=0)[CAT]


def calibration_error(network):
    return '{:.4f} [{:.4f}, {:.4f}]'.format(network['reliability']['ece'], *network['ece_interval'])


def row(name, network):
    best, worst = (f'{CLASSES[network["f1"].index(f1)]} {f1:.4f}' for f1 in (max(network['f1']), min(network['f1'])))
    accuracy = '{:.4f} [{:.4f}, {:.4f}]'.format(network['accuracy'], *network['accuracy_interval'])
    confidence = f'{network["mean_confidence"]:.4f}'
    return f'| `{name}` | {accuracy} | {confidence} | {calibration_error(network)} | {best} | {worst} |'


def change(values):
    return '{:+.3f} [{:+.3f}, {:+.3f}]'.format(statistics.mean(values), *confidence_interval(values)).replace('-', '−')


@pytest.mark.parametrize('sentence', [
    *map(row, NETWORKS, NETWORKS.values()),
    *('| {} | {:.4f} | {:.4f} | {} | {} |'.format(seed, a['accuracy'], b['accuracy'], *map(calibration_error, (a, b)))
      for seed, (a, b) in zip(SEEDS, PAIRS)),
    f'by {change([b["reliability"]["ece"] - a["reliability"]["ece"] for a, b in PAIRS])}',
    f'in {len(NUMPY["reliability"]["count"])} bins of equal width',
    'The first 16 of the 128 units make up {:.2f} of all contributions, the first unit {:.2f}'.format(
        sum(NUMPY['units']['share_of_contributions'][:16]), NUMPY['units']['share_of_contributions'][0]),
    'The first 16 units make up {:.2f}'.format(sum(NUMPY_BATCH_NORM['units']['share_of_contributions'][:16])),
    'is first in the figure above is at position {} here'.format(
        NUMPY_BATCH_NORM['units']['index'].index(NUMPY['units']['index'][0]) + 1),
    f'the share of such errors is {within_kind(NUMPY):.2f} for the NumPy network and at most '
    f'{max(map(within_kind, NETWORKS.values())):.2f} for the other three',
    f'at random, it would be {(6 * 5 + 4 * 3) / 90:.2f}',
    f'predicts cat for only {called_cat(NUMPY)} of the 10,000 images',
    f'it predicts dog for {NUMPY["confusion"][CAT][DOG]} of them and cat for {NUMPY["confusion"][CAT][CAT]}',
    'predict cat for {}, {:,} and {:,} images'.format(*map(called_cat, list(NETWORKS.values())[1:])),
    *('has an accuracy of {accuracy[9]:.3f} at a mean confidence of {confidence[9]:.3f}'.format(**each['reliability'])
      for each in (NUMPY, NUMPY_BATCH_NORM)),
])
def test_a_number_on_the_page_is_that_of_the_records(sentence):
    assert sentence in LEARNED


def test_the_records_are_of_default_runs_with_these_seeds_and_test_accuracies():
    runs = [(seed, use_batch_norm) for seed in SEEDS for use_batch_norm in (False, True)]
    pytorch = [NETWORKS['mlp_pytorch'], NETWORKS['mlp_pytorch_batch_norm']]
    for (seed, use_batch_norm), network in zip(runs[:2] + runs, pytorch + sum(PAIRS, []), strict=True):
        settings = {**DEFAULTS, 'use_batch_norm': use_batch_norm, 'seed': seed, 'threads': None}
        assert network['training']['settings'].items() >= settings.items()
        assert network['accuracy'] == pytest.approx(network['training']['test_accuracy'])


def test_statements_about_all_networks_hold():
    for network in (*NETWORKS.values(), *sum(PAIRS, [])):
        assert network['mean_confidence'] > network['accuracy']
    for without, with_batch_norm in PAIRS:
        assert with_batch_norm['ece_interval'][1] < without['ece_interval'][0]
    for network in NETWORKS.values():
        assert CLASSES[np.argmax(network['f1'])] == 'ship' and CLASSES[np.argmin(network['f1'])] == 'cat'
        for name, other in [('automobile', 'truck'), ('truck', 'automobile'), ('airplane', 'ship')]:
            assert CLASSES[errors(network)[CLASSES.index(name)].argmax()] == other
        most_confident = {CLASSES[entry['label']]: entry['index'] for entry in network['gradients']}
        assert (f'the same most confident frog and horse, test images {most_confident["frog"]} and '
                f'{most_confident["horse"]}') in LEARNED
        entry, = (entry for entry in network['most_confident_errors'] if entry['index'] == 836)
        assert (CLASSES[entry['label']], CLASSES[entry['predicted']]) == ('automobile', 'truck')
    assert 'automobile (test image 836)' in LEARNED
    assert 'are five horses, three dogs, two frogs and two ships' in LEARNED
    right = [CLASSES[entry['label']] for entry in NUMPY['most_confident_correct']]
    assert {name: right.count(name) for name in right} == {'horse': 5, 'dog': 3, 'frog': 2, 'ship': 2}


def test_every_figure_is_small():
    assert len(re.findall(r'!\[.*?\]\(', LEARNED)) == 7
    assert max(path.stat().st_size for path in (REFERENCE / 'inspection').glob('*.png')) < 300_000
