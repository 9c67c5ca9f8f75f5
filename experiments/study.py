"""Studies of many training runs: one results file, which grows by each finished run and has one writer at a time.

A results file is a JSON object with 'config', what all runs share, and one or more lists of runs.
"""

import concurrent.futures
import contextlib
import json
import math
import multiprocessing
import multiprocessing.connection
import os
import signal
import tempfile
import threading
from pathlib import Path

from console.errors import UserError
from console.process import say
from storage.files import exclusive_lock, json_bytes, write_together
from training.threads import processors


NO_MAIN_GUARD = 78  # exit code of a worker


class ResultsError(UserError):
    """A results file that is damaged or belongs to other settings, and is left as it is; or a study cut short."""


def refuse_without_main_guard():
    """End a worker that is about to start the study a second time, because it imports the script that started it."""
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


def load_results(results_filename, empty, check, wanted):
    """The results in the file; `empty` if there is no file. Raises ResultsError, and leaves the file as it is.

    check(results) raises ValueError for runs that cannot be; wanted: the settings that the file must be of.
    """
    try:
        results = _parsed(Path(results_filename).read_bytes())
        if not fits(results, dict.fromkeys(empty, [dict]) | {'config': dict}):
            raise ValueError(f'must be an object with config and the lists {", ".join(list(empty)[1:])}')
        if results.keys() > empty.keys():
            raise ValueError(f'unknown key {min(results.keys() - empty.keys())!r}')
        check(results)
    except FileNotFoundError:
        return empty
    except (ValueError, RecursionError) as error:
        raise ResultsError(f'{results_filename} is damaged ({_short(error)}); it was left as it is: move it away '
                           'or give another --results_dir') from error
    for name, value in wanted.items():
        if results['config'].get(name) != value:
            raise ResultsError(f'{results_filename} holds runs with {name} {_short(results["config"].get(name))}, not {value}; '
                               'it was left as it is: give another --results_dir')
    return results


def _parsed(text):
    """The JSON of a results file. Raises ValueError also for values that json.loads reads and save cannot write."""
    def once(pairs):
        names = [name for name, _ in pairs]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f'the key {name!r} is there twice')
        return dict(pairs)

    def finite(number):
        value = float(number)
        if not math.isfinite(value):
            raise ValueError(f'the number {number} is not finite')
        return value

    def integer(number):
        finite(number)
        return int(number)

    return json.loads(text, object_pairs_hook=once, parse_float=finite, parse_int=integer, parse_constant=finite)


def fits(value, form):
    """Has the JSON value this form?

    A form is a type, a tuple of alternatives, a list with the form of all items, or a dict with the forms of keys that must
    be there.
    """
    if isinstance(form, tuple):
        return any(fits(value, one) for one in form)
    if isinstance(form, list):
        return isinstance(value, list) and all(fits(item, form[0]) for item in value)
    if isinstance(form, dict):
        return isinstance(value, dict) and all(name in value and fits(value[name], form[name]) for name in form)
    return type(value) in (int, float) if form is float else type(value) is form  # and True is no integer


def check_runs(kind, runs, settings, measured, lengths=lambda run: True, absent=()):
    """Raise ValueError if a run does not fit the forms of its settings and measurements, or is there twice.

    A run that has diverged has no measurements. lengths(run): have the lists of a measured run the lengths that they must have?
    absent: settings that no run of this kind has.
    """
    seen = []
    for i, run in enumerate(runs, start=1):
        for name, form in (settings if 'diverged' in run else {**settings, **measured}).items():
            if not fits(run, {name: form}):
                raise ValueError(f'run {i} of {kind} has ' + (f'{name} {run[name]!r}' if name in run else f'no {name}'))
        if wrong := run.keys() & set(absent):
            raise ValueError(f'run {i} of {kind} has {min(wrong)}')
        if 'diverged' not in run and not lengths(run):
            raise ValueError(f'run {i} of {kind} has lists of the wrong lengths')
        if (this := {name: run[name] for name in settings}) in seen:
            raise ValueError(f'run {i} of {kind} is there twice')
        seen.append(this)


def _short(value):
    """Its text on one line and not endless, since a damaged file can hold anything."""
    text = str(value).replace('\n', ' ')
    return text if len(text) <= 200 else f'{text[:200]}…'


def missing(planned, results):
    """The pairs of kind and run that are planned but not in the results."""
    return [(kind, run) for kind, run in planned
            if not any(run.items() <= finished.items() for finished in results[kind])]


