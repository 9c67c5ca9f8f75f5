"""A multi-layer perceptron of the NumPy modules (Q1.2; PyTorch counterpart: mlp_pytorch.py)."""

import numpy as np

from modules import BatchNormModule, LinearModule, ReLUModule, SoftMaxModule


class MLP:
    """[Linear → (BatchNorm) → ReLU] × len(n_hidden) → Linear → Softmax.

    n_inputs features, n_hidden a list of the hidden layers' sizes, n_classes classes. An empty list makes a multinomial
    logistic regression. use_batch_norm adds a batch normalization between each hidden linear layer and its ReLU.
    Parameters are of type `dtype`. The attribute `arguments` holds the arguments that make the same network again, for
    a saved model.
    """

    def __init__(self, n_inputs, n_hidden, n_classes, use_batch_norm=False, dtype=np.float64):
        self.arguments = {'n_inputs': n_inputs, 'n_hidden': [*n_hidden], 'n_classes': n_classes,
                          'use_batch_norm': use_batch_norm}
        self.layers = []
        in_features = n_inputs
        for out_features in n_hidden:
            self.layers.append(LinearModule(in_features, out_features, input_layer=not self.layers, dtype=dtype))
            if use_batch_norm:
                self.layers.append(BatchNormModule(out_features, dtype=dtype))
            self.layers.append(ReLUModule())
            in_features = out_features
        self.layers.append(LinearModule(in_features, n_classes, input_layer=not self.layers, dtype=dtype))
        self.layers.append(SoftMaxModule())
        self.training = True

    def forward(self, x):
        """x: (S, n_inputs) or (S, channels, height, width) → class probabilities (S, n_classes)."""
        out = x.reshape(len(x), -1)  # (S, n_inputs)
        for layer in self.layers:
            out = layer.forward(out)
        return out

    def backward(self, dout):
        """dout = ∂L/∂probabilities: (S, n_classes). Fills the `grads` of every layer that has any."""
        first, *others = self.layers
        for layer in reversed(others):
            dout = layer.backward(dout)
        first.backward(dout, needs_input_grad=False)  # training does not use the gradient of the images

    def clear_cache(self):
        """Forget the last forward pass in every layer."""
        for layer in self.layers:
            layer.clear_cache()

    def train(self, mode=True):
        """Set training mode (batch statistics) or evaluation mode (running estimates) for batch normalization."""
        self.training = mode
        for layer in self.layers:
            if hasattr(layer, 'training'):
                layer.training = mode

    def eval(self):
        """The same as train(False)."""
        self.train(False)
