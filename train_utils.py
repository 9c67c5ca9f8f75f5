"""What the two training scripts share: arguments and their checks, the log of a run, results, curves."""

import argparse
import contextlib
import io
import json
import math
import os
import platform
import re
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from cifar10_sources import CIFAR10
from cifar10_utils import VALIDATION_SIZE, DataUnavailable
from files import atomic_write

DEFAULTS = {'hidden_dims': [128], 'lr': 0.1, 'batch_size': 128, 'epochs': 10, 'seed': 42, 'device': 'auto'}

LARGEST_LAYER = 65536  # its weights alone are 0.8 GB

# Per setting: how to read it, what is allowed in words, and as a test.
CHECKS = {
    'hidden_dims': (int, f'a whole number from 1 to {LARGEST_LAYER} for each hidden layer',
                    lambda value: 1 <= value <= LARGEST_LAYER),
    'lr': (float, 'a finite number above 0', lambda value: 0 < value < math.inf),
    'batch_size': (int, f'a whole number from 1 to {CIFAR10.train_size - VALIDATION_SIZE}, the training images',
                   lambda value: 1 <= value <= CIFAR10.train_size - VALIDATION_SIZE),
    'epochs': (int, 'a whole number of at least 1', lambda value: value >= 1),
    'seed': (int, f'a whole number from 0 to {2**32 - 1}', lambda value: 0 <= value < 2**32),
}


class Diverged(Exception):
    """The loss or the predictions are no longer finite; the message says since when."""


class SettingsError(ValueError):
    """A setting whose value makes no sense; the message names it, its value and what is allowed."""


def check_settings(**settings):
    """Raise SettingsError for the first setting whose value makes no sense."""
    for name, value in settings.items():
        _, allowed, is_allowed = CHECKS[name]
        for one in value if name == 'hidden_dims' else [value]:
            if not is_allowed(one):
                raise SettingsError(f'{name} is {one}: give {allowed}')


class ArgumentParser(argparse.ArgumentParser):
    """Shows defaults, and ends with exit code 2 and one line on standard error for what it can't take."""

    def __init__(self, description):
        super().__init__(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter,
                         allow_abbrev=False)
        # What argparse takes for a negative number, a value, and not for a flag: by itself not -inf, nor always -1e5.
        self._negative_number_matcher = re.compile(r'-(\.?\d|inf|nan)', re.IGNORECASE)

    def error(self, message):
        message = str(message).replace('\n', '\\n')
        hint = '' if 'give ' in message else f'; python {self.prog} --help shows what can be given'
        self.exit(2, f'{self.prog}: error: {message}{hint}\n')


def make_parser(description):
    """A parser with the flags that both scripts have."""
    parser = ArgumentParser(description)
    parser.add_argument('--hidden_dims', type=argument_type(*CHECKS['hidden_dims']), nargs='*', metavar='N',
                        default=DEFAULTS['hidden_dims'],
                        help='sizes of the hidden layers; none: multinomial logistic regression')
    parser.add_argument('--use_batch_norm', action='store_true',
                        help='batch normalization between each hidden linear layer and its ReLU')
    parser.add_argument('--lr', type=argument_type(*CHECKS['lr']), default=DEFAULTS['lr'], help='learning rate')
    parser.add_argument('--batch_size', type=argument_type(*CHECKS['batch_size']), default=DEFAULTS['batch_size'],
                        help='samples per step')
    parser.add_argument('--epochs', type=argument_type(*CHECKS['epochs']), default=DEFAULTS['epochs'],
                        help='passes over the training set')
    parser.add_argument('--seed', type=argument_type(*CHECKS['seed']), default=DEFAULTS['seed'],
                        help='of initialization and shuffling')
    add_folders(parser)
    return parser


def add_folders(parser):
    """Add the flags for the two folders."""
    parser.add_argument('--data_dir', type=_data_dir, default='data/', help='folder that has or gets CIFAR-10')
    parser.add_argument('--results_dir', type=_results_dir, default='results/', help='folder for JSON and PNG files')


def argument_type(read, allowed, is_allowed):
    """A type for argparse: reads a text, and refuses what is not allowed with the words that say what is."""
    def parse(text):
        try:
            value = read(text)
        except ValueError:
            value = None
        if value is None or not is_allowed(value):
            raise argparse.ArgumentTypeError(f'{text!r} is not allowed: give {allowed}')
        return value

    return parse


def _data_dir(text):
    if not text or os.path.exists(text) and not os.path.isdir(text):
        raise argparse.ArgumentTypeError(f'{text!r} is not a folder: give a folder, which may be a new one')
    return text


