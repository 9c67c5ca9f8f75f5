"""The statements of docs/derivations.md outside its results: the steps, the numbers, the figures."""

import math
import re

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import derivation_worlds as worlds
import derivations_page as page
import formulas
import modules
from conftest import ROOT
from counting_array import CountingArray, count_operations
from experiments import twins
from mlp_numpy import MLP

TEXT = ' '.join(page.TEXT.split())
PRODUCTS = r'2 \cdot 2 \cdot 128 \cdot 3072 \cdot 128 + 3 \cdot 2 \cdot 128 \cdot 128 \cdot 10 = 202'


@pytest.mark.parametrize('section, formula', [
    pytest.param(*step, id=f'section {step[0]}: {step[1][:60]}') for step in dict.fromkeys(page.STEPS)
    if step[1] not in page.CONDITIONS and step[1] != PRODUCTS])
def test_every_step_of_a_derivation_holds(section, formula):
    world = worlds.of_section(section, formula, np.random.default_rng(1))
    if f'for $n \\ne j$ $${formula}$$' in TEXT:
        formula = ' = '.join(rf'(1 - \delta_{{jn}}) ({side.strip(" .")})' for side in formula.split('='))
    formulas.check(formula, world, broadcast=section == 7)


def test_every_condition_is_on_the_page_and_the_shapes_of_the_products_fit():
    in_results = (result.formulas for result in page.RESULTS.values())
    assert page.CONDITIONS <= {formula for _, formula in page.STEPS}.union(*in_results)
    shapes = page.SHAPES.findall(page.TEXT)
    assert len(shapes) == 3
    for rows, inner, inner_again, columns, *product in shapes:
        assert inner == inner_again and product == [rows, columns]


@pytest.mark.parametrize('text, wrong', [
    (r'\frac{\partial L}{\partial W} = X^\top \frac{\partial L}{\partial Y}', 'has other free indices'),
    (r'Y_{ij} = \sum_k X_{ik} W_{jk} + b_i', 'could not be broadcast'),  # b has N elements, X has S rows
    (r'\frac{\partial L}{\partial b_n} = \sum_i \frac{\partial L}{\partial Y_{ij}}', 'has other free indices'),
    (r'Y = X W + \mathbf{1} b', 'mismatch'),
    (r'X_{ij} = \sum_k X_{ij}', 'a sum over k'), (r'Y_{ij} = \sum_k X_{ik} W_{jk}', 'differs'),
    ('Y = Q', 'stands for nothing'),
], ids=lambda value: value[:40])
def test_a_wrong_formula_does_not_hold(text, wrong):
    with pytest.raises((AssertionError, ValueError), match=wrong):
        formulas.check(text, worlds.linear(np.random.default_rng(1)))


def test_the_example_of_section_6_is_computed():
    logits = np.log([[5.0, 3, 2]])
    softmax, loss = modules.SoftMaxModule(), modules.CrossEntropyModule()
    y, target = softmax.forward(logits), np.array([1])
    dy, jacobian = loss.backward(y, target), np.diag(y[0]) - np.outer(y, y)
    dx = softmax.backward(dy)[0]
    rows = [logits[0], [5, 3, 2], y[0], [0, 1, 0], dy[0], *jacobian, dx, dx]
    shown = [[float(cell) for cell in cells[:3]] for _, *cells in page.table(6, 'quantity')]
    np.testing.assert_allclose(shown, np.round(rows, 3), atol=1e-9)
    assert f'or {loss.forward(y, target):.3f} |' in TEXT and f'{dy[0, 1]:.3f} times row 2' in TEXT


def test_the_numbers_of_sections_4_and_6_are_computed():
    assert f'$S C^2$ elements, {128 * 10**2:,} for a batch of 128 and 10 classes, where $Y$ has {128 * 10:,}' in TEXT
    assert f'for 1,000 classes they are {128 * 1000**2 // 10**6} million' in TEXT
    float32 = np.finfo(np.float32)
    assert f'overflows for logits above {int(np.log(float32.max))} in float32' in TEXT
    assert f'about $10^{{{round(np.log10(float32.tiny))}}}$ in float32' in TEXT
    assert 'For logits 200 apart a float32 softmax is exactly 0' in TEXT and np.exp(np.float32(-200)) == 0
    (with_einsum,) = [code for code in page.code_blocks(page.SECTIONS[4]) if '> ' not in code]
    world = worlds.softmax_module(np.random.default_rng(1))
    dy, y = world['D'], world['Y']
    assigned = page.run(with_einsum, page.in_numpy(world))
    np.testing.assert_allclose(assigned['dX'], y * (dy - (dy * y).sum(axis=1, keepdims=True)))
    assert assigned['J'].size == worlds.S * worlds.C**2


