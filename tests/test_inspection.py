"""python -m inspection: rates, intervals, gradients, contributions, image files, and all that it prints and draws."""

import json
import os
import re
import signal
import sys

import numpy as np
import pytest
import torch
from PIL import Image

import cifar10_utils
import mlp_numpy
from approval import assert_approved
from cifar10.description import CIFAR10
from conftest import LINUX
from figures_in_words import colors, described
from inspection import inside, metrics, own_images, report
from storage import files
from test_models import trained
from training import models


def test_the_calibration_of_a_case_counted_by_hand():
    confidences, right = [0, 0.25, 0.125, 0.75, 0.875, 1, 0.625], [False, True, False, False, True, True, True]
    assert metrics.reliability(confidences, right, bins=4) == {
        'edges': [0, 0.25, 0.5, 0.75, 1], 'count': [3, 0, 2, 2], 'confidence': [0.125, None, 0.6875, 0.9375],
        'accuracy': [1 / 3, None, 0.5, 1], 'ece': (abs(1 - 0.375) + abs(1 - 1.375) + abs(2 - 1.875)) / 7}
    assert metrics.reliability(np.array([1], np.float32), [1])['edges'] == np.linspace(0, 1, 11).tolist()


def test_the_intervals_are_those_of_theory():
    # Newcombe 1998, table I, 81 of 263
    assert metrics.wilson_interval(81 / 263, 263) == pytest.approx([0.2553, 0.3662], abs=1e-4)
    confidences, correct = np.full(1000, 0.5), np.arange(1000) < 800  # ece = |share of correct ones − 0.5|
    deviation = np.sqrt(0.8 * 0.2 / 1000)
    expected = [0.3 - 1.96 * deviation, 0.3 + 1.96 * deviation]
    assert metrics.ece_interval(confidences, correct) == pytest.approx(expected, abs=0.003)


STD = cifar10_utils.STD.reshape(-1)
MEAN = cifar10_utils.MEAN.reshape(-1)
# Red, green and blue of an image, from 0 to 1, the additional brightness of its left half, and its label.
IMAGES = [((0.8, 0.2, 0.2), 0, 0), ((1, 0.2, 0), 0, 0), ((0.6, 0.4, 0.4), 0, 0), ((0.2, 0.2, 1), 0, 3),
          ((0, 0.2, 0.8), 0, 3), ((0.4, 0.4, 0.8), 0, 8), ((0.2, 0.2, 0.2), 0.2, 8), ((0.2, 0.4, 0.2), 0.4, 8),
          ((0.4, 0.4, 0.4), 0.4, 8), ((0.9, 1, 1), 0, 0), ((0.1, 0, 0), 0, 9), ((0.6, 0.4, 0), 0.4, 9),
          ((0, 1, 0), 0, 4), ((0.2, 1, 0.4), 0, 4), ((1, 0, 1), 0, 1), ((0.8, 0, 0.8), 0, 1),
          ((0.3, 0.6, 0), 0, 5), ((0.9, 0.4, 0.6), 0, 5)]


def halves(color, brighter):
    """uint8 (3, 32, 32) of one color, with a brighter left half."""
    image = np.tile(np.reshape(color, (3, 1, 1)), (1, 32, 32)).astype(float)
    image[:, :, :16] += brighter
    return np.round(255 * image).astype(np.uint8)


def set_unit(linear, unit, parts, constant=0):
    """Let a unit have the pre-activation constant + Σ weight · mean pixel of an area: (weight, channels, columns)."""
    row = np.zeros((3, 32, 32))
    for weight, channels, columns in parts:
        row[channels, :, columns] += weight / row[channels, :, columns].size
    linear.params['weight'][unit] = row.reshape(-1) * STD
    linear.params['bias'][unit] = row.reshape(-1) @ MEAN + constant


ALL = slice(None)
NOISE = np.random.default_rng(0).integers(0, 256, (6, 3, 32, 32), np.uint8)
# The pre-activations of the hidden units: red, blue − green, left − right, and a constant.
UNITS = [[(1, [0], ALL)], [(1, [2], ALL), (-1, [1], ALL)],
         [(1, slice(3), slice(16)), (-1, slice(3), slice(16, 32))], []]


def net_with_hidden_units():
    """Four hidden units that decide for the classes 0, 3 and 8; the other classes have constant scores."""
    model = mlp_numpy.MLP(3072, [4], 10, dtype=np.float32)
    first, _, last, _ = model.layers
    for unit, parts in enumerate(UNITS):
        set_unit(first, unit, parts, 0.1 * (unit == 3))
    last.params['weight'][:], last.params['bias'][:] = 0, [-1] + [0] * 9
    last.params['weight'][[0, 3, 8], [0, 1, 2]] = 5, 6, 7
    last.params['weight'][:, 3] = np.arange(10)
    model.eval()
    return model


