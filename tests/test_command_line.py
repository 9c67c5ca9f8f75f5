"""The scripts write complete results, say what was reached, and refuse what makes no sense in one line."""

import json
import re

import pytest
from PIL import Image

from conftest import LINUX
from training import models

SCRIPTS = ['train_mlp_numpy.py', 'train_mlp_pytorch.py']
ALL_SCRIPTS = [*SCRIPTS, 'compare_batch_norm.py', 'experiments.twins', 'unittests.py', 'benchmark',
               'inspection']
FAST = ['--epochs', '2', '--hidden_dims', '8', '--lr', '0.05', '--batch_size', '200']
FAST_STEM = 'mlp_numpy_hidden_dims8_lr0.05_batch_size200_epochs2'

# The assignment's own numbers, and ours.
OF_A_RUN = {'--hidden_dims': '128', '--lr': '0.1', '--batch_size': '128', '--epochs': '10', '--seed': '42',
            '--results_dir': 'results/'}
DEFAULTS = {
    'train_mlp_numpy.py': OF_A_RUN,
    'train_mlp_pytorch.py': {**OF_A_RUN, '--device': 'auto'},
    'compare_batch_norm.py': {'--seeds': '42', '--lr': '0.1', '--batch_size': '128', '--epochs': '20',
                              '--results_dir': 'results/'},
    'experiments.twins': {'--seeds': '42 43 44 45 46', '--results_dir': 'results/'},
    'unittests.py': {'--timeout': '20'},
    'benchmark': {'--rounds': '5', '--results_dir': 'results/'},
    'inspection': {'--results_dir': 'results/'},
}

FOLDERS = [['--data_dir', 'a file'], ['--data_dir', ''], ['--results_dir', 'a file'],
           ['--results_dir', 'a file/folder'], ['--results_dir', '/proc/results'], ['--results_dir', '']]
TRAINING = [
    *(['--epochs', value] for value in ('0', '-3', '2.5', 'ten', '', '1\n2')), ['--threads', '0'],
    *(['--lr', value] for value in ('nan', '-1', '0', 'inf', '-inf', '-.5', '-1e5', '1e-999', '0,1', '3.5e38', 'é')),
    *(['--batch_size', value] for value in ('0', '45001', '-128', '1e3')),
    *(['--hidden_dims', *values.split()] for values in ('0', '128 -3', '65537', '12.5', '[128]', '128,64', '9' * 30)),
    *(['--seed', value] for value in ('-1', '4294967296', 'x')), ['--use_batch_norm', '--batch_size', '1'],
    ['--lr'], ['--seed', '--lr', '1'], ['--epoch', '3'], ['--use_batchnorm'], ['3'], ['-1'], ['--lr=-1', '-2'],
    ['--epochs=2', '-3'], *FOLDERS]
BAD_INVOCATIONS = [
    *(('train_mlp_numpy.py', case) for case in [*TRAINING, ['--device', 'cpu']]),
    *(('train_mlp_pytorch.py', case) for case in [*TRAINING, ['--device', 'tpu'], ['--device', 'cuda']]),
    *(('compare_batch_norm.py', case) for case in [
        ['--seeds', '-1'], ['--seeds', '1', 'x'], ['--jobs', '0'], ['--epochs', '0'], ['--lr', 'nan'],
        ['--batch_size', '0'], ['--batch_size', '1'], ['--hidden_dims', '128'], *FOLDERS]),
    *(('experiments.twins', case) for case in [['--seeds', '1.5'], ['--epochs', '3'], *FOLDERS]),
    *(('unittests.py', case) for case in [['--solution', 'nowhere'], ['--timeout', '0'], ['-k', 'linear']]),
    ('benchmark', ['--rounds', '0']),
    *(('inspection', ['a model', *case]) for case in [*FOLDERS, ['--images']]), ('inspection', []),
]


@pytest.mark.parametrize('columns', ['40', '120'])
@pytest.mark.parametrize('script', ALL_SCRIPTS)
def test_help_shows_each_default(run_in_process, monkeypatch, script, columns):
    monkeypatch.setenv('COLUMNS', columns)
    code, out, err = run_in_process(script, ['--help'])
    assert (code, err) == (0, '')
    options = re.split(r'\n  (?=--)', out.split('options:')[1])[1:]
    assert len(options) >= 2
    defaults = {}
    for option in options:
        flag, shown = re.match(r'(--\w+)(?:.*\(default: ([^)]*)\))?', ' '.join(option.split())).groups()
        defaults[flag] = shown
    assert defaults.items() >= DEFAULTS[script].items()


