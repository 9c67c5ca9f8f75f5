"""Several processes train the model that one trains, and no device is waited for within an epoch."""

import json

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import cifar10_utils
import train_mlp_pytorch
from training import data_parallel, devices
from training.log import TrainingLog

SETTINGS = {'hidden_dims': [16], 'lr': 0.02, 'batch_size': 100, 'epochs': 1, 'seed': 42, 'device': 'cpu',
            'verbose': False}
STEM = 'mlp_pytorch_processes2_hidden_dims16_lr0.02_batch_size100_epochs1_devicecpu'
FLAGS = '--hidden_dims 16 --lr 0.02 --batch_size 100 --epochs 1 --device cpu'.split()


def test_two_processes_train_the_model_that_one_trains_and_the_first_alone_writes(run_script, tmp_path, expect_trainable):
    # torchrun: a run from the command line, then one with batch normalization in which each process tells what it saw.
    (tmp_path / 'ranks').mkdir()
    run = run_script('train_mlp_pytorch.py', *FLAGS, '--results_dir', tmp_path, 'then', 'ranks.py', tmp_path / 'ranks',
                     processes=2)
    assert run.returncode == 0, run.stderr
    assert [line.split(' ')[0] for line in run.stdout.splitlines()] == ['epoch', 'best', 'written:', 'epoch', 'epoch']
    assert sorted(path.name for path in tmp_path.glob('mlp*')) == [f'{STEM}.{ending}' for ending in ('json', 'npz', 'png')]
    first, second = (json.loads((tmp_path / 'ranks' / f'{rank}.json').read_text()) for rank in range(2))
    assert first == second, 'every process keeps and measures one and the same model, the best one of the first process'
    assert (first['batches'], first['val_accuracies'], first['best_epoch']) == ([50], [0.5, 0.4], 1)
    assert first['test_accuracy'] > 0.8

    together = json.loads((tmp_path / f'{STEM}.json').read_text())
    *_, test_accuracy, alone = train_mlp_pytorch.train(**SETTINGS, use_batch_norm=False, data_dir=expect_trainable)
    np.testing.assert_allclose(together['batch_loss'], alone['batch_loss'], rtol=1e-5)
    np.testing.assert_allclose(together['train_accuracy'], alone['train_accuracy'], atol=1e-3)
    assert together['test_accuracy'] == pytest.approx(test_accuracy, abs=0.004)


@pytest.fixture
def second_of_two(monkeypatch):
    """This process takes itself for the second of two of torchrun's on a machine with two GPUs."""
    monkeypatch.setattr(data_parallel.distributed, 'is_initialized', lambda: True)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    monkeypatch.setattr(torch.cuda, 'set_device', lambda _: None)
    monkeypatch.setattr(devices, 'try_out', lambda _: None)
    monkeypatch.setenv('LOCAL_RANK', '1')
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '2')
    return monkeypatch


def test_each_process_has_a_gpu_of_its_own_but_no_variable_alone_picks_one(second_of_two):
    assert devices.find_device('auto') == torch.device('cuda', 1)
    second_of_two.setattr(data_parallel.distributed, 'is_initialized', lambda: False)
    second_of_two.setenv('LOCAL_RANK', '7')  # a leftover of torchrun
    assert devices.find_device('auto') == torch.device('cuda', 0)


def test_a_decision_travels_on_the_device_that_nccl_needs(second_of_two):
    second_of_two.setattr(data_parallel.distributed, 'broadcast', lambda value, source: source == 0 or 1 / 0)
    with pytest.raises(RuntimeError, match='meta'):  # whose values cannot be read
        data_parallel.as_in_first(0.1, torch.device('meta'))


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


def test_an_evaluation_waits_for_the_device_twice(expect_trainable):
    # Once for whether the predictions are finite, once for the accuracy.
    loader = cifar10_utils.get_dataloader(cifar10_utils.get_cifar10(expect_trainable), 100)['validation']
    with CountedReads() as counted:
        train_mlp_pytorch.evaluate_model(train_mlp_pytorch.MLP(3072, [16], 10), loader)
    assert counted.reads == 2
