"""Trained models as files: one format, written by both implementations and read into either.

A file is an .npz archive, not compressed: the array `header` holds JSON as bytes, every other array a
parameter or running statistic by layer and name, `linear1.weight`, `batch_norm1.running_mean`. np.load
reads it too; nothing in it is pickled, and reading it executes nothing.

The header has the arguments that made the model and the name of each of its layers. A model that these arguments
do not make again, layer by layer, is rejected.
"""

import io
import json
import math
import os
import stat
import zipfile

import numpy as np

from console.errors import UserError
from storage.files import write_together

VERSION = 2
DTYPES = ('float32', 'float64')
LARGEST_HEADER = 2**20  # bytes; nothing larger is read into memory
STATISTICS = ('running_mean', 'running_var')
HEADER = {'version', 'arguments', 'layers', 'dtype', 'batch_norm', 'training'}


class ModelError(UserError):
    """The file is not a usable model; the message names the file, the reason and the kind of file to pass."""


def named_layers(model):
    """(name, layer) of each layer of either implementation: linear1, batch_norm1, relu1, linear2, …

    A softmax, which PyTorch leaves to the loss, is left out.
    """
    number = 0
    for layer in model.layers:
        kind = type(layer).__name__.removesuffix('Module').lower()
        kind = 'batch_norm' if 'batchnorm' in kind else kind  # PyTorch has several
        number += kind == 'linear'
        if kind != 'softmax':
            yield f'{kind}{number}', layer


def save(path, model, training):
    """Write a model. training: a dict for JSON about its training, which the functions that load the model return."""
    write_together({path: model_bytes(model, training)})


def model_bytes(model, training):
    """The content of the file; the same model gives the same bytes."""
    arrays = _arrays_of(model)
    batch_norm = [layer for name, layer in named_layers(model) if name.startswith('batch_norm')]
    header = {
        'version': VERSION,
        'arguments': model.arguments,
        'layers': [name for name, _ in named_layers(model)],
        'dtype': arrays['linear1.weight'].dtype.name,
        'batch_norm': {'eps': batch_norm[0].eps, 'momentum': batch_norm[0].momentum} if batch_norm else None,
        'training': training,
    }
    text = json.dumps(header, allow_nan=False, default=lambda scalar: scalar.item())  # NumPy's as Python's
    content = io.BytesIO()
    np.savez(content, header=np.frombuffer(text.encode(), np.uint8),
             **{name: np.ascontiguousarray(array) for name, array in arrays.items()})
    return content.getvalue()


def _arrays_of(model):
    """Parameters and running statistics of a model of either implementation: name → array."""
    return {f'{name}.{key}': array for name, layer in named_layers(model) for key, array in _of_layer(layer).items()}


def _of_layer(layer):
    if hasattr(layer, 'state_dict'):
        # With a constant momentum PyTorch only counts the batches of batch normalization, and never uses the count.
        return {name: tensor.cpu().numpy() for name, tensor in layer.state_dict().items()
                if name != 'num_batches_tracked'}
    statistics = {name: getattr(layer, name) for name in STATISTICS if hasattr(layer, name)}
    return {**getattr(layer, 'params', {}), **statistics}


def load_numpy(path):
    """(mlp_numpy.MLP in evaluation mode, the dict `training` that was saved with it). Raises ModelError."""
    from mlp_numpy import MLP

    return _load(path, lambda arguments, dtype: MLP(**arguments, dtype=np.dtype(dtype)))


def load_pytorch(path):
    """(mlp_pytorch.MLP on the CPU in evaluation mode, the dict `training`). Raises ModelError."""
    import torch

    from mlp_pytorch import MLP

    with torch.random.fork_rng(devices=[]):
        return _load(path, lambda arguments, dtype: MLP(**arguments).to(getattr(torch, dtype)))


def _load(path, make):
    """The model that make(arguments, dtype) makes, with the arrays of the file. Raises ModelError."""
    state = np.random.get_state()  # restored, because the new network draws initial weights
    try:
        arrays, header = read(path)
        model = make(header['arguments'], header['dtype'])
        _fill(model, arrays, header)
        return model, header['training']
    except Exception as error:  # any error that damaged bytes can cause in a parser becomes one line
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
        raise ModelError(f'cannot load {path}: {" ".join(reason.split())}. '
                         'Pass the .npz file written by a training script.') from error
    finally:
        np.random.set_state(state)


