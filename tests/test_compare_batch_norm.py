"""compare_batch_norm.py: the study resumes where it was stopped, mixes nothing, and has one writer at a time."""

import concurrent.futures
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

import compare_batch_norm
import small_study
from conftest import LINUX, PATIENCE, ROOT
from experiments import batch_norm_runs
from experiments.study import missing, only_writer
from generated_data import json_of
from small_study import FLAGS, LEARNING_RATES, NETS, PATCHES, SETTINGS

FIGURES = ['batch_norm_train.png', 'batch_norm_validation.png']
CONTROL_FIGURES = [f'batch_norm_{name}.png' for name in ('fit', 'gradient', 'groups', 'rates', 'spread')]
WRITTEN = {'batch_norm.json', 'batch_norm.md', *FIGURES}
LOCK = '.batch_norm.json.lock'


def read(folder):
    return json.loads((folder / 'batch_norm.json').read_text())


def without_seconds(results):
    return [{key: value for key, value in run.items() if key not in ('seconds_per_epoch', 'environment')}
            for kind in batch_norm_runs.KINDS for run in results[kind]]


@pytest.fixture
def small_nets(monkeypatch):
    monkeypatch.setattr(batch_norm_runs, 'NETS', NETS)
    monkeypatch.setattr(batch_norm_runs, 'LEARNING_RATES', LEARNING_RATES)
    monkeypatch.setattr(concurrent.futures, 'ProcessPoolExecutor', small_study.threads_for_processes)


@pytest.fixture
def command_line(small_nets, monkeypatch, capsys):
    """command_line(*arguments) → (exit code, standard output, standard error) of the script in this process."""
    def run(*arguments):
        monkeypatch.setattr('sys.argv', ['compare_batch_norm.py', *map(str, arguments)])
        try:
            compare_batch_norm.main()
            code = 0
        except SystemExit as ended:
            code = ended.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture(scope='module')
def extended_study(study, trainable, trainable_dir, tmp_path_factory):
    """The small study with its controls, which goes on from the six configurations of the other fixture."""
    folder = tmp_path_factory.mktemp('extended')
    (folder / 'batch_norm.json').write_bytes((study / 'batch_norm.json').read_bytes())
    small_study.run_here(folder, trainable_dir, trainable.content(), extended=True)
    return folder


@pytest.fixture
def start_study(run_script):
    """start_study(folder, *flags) → a running process whose first run is written; ended with the test."""
    processes = []

    def start(folder, *flags):
        process = run_script('compare_batch_norm.py', *FLAGS, *flags, '--results_dir', folder, PATCHES=PATCHES,
                             start_only=True)
        processes.append(process)
        give_up = time.monotonic() + PATIENCE
        while not (folder / 'batch_norm.json').exists():
            assert process.poll() is None and time.monotonic() < give_up, 'the study wrote no run'
            time.sleep(0.01)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate(timeout=PATIENCE)


def test_alone_it_does_what_the_assignment_asks(study):
    results = read(study)
    assert [(run['hidden_dims'], run['use_batch_norm'], run['seed']) for run in results['runs']] == [
        (hidden_dims, use_batch_norm, 42) for hidden_dims in NETS for use_batch_norm in (False, True)]
    assert not any(results[kind] for kind in batch_norm_runs.KINDS[1:])
    for run in results['runs']:
        assert len(run['train_accuracy']) == len(run['val_accuracy']) == 2
        assert run['best_epoch'] in (1, 2) and 0 <= run['test_accuracy'] <= 1
    assert {path.name for path in study.iterdir()} == WRITTEN | {LOCK}
    for name in FIGURES:
        with Image.open(study / name) as image:
            image.verify()


def test_the_defaults_are_the_assignments():
    assert batch_norm_runs.NETS == [[128], [256, 128], [512, 256, 128]]
    assert batch_norm_runs.SETTINGS == {'lr': 0.1, 'batch_size': 128, 'epochs': 20}


def test_every_run_tells_where_it_was_made(study):
    for run in read(study)['runs']:
        assert set(run['environment']) >= {'python', 'numpy', 'torch', 'platform', 'threads', 'device'}


