"""python -m inspection: its rates, its gradients, its pictures of units, and what it does with image files."""

import json
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import cifar10_utils
import mlp_numpy
from cifar10.description import CIFAR10
from conftest import LINUX
from inspection import inside, metrics, report
from inspection.own_images import ImageError, read_image
from training import models

LABELS = [0, 0, 0, 1, 1, 2, 2, 2, 2, 2]
PREDICTED = [0, 0, 1, 1, 0, 2, 2, 2, 2, 0]


def test_a_confusion_matrix_counts_what_is_what_and_called_what():
    assert metrics.confusion_matrix(LABELS, PREDICTED, 4).tolist() == [[2, 1, 0, 0], [1, 1, 0, 0], [1, 0, 4, 0],
                                                                       [0, 0, 0, 0]]


def test_precision_recall_and_f1_of_a_case_counted_by_hand():
    precision, recall, f1 = metrics.precision_recall_f1(metrics.confusion_matrix(LABELS, PREDICTED, 4))
    np.testing.assert_allclose(precision, [2 / 4, 1 / 2, 4 / 4, 0])
    np.testing.assert_allclose(recall, [2 / 3, 1 / 2, 4 / 5, 0])
    np.testing.assert_allclose(f1, [4 / 7, 2 / 4, 8 / 9, 0])


def test_the_rates_are_those_of_scikit_learn():
    sklearn_metrics = pytest.importorskip('sklearn.metrics')
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(9, size=500), rng.integers(1, 10, size=500)  # no label 9, no prediction 0
    confusion = metrics.confusion_matrix(labels, predicted, 10)
    np.testing.assert_array_equal(confusion, sklearn_metrics.confusion_matrix(labels, predicted, labels=range(10)))
    expected = sklearn_metrics.precision_recall_fscore_support(labels, predicted, labels=range(10), zero_division=0)
    np.testing.assert_allclose(metrics.precision_recall_f1(confusion), expected[:3])


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32), np.uint8)


def net(hidden_dims, use_batch_norm, dtype=np.float64):
    np.random.seed(0)
    model = mlp_numpy.MLP(3072, hidden_dims, 10, use_batch_norm, dtype)
    for name, layer in models.named_layers(model):
        if name.startswith('batch_norm'):
            for array in (layer.params['weight'], layer.params['bias'], layer.running_mean):
                array[:] = np.random.normal(size=array.shape)
            layer.running_var[:] = np.random.uniform(0.5, 2, layer.running_var.shape)
    model.eval()
    return model


def saved(tmp_path, model):
    models.save(tmp_path / 'net.npz', model, {'test_accuracy': 0.5})
    return tmp_path / 'net.npz'


@pytest.mark.parametrize('hidden_dims, use_batch_norm', [([], False), ([16], False), ([16, 12], True)])
def test_the_gradient_of_a_score_with_respect_to_the_pixels_is_that_of_autograd(tmp_path, images, hidden_dims,
                                                                                use_batch_norm):
    model, classes = net(hidden_dims, use_batch_norm), [0, 3, 3, 9, 5, 1]
    found = inside.score_gradients(model, images, classes)
    twin, _ = models.load_pytorch(saved(tmp_path, model))
    pixels = torch.tensor(images / 255, requires_grad=True)
    mean, std = (torch.tensor(values, dtype=torch.float64).reshape(3, 1, 1) for values in (CIFAR10.mean, CIFAR10.std))
    twin((pixels - mean) / std)[range(6), classes].sum().backward()
    expected = pixels.grad.numpy()
    assert found.shape == expected.shape and found.dtype == np.float64
    assert np.abs(found - expected).max() <= 1e-9 * np.abs(expected).max()


def test_in_training_mode_the_samples_mix_and_the_gradient_is_refused(images):
    model = net([4], True)
    model.train()
    with pytest.raises(ValueError, match=r'^the model is in training mode: call its eval\(\) first$'):
        inside.score_gradients(model, images, [0] * 6)


@pytest.mark.parametrize('use_batch_norm', [False, True])
def test_a_unit_is_pictured_by_what_each_pixel_adds_to_its_input(images, use_batch_norm):
    model = net([5], use_batch_norm)
    (picture,) = inside.unit_pictures(model, np.array([3]))
    layers = model.layers[:inside.first_hidden(model) - 1]

    def unit_input(x):
        for layer in layers:
            x = layer.forward(x)
        return x[0, 3]

    before = inside.inputs_of(model, images[:1])
    after = before.copy()
    after[0, 1 * 1024 + 5 * 32 + 7] += 0.25 / CIFAR10.std[1]  # a quarter more green in row 5, column 7
    assert unit_input(after) - unit_input(before) == pytest.approx(0.25 * picture[1, 5, 7])


def test_without_hidden_layer_the_pictures_are_the_templates_of_the_classes():
    model = net([], False)
    found = inside.unit_pictures(model, np.arange(10)) * cifar10_utils.STD
    np.testing.assert_allclose(found.reshape(10, -1), model.layers[0].params['weight'], atol=1e-15)


def test_contributions_are_those_of_their_equation_and_nothing_for_a_constant_unit(images):
    model = net([5], False)
    model.layers[0].params['weight'][2], model.layers[0].params['bias'][2] = 0, 3
    hidden = np.maximum(inside.inputs_of(model, images) @ model.layers[0].params['weight'].T
                        + model.layers[0].params['bias'], 0)
    weight = model.layers[2].params['weight']
    likeliest = (hidden @ weight.T + model.layers[2].params['bias']).argmax(axis=1)
    expected = np.abs((hidden - hidden.mean(axis=0)) * (weight[likeliest] - weight.mean(axis=0))).mean(axis=0)
    found = inside.contributions(model, images)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found[2] < 1e-12 < found[0]


