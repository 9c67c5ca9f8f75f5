"""What docs/derivations.md says beside its results: each step of a derivation, each figure, the table of costs."""

import re

import numpy as np
import pytest

import derivation_worlds as worlds
import derivations_page as page
import formulas
import modules
import test_derivations
from counting_array import CountingArray, count_operations
from mlp_numpy import MLP

RESULT_9_PRODUCTS = r'2 \cdot 2 \cdot 128 \cdot 3072 \cdot 128 + 3 \cdot 2 \cdot 128 \cdot 128 \cdot 10 = 202'


def test_every_numbered_result_has_a_test_and_every_test_a_result():
    tests = [name for name in vars(test_derivations) if name.startswith('test_derivation_')]
    assert [name.split('_')[2:4] for name in tests] == [number.split('.') for number in page.RESULTS]
    assert [result.tests for result in page.RESULTS.values()] == [[name] for name in tests]


@pytest.mark.parametrize('section, formula', [
    pytest.param(*step, id=f'section {step[0]}: {step[1][:60]}') for step in dict.fromkeys(page.STEPS)
    if step[1] not in page.CONDITIONS and step[1] != RESULT_9_PRODUCTS])
def test_every_step_of_a_derivation_holds(section, formula):
    world = worlds.of_section(section, formula, np.random.default_rng(1))
    formulas.check(formula, world, broadcast=section == 7)


def test_every_condition_is_on_the_page():
    on_the_page = {formula for _, formula in page.STEPS}
    on_the_page |= {formula for result in page.RESULTS.values() for formula in result.formulas}
    assert page.CONDITIONS <= on_the_page


def test_the_shapes_of_the_products_fit():
    shapes = page.SHAPES.findall(page.TEXT)
    assert len(shapes) == 3
    for rows, inner, inner_again, columns, *product in shapes:
        assert inner == inner_again and product == [rows, columns]


@pytest.mark.parametrize('text, wrong', [
    (r'\frac{\partial L}{\partial W} = X^\top \frac{\partial L}{\partial Y}', 'differs'),
    (r'Y_{ij} = \sum_k X_{ik} W_{jk} + b_i', 'i runs to'),  # b has N elements, X has S rows
    (r'\frac{\partial L}{\partial b_n} = \sum_i \frac{\partial L}{\partial Y_{ij}}', 'differs'),  # n is lost
    (r'Y = X W + \mathbf{1} b', 'mismatch'),
    (r'X_{ij} = \sum_k X_{ij}', 'a sum over k'),
    ('Y = Q', 'stands for nothing'),
], ids=lambda value: value[:40])
def test_a_wrong_formula_does_not_hold(text, wrong):
    with pytest.raises((AssertionError, ValueError), match=wrong):
        formulas.check(text, worlds.linear(np.random.default_rng(1)))


def operations(formula, **sizes):
    """A cell of the table of costs: '$2 S M N$ (weight) $+ S N$ (bias)' → a number."""
    formula = ' '.join(re.findall(r'\$(.+?)\$', formula))
    ((_, value),), = formulas.evaluate(formula, worlds.World(sizes))
    return float(value.array)


def run_module(name, rng, samples, features, outputs, classes):
    """(module, its forward pass, its backward pass), on arrays that count."""
    def array(rows, columns):
        return rng.uniform(0.1, 1, size=(rows, columns)).view(CountingArray)

    x, dout, logits, targets = (array(samples, outputs), array(samples, outputs), array(samples, classes),
                                array(samples, classes))
    if name == 'linear':
        module, x = modules.LinearModule(features, outputs), array(samples, features)
    elif name == 'cross-entropy':
        module = modules.CrossEntropyModule()
        return module, lambda: module.forward(logits, targets), lambda: module.backward(logits, targets)
    elif name == 'softmax':
        module, x, dout = modules.SoftMaxModule(), logits, targets
    else:
        module = modules.ReLUModule() if name == 'ReLU' else modules.BatchNormModule(outputs)
    return module, lambda: module.forward(x), lambda: module.backward(dout)


