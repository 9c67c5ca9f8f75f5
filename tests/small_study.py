"""compare_batch_norm.py with nets that train in a fraction of a second."""

import concurrent.futures
import json

import pytest
import torch

from cifar10 import description
import compare_batch_norm

NETS = [[4], [5, 4], [6, 5, 4]]
SWEEP_RATES = [0.5]
SETTINGS = {'lr': 0.1, 'batch_size': 200, 'epochs': 2}
FLAGS = ['--epochs', '2', '--batch_size', '200', '--jobs', '1']
PATCHES = json.dumps({'compare_batch_norm.NETS': NETS, 'compare_batch_norm.SWEEP_RATES': SWEEP_RATES})


def run_here(folder, data_dir, content):
    """The study, uninterrupted, without a process of its own or for its workers."""
    def threads_for_processes(jobs, context, initializer, initargs):
        return concurrent.futures.ThreadPoolExecutor(jobs, initializer=torch.set_num_threads, initargs=initargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(description, 'CIFAR10', content)
        patch.setattr(compare_batch_norm, 'NETS', NETS)
        patch.setattr(compare_batch_norm, 'SWEEP_RATES', SWEEP_RATES)
        patch.setattr(concurrent.futures, 'ProcessPoolExecutor', threads_for_processes)
        compare_batch_norm.train_models(folder / 'batch_norm.json', jobs=1, data_dir=data_dir, settings=SETTINGS)
        compare_batch_norm.plot_results(folder / 'batch_norm.json')