def test_extended_adds_the_controls_and_their_figures(extended_study, study):
    results = read(extended_study)
    assert results['runs'] == read(study)['runs']  # which were there: nothing was trained again
    assert {(len(run['hidden_dims']), run['use_batch_norm'], run['epochs'], run['start']) for run in results['start_runs']} == {
        *((size, False, 2, 'normalized') for size in (1, 2, 3)),
        *((size, use_batch_norm, 2, scale) for size in (1, 2, 3) for use_batch_norm in (False, True) for scale in (0.1, 10))}
    assert [(run['hidden_dims'], run['group_size']) for run in results['group_runs']] == [
        (net, size) for net in NETS for size in (25, 50)]
    assert {(len(run['hidden_dims']), run['use_batch_norm'], run['lr']) for run in results['learning_rate_runs']} == {
        (size, use_batch_norm, lr) for size in (1, 2, 3) for use_batch_norm in (False, True) for lr in (0.003, 0.01, 1e30)}
    assert {path.name for path in extended_study.iterdir()} == WRITTEN | {LOCK, *CONTROL_FIGURES}


def test_the_most_telling_runs_come_first_and_the_selection_seed_always(small_nets, study):
    results = read(study)
    stages = [stage for stage in compare_batch_norm.stages([7], SETTINGS, results, extended=True) if stage]
    assert {run['seed'] for _, run in stages[0]} == {run['seed'] for stage in stages for _, run in stage} == {42, 7}
    kinds = [(stage[0][0], stage[0][1]['seed']) for stage in stages[1:]]
    rates = [('learning_rate_runs', 42)] * len(batch_norm_runs.LEARNING_RATES)
    assert kinds == [*rates, ('learning_rate_runs', 42), *((kind, seed) for kind in (
        'start_runs', 'group_runs', 'learning_rate_runs', 'start_runs') for seed in (42, 7))]
    for run in results['runs'].copy():  # another rate that is better, for the smallest network without batch normalization
        if run['hidden_dims'] == NETS[0] and not run['use_batch_norm']:
            results['learning_rate_runs'].append({**run, 'lr': 0.5, 'val_accuracy': [0.99, 0.99]})
    assert [(run['lr'], run['use_batch_norm']) for _, run in batch_norm_runs.planned_rates(7, SETTINGS, results)] == [(0.5, False)]


def test_of_the_larger_nets_rates_are_tried_until_both_neighbours_of_the_best_are_worse(monkeypatch):
    monkeypatch.setattr(batch_norm_runs, 'LEARNING_RATES', [0.003, 0.01, 0.03, 0.3])
    settings = {'lr': 0.1, 'batch_size': 128, 'epochs': 1}
    reached = {False: {0.003: 0.1, 0.01: 0.9, 0.03: 0.8, 0.1: 0.5, 0.3: None}, True: {0.03: 0.1, 0.1: 0.2, 0.3: 0.3}}
    results, tried = {'runs': [], 'learning_rate_runs': []}, []

    def trained(run):
        best = reached[run['use_batch_norm']][run['lr']]
        return {**run, 'val_accuracy': [best]} if best else {**run, 'diverged': 'the loss is inf'}

    results['runs'] = [trained(run) for run in batch_norm_runs.planned_runs([42], settings)]
    monkeypatch.setattr(batch_norm_runs, 'SMALL_RATES', [])
    for stage in compare_batch_norm.stages([42], settings, results, extended=True):
        todo = [run for kind, run in missing(stage, {**dict.fromkeys(batch_norm_runs.KINDS, []), **results})
                if kind == 'learning_rate_runs' and run['hidden_dims'] == batch_norm_runs.NETS[2]]
        results['learning_rate_runs'] += map(trained, todo)
        if todo:
            tried.append([(run['use_batch_norm'], run['lr']) for run in todo])
    assert tried == [[(False, 0.03), (False, 0.3), (True, 0.03), (True, 0.3)], [(False, 0.01)], [(False, 0.003)]]


def test_a_study_at_one_of_the_other_rates_tries_the_rates_on_both_sides_of_it(monkeypatch):
    monkeypatch.setattr(batch_norm_runs, 'LEARNING_RATES', [0.003, 0.01, 0.03, 0.3])
    settings = {'lr': 0.03, 'batch_size': 128, 'epochs': 1}
    runs = [{**run, 'val_accuracy': [0.5]} for run in batch_norm_runs.planned_runs([42], settings)]
    results = {'runs': runs, 'learning_rate_runs': []}
    planned = batch_norm_runs.planned_rates(42, settings, results)
    assert [run['lr'] for _, run in planned] == [0.01, 0.3] * 6


