"""Mean squares in many small random networks, which tell a right initialization from a wrong one."""

import numpy as np


def standard_scores(initialize, nets=2000, widths=(20, 40, 25, 50, 30)):
    """How many standard errors the mean squares in each layer are from their expectations (Results 7.2 and 7.3).

    Returns two arrays: of the outputs, with expectation 1, and of ∂L/∂(output) in the hidden layers, with the
    expectation outputs / units of the layer. No two widths are equal, so that fan-out instead of fan-in shows.
    """
    outputs, gradients = np.empty((nets, len(widths) - 1)), np.empty((nets, len(widths) - 2))
    for net in range(nets):
        out, weights, active = np.random.normal(size=widths[0]), [], []
        for layer, (fan_in, fan_out) in enumerate(zip(widths, widths[1:])):
            weights.append(initialize(fan_out, fan_in, input_layer=layer == 0))
            out = weights[-1] @ out
            outputs[net, layer] = (out**2).mean()
            active.append(out > 0)
            out = np.maximum(out, 0)
        grad = np.random.normal(size=widths[-1])
        for layer in range(len(widths) - 3, -1, -1):
            grad = grad @ weights[layer + 1] * active[layer]
            gradients[net, layer] = (grad**2).mean()
    return [(squares.mean(axis=0) - expected) / (squares.std(axis=0, ddof=1) / np.sqrt(nets))
            for squares, expected in ((outputs, 1), (gradients, widths[-1] / np.array(widths[1:-1])))]


def initialization(input_gain=1.0, gain=2.0, fan_out_for_in=False):
    def initialize(out_features, in_features, input_layer=False):
        variance = (input_gain if input_layer else gain) / (out_features if fan_out_for_in else in_features)
        return np.random.normal(0, np.sqrt(variance), size=(out_features, in_features))
    return initialize
