"""The NumPy and the PyTorch MLP are the same network: same start, same steps, to rounding."""

import inspect
import json

import numpy as np
import pytest
import torch
from PIL import Image

import mlp_numpy
import mlp_pytorch
import train_mlp_pytorch
from experiments import twins
from modules import CrossEntropyModule
from test_models import OTHER_NETWORKS
from train_mlp_numpy import sgd_step
from training.models import named_layers

STEPS, BATCH_SIZE, FEATURES, LR = 50, 32, 20, 0.1


def further(step):
    """A value for each argument of a step after `model` and `lr`; torch.optim.SGD has arguments of the same names."""
    return {name: 0.25 for name in [*inspect.signature(step).parameters][2:]}


def arrays_of(numpy_model, torch_model):
    """Pairs of the same parameter or running statistic in both models."""
    for (_, ours), (_, theirs) in zip(named_layers(numpy_model), named_layers(torch_model), strict=True):
        for name, tensor in theirs.state_dict().items():
            if name != 'num_batches_tracked':
                yield ours.params[name] if name in ours.params else getattr(ours, name), tensor


def train_both(n_hidden, network, dtype):
    """Train the twins on the same batches; return both models and their losses."""
    rng = np.random.default_rng(0)
    np.random.seed(0)
    numpy_model = mlp_numpy.MLP(FEATURES, n_hidden, 10, dtype=dtype, **network)
    torch_model = mlp_pytorch.MLP(FEATURES, n_hidden, 10, **network).to(getattr(torch, np.dtype(dtype).name))
    if not np.array_equal(*(numpy_model.forward(np.ones((2, FEATURES), dtype)) for _ in range(2))):
        pytest.skip('this network draws at random in training')
    for ours, theirs in arrays_of(numpy_model, torch_model):
        theirs.copy_(torch.from_numpy(ours))
    optimizer = torch.optim.SGD(torch_model.parameters(), LR, **further(sgd_step))
    loss_module = CrossEntropyModule()
    losses = []
    for _ in range(STEPS):
        images = rng.normal(size=(BATCH_SIZE, FEATURES)).astype(dtype)
        labels = (images[:, :10] + images[:, 10:]).argmax(axis=1)
        probabilities = numpy_model.forward(images)
        numpy_model.backward(loss_module.backward(probabilities, labels))
        sgd_step(numpy_model, LR, **further(sgd_step))
        loss = torch.nn.functional.cross_entropy(torch_model(torch.from_numpy(images)), torch.from_numpy(labels))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append((loss_module.forward(probabilities, labels), loss.item()))
    return numpy_model, torch_model, np.array(losses)


@pytest.mark.parametrize('dtype, tolerance', [(np.float64, 1e-10), (np.float32, 1e-4)])
@pytest.mark.parametrize('network', [{}, *OTHER_NETWORKS])
@pytest.mark.parametrize('n_hidden', [[16], [16, 12, 8]])
def test_after_50_steps_the_twins_agree(n_hidden, network, dtype, tolerance):
    numpy_model, torch_model, losses = train_both(n_hidden, network, dtype)
    assert losses[-10:].mean() < losses[:10].mean()
    np.testing.assert_allclose(losses[:, 0], losses[:, 1], rtol=tolerance, atol=tolerance)
    pairs = list(arrays_of(numpy_model, torch_model))
    assert len(pairs) == 2 * (len(n_hidden) + 1) + 4 * len(n_hidden) * ('use_batch_norm' in network)
    for ours, theirs in pairs:
        assert ours.dtype == dtype
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=tolerance, atol=tolerance)


def test_our_step_in_pytorch_is_that_of_its_optimizer():
    torch.manual_seed(0)
    models = [torch.nn.Linear(FEATURES, 10) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    ours = train_mlp_pytorch.sgd_step
    optimizer = torch.optim.SGD(models[1].parameters(), LR, **further(ours))
    for _ in range(5):
        x = torch.randn(BATCH_SIZE, FEATURES)
        for model in models:
            model.zero_grad()
            model(x).logsumexp(dim=1).sum().backward()
        ours(models[0], LR, **further(ours))
        optimizer.step()
    for param, expected in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(param, expected)


@pytest.mark.parametrize('sizes', [(FEATURES, [16, 12], 10, False), (FEATURES, [16, 12], 10, True), (400, [], 100)])
def test_the_same_seed_gives_both_the_same_start(sizes):
    np.random.seed(3)
    numpy_model = mlp_numpy.MLP(*sizes, dtype=np.float32)
    np.random.seed(3)
    torch_model = mlp_pytorch.MLP(*sizes)
    for ours, theirs in arrays_of(numpy_model, torch_model):
        np.testing.assert_array_equal(ours, theirs.numpy())
    if not sizes[1]:  # the only layer of a logistic regression is an input layer, with gain 1
        assert numpy_model.layers[0].params['weight'].std() == pytest.approx(1 / 20, rel=0.02)


def test_both_scripts_start_alike_and_see_the_same_batches(expect_trainable, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(twins, 'SETTINGS', {'hidden_dims': [16], 'lr': 0.01, 'batch_size': 100, 'epochs': 1})
    arguments = ['--seeds', '5', '--data_dir', expect_trainable, '--results_dir', str(tmp_path)]
    monkeypatch.setattr('sys.argv', ['twins.py', *arguments])
    twins.main()
    out, err = capsys.readouterr()
    assert err == '' and all(len(line) < 80 for line in out.splitlines() if not line.startswith('written'))
    runs = json.loads((tmp_path / 'twins.json').read_text())['runs']
    assert all(set(run['environment']) >= {'python', 'numpy', 'platform', 'threads'} for run in runs)
    for ours, theirs in twins.compare(runs):
        assert len(ours['first_epoch_loss']) == 14
        np.testing.assert_allclose(ours['first_epoch_loss'], theirs['first_epoch_loss'], rtol=1e-3)
        assert ours['test_accuracy'] == pytest.approx(theirs['test_accuracy'], abs=0.004)
    with Image.open(tmp_path / 'twins.png') as image:
        image.verify()
    assert len(twins.compare(runs)) == 2 and len(twins.compare(runs[:-1])) == 1  # half a pair is not compared