@pytest.mark.parametrize('name, forward, backward, kept', [row for row in page.table(9, 'module') if row[0] != 'SGD'],
                         ids=lambda cell: cell)
def test_the_table_of_costs_is_what_the_modules_do(rng, monkeypatch, name, forward, backward, kept):
    monkeypatch.setattr(np, 'asarray', np.asanyarray)  # which lets an array go on counting
    sizes = {'S': 60, 'M': 50, 'N': 40, 'C': 30}
    module, run_forward, run_backward = run_module(name, rng, *sizes.values())
    before = set(map(id, vars(module).values()))
    allowed = 12 * max(sizes.values())  # what grows with samples or features alone; less than half of S C
    assert abs(sum(count_operations(run_forward)) - operations(forward, **sizes)) <= allowed
    arrays = [value for key, value in vars(module).items() if key.startswith('_') and id(value) not in before]
    assert abs(sum(map(np.size, arrays)) - (0 if kept == 'nothing' else operations(kept, **sizes))) <= allowed
    assert abs(sum(count_operations(run_backward)) - operations(backward, **sizes)) <= allowed


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def test_the_figures_of_section_9_are_those_of_the_default_net(rng):
    samples, (inputs, hidden, classes) = 128, (3072, 128, 10)
    model = MLP(inputs, [hidden], classes)
    x = rng.normal(size=(samples, inputs)).view(CountingArray)
    products, _ = count_operations(lambda: model.backward(model.forward(x)))
    assert f'${RESULT_9_PRODUCTS}$ million operations' in page.TEXT
    assert products == eval(RESULT_9_PRODUCTS.replace(r'\cdot', '*').split('=')[0])
    assert round(products / 1e6) == int(RESULT_9_PRODUCTS.split()[-1])

    others = 2 * samples * inputs  # to normalize the images: a factor and a shift
    cells = {name: cells for name, *cells in page.table(9, 'module')}
    for features, outputs in [(inputs, hidden), (hidden, classes)]:
        sizes = {'S': samples, 'M': features, 'N': outputs, 'C': classes}
        others += 2 * operations('$S N$', **sizes)  # the bias, forward and backward
        others += operations(cells['SGD'][1], **sizes)
    for name in ('ReLU', 'softmax', 'cross-entropy'):
        others += sum(operations(cell, S=samples, N=hidden, C=classes) for cell in cells[name][:2])
    assert f'everything else together about {others / 1e6:.1f} million, {others / products:.1%} of that' in (
        page.TEXT.replace(' percent', '%').replace('\n', ' '))


def test_the_figures_of_sections_4_and_6_are_computed():
    text = ' '.join(page.TEXT.split())
    assert f'$S C^2$ elements, {128 * 10**2:,} for a batch of 128 and 10 classes, where $Y$ has {128 * 10:,}' in text
    assert f'for 1,000 classes they are {128 * 1000**2 // 10**6} million' in text
    float32 = np.finfo(np.float32)
    assert f'overflows for logits above {int(np.log(float32.max))} in float32' in text
    assert f'about $10^{{{round(np.log10(float32.tiny))}}}$ in float32' in text
    assert 'For logits 200 apart a float32 softmax is exactly 0' in text and np.exp(np.float32(-200)) == 0


def test_the_momentum_and_epsilon_of_the_page_are_those_of_the_code():
    module = modules.BatchNormModule(1)
    assert f'with momentum {module.momentum}, as in PyTorch' in ' '.join(page.TEXT.split())
    assert rf'\leftarrow {1 - module.momentum} \bar{{\mu}} + {module.momentum} \mu' in page.TEXT
    assert f'$\\epsilon = 10^{{{round(np.log10(module.eps))}}}$' in page.TEXT
