"""An array that counts the operations it takes part in."""

import numpy as np


class CountingArray(np.ndarray):
    """An array that adds up operations: those of matrix products, and all others, one per element and function."""

    products = others = 0

    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        inputs = [value.view(np.ndarray) if isinstance(value, CountingArray) else value for value in inputs]
        if 'out' in kwargs:
            kwargs['out'] = tuple(value.view(np.ndarray) for value in kwargs['out'])
        out = getattr(ufunc, method)(*inputs, **kwargs)
        if ufunc is np.matmul:
            CountingArray.products += 2 * out.size * inputs[0].shape[1]
        else:
            CountingArray.others += inputs[0].size if method == 'reduce' else np.size(out)
        return out.view(CountingArray) if isinstance(out, np.ndarray) else out


def count_operations(function):
    """(operations of matrix products, all others) while the function runs."""
    CountingArray.products = CountingArray.others = 0
    function()
    return CountingArray.products, CountingArray.others