def test_a_killed_study_goes_on_and_repeats_nothing(study, start_study, command_line, expect_trainable, tmp_path):
    process = start_study(tmp_path)
    process.kill()
    process.communicate(timeout=PATIENCE)  # ends only when the training processes have closed their output too
    kept = read(tmp_path)['runs']
    assert 1 <= len(kept) < 6
    code, _, err = command_line(*FLAGS, '--results_dir', tmp_path, '--data_dir', expect_trainable)
    assert (code, err) == (0, '')
    assert without_seconds(read(tmp_path)) == without_seconds(read(study))
    for finished in kept:  # with the very seconds it took: it was not trained again
        assert finished in read(tmp_path)['runs']


def descendants(pid):
    """The processes that a process has started, and those that they have; none where there is no /proc."""
    for stat in Path('/proc').glob('[0-9]*/stat'):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if int(stat.read_text().rpartition(')')[2].split()[1]) == pid:
                yield int(stat.parent.name)
                yield from descendants(int(stat.parent.name))


@pytest.mark.parametrize('name, code', [('SIGINT', 130), ('SIGTERM', 143), ('SIGHUP', 129)])
def test_a_signal_keeps_the_finished_runs_and_leaves_no_process(start_study, tmp_path, name, code):
    if not hasattr(signal, name):
        pytest.skip(f'this system has no {name}')
    process = start_study(tmp_path)
    for pid in [*descendants(process.pid), process.pid] if name != 'SIGTERM' else [process.pid]:
        os.kill(pid, getattr(signal, name))  # a terminal sends its signals to all
    _, err = process.communicate(timeout=PATIENCE)  # ends only when no process is left that could write to it
    number = len(read(tmp_path)['runs'])
    assert process.returncode == code and number
    assert err == (f'\ncompare_batch_norm.py: interrupted; {number} finished run{"s" * (number != 1)} kept in '
                   f'{tmp_path / "batch_norm.json"}, the same command goes on\n')


@pytest.mark.skipif(not LINUX, reason='needs Linux: finds the processes in /proc')
@pytest.mark.parametrize('name', ['SIGINT', 'SIGHUP'])
def test_a_signal_while_the_processes_start_is_told_once(run_script, tmp_path, name):
    process = run_script('compare_batch_norm.py', *FLAGS, '--results_dir', tmp_path, PATCHES=PATCHES, start_only=True)
    give_up = time.monotonic() + PATIENCE
    while len(started := list(descendants(process.pid))) < 2:  # one keeps track of locks, one trains
        assert process.poll() is None and time.monotonic() < give_up, 'no process was started'
    for pid in [*started, process.pid]:
        os.kill(pid, getattr(signal, name))
    _, err = process.communicate(timeout=PATIENCE)
    assert err == '\ncompare_batch_norm.py: interrupted; no run was finished, the same command starts again\n'


class Heard(io.StringIO):
    """A standard error that can be waited for."""

    def __init__(self):
        super().__init__()
        self.line_has_ended = threading.Event()

    def write(self, text):
        super().write(text)
        if '\n' in text:
            self.line_has_ended.set()


def test_a_second_study_in_the_folder_waits_and_keeps_what_the_first_has_written(study, command_line, expect_trainable,
                                                                                 monkeypatch, tmp_path):
    filename = tmp_path / 'batch_norm.json'
    heard = Heard()
    monkeypatch.setattr('sys.stderr', heard)
    lock = contextlib.ExitStack()
    lock.enter_context(only_writer(filename))

    def end_the_first():
        assert heard.line_has_ended.wait(PATIENCE)
        filename.write_bytes((study / 'batch_norm.json').read_bytes())  # while the second one waits
        lock.close()

    with concurrent.futures.ThreadPoolExecutor() as executor:
        first = executor.submit(end_the_first)
        code, _, _ = command_line(*FLAGS, '--seeds', '7', '--results_dir', tmp_path, '--data_dir', expect_trainable)
        first.result()
    assert code == 0
    assert heard.getvalue() == f'another study is writing to {filename}; this one waits until it has ended\n'
    assert [run['seed'] for run in read(tmp_path)['runs']] == [7] * 6 + [42] * 6


def test_only_training_needs_torch(study, run_script, tmp_path):
    (tmp_path / 'batch_norm.json').write_bytes((study / 'batch_norm.json').read_bytes())
    run = run_script('compare_batch_norm.py', '--plot_only', '--results_dir', tmp_path, PATCHES=PATCHES, WITHOUT='torch')
    assert (run.returncode, run.stderr) == (0, '') and 'written:' in run.stdout
    run = run_script('compare_batch_norm.py', *FLAGS, '--seeds', '7', '--results_dir', tmp_path, PATCHES=PATCHES,
                     WITHOUT='torch')
    assert (run.returncode, run.stderr) == (1, 'compare_batch_norm.py: error: torch is not installed: '
                                               'run python -m pip install -r requirements.txt\n')


