"""Trained models as files: one format, written by both twins and read into either.

A file is an .npz archive, not compressed: the array `header` holds JSON as bytes, every other array a
parameter or running statistic by layer and name, `linear1.weight`, `batch_norm1.running_mean`. np.load
reads it too; nothing in it is pickled, and reading it executes nothing.
"""

import contextlib
import io
import itertools
import json
import math
import zipfile

import numpy as np

from storage.files import write_together

VERSION = 1
DTYPES = ('float32', 'float64')
LARGEST_HEADER = 2**20  # bytes; nothing larger is read into memory
STATISTICS = ('running_mean', 'running_var')


class ModelError(Exception):
    """The file is not a model that can be used; the message names it, says why and what to give."""


def named_layers(model):
    """(name, layer) of each layer of either twin: linear1, batch_norm1, relu1, linear2, …; the linear ones count."""
    number = 0
    for layer in model.layers:
        kind = type(layer).__name__.removesuffix('Module').lower()
        kind = 'batch_norm' if 'batchnorm' in kind else kind  # PyTorch has several
        number += kind == 'linear'
        yield f'{kind}{number}', layer


def save(path, model, training):
    """Write either twin; training: a dict for JSON with what led to the model, which load gives back."""
    write_together({path: model_bytes(model, training)})


def model_bytes(model, training):
    """The content of the file; the same model gives the same bytes."""
    arrays = {f'{name}.{key}': np.ascontiguousarray(array)
              for name, layer in named_layers(model) for key, array in _arrays_of(layer).items()}
    outputs, inputs = zip(*(array.shape for array in arrays.values() if array.ndim == 2))
    batch_norm = [layer for name, layer in named_layers(model) if name.startswith('batch_norm')]
    header = {
        'version': VERSION,
        'n_inputs': inputs[0],
        'hidden_dims': outputs[:-1],
        'n_classes': outputs[-1],
        'dtype': arrays['linear1.weight'].dtype.name,
        'batch_norm': {'eps': batch_norm[0].eps, 'momentum': batch_norm[0].momentum} if batch_norm else None,
        'training': training,
    }
    content = io.BytesIO()
    np.savez(content, header=np.frombuffer(json.dumps(header, allow_nan=False).encode(), np.uint8), **arrays)
    return content.getvalue()


def _arrays_of(layer):
    """Parameters and running statistics of a layer of either twin: name → array."""
    if hasattr(layer, 'state_dict'):
        # With a constant momentum PyTorch only counts the batches of batch normalization, and never asks how many.
        return {name: tensor.cpu().numpy() for name, tensor in layer.state_dict().items()
                if name != 'num_batches_tracked'}
    statistics = {name: getattr(layer, name) for name in STATISTICS if hasattr(layer, name)}
    return {**getattr(layer, 'params', {}), **statistics}


def load_numpy(path):
    """(mlp_numpy.MLP in evaluation mode, the dict `training` that was saved with it). Raises ModelError."""
    from mlp_numpy import MLP

    with _refusing(path), _random_state_kept():
        arrays, header = read(path)
        model = MLP(header['n_inputs'], header['hidden_dims'], header['n_classes'],
                    use_batch_norm=bool(header['batch_norm']), dtype=np.dtype(header['dtype']))
        _fill(model, arrays, header)
    return model, header['training']


def load_pytorch(path):
    """(mlp_pytorch.MLP on the CPU in evaluation mode, the dict `training`). Raises ModelError."""
    import torch

    from mlp_pytorch import MLP

    with _refusing(path), _random_state_kept(), torch.random.fork_rng(devices=[]):
        arrays, header = read(path)
        model = MLP(header['n_inputs'], header['hidden_dims'], header['n_classes'],
                    use_batch_norm=bool(header['batch_norm'])).to(getattr(torch, header['dtype']))
        _fill(model, arrays, header)
    return model, header['training']