@pytest.mark.parametrize('script, flags, stem', [
    ('train_mlp_numpy.py', [], 'mlp_numpy'),
    ('train_mlp_numpy.py', ['--use_batch_norm'], 'mlp_numpy_batch_norm'),
    ('train_mlp_pytorch.py', ['--use_batch_norm', '--device', 'cpu'], 'mlp_pytorch_batch_norm'),
])
def test_a_run_writes_complete_results_and_a_summary(run_script, tmp_path, script, flags, stem):
    # From another working directory, to a path with a space and a letter beyond ASCII, on 40 columns, with every
    # warning an error, and a log file in place of a terminal.
    run = run_script(script, *FAST, *flags, '--results_dir', 'neue Ergebnüsse', cwd=tmp_path, COLUMNS='40',
                     PYTHONWARNINGS='error')
    assert (run.returncode, run.stderr) == (0, ''), 'no warning, no debris of a progress bar'
    results = tmp_path / 'neue Ergebnüsse'
    stem += '_hidden_dims8_lr0.05_batch_size200_epochs2' + '_devicecpu' * ('--device' in flags)
    assert sorted(path.name for path in results.iterdir()) == [f'{stem}.json', f'{stem}.npz', f'{stem}.png']

    record = json.loads((results / f'{stem}.json').read_text())
    assert record['config'].items() >= {'hidden_dims': [8], 'lr': 0.05, 'epochs': 2, 'seed': 42}.items()
    for key in ('train_loss', 'train_accuracy', 'val_accuracy'):
        assert len(record[key]) == 2
    assert len(record['val_loss']) == 3
    model, training = models.load_numpy(results / f'{stem}.npz')
    assert training['test_accuracy'] == record['test_accuracy'] and training['settings']['hidden_dims'] == [8]
    assert 'results_dir' not in training['settings'], 'the same run makes the same file wherever it writes'
    assert record['best_epoch'] == 1 + record['val_accuracy'].index(max(record['val_accuracy']))
    assert 0 <= record['test_accuracy'] <= 1 and record['seconds_per_epoch'] > 0
    assert record['dataset']['name'] == 'CIFAR-10'
    assert record['environment'].keys() >= {'python', 'numpy', 'threads', 'device'}
    with Image.open(results / f'{stem}.png') as image:
        image.verify()

    *epochs, summary, written = run.stdout.splitlines()
    assert [line.split('  ')[0] for line in epochs] == ['epoch 1/2', 'epoch 2/2']
    assert summary.startswith(f'best epoch {record["best_epoch"]} of 2: validation accuracy ')
    assert summary.endswith(f'test accuracy {record["test_accuracy"]:.4f} '
                            f'(last epoch: test accuracy {record["last_test_accuracy"]:.4f})')
    assert all(f'{stem}.{kind}' in written for kind in ('json', 'png', 'npz'))


def test_two_processes_with_the_same_seed_write_the_same_numbers(run_script, tmp_path):
    # The second twice at once, into one folder; one of the two reports to a full device.
    def start(name, **options):
        return run_script('train_mlp_numpy.py', *FAST, '--results_dir', tmp_path / name, cwd=tmp_path, start_only=True,
                          OMP_NUM_THREADS='2', OPENBLAS_NUM_THREADS='2', **options)

    if not LINUX:
        pytest.skip('needs Linux: a device that is always full')
    with open('/dev/full', 'w') as full:
        processes = [start('first'), start('second'), start('second', stdout=full)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert errors == ['', '', 'cannot write to standard output ([Errno 28] No space left on device); the work continues\n']
    records = []
    for name in ('first', 'second'):
        record = json.loads((tmp_path / name / f'{FAST_STEM}.json').read_text())
        record.pop('seconds_per_epoch')
        record['config'].pop('results_dir')
        records.append(record)
        with Image.open(tmp_path / name / f'{FAST_STEM}.png') as image:
            image.load()
        assert len(list((tmp_path / name).iterdir())) == 3
    assert records[0] == records[1]


def test_the_numpy_script_runs_without_torch(run_script, tmp_path):
    run = run_script('train_mlp_numpy.py', *FAST, '--results_dir', tmp_path, WITHOUT='torch')
    assert (run.returncode, run.stderr) == (0, '')


@pytest.mark.parametrize('script', SCRIPTS)
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


def test_loss_and_accuracy_stand_whole_in_a_terminal_of_80_columns(run_script, tmp_path):
    run = run_script('train_mlp_numpy.py', '--epochs', '1', '--hidden_dims', '8', '--batch_size', '1', '--results_dir',
                     tmp_path, terminal_columns=80)
    assert run.returncode == 0
    assert re.search(r'epoch 1/1: .*%\|.*\| \d+/1400, \S+ left, loss \d\.\d{4}, accuracy \d\.\d{4}\s*$', run.stdout, re.M)


def test_threads_are_chosen_by_a_flag_that_the_record_and_the_name_carry(run_script, tmp_path):
    run = run_script('train_mlp_numpy.py', *FAST, '--threads', '1', '--results_dir', tmp_path, OMP_NUM_THREADS='2',
                     OPENBLAS_NUM_THREADS='2')
    assert run.returncode == 0
    record = json.loads((tmp_path / 'mlp_numpy_hidden_dims8_lr0.05_batch_size200_epochs2_threads1.json').read_text())
    assert record['environment']['threads'] == record['config']['threads'] == 1


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


def test_unittests_ends_with_0_where_no_check_fails(run_in_process):
    code, _, err = run_in_process('unittests.py', [])
    assert code in (0, False) and err.endswith('\nOK\n')
