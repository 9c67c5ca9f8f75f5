"""The command line that the scripts share: flags, errors in one line, a training run from start to end."""

import argparse
import contextlib
import os
import re
import sys
import tempfile
from pathlib import Path

from cifar10.sources import DATA_DIR, DataUnavailable
from training import results, threads
from training.log import Diverged
from training.process import exit_code, say, signals_as_ctrl_c
from training.settings import ALLOWED, COUNT, DEFAULTS, SettingsError


NEGATIVE_NUMBER = re.compile(r'-(\.?\d|inf|nan)', re.IGNORECASE)


class ArgumentParser(argparse.ArgumentParser):
    """Shows defaults, and ends with exit code 2 and one line on standard error for what it can't take."""

    def __init__(self, description, module=None):
        """description: its first line is shown; None where Python has left the docstrings out (python -OO).

        module: the name by which python -m runs it, for what is no script at the root.
        """
        super().__init__(prog=module, description=(description or '').partition('\n')[0],
                         formatter_class=argparse.ArgumentDefaultsHelpFormatter, allow_abbrev=False)
        self.command = f'python -m {module}' if module else f'python {self.prog}'

    def parse_args(self, args=None):
        """As argparse does, but that -inf or -1e5 behind a flag is its value and not a flag of its own."""
        for stream in (sys.stdout, sys.stderr):  # a redirect on Windows, say, that has no letter ∂
            if hasattr(stream, 'reconfigure'):
                stream.reconfigure(errors='replace')
        args = list(sys.argv[1:] if args is None else args)
        for i in reversed(range(1, len(args))):
            if args[i - 1].startswith('--') and '=' not in args[i - 1] and NEGATIVE_NUMBER.match(args[i]):
                args[i - 1:i + 1] = [f'{args[i - 1]}={args[i]}']
        return super().parse_args(args)

    def error(self, message):
        message = str(message).replace('\n', '\\n')
        hint = '' if 'give ' in message else f'; {self.command} --help shows what can be given'
        self.exit(2, f'{self.prog}: error: {message}{hint}\n')


def make_parser(description):
    """A parser with the flags that both scripts have."""
    parser = ArgumentParser(description)
    parser.add_argument('--hidden_dims', type=ALLOWED['hidden_dims'], nargs='*', metavar='N',
                        default=DEFAULTS['hidden_dims'],
                        help='sizes of the hidden layers; none: multinomial logistic regression')
    parser.add_argument('--use_batch_norm', action='store_true',
                        help='batch normalization between each hidden linear layer and its ReLU')
    parser.add_argument('--lr', type=ALLOWED['lr'], default=DEFAULTS['lr'], help='learning rate')
    parser.add_argument('--batch_size', type=ALLOWED['batch_size'], default=DEFAULTS['batch_size'],
                        help='samples per step')
    parser.add_argument('--epochs', type=ALLOWED['epochs'], default=DEFAULTS['epochs'],
                        help='passes over the training set')
    parser.add_argument('--seed', type=ALLOWED['seed'], default=DEFAULTS['seed'],
                        help='of initialization and shuffling')
    parser.add_argument('--threads', type=COUNT, metavar='N',
                        help='that compute; without it: one for each processor that is free at the start')
    add_folders(parser)
    return parser


def add_folders(parser):
    """Add the flags for the two folders."""
    parser.add_argument('--data_dir', type=_data_dir, default=DATA_DIR, help='folder that has or gets CIFAR-10')
    parser.add_argument('--results_dir', type=_results_dir, default='results/', help='folder for the results')


def _data_dir(text):
    if not text or os.path.exists(text) and not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f'{text!r} is not a folder: give a folder, which may be a new one')
    return text


def _results_dir(text):
    """Refuse what no result can be written to, before the training rather than after it."""
    path = _data_dir(text)
    # A link that leads nowhere is there as well, and is in the way.
    existing = next(folder for folder in [Path(path), *Path(path).absolute().parents] if os.path.lexists(folder))
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise argparse.ArgumentTypeError(f'{text!r} can not be written to ({error.strerror}): '
                                         'give a folder that can be') from error
    return text


@contextlib.contextmanager
def user_errors(parser, *more_errors, when_interrupted):
    """End the script with one message and no traceback for what is not a defect of the program.

    when_interrupted: what Ctrl-C leaves behind, in words.
    """
    try:
        with signals_as_ctrl_c():
            yield
    except (DataUnavailable, Diverged, *more_errors) as error:
        parser.exit(1, f'{parser.prog}: error: {error}\n')
    except ModuleNotFoundError as error:
        package = {'matplotlib': 'matplotlib', 'PIL': 'Pillow', 'tqdm': 'tqdm', 'torch': 'torch'}.get(
            error.name.partition('.')[0])
        if not package:
            raise
        # The requirements name a version of PyTorch: the newest can be gigabytes.
        wanted = '-r requirements.txt' if package == 'torch' else package
        parser.exit(1, f'{parser.prog}: error: {package} is not installed: python -m pip install {wanted}\n')
    except MemoryError as error:
        parser.exit(1, f'{parser.prog}: error: the memory does not suffice ({error}): give a smaller net or batch\n')
    except OSError as error:
        parser.exit(1, f'{parser.prog}: error: {error}; what was there before is unchanged\n')
    except SettingsError as error:
        parser.error(error)
    except KeyboardInterrupt as interrupt:
        parser.exit(exit_code(interrupt), f'\n{parser.prog}: interrupted; {when_interrupted}\n')


def main(model_name, train, parser, writes=True):
    """The command line of a training script: train, write the results (unless writes=False), say what was reached."""
    arguments = vars(parser.parse_args())
    if arguments['use_batch_norm'] and arguments['hidden_dims'] and arguments['batch_size'] == 1:
        parser.error("argument --batch_size: '1' is not allowed with --use_batch_norm: give at least 2, "
                     'a single sample has no variance')
    if arguments['threads']:
        threads.restart_with(arguments['threads'])
    elif train.__module__ == '__main__':  # else this process is somebody else's, who has work of their own in it
        threads.leave_room()
    changed = {name: value for name, value in arguments.items()
               if value != parser.get_default(name) and name not in ('data_dir', 'results_dir')}
    name = results.result_stem(model_name, changed)
    config = {**arguments, **{folder: results.portable(arguments[folder]) for folder in ('data_dir', 'results_dir')}}
    stem = Path(arguments['results_dir']) / name
    with user_errors(parser, when_interrupted='no result was written'):
        results.check_place(stem)
        settings = {key: value for key, value in arguments.items() if key not in ('results_dir', 'threads')}
        model, _, test_accuracy, logging_info = train(**settings)
        if not writes:
            return
        record = {'config': config, **logging_info, 'test_accuracy': test_accuracy}
        best = record['best_epoch']
        say(f'best epoch {best} of {len(record["val_accuracy"])}: validation accuracy '
            f'{record["val_accuracy"][best - 1]:.4f}, test accuracy {test_accuracy:.4f} '
            f'(of the last epoch: {record["last_test_accuracy"]:.4f})')
        if reference := results.reference_line(name, record['environment']['threads']):
            say(reference)
        say(' '.join(map(str, ['written:', *results.write_results(stem, record, model)])))
