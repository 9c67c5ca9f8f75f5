"""Equality of nested values that hold arrays."""

import numpy as np


def same(actual, expected):
    """Are two values equal, with the types of their parts, and the types and shapes of their arrays?"""
    if isinstance(expected, np.ndarray):
        return isinstance(actual, np.ndarray) and actual.dtype == expected.dtype and actual.shape == expected.shape \
            and np.array_equal(actual, expected) and actual.flags.writeable
    if isinstance(expected, dict):
        return isinstance(actual, dict) and list(actual) == list(expected) and all(
            same(actual[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return isinstance(actual, list) and len(actual) == len(expected) and all(map(same, actual, expected))
    return type(actual) is type(expected) and actual == expected
