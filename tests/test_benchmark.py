"""The benchmark measures what it says, and counts a target as met only where it is."""

import concurrent.futures
import contextlib
import cProfile
import itertools
import json
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

import cifar10_utils
import train_mlp_numpy
from benchmark import busy, contenders, epochs, measure, processes, report, scaling, startup, targets
from conftest import ROOT

NUMPY, PYTORCH = contenders.OURS
BASELINE, TORCH_BASELINE = contenders.BASELINES
COMMITTED = json.loads((ROOT / 'results' / 'reference' / 'benchmark.json').read_text())


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(contenders, 'PAUSE_SECONDS', 0)


def test_the_baseline_multiplies_what_a_training_step_multiplies():
    shapes = []

    class Recorded(np.ndarray):
        def __matmul__(self, other):
            shapes.append((self.shape, other.shape))
            return super().__matmul__(other)

    step = contenders.products_of(lambda *shape: np.zeros(shape).view(Recorded), np.transpose)(32, [16, 8])
    step()
    assert shapes == [((32, 3072), (3072, 16)), ((32, 16), (16, 8)), ((32, 8), (8, 10)),  # forward
                      ((10, 32), (32, 8)), ((32, 10), (10, 8)),  # gradients of the weights and of the input
                      ((8, 32), (32, 16)), ((32, 8), (8, 16)), ((16, 32), (32, 3072))]


def test_the_courses_way_makes_the_same_images(expect_trainable):
    dataset = cifar10_utils.get_cifar10(expect_trainable)
    image, label = contenders.PerSample(dataset['train'])[7]
    np.testing.assert_allclose(image, contenders.Data.of(dataset).images[7], rtol=1e-5, atol=1e-6)
    assert label == dataset['train'].labels[7]


class CountedProducts(TorchDispatchMode):
    """Counts the samples that PyTorch multiplies with the weights of the first layer, there and back."""

    samples = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default):
            x, weight = args[-2:]
            self.samples += len(x) if x.shape[1] == 3072 else weight.shape[0] if weight.shape[1] == 3072 else 0
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize('use_batch_norm', [False, True])
def test_every_contender_trains_an_epoch(expect_trainable, monkeypatch, use_batch_norm):
    # 1,400 images in batches of 200: seven steps, each with two products that have the size of the images.
    data, numpy_samples = contenders.Data.of(cifar10_utils.get_cifar10(expect_trainable)), []
    real = train_mlp_numpy.CrossEntropyModule.forward
    monkeypatch.setattr(train_mlp_numpy.CrossEntropyModule, 'forward',
                        lambda self, x, y: numpy_samples.append(len(x)) or real(self, x, y))
    for name, prepare in contenders.contenders().items():
        epoch = prepare(data, [8], use_batch_norm, 200)
        if epoch is None:
            assert use_batch_norm and name.startswith('scikit-learn')
            continue
        with CountedProducts() as counted:
            assert contenders.seconds_of(epoch) > 0
        if 'PyTorch' in name or name == contenders.COURSE:
            assert counted.samples == 2 * 1400, name
    assert numpy_samples == [200] * 7


def test_a_run_has_the_seconds_of_its_parts_and_its_memory_in_millions_of_bytes(monkeypatch):
    def run(command, **_):
        profile = cProfile.Profile()
        profile.runcall(part)
        profile.dump_stats(command[command.index('-o') + 1])
        return SimpleNamespace(stdout=b'9.5 500000\n')

    def part():
        sum(range(1000))

    monkeypatch.setattr(startup.sys, 'platform', 'linux')  # it counts in units of 1024 bytes
    monkeypatch.setattr(startup.subprocess, 'run', run)
    monkeypatch.setattr(startup, 'PARTS', {'sum': part})
    seconds, memory = startup.measure_run('data')
    assert 0 < seconds['sum'] < 1 and (seconds['whole command'], memory) == (9.5, 512)


def test_the_evaluations_of_a_run_are_compared_with_its_training(expect_trainable, monkeypatch):
    seconds = itertools.cycle([4.0, 2.0, 8.0])  # of an epoch, of a validation, of the test
    monkeypatch.setattr(contenders, 'seconds_of', lambda part: next(seconds))
    ratios = epochs.measure_evaluation(cifar10_utils.get_cifar10(expect_trainable), 2, lambda: None)
    assert ratios == {'NumPy': [0.7, 0.7], 'PyTorch': [0.7, 0.7]}


