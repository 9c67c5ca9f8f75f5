"""Analyze a trained model on the test set, or classify your own images.

Without --images, the command prints a table and writes a JSON file and five figures: first-layer weights, confusion
matrix, most confident predictions, reliability diagram, input gradients. With --images it needs no data set: it
prints the three most probable classes of each file, and draws the first 50 images with their input gradients.

examples:
  python -m inspection results/mlp_numpy.npz
  python -m inspection results/mlp_numpy.npz --images photo.jpg
"""

if __name__ == '__main__':
    import console.start  # noqa: F401 (an error in an import below becomes one line)

import sys
from pathlib import Path

from cifar10 import description
from cifar10.sources import DATA_DIR
from console.arguments import ArgumentParser, add_folders
from console.errors import user_errors
from console.process import say, warn
from storage.files import json_bytes, plain_figures, png_bytes, write_together
from training import models


def main():
    parser = ArgumentParser(__doc__, 'inspection')
    parser.add_argument('model', help='the .npz file that a training script wrote')
    parser.add_argument('--images', nargs='+', metavar='FILE', default=[],
                        help='image files to classify (center-cropped, resized to 32×32) instead of the test set; '
                             'write ./-a.png for a name that begins with a minus sign')
    add_folders(parser, DATA_DIR)
    arguments = parser.parse_args()

    unreadable = []
    with user_errors(parser, when_interrupted='nothing was written'):
        model, training = load(arguments.model)
        stem = Path(arguments.results_dir) / Path(arguments.model).stem
        if arguments.images:
            from inspection import own_images

            images, unreadable = own_images.read_images(arguments.images)
            for error in unreadable:
                warn(f'{parser.prog}: error: {error}')
            paths = inspect_images(model, images, stem) if images else []
        else:
            paths = inspect_test_set(model, training, arguments.data_dir, stem)
    if paths:
        say(' '.join(map(str, ['written:', *paths])))
    return 1 if unreadable else 0


def load(path):
    """The model as a NumPy MLP, and a dict about its training. Raises ModelError if it does not fit CIFAR-10."""
    model, training = models.load_numpy(path)
    sizes = model.layers[0].params['weight'].shape[1], model.layers[-2].params['weight'].shape[0]
    content = description.CIFAR10
    if sizes != (content.n_inputs, content.n_classes):
        raise models.ModelError(f'{path} has {sizes[0]} inputs and {sizes[1]} classes: the model must have '
                                f'{content.n_inputs} and {content.n_classes}, for {content.name}')
    return model, training


def _label(text, longest=100):
    """A name as text of a figure: shortened, without formulas or characters that cannot be printed."""
    text = ''.join(letter if letter.isprintable() else '?' for letter in str(text))
    if len(text) > longest:
        text = f'{text[:longest // 2]}…{text[-(longest // 2):]}'
    return text.replace('$', r'\$')


@plain_figures()
def inspect_test_set(model, training, data_dir, stem):
    """Print the table, write the figures and the JSON file, return their paths."""
    import cifar10_utils
    from inspection import report

    test = cifar10_utils.get_cifar10(data_dir)['test']
    classes = description.CIFAR10.classes
    record = {'model': stem.name, 'training': training, 'classes': list(classes), **report.inspect(model, test)}
    say('\n'.join(report.table(record, classes)))
    contents = {f'{stem}_{shown}.png': png_bytes(figure)
                for shown, figure in report.draw(model, test, record, classes, _label(stem.name)).items()}
    contents[f'{stem}_inspection.json'] = json_bytes(record)
    write_together(contents)
    return list(contents)


@plain_figures()
def inspect_images(model, images, stem):
    """Print the most probable classes of [(path, image)], write a figure and a JSON file, return their paths."""
    import numpy as np

    from inspection import report

    classes = description.CIFAR10.classes
    found = [(path, report.classify(model, image, classes)) for path, image in images]
    for path, top in found:
        say(f'{path}: ' + ', '.join(f'{name} {probability:.4f}' for name, probability in top.items()))
    shown = [(path, *next(iter(top.items()))) for path, top in found[:report.SHOWN_IMAGES]]
    figure = report.draw_gradients(
        model, np.stack([image for _, image in images[:report.SHOWN_IMAGES]]),
        [classes.index(name) for _, name, _ in shown],
        [f'{_label(Path(path).name, 20)}\n{name} {probability:.3f}' for path, name, probability in shown],
        _label(stem.name))
    record = {'model': stem.name, 'images': [{'file': str(path), **top} for path, top in found]}
    contents = {f'{stem}_images.png': png_bytes(figure), f'{stem}_images.json': json_bytes(record)}
    write_together(contents)
    return list(contents)


if __name__ == '__main__':
    sys.exit(main())
