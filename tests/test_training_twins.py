"""What a training of either twin says and notes, as approved; and what it does with batches whose numbers are known."""

import json
import math
import re
import types

import numpy as np
import pytest
import torch

import train_mlp_numpy
import train_mlp_pytorch
from approval import assert_approved
from training import command_line, data_parallel, results, settings, threads
from training.log import TrainingLog

TWINS = {'numpy': train_mlp_numpy, 'pytorch': train_mlp_pytorch}
SETTINGS = {'hidden_dims': [4], 'lr': 0.05, 'batch_size': 500, 'epochs': 2, 'seed': 42}


def without_digits(value):
    """A record with … in place of every number with a fraction, or with a dot in a text."""
    return re.sub(r'\d+\.\d+(\.\d+)?\S*?(?=[,}\]" ]|$)|NaN', '…', value, flags=re.M)


def scores(module, rows):
    return (np.array if module is train_mlp_numpy else torch.tensor)(rows)


class Scores(torch.nn.Module):
    """A model whose scores are its input."""

    def __init__(self):
        super().__init__()
        self.modes, self.cleared = [], 0

    def forward(self, x):
        self.modes.append(self.training)
        return x

    def clear_cache(self):
        self.cleared += 1


class Noted(TrainingLog):
    """A log that keeps what each step is."""

    def __init__(self):
        super().__init__(1, 0.1, verbose=False)
        self.steps = []

    def step(self, *numbers):
        self.steps.append(tuple(map(float, numbers)))
        super().step(*numbers)


class Batches(list):
    """Of a validation set with labels."""
    labels = None