def _results_dir(text):
    """Refuse what no result can be written to, before the training rather than after it."""
    path = _data_dir(text)
    existing = next(folder for folder in [Path(path), *Path(path).absolute().parents] if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise argparse.ArgumentTypeError(f'{text!r} can not be written to ({error.strerror}): '
                                         'give a folder that can be') from error
    return text


class TrainingLog:
    """Keeps loss and accuracy of each step and epoch, shows them, and stops a run that diverged.

    Losses and accuracies are looked at in each step. With fetch, a function that turns a list of
    them to floats, they are only collected until the end of the epoch: a GPU is waited for once.
    """

    def __init__(self, epochs, lr, fetch=None, verbose=True):
        self.epochs, self.lr, self.fetch, self.verbose = epochs, lr, fetch, verbose
        self.epoch = 0
        self.batch_losses, self.train_losses, self.train_accuracies, self.val_accuracies = [], [], [], []
        self.seconds = []

    def track(self, loader):
        """Iterate over the batches of one epoch, behind a progress bar."""
        from tqdm import tqdm

        self.epoch += 1
        self._losses, self._accuracies = [], []
        start = time.perf_counter()
        with tqdm(loader, f'epoch {self.epoch}/{self.epochs}', unit='batch', leave=False, dynamic_ncols=True,
                  disable=None if self.verbose else True) as self._bar:
            yield from self._bar
        if self.fetch:
            values = self.fetch(self._losses + self._accuracies)
            self._losses, self._accuracies = values[:len(self._losses)], values[len(self._losses):]
            for step, loss in enumerate(self._losses, start=1):
                self._check(loss, step)
        self.seconds.append(time.perf_counter() - start)
        self.batch_losses += self._losses
        self.train_losses.append(_mean(self._losses))
        self.train_accuracies.append(_mean(self._accuracies))

    def step(self, loss, accuracy):
        """Take note of one batch. Raises Diverged."""
        if not self.fetch:
            loss, accuracy = float(loss), float(accuracy)
            self._check(loss, len(self._losses) + 1)
        self._losses.append(loss)
        self._accuracies.append(accuracy)
        if not self.fetch and not self._bar.disable and len(self._losses) % 25 == 0:
            self._bar.set_postfix_str(f'loss {_mean(self._losses):.4f}, accuracy {_mean(self._accuracies):.4f}',
                                      refresh=False)

    def end_epoch(self, val_accuracy):
        """Take note of the epoch's validation accuracy; True where it is the best so far. Raises Diverged."""
        self._check(val_accuracy, len(self._losses), 'validation accuracy')
        self.val_accuracies.append(val_accuracy)
        if self.verbose:
            print(f'epoch {self.epoch:{len(str(self.epochs))}}/{self.epochs}'
                  f'  train loss {self.train_losses[-1]:.4f}  train accuracy {self.train_accuracies[-1]:.4f}'
                  f'  validation accuracy {val_accuracy:.4f}  {self.seconds[-1]:.2f} s', flush=True)
        return self.best_epoch == self.epoch

    @property
    def best_epoch(self):
        """The epoch, counted from 1, with the best validation accuracy; the first where several have it."""
        return 1 + self.val_accuracies.index(max(self.val_accuracies))

    def _check(self, value, step, name='loss'):
        if not math.isfinite(value):
            raise Diverged(f'the {name} is {value} in epoch {self.epoch}, step {step}, with learning rate {self.lr}; '
                           'no result was written, a smaller learning rate may help')

    def as_dict(self):
        """What `train` returns as logging_info."""
        return {
            'dataset': {'name': 'CIFAR-10', 'sha256': CIFAR10.sha256},
            'train_loss': self.train_losses,
            'train_accuracy': self.train_accuracies,
            'val_accuracy': self.val_accuracies,
            'best_epoch': self.best_epoch,
            'seconds_per_epoch': _mean(self.seconds),
            'batch_loss': self.batch_losses,
        }


def _mean(values):
    return sum(values) / len(values)


@contextlib.contextmanager
def user_errors(parser, *more_errors):
    """End the script with one message and no traceback for what is not a defect of the program."""
    try:
        yield
    except (DataUnavailable, Diverged, *more_errors) as error:
        parser.exit(1, f'{parser.prog}: error: {error}\n')
    except MemoryError as error:
        parser.exit(1, f'{parser.prog}: error: the memory does not suffice ({error}): give a smaller net or batch\n')
    except OSError as error:
        parser.exit(1, f'{parser.prog}: error: {error}; what was there before is unchanged\n')
    except SettingsError as error:
        parser.error(error)
    except KeyboardInterrupt:
        parser.exit(130, f'\n{parser.prog}: interrupted; finished results are kept\n')


def main(model_name, train, parser, writes=True):
    """The command line of a training script: train, write the results (unless writes=False), say what was reached."""
    arguments = vars(parser.parse_args())
    if arguments['use_batch_norm'] and arguments['hidden_dims'] and arguments['batch_size'] == 1:
        parser.error("argument --batch_size: '1' is not allowed with --use_batch_norm: give at least 2, "
                     'a single sample has no variance')
    settings = {name: value for name, value in arguments.items() if name != 'results_dir'}
    stem = Path(arguments['results_dir']) / result_stem(model_name, settings)
    with user_errors(parser):
        _, _, test_accuracy, logging_info = train(**settings)
        if not writes:
            return
        record = {'config': arguments, **logging_info, 'test_accuracy': test_accuracy}
        best = record['best_epoch']
        print(f'best epoch {best} of {len(record["val_accuracy"])}: '
              f'validation accuracy {record["val_accuracy"][best - 1]:.4f}, test accuracy {test_accuracy:.4f}')
        print('written:', *write_results(stem, record))


def result_stem(model_name, settings):
    """A name for the results that tells every setting that differs from the default."""
    parts = [model_name]
    if settings.get('use_batch_norm'):
        parts.append('batch_norm')
    for name, default in DEFAULTS.items():
        value = settings.get(name, default)
        if value != default:
            text = '-'.join(map(str, value)) or 'none' if name == 'hidden_dims' else value
            parts.append(f'{name}{text}')
    return '_'.join(parts)


def environment(packages, threads, device):
    """What a result may depend on beside its settings."""
    return {
        'python': platform.python_version(),
        **{package: version(package) for package in packages},
        'platform': f'{platform.system()} {platform.machine()}',
        'threads': threads,
        'device': device,
    }


def write_results(stem, record):
    """Write the record as STEM.json and its curves as STEM.png; return the two paths."""
    # One key a line: readable, and the long list of batch losses stays out of the way.
    lines = ',\n'.join(f'  {json.dumps(key)}: {json.dumps(value, allow_nan=False)}' for key, value in record.items())
    image = draw_curves(record, stem.name)
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f'{stem.name}.{ending}') for ending in ('json', 'png')]
    for path, content in zip(paths, [f'{{\n{lines}\n}}\n'.encode(), image]):
        with atomic_write(path) as file:
            file.write(content)
    return paths


