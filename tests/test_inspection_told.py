"""All that python -m inspection says, draws and writes of small nets, of images and of what is neither, as approved."""

import json
import os
import re

import numpy as np
import pytest
from PIL import Image

import cifar10_utils
import mlp_numpy
from approval import assert_approved
from cifar10 import description
from inspection import inside, metrics, own_images, report
from storage import files
from training import models

CLASSES = description.CIFAR10.classes
STD = cifar10_utils.STD.reshape(-1)
MEAN = cifar10_utils.MEAN.reshape(-1)
# Red, green and blue of an image, from 0 to 1, and how much brighter its left half is; the class that it is said to be.
IMAGES = [((0.8, 0.2, 0.2), 0, 0), ((1, 0.2, 0), 0, 0), ((0.6, 0.4, 0.4), 0, 0), ((0.2, 0.2, 1), 0, 3),
          ((0, 0.2, 0.8), 0, 3), ((0.4, 0.4, 0.8), 0, 8), ((0.2, 0.2, 0.2), 0.2, 8), ((0.2, 0.4, 0.2), 0.4, 8),
          ((0.4, 0.4, 0.4), 0.4, 8), ((0.9, 1, 1), 0, 0), ((0.1, 0, 0), 0, 9), ((0.6, 0.4, 0), 0.4, 9),
          ((0, 1, 0), 0, 4), ((0.2, 1, 0.4), 0, 4), ((1, 0, 1), 0, 1), ((0.8, 0, 0.8), 0, 1),
          ((0.3, 0.6, 0), 0, 5), ((0.9, 0.4, 0.6), 0, 5)]


def halves(color, brighter):
    """uint8 (3, 32, 32) of one color, with a left half that is as much brighter."""
    image = np.empty((3, 32, 32))
    image[:] = np.reshape(color, (3, 1, 1))
    image[:, :, :16] += brighter
    return np.round(255 * image).astype(np.uint8)


def weights_of(*parts):
    """A row of weights that sees pixels, from 0 to 1, as Σ weight · mean over an area (channels, columns); its bias."""
    row = np.zeros((3, 32, 32))
    for weight, channels, columns in parts:
        row[channels, :, columns] += weight / row[channels, :, columns].size
    return row.reshape(-1) * STD, row.reshape(-1) @ MEAN


ALL = slice(None)
# What the hidden units see: red, blue beyond green, left beyond right, and nothing, but are 0.1 all the same.
UNITS = [[(1, [0], ALL)], [(1, [2], ALL), (-1, [1], ALL)],
         [(1, slice(3), slice(16)), (-1, slice(3), slice(16, 32))], []]


def net_with_hidden_units(dtype=np.float32):
    """Four hidden units for the classes 0, 3 and 8; the others have scores of their own, whatever the image."""
    model = mlp_numpy.MLP(3072, [4], 10, dtype=dtype)
    first, last = model.layers[0].params, model.layers[2].params
    for unit, parts in enumerate(UNITS):
        first['weight'][unit], first['bias'][unit] = weights_of(*parts)
    first['bias'][3] = 0.1
    last['weight'][:] = 0
    last['weight'][[0, 3, 8], [0, 1, 2]] = 5, 6, 7
    last['weight'][:, 3] = np.arange(10)
    last['bias'][:] = 0
    last['bias'][0] = -1
    model.eval()
    return model


def net_without_hidden_layer():
    """Scores that go with red, green or blue; its truck is never called."""
    model = mlp_numpy.MLP(3072, [], 10)
    for label in range(10):
        row, bias = weights_of((label % 3 + 1, [label % 3], ALL))
        model.layers[0].params['weight'][label], model.layers[0].params['bias'][label] = row, bias - label / 10
    model.eval()
    return model


def colors(picture):
    """Pixels of a picture (32, 32 · n, RGB) from its left to its right half; of one beside others, of each."""
    beside = picture.shape[1] // 34 + 1  # two pixels lie between them
    return ' | '.join(' '.join(f'{value:g}' for value in np.round(picture[16, column].astype(float), 2))
                      for number in range(beside) for column in (34 * number + 8, 34 * number + 24))


def artists(axes):
    """What stands in a panel: its words, its pictures as colors, its curves and bars."""
    legend = axes.get_legend()
    yield from (word for word in (axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) if word)
    yield from (text.get_text() for text in (legend.get_texts() if legend else []))
    if axes.texts:
        yield ' '.join(text.get_text() for text in axes.texts)
    yield from (colors(image.get_array()) for image in axes.get_images() if len(image.get_array()) == 32)
    yield from (f'curve {np.round(line.get_ydata(), 3).tolist()}' for line in axes.get_lines())
    if axes.patches:
        yield f'bars {np.round([bar.get_height() for bar in axes.patches], 3).tolist()}'


