"""The checks themselves notice what is off by little: how much each kind of check lets pass."""

import unittest

import numpy as np
import pytest

import modules
from checks import mlp_checks, module_checks

NUMERICALLY, AUTOGRAD = 'equal central differences', "equal autograd's"


def failures_of(case):
    """The names of the checks in `case` that fail."""
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    assert not result.errors
    return ' '.join(test.shortDescription() or str(test) for test, _ in result.failures)


@pytest.mark.parametrize('relative, noticed_numerically, noticed_by_autograd', [
    (0, False, False), (1e-10, False, False), (1e-8, False, True), (1e-5, True, True)])
@pytest.mark.parametrize('case', [module_checks.LinearModuleChecks, mlp_checks.MLPChecks])
def test_a_gradient_that_is_off_by_so_much_is_noticed(monkeypatch, case, relative, noticed_numerically,
                                                      noticed_by_autograd):
    real = modules.LinearModule.backward

    def backward(self, *arguments, **options):
        dx = real(self, *arguments, **options)
        self.grads['weight'] *= 1 + relative
        return dx

    monkeypatch.setattr(modules.LinearModule, 'backward', backward)
    failed = failures_of(case)
    assert (NUMERICALLY in failed, AUTOGRAD in failed) == (noticed_numerically, noticed_by_autograd)


@pytest.mark.parametrize('case, module', [
    (module_checks.ReLUModuleChecks, modules.ReLUModule), (module_checks.SoftMaxModuleChecks, modules.SoftMaxModule),
    (module_checks.BatchNormModuleChecks, modules.BatchNormModule)])
def test_so_is_the_gradient_of_any_other_module(monkeypatch, case, module):
    real = module.backward
    for relative, number in ((0, 0), (1e-8, 1), (1e-5, 2)):  # by autograd alone, then numerically as well
        monkeypatch.setattr(module, 'backward', lambda self, dout, relative=relative: real(self, dout) * (1 + relative))
        failed = failures_of(case)
        assert sum(words in failed for words in ('autograd', 'PyTorch', 'central differences')) == number, failed


def test_the_loss_and_the_gradient_of_cross_entropy_too(monkeypatch):
    real = modules.CrossEntropyModule.backward
    for relative, number in ((0, 0), (1e-8, 1), (1e-5, 2)):
        monkeypatch.setattr(modules.CrossEntropyModule, 'backward',
                            lambda self, x, y, relative=relative: real(self, x, y) * (1 + relative))
        failed = failures_of(module_checks.CrossEntropyModuleChecks)
        assert sum(words in failed for words in ('autograd', 'central differences')) == number, failed


def test_weights_that_are_uniform_are_noticed(monkeypatch):
    real = modules.kaiming_normal

    def uniform(out_features, in_features, input_layer=False):
        real(out_features, in_features)  # refuses what can't be
        bound = np.sqrt(3 * (1 if input_layer else 2) / in_features)
        return np.random.uniform(-bound, bound, size=(out_features, in_features))

    assert failures_of(module_checks.LinearModuleChecks) == ''
    monkeypatch.setattr(modules, 'kaiming_normal', uniform)
    assert failures_of(module_checks.LinearModuleChecks).startswith('linear: the weights are normally distributed')


def test_a_cross_entropy_that_takes_a_label_outside_of_the_classes_is_noticed(monkeypatch):
    real = modules.CrossEntropyModule.forward
    monkeypatch.setattr(modules.CrossEntropyModule, 'forward',
                        lambda self, x, y: real(self, x, np.where(y == -1, 0, y) if isinstance(y, np.ndarray) else y))
    assert failures_of(module_checks.CrossEntropyModuleChecks).startswith('cross-entropy: labels outside of')