def net_without_hidden_layer():
    """Each score depends on red, green or blue."""
    model = mlp_numpy.MLP(3072, [], 10)
    for label in range(10):
        set_unit(model.layers[0], label, [(label % 3 + 1, [label % 3], ALL)], -label / 10)
    model.eval()
    return model


def net(hidden_dims, use_batch_norm):
    """A network with random parameters and running statistics."""
    np.random.seed(0)
    return trained(np.float64, 3072, n_hidden=hidden_dims, use_batch_norm=use_batch_norm)


@pytest.mark.parametrize('hidden_dims, use_batch_norm', [([], False), ([16], False), ([16, 12], True)])
def test_the_gradient_of_a_score_with_respect_to_the_pixels_is_that_of_autograd(tmp_path, hidden_dims, use_batch_norm):
    model, classes = net(hidden_dims, use_batch_norm), [0, 3, 3, 9, 5, 1]
    found = inside.score_gradients(model, NOISE, classes)
    models.save(tmp_path / 'net.npz', model, {})
    twin, _ = models.load_pytorch(tmp_path / 'net.npz')
    pixels = torch.tensor(NOISE / 255, requires_grad=True)
    mean, std = (torch.tensor(values, dtype=torch.float64).reshape(3, 1, 1) for values in (CIFAR10.mean, CIFAR10.std))
    twin((pixels - mean) / std)[range(6), classes].sum().backward()
    expected = pixels.grad.numpy()
    assert found.shape == expected.shape and found.dtype == np.float64
    assert np.abs(found - expected).max() <= 1e-9 * np.abs(expected).max()
    model.train()
    with pytest.raises(ValueError, match=r'^the model is in training mode: call its eval\(\) first$'):
        inside.score_gradients(model, NOISE, classes)


def test_the_picture_of_a_unit_includes_the_scale_of_batch_normalization():
    model = net([5, 4], True)
    linear, batch_norm = model.layers[:2]
    model.layers[2] = object()  # an activation that is not a ReLU
    scale = batch_norm.params['weight'] / np.sqrt(batch_norm.running_var + batch_norm.eps)
    expected = (scale[:, None] * linear.params['weight'] / STD)[[3, 1]].reshape(2, 3, 32, 32)
    np.testing.assert_allclose(inside.unit_pictures(model, np.array([3, 1])), expected)


def test_contributions_are_those_of_their_equation_and_nothing_for_a_constant_unit(monkeypatch):
    model = net([5], False)
    first, last = model.layers[0].params, model.layers[2].params
    first['weight'][2], first['bias'][2] = 0, 3
    assert inside.inputs_of(model, NOISE).dtype == np.float64, 'as the parameters'
    hidden = np.maximum(inside.inputs_of(model, NOISE) @ first['weight'].T + first['bias'], 0)
    probabilities = model.forward(inside.inputs_of(model, NOISE))
    dscores = last['weight'][probabilities.argmax(axis=1)] - last['weight'].mean(axis=0)
    expected = np.abs((hidden - hidden.mean(axis=0)) * dscores).mean(axis=0)
    sizes, forward = [], model.layers[0].forward
    monkeypatch.setattr(model.layers[0], 'forward', lambda x: (sizes.append(len(x)), forward(x))[1])
    monkeypatch.setattr(inside, 'BATCH_SIZE', 4)
    found = inside.contributions(model, NOISE)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)
    assert found[2] < 1e-12 < found[0]
    np.testing.assert_allclose(inside.probabilities(model, NOISE), probabilities)
    assert sizes == [4, 2] * 3


def test_equal_images_and_units_keep_their_order():
    model = mlp_numpy.MLP(3072, [300], 10, dtype=np.float32)
    for layer in (model.layers[0], model.layers[2]):
        layer.params['weight'][:] = 0
    model.eval()
    test = cifar10_utils.Dataset(np.zeros((300, 3, 32, 32), np.uint8), np.arange(300) % 2)
    record = report.inspect(model, test)
    errors, correct = ([entry['index'] for entry in record[f'most_confident_{kind}']] for kind in ('errors', 'correct'))
    assert (errors, correct) == (list(range(1, 25, 2)), list(range(0, 24, 2)))
    assert record['gradients'] == record['most_confident_correct'][:1]
    probability = record['most_confident_correct'][0]['probability']  # the same for all images
    assert record['mean_confidence'] == pytest.approx(probability, rel=1e-12), 'summed in float64'
    assert record['loss'] == pytest.approx(-np.log(probability), rel=1e-12)
    assert record['units'] == {'index': list(range(128)), 'share_of_contributions': [0] * 128, 'scale': 1}
    assert list(report.classify(model, test.images[0], CIFAR10.classes)) == list(CIFAR10.classes[:3])
    axes = report.draw(model, test, record, CIFAR10.classes, 'net')['weights'].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()][-2:] == ['97–112', '113–128']


