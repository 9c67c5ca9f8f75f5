"""Show what a trained model has learnt, on the test set; or what it takes your own images for.

Without --images: a table in the terminal, five figures, and a JSON file with the numbers in them: the
first layer as pictures, the confusion matrix, the surest images, the confidence, the gradient of a score
with respect to the pixels. With --images no data set is needed: the three likeliest classes of each
file, and a figure of what the net sees of the first 50.
"""

from pathlib import Path

from cifar10 import description
from cifar10.sources import DATA_DIR
from console.arguments import ArgumentParser, add_folders
from console.errors import user_errors
from console.process import say
from storage.files import json_bytes, plain_figures, png_bytes, write_together
from training import models


def main():
    parser = ArgumentParser(__doc__, 'inspection')
    parser.add_argument('model', help='the .npz file that a training run of either twin wrote')
    parser.add_argument('--images', nargs='+', metavar='FILE', default=[],
                        help='your own images, in any format that Pillow reads; their center is shrunk to 32×32')
    add_folders(parser, DATA_DIR)
    arguments = parser.parse_args()

    with user_errors(parser, when_interrupted='nothing was written'):
        model, training = load(arguments.model)
        name = Path(arguments.model).stem
        stem = Path(arguments.results_dir) / name
        paths = (inspect_images(model, arguments.images, stem) if arguments.images
                 else inspect_test_set(model, training, arguments.data_dir, stem))
    say(' '.join(map(str, ['written:', *paths])))


def load(path):
    """The model as a NumPy MLP, and what is known of its training. Raises ModelError for one that isn't of CIFAR-10."""
    model, training = models.load_numpy(path)
    sizes = model.layers[0].params['weight'].shape[1], model.layers[-2].params['weight'].shape[0]
    content = description.CIFAR10
    if sizes != (content.n_inputs, content.n_classes):
        raise models.ModelError(f'{path} is a net of {sizes[0]} inputs and {sizes[1]} classes: give one of '
                                f'{content.n_inputs} and {content.n_classes}, trained on {content.name}')
    return model, training


def _title(stem):
    """The name of the model as the text of a figure: no formula, and no byte that is not text."""
    return stem.name.encode('utf-8', 'replace').decode().replace('$', r'\$')


@plain_figures()
def inspect_test_set(model, training, data_dir, stem):
    """Print the table, write the figures and the JSON; return their paths."""
    import cifar10_utils
    from inspection import report

    test = cifar10_utils.get_cifar10(data_dir)['test']
    classes = description.CIFAR10.classes
    record = {'model': stem.name, 'training': training, 'classes': list(classes), **report.inspect(model, test)}
    say('\n'.join(report.table(record, classes)))
    contents = {f'{stem}_{shown}.png': png_bytes(figure)
                for shown, figure in report.draw(model, test, record, classes, _title(stem)).items()}
    contents[f'{stem}_inside.json'] = json_bytes(record)
    write_together(contents)
    return list(contents)


@plain_figures()
def inspect_images(model, paths, stem):
    """Print the likeliest classes of each file, write a figure and its numbers; return their paths."""
    import numpy as np

    from inspection import report
    from inspection.own_images import read_image

    classes = description.CIFAR10.classes
    images = np.stack([read_image(path) for path in paths])
    found = [report.classify(model, image, classes) for image in images]
    for path, likeliest in zip(paths, found):
        say(f'{path}: ' + ', '.join(f'{name} {probability:.4f}' for name, probability in likeliest.items()))
    shown = [next(iter(likeliest.items())) for likeliest in found[:report.SHOWN_IMAGES]]
    figure = report.draw_gradients(model, images[:report.SHOWN_IMAGES], [classes.index(name) for name, _ in shown],
                                   [f'{name} {probability:.3f}' for name, probability in shown], _title(stem))
    record = {'model': stem.name, 'images': [{'file': str(path), **likeliest} for path, likeliest in zip(paths, found)]}
    contents = {f'{stem}_images.png': png_bytes(figure), f'{stem}_images.json': json_bytes(record)}
    write_together(contents)
    return list(contents)


if __name__ == '__main__':
    main()