def save(results_filename, results):
    """Write the results; the runs of each list are sorted by seed, network and setting.

    If that fails, they are written to a new folder, and ResultsError says which.
    """
    def order(run):
        others = ('lr', 'use_batch_norm', 'group_size')  # either all runs of a list have such a setting, or none
        return (run['seed'], len(run.get('hidden_dims', [])), *map(run.get, others))

    in_order = {key: sorted(value, key=order) if isinstance(value, list) else value for key, value in results.items()}
    try:
        write_together({results_filename: json_bytes(in_order)})
    except OSError as error:
        elsewhere = Path(tempfile.mkdtemp(prefix='results-')) / Path(results_filename).name
        write_together({elsewhere: json_bytes(in_order)})
        raise ResultsError(f'{error.filename or results_filename}: {error.strerror or error}; the finished runs are in '
                           f'{elsewhere}: run the same command with --results_dir {elsewhere.parent}') from error


def say_finished(number, total, description, run):
    """Print the line of a finished run."""
    outcome = run.get('diverged') or f'test accuracy {run["test_accuracy"]:.4f}'
    say(f'{number:{len(str(total))}}/{total}  {description}: {outcome}')


def train_all(results_filename, results, todo, train_one, jobs, data_dir, described):
    """Train the pairs of kind and run in todo, and add each run to results and file as soon as it is finished.

    train_one(run, data_dir) → the finished run, called in a process of its own; jobs: how many at a
    time, with the cores shared out between them; described(run) → its name, for the line that is printed when it
    has finished. Raises ResultsError, and what train_one raises.
    """
    threads = max(1, processors() // jobs)  # whatever is left to do: on another number a run has other bits
    jobs = min(jobs, len(todo))
    # The longest first, so that at the end no core waits for long for another.
    todo = sorted(todo, key=lambda pair: -sum(pair[1]['hidden_dims']))
    say(f'training {len(todo)} network{"s" * (len(todo) != 1)}, {jobs} at a time')
    with _signals_held_back():  # the process that keeps track of the locks is started here
        executor = concurrent.futures.ProcessPoolExecutor(jobs, multiprocessing.get_context('spawn'), _start_worker,
                                                          [threads])
    workers, futures = [], {}
    try:
        with _signals_held_back():  # and here those that train: starting the first has let Ctrl-C through again
            futures = {executor.submit(train_one, run, data_dir): kind for kind, run in todo}
            workers += multiprocessing.active_children()
        for number, future in enumerate(concurrent.futures.as_completed(futures), start=1):
            run = future.result()
            results[futures.pop(future)].append(run)
            save(results_filename, results)
            say_finished(number, len(todo), described(run), run)
    except BaseException as error:  # an error or Ctrl-C: running processes are ended, finished runs are kept
        for process in multiprocessing.active_children():
            process.terminate()
        for future, kind in futures.items():
            if future.done() and not future.cancelled() and not future.exception():
                results[kind].append(future.result())
        if any(results[kind] for kind, _ in todo):
            save(results_filename, results)
        if isinstance(error, concurrent.futures.process.BrokenProcessPool):
            executor.shutdown(cancel_futures=True)  # waits for the exit codes
            if NO_MAIN_GUARD in [process.exitcode for process in workers]:
                raise SystemExit("put the script's call under `if __name__ == '__main__':`, because each worker imports "
                                 'the script') from None
            raise ResultsError('a training process was ended from outside, perhaps for lack of memory; the finished runs are kept: '
                               'run the same command again') from error
        raise
    finally:
        executor.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _signals_held_back():
    """Ctrl-C and a closed terminal reach this process when the context ends, and never reach the processes that it starts in the context.

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

    torch.set_num_threads(min(threads, torch.get_num_threads()))  # fewer if OMP_NUM_THREADS says so
    tqdm.set_lock(threading.RLock())  # tqdm's own lock is shared between processes, and a worker that is ended would leave it locked
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # if it could not be held back

    def end_with_parent():
        multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)  # also if the parent was killed

    threading.Thread(target=end_with_parent, daemon=True).start()


def kept(results_filename, kinds):
    """The message after Ctrl-C: which runs are finished."""
    number = 0
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        results = json.loads(Path(results_filename).read_bytes())
        number = sum(len(results[kind]) for kind in kinds)
    if not number:
        return 'no run was finished; the same command starts again'
    return f'{number} finished run{"s" * (number != 1)} kept in {results_filename}; the same command resumes'