def draw_curves(record, title):
    """PNG bytes: loss over training, training and validation accuracy per epoch, the best epoch marked."""
    from matplotlib.figure import Figure  # without pyplot, which is slow to import and looks for a screen
    from matplotlib.ticker import FuncFormatter

    epochs = range(1, len(record['val_accuracy']) + 1)
    steps = len(record['batch_loss'])
    batch_positions = [(step + 1) * len(epochs) / steps for step in range(steps)]
    best = record['best_epoch']
    best_accuracy = record['val_accuracy'][best - 1]

    figure = Figure(figsize=(10, 4), layout='constrained')
    figure.suptitle(f'{title}: test accuracy {record["test_accuracy"]:.3f}')
    left, right = figure.subplots(1, 2)
    left.plot(batch_positions, record['batch_loss'], color='C0', alpha=0.3, linewidth=0.5, label='each batch')
    left.plot([epoch - 0.5 for epoch in epochs], record['train_loss'], 'o-', color='C0', label='mean of the epoch')
    # Logarithmic: the first few steps overshoot to several times the loss of an untrained net.
    left.set(xlabel='epoch', ylabel='training loss (cross-entropy, log scale)', xlim=(0, len(epochs)), yscale='log')
    for set_formatter in (left.yaxis.set_major_formatter, left.yaxis.set_minor_formatter):
        set_formatter(FuncFormatter(lambda loss, _: f'{loss:g}'))
    right.plot(epochs, record['train_accuracy'], 'o-', color='C0', label='training (mean over the epoch)')
    right.plot(epochs, record['val_accuracy'], 's-', color='C1', label='validation (after the epoch)')
    right.plot(best, best_accuracy, '*', color='C3', markersize=16,
               label=f'best epoch: {best} (validation {best_accuracy:.3f})')
    right.set(xlabel='epoch', ylabel='accuracy')
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        axes.legend()
    image = io.BytesIO()
    figure.savefig(image, format='png', dpi=110)
    return image.getvalue()
