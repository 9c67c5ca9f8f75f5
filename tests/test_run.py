"""A run of a training script: all that it says and writes, as approved and as a process, whole or ended early."""

import contextlib
import json
import signal
import sys
from unittest import mock

import pytest
from PIL import Image

import mlp_numpy
from approval import assert_approved
from conftest import LINUX, PATIENCE
from training import command_line, models, results

FAST = ['--epochs', '2', '--hidden_dims', '8', '--lr', '0.05', '--batch_size', '200']
FAST_STEM = 'mlp_numpy_hidden_dims8_lr0.05_batch_size200_epochs2'


@pytest.mark.parametrize('script, flags, stem, without', [
    ('train_mlp_numpy.py', [], 'mlp_numpy', 'torch'),
    ('train_mlp_pytorch.py', ['--use_batch_norm', '--device', 'cpu'], 'mlp_pytorch_batch_norm', '')])
def test_a_run_writes_complete_results_and_a_summary(run_script, tmp_path, script, flags, stem, without):
    # From another working directory, to a path with a space and a letter beyond ASCII, on 40 columns, with every
    # warning an error, and a log file instead of a terminal; the NumPy script without PyTorch.
    run = run_script(script, *FAST, *flags, '--results_dir', 'neue Ergebnüsse', cwd=tmp_path, COLUMNS='40',
                     PYTHONWARNINGS='error', WITHOUT=without)
    assert (run.returncode, run.stderr) == (0, ''), 'no warning, no debris of a progress bar'
    results = tmp_path / 'neue Ergebnüsse'
    stem += '_hidden_dims8_lr0.05_batch_size200_epochs2' + '_devicecpu' * ('--device' in flags)
    assert sorted(path.name for path in results.iterdir()) == [f'{stem}.json', f'{stem}.npz', f'{stem}.png']

    record = json.loads((results / f'{stem}.json').read_text())
    assert record['config'].items() >= {'hidden_dims': [8], 'lr': 0.05, 'epochs': 2, 'seed': 42}.items()
    assert [len(record[key]) for key in ('train_loss', 'train_accuracy', 'val_accuracy', 'val_loss')] == [2, 2, 2, 3]
    assert record['environment'].keys() >= {'python', 'numpy', 'threads', 'device'} and record['seconds_per_epoch'] > 0
    model, training = models.load_numpy(results / f'{stem}.npz')
    assert training['test_accuracy'] == record['test_accuracy'] and training['settings']['hidden_dims'] == [8]
    with Image.open(results / f'{stem}.png') as image:
        image.verify()
    *epochs, summary, written = run.stdout.splitlines()
    assert [line.split('  ')[0] for line in epochs] == ['epoch 1/2', 'epoch 2/2']
    assert summary.startswith(f'best epoch {record["best_epoch"]} of 2: validation accuracy ')
    assert all(f'{stem}.{kind}' in written for kind in ('json', 'png', 'npz'))


