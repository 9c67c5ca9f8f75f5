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
KINDS = {'Linear': 'linear', 'BatchNorm': 'batch_norm', 'ReLU': 'relu', 'SoftMax': 'softmax'}  # by class name
STATISTICS = ('running_mean', 'running_var')


class ModelError(Exception):
    """The file is not a model that can be used; the message names it, says why and what to give."""


def named_layers(model):
    """(name, layer) of each layer of either twin: linear1, batch_norm1, relu1, linear2, …; linear layers are counted."""
    number = 0
    for layer in model.layers:
        kind = next(name for part, name in KINDS.items() if part in type(layer).__name__)
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

    arrays, header = read(path)
    with _random_state_kept():
        model = MLP(header['n_inputs'], header['hidden_dims'], header['n_classes'],
                    use_batch_norm=bool(header['batch_norm']), dtype=np.dtype(header['dtype']))
    for name, layer in named_layers(model):
        for key in getattr(layer, 'params', {}):
            layer.params[key] = arrays[f'{name}.{key}']
        if name.startswith('batch_norm'):
            vars(layer).update({key: arrays[f'{name}.{key}'] for key in STATISTICS}, **header['batch_norm'])
    model.eval()
    return model, header['training']


def load_pytorch(path):
    """(mlp_pytorch.MLP on the CPU in evaluation mode, the dict `training`). Raises ModelError."""
    import torch

    from mlp_pytorch import MLP

    arrays, header = read(path)
    with _random_state_kept(), torch.random.fork_rng(devices=[]):
        model = MLP(header['n_inputs'], header['hidden_dims'], header['n_classes'],
                    use_batch_norm=bool(header['batch_norm']))
    model.to(getattr(torch, header['dtype']))
    for name, layer in named_layers(model):
        for key, tensor in layer.state_dict().items():
            if key != 'num_batches_tracked':
                tensor.copy_(torch.from_numpy(arrays[f'{name}.{key}']))
        if name.startswith('batch_norm'):
            vars(layer).update(header['batch_norm'])
    return model.eval(), header['training']


@contextlib.contextmanager
def _random_state_kept():
    """A net draws its first weights from NumPy's global state; one that is read from a file leaves no trace there."""
    state = np.random.get_state()
    try:
        yield
    finally:
        np.random.set_state(state)


def read(path):
    """(arrays by name, header) of a model file, every name, shape, type and number checked. Raises ModelError."""
    try:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(_read_array(archive, 'header', None, np.uint8).tobytes())
            shapes = _shapes(header)
            if set(archive.namelist()) != {f'{name}.npy' for name in [*shapes, 'header']}:
                raise ValueError('the arrays are not those of the net that its header names')
            arrays = {name: _read_array(archive, name, shape, np.dtype(header['dtype'])).reshape(shape)
                      for name, shape in shapes.items()}
        for name, array in arrays.items():
            if not np.isfinite(array).all() or name.endswith('running_var') and (array < 0).any():
                raise ValueError(f'{name} holds numbers that no trained net has, such as NaN')
    except Exception as error:  # whatever damaged bytes can cause in a parser
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        reason = ' '.join(reason.split())
        raise ModelError(f'{path} is not a model that can be used ({reason}): give the .npz file of a training run'
                         ) from error
    return arrays, header


def _shapes(header):
    """The shape of each array of the net that the header describes; ValueError where it describes none."""
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
    shapes = {}
    for number, (in_features, out_features) in enumerate(itertools.pairwise(sizes), start=1):
        shapes[f'linear{number}.weight'] = (out_features, in_features)
        shapes[f'linear{number}.bias'] = (out_features,)
        if batch_norm and number < len(sizes) - 1:
            shapes |= {f'batch_norm{number}.{name}': (out_features,) for name in ('weight', 'bias', *STATISTICS)}
    return shapes


def _read_array(archive, name, shape, dtype):
    """The array of that shape (None: any vector) and type, as a vector; nothing is read before both are known to be right.

    The archive compares a checksum when it comes to the end of the array.
    """
    member = archive.getinfo(f'{name}.npy')
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f'{name} is compressed')  # so nothing can swell beyond the size of the file
    if shape is None and member.file_size > LARGEST_HEADER:
        raise ValueError(f'{name} has {member.file_size} bytes')
    with archive.open(member) as file:
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f'{name} is in another version of the format of NumPy')
        found_shape, fortran_order, found_dtype = np.lib.format.read_array_header_1_0(file)
        if found_dtype != dtype or fortran_order or found_shape != (shape or found_shape[:1]):
            raise ValueError(f'{name} has type {found_dtype} and shape {found_shape}, '
                             f'not {np.dtype(dtype)} and {shape or "that of a vector"}')
        array = np.frombuffer(bytearray(file.read()), dtype)  # a bytearray: what is loaded can be trained on
    if len(array) != math.prod(found_shape):
        raise ValueError(f'{name} has {len(array)} numbers, not {math.prod(found_shape)}')
    return array
