"""What batch normalization does as the net grows (Q2.2): train six configurations, compare them in figures and a table.

    python compare_batch_norm.py --seeds 42 43 44

Each finished run is written at once to results/batch_norm.json; the same command goes on where it was
stopped. Beside the six configurations, the largest net is trained for a few epochs at other learning rates.
"""

import concurrent.futures
import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from pathlib import Path

import torch
from tqdm import tqdm

import cifar10_utils
import train_mlp_pytorch
from cifar10.sources import DATA_DIR
from experiments import batch_norm_report
from storage.files import json_bytes, write_together
from training.command_line import ArgumentParser, add_folders, user_errors
from training.log import Diverged
from training.settings import ALLOWED, COUNT, SEED

NETS = [[128], [256, 128], [512, 256, 128]]
SETTINGS = {'lr': 0.1, 'batch_size': 128, 'epochs': 20}
# The sensitivity to the learning rate, of the largest net; SETTINGS['lr'] is there already.
SWEEP_RATES = [0.01, 0.03, 0.3, 1.0]
SWEEP_EPOCHS = 5
RESULTS_NAME = 'batch_norm.json'
PROBE_IMAGES = 1000  # validation images on which the spread of the activations is measured


class ResultsError(Exception):
    """A results file that is damaged or belongs to other settings, and is left as it is; or a study cut short."""


def planned_runs(seeds, settings):
    """The settings of every run of the study: the six configurations, then the other learning rates."""
    runs = [{'hidden_dims': hidden_dims, 'use_batch_norm': use_batch_norm, 'seed': seed, **settings}
            for seed in seeds for hidden_dims in NETS for use_batch_norm in (False, True)]
    sweep = [{'hidden_dims': NETS[-1], 'use_batch_norm': use_batch_norm, 'seed': seed, **settings,
              'lr': lr, 'epochs': min(SWEEP_EPOCHS, settings['epochs'])}
             for seed in seeds for lr in SWEEP_RATES if lr != settings['lr'] for use_batch_norm in (False, True)]
    return runs, sweep


def train_models(results_filename, seeds=(42,), jobs=None, data_dir=DATA_DIR, settings=None):
    """Train what is missing of the study in the file, and add each run to it as soon as it is finished.

    jobs: how many runs at a time, each in a process of its own, with the cores shared out between
    them; default: one for each core.
    Raises ResultsError, Diverged, cifar10_utils.DataUnavailable.
    """
    settings = {**SETTINGS, **(settings or {})}
    results = load_results(results_filename, settings)
    todo = [(kind, run) for kind, runs in zip(('runs', 'learning_rate_runs'), planned_runs(seeds, settings))
            for run in runs if not any(run.items() <= finished.items() for finished in results[kind])]
    if not todo:
        return
    cifar10_utils.get_cifar10(data_dir)  # fetched once, here, and not by every process
    jobs = min(jobs or default_jobs(), len(todo))
    threads = max(1, default_jobs() // jobs)
    executor = concurrent.futures.ProcessPoolExecutor(jobs, multiprocessing.get_context('spawn'), _start_worker,
                                                      [threads])
    try:
        futures = {executor.submit(train_one, run, data_dir): kind for kind, run in todo}
        for future in tqdm(concurrent.futures.as_completed(futures), f'{jobs} at a time', len(todo), unit='run',
                           disable=None):
            results[futures[future]].append(future.result())
            _save(results_filename, results)
    except concurrent.futures.process.BrokenProcessPool as error:
        raise ResultsError('a training process was ended from outside, perhaps for want of memory; '
                           'the finished runs are kept, the same command goes on') from error
    except BaseException:  # an error or Ctrl-C: what still runs is of no use
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def default_jobs():
    """One run for each core: small matrix products gain less from a second thread than a second run does."""
    return len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()


def _start_worker(threads):
    torch.set_num_threads(threads)
    tqdm.set_lock(threading.RLock())  # its own is one between processes, which a worker that is ended leaves behind
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process ends the workers

    def end_with_parent():
        multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)  # also where the parent was killed and could not say so

    threading.Thread(target=end_with_parent, daemon=True).start()


