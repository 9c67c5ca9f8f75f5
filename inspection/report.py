"""The numbers and figures of an inspection, from a model and images."""

import numpy as np

from inspection import figures, inside, metrics

SHOWN_UNITS = 128
SHOWN_SUREST = 12
LIKELIEST = 3
SHOWN_IMAGES = 50
COLOR_KEY = 'grey: 0; a color brighter than grey: more of it raises {0}; darker: more of it lowers {0}'


def inspect(model, test):
    """Everything that is drawn or printed, as a dict for JSON.

    model: mlp_numpy.MLP in evaluation mode; test: a cifar10_utils.Dataset. `surest_wrong` and
    `surest_right` are the images with the largest probabilities, `gradients` the surest right image
    of each class, `units` the first layer's units with the largest contributions
    (inside.contributions), the largest first.
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
    firsts = {entry['label']: entry for entry in reversed(right)}  # the last one to be set is the surest
    return {
        'accuracy': float(correct.mean()),
        'loss': float(-np.log(probabilities[np.arange(len(labels)), labels], dtype=np.float64).mean()),
        'mean_confidence': float(confidence.mean(dtype=np.float64)),
        'confusion': confusion.tolist(),
        'precision': precision.tolist(), 'recall': recall.tolist(), 'f1': f1.tolist(),
        'reliability': metrics.reliability(confidence, correct),
        'surest_wrong': [entry for entry in entries if not correct[entry['index']]][:SHOWN_SUREST],
        'surest_right': right[:SHOWN_SUREST],
        'gradients': [firsts[label] for label in sorted(firsts)],
        'units': _units(model, test.images),
    }


def _units(model, images):
    """The units that are shown, the scale of their pictures, and what each contributes, as a share of all."""
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
    """The figures of a record of `inspect`: what each shows → a figure."""
    units = record['units']
    pictures = inside.unit_pictures(model, np.array(units['index']))
    if units['share_of_contributions'] is None:
        title, names = f'{name}: what raises the score of each class\n' + COLOR_KEY.format('the score'), classes
    else:
        title = (f'{name}: weights of the first layer, a picture for each unit, the largest contribution first\n'
                 + COLOR_KEY.format('its input'))
        names = None
    ece = record['reliability']['ece']
    return {
        'weights': figures.draw_units(pictures, units['scale'], title, names),
        'confusion': figures.draw_confusion(
            record['confusion'], classes,
            f'{name}: {len(test.labels):,} test images, accuracy {record["accuracy"]:.4f}'),
        'surest': figures.draw_surest(test.images, record['surest_wrong'], record['surest_right'], classes,
                                      f'{name}: test images with the largest probabilities'),
        'confidence': figures.draw_reliability(record['reliability'], record['accuracy'],
                                               f'{name}: expected calibration error {ece:.4f}'),
        'gradients': draw_gradients(
            model, test.images[[entry['index'] for entry in record['gradients']]],
            [entry['predicted'] for entry in record['gradients']],
            [f'{classes[entry["predicted"]]} {entry["probability"]:.3f}' for entry in record['gradients']], name),
    }


def draw_gradients(model, images, predicted, names, name):
    """Images beside the gradients of the scores of their classes `predicted`."""
    gradients = inside.score_gradients(model, images, predicted)
    title = f'{name}: ∂(score of the class)/∂(pixels)\n' + COLOR_KEY.format('the score')
    return figures.draw_gradients(images, gradients, names, title)


def table(record, classes):
    """The numbers as lines of text."""
    width = max(map(len, classes))
    wrong = np.array(record['confusion'])
    np.fill_diagonal(wrong, 0)
    lines = [f'{"":{width}}  precision  recall      F1  most often taken for']
    for label, name in enumerate(classes):
        other = int(wrong[label].argmax())
        taken = f'{classes[other]} ({wrong[label, other]})' if wrong[label, other] else 'none other'
        lines.append(f'{name:{width}}     {record["precision"][label]:.4f}  {record["recall"][label]:.4f}  '
                     f'{record["f1"][label]:.4f}  {taken}')
    return [*lines, f'accuracy {record["accuracy"]:.4f}, loss {record["loss"]:.4f}, mean confidence '
                    f'{record["mean_confidence"]:.4f}, expected calibration error {record["reliability"]["ece"]:.4f}']


def classify(model, image, classes):
    """The likeliest classes of one uint8 image (3, 32, 32): {name: probability}, the likeliest first."""
    row = inside.probabilities(model, image[None])[0]
    return {classes[label]: float(row[label]) for label in np.argsort(-row, kind='stable')[:LIKELIEST]}
