"""Studies of many training runs: one results file, which grows by each finished run and has one writer at a time.

A results file is a JSON object with 'config', what all runs share, and one or more lists of runs.
"""

import concurrent.futures
import contextlib
import itertools
import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from pathlib import Path

from console.errors import UserError
from console.process import exit_code
from storage.files import exclusive_lock, json_bytes, write_together
from training.threads import processors


NO_MAIN_GUARD = 78  # exit code of a worker


class ResultsError(UserError):
    """A results file that is damaged or belongs to other settings, and is left as it is; or a study cut short."""


def refuse_without_main_guard():
    """End a worker that, importing the script which started it, is about to start the study a second time."""
    if getattr(multiprocessing.current_process(), '_inheriting', False):  # Python's own check of the same mistake
        raise SystemExit(NO_MAIN_GUARD)


@contextlib.contextmanager
def only_writer(results_filename):
    """Make the folder of the results file, and let no other study write to the file until the context ends."""
    path = Path(results_filename)
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive_lock(path.with_name(f'.{path.name}.lock'),
                        f'another study is writing to {path}; this one waits until it has ended'):
        yield


def load_results(results_filename, empty, names, wanted):
    """The results in the file; `empty` where there is no file. Raises ResultsError, and leaves the file as it is.

    names: what each run must have, unless it has diverged; wanted: the settings that the file must be of.
    """
    try:
        results = json.loads(Path(results_filename).read_bytes())
        for run in itertools.chain(*(results[kind] for kind in empty if kind != 'config')):
            if 'diverged' not in run and not names <= run.keys():
                raise ValueError(f'a run has no {min(names - run.keys())}')
        config = dict(results['config'])
    except FileNotFoundError:
        return empty
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ResultsError(f'{results_filename} is damaged ({_short(repr(error))}); it was left as it is: move it away '
                           'or give another --results_dir') from error
    for name, value in wanted.items():
        if config.get(name) != value:
            raise ResultsError(f'{results_filename} holds runs with {name} {_short(config.get(name))}, not {value}; '
                               'it was left as it is: give another --results_dir')
    return results


def _short(value):
    """Its text on one line and not endless, since a damaged file can hold anything."""
    text = str(value).replace('\n', ' ')
    return text if len(text) <= 200 else f'{text[:200]}…'


def missing(planned, results):
    """The pairs of kind and run that are planned but not in the results."""
    return [(kind, run) for kind, run in planned
            if not any(run.items() <= finished.items() for finished in results[kind])]


def save(results_filename, results):
    """Write the results; of each list the runs in the order of seed, net and setting, whichever finished first."""
    def order(run):
        others = ('lr', 'use_batch_norm', 'group_size')  # of which all runs of a list have the same
        return (run['seed'], len(run.get('hidden_dims', [])), *map(run.get, others))

    in_order = {key: sorted(value, key=order) if isinstance(value, list) else value for key, value in results.items()}
    write_together({results_filename: json_bytes(in_order)})


def train_all(results_filename, results, todo, train_one, jobs, data_dir):
    """Train the pairs of kind and run in todo, and add each run to results and file as soon as it is finished.

    train_one(run, data_dir) → the finished run, called in a process of its own; jobs: how many at a
    time, with the cores shared out between them. Raises ResultsError, and what train_one raises.
    """
    from tqdm import tqdm

    threads = max(1, processors() // jobs)  # whatever is left to do: on another number a run has other bits
    jobs = min(jobs, len(todo))
    # The longest first, so that at the end no core waits for long for another.
    todo = sorted(todo, key=lambda pair: -sum(pair[1]['hidden_dims']))
    with _signals_held_back():  # the process that keeps track of the locks is started here
        executor = concurrent.futures.ProcessPoolExecutor(jobs, multiprocessing.get_context('spawn'), _start_worker,
                                                          [threads])
    workers = []
    try:
        with _signals_held_back():  # and here those that train: starting the first has let Ctrl-C through again
            futures = {executor.submit(train_one, run, data_dir): kind for kind, run in todo}
            workers += multiprocessing.active_children()
        for future in tqdm(concurrent.futures.as_completed(futures), f'{jobs} at a time', len(todo), unit='run',
                           disable=None):
            results[futures[future]].append(future.result())
            save(results_filename, results)
    except concurrent.futures.process.BrokenProcessPool as error:
        executor.shutdown(cancel_futures=True)  # waits for the exit codes
        if NO_MAIN_GUARD in [process.exitcode for process in workers]:
            raise SystemExit("put the script's call under `if __name__ == '__main__':`, because each worker imports "
                             'the script') from None
        raise ResultsError('a training process was ended from outside, perhaps for want of memory; '
                           'the finished runs are kept, the same command goes on') from error
    except BaseException:  # an error or Ctrl-C: what still runs is of no use
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        executor.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _signals_held_back():
    """Ctrl-C and a closed terminal reach this process when the context ends, and what it starts meanwhile never.

    A terminal sends its signals to all processes; this one ends the others, without a word from them.
    """
    if not hasattr(signal, 'pthread_sigmask'):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_worker(threads):
    import torch
    from tqdm import tqdm

    torch.set_num_threads(min(threads, torch.get_num_threads()))  # fewer where OMP_NUM_THREADS says so
    tqdm.set_lock(threading.RLock())  # its own is one between processes, which a worker that is ended leaves behind
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be held back

    def end_with_parent():
        multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)  # also where the parent was killed and could not say so

    threading.Thread(target=end_with_parent, daemon=True).start()


@contextlib.contextmanager
def interruptible(parser, results_filename, kinds):
    """End the script for Ctrl-C, SIGTERM and SIGHUP with the exit code for it and one line that says what is kept."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        parser.exit(exit_code(interrupt), f'\n{parser.prog}: interrupted; {_kept(results_filename, kinds)}\n')


def _kept(results_filename, kinds):
    number = 0
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        results = json.loads(Path(results_filename).read_bytes())
        number = sum(len(results[kind]) for kind in kinds)
    if not number:
        return 'no run was finished, the same command starts again'
    return f'{number} finished run{"s" * (number != 1)} kept in {results_filename}, the same command goes on'
