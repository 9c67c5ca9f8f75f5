"""The variance of the layers of many small random nets, which tells a right initialization from a wrong one."""

import numpy as np


def variance_is_kept(initialize, nets=2000, widths=(20, 40, 25, 50, 30)):
    """None where each layer of many small random nets has the output variance 1; otherwise what is wrong.

    Over nets and inputs the expectation of a layer's mean y² is 1 exactly, whatever the widths; the nets are
    independent, so the mean over them may differ from it by five of its standard errors. No width is that of a
    neighbour: fan-out in place of fan-in shows.
    """
    squares = np.empty((nets, len(widths) - 1))
    for net in range(nets):
        out = np.random.normal(size=widths[0])
        for layer, (fan_in, fan_out) in enumerate(zip(widths, widths[1:])):
            out = initialize(fan_out, fan_in, input_layer=layer == 0) @ out
            squares[net, layer] = (out**2).mean()
            out = np.maximum(out, 0)
    standard_errors = squares.std(axis=0, ddof=1) / np.sqrt(nets)
    for layer, (mean, standard_error) in enumerate(zip(squares.mean(axis=0), standard_errors), 1):
        if abs(mean - 1) > 5 * standard_error:
            return (f'variance {mean:.3f} ± {standard_error:.3f} behind layer {layer}; '
                    'see docs/derivations.md, Result 7.2')
    return None


def initialization(input_gain=1.0, gain=2.0, fan_out_for_in=False):
    def initialize(out_features, in_features, input_layer=False):
        variance = (input_gain if input_layer else gain) / (out_features if fan_out_for_in else in_features)
        return np.random.normal(0, np.sqrt(variance), size=(out_features, in_features))
    return initialize
