"""The command line of the training scripts: flags, and a run from start to end."""

import inspect
from pathlib import Path

from cifar10.sources import DATA_DIR
from console.arguments import ArgumentParser, add_folders
from console.errors import user_errors
from console.process import say
from training import results, threads
from training.settings import SETTINGS, add_setting


def make_parser(train, model_class, description):
    """A parser with a flag for each setting of the training or of the model, for the threads and for the folders."""
    parser = ArgumentParser(description)
    taken = {'threads', *inspect.signature(train).parameters, *inspect.signature(model_class).parameters}
    for name in SETTINGS:
        if name in taken:
            add_setting(parser, name)
    add_folders(parser, DATA_DIR)
    return parser


def main(model_name, train, model_class, description, writes=True):
    """Train with the settings of the command line, write the results (unless writes=False), print the accuracies."""
    parser = make_parser(train, model_class, description)
    arguments = vars(parser.parse_args())
    if arguments['use_batch_norm'] and arguments['hidden_dims'] and arguments['batch_size'] == 1:
        parser.refuse("argument --batch_size: invalid value '1': must be at least 2 with --use_batch_norm, "
                      'because a single sample has no variance')
    changed = {name: value for name, value in arguments.items()
               if value != parser.get_default(name) and name not in ('data_dir', 'results_dir')}
    name = results.result_stem(model_name, changed)
    config = {**arguments, **{folder: results.relative_to_project(arguments[folder])
                              for folder in ('data_dir', 'results_dir')}}
    stem = Path(arguments['results_dir']) / name
    with user_errors(parser, when_interrupted='no result was written'):
        results.check_file_names(stem)
        if arguments['threads']:
            threads.use_threads(arguments['threads'])
        else:
            threads.use_idle_processors()
        settings = {key: value for key, value in arguments.items() if key not in ('results_dir', 'threads')}
        model, _, test_accuracy, logging_info = train(**settings)
        if not writes:
            return
        record = {'config': config, **logging_info, 'test_accuracy': test_accuracy}
        best = record['best_epoch']
        say(f'best epoch {best} of {len(record["val_accuracy"])}: validation accuracy '
            f'{record["val_accuracy"][best - 1]:.4f}, test accuracy {test_accuracy:.4f} '
            f'(last epoch: test accuracy {record["last_test_accuracy"]:.4f})')
        if reference := results.reference_line(name, record['dataset'], record['environment']['threads']):
            say(reference)
        say(' '.join(map(str, ['written:', *results.write_results(stem, record, model)])))
