"""twins.py trains both twins on every seed and reports how far they agree."""

import io
import json

import numpy as np
from PIL import Image

from experiments import twins


def test_the_twins_are_compared_seed_by_seed(expect_trainable, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(twins, 'SETTINGS', {'hidden_dims': [8], 'lr': 0.01, 'batch_size': 200, 'epochs': 2})
    monkeypatch.setattr('sys.argv', ['twins.py', '--seeds', '1', '2', '--data_dir', expect_trainable,
                                     '--results_dir', str(tmp_path / 'new')])
    twins.main()
    runs = json.loads((tmp_path / 'new' / 'twins.json').read_text())['runs']
    assert [(run['seed'], run['use_batch_norm'], run['twin']) for run in runs] == [
        (seed, use_batch_norm, twin) for seed in (1, 2) for use_batch_norm in (False, True)
        for twin in ('NumPy', 'PyTorch')]
    for pair in twins.compare(runs):
        assert twins.relative_differences(pair).shape == (7,)
        assert twins.relative_differences(pair).max() < 1e-3
    with Image.open(io.BytesIO((tmp_path / 'new' / 'twins.png').read_bytes())) as image:
        image.verify()
    left, middle, right = twins.draw(twins.compare(runs)).axes
    assert {line.get_label(): line.get_ydata().tolist() for line in left.lines} == {
        run['twin']: run['first_epoch_loss'] for run in runs[:2]}
    differences = {'without batch normalization': runs[:2], 'with batch normalization': runs[2:4]}
    for line in middle.lines[:2]:
        expected = np.maximum(twins.relative_differences(differences[line.get_label()]), 1e-8)
        np.testing.assert_array_equal(line.get_ydata(), expected)
    shown = {line.get_label(): list(zip(np.round(line.get_xdata()), line.get_ydata())) for line in right.lines}
    assert shown == {f'{twin}, {word} batch normalization': [
        (run['seed'], run['test_accuracy']) for run in runs
        if (run['twin'], run['use_batch_norm']) == (twin, word == 'with')]
        for twin in ('NumPy', 'PyTorch') for word in ('with', 'without')}
    out = capsys.readouterr().out
    assert out.count('\n| 1 | ') == 2 and out.count('\n| 2 | ') == 2
