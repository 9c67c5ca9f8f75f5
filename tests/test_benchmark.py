"""The benchmark measures what it says, and counts a target as met only where it is."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

import cifar10_utils
import train_mlp_numpy
from benchmark import contenders, measure, report, scaling
from conftest import ROOT

NUMPY, PYTORCH = contenders.OURS
FLOOR, TORCH_FLOOR = contenders.FLOORS


@pytest.fixture(autouse=True)
def hurried(monkeypatch):
    monkeypatch.setattr(contenders, 'PAUSE_SECONDS', 0)


def test_the_floor_multiplies_what_a_training_step_multiplies():
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
    data = contenders.Data.of(cifar10_utils.get_cifar10(expect_trainable))
    numpy_samples = []
    real = train_mlp_numpy.CrossEntropyModule.forward
    monkeypatch.setattr(train_mlp_numpy.CrossEntropyModule, 'forward',
                        lambda self, x, y: numpy_samples.append(2 * len(x)) or real(self, x, y))
    for name, prepare in contenders.contenders().items():
        epoch = prepare(data, [8], use_batch_norm, 200)
        if epoch is None:
            assert name.startswith('scikit-learn') and use_batch_norm
            continue
        numpy_samples.clear()
        with CountedProducts() as counted:
            epoch()
        if 'PyTorch' in name or name == contenders.COURSE:
            assert counted.samples == 2 * 1400, name
        elif name == NUMPY:
            assert sum(numpy_samples) == 2 * 1400


def test_the_seconds_of_an_epoch_are_those_that_it_takes(monkeypatch):
    clock = iter([10.0, 12.5])
    monkeypatch.setattr(contenders.time, 'perf_counter', lambda: next(clock))
    assert contenders.seconds_of(lambda: None) == 2.5


def test_the_courses_way_is_given_for_a_whole_epoch(expect_trainable, monkeypatch):
    # A second for each image that goes through PyTorch, so that both have an epoch's images, up to the last batch.
    samples = []
    monkeypatch.setattr(contenders, '_torch_step', lambda model, optimizer, images, labels: samples.append(len(labels)))
    monkeypatch.setattr(contenders, 'seconds_of', lambda epoch: (samples.clear(), epoch(), sum(samples))[-1])
    monkeypatch.setattr(contenders, 'OPTIONAL', {})
    monkeypatch.setattr(measure, 'NETS', [[4]])
    monkeypatch.setattr(measure, 'BATCH_SIZE', 10)
    seconds = measure.measure_epochs(cifar10_utils.get_cifar10(expect_trainable), 1)['4']
    assert seconds['PyTorch, plain'] == [1400]
    assert seconds[contenders.COURSE] == [pytest.approx(1400, rel=0.1)]


def record_with(ours, floor):
    seconds = {net: {FLOOR: [floor] * 3, TORCH_FLOOR: [1.0] * 3, NUMPY: ours, PYTORCH: [1.0] * 3,
                     'PyTorch, plain': [1.0] * 3, contenders.COURSE: [20.0] * 3}
               for net in ('128', '512 256 128')}
    return {'seconds': seconds, 'evaluation': {'NumPy': [0.05], 'PyTorch': [0.2]}, 'start': [0.5], 'peak_memory': 800}


def test_a_target_is_met_only_where_the_median_ratio_is_within_the_limit():
    rows = {row['target']: row for row in measure.judge(record_with([1.2, 9.0, 1.3], floor=1.0))}
    row = rows[f'{NUMPY} / {FLOOR}, net 128']
    assert (row['median'], row['smallest'], row['largest'], row['met']) == (1.3, 1.2, 9.0, False)
    assert rows[f'{PYTORCH} / {FLOOR}, net 128']['met'] and rows[f'{NUMPY}: evaluation / training'.replace(
        NUMPY, 'NumPy')]['met']
    assert not rows['PyTorch: evaluation / training']['met']
    assert not rows['peak memory of a default run of train_mlp_numpy.py, MB']['met']
    assert {row['target']: row for row in measure.judge(record_with([1.2] * 3, floor=1.0))}[
        f'{NUMPY} / {FLOOR}, net 128']['met']


def test_the_script_measures_and_draws(tmp_path, monkeypatch, capsys, expect_trainable):
    committed = json.loads((ROOT / 'results' / 'reference' / 'benchmark.json').read_text())
    monkeypatch.setattr(measure, 'NETS', [[4], [5, 4, 3]])
    monkeypatch.setattr(contenders, 'OPTIONAL', {})
    monkeypatch.setattr(scaling, 'measure', lambda: committed['scaling'])
    monkeypatch.setattr('sys.argv', ['benchmark.py', '--rounds', '1', '--data_dir', str(tmp_path / 'none'),
                                     '--results_dir', str(tmp_path / 'new')])
    measure.main()
    record = json.loads((tmp_path / 'new' / 'benchmark.json').read_text())
    assert record['data'] == 'generated images of the same shape' and not (tmp_path / 'none').exists()
    assert list(record['seconds']) == ['4', '4, batch normalization', '5 4 3', '5 4 3, batch normalization']
    for shares in record['profile'].values():
        assert sum(shares.values()) == pytest.approx(1) and min(shares.values()) > 0
    for name in ('benchmark.png', 'benchmark_scaling.png'):
        with Image.open(tmp_path / 'new' / name) as image:
            image.verify()
    assert ' targets are met.' in ' '.join(capsys.readouterr().out.split())
    assert ' targets are met.\n' in (tmp_path / 'new' / 'benchmark.md').read_text()


def test_a_point_of_the_scaling_is_given_for_a_whole_epoch(monkeypatch, expect_trainable):
    monkeypatch.setattr(scaling, 'IMAGES', 64)
    monkeypatch.setattr(contenders, 'seconds_of', lambda epoch: 2.0)  # whatever it takes
    seconds = scaling.measure_point('batch size', 32)
    assert list(seconds) == [FLOOR, TORCH_FLOOR, NUMPY, PYTORCH]
    assert set(seconds.values()) == {2.0 * 1400 / 64}


def test_the_page_shows_the_committed_tables():
    record = json.loads((ROOT / 'results' / 'reference' / 'benchmark.json').read_text())
    page = (ROOT / 'docs' / 'speed.md').read_text(encoding='utf-8')
    assert '\n'.join(report.text(record)) in page
    assert record['data'] == 'CIFAR-10' and record['targets'] == measure.judge(record)