def test_the_courses_way_is_given_for_a_whole_epoch(expect_trainable, monkeypatch):
    # A second for each image that goes through PyTorch, so that both have an epoch's images, up to the last batch.
    samples = []
    monkeypatch.setattr(contenders, '_torch_step', lambda model, optimizer, images, labels: samples.append(len(labels)))
    monkeypatch.setattr(contenders, 'seconds_of', lambda epoch: (samples.clear(), epoch(), sum(samples))[-1])
    monkeypatch.setattr(contenders, 'OPTIONAL', {})
    monkeypatch.setattr(epochs, 'NETWORKS', [[4]])
    monkeypatch.setattr(epochs, 'BATCH_SIZE', 10)
    seconds = epochs.measure(cifar10_utils.get_cifar10(expect_trainable), 1, lambda: None)['4']
    assert seconds['PyTorch, plain'] == [1400]
    assert seconds[contenders.COURSE] == [pytest.approx(1400, rel=0.1)]


def record_with(ours):
    seconds = {**dict.fromkeys([BASELINE, TORCH_BASELINE, PYTORCH, 'PyTorch, plain'], [1.0] * 3), NUMPY: ours,
               contenders.COURSE: [20.0] * 3}
    return {'epochs': {'seconds': {net: seconds for net in ('128', '512 256 128')}},
            'evaluation': {'ratios': {'NumPy': [0.05], 'PyTorch': [0.2]}},
            'start': {'seconds': [0.5], 'runs': [{'training epochs': 4, 'whole command': 6.4}], 'peak_memory': 800}}


def test_a_target_is_met_only_where_the_median_ratio_is_within_the_limit():
    rows = {row['target']: row for row in targets.check(record_with([1.2, 9.0, 1.3]))}
    row = rows[f'{NUMPY} / {BASELINE}, 128']
    assert (row['median'], row['smallest'], row['largest'], row['met']) == (1.3, 1.2, 9.0, False)
    assert rows[f'{PYTORCH} / {BASELINE}, 128']['met'] and rows['NumPy: evaluation / training']['met']
    assert not rows['PyTorch: evaluation / training']['met']
    assert not rows['peak memory of a default run of train_mlp_numpy.py, MB']['met']
    assert rows['whole command / its training epochs, train_mlp_numpy.py']['median'] == 1.6
    assert next(row['met'] for row in targets.check(record_with([1.2, 9.0, 1.2])) if NUMPY in row['target'])


PARTS = ['epochs', 'evaluation', 'profile', 'start', 'scaling', 'busy']


@pytest.fixture
def benchmark(monkeypatch, expect_trainable, tmp_path):
    """benchmark(*flags) → the record in tmp_path / 'new', of networks that take no time, and without processes."""
    monkeypatch.setattr(epochs, 'NETWORKS', [[4], [5, 4, 3]])
    monkeypatch.setattr(targets, 'NETWORKS', epochs.NETWORKS)
    monkeypatch.setattr(contenders, 'OPTIONAL', {})
    monkeypatch.setattr(scaling, 'measure', lambda advance: COMMITTED['scaling']['axes'])
    monkeypatch.setattr(busy, 'measure', lambda rounds, advance: COMMITTED['busy']['seconds'])

    def run(*flags):
        monkeypatch.setattr('sys.argv', ['benchmark', '--rounds', '1', '--data_dir', str(tmp_path / 'none'),
                                         '--results_dir', str(tmp_path / 'new'), *flags])
        measure.main()
        return json.loads((tmp_path / 'new' / 'benchmark.json').read_text()) if '--quick' not in flags else None

    return run


def test_the_whole_measures_and_draws(tmp_path, capsys, benchmark):
    record = benchmark()
    output, errors = capsys.readouterr()
    assert list(record) == [part for part in PARTS if part != 'start'], 'which trains on the real data'
    assert 'skipping start: it needs CIFAR-10' in errors and not (tmp_path / 'none').exists()
    assert record['epochs']['data'] == 'generated images of the same shape'
    assert list(record['epochs']['seconds']) == ['4', '4, batch normalization', '5 4 3', '5 4 3, batch normalization']
    assert list(record['profile']['shares']) == ['NumPy, 4', 'NumPy, 5 4 3', 'PyTorch, 4', 'PyTorch, 5 4 3']
    for shares in record['profile']['shares'].values():
        assert sum(shares.values()) == pytest.approx(1) and min(shares.values()) > 0
    for part in record.values():
        assert part['machine'].keys() >= {'processor', 'processors', 'numpy', 'torch', 'platform'}
    for name in ('benchmark.png', 'benchmark_scaling.png'):
        with Image.open(tmp_path / 'new' / name) as image:
            image.verify()
    assert ' targets are met.' in ' '.join(output.split())
    assert ' targets are met.\n' in (tmp_path / 'new' / 'benchmark.md').read_text()


def test_a_part_is_measured_alone_and_kept_beside_the_others(tmp_path, monkeypatch, capsys, benchmark):
    record, path = benchmark('--parts', 'busy'), tmp_path / 'new' / 'benchmark.json'
    assert list(record) == ['busy']
    kept = {**record['busy'], 'rounds': 77}
    path.write_text(json.dumps({'of another version': 3, 'busy': kept}))
    monkeypatch.setattr(epochs, 'measure_evaluation', lambda *_: signal.raise_signal(signal.SIGINT))
    with pytest.raises(SystemExit) as ended:
        benchmark('--parts', 'scaling', 'evaluation', 'epochs')
    assert ended.value.code == 130 and 'finished parts are in' in capsys.readouterr().err
    record = json.loads(path.read_text())
    assert list(record) == ['busy', 'of another version', 'scaling'] and record['busy'] == kept


