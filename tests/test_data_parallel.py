"""Several processes train the model that one trains, and no device is waited for within an epoch."""

import json

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import cifar10_utils
from training import data_parallel
import train_mlp_pytorch
from training.log import Diverged, TrainingLog

SETTINGS = {'hidden_dims': [16], 'lr': 0.02, 'batch_size': 100, 'epochs': 1, 'seed': 42, 'device': 'cpu',
            'verbose': False}
STEM = 'mlp_pytorch_processes2_hidden_dims16_lr0.02_batch_size100_epochs1_devicecpu'
BATCH_NORM_STEM = STEM.replace('processes2', 'processes2_batch_norm')
FLAGS = '--hidden_dims 16 --lr 0.02 --batch_size 100 --epochs 1 --device cpu'.split()


def test_two_processes_train_the_model_that_one_trains_and_the_first_alone_writes_and_prints(run_script, tmp_path):
    # torchrun: a run, one with batch normalization, one whose batches can't be shared equally.
    command = ['train_mlp_pytorch.py', *FLAGS, '--results_dir', tmp_path]
    run = run_script(*command, 'then', *command, '--use_batch_norm', 'then', *command, '--batch_size', '101',
                     processes=2)
    assert run.returncode != 0
    assert 'error: batch_size is 101, which 2 processes can not share equally: give a multiple of 2\n' in run.stderr
    assert [line.split(' ')[0] for line in run.stdout.splitlines()] == ['epoch', 'best', 'written:'] * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        f'{stem}.{ending}' for stem in (STEM, BATCH_NORM_STEM) for ending in ('json', 'png'))
    assert json.loads((tmp_path / f'{BATCH_NORM_STEM}.json').read_text())['test_accuracy'] > 0.8

    assert run_script(*command).returncode == 0
    together, alone = (json.loads((tmp_path / f'{stem}.json').read_text())
                       for stem in (STEM, STEM.replace('_processes2', '')))
    np.testing.assert_allclose(together['batch_loss'], alone['batch_loss'], rtol=1e-5)
    np.testing.assert_allclose(together['train_accuracy'], alone['train_accuracy'], atol=1e-3)
    assert together['test_accuracy'] == pytest.approx(alone['test_accuracy'], abs=0.004)


def test_each_process_asks_for_its_own_share(expect_trainable, monkeypatch):
    # To train on whole batches in each process has the same result, in more time.
    class Asked(Exception):
        pass

    def get_dataloader(*_, share, **__):
        raise Asked(share)

    monkeypatch.setattr(data_parallel, 'rank_and_size', lambda: (1, 2))
    monkeypatch.setattr(cifar10_utils, 'get_dataloader', get_dataloader)
    with pytest.raises(Asked, match=r'\(1, 2\)'):
        train_mlp_pytorch.train(**SETTINGS, use_batch_norm=False, data_dir=expect_trainable)


class CountedReads(TorchDispatchMode):
    """Counts how often a tensor's value is brought to Python."""

    reads = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.reads += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize('use_batch_norm', [False, True])
def test_no_step_waits_for_the_device_or_copies_from_it(expect_trainable, use_batch_norm):
    # Tensors on the device 'meta' have no values: who reads one, or copies it to the CPU, fails.
    loader = cifar10_utils.get_dataloader(cifar10_utils.get_cifar10(expect_trainable), 100, device='meta')['train']
    model = train_mlp_pytorch.MLP(3072, [16], 10, use_batch_norm).to('meta')
    fetched = []

    def fetch(values):
        fetched.append(len(values))
        return [0.0] * len(values)

    log = TrainingLog(1, 0.1, fetch, verbose=False)
    with CountedReads() as counted:
        train_mlp_pytorch.train_epoch(model, loader, 0.1, log)
    assert counted.reads == 0
    assert fetched == [2 * len(loader)], 'losses and accuracies of an epoch, all at once'


def test_an_evaluation_waits_for_the_device_once(expect_trainable):
    loader = cifar10_utils.get_dataloader(cifar10_utils.get_cifar10(expect_trainable), 100)['validation']
    with CountedReads() as counted:
        train_mlp_pytorch.evaluate_model(train_mlp_pytorch.MLP(3072, [16], 10), loader)
    assert counted.reads == 1


def test_what_is_fetched_at_the_end_of_an_epoch_is_what_a_live_log_sees(expect_trainable, monkeypatch):
    settings = {**SETTINGS, 'use_batch_norm': False, 'data_dir': expect_trainable}
    live = train_mlp_pytorch.train(**settings)[3]
    log = TrainingLog
    monkeypatch.setattr(train_mlp_pytorch, 'TrainingLog',
                        lambda epochs, lr, fetch, *rest: log(epochs, lr, data_parallel.fetch, *rest))
    fetched = train_mlp_pytorch.train(**settings)[3]
    for key in ('batch_loss', 'train_loss', 'train_accuracy', 'val_accuracy'):
        assert live[key] == fetched[key]
    with pytest.raises(Diverged, match=r'the loss is nan in epoch 1, step \d+,'):
        train_mlp_pytorch.train(**{**settings, 'lr': 1e30})