@pytest.fixture
def model_path(tmp_path):
    """The file of an untrained net."""
    models.save(tmp_path / 'net.npz', net([20], True, np.float32), {'test_accuracy': 0.5})
    return tmp_path / 'net.npz'


def test_a_net_without_hidden_layer_that_is_never_right_is_shown_too(trainable):
    test = cifar10_utils.Dataset(trainable.test_images[:20], np.zeros(20, np.int64))
    model = net([], False)
    model.layers[-2].params['bias'][0] = -1e3
    record = report.inspect(model, test)
    assert record['accuracy'] == 0 and record['surest_right'] == record['gradients'] == []
    for figure in report.draw(model, test, record, CIFAR10.classes, 'net').values():
        figure.canvas.draw()


def test_own_images_need_no_data_and_no_torch(run_script, model_path, tmp_path):
    Image.new('RGB', (64, 48), (200, 30, 30)).save(tmp_path / 'red.png')
    run = run_script('inspection.__main__', model_path, '--images', tmp_path / 'red.png',
                     '--results_dir', tmp_path, WITHOUT='torch')
    assert (run.returncode, run.stderr) == (0, '')
    line, written = run.stdout.splitlines()
    model, _ = models.load_numpy(model_path)
    red = np.broadcast_to(np.array([200, 30, 30], np.uint8).reshape(1, 3, 1, 1), (1, 3, 32, 32))
    row = model.forward(inside.inputs_of(model, red))[0]
    likeliest = np.argsort(-row)[:3]
    assert line == f'{tmp_path}/red.png: ' + ', '.join(f'{CIFAR10.classes[i]} {row[i]:.4f}' for i in likeliest)
    found, = json.loads((tmp_path / 'net_images.json').read_text())['images']
    assert list(found)[1:] == [CIFAR10.classes[i] for i in likeliest]
    assert (tmp_path / 'net_images.png').exists() and 'net_images.png' in written


def test_an_own_image_is_the_mean_of_the_pixels_of_its_center(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (64, 128, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / 'wide.png')
    expected = pixels[:, 32:96].reshape(32, 2, 32, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    found = read_image(tmp_path / 'wide.png')
    assert found.shape == (3, 32, 32) and found.dtype == np.uint8
    assert np.abs(found - expected).max() <= 1, 'rounded once for rows and once for columns'


def test_an_own_image_is_turned_as_its_camera_says_and_lies_on_white(tmp_path):
    image = Image.new('RGB', (32, 32), 'black')
    image.paste('red', (0, 0, 32, 16))  # the upper half
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    image.save(tmp_path / 'turned.png', exif=exif)
    found = read_image(tmp_path / 'turned.png')
    assert found[0, 24, 16] == 255 and found[0, 8, 16] == 0
    Image.new('RGBA', (40, 40), (255, 0, 0, 0)).save(tmp_path / 'clear.png')
    assert (read_image(tmp_path / 'clear.png') == 255).all()


@pytest.mark.parametrize('mode, color, ending, expected', [
    ('L', 100, 'png', (100, 100, 100)), ('LA', (100, 255), 'png', (100, 100, 100)), ('1', 1, 'png', (255, 255, 255)),
    ('P', 0, 'gif', (0, 0, 0)), ('CMYK', (0, 255, 255, 0), 'jpg', (254, 0, 0)), ('I;16', 100 * 257, 'png', (100,) * 3)])
def test_own_images_may_have_any_colors_and_size(tmp_path, mode, color, ending, expected):
    Image.new(mode, (7, 3), color).save(tmp_path / f'image.{ending}')
    found = read_image(tmp_path / f'image.{ending}')
    assert np.abs(found.astype(int) - np.reshape(expected, (3, 1, 1))).max() <= 1


@pytest.mark.parametrize('limit', [8000, 4000])  # Pillow warns above the limit, and refuses above twice that
def test_a_decompression_bomb_is_refused_before_it_goes_off(tmp_path, monkeypatch, limit):
    Image.new('L', (90, 90)).save(tmp_path / 'bomb.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', limit)
    monkeypatch.setattr(Image.Image, 'load', lambda *_: pytest.fail('its pixels were unpacked'))
    with pytest.raises(ImageError, match=rf'bomb.png .*8100 pixels\) exceeds limit of .* decompression bomb'):
        read_image(tmp_path / 'bomb.png')


def test_an_eps_image_starts_no_other_program(tmp_path, monkeypatch):
    Image.new('RGB', (9, 9)).save(tmp_path / 'drawing.eps')
    (tmp_path / 'gs').write_text(f'#!/bin/sh\ntouch {tmp_path}/started\n')
    (tmp_path / 'gs').chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:/usr/bin:/bin')
    with pytest.raises(ImageError, match='drawing.eps'):
        read_image(tmp_path / 'drawing.eps')
    assert not (tmp_path / 'started').exists()


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('name', ['a$\\frac$', pytest.param('b\udcff', marks=pytest.mark.skipif(
    not LINUX, reason='elsewhere a name is text'))])
def test_any_name_of_a_model_can_be_the_title_of_a_figure(model_path, tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, 'inspection.__main__', None)  # which other tests import anew
    monkeypatch.delitem(sys.modules, 'inspection.__main__')
    from inspection.__main__ import inspect_images, load

    image = np.zeros((3, 32, 32), np.uint8)
    written = inspect_images(load(model_path)[0], [(tmp_path / '日$.png', image)], tmp_path / name)
    assert [path.endswith(('.png', '.json')) for path in map(str, written)] == [True, True]
