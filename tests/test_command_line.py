"""The scripts write complete results, say what was reached, and refuse what makes no sense in one line."""

import json
import runpy
import sys

import pytest
from PIL import Image

import train_mlp_pytorch
from conftest import ROOT

SCRIPTS = ['train_mlp_numpy.py', 'train_mlp_pytorch.py']
FAST = ['--epochs', '2', '--hidden_dims', '8', '--lr', '0.05', '--batch_size', '200']

BAD_ARGUMENTS = [
    (['--epochs', '0'], 'argument --epochs: '),
    (['--epochs', '2.5'], 'argument --epochs: '),
    (['--lr', 'nan'], 'argument --lr: '),
    (['--lr', '-1'], 'argument --lr: '),
    (['--lr', '0'], 'argument --lr: '),
    (['--lr', 'inf'], 'argument --lr: '),
    (['--batch_size', '0'], 'argument --batch_size: '),
    (['--batch_size', '45001'], 'argument --batch_size: '),
    (['--hidden_dims', '0'], 'argument --hidden_dims: '),
    (['--hidden_dims', '128', '-3'], 'argument --hidden_dims: '),
    (['--seed', '-1'], 'argument --seed: '),
    (['--seed', '4294967296'], 'argument --seed: '),
    (['--data_dir', 'README.md'], 'argument --data_dir: '),
    (['--results_dir', 'README.md'], 'argument --results_dir: '),
    (['--results_dir', 'README.md/folder'], 'argument --results_dir: '),
    (['--results_dir', '/proc/results'], 'argument --results_dir: '),
    (['--use_batch_norm', '--batch_size', '1'], 'argument --batch_size: '),
    (['--epoch', '3'], 'unrecognized arguments: --epoch'),
]


def run_in_process(script, arguments, monkeypatch, capsys):
    """Run a script as __main__ → (exit code, standard output, standard error)."""
    monkeypatch.setattr(sys, 'argv', [script, *arguments])
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / script), run_name='__main__')
    return ended.value.code, *capsys.readouterr()


@pytest.mark.parametrize('script', SCRIPTS)
@pytest.mark.parametrize('arguments, named', BAD_ARGUMENTS, ids=lambda value: ' '.join(value))
def test_arguments_that_make_no_sense_are_refused(script, arguments, named, monkeypatch, capsys):
    code, out, err = run_in_process(script, [*arguments], monkeypatch, capsys)
    assert (code, out) == (2, '')
    assert err.startswith(f'{script}: error: {named}') and err.count('\n') == 1
    if named.startswith('argument'):
        assert repr(arguments[-1]) in err and 'give ' in err


def test_a_device_that_is_not_there_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(train_mlp_pytorch.torch.cuda, 'is_available', lambda: False)
    for device in ('cuda', 'tpu'):
        code, _, err = run_in_process('train_mlp_pytorch.py', ['--device', device], monkeypatch, capsys)
        assert code == 2 and err.startswith(f'train_mlp_pytorch.py: error: argument --device: device is {device}')
        assert err.count('\n') == 1


@pytest.mark.parametrize('script, flags, stem', [
    ('train_mlp_numpy.py', [], 'mlp_numpy'),
    ('train_mlp_numpy.py', ['--use_batch_norm'], 'mlp_numpy_batch_norm'),
    ('train_mlp_pytorch.py', ['--use_batch_norm', '--device', 'cpu'], 'mlp_pytorch_batch_norm'),
])
def test_a_run_writes_complete_results_and_a_summary(run_script, tmp_path, script, flags, stem):
    run = run_script(script, *FAST, *flags, '--results_dir', tmp_path / 'new')
    assert (run.returncode, run.stderr) == (0, '')
    stem += '_hidden_dims8_lr0.05_batch_size200_epochs2' + '_devicecpu' * ('--device' in flags)
    assert sorted(path.name for path in (tmp_path / 'new').iterdir()) == [f'{stem}.json', f'{stem}.png']

    record = json.loads((tmp_path / 'new' / f'{stem}.json').read_text())
    assert record['config'].items() >= {'hidden_dims': [8], 'lr': 0.05, 'epochs': 2, 'seed': 42}.items()
    for key in ('train_loss', 'train_accuracy', 'val_accuracy'):
        assert len(record[key]) == 2
    assert record['best_epoch'] == 1 + record['val_accuracy'].index(max(record['val_accuracy']))
    assert 0 <= record['test_accuracy'] <= 1 and record['seconds_per_epoch'] > 0
    assert record['dataset']['name'] == 'CIFAR-10'
    assert record['environment'].keys() >= {'python', 'numpy', 'threads', 'device'}
    with Image.open(tmp_path / 'new' / f'{stem}.png') as image:
        image.verify()

    *epochs, summary, written = run.stdout.splitlines()
    assert [line.split('  ')[0] for line in epochs] == ['epoch 1/2', 'epoch 2/2']
    assert summary.startswith(f'best epoch {record["best_epoch"]} of 2: validation accuracy ')
    assert summary.endswith(f'test accuracy {record["test_accuracy"]:.4f}')
    assert f'{stem}.json' in written and f'{stem}.png' in written


def test_two_processes_with_the_same_seed_write_the_same_numbers(run_script, tmp_path):
    records = []
    for name in ('first', 'second'):
        assert run_script('train_mlp_numpy.py', *FAST, '--results_dir', tmp_path / name, cwd=tmp_path).returncode == 0
        record = json.loads(next((tmp_path / name).glob('*.json')).read_text())
        record.pop('seconds_per_epoch')
        record['config'].pop('results_dir')
        records.append(record)
    assert records[0] == records[1]


def test_the_numpy_script_runs_without_torch(run_script, tmp_path):
    run = run_script('train_mlp_numpy.py', *FAST, '--results_dir', tmp_path, WITHOUT_TORCH='1')
    assert (run.returncode, run.stderr) == (0, '')


@pytest.mark.parametrize('script', SCRIPTS)
def test_a_run_that_diverges_writes_nothing(expect_trainable, tmp_path, script, monkeypatch, capsys):
    arguments = ['--lr', '1e30', '--data_dir', expect_trainable, '--results_dir', str(tmp_path / 'new')]
    code, _, err = run_in_process(script, arguments, monkeypatch, capsys)
    assert code == 1
    assert err.startswith(f'{script}: error: the loss is nan in epoch 1, step ')
    assert err.count('\n') == 1 and not (tmp_path / 'new').exists()


def test_numpy_does_not_warn_in_a_normal_run(run_script, tmp_path):
    run = run_script('train_mlp_numpy.py', *FAST, '--results_dir', tmp_path, PYTHONWARNINGS='error')
    assert (run.returncode, run.stderr) == (0, '')


def test_unittests_prints_a_report_without_torch_too(run_script):
    run = run_script('unittests.py', WITHOUT_TORCH='1')
    assert run.returncode == 0
    assert 'linear: gradients of weight, bias and input equal central differences ... ok' in run.stderr
    assert "linear: gradients of weight, bias and input equal autograd's ... skipped" in run.stderr
