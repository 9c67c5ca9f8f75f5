"""compare_batch_norm.py with nets that train in a fraction of a second."""

import concurrent.futures
import json

import pytest

import compare_batch_norm
from experiments import batch_norm_runs
from generated_data import take_for_cifar10

NETS = [[4], [5, 4], [6, 5, 4]]
LEARNING_RATES = [1e30]
SETTINGS = {'lr': 0.1, 'batch_size': 200, 'epochs': 2}
FLAGS = ['--epochs', '2', '--batch_size', '200', '--jobs', '1']
PATCHES = json.dumps({'experiments.batch_norm_runs.NETS': NETS,
                      'experiments.batch_norm_runs.LEARNING_RATES': LEARNING_RATES})


def threads_for_processes(jobs, context, initializer, initargs):
    """In place of ProcessPoolExecutor: a new process imports PyTorch, which takes longer than all of the training."""
    return concurrent.futures.ThreadPoolExecutor(jobs)


def run_here(folder, data_dir, content, seeds=(42,), extended=False):
    """The study, uninterrupted, without a process of its own or for its workers."""
    with pytest.MonkeyPatch.context() as patch:
        take_for_cifar10(content, patch)
        patch.setattr(batch_norm_runs, 'NETS', NETS)
        patch.setattr(batch_norm_runs, 'LEARNING_RATES', LEARNING_RATES)
        patch.setattr(concurrent.futures, 'ProcessPoolExecutor', threads_for_processes)
        compare_batch_norm.train_models(folder / 'batch_norm.json', seeds, jobs=1, data_dir=data_dir,
                                        settings=SETTINGS, extended=extended)
        compare_batch_norm.plot_results(folder / 'batch_norm.json')
