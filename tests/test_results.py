"""What a run records, draws and says: folders that don't depend on the machine, the reference."""

import json
import os
import shutil
import subprocess
import types

import numpy as np
import pytest

import train_mlp_numpy
import train_mlp_pytorch
from approval import assert_approved
from conftest import ROOT
from figures_in_words import described
from training import curves, models, results
from training.log import TrainingLog

RECORD = {'config': {'hidden_dims': [8], 'use_batch_norm': True, 'lr': 0.05, 'batch_size': 128, 'seed': 42},
          'batch_loss': [9.0, 5.0, 2.25, 2.0, 1.75, 1.5], 'train_loss': [2.1, 1.8], 'train_accuracy': [0.3, 0.4],
          'val_accuracy': [0.5, 0.45], 'best_epoch': 1, 'test_accuracy': 0.4444}


def test_a_folder_of_the_project_is_recorded_relative_to_it_wherever_the_script_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert results.relative_to_project(ROOT / 'data') == 'data/'
    assert results.relative_to_project(tmp_path / 'data') == str(tmp_path / 'data')
    monkeypatch.chdir(ROOT)
    assert results.relative_to_project('results/') == 'results/'


def test_what_runs_write_is_ignored_by_git_and_the_reference_is_not():
    if not (ROOT / '.git').exists():
        pytest.skip('not in a checkout')
    command = ['git', 'check-ignore', 'results/mlp_numpy.json', 'results/batch_norm_train.png', 'data',
               'results/mlp_numpy.npz', 'results/reference/mlp_numpy.json']
    ignored = subprocess.run(command, cwd=ROOT, capture_output=True, encoding='utf-8').stdout.split()
    assert ignored == command[2:-1]


def test_the_commit_is_that_of_this_code_when_a_run_starts(monkeypatch, tmp_path):
    def git(*arguments):
        subprocess.run(['git', '-c', 'user.name=x', '-c', 'user.email=x', *arguments], cwd=tmp_path, check=True,
                       capture_output=True, env={'PATH': os.environ['PATH']})

    def commit(root, **changes):
        results.commit.cache_clear()
        with monkeypatch.context() as patch:
            patch.setattr(results, 'ROOT', root)
            for name, value in changes.items():
                patch.setenv(name, value)
            TrainingLog(1, 0.1)
        return results.commit()

    if not shutil.which('git'):
        pytest.skip('needs git')
    (tmp_path / 'project').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path)
    (tmp_path / 'code.py').write_text('1')
    git('init')
    git('add', '.')
    git('commit', '-m', 'first')
    first = commit(tmp_path)
    assert len(first) == 40 and commit(tmp_path / 'link') == first
    (tmp_path / 'code.py').write_text('2')
    assert results.commit() == first and commit(tmp_path) == f'{first} (modified)'
    assert commit(tmp_path / 'project') is None, 'the code is not what the repository above it holds'
    assert commit(tmp_path / 'project', GIT_DIR=str(tmp_path / '.git')) is None
    assert commit(tmp_path, PATH='') is None, 'without git'
    results.commit.cache_clear()


def test_the_curves_are_as_approved(monkeypatch):
    monkeypatch.setattr(curves, 'FIRST_STEPS', 2)
    without_hidden_layers = {**RECORD, 'config': {'hidden_dims': []}, 'val_loss': [2.6, 2.2, 2.3]}
    figures = [curves.draw('mlp_numpy_batch_norm', RECORD), curves.draw('mlp_pytorch', without_hidden_layers)]
    assert_approved('curves', '\n'.join(map(described, figures)))


@pytest.mark.parametrize('module', [train_mlp_numpy, train_mlp_pytorch])
def test_settings_may_be_numbers_and_arrays_of_numpy(expect_trainable, module):
    model, *_ = module.train(hidden_dims=np.array([8, 4]), lr=np.float32(0.05), use_batch_norm=np.bool_(True),
                             batch_size=np.int64(100), epochs=np.int32(1), seed=np.uint32(1), data_dir=expect_trainable)
    assert b'"n_hidden": [8, 4]' in models.model_bytes(model, {})
    with pytest.raises(ValueError, match='hidden_dims is 8.0: it must be an integer'):
        module.train(np.array([8.0]), lr=0.1, use_batch_norm=False, batch_size=100, epochs=1, seed=1, data_dir='none')


def test_one_line_on_the_committed_result_of_that_name_if_there_is_one(monkeypatch, tmp_path):
    monkeypatch.setattr(results, 'REFERENCE_DIR', tmp_path)
    machine = {'platform': 'Linux', 'numpy': '2.0', 'torch': '2.1', 'threads': 2}
    run = {'test_accuracy': 0.43216, 'environment': machine, 'dataset': 'digits'}
    for name, text in {'run': json.dumps(run), 'list': '[]', 'damaged': '{', 'other': json.dumps({**run, 'dataset': 'letters'}),
                       'part': json.dumps({**run, 'environment': {'numpy': '2.0'}})}.items():
        (tmp_path / f'{name}.json').write_text(text)
    assert results.reference_line('run', 'digits', 1) == (
        'reference result: test accuracy 0.4322 (Linux, NumPy 2.0, PyTorch 2.1, 2 threads; this run: 1)')
    for name in ('list', 'damaged', 'other', 'part', 'nowhere'):
        assert results.reference_line(name, 'digits', 2) is None


def test_a_result_notes_what_it_may_depend_on(monkeypatch):
    monkeypatch.setattr(results, 'platform', types.SimpleNamespace(
        python_version=lambda: '3.9', system=lambda: 'CP/M', machine=lambda: 'Z80'))
    monkeypatch.setattr(results, 'version', {'numpy': '2.0', 'torch': '2.1'}.get)
    monkeypatch.setattr(results, 'commit', lambda: 'c0ffee')
    assert results.environment(['numpy', 'torch'], 3, 'cpu') == {
        'python': '3.9', 'numpy': '2.0', 'torch': '2.1', 'platform': 'CP/M Z80', 'threads': 3, 'device': 'cpu',
        'commit': 'c0ffee'}


def test_the_names_of_results_are_as_approved():
    told = [results.result_stem('mlp', changed) for changed in [
        {}, {'use_batch_norm': True}, {'use_batch_norm': False, 'hidden_dims': []},
        {'hidden_dims': [512, 8], 'lr': 1e-05}, {'hidden_dims': [1] * 20}, {'hidden_dims': [11, *[1] * 19]},
        {'hidden_dims': [128] * 70}, {'seed': 10**41, 'lr': 1}, {'momentum': 0.9}]]
    assert_approved('result_names', '\n'.join(told) + '\n')


def test_a_folder_in_the_place_of_a_result_is_told_before_the_training(tmp_path):
    (tmp_path / 'file').write_text('')
    for sound in ('nowhere/run', 'file/run', 'file'):
        results.check_file_names(tmp_path / sound)
    for ending in ('json', 'png', 'npz'):
        (tmp_path / f'{ending}.{ending}').mkdir()
        with pytest.raises(IsADirectoryError) as refused:
            results.check_file_names(tmp_path / ending)
        assert str(refused.value) == f"[Errno 21] Is a directory: '{tmp_path / ending}.{ending}'"