@pytest.mark.parametrize('content', [
    '{', '[1]', '{"epochs": 1}', '{"busy": {"machine": {}}}', '{"scaling": {"axes": {}, "machine": {}}}',
    '{"evaluation": {"ratios": {}}}', '{"more": 1e999}'])
def test_a_file_that_holds_no_benchmark_stays(tmp_path, capsys, benchmark, content):
    path = tmp_path / 'new' / 'benchmark.json'
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(SystemExit) as ended:
        benchmark('--parts', 'busy')
    assert ended.value.code == 1 and 'is not a benchmark' in capsys.readouterr().err and path.read_text() == content


def test_the_quick_setting_gives_the_ratios_and_writes_nothing(tmp_path, monkeypatch, capsys, benchmark):
    measured = []
    monkeypatch.setattr(contenders, 'seconds_of', lambda epoch: measured.append(epoch) or 2.0)
    benchmark('--quick')
    assert 'takes 1.00 × (NumPy MLP)' in ' '.join(capsys.readouterr().out.split())
    assert len(measured) == 2 * measure.QUICK_ROUNDS * len(measure.QUICK) and not list(tmp_path.iterdir())


def test_the_busy_part_measures_each_way_beside_other_work_and_the_way_that_the_scripts_choose(monkeypatch):
    def started(threads, **environment):
        """In place of a process: its answer says what it was started with."""
        def submit(function, contender):
            assert contender in contenders.contenders() and function is busy.seconds_per_epoch
            return SimpleNamespace(result=lambda: 10 * threads + len(environment))

        return contextlib.nullcontext(SimpleNamespace(submit=submit))

    working, advanced = [], []
    monkeypatch.setattr(busy, 'new_process', started)
    monkeypatch.setattr(busy, 'busy_processes', lambda number: contextlib.nullcontext(working.append(number)))
    monkeypatch.setattr(busy.threads, 'busy_processors', lambda: working[-1])
    seconds = busy.measure(2, lambda: advanced.append(1))
    assert working == [0, 1, 2] and len(advanced) == busy.number_of_steps(2)
    assert seconds['NumPy MLP, 1 thread'] == {'0': [10, 10], '1': [10, 10], '2': [10, 10]}
    assert seconds['PyTorch MLP, 2 threads, short spin-waiting (`GOMP_SPINCOUNT=1000`)']['1'] == [21, 21]
    for name in busy.BY_DEFAULT:
        assert seconds[name] == {'0': [20, 20], '1': [10, 10], '2': [10, 10]}


def test_a_process_to_measure_in_has_its_own_environment(monkeypatch):
    before, given = dict(os.environ), {}
    # An executor starts its process for the first task.
    started = SimpleNamespace(submit=lambda _: SimpleNamespace(result=lambda: given.update(os.environ)))
    monkeypatch.setattr(concurrent.futures, 'ProcessPoolExecutor', lambda *_: started)
    assert processes.new_process(1, GOMP_SPINCOUNT='77') is started
    assert (given['GOMP_SPINCOUNT'], given['OPENBLAS_NUM_THREADS'], dict(os.environ)) == ('77', '1', before)


def test_other_work_works_until_the_measurement_ends(monkeypatch):
    started, popen = [], processes.subprocess.Popen
    monkeypatch.setattr(processes.subprocess, 'Popen', lambda *a, **k: started.append(popen(*a, **k)) or started[-1])
    with processes.busy_processes(2):
        assert len(started) == 2 and all(process.poll() is None for process in started)
    assert all(process.poll() is not None for process in started)


def test_a_point_of_the_scaling_is_given_for_a_whole_epoch(monkeypatch, expect_trainable):
    monkeypatch.setattr(scaling, 'IMAGES', 64)
    monkeypatch.setattr(contenders, 'seconds_of', lambda epoch: 2.0)  # whatever it takes
    seconds = scaling.measure_point('batch size', 32)
    assert list(seconds) == [BASELINE, TORCH_BASELINE, NUMPY, PYTORCH]
    assert set(seconds.values()) == {2.0 * 1400 / 64}


def test_the_page_shows_the_committed_table_of_the_epochs():
    page = (ROOT / 'docs' / 'speed.md').read_text(encoding='utf-8')
    assert '\n'.join(report.text(COMMITTED)).partition('\n\nWhere the time')[0] in page
    assert list(COMMITTED) == PARTS and COMMITTED['epochs']['data'] == 'CIFAR-10'
