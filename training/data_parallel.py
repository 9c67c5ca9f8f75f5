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
    """Join torchrun's other processes until the context ends."""
    if distributed.is_initialized() or not distributed.is_torchelastic_launched():
        yield
        return
    distributed.init_process_group()
    try:
        yield
    finally:
        distributed.destroy_process_group()


def rank_and_world_size():
    """The number of this process, from 0, and the number of processes."""
    return (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)


def local_rank_and_world_size():
    """The same for the processes of this machine. Without torchrun the environment variables are ignored."""
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
    """The model for this process. Its backward pass averages the gradients over the processes.

    On CUDA, batch normalization uses the statistics of the whole batch (SyncBatchNorm). PyTorch cannot do
    that on a CPU, so there it uses the statistics of the process's shard.
    """
    if not distributed.is_initialized():
        return model
    if model.device.type == 'cuda':
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return nn.parallel.DistributedDataParallel(model)


def fetch(values):
    """A list of tensors of one element → their means over the processes, as floats. Synchronizes once."""
    values = torch.stack(values)
    _average(values)
    return values.tolist()


def average_buffers(model):
    """Replace the running statistics of each process's shards with their means over the processes.

    So every process evaluates and keeps the same model.
    """
    for buffer in model.buffers():
        if buffer.is_floating_point():
            _average(buffer)


def as_in_first(value, device):
    """The float of the first process. The others may differ by rounding, but must choose the same best epoch."""
    if not distributed.is_initialized():
        return value
    value = torch.tensor(value, dtype=torch.float64, device=device)
    distributed.broadcast(value, 0)
    return float(value)


def _average(values):
    """Replace the values with their means over the processes, in place."""
    _, world_size = rank_and_world_size()
    if world_size > 1:
        distributed.all_reduce(values)
        values /= world_size