def skewed(inputs):
    """2 E[max(a, 0)²], a the sum of exponential weights with mean 0 and variance 1 / inputs: 1 if it were symmetric."""
    total = np.linspace(inputs, 40 * np.sqrt(inputs) + inputs, 200_001)  # a is positive here
    density = np.exp((inputs - 1) * np.log(total) - total - math.lgamma(inputs))  # of a sum of exponential weights
    return 2 * ((total - inputs) ** 2 / inputs * density).sum() * (total[1] - total[0])


def test_the_numbers_of_section_7_are_computed():
    assert ('half of it times {:.2f} with one input, {:.2f} with ten inputs and {:.2f} with a hundred'.format(
        *map(skewed, (1, 10, 100)))) in TEXT
    (shown,), correlation = page.table(7, 'layer'), 0.0  # of a unit's outputs for two inputs (Cho and Saul 2009)
    np.random.seed(1)
    out = np.random.normal(size=(300, 600))
    for layer, cell in enumerate(shown[1:]):
        assert cell == f'{1 - correlation:.2f}'
        out = out @ modules.kaiming_normal(600, 600, input_layer=layer == 0).T
        assert abs(out.var(axis=0).mean() / (1 - correlation) - 1) < 0.15
        correlation = (np.sqrt(1 - correlation**2) + correlation * (np.pi - np.arccos(correlation))) / np.pi
        out = np.maximum(out, 0)
    *_, third, second, first, last = map(int, re.search(r'the network ((\d+–)+\d+) the factors', TEXT)[1].split('–'))
    assert f'are {last}/{first}, {first}/{second} and {second}/{third}.' in TEXT
    assert f'the gradients have {last / first:.3f}, {last / second:.3f} and {last / third:.3f} at' in TEXT


def test_the_operations_of_section_9_are_those_of_the_default_network():
    model = MLP(3072, [128], 10)
    products = count_operations(lambda: model.backward(model.forward(np.ones((128, 3072)).view(CountingArray))))
    assert f'${PRODUCTS}$ million operations' in page.TEXT
    assert products == eval(PRODUCTS.replace(r'\cdot', '*').split('=')[0])
    assert round(products / 1e6) == int(PRODUCTS.split()[-1])


def test_the_settings_of_batch_normalization_are_those_of_the_code_and_the_differences_from_pytorch_as_listed():
    module = modules.BatchNormModule(1)
    assert f'with momentum {module.momentum}, as in PyTorch' in TEXT
    assert rf'\leftarrow {1 - module.momentum} \bar{{\mu}} + {module.momentum} \mu' in page.TEXT
    assert f'$\\epsilon = 10^{{{round(np.log10(module.eps))}}}$' in page.TEXT
    module = modules.CrossEntropyModule()
    caps = [module.forward(np.array([[0, 1]], dtype), [0]) for dtype in (np.float32, np.float64)]
    assert 'at most {:.1f} in float32, {:.1f} in float64'.format(*caps) in TEXT
    assert f'caps the loss of a sample at {caps[0]:.1f}' in twins.__doc__
    logits = torch.tensor([[-800.0, 0]])
    assert cross_entropy(logits, torch.tensor([0])) == 800 and cross_entropy(logits, torch.tensor([1])) == 0
    assert cross_entropy(torch.tensor([[0.0, 9], [0, 0]]), torch.tensor([-100, 1])) == torch.log(torch.tensor(2.0))
    assert torch.isnan(cross_entropy(torch.zeros(0, 3), torch.zeros(0, dtype=int)))
    with pytest.warns(RuntimeWarning):
        assert np.isnan(module.forward(np.zeros((0, 3)), np.zeros(0, int)))


def test_the_figures_are_drawn_by_their_script(tmp_path, run_in_process):
    assert run_in_process('docs/figures/draw.py', [str(tmp_path)]) == (0, '', '')
    for path in (ROOT / 'docs' / 'figures').glob('*.svg'):
        assert f'(figures/{path.name})' in page.TEXT
        assert (tmp_path / path.name).read_text(encoding='utf-8') == path.read_text(encoding='utf-8')
