"""The benchmark measures what it says, and counts a target as met only where it is."""

import json

import numpy as np
import pytest
from PIL import Image

import cifar10_utils
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


@pytest.mark.parametrize('use_batch_norm', [False, True])
def test_every_contender_trains_an_epoch(expect_trainable, use_batch_norm):
    data = contenders.Data.of(cifar10_utils.get_cifar10(expect_trainable))
    for name, prepare in contenders.contenders().items():
        epoch = prepare(data, [8], use_batch_norm, 200)
        if epoch is None:
            assert name.startswith('scikit-learn') and use_batch_norm
        else:
            assert contenders.seconds_of(epoch) > 0


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
    assert ' targets are met.\n' in capsys.readouterr().out


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
