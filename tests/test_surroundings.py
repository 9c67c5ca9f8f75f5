"""Where the surroundings are odd, a run that can be done is done, and one that can't is refused before the training."""

import json
import os
import signal
import subprocess
import sys

import pytest

import unittests
from conftest import LINUX, ROOT
from test_command_line import ALL_SCRIPTS
from test_run import FAST, FAST_STEM


UNIX = hasattr(signal, 'SIGHUP')


@pytest.mark.skipif(not LINUX, reason='needs Linux: file descriptors')
def test_closed_outputs_are_opened_so_that_no_file_takes_their_numbers(tmp_path):
    (tmp_path / 'numpy.py').write_text('import os, sys\n'
                                       'os._exit(9 if [sys.stdout.fileno(), sys.stderr.fileno()] == [1, 2] else 1)')
    run = subprocess.run([sys.executable, str(ROOT / 'train_mlp_numpy.py')], preexec_fn=lambda: os.closerange(1, 3),
                         env={**os.environ, 'PYTHONPATH': str(tmp_path)})
    assert run.returncode == 9


def test_a_run_in_the_oddest_surroundings_writes_its_results(run_script, tmp_path):
    # All at once: nobody reads the output, no home, no language, no docstrings, one processor, few file descriptors,
    # a working directory that can't be written, threads for nested regions.
    reader, writer = os.pipe()
    os.close(reader)
    run = run_script('train_mlp_numpy.py', *FAST, '--results_dir', tmp_path, cwd='/proc', stdout=writer, HOME=None,
                     LANG='C', LC_ALL='C', PYTHONOPTIMIZE='2', CPUS='1', OMP_NUM_THREADS='2,1',
                     OPENBLAS_NUM_THREADS=None, LIMITS=json.dumps({'RLIMIT_NOFILE': 20}))
    os.close(writer)
    assert (run.returncode, run.stderr) == (0, '')
    assert sorted(path.suffix for path in tmp_path.iterdir()) == ['.json', '.npz', '.png']
    record = json.loads((tmp_path / f'{FAST_STEM}.json').read_text())
    assert record['environment']['threads'] == 1, 'there is one processor, whatever was asked for'


@pytest.mark.parametrize('stream, arguments', [('stdout', ['--solution', 'empty']), ('stderr', []),
                                               ('stderr', ['--solution', 'empty', 'empty', '--report', 'graded'])])
def test_a_report_whose_reader_goes_away_is_not_one_that_has_failed(run_in_process, monkeypatch, tmp_path, stream,
                                                                   arguments):
    # As with `| head -1`; what comes after the first line is done all the same, and decides the exit code.
    (tmp_path / 'empty').mkdir()
    reader, writer = os.pipe()
    os.close(reader)
    for name, case in vars(unittests).items():
        if name.endswith('Checks'):  # those of ReLU would inherit what is set for a base class
            monkeypatch.setattr(case, '__unittest_skip__', name != 'ReLUModuleChecks', raising=False)
    with os.fdopen(writer, 'w') as nobody:
        monkeypatch.setattr(sys, stream, nobody)
        code, out, err = run_in_process('unittests.py', arguments)
    assert (bool(code), err) == (bool(arguments), '')  # a folder without a solution counts as an error
    assert 'written' not in out and (tmp_path / 'graded' / 'summary.csv').exists() == ('--report' in arguments)


def test_without_matplotlib_and_standard_output_the_numbers_are_written(run_script, tmp_path):
    (tmp_path / f'{FAST_STEM}.png').write_text("another run's")
    run = run_script('train_mlp_numpy.py', *FAST, '--results_dir', tmp_path, WITHOUT='matplotlib', stdout=None,
                     before=lambda: os.close(1))
    assert run.returncode == 0
    assert run.stderr.startswith('could not plot the curves (') and run.stderr.count('\n') == 1
    assert run.stderr.endswith('python -m pip install matplotlib\n')
    assert sorted(path.name for path in tmp_path.iterdir()) == [f'{FAST_STEM}.json', f'{FAST_STEM}.npz'], (
        'no picture beside the numbers of another run')


@pytest.fixture
def command_line(run_in_process, expect_trainable, tmp_path):
    """command_line(*arguments) → (exit code, output, standard error) of a quick training run."""
    def run(*arguments, script='train_mlp_numpy.py'):
        return run_in_process(script, ['--data_dir', expect_trainable, *arguments])

    return run


