"""The hidden units and input gradients of a NumPy MLP, by its own forward and backward passes.

A pixel is one color channel of an image, from 0 to 1. The score of a class is its logit, before the softmax.
"""

import numpy as np

from cifar10_utils import STD, normalize_numpy
from console.errors import UserError
from modules import BatchNormModule, LinearModule, SoftMaxModule

BATCH_SIZE = 1000


def inputs_of(model, images):
    """uint8 images (S, 3, 32, 32) → the inputs of the model: normalized rows (S, M) of the type of its parameters."""
    dtype = model.layers[0].params['weight'].dtype
    return normalize_numpy(images).reshape(len(images), STD.size).astype(dtype)


def probabilities(model, images):
    """uint8 images (S, 3, 32, 32) → class probabilities (S, C). Raises UserError if one is not finite."""
    batches = np.split(images, range(BATCH_SIZE, len(images), BATCH_SIZE))
    with np.errstate(all='ignore'):
        found = np.concatenate([model.forward(inputs_of(model, batch)) for batch in batches])
    if not np.isfinite(found).all():
        raise UserError('the predictions of the model contain NaN: its parameters are too large')
    return found


def first_hidden(model):
    """The number of layers up to the first activation, including it; None without a hidden layer."""
    before = (LinearModule, BatchNormModule)
    number, layer = next((number, layer) for number, layer in enumerate(model.layers, start=1)
                         if not isinstance(layer, before))
    return None if isinstance(layer, SoftMaxModule) else number


def backward(layers, dout):
    """∂L/∂input of the layers from dout = ∂L/∂output, after a forward pass; MLP.backward skips ∂L/∂input."""
    for layer in reversed(layers):
        dout = layer.backward(dout)
    return dout


def score_gradients(model, images, classes):
    """∂Z_sc/∂pixels, the input gradient of sample s and its class c = classes[s] (derivations.md, Result 10.1).

    images: uint8 (S, 3, 32, 32), classes: integers (S,) → (S, 3, 32, 32), per unit of a pixel from 0 to 1: the
    backward pass gives the gradient with respect to the normalized input, and the factor 1/STD of each channel
    turns it into the gradient with respect to the pixel. Raises ValueError in training mode, in which batch
    normalization mixes the samples.
    """
    if model.training:
        raise ValueError('the model is in training mode: call its eval() first')
    scores = _forward(model.layers[:-1], inputs_of(model, images))  # (S, C)
    rows = np.eye(scores.shape[1])[np.asarray(classes, int)]  # (S, C)
    return backward(model.layers[:-1], rows).reshape(images.shape) / STD


def unit_pictures(model, units):
    """∂A_j/∂pixels for each j in `units`, of the pre-activation A_j, or without a hidden layer of the score.

    This is W_j / STD, and with batch normalization γ_j / s_j · W_j / STD. Returns: (len(units), 3, 32, 32).
    """
    layers = model.layers[:(first_hidden(model) or len(model.layers)) - 1]
    n_units, n_inputs = layers[0].params['weight'].shape
    _forward(layers, np.zeros((len(units), n_inputs)))
    return backward(layers, np.eye(n_units)[units]).reshape(-1, *STD.shape) / STD


def contributions(model, images):
    """How much each unit of the first hidden layer contributes to the decisions of the model: (N,).

    The mean over the images of |(H_j − mean of H_j) · ∂(Z_c − mean of all scores)/∂H_j|, with the output H_j of
    the unit and the score Z_c of the predicted class. A unit with the same output for every image, which a bias
    could replace, contributes nothing.
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
