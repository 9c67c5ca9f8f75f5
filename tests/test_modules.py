"""The messages of the modules, and the types and states that the checks of unittests.py do not cover."""

import numpy as np
import pytest

import mlp_numpy
import modules
from approval import assert_approved

S, C = 4, 3
PROBABILITIES = np.full((S, C), 1 / C, np.float32)
CROSS_ENTROPY = modules.CrossEntropyModule()


def after_clear_cache(module, x):
    module.forward(x)
    module.clear_cache()
    return module.backward(x)


REFUSED = {
    'a layer without inputs': lambda: modules.LinearModule(0, 2),
    'a layer without outputs': lambda: modules.LinearModule(2, 0),
    'an MLP with a layer without units': lambda: mlp_numpy.MLP(2, [3, 0], 2),
    'rows of three features for a layer of two': lambda: modules.LinearModule(2, 1).forward(np.ones((S, 3))),
    'one row that is no matrix': lambda: modules.LinearModule(2, 1).forward(np.ones(2)),
    'rows of one feature for a batch normalization of two': lambda: modules.BatchNormModule(2).forward(np.ones((S, 1))),
    'batch normalization of one sample': lambda: modules.BatchNormModule(2).forward(np.ones((1, 2))),
    'probabilities that are integers': lambda: CROSS_ENTROPY.forward(np.ones((S, C), np.int16), [0] * S),
    'logits': lambda: CROSS_ENTROPY.forward(np.log(PROBABILITIES), [0] * S),
    'a label too large': lambda: CROSS_ENTROPY.forward(PROBABILITIES, [0, 1, 3, 2]),
    'a negative label': lambda: CROSS_ENTROPY.backward(PROBABILITIES, [0, -1, 1, 2]),
    'a label too few': lambda: CROSS_ENTROPY.forward(PROBABILITIES, np.zeros(3, np.int64)),
    'labels with a fraction': lambda: CROSS_ENTROPY.backward(PROBABILITIES, [0.0, 1.0, 2.0, 0.5]),
    'rows of two classes': lambda: CROSS_ENTROPY.forward(PROBABILITIES, np.ones((S, 2))),
}
MODULES = {'linear': lambda: modules.LinearModule(C, C), 'relu': modules.ReLUModule,
           'batch norm': lambda: modules.BatchNormModule(C), 'softmax': modules.SoftMaxModule}


def refusal(function):
    with pytest.raises((ValueError, RuntimeError)) as refused:
        function()
    return f'{refused.typename}: {refused.value}'


def test_each_refusal_says_what_was_given_and_what_is_allowed():
    lines = [f'{what}: {refusal(function)}' for what, function in REFUSED.items()]
    for name, module in MODULES.items():
        lines.append(f'backward of {name} without forward: {refusal(lambda: module().backward(PROBABILITIES))}')
        lines.append(f'and after clear_cache: {refusal(lambda: after_clear_cache(module(), PROBABILITIES))}')
    assert_approved('modules_refuse', '\n'.join(lines) + '\n')


def test_what_is_just_allowed_is_not_refused():
    assert modules.LinearModule(1, 1).forward(np.ones((0, 1))).shape == (0, 1)
    assert modules.BatchNormModule(2).forward(np.ones((2, 2))).tolist() == [[0, 0], [0, 0]]
    for labels in ([0] * S, [C - 1] * S):
        np.testing.assert_allclose(CROSS_ENTROPY.forward(PROBABILITIES, labels), np.log(C), rtol=1e-6)
    assert CROSS_ENTROPY.backward(PROBABILITIES[:0], np.zeros(0, int)).shape == (0, C)


def test_the_gradient_of_cross_entropy_has_the_type_of_the_probabilities():
    for targets in ([0] * S, np.ones((S, C), np.float64), np.ones((S, C), int)):
        assert CROSS_ENTROPY.backward(PROBABILITIES, targets).dtype == np.float32


@pytest.mark.parametrize('dtype', [np.float32, np.float64])
def test_every_array_of_a_net_has_its_type_and_stays_in_it(dtype):
    model = mlp_numpy.MLP(5, [4, 3], 2, use_batch_norm=True, dtype=dtype)
    for _ in range(2):
        model.backward(model.forward(np.random.normal(size=(S, 5)).astype(dtype)))
        arrays = [array for layer in model.layers for array in (
            *getattr(layer, 'params', {}).values(), *getattr(layer, 'grads', {}).values(),
            *(getattr(layer, name) for name in ('running_mean', 'running_var') if hasattr(layer, name)))]
        assert len(arrays) == 5 * 4 + 2 * 2 and {array.dtype for array in arrays} == {np.dtype(dtype)}


def test_the_layers_of_a_net_and_its_two_states():
    plain, normalized = mlp_numpy.MLP(5, [4, 3], 2), mlp_numpy.MLP(5, [4, 3], 2, use_batch_norm=True)
    names = [[type(layer).__name__.removesuffix('Module') for layer in model.layers] for model in (plain, normalized)]
    assert names == [['Linear', 'ReLU', 'Linear', 'ReLU', 'Linear', 'SoftMax'],
                     ['Linear', 'BatchNorm', 'ReLU', 'Linear', 'BatchNorm', 'ReLU', 'Linear', 'SoftMax']]

    def states():
        layers = normalized.layers
        return normalized.training, layers[1].training, layers[4].training, hasattr(layers[0], 'training')

    assert states() == (True, True, True, False)
    normalized.eval()
    assert states() == (False, False, False, False)
    normalized.train()
    assert states() == (True, True, True, False)
    normalized.train(False)
    assert states() == (False, False, False, False)


def test_only_the_first_layer_leaves_out_the_gradient_of_its_input(monkeypatch):
    left_out, backward = [], modules.LinearModule.backward

    def watched(self, *arguments, **options):
        dx = backward(self, *arguments, **options)
        left_out.append(dx is None)
        return dx

    monkeypatch.setattr(modules.LinearModule, 'backward', watched)
    model = mlp_numpy.MLP(5, [4, 3], 2)
    model.backward(model.forward(np.ones((S, 5))))
    assert left_out == [False, False, True]
