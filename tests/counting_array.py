"""An array that counts the operations of the matrix products it takes part in."""

import numpy as np


class CountingArray(np.ndarray):
    operations = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        inputs = [value.view(np.ndarray) if isinstance(value, CountingArray) else value for value in inputs]
        if 'out' in kwargs:
            kwargs['out'] = tuple(value.view(np.ndarray) for value in kwargs['out'])
        out = getattr(ufunc, method)(*inputs, **kwargs)
        if ufunc is np.matmul:
            CountingArray.operations += 2 * out.size * inputs[0].shape[1]
        return out.view(CountingArray) if isinstance(out, np.ndarray) else out


def count_operations(function):
    CountingArray.operations = 0
    function()
    return CountingArray.operations