def _fill(model, arrays, header):
    """Copy each array into the parameter of the same name and shape."""
    layers = [name for name, _ in named_layers(model)]
    if layers != header['layers']:
        raise ValueError(f'the network has the layers {header["layers"]}, its arguments make {layers}')
    places = _arrays_of(model)
    for name in sorted(places.keys() ^ arrays.keys()):
        raise ValueError(f'{"missing" if name in places else "unexpected"} array: {name}')
    for name, place in places.items():
        if place.shape != arrays[name].shape:
            raise ValueError(f'{name} has shape {arrays[name].shape}, not {place.shape}')
        place[...] = arrays[name]  # PyTorch's tensors share their memory with the places
    for name, layer in named_layers(model):
        if name.startswith('batch_norm'):
            vars(layer).update(header['batch_norm'])
    model.eval()


def read(path):
    """(arrays by name, header) of a model file with finite numbers. A damaged file can raise any exception."""
    if stat.S_ISCHR(os.stat(path).st_mode) or stat.S_ISFIFO(os.stat(path).st_mode):
        raise ValueError('it is a device')  # reading it may never end
    with zipfile.ZipFile(path) as archive:
        header = json.loads(_read_array(archive, 'header', np.uint8, LARGEST_HEADER).tobytes(), parse_constant=_refuse,
                            parse_float=_finite)
        _check_header(header)
        names = [name.removesuffix('.npy') for name in archive.namelist() if name != 'header.npy']
        arrays = {name: _read_array(archive, name, header['dtype']) for name in names}
    for name, array in arrays.items():
        if not np.isfinite(array).all() or name.endswith('running_var') and (array < 0).any():
            raise ValueError(f'{name} contains NaN, infinity or a negative variance')
    # The arguments must not ask for more memory than the file has.
    sizes = [header['arguments']['n_inputs'], *header['arguments']['n_hidden'], header['arguments']['n_classes']]
    for number, (in_features, out_features) in enumerate(zip(sizes, sizes[1:]), start=1):
        shape = getattr(arrays.get(f'linear{number}.weight'), 'shape', 'nothing')
        if shape != (out_features, in_features):
            raise ValueError(f'linear{number}.weight has shape {shape}, not {(out_features, in_features)}')
    return arrays, header


def _refuse(constant):
    raise ValueError(f'the header contains {constant}')


def _finite(text):
    return float(text) if math.isfinite(float(text)) else _refuse(text)  # 1e999 is infinite


def _check_header(header):
    """Raise ValueError if the header does not describe a network."""
    if header.get('version') != VERSION:
        raise ValueError(f'it has version {header.get("version")} of the format, not {VERSION}')
    if header.keys() != HEADER:
        raise ValueError(f'the header has the keys {sorted(header)}, not {sorted(HEADER)}')
    arguments = header['arguments']
    sizes = [arguments['n_inputs'], *arguments['n_hidden'], arguments['n_classes']]
    if not all(type(size) is int and size >= 1 for size in sizes) or header['dtype'] not in DTYPES:
        raise ValueError('the header does not describe a network')
    batch_norm = header['batch_norm']
    # With ε = 0, a unit with a constant output divides 0 by 0.
    if batch_norm is not None and not (batch_norm.keys() == {'eps', 'momentum'} and batch_norm['eps'] != 0
                                       and all(type(value) is float and 0 <= value < math.inf
                                               for value in batch_norm.values())):
        raise ValueError('the header does not describe a batch normalization')


def _read_array(archive, name, dtype, largest=math.inf):
    """An array of that type; nothing is read before it is known to be as large as the file has bytes for it.

    The archive compares a checksum when it comes to the end of the array.
    """
    member = archive.getinfo(f'{name}.npy')
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f'{name} is compressed')  # an uncompressed array is never larger than the file
    if member.file_size > largest:
        raise ValueError(f'{name} has {member.file_size} bytes, more than {largest}')
    with archive.open(member) as file:
        array = np.lib.format.read_array(io.BytesIO(file.read()), allow_pickle=False)
    if array.dtype != dtype or not array.flags.c_contiguous:
        order = 'by rows' if array.flags.c_contiguous else 'by columns'
        raise ValueError(f'{name} is stored as {array.dtype} {order}, not {np.dtype(dtype)} by rows')
    return array