@pytest.mark.skipif(not LINUX, reason='needs Linux: a limit on the size of files')
def test_figures_on_a_full_disk_are_missed_in_one_line_and_the_old_ones_stay(study, command_line, tmp_path):
    import resource

    (tmp_path / 'batch_norm.json').write_bytes((study / 'batch_norm.json').read_bytes())
    (tmp_path / FIGURES[0]).write_text('from before')
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        code, _, err = command_line(*FLAGS, '--plot_only', '--results_dir', tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 1 and err.count('\n') == 1
    assert 'File too large' in err and str(tmp_path) in err
    assert (tmp_path / FIGURES[0]).read_text() == 'from before'
    assert read(tmp_path) == read(study)


def changed(**values):
    """A function that puts these values into the first run of a text of results; a value may be a text of JSON."""
    def change(text):
        results = json.loads(text)
        results['runs'][0].update({name: f'@{name}' for name in values})
        text = json.dumps(results)
        for name, value in values.items():
            text = text.replace(json.dumps(f'@{name}'), value)
        return text.encode()

    return change


DAMAGE = {  # what else a file can't be: tests/test_study_files.py
    'cut': lambda text: text[:len(text) // 2].encode(), 'not UTF-8': lambda text: b'\xff\xfe',
    'nested deep': lambda text: b'[' * 10**5, 'nested deep in a run': changed(lr='[' * 10**5 + ']' * 10**5),
    'a number of 5,000 digits': changed(seed='9' * 5000),
}


@pytest.mark.parametrize('damage', DAMAGE)
def test_a_damaged_file_is_left_as_it_is(study, command_line, expect_trainable, tmp_path, damage):
    content = DAMAGE[damage]((study / 'batch_norm.json').read_text())
    (tmp_path / 'batch_norm.json').write_bytes(content)
    for flags in (FLAGS, ['--plot_only']):
        code, _, err = command_line(*flags, '--results_dir', tmp_path, '--data_dir', expect_trainable)
        assert code == 1 and 'is damaged' in err and 'move it away' in err
        assert err.count('\n') == 1 and len(err) < 1000
        assert (tmp_path / 'batch_norm.json').read_bytes() == content
        assert {path.name for path in tmp_path.iterdir()} <= {'batch_norm.json', LOCK}


def test_a_learning_rate_at_which_nets_diverge_gives_a_whole_study(command_line, expect_trainable, tmp_path):
    """Of the six configurations too, and the next start finds nothing left to do."""
    for word in ('written', 'nothing is left to train'):
        code, out, err = command_line(*FLAGS, '--lr', '1e30', '--epochs', '1', '--results_dir', tmp_path,
                                      '--data_dir', expect_trainable)
        assert (code, err) == (0, '') and word in out
    results = read(tmp_path)
    assert len(results['runs']) == 6
    diverged = [run for run in results['runs'] if 'diverged' in run]
    assert {run['diverged'] for run in diverged} >= {'training diverged: loss is nan at epoch 1, step 2 (learning rate 1e+30)'}
    assert out.count('loss not finite in 1 of 1') == len(diverged)


def test_a_script_without_a_main_guard_is_told_so_and_does_not_wait_for_itself(tmp_path, trainable, trainable_dir):
    script = tmp_path / 'script.py'  # run_script.py, imported, puts generated data in the place of CIFAR-10
    script.write_text(f'import run_script, compare_batch_norm\ncompare_batch_norm.train_models('
                      f'{str(tmp_path / "a" / "runs.json")!r}, jobs=1, data_dir={str(trainable_dir)!r}, settings={{"epochs": 1}})\n')
    ended = subprocess.run([sys.executable, script], stderr=subprocess.PIPE, text=True, timeout=120, env={
        **os.environ, 'PYTHONPATH': f'{ROOT}{os.pathsep}{ROOT / "tests"}', 'GENERATED_CONTENT': json_of(trainable.content())})
    assert ended.returncode == 1 and ended.stderr.count('\n') == 1
    assert ended.stderr.startswith("put the script's call under `if __name__ == '__main__':`")
