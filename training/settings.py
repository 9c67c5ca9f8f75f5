"""The settings of a training run: their defaults, and what is allowed for each."""

import argparse
import math
from collections.abc import Callable
from typing import NamedTuple

from cifar10.description import CIFAR10

DEFAULTS = {'hidden_dims': [128], 'lr': 0.1, 'batch_size': 128, 'epochs': 10, 'seed': 42, 'device': 'auto',
            'threads': None}

LARGEST_LAYER = 65536  # its weights alone are 0.8 GB
TRAIN_IMAGES = CIFAR10.train_size - CIFAR10.validation_size


class SettingsError(ValueError):
    """A setting whose value makes no sense; the message names it, its value and what is allowed."""


class Allowed(NamedTuple):
    """A type for argparse: reads a text, and refuses what is not allowed with the words that say what is."""
    read: Callable
    words: str
    test: Callable

    def __call__(self, text):
        try:
            value = self.read(text)
        except ValueError:
            value = None
        if value is None or not self.test(value):
            raise argparse.ArgumentTypeError(f'{text!r} is not allowed: give {self.words}')
        return value


LARGEST_FLOAT32 = 3.4e38  # in which the nets are trained

POSITIVE = Allowed(float, 'a finite number above 0', lambda value: 0 < value < math.inf)
LEARNING_RATE = Allowed(float, f'a finite number above 0, of at most {LARGEST_FLOAT32:g}',
                        lambda value: 0 < value <= LARGEST_FLOAT32)
COUNT = Allowed(int, 'a whole number of at least 1', lambda value: value >= 1)
SEED = Allowed(int, f'a whole number from 0 to {2**32 - 1}', lambda value: 0 <= value < 2**32)
BATCH_SIZE = Allowed(int, f'a whole number from 1 to {TRAIN_IMAGES}, the training images',
                     lambda value: 1 <= value <= TRAIN_IMAGES)
WIDTH = Allowed(int, f'a whole number from 1 to {LARGEST_LAYER} for each hidden layer',
                lambda value: 1 <= value <= LARGEST_LAYER)

ALLOWED = {'hidden_dims': WIDTH, 'lr': LEARNING_RATE, 'batch_size': BATCH_SIZE, 'epochs': COUNT, 'seed': SEED}


def check_settings(**settings):
    """Raise SettingsError for the first setting whose value makes no sense."""
    for name, value in settings.items():
        for one in value if name == 'hidden_dims' else [value]:
            if not ALLOWED[name].test(one):
                raise SettingsError(f'{name} is {one}: give {ALLOWED[name].words}')


def net_name(hidden_dims):
    """A net in words, as it is given on the command line: '512 256 128'."""
    return ' '.join(map(str, hidden_dims)) or 'no hidden layer'
