"""Compare networks with and without batch normalization (Q2.2): train six configurations, draw figures, write tables.

examples:
  python compare_batch_norm.py                                       # the assignment: one seed, two figures
  python compare_batch_norm.py --extended --seeds 42 43 44 45 46     # with control experiments

Each finished run is written to batch_norm.json in --results_dir, so an interrupted command can be run again to
resume. At the end batch_norm.md (tables) and batch_norm_*.png (figures) are written.
"""

import os
import sys

if __name__ == '__main__':
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # missing if PYTHONSAFEPATH is set
    import console.start  # noqa: F401 (an error in an import below becomes one line)

import importlib.util
from pathlib import Path

import cifar10_utils
from cifar10.sources import DATA_DIR
from console.arguments import COUNT, SEED, ArgumentParser, add_folders
from console.errors import user_errors
from console.process import say
from experiments import batch_norm_report, batch_norm_runs, study
from experiments.batch_norm_runs import KINDS, SETTINGS, load_results
from training.settings import add_setting
from training.threads import processors

RESULTS_NAME = 'batch_norm.json'


def train_models(results_filename, seeds=(42,), jobs=None, data_dir=DATA_DIR, settings=None, extended=False):
    """Train the runs of the study that are missing in the file, and add each finished run to it at once.

    jobs: the number of runs in parallel, each in its own process with a part of the cores;
    default: one for each core. extended: with the control experiments (experiments/batch_norm_runs.py).
    Returns the results. Raises experiments.study.ResultsError, cifar10_utils.DataUnavailable.
    """
    settings = {**SETTINGS, **(settings or {})}
    jobs = jobs or processors()
    study.refuse_without_main_guard()
    with study.only_writer(results_filename):
        results = load_results(results_filename, settings)

        def train(planned):
            todo = study.missing(planned, results)
            if todo:
                if not importlib.util.find_spec('torch'):
                    raise ModuleNotFoundError(name='torch')
                cifar10_utils.get_cifar10(data_dir)  # downloaded once here, not in every process
                study.train_all(results_filename, results, todo, train_one, jobs, data_dir, batch_norm_runs.described)
            return bool(todo)

        trained = [train(stage) for stage in stages(seeds, settings, results, extended)]
    if not any(trained):
        say(f'nothing is left to train: {results_filename} holds all runs')
    return results


def train_one(run, data_dir):
    """Train a run in its own process. PyTorch is imported only there, because planning and drawing do not need it."""
    from experiments import batch_norm_training

    return batch_norm_training.train_one(run, data_dir)


def stages(seeds, settings, results, extended):
    """The parts of the study in order, as lists of (kind, run), so that an interrupted study has complete parts.

    A part is planned after the earlier parts are in the results, because it may depend on their best learning rates.
    """
    if not extended:
        yield [('runs', run) for run in batch_norm_runs.planned_runs(seeds, settings)]
        return
    plan, seeds = batch_norm_runs, list(dict.fromkeys([batch_norm_runs.SELECTION_SEED, *seeds]))
    yield [('runs', run) for run in plan.planned_runs(seeds, settings)]
    for _ in plan.LEARNING_RATES:  # in each round, the best rate of a network moves by at most one
        yield plan.planned_rates(plan.SELECTION_SEED, settings, results)
    for planned in (lambda seed: plan.planned_rates(seed, settings, results),
                    lambda seed: plan.planned_starts(seed, settings), lambda seed: plan.planned_groups(seed, settings),
                    lambda seed: plan.planned_small_rates(seed, settings)):
        for seed in seeds:
            yield planned(seed)
    for seed in seeds[:plan.SCALE_SEEDS]:
        yield plan.planned_scales(seed, settings)


def plot_results(results_filename):
    """Write the figures and tables next to the file; return their paths and the main table's text."""
    return batch_norm_report.write_report(Path(results_filename), load_results(results_filename))


def main():
    parser = ArgumentParser(__doc__)
    parser.add_argument('--seeds', type=SEED, nargs='+', metavar='N',
                        default=[42], help='random seeds; every configuration is trained once per seed')
    parser.add_argument('--extended', action='store_true',
                        help='also train the control experiments (initialization, ghost batch normalization, learning '
                             'rates); about four times the work for the first seed; always includes seed 42')
    parser.add_argument('--jobs', type=COUNT, metavar='N', default=processors(),
                        help='number of training runs in parallel; they share the cores')
    for name, default in SETTINGS.items():
        add_setting(parser, name, default=default)
    parser.add_argument('--plot_only', action='store_true', help='train nothing; draw the runs of the results file')
    add_folders(parser, DATA_DIR)
    arguments = parser.parse_args()
    check_batch_size(parser, arguments)
    results_filename = Path(arguments.results_dir) / RESULTS_NAME
    settings = {name: getattr(arguments, name) for name in SETTINGS}
    with user_errors(parser, when_interrupted=lambda: study.kept(results_filename, KINDS)):
        if arguments.plot_only:
            if not load_results(results_filename)['runs']:
                raise study.ResultsError(f'{results_filename} holds no run to plot: run without --plot_only first')
        else:
            train_models(results_filename, list(dict.fromkeys(arguments.seeds)), arguments.jobs, arguments.data_dir,
                         settings, arguments.extended)
        paths, table = plot_results(results_filename)
        say(table)
        say(' '.join(map(str, ['written:', *paths])))


def check_batch_size(parser, arguments):
    """Reject a batch size with which batch normalization has no statistics."""
    size, groups = arguments.batch_size, max(batch_norm_runs.GROUPS)
    if size == 1:
        parser.refuse("argument --batch_size: invalid value '1': must be at least 2, because a single sample has no "
                      'variance')
    if arguments.extended and (size % groups or size == groups):
        parser.refuse(f"argument --batch_size: invalid value '{size}': must be a multiple of {groups}, at least "
                      f'{2 * groups}, with --extended, because it splits each batch into up to {groups} groups')


if __name__ == '__main__':
    main()
