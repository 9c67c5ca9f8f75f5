"""The numbers and figures of an inspection, from a model and images."""

import numpy as np

from inspection import figures, inside, metrics

SHOWN_UNITS = 128
SHOWN_CONFIDENT = 12
TOP = 3
SHOWN_IMAGES = 50
COLOR_KEY = 'gray: 0; brighter: positive; darker: negative (per color channel)'


def inspect(model, test):
    """Everything that is drawn or printed, as a dict for JSON.

    model: mlp_numpy.MLP in evaluation mode; test: a cifar10_utils.Dataset. `gradients` lists the most confident
    correct prediction of each class, `units` the first layer's units in descending order of inside.contributions.
    An `interval` is a 95 % interval over the sample of test images.
    """
    labels = test.labels
    probabilities = inside.probabilities(model, test.images)
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    correct = predicted == labels
    confusion = metrics.confusion_matrix(labels, predicted, probabilities.shape[1])
    precision, recall, f1 = metrics.precision_recall_f1(confusion)
    order = np.argsort(-confidence, kind='stable')
    entries = [{'index': int(i), 'label': int(labels[i]), 'predicted': int(predicted[i]),
                'probability': float(confidence[i]), 'probability_of_label': float(probabilities[i, labels[i]])}
               for i in order]
    right = [entry for entry in entries if correct[entry['index']]]
    firsts = {entry['label']: entry for entry in reversed(right)}  # the most confident one is set last
    return {
        'accuracy': float(correct.mean()),
        'accuracy_interval': metrics.wilson_interval(float(correct.mean()), len(labels)),
        'loss': float(-np.log(probabilities[np.arange(len(labels)), labels], dtype=np.float64).mean()),
        'mean_confidence': float(confidence.mean(dtype=np.float64)),
        'confusion': confusion.tolist(),
        'precision': precision.tolist(), 'recall': recall.tolist(), 'f1': f1.tolist(),
        'reliability': metrics.reliability(confidence, correct),
        'ece_interval': metrics.ece_interval(confidence, correct),
        'most_confident_errors': [entry for entry in entries if not correct[entry['index']]][:SHOWN_CONFIDENT],
        'most_confident_correct': right[:SHOWN_CONFIDENT],
        'gradients': [firsts[label] for label in sorted(firsts)],
        'units': _units(model, test.images),
    }


def _units(model, images):
    """The units that are shown, the scale of their pictures, and the share of each in all contributions."""
    if inside.first_hidden(model) is None:
        units = np.arange(model.layers[0].params['weight'].shape[0])
        shares = None
    else:
        values = inside.contributions(model, images)
        units = np.argsort(-values, kind='stable')[:SHOWN_UNITS]
        shares = (values[units] / (values.sum() or 1)).tolist()
    return {'index': units.tolist(), 'share_of_contributions': shares,
            'scale': figures.picture_scale(inside.unit_pictures(model, units), 0.999)}


def draw(model, test, record, classes, name):
    """The figures of a record of `inspect`: {name: figure}."""
    units = record['units']
    pictures = inside.unit_pictures(model, np.array(units['index']))
    if units['share_of_contributions'] is None:
        title, names = f'{name}: weights of each class', classes
    else:
        title, names = f'{name}: first-layer weights, one tile per unit, sorted by contribution', None
    low, high = record['ece_interval']
    gradients = record['gradients']
    return {
        'weights': figures.draw_units(pictures, units['scale'], f'{title}\n{COLOR_KEY}', names),
        'confusion': figures.draw_confusion(
            record['confusion'], classes,
            f'{name}: confusion matrix, {len(test.labels):,} test images, accuracy {record["accuracy"]:.4f}'),
        'most_confident': figures.draw_most_confident(
            test.images, record['most_confident_errors'], record['most_confident_correct'], classes,
            f'{name}: predicted class and its probability'),
        'reliability': figures.draw_reliability(
            record['reliability'], record['accuracy'],
            f'{name}: reliability diagram, {len(record["reliability"]["count"])} bins\n'
            f'expected calibration error {record["reliability"]["ece"]:.4f}, 95 % interval [{low:.4f}, {high:.4f}]'),
        'gradients': draw_gradients(
            model, test.images[[entry['index'] for entry in gradients]], [entry['predicted'] for entry in gradients],
            [f'{classes[entry["predicted"]]} {entry["probability"]:.3f}' for entry in gradients], name),
    }


def draw_gradients(model, images, predicted, names, name):
    """Images above the gradients of the scores of their classes `predicted`."""
    gradients = inside.score_gradients(model, images, predicted)
    title = f'{name}: gradient of the class score with respect to the pixels\n{COLOR_KEY}'
    return figures.draw_gradients(images, gradients, names, title)


def table(record, classes):
    """The numbers as lines of text."""
    width = max(map(len, classes))
    wrong = np.array(record['confusion'])
    np.fill_diagonal(wrong, 0)
    lines = [f'{"":{width}}  precision  recall      F1  most frequent confusion']
    for label, name in enumerate(classes):
        other = int(wrong[label].argmax())
        confusion = f'{classes[other]} ({wrong[label, other]})' if wrong[label, other] else 'none'
        lines.append(f'{name:{width}}     {record["precision"][label]:.4f}  {record["recall"][label]:.4f}  '
                     f'{record["f1"][label]:.4f}  {confusion}')
    values = {'accuracy': record['accuracy'], 'loss': record['loss'], 'mean confidence': record['mean_confidence'],
              'expected calibration error': record['reliability']['ece']}
    intervals = {'accuracy': record['accuracy_interval'], 'expected calibration error': record['ece_interval']}
    for name, value in values.items():
        interval = '  95 % interval [{:.4f}, {:.4f}]'.format(*intervals[name]) if name in intervals else ''
        lines.append(f'{name:26}  {value:.4f}{interval}')
    return lines


def classify(model, image, classes):
    """The most probable classes of one uint8 image (3, 32, 32): {name: probability} in descending order."""
    row = inside.probabilities(model, image[None])[0]
    return {classes[label]: float(row[label]) for label in np.argsort(-row)[:TOP]}