@pytest.fixture
def inspected(run_in_process, monkeypatch, tmp_path):
    """inspected(*arguments) of python -m inspection → all that it prints and writes; figures as text."""
    monkeypatch.setattr(files, 'png_bytes', lambda figure: figure.canvas.draw() or described(figure).encode())

    def run(*arguments, images=IMAGES):
        test = cifar10_utils.Dataset(np.array([halves(color, brighter) for color, brighter, _ in images]),
                                     np.array([label for *_, label in images]))
        monkeypatch.setattr(cifar10_utils, 'get_cifar10', lambda data_dir: {'data': {'test': test}}[data_dir])
        code, out, err = run_in_process('inspection', [*arguments, '--data_dir', 'data'])
        lines = [f'$ python -m inspection {" ".join(arguments)}', out + err + f'exit code {code}']
        for path in sorted((tmp_path / 'results').glob('*')):
            text = path.read_text(encoding='utf-8')
            if path.suffix == '.json':
                four_digits = json.loads(text, parse_float=lambda digits: float(f'{float(digits):.4g}'))
                text = files.json_bytes(four_digits).decode()  # the same on every machine
            lines += [f'--- {path.name}', text.rstrip()]
            path.unlink()
        return '\n'.join(lines) + '\n'

    return run


def test_the_inspection_of_a_hidden_layer_is_as_approved(inspected, tmp_path):
    models.save(tmp_path / 'hidden.npz', net_with_hidden_units(), {'settings': {'lr': 0.1}, 'test_accuracy': 0.5})
    assert_approved('inspection_hidden', inspected('hidden.npz'))


def test_the_inspection_without_hidden_layer_and_without_a_correct_prediction_is_as_approved(inspected, tmp_path):
    models.save(tmp_path / 'linear.npz', net_without_hidden_layer(), {})
    parts = re.split('(?=^--- )', inspected('linear.npz', images=IMAGES[3:4]), flags=re.MULTILINE)
    otherwise = [part for part in parts if not re.match('--- .*(json|confusion|reliability)', part)]
    assert_approved('inspection_linear', ''.join(otherwise))


@pytest.mark.skipif(not os.path.exists('/dev/zero'), reason='needs /dev/zero')
def test_the_classification_of_images_is_as_approved(inspected, monkeypatch, tmp_path):
    monkeypatch.setattr(report, 'SHOWN_IMAGES', 2)
    models.save(tmp_path / 'net.npz', net_with_hidden_units(), {})
    for name, color, brighter in (('red_for_$5_or_$6_each.png', (1, 0.2, 0.2), 0), ('-1.gif', (0.4, 0.4, 0.4), 0.4),
                                  ('blue.png', (0, 0.2, 1), 0)):
        Image.fromarray(halves(color, brighter).transpose(1, 2, 0)).save(tmp_path / name)
    assert_approved('inspection_images', inspected('net.npz', '--images', 'red_for_$5_or_$6_each.png', 'nowhere.png',
                                                   '-1.gif', '/dev/zero', 'blue.png'))


def test_models_and_images_that_cannot_be_inspected_are_refused_as_approved(inspected, monkeypatch, tmp_path):
    models.save(tmp_path / 'net.npz', net_without_hidden_layer(), {})
    models.save(tmp_path / 'small.npz', mlp_numpy.MLP(20, [7], 10), {})
    models.save(tmp_path / 'binary.npz', mlp_numpy.MLP(3072, [], 2), {})
    huge = net_without_hidden_layer()
    huge.layers[0].params['weight'][:] = 1e308
    models.save(tmp_path / 'huge.npz', huge, {'lr': 0.125})
    with np.load(tmp_path / 'huge.npz') as file:
        header = np.frombuffer(file['header'].tobytes().replace(b'0.125', b'1e999'), np.uint8)
        np.savez(tmp_path / 'infinite.npz', **{**file, 'header': header})
    printed = [inspected(*arguments) for arguments in [
        ['nowhere.npz'], ['small.npz'], ['binary.npz'], ['huge.npz'], ['infinite.npz'], ['net.npz', '--images', 'nowhere.png']]]
    with monkeypatch.context() as patch:
        patch.setattr(models, 'load_numpy', lambda path: signal.raise_signal(signal.SIGINT))
        printed.append(inspected('net.npz'))
    assert_approved('inspection_refusals', '\n'.join(printed))


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('name', ['a$\\frac$', pytest.param('b\udcff', marks=pytest.mark.skipif(
    not LINUX, reason='other systems have only names of Unicode'))])
