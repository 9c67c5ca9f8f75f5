"""Killed, interrupted or out of disk: what was there stays whole, and the next run completes.

KILLS=50 python -m pytest tests/test_crashes.py kills at 50 moments; by default it is fewer, for the time it takes.
"""

import json
import os
import random
import signal
import subprocess
import time

import pytest
from PIL import Image

from conftest import PATIENCE
from test_compare_batch_norm import FLAGS, PATCHES
from training import models

KILLS = int(os.environ.get('KILLS', 3))
FAST = ['--epochs', '2', '--hidden_dims', '8', '--lr', '0.05', '--batch_size', '200']
STEM = 'mlp_numpy_hidden_dims8_lr0.05_batch_size200_epochs2'


def assert_whole(folder):
    """Every result in the folder can be read to its end."""
    for path in folder.glob('[!.]*'):
        if path.suffix == '.json':
            json.loads(path.read_text())
        elif path.suffix == '.png':
            with Image.open(path) as image:
                image.load()
        elif path.suffix == '.npz':
            models.load_numpy(path)


def kill_after(process, seconds):
    """Kill the process, unless it ends before; True where it was killed."""
    try:
        process.communicate(timeout=seconds)
        return False
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return True


def test_training_that_is_killed_at_any_moment_leaves_whole_results(run_script, tmp_path):
    command = ['train_mlp_numpy.py', *FAST, '--results_dir', tmp_path]
    start = time.monotonic()
    assert run_script(*command).returncode == 0
    duration = time.monotonic() - start
    first = (tmp_path / f'{STEM}.json').read_bytes()
    moments = random.Random(0)
    killed = 0
    while killed < KILLS:
        killed += kill_after(run_script(*command, start_only=True), moments.uniform(0, duration))
        assert_whole(tmp_path)
    assert run_script(*command).returncode == 0
    again = json.loads((tmp_path / f'{STEM}.json').read_text())
    assert again['batch_loss'] == json.loads(first)['batch_loss']


def test_a_study_that_is_killed_at_any_moment_is_completed_by_the_next_run(run_script, tmp_path):
    if KILLS < 50:
        pytest.skip('takes minutes: set KILLS=50')
    # Each study is killed and taken up again until it is complete; then the next one begins.
    moments, killed, completed = random.Random(1), 0, 0
    while killed < KILLS:
        folder = tmp_path / str(completed)
        process = run_script('compare_batch_norm.py', *FLAGS, '--results_dir', folder, PATCHES=PATCHES,
                             start_only=True)
        was_killed = kill_after(process, moments.uniform(0, 8))
        killed += was_killed
        completed += not was_killed
        assert_whole(folder)
        assert was_killed or process.returncode == 0
    run = run_script('compare_batch_norm.py', *FLAGS, '--results_dir', folder, PATCHES=PATCHES)
    assert run.returncode == 0
    for number in range(completed + 1):
        assert len(json.loads((tmp_path / str(number) / 'batch_norm.json').read_text())['runs']) == 6


def files_of_at_most(size):
    """The LIMITS that are like a full disk: no file can grow beyond so many bytes."""
    return json.dumps({'RLIMIT_FSIZE': size})


def test_on_a_full_disk_the_message_says_so_and_what_was_there_stays(run_script, tmp_path):
    names = [f'{STEM}.json', f'{STEM}.png', f'{STEM}.npz']
    for name in names:
        (tmp_path / name).write_text('from before')
    # Room for the numbers, but not for the picture.
    run = run_script('train_mlp_numpy.py', *FAST, '--results_dir', tmp_path, LIMITS=files_of_at_most(10_000))
    assert run.returncode == 1
    assert run.stderr == (f'train_mlp_numpy.py: error: {tmp_path / names[1]}: File too large '
                          '(existing files are unchanged)\n')
    assert 'test accuracy' in run.stdout.splitlines()[-1], 'what the run has reached is said all the same'
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert all((tmp_path / name).read_text() == 'from before' for name in names)


def test_a_full_disk_does_not_keep_data_that_is_there_from_being_used(run_script, trainable, tmp_path):
    trainable.write_folder(tmp_path / 'data')
    run = run_script('train_mlp_numpy.py', *FAST, '--results_dir', tmp_path, data_dir=tmp_path / 'data',
                     LIMITS=files_of_at_most(10**6))
    assert run.returncode == 0
    assert 'cifar10.bin could not be written (' in run.stderr
    assert not [path for path in (tmp_path / 'data').iterdir() if 'cifar10.bin' in path.name]


@pytest.mark.parametrize('number', [getattr(signal, name) for name in ('SIGINT', 'SIGTERM', 'SIGHUP')
                                    if hasattr(signal, name)])
def test_ctrl_c_sigterm_and_sighup_end_a_run_with_one_line_and_write_nothing(run_script, tmp_path, number):
    process = run_script('train_mlp_numpy.py', '--epochs', '10000', '--results_dir', tmp_path / 'new', start_only=True)
    assert process.stdout.readline().startswith('epoch     1/10000')
    process.send_signal(number)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert err == '\ntrain_mlp_numpy.py: interrupted; no result was written\n'
    assert not (tmp_path / 'new').exists()
