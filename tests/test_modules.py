"""The types and states of the modules that the checks of unittests.py do not cover."""

import numpy as np
import pytest

import mlp_numpy
import modules
from approval import assert_catalogue

S, C = 4, 3
PROBABILITIES = np.full((S, C), 1 / C, np.float32)
CROSS_ENTROPY = modules.CrossEntropyModule()


def test_the_smallest_valid_inputs_are_accepted():
    assert modules.LinearModule(1, 1).forward(np.ones((0, 1))).shape == (0, 1)
    assert modules.BatchNormModule(2).forward(np.ones((2, 2))).tolist() == [[0, 0], [0, 0]]
    for labels in ([0] * S, [C - 1] * S):
        np.testing.assert_allclose(CROSS_ENTROPY.forward(PROBABILITIES, labels), np.log(C), rtol=1e-6)
    assert CROSS_ENTROPY.backward(PROBABILITIES[:0], np.zeros(0, int)).shape == (0, C)


def test_what_a_module_refuses_is_told_as_approved():
    def outcome(call):
        with pytest.raises((ValueError, RuntimeError)) as caught:
            eval(call, {**vars(modules), 'X': PROBABILITIES})
        return caught.value

    assert_catalogue('module_errors', outcome)


def test_the_gradient_of_cross_entropy_has_the_type_of_the_probabilities():
    for targets in ([0] * S, np.ones((S, C), np.float64), np.ones((S, C), int)):
        assert CROSS_ENTROPY.backward(PROBABILITIES, targets).dtype == np.float32


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_every_array_of_a_network_has_its_type_and_keeps_it(dtype):
    model = mlp_numpy.MLP(5, [4, 3], 2, use_batch_norm=True, dtype=dtype)
    for _ in range(2):
        model.backward(model.forward(np.random.normal(size=(S, 5)).astype(dtype)))
        kept = [[vars(layer), getattr(layer, 'params', {}), getattr(layer, 'grads', {})] for layer in model.layers]
        arrays = [array for values in sum(kept, []) for array in values.values() if isinstance(array, np.ndarray)]
        assert len(arrays) >= 5 * 4 + 2 * 2 and {array.dtype for array in arrays} <= {np.dtype(dtype), np.dtype(bool)}


def test_the_layers_of_a_network_and_its_two_states():
    plain, normalized = mlp_numpy.MLP(5, [4, 3], 2), mlp_numpy.MLP(5, [4, 3], 2, use_batch_norm=True)
    for model, layers in ((plain, 'Linear ReLU Linear ReLU Linear SoftMax'),
                          (normalized, 'Linear BatchNorm ReLU Linear BatchNorm ReLU Linear SoftMax')):
        assert [type(layer).__name__.removesuffix('Module') for layer in model.layers] == layers.split()
    layers = normalized.layers
    for change, expected in ((lambda: None, True), (normalized.eval, False), (normalized.train, True),
                             (lambda: normalized.train(False), False)):
        change()
        states = normalized.training, layers[1].training, layers[4].training, hasattr(layers[0], 'training')
        assert states == (expected, expected, expected, False)


def test_only_the_first_layer_skips_the_gradient_of_its_input(monkeypatch):
    skipped, backward = [], modules.LinearModule.backward

    def watched(self, *arguments, **options):
        dx = backward(self, *arguments, **options)
        skipped.append(dx is None)
        return dx

    monkeypatch.setattr(modules.LinearModule, 'backward', watched)
    model = mlp_numpy.MLP(5, [4, 3], 2)
    model.backward(model.forward(np.ones((S, 5))))
    assert skipped == [False, False, True]