def test_any_name_of_a_model_can_be_the_title_of_a_figure(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, 'inspection.__main__', None)  # other tests import it again
    monkeypatch.delitem(sys.modules, 'inspection.__main__')
    from inspection.__main__ import inspect_images

    image = np.zeros((3, 32, 32), np.uint8)
    written = inspect_images(net_with_hidden_units(), [(tmp_path / '日$.png', image)], tmp_path / name)
    assert [path.endswith(('.png', '.json')) for path in map(str, written)] == [True, True]


def test_images_are_classified_without_data_and_without_torch(run_script, tmp_path):
    models.save(tmp_path / 'net.npz', net_with_hidden_units(), {})
    Image.new('RGB', (64, 48), (200, 30, 30)).save(tmp_path / 'red.png')
    run = run_script('inspection.__main__', tmp_path / 'net.npz', '--images', tmp_path / 'red.png',
                     '--results_dir', tmp_path, WITHOUT='torch', data_dir=tmp_path / 'nowhere')
    assert (run.returncode, run.stderr) == (0, '')
    assert (tmp_path / 'net_images.png').exists() and not (tmp_path / 'nowhere').exists()


def read(path):
    """The colors of the two halves of an image file, or the message without Pillow's words."""
    try:
        image = own_images.read_image(path)
    except own_images.ImageError as error:
        return re.sub(r'(?<=an image: )(?!floating|No such|not a file).*', '…', str(error))
    return f'{path}: {image.dtype} {image.shape}, {colors(image.transpose(1, 2, 0))}'


def test_image_files_are_read_or_refused_as_approved(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 80000)  # bomb.png has more, but less than twice as many
    color = halves((0.8, 0.4, 0.2), 0.2).transpose(1, 2, 0)
    clear = np.dstack([color, np.repeat([[255, 51]], 16, axis=1).repeat(32, axis=0).astype(np.uint8)])
    gray16, gray32 = (np.repeat([pair], 16, axis=1).repeat(32, axis=0) for pair in ([10 * 256, 200 * 257], [-5, 70000]))
    palette, mirrored = Image.fromarray(color).quantize(4), Image.Exif()
    noise = np.random.default_rng(0).integers(0, 256, (64, 128, 3), np.uint8)
    mirrored[0x0112] = 2
    for name, image, options in [
            ('bomb.png', np.zeros((300, 300), np.uint8), {}), ('drawing.eps', color, {}),
            ('floats.tiff', gray32.astype(np.float32), {}), ('gray.png', color[:, :, 0], {}),
            ('gray16.png', gray16.astype(np.uint16), {}), ('gray32.tiff', gray32.astype(np.int32), {}),
            ('mirrored.png', color, {'exif': mirrored}),
            ('odd metadata.png', color, {'exif': b'Exif\0\0II*\0\x08\0\0\0\xff\xff'}),
            ('two frames.gif', palette, {'save_all': True, 'append_images': [Image.new('P', (32, 32))]}),
            ('white where clear.png', clear, {}), ('wide.png', np.hstack([color * 0, color, color * 0]), {})]:
        (image if image is palette else Image.fromarray(image)).save(name, **options)
    (tmp_path / 'cut.png').write_bytes((tmp_path / 'bomb.png').read_bytes()[:100])
    (tmp_path / 'text.jpg').write_text('not an image')
    (tmp_path / 'folder').mkdir()
    names = sorted(path.name for path in tmp_path.iterdir())
    (tmp_path / 'gs').write_text('#!/bin/sh\ntouch started\n')  # Pillow would start it for an EPS file
    (tmp_path / 'gs').chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}:/usr/bin:/bin')
    assert_approved('inspection_image_files', '\n'.join(map(read, [*names, 'nowhere.png'])) + '\n')
    assert not (tmp_path / 'started').exists()
    # An image becomes the mean of the pixels of its center.
    expected = noise[:, 32:96].reshape(32, 2, 32, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
    Image.fromarray(noise).save(tmp_path / 'noise.png')
    difference = np.abs(own_images.read_image(tmp_path / 'noise.png') - expected)
    assert difference.max() <= 1, 'rounded once for rows and once for columns'