def train_one(run, data_dir):
    """Train one net; return its settings with the course of training and the spread of its activations."""
    cifar10 = cifar10_utils.get_cifar10(data_dir)
    probe = {'train': cifar10['train'], 'probe': cifar10_utils.Dataset(
        cifar10['validation'].images[:PROBE_IMAGES], cifar10['validation'].labels[:PROBE_IMAGES])}
    images, _ = next(iter(cifar10_utils.get_dataloader(probe, PROBE_IMAGES)['probe']))
    spreads = []
    try:
        _, _, test_accuracy, info = train_mlp_pytorch.train(
            **run, data_dir=data_dir, device='cpu', verbose=False,
            after_epoch=lambda model: spreads.append(activation_spread(model, images)))
    except Diverged as error:
        if run['lr'] <= SETTINGS['lr']:
            raise
        return {**run, 'diverged': str(error)}  # at a learning rate that is tried to see just this
    kept = ('train_loss', 'train_accuracy', 'val_accuracy', 'best_epoch', 'seconds_per_epoch')
    return {**run, **{key: info[key] for key in kept}, 'test_accuracy': test_accuracy, 'activation_spread': spreads,
            'threads': torch.get_num_threads()}


@torch.no_grad()
def activation_spread(model, images):
    """Standard deviation of what enters each ReLU, over the images and units, in evaluation mode: a list of floats."""
    was_training = model.training
    model.eval()
    spread, out = [], images.flatten(start_dim=1)
    for layer in model.layers:
        if isinstance(layer, torch.nn.ReLU):
            spread.append(float(out.std()))
        out = layer(out)
    model.train(was_training)
    return spread


def load_results(results_filename, settings):
    """The results in the file, or empty ones where there is no file. Raises ResultsError."""
    empty = {'config': {**settings, 'nets': NETS}, 'runs': [], 'learning_rate_runs': []}
    try:
        results = json.loads(Path(results_filename).read_text(encoding='utf-8'))
        known = {key: results[key] for key in empty}
        complete = all(len(run['val_accuracy']) == len(run['train_accuracy']) == run['epochs']
                       for run in results['runs'])
    except FileNotFoundError:
        return empty
    except (ValueError, KeyError, TypeError) as error:
        raise ResultsError(f'{results_filename} is damaged ({type(error).__name__}: {error}); it was left as it is: '
                           'move it away or give another --results_dir') from error
    if not complete:
        raise ResultsError(f'{results_filename} is damaged (a run lacks epochs); it was left as it is: '
                           'move it away or give another --results_dir')
    different = [name for name, value in empty['config'].items() if known['config'].get(name) != value]
    if different:
        name = different[0]
        raise ResultsError(f'{results_filename} holds runs with {name} {known["config"].get(name)}, not '
                           f'{empty["config"][name]}; it was left as it is: give another --results_dir')
    return known


def _save(results_filename, results):
    """Write the results in the order of the plan, whichever run finished first."""
    for kind in ('runs', 'learning_rate_runs'):
        results[kind].sort(key=lambda run: (run['seed'], len(run['hidden_dims']), run['lr'], run['use_batch_norm']))
    write_together({results_filename: json_bytes(results)})


def plot_results(results_filename):
    """Draw the three figures beside the file and write the table; return their paths and the table's text."""
    results = json.loads(Path(results_filename).read_text(encoding='utf-8'))
    return batch_norm_report.write_report(Path(results_filename), results)


def main():
    parser = ArgumentParser(__doc__)
    parser.add_argument('--seeds', type=SEED, nargs='+', metavar='N',
                        default=[42], help='each repeats all configurations')
    parser.add_argument('--jobs', type=COUNT, metavar='N',
                        default=default_jobs(), help='runs at a time; they share the cores')
    for name, text in (('lr', 'learning rate'), ('batch_size', 'samples per step'), ('epochs', 'epochs of each run')):
        parser.add_argument(f'--{name}', type=ALLOWED[name], default=SETTINGS[name], help=text)
    parser.add_argument('--plot_only', action='store_true', help='train nothing, draw what is in the results file')
    add_folders(parser)
    arguments = parser.parse_args()
    if arguments.batch_size == 1:
        parser.error("argument --batch_size: '1' is not allowed: give at least 2, a single sample has no variance")
    results_filename = Path(arguments.results_dir) / RESULTS_NAME
    settings = {name: getattr(arguments, name) for name in SETTINGS}
    with user_errors(parser, ResultsError, when_interrupted='finished runs are kept'):
        if arguments.plot_only:
            if not load_results(results_filename, settings)['runs']:
                raise ResultsError(f'{results_filename} holds no run to plot: run without --plot_only first')
        else:
            results_filename.parent.mkdir(parents=True, exist_ok=True)
            train_models(results_filename, dict.fromkeys(arguments.seeds), arguments.jobs, arguments.data_dir, settings)
        paths, table = plot_results(results_filename)
    print(table)
    print('written:', *paths)


if __name__ == '__main__':
    main()
