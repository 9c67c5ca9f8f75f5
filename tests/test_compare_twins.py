"""experiments/twins.py trains both twins on every seed, keeps each run, and reports how far they agree."""

import json

import numpy as np
import pytest
from PIL import Image

from experiments import twins
from modules import CrossEntropyModule, SoftMaxModule

SETTINGS = {'hidden_dims': [8], 'lr': 0.01, 'batch_size': 200, 'epochs': 2}


@pytest.fixture
def command_line(monkeypatch, capsys):
    """command_line(*arguments) → (exit code, standard output, standard error) of the script in this process."""
    monkeypatch.setattr(twins, 'SETTINGS', SETTINGS)

    def run(*arguments):
        monkeypatch.setattr('sys.argv', ['twins.py', *map(str, arguments)])
        try:
            twins.main()
            code = 0
        except SystemExit as ended:
            code = ended.code
        return code, *capsys.readouterr()

    return run


def runs_in(folder):
    return json.loads((folder / 'twins.json').read_text())['runs']


def test_the_twins_agree(expect_trainable, tmp_path, command_line):
    code, out, err = command_line('--seeds', 2, '--data_dir', expect_trainable, '--results_dir', tmp_path)
    assert (code, err) == (0, '')
    runs = runs_in(tmp_path)
    assert all(set(run['environment']) >= {'python', 'numpy', 'platform', 'threads'} for run in runs)
    pairs = twins.compare(runs)
    assert len(pairs) == 2
    for pair in pairs:
        assert twins.relative_differences(pair).shape == (7,)
        assert twins.relative_differences(pair).max() < 1e-3
    with Image.open(tmp_path / 'twins.png') as image:
        image.verify()
    assert all(len(line) < 80 for line in out.splitlines() if not line.startswith('written'))


def test_half_a_pair_is_not_compared():
    runs = [{'twin': 'NumPy', 'seed': 1, 'use_batch_norm': False},
            {'twin': 'PyTorch', 'seed': 2, 'use_batch_norm': False}]
    assert twins.compare(runs) == []


def test_numpy_caps_the_loss_of_a_sample_where_pytorch_does_not():
    """As the module says, and the gradient is the same nonetheless."""
    import torch

    assert '87.3' in twins.__doc__
    logits, labels = np.array([[100, 0], [0, 1]], dtype=np.float32), np.array([1, 1])
    softmax, cross_entropy = SoftMaxModule(), CrossEntropyModule()
    probabilities = softmax.forward(logits)
    theirs = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(theirs, torch.from_numpy(labels))
    loss.backward()
    assert cross_entropy.forward(probabilities, labels) == pytest.approx((87.336 + 0.3133) / 2, abs=1e-3)
    assert float(loss.detach()) == pytest.approx((100 + 0.3133) / 2, abs=1e-3)
    np.testing.assert_allclose(softmax.backward(cross_entropy.backward(probabilities, labels)), theirs.grad, atol=1e-6)
