"""What a NumPy MLP computes on its way from pixels to scores, and, by its own backward pass, what each pixel does.

A pixel is a color channel of an image from 0 to 1; the score of a class is its logit, before the softmax.
"""

import numpy as np

from cifar10_utils import STD, normalize_numpy
from modules import ReLUModule

BATCH_SIZE = 1000


def inputs_of(model, images):
    """uint8 images (S, 3, 32, 32) → what the model takes: normalized rows (S, M) of the type of its parameters."""
    dtype = model.layers[0].params['weight'].dtype
    return normalize_numpy(images).reshape(len(images), STD.size).astype(dtype)


def probabilities(model, images):
    """uint8 images (S, 3, 32, 32) → class probabilities (S, C)."""
    batches = np.split(images, range(BATCH_SIZE, len(images), BATCH_SIZE))
    return np.concatenate([model.forward(inputs_of(model, batch)) for batch in batches])


def first_hidden(model):
    """How many layers lie before the output of the first hidden layer, its ReLU included; None without hidden layer."""
    relus = [number for number, layer in enumerate(model.layers, start=1) if isinstance(layer, ReLUModule)]
    return relus[0] if relus else None


def backward(layers, dout):
    """∂/∂input of the layers from ∂/∂output, after a forward pass; unlike MLP.backward, down to the input itself."""
    for layer in reversed(layers):
        dout = layer.backward(dout)
    return dout


def score_gradients(model, images, classes):
    """∂Z_sc/∂pixels: what each pixel of sample s does to the score of class c = classes[s] (derivations.md, Result 10.1).

    images: uint8 (S, 3, 32, 32), classes: integers (S,) → (S, 3, 32, 32), per unit of a pixel that
    goes from 0 to 1: the backward pass gives the gradient of the normalized input, and 1/STD of each
    channel that of the pixel. Raises ValueError in training mode, where batch normalization mixes
    the samples.
    """
    if model.training:
        raise ValueError('the model is in training mode: call its eval() first')
    scores = _forward(model.layers[:-1], inputs_of(model, images))  # (S, C)
    rows = np.eye(scores.shape[1])[np.asarray(classes, int)]  # (S, C)
    return backward(model.layers[:-1], rows).reshape(images.shape) / STD


def unit_pictures(model, units):
    """∂A_j/∂pixels for each j in `units`: of what the unit hands to its ReLU, or without hidden layer of a score.

    That is W_j / STD, and with batch normalization γ_j / s_j · W_j / STD, its scale included.
    Returns: (len(units), 3, 32, 32).
    """
    layers = model.layers[:(first_hidden(model) or len(model.layers)) - 1]
    n_units, n_inputs = layers[0].params['weight'].shape
    _forward(layers, np.zeros((len(units), n_inputs)))
    return backward(layers, np.eye(n_units)[units]).reshape(-1, *STD.shape) / STD


def contributions(model, images):
    """How much each unit of the first hidden layer moves the lead of the class that the model decides for: (N,).

    The mean over the images of |(H_j − mean of H_j) · ∂(Z_c − mean of all scores)/∂H_j|, with the
    output H of the unit and the score Z_c of the likeliest class. So a unit that is as active for
    every image, whose part a bias could play, contributes nothing.
    """
    start = first_hidden(model)
    batches = np.split(images, range(BATCH_SIZE, len(images), BATCH_SIZE))
    mean = sum(_forward(model.layers[:start], inputs_of(model, batch)).sum(axis=0, dtype=np.float64)
               for batch in batches) / len(images)
    total = 0
    for batch in batches:
        hidden = _forward(model.layers[:start], inputs_of(model, batch))
        scores = _forward(model.layers[start:-1], hidden)
        classes = scores.shape[1]
        dscores = np.eye(classes)[scores.argmax(axis=1)] - 1 / classes  # (S, C)
        total += np.abs((hidden - mean) * backward(model.layers[start:-1], dscores)).sum(axis=0)
    return total / len(images)


def _forward(layers, x):
    for layer in layers:
        x = layer.forward(x)
    return x
