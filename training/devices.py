"""The device that PyTorch trains on: its choice, its name and its memory errors."""

import contextlib

import torch

from console.errors import SettingsError
from console.process import warn
from training import data_parallel


def find_device(name):
    """The torch device for 'auto', 'cpu' or 'cuda'. Raises SettingsError if it is not available."""
    if name == 'cuda' and not torch.cuda.is_available():
        raise SettingsError('device is cuda, but PyTorch finds no CUDA device: it must be auto or cpu here')
    if name == 'cpu' or not torch.cuda.is_available():
        return torch.device('cpu')
    index, processes = data_parallel.local_rank_and_world_size()  # each process uses its own GPU
    if processes > torch.cuda.device_count():
        raise SettingsError(f'device is {name}, but there are {torch.cuda.device_count()} GPUs for {processes} '
                            'processes: start fewer processes or use --device cpu')
    torch.cuda.set_device(index)  # nccl uses the current device
    device = torch.device('cuda', index)
    try:
        try_out(device)
    except RuntimeError as error:
        reason = f'PyTorch cannot compute on the GPU ({str(error).strip().partition(chr(10))[0]})'
        if name == 'cuda':
            raise SettingsError(f'device is cuda, but {reason}: it must be auto or cpu here') from error
        warn(f'note: {reason}; training on the CPU')
        return torch.device('cpu')
    return device


def try_out(device):
    """Compute 1 + 1. Raises a RuntimeError if the GPU cannot be used, for example because it is too old for PyTorch."""
    torch.ones(1, device=device).add(1).item()


def device_name(device):
    """The name of the device for the results file."""
    return torch.cuda.get_device_name(device) if device.type == 'cuda' else device.type


@contextlib.contextmanager
def memory_errors():
    """Re-raise PyTorch's out-of-memory errors (CPU or GPU) as MemoryError, as NumPy does."""
    try:
        yield
    except RuntimeError as error:
        message = str(error).strip().partition('\n')[0]
        if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in message:
            raise MemoryError(message) from error
        raise
