"""A multi-layer perceptron in PyTorch (Q2.1; NumPy counterpart: mlp_numpy.py)."""

import torch
from torch import nn

from modules import kaiming_normal


class MLP(nn.Module):
    """[Linear → (BatchNorm) → ReLU] × len(n_hidden) → Linear.

    n_inputs features, n_hidden a list of the hidden layers' sizes, n_classes classes. An empty list makes a multinomial
    logistic regression. use_batch_norm adds a batch normalization between each hidden linear layer and its ReLU.
    The attribute `arguments` holds the arguments that make the same network again, for a saved model.

    The softmax is part of the loss (`torch.nn.functional.cross_entropy` takes logits). Weights are drawn as in
    mlp_numpy.MLP, from NumPy's global random state: the same seed gives the same initial weights.
    """

    def __init__(self, n_inputs, n_hidden, n_classes, use_batch_norm=False):
        super().__init__()
        self.arguments = {'n_inputs': n_inputs, 'n_hidden': [*n_hidden], 'n_classes': n_classes,
                          'use_batch_norm': use_batch_norm}
        layers = []
        in_features = n_inputs
        for out_features in n_hidden:
            layers.append(_linear(in_features, out_features, input_layer=not layers))
            if use_batch_norm:
                layers.append(nn.BatchNorm1d(out_features))
            layers.append(nn.ReLU())
            in_features = out_features
        layers.append(_linear(in_features, n_classes, input_layer=not layers))
        self.layers = nn.Sequential(*layers)

    def forward(self, x):
        """x: (S, n_inputs) or (S, channels, height, width) → logits (S, n_classes)."""
        return self.layers(x.flatten(start_dim=1))

    @property
    def device(self):
        """The device that holds the parameters."""
        return next(self.parameters()).device


def _linear(in_features, out_features, input_layer):
    layer = nn.Linear(in_features, out_features)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(kaiming_normal(out_features, in_features, input_layer)))
        layer.bias.zero_()
    return layer