@pytest.mark.parametrize('numpy, code, said', [
    ('raise ModuleNotFoundError(name="numpy")', 1, 'numpy is not installed: run python -m pip install -r requirements.txt'),
    ('raise KeyboardInterrupt', 130, 'interrupted'),  # from the handler of Python itself, before ours is set
    ('try: __import__("signal").raise_signal(2)\nexcept BaseException: pass', 130, 'interrupted')])
@pytest.mark.parametrize('script', [script for script in ALL_SCRIPTS if script != 'grading.agreement'])  # without NumPy
def test_imports_that_fail_or_are_interrupted_end_a_command_with_one_line(tmp_path, script, numpy, code, said):
    # Ctrl-C can be lost in the C++ of a package. A script finds its own folder with PYTHONSAFEPATH too.
    (tmp_path / 'numpy.py').write_text(numpy)
    command, safe = ([str(ROOT / script)], '1') if script.endswith('.py') else (['-m', script], '')
    run = subprocess.run([sys.executable, *command], cwd=ROOT if not safe else tmp_path, capture_output=True, text=True,
                         env={**os.environ, 'PYTHONPATH': str(tmp_path), 'PYTHONSAFEPATH': safe})
    said = f'{script}: error: {said}\n' if code == 1 else f'\n{said}\n'
    assert (run.returncode, run.stdout, run.stderr) == (code, '', said)


def test_names_that_can_not_be_written_are_refused_before_the_training(command_line, monkeypatch, tmp_path):
    monkeypatch.delattr('training.log.TrainingLog.step')
    (tmp_path / FAST_STEM).with_suffix('.05_batch_size200_epochs2.json').mkdir()
    (tmp_path / 'nowhere').symlink_to('not there')
    (tmp_path / 'circle').symlink_to('circle')
    for folder, code, complaint in (('.', 1, 'Is a directory'), ('n' * 300, 1, 'File name too long'),
                                    ('nowhere', 2, 'is not writable'), ('circle', 2, 'is not writable'),
                                    ('nowhere/inside', 2, 'is not writable')):
        ended, out, err = command_line(*FAST, '--results_dir', folder)
        assert (ended, out, err.count('\n')) == (code, '', 1) and complaint in err, folder


def test_results_that_cannot_be_written_are_in_a_temporary_folder(command_line, monkeypatch, tmp_path):
    place, elsewhere = tmp_path / 'place', tmp_path / 'elsewhere'
    elsewhere.mkdir()
    monkeypatch.setattr('tempfile.tempdir', str(elsewhere))
    monkeypatch.setattr('training.results.check_file_names', lambda stem: place.write_text('in the way'))
    before = os.umask(0o777)  # as unusual as the place
    try:
        code, out, err = command_line(*FAST, '--results_dir', str(place))
    finally:
        os.umask(before)
    folder, = elsewhere.iterdir()
    assert (code, err.count('\n')) == (1, 1) and f'place: File exists; the new files are in {folder} (' in err
    assert sorted(path.suffix for path in folder.iterdir()) == ['.json', '.npz', '.png']
    assert not UNIX or folder.stat().st_mode & 0o777 == 0o700


def test_too_little_memory_for_the_data_is_not_blamed_on_the_network(command_line, monkeypatch):
    monkeypatch.setattr('cifar10_utils.torch_randperm', lambda size, seed: [0] * 10**17)
    code, out, err = command_line()
    assert (code, out, err.count('\n')) == (1, '', 1) and 'CIFAR-10 does not fit into the memory (' in err


@pytest.mark.skipif(not UNIX, reason='needs the signals of Unix')
def test_a_signal_ends_a_run_unless_it_was_ignored(command_line, monkeypatch):
    # It is ignored under nohup; and what the signals did before is restored.
    for number, action, expected in ((signal.SIGHUP, signal.SIG_IGN, 1), (signal.SIGHUP, signal.SIG_DFL, 129),
                                     (signal.SIGTERM, signal.SIG_DFL, 143)):
        monkeypatch.setattr('training.results.check_file_names', lambda _, number=number: signal.raise_signal(number))
        before = signal.signal(number, action)
        try:
            assert command_line('--lr', '1e30')[0] == expected
            assert signal.getsignal(number) is action
        finally:
            signal.signal(number, before)


def test_a_session_that_runs_a_script_keeps_its_hook_and_its_ctrl_c(command_line, monkeypatch):
    monkeypatch.delitem(sys.modules, 'console.start', raising=False)  # as where no script has run yet
    before = sys.excepthook, signal.getsignal(signal.SIGINT)
    assert command_line('--epochs', '0')[0] == 2 and 'console.start' in sys.modules
    assert (sys.excepthook, signal.getsignal(signal.SIGINT)) == before
