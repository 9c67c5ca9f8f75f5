"""Data-parallel training in the processes that torchrun starts; without torchrun, there is one process.

    torchrun --nproc_per_node=2 train_mlp_pytorch.py

Each process has all of the data and a replica of the model, and works on its shard of every batch.
PyTorch's DistributedDataParallel averages the gradients, over gloo on CPUs and nccl on CUDA.
"""

import contextlib
import os

import torch
from torch import distributed, nn

from console.errors import SettingsError


@contextlib.contextmanager
def joined_processes():
    """Be one of torchrun's processes for the length of the context."""
    if distributed.is_initialized() or not distributed.is_torchelastic_launched():
        yield
        return
    distributed.init_process_group()
    try:
        yield
    finally:
        distributed.destroy_process_group()


def rank_and_world_size():
    """The number of this process, from 0, and how many there are."""
    return (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)


def local_rank_and_world_size():
    """The same among the processes of this machine. Without a group of processes what a variable says is a leftover."""
    if not distributed.is_initialized():
        return 0, 1
    return int(os.environ['LOCAL_RANK']), int(os.environ['LOCAL_WORLD_SIZE'])


def check_batch_size(batch_size, normalizes, device):
    """Raise SettingsError if the processes cannot share a batch, or cannot normalize their shares of it."""
    _, processes = rank_and_world_size()
    if batch_size % processes:
        raise SettingsError(f'batch_size is {batch_size}: it must be a multiple of {processes}, '
                            'so that the processes share it equally')
    if normalizes and batch_size == processes > 1 and device.type == 'cpu':
        raise SettingsError(f'batch_size is {batch_size}: it must be at least {2 * processes} for {processes} processes '
                            'with batch normalization, because a single sample has no variance')


def replica(model):
    """The model as this process trains it: its backward pass averages the gradients over the processes.

    Batch normalization takes the statistics of the whole batch on CUDA (SyncBatchNorm). On a CPU
    PyTorch can't do that: there they are those of the process's shard.
    """
    if not distributed.is_initialized():
        return model
    if model.device.type == 'cuda':
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return nn.parallel.DistributedDataParallel(model)


def fetch(values):
    """A list of tensors of one element → their means over the processes, floats; waits for the device once."""
    values = torch.stack(values)
    _average(values)
    return values.tolist()


def average_buffers(model):
    """Replace running statistics, which follow each process's own shards, by their means over the processes.

    So every process evaluates, and keeps, one and the same model.
    """
    for buffer in model.buffers():
        if buffer.is_floating_point():
            _average(buffer)


def as_in_first(value, device):
    """The float that the first process has; the others may differ by rounding, and must not decide otherwise."""
    if not distributed.is_initialized():
        return value
    value = torch.tensor(value, dtype=torch.float64, device=device)
    distributed.broadcast(value, 0)
    return float(value)


def _average(values):
    """The mean over the processes, in place."""
    _, world_size = rank_and_world_size()
    if world_size > 1:
        distributed.all_reduce(values)
        values /= world_size