@pytest.mark.skipif(not LINUX, reason='needs Linux: a device that is always full')
def test_two_processes_with_the_same_seed_write_the_same_numbers(run_script, tmp_path):
    # The second twice at once, into one folder; one of the two reports to a full device.
    def start(name, **options):
        return run_script('train_mlp_numpy.py', *FAST, '--results_dir', tmp_path / name, cwd=tmp_path, start_only=True,
                          OMP_NUM_THREADS='2', OPENBLAS_NUM_THREADS='2', **options)

    with open('/dev/full', 'w') as full:
        processes = [start('first'), start('second'), start('second', stdout=full)]
    errors = [process.communicate(timeout=PATIENCE)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert errors[:2] == ['', ''] and errors[2] == (
        'cannot write to standard output ([Errno 28] No space left on device); the work continues\n')
    records = [json.loads((tmp_path / name / f'{FAST_STEM}.json').read_text()) for name in ('first', 'second')]
    for record, name in zip(records, ('first', 'second')):
        del record['seconds_per_epoch'], record['config']['results_dir']
        with Image.open(tmp_path / name / f'{FAST_STEM}.png') as image:
            image.load()
        assert len(list((tmp_path / name).iterdir())) == 3
    assert records[0] == records[1]


@pytest.mark.parametrize('script', ['train_mlp_numpy.py', 'train_mlp_pytorch.py'])
def test_a_run_that_diverges_writes_nothing(expect_trainable, tmp_path, script, run_in_process):
    arguments = ['--lr', '1e30', '--data_dir', expect_trainable, '--results_dir', str(tmp_path / 'new')]
    code, _, err = run_in_process(script, arguments)
    assert code == 1
    assert err.startswith(f'{script}: error: training diverged: loss is nan at epoch 1, step ')
    assert err.count('\n') == 1 and not (tmp_path / 'new').exists()


def test_a_terminal_shows_a_progress_bar_that_is_gone_at_the_end(run_script, tmp_path):
    run = run_script('train_mlp_numpy.py', *FAST, '--results_dir', tmp_path, terminal_columns=40)
    assert run.returncode == 0
    assert 'epoch 1/2: ' in run.stdout and 'epoch 2/2  train loss' in run.stdout
    # A carriage return arrives as the end of a line here: each bar is followed by another one or by spaces over it.
    lines = run.stdout.splitlines()
    bars = [number for number, line in enumerate(lines) if '%|' in line]
    assert bars and all(len(lines[number]) <= 40 for number in bars)
    assert all(number + 1 in bars or lines[number + 1].isspace() for number in bars)


def test_unittests_prints_a_report_without_torch_and_without_the_letters_of_mathematics_too(run_script):
    run = run_script('unittests.py', WITHOUT='torch', PYTHONIOENCODING='ascii')
    assert run.returncode == 0 and 'Traceback' not in run.stderr and '\nOK' in run.stderr
    assert 'linear: gradients of weight, bias and input equal central differences ... ok' in run.stderr
    assert "linear: gradients of weight, bias and input equal autograd's ... skipped" in run.stderr


def test_a_net_too_large_for_the_memory_is_refused_in_one_line(run_script, tmp_path):
    run = run_script('train_mlp_numpy.py', '--hidden_dims', '65536', '--results_dir', tmp_path,
                     LIMITS=json.dumps({'RLIMIT_AS': 1500 * 10**6}))
    assert run.returncode == 1 and run.stderr.count('\n') == 1 and not list(tmp_path.iterdir())
    assert run.stderr.startswith('train_mlp_numpy.py: error: out of memory (')
    assert run.stderr.endswith('use smaller --hidden_dims or --batch_size\n')


def test_on_a_full_disk_the_message_says_so_and_what_was_there_stays(run_script, trainable, tmp_path):
    names = {f'{FAST_STEM}.{ending}' for ending in ('json', 'png', 'npz')}
    (tmp_path / 'results').mkdir()
    for name in names:
        (tmp_path / 'results' / name).write_text('from before')
    trainable.write_folder(tmp_path / 'data')
    # Room for the numbers, but neither for the cache of the data nor for the picture.
    run = run_script('train_mlp_numpy.py', *FAST, '--results_dir', tmp_path / 'results', data_dir=tmp_path / 'data',
                     LIMITS=json.dumps({'RLIMIT_FSIZE': 10_000}))
    assert run.returncode == 1 and 'test accuracy' in run.stdout.splitlines()[-1], 'what the run has reached is said'
    of_the_data, of_the_results = run.stderr.splitlines()
    assert 'cifar10.bin could not be written (' in of_the_data
    assert of_the_results == (f'train_mlp_numpy.py: error: {tmp_path}/results/{FAST_STEM}.png: File too large '
                              '(existing files are unchanged)')
    left = {path.name: path.read_text() for path in (tmp_path / 'results').iterdir()}
    assert left == dict.fromkeys(names, 'from before')
    assert not [path for path in (tmp_path / 'data').iterdir() if 'cifar10.bin' in path.name]


@pytest.mark.parametrize('number', [getattr(signal, name) for name in ('SIGINT', 'SIGHUP') if hasattr(signal, name)])
def test_ctrl_c_and_the_end_of_the_terminal_end_a_run_with_one_line_and_write_nothing(run_script, tmp_path, number):
    process = run_script('train_mlp_numpy.py', '--epochs', '10000', '--results_dir', tmp_path / 'new', start_only=True)
    assert process.stdout.readline().startswith('epoch     1/10000')
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert err == '\ntrain_mlp_numpy.py: interrupted; no result was written\n'
    assert not (tmp_path / 'new').exists()


INFO = {'train_loss': [2.5, 1.5, 1.25], 'train_accuracy': [0.25, 0.5, 0.5], 'val_accuracy': [0.375, 0.625, 0.5],
        'best_epoch': 2, 'dataset': {'name': 'CIFAR-10'}, 'last_test_accuracy': 0.53125,
        'environment': {'numpy': '2.0', 'threads': 2}}


@pytest.fixture
def trained(monkeypatch, capsys, tmp_path):
    """trained(*arguments, **options of command_line.main) without a training → all that is said and written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results, 'ROOT', tmp_path)
    monkeypatch.setattr(results, 'REFERENCE_DIR', tmp_path / 'reference')
    monkeypatch.setattr(results.curves, 'draw', lambda name, record: f'curves of {name}, {record["test_accuracy"]}')
    monkeypatch.setattr(results, 'png_bytes', str.encode)
    told = []
    monkeypatch.setattr(command_line.threads, 'use_threads', lambda count: told.append(f'{count} threads'))
    monkeypatch.setattr(command_line.threads, 'use_idle_processors', lambda: told.append('room left'))
    (tmp_path / 'reference').mkdir()
    reference = {**INFO, 'test_accuracy': 0.4321, 'environment': {'platform': 'CP/M Z80', 'numpy': '0.9', 'threads': 2}}
    (tmp_path / 'reference' / 'mlp_epochs3.json').write_text(json.dumps(reference))

    def train(hidden_dims, lr, batch_size, epochs, seed, data_dir, use_batch_norm):
        values = [hidden_dims, use_batch_norm, lr, batch_size, epochs, seed, data_dir]
        told.append(f'trained with {values}')
        return mlp_numpy.MLP(2, [], 2), 'not looked at', 0.5625, INFO

    def run(*arguments, module='elsewhere', fails=None, **options):
        monkeypatch.setattr(sys, 'argv', ['train.py', *arguments, '--data_dir', 'data'])
        train.__module__ = module
        told[:] = [f'$ python train.py {" ".join(arguments)}']
        with monkeypatch.context() as patch, contextlib.suppress(SystemExit):
            if fails:
                patch.setattr(results, *fails)
            command_line.main('mlp', train, object, 'A training.', **options)
        out, err = capsys.readouterr()
        told.extend(text.rstrip() for text in (err, out) if text)
        for path in sorted(path for path in tmp_path.rglob('*.*') if path.parent.name != 'reference'):
            text = json.dumps(models.load_numpy(path)[1]) if path.suffix == '.npz' else path.read_text().rstrip()
            told.extend([f'--- {path.relative_to(tmp_path).as_posix()}', text])
            path.unlink()
        return '\n'.join(told) + '\n'

    return run


def test_all_that_a_run_says_and_writes_is_as_approved(trained):
    assert_approved('run', '\n'.join([
        trained('--epochs', '3', '--results_dir', 'new/one'),
        trained('--epochs', '3', '--threads', '1', '--use_batch_norm', '--hidden_dims', '4', '3', module='__main__'),
        trained('--seed', '7', module='__main__'), trained('--epochs', '3', writes=False),
        trained('--use_batch_norm', '--hidden_dims', '--batch_size', '1'),
        trained('--use_batch_norm', '--batch_size', '2'),
        trained('--epochs', '1', fails=('check_file_names', mock.Mock(side_effect=KeyboardInterrupt))),
        trained('--epochs', '1', fails=('png_bytes', mock.Mock(side_effect=ImportError('no backend')))),
        trained('--epochs', '1', fails=('png_bytes', lambda figure: 1 / 0))]))
