"""compare_batch_norm.py in processes of its own, with networks that train in a fraction of a second."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from conftest import LINUX, PATIENCE, ROOT
from generated_data import json_of

NETS = [[4], [5, 4], [6, 5, 4]]
COMMAND = ['compare_batch_norm.py', '--epochs', '2', '--batch_size', '200', '--jobs', '1', '--results_dir']
PATCHES = json.dumps({'experiments.batch_norm_runs.NETS': NETS})


def read(folder):
    return json.loads((folder / 'batch_norm.json').read_text())


@pytest.fixture
def start_study(run_script, tmp_path):
    """start_study(condition) → a running process for which condition(process) has become true."""
    def start(condition):
        process = run_script(*COMMAND, tmp_path, start_only=True, PATCHES=PATCHES)
        give_up = time.monotonic() + PATIENCE
        while not condition(process):
            assert process.poll() is None and time.monotonic() < give_up, 'the study ended or did not begin'
            time.sleep(0.01)
        return process

    return start


def descendants(pid):
    """The processes that a process has started, and those that they have; none where there is no /proc."""
    for stat in Path('/proc').glob('[0-9]*/stat'):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if int(stat.read_text().rpartition(')')[2].split()[1]) == pid:
                yield int(stat.parent.name)
                yield from descendants(int(stat.parent.name))


def test_a_killed_study_resumes_and_does_what_the_assignment_asks(start_study, run_script, tmp_path):
    run = run_script(*COMMAND, tmp_path, '--plot_only', PATCHES=PATCHES, WITHOUT='torch')  # only training needs torch
    assert run.returncode == 1 and 'holds no run to plot' in run.stderr
    process = start_study(lambda _: (tmp_path / 'batch_norm.json').exists())
    process.kill()
    process.communicate(timeout=PATIENCE)  # ends only when the training processes have closed their output too
    kept = read(tmp_path)['runs']
    run = run_script(*COMMAND, tmp_path, PATCHES=PATCHES)
    assert (run.returncode, run.stderr) == (0, '')
    left = 6 - len(kept)
    assert run.stdout.startswith(f'training {left} network') and f'{left}/{left}  hidden' in run.stdout
    runs = read(tmp_path)['runs']
    assert 1 <= len(kept) < 6 and all(finished in runs for finished in kept)  # with the very seconds they took
    assert [(run['hidden_dims'], run['use_batch_norm'], run['seed']) for run in runs] == [
        (hidden_dims, use_batch_norm, 42) for hidden_dims in NETS for use_batch_norm in (False, True)]
    for finished in runs:
        assert len(finished['train_accuracy']) == len(finished['val_accuracy']) == 2
        assert finished['best_epoch'] in (1, 2) and 0 <= finished['test_accuracy'] <= 1
        assert set(finished['environment']) >= {'python', 'numpy', 'torch', 'platform', 'threads', 'device'}
    figures = {'batch_norm_train.png', 'batch_norm_validation.png'}
    assert {path.name for path in tmp_path.iterdir()} == {
        'batch_norm.json', 'batch_norm.md', '.batch_norm.json.lock', *figures}
    for name in figures:
        with Image.open(tmp_path / name) as image:
            image.verify()


@pytest.mark.parametrize('condition', [
    pytest.param(None, id='after a run'),
    pytest.param(lambda process: len(list(descendants(process.pid))) >= 2,  # one keeps track of locks, one trains
                 id='at the start', marks=pytest.mark.skipif(not LINUX, reason='needs Linux, for /proc'))])
def test_ctrl_c_is_told_once_keeps_the_finished_runs_and_leaves_no_process(start_study, tmp_path, condition):
    path = tmp_path / 'batch_norm.json'
    process = start_study(condition or (lambda _: path.exists()))
    for pid in [*descendants(process.pid), process.pid]:  # a terminal sends Ctrl-C to all
        os.kill(pid, signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)  # ends only when no process is left that could write to it
    number = len(read(tmp_path)['runs']) if path.exists() else 0
    assert number or condition
    words = f'{number} finished run{"s" * (number != 1)} kept in {path}; the same command resumes' if number else (
        'no run was finished; the same command starts again')
    assert (process.returncode, err) == (130, f'\ncompare_batch_norm.py: interrupted; {words}\n')


def test_a_script_without_a_main_guard_is_told_so_and_does_not_wait_for_itself(tmp_path, trainable, trainable_dir):
    script = tmp_path / 'script.py'  # run_script.py, imported, puts generated data in the place of CIFAR-10
    script.write_text(f'import run_script, compare_batch_norm\ncompare_batch_norm.train_models('
                      f'{str(tmp_path / "runs.json")!r}, jobs=1, data_dir={str(trainable_dir)!r}, settings=dict(epochs=1))\n')
    environment = {'PYTHONPATH': f'{ROOT}{os.pathsep}{ROOT}/tests', 'GENERATED_CONTENT': json_of(trainable.content())}
    ended = subprocess.run([sys.executable, script], stderr=subprocess.PIPE, text=True, timeout=120,
                           env={**os.environ, **environment})
    assert ended.returncode == 1 and ended.stderr.count('\n') == 1
    assert ended.stderr.startswith("put the script's call under `if __name__ == '__main__':`")