def described(figure):
    """A figure as text."""
    lines = [text.get_text() for part in (figure, *figure.subfigs) for text in part.texts]
    return '\n'.join([*lines, *(line for axes in figure.axes for line in artists(axes))]) + '\n'


def rounded(value):
    """With as few digits as any machine computes alike."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f'{value:.4g}') if isinstance(value, float) else value


@pytest.fixture
def inspected(run_in_process, monkeypatch, tmp_path):
    """inspected(*arguments) of python -m inspection → all that it says and writes; a figure is written as text."""
    monkeypatch.setattr(files, 'png_bytes', lambda figure: described(figure).encode())
    images, labels = [halves(color, brighter) for color, brighter, _ in IMAGES], [label for *_, label in IMAGES]
    test = cifar10_utils.Dataset(np.array(images), np.array(labels))
    monkeypatch.setattr(cifar10_utils, 'get_cifar10', lambda data_dir: {'test': test} if data_dir == 'data' else None)

    def run(*arguments):
        code, out, err = run_in_process('inspection', [*arguments, '--data_dir', 'data'])
        lines = [f'$ python -m inspection {" ".join(arguments)}', out + err + f'exit code {code}']
        for path in sorted((tmp_path / 'results').glob('*')):
            text = path.read_text(encoding='utf-8')
            if path.suffix == '.json':
                text = files.json_bytes(rounded(json.loads(text))).decode()
            lines += [f'--- {path.name}', text.rstrip()]
            path.unlink()
        return '\n'.join(lines) + '\n'

    return run


@pytest.mark.parametrize('name, net', [('hidden', net_with_hidden_units), ('linear', net_without_hidden_layer)])
def test_all_that_is_said_and_drawn_of_a_net_is_as_approved(inspected, tmp_path, name, net):
    models.save(tmp_path / f'{name}.npz', net(), {'settings': {'lr': 0.1}, 'test_accuracy': 0.5})
    assert_approved(f'inspection_{name}', inspected(f'{name}.npz'))


@pytest.mark.skipif(not os.path.exists('/dev/zero'), reason='needs /dev/zero')
def test_all_that_is_said_and_drawn_of_images_is_as_approved(inspected, monkeypatch, tmp_path):
    monkeypatch.setattr(report, 'SHOWN_IMAGES', 2)
    models.save(tmp_path / 'net.npz', net_with_hidden_units(), {})
    for name, color, brighter in (('red_for_$5_or_$6_each.png', (1, 0.2, 0.2), 0), ('-1.gif', (0.4, 0.4, 0.4), 0.4),
                                  ('blue.png', (0, 0.2, 1), 0)):
        Image.fromarray(halves(color, brighter).transpose(1, 2, 0)).save(tmp_path / name)
    assert_approved('inspection_images', inspected('net.npz', '--images', 'red_for_$5_or_$6_each.png', 'nowhere.png',
                                                   '-1.gif', '/dev/zero', 'blue.png'))


def write_images(folder):
    """Image files of many kinds, and files that are none."""
    color = halves((0.8, 0.4, 0.2), 0.2).transpose(1, 2, 0)
    exif = Image.Exif()
    exif[0x0112] = 2  # mirrored
    grey = np.repeat([[-5, 10 * 257, 200 * 257, 70000]], 16, axis=1).repeat(32, axis=0)
    clear = np.dstack([color, np.repeat([[255, 51]], 16, axis=1).repeat(32, axis=0)]).astype(np.uint8)
    for name, image in {
            'rgb.png': Image.fromarray(color), 'mirrored.png': Image.fromarray(color),
            'odd metadata.png': Image.fromarray(color),
            'wide.png': Image.fromarray(np.hstack([color * 0, color, color * 0])),
            'high.png': Image.fromarray(np.vstack([color * 0, color, color * 0])),
            'grey.png': Image.fromarray(color[:, :, 0]), 'white where clear.png': Image.fromarray(clear),
            'palette.gif': Image.fromarray(color).quantize(4), 'frames.gif': Image.fromarray(color).quantize(4),
            'grey16.png': Image.fromarray(grey.clip(0, 65535).astype(np.uint16)),
            'grey32.tiff': Image.fromarray(grey.astype(np.int32)),
            'floats.tiff': Image.fromarray(grey.astype(np.float32)), 'bomb.png': Image.new('L', (300, 300))}.items():
        more = {'exif': exif} if name == 'mirrored.png' else {}
        if name == 'odd metadata.png':
            more = {'exif': b'Exif\0\0II*\0\x08\0\0\0\xff\xff'}
        if name == 'frames.gif':
            more = {'save_all': True, 'append_images': [Image.new('RGB', (32, 32)).quantize(4)]}
        image.save(folder / name, **more)
    (folder / 'cut.png').write_bytes((folder / 'bomb.png').read_bytes()[:100])
    (folder / 'text.jpg').write_text('no image')
    (folder / 'empty.png').write_bytes(b'')
    (folder / 'folder').mkdir()


def read(name):
    """The colors of the two halves of an image file as it is read, or why it isn't; without the words of Pillow."""
    try:
        image = own_images.read_image(name)
    except own_images.ImageError as error:
        return re.sub(r'(?<=an image: )(?!floating|No such|not a file).*', '…', str(error))
    return f'{name}: {image.dtype} {image.shape}, {colors(image.transpose(1, 2, 0))}'


