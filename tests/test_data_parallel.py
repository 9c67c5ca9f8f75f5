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
FLAGS = '--hidden_dims 16 --lr 0.02 --batch_size 100 --epochs 1 --device cpu'.split()


@pytest.fixture
def second_of_two(monkeypatch):
    """This process takes itself for the second of two of torchrun's on a machine with two GPUs."""
    monkeypatch.setattr(data_parallel.distributed, 'is_initialized', lambda: True)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setattr(torch.cuda, 'set_device', lambda _: None)
    monkeypatch.setenv('LOCAL_RANK', '1')
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    return monkeypatch


@pytest.mark.parametrize('device, expected', [('cuda', torch.nn.SyncBatchNorm), ('cpu', torch.nn.BatchNorm1d)])
def test_on_gpus_batch_normalization_is_synchronized(second_of_two, device, expected):
    second_of_two.setattr(torch.nn.parallel, 'DistributedDataParallel', lambda model: model)
    second_of_two.setattr(train_mlp_pytorch.MLP, 'device', torch.device(device))
    model = data_parallel.replica(train_mlp_pytorch.MLP(3072, [16, 8], 10, use_batch_norm=True))
    assert [type(layer) for layer in model.layers[1::3]] == [expected] * 2


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
