"""Data-parallel training in the processes that torchrun starts; without torchrun, one process and nothing to do.

    torchrun --nproc_per_node=2 train_mlp_pytorch.py

Each process has all of the data and a replica of the model, and works on its equal share of every batch.
PyTorch's DistributedDataParallel averages the gradients, over gloo on CPUs and nccl on CUDA.
"""

import contextlib

import torch
from torch import distributed, nn


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


def rank_and_size():
    """The number of this process, from 0, and how many there are."""
    return (distributed.get_rank(), distributed.get_world_size()) if distributed.is_initialized() else (0, 1)


def replica(model):
    """The model as this process trains it: its backward pass averages the gradients over the processes.

    Batch normalization takes the statistics of the whole batch on CUDA (SyncBatchNorm). On a CPU
    PyTorch can't do that: there they are those of the process's share.
    """
    if not distributed.is_initialized():
        return model
    if next(model.parameters()).is_cuda:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return nn.parallel.DistributedDataParallel(model)


def fetch(values):
    """A list of tensors of one element → their means over the processes, floats; waits for the device once."""
    values = torch.stack(values)
    _, size = rank_and_size()
    if size > 1:
        distributed.all_reduce(values)
        values /= size
    return values.tolist()