def test_image_files_are_read_or_refused_as_approved(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 80000)  # of which bomb.png has more, but not twice as many
    write_images(tmp_path)
    names = [*sorted(path.name for path in tmp_path.iterdir()), 'nowhere.png']
    assert_approved('inspection_image_files', '\n'.join(map(read, names)) + '\n')


def test_of_what_is_equal_the_first_comes_first():
    model = mlp_numpy.MLP(3072, [300], 10, dtype=np.float32)
    for layer in (model.layers[0], model.layers[2]):
        layer.params['weight'][:] = 0
    model.eval()
    test = cifar10_utils.Dataset(np.zeros((300, 3, 32, 32), np.uint8), np.arange(300) % 2)
    record = report.inspect(model, test)
    assert [entry['index'] for entry in record['surest_wrong']] == list(range(1, 25, 2))
    assert [entry['index'] for entry in record['surest_right']] == list(range(0, 24, 2))
    assert record['gradients'] == record['surest_right'][:1]
    probability = record['surest_right'][0]['probability']  # of each image; no sum over them has rounded in float32
    assert record['mean_confidence'] == pytest.approx(probability, rel=1e-12)
    assert record['loss'] == pytest.approx(-np.log(probability), rel=1e-12)
    assert record['units'] == {'index': list(range(128)), 'share_of_contributions': [0] * 128, 'scale': 1}
    assert list(report.classify(model, test.images[0], CLASSES)) == list(CLASSES[:3])
    report.draw(model, test, record, CLASSES, 'net')['weights'].canvas.draw()  # can be laid out


def test_images_go_through_the_net_in_batches_that_change_nothing(monkeypatch):
    images = np.array([halves(color, brighter) for color, brighter, _ in IMAGES])
    for model in (net_with_hidden_units(np.float64), net_with_hidden_units()):
        whole, sizes = inside.probabilities(model, images), []
        assert inside.inputs_of(model, images).dtype == whole.dtype == model.layers[0].params['weight'].dtype
        contributions = inside.contributions(model, images)
        assert contributions[3] < 1e-15, 'of a unit that is as active for every image'
        with monkeypatch.context() as patch:
            patch.setattr(inside, 'BATCH_SIZE', 5)
            patch.setattr(model.layers[0], 'forward', lambda x, forward=model.layers[0].forward:
                          (sizes.append(len(x)), forward(x))[1])
            np.testing.assert_allclose(inside.probabilities(model, images), whole, rtol=1e-5)
            np.testing.assert_allclose(inside.contributions(model, images), contributions, rtol=1e-5, atol=1e-12)
        assert sizes == [5, 5, 5, 3] * 3


def test_the_calibration_of_a_case_counted_by_hand():
    confidences, right = [0, 0.25, 0.125, 0.75, 0.875, 1, 0.625], [False, True, False, False, True, True, True]
    assert metrics.reliability(confidences, right, bins=4) == {
        'edges': [0, 0.25, 0.5, 0.75, 1], 'count': [3, 0, 2, 2], 'confidence': [0.125, None, 0.6875, 0.9375],
        'accuracy': [1 / 3, None, 0.5, 1], 'ece': (abs(1 - 0.375) + abs(1 - 1.375) + abs(2 - 1.875)) / 7}
    assert metrics.reliability(np.array([1], np.float32), [1])['edges'] == np.linspace(0, 1, 11).tolist()


def test_what_can_not_be_inspected_is_refused_as_approved(inspected, monkeypatch, tmp_path):
    write_images(tmp_path)
    models.save(tmp_path / 'net.npz', net_without_hidden_layer(), {})
    models.save(tmp_path / 'small.npz', mlp_numpy.MLP(20, [7], 10), {})
    models.save(tmp_path / 'binary.npz', mlp_numpy.MLP(3072, [], 2), {})
    told = [inspected(*arguments) for arguments in [
        ['nowhere.npz'], ['small.npz'], ['binary.npz'], ['net.npz', '--images', 'floats.tiff']]]
    with monkeypatch.context() as patch:
        patch.setattr(models, 'load_numpy', lambda path: raise_(KeyboardInterrupt()))
        told.append(inspected('net.npz'))
    assert_approved('inspection_refusals', '\n'.join(told))


def raise_(error):
    raise error
