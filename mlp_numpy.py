"""A multi-layer perceptron of the NumPy modules (Q1.2); its twin is mlp_pytorch.py."""

import numpy as np

from modules import LinearModule, ReLUModule, SoftMaxModule


class MLP:
    """Linear layers with a ReLU behind each, a last linear layer, softmax.

    n_inputs features, n_hidden a list of the hidden layers' sizes, n_classes classes. An empty
    list makes a multinomial logistic regression. Parameters are of type `dtype`.
    """

    def __init__(self, n_inputs, n_hidden, n_classes, dtype=np.float64):
        self.layers = []
        in_features = n_inputs
        for out_features in n_hidden:
            self.layers.append(LinearModule(in_features, out_features, input_layer=not self.layers, dtype=dtype))
            self.layers.append(ReLUModule())
            in_features = out_features
        self.layers.append(LinearModule(in_features, n_classes, input_layer=not self.layers, dtype=dtype))
        self.layers.append(SoftMaxModule())

    def forward(self, x):
        """x: (S, n_inputs) or (S, channels, height, width) → class probabilities (S, n_classes)."""
        out = x.reshape(len(x), -1)  # (S, n_inputs)
        for layer in self.layers:
            out = layer.forward(out)
        return out

    def backward(self, dout):
        """dout = ∂L/∂probabilities: (S, n_classes). Fills the `grads` of every linear layer."""
        first, *others = self.layers
        for layer in reversed(others):
            dout = layer.backward(dout)
        first.backward(dout, needs_input_grad=False)

    def clear_cache(self):
        """Forget the last forward pass in every layer."""
        for layer in self.layers:
            layer.clear_cache()