def _fill(model, arrays, header):
    """Put the arrays into the model of either twin, each into the place of its name and shape."""
    places = {f'{name}.{key}': place for name, layer in named_layers(model) for key, place in _arrays_of(layer).items()}
    if places.keys() != arrays.keys():
        raise ValueError(f'the arrays are not those of the net: {min(places.keys() ^ arrays.keys())}')
    for name, place in places.items():
        if place.shape != arrays[name].shape:
            raise ValueError(f'{name} has shape {arrays[name].shape}, not {place.shape}')
        place[...] = arrays[name]  # PyTorch's tensors share their memory with the places
    for name, layer in named_layers(model):
        if name.startswith('batch_norm'):
            vars(layer).update(header['batch_norm'])
    model.eval()


@contextlib.contextmanager
def _random_state_kept():
    """A net draws its first weights from NumPy's global state; one that is read from a file leaves no trace there."""
    state = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(state)


@contextlib.contextmanager
def _refusing(path):
    """Whatever damaged bytes can cause in a parser becomes one line."""
    try:
        yield
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        raise ModelError(f'{path} is not a model that can be used ({" ".join(reason.split())}): '
                         'give the .npz file of a training run') from error


def read(path):
    """(arrays by name, header) of a model file: a net as its header tells, of numbers that are finite.

    Raises whatever its bytes cause.
    """
    with zipfile.ZipFile(path) as archive:
        header = json.loads(_read_array(archive, 'header', np.uint8, LARGEST_HEADER).tobytes())
        _check_header(header)
        names = [name.removesuffix('.npy') for name in archive.namelist() if name != 'header.npy']
        arrays = {name: _read_array(archive, name, header['dtype']) for name in names}
    for name, array in arrays.items():
        if not np.isfinite(array).all() or name.endswith('running_var') and (array < 0).any():
            raise ValueError(f'{name} holds numbers that no trained net has, such as NaN')
    # So a net of the sizes in the header has room wherever the file had.
    sizes = itertools.pairwise([header['n_inputs'], *header['hidden_dims'], header['n_classes']])
    for number, (in_features, out_features) in enumerate(sizes, start=1):
        shape = getattr(arrays.get(f'linear{number}.weight'), 'shape', None)
        if shape != (out_features, in_features):
            raise ValueError(f'linear{number}.weight has shape {shape}, not {(out_features, in_features)}')
    return arrays, header


def _check_header(header):
    """Raise ValueError where the header describes no net."""
    if header.get('version') != VERSION:
        raise ValueError(f'version {header.get("version")} of the format, where {VERSION} is known')
    sizes = [header['n_inputs'], *header['hidden_dims'], header['n_classes']]
    if not all(type(size) is int and size >= 1 for size in sizes) or header['dtype'] not in DTYPES:
        raise ValueError('the header describes no net')
    batch_norm = header['batch_norm']
    if batch_norm is not None and not (batch_norm.keys() == {'eps', 'momentum'}
                                       and all(type(value) is float and 0 <= value < math.inf
                                               for value in batch_norm.values())):
        raise ValueError('the header describes no batch normalization')


def _read_array(archive, name, dtype, largest=math.inf):
    """An array of that type; nothing is read before it is known to be as large as the file has bytes for it.

    The archive compares a checksum when it comes to the end of the array.
    """
    member = archive.getinfo(f'{name}.npy')
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f'{name} is compressed')  # so nothing can swell beyond the size of the file
    if member.file_size > largest:
        raise ValueError(f'{name} has {member.file_size} bytes, more than {largest}')
    with archive.open(member) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f'{name} is in another version of the format of NumPy')
        shape, fortran_order, found_dtype = np.lib.format.read_array_header_1_0(file)
        if found_dtype != dtype or fortran_order:
            order = 'column by column' if fortran_order else 'row by row'
            raise ValueError(f'{name} has type {found_dtype} {order}, not {np.dtype(dtype)} row by row')
        # A bytearray can be written to: what is loaded can be trained on.
        return np.frombuffer(bytearray(file.read()), dtype).reshape(shape)
