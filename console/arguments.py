"""The command line of all commands: one line for an invalid argument, and a --help with commands to copy."""

import argparse
import math
import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from console.process import import_guard, warn

NEGATIVE_NUMBER = re.compile(r'-(\.?\d|inf|nan)', re.IGNORECASE)
BATCHES_FOLDER = 'cifar-10-batches-py'  # its name in the official archive


class Allowed(NamedTuple):
    """A type for argparse: converts a text with `read`, and rejects it if `test` fails. `words`: the valid values."""
    read: Callable
    words: str
    test: Callable

    def __call__(self, text):
        try:
            value = self.read(text)
        except ValueError:
            value = None
        if value is None or not self.test(value):
            raise argparse.ArgumentTypeError(f'invalid value {text!r}: must be {self.words}')
        return value


POSITIVE = Allowed(float, 'a number > 0', lambda value: 0 < value < math.inf)
COUNT = Allowed(int, 'an integer of at least 1', lambda value: value >= 1)
SEED = Allowed(int, f'an integer from 0 to {2**32 - 1}', lambda value: 0 <= value < 2**32)


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Shows a default value as the user would type it, and no default for a switch."""

    def _get_help_string(self, action):
        default = action.default
        if default is None or default is False or default in (argparse.SUPPRESS, []):  # 0.0 is a default, and == False
            return action.help
        text = ' '.join(map(str, default)) if isinstance(default, list) else str(default)
        return f'{action.help} (default: {text})'.replace('%', '%%')


class ArgumentParser(argparse.ArgumentParser):
    """Ends with exit code 2 and one line on standard error for invalid arguments."""

    def __init__(self, description, module=None):
        """description: a docstring; its first line is at the top of --help, the other lines are at the end.

        It is None if Python runs without docstrings (python -OO).
        module: the name for python -m, if the command is not a script.
        """
        self.module = module
        first, _, others = (description or '').partition('\n')
        super().__init__(prog=module, description=first, epilog=others.strip('\n') or None, formatter_class=Formatter,
                         allow_abbrev=False)
        self._negative_number_matcher = NEGATIVE_NUMBER  # argparse would take -inf, -1e5 and -1.png for flags

    @property
    def command(self):
        return f'python -m {self.prog}' if self.module else f'python {self.prog}'

    def _get_formatter(self):
        formatter = super()._get_formatter()
        formatter._prog = self.command  # the user can paste the line "usage: …"
        return formatter

    def parse_args(self, args=None):
        """The same as in argparse; a stream whose encoding lacks a character prints "?" for it. The imports are done."""
        import_guard.close()
        for stream in (sys.stdout, sys.stderr):  # a redirect on Windows may lack characters such as ∂
            if hasattr(stream, 'reconfigure'):
                stream.reconfigure(errors='replace')
        return super().parse_args(args)

    def error(self, message):
        # Our own types list the valid values; a message of argparse itself ("expected one argument") does not.
        explained = isinstance(getattr(sys.exc_info()[1], '__context__', None), argparse.ArgumentTypeError)
        self.refuse(message if explained else f'{message}; run {self.command} --help to see the options')

    def refuse(self, message):
        """End the command because of an invalid argument."""
        message = str(message).replace('\n', '\\n')  # it may quote an argument with a line break
        self.exit(2, f'{self.prog}: error: {message}\n')

    def exit(self, status=0, message=None):
        """End the command; a message goes to standard error."""
        if message:
            warn(message, end='')
        sys.exit(status)


def add_folders(parser, data_dir):
    """Add the flags for the two folders."""
    parser.add_argument('--data_dir', type=_data_dir, default=data_dir,
                        help='CIFAR-10 directory; the data is downloaded there if missing')
    parser.add_argument('--results_dir', type=_results_dir, default='results/',
                        help='output directory, relative to the current directory')


def _folder(text):
    path = os.path.expandvars(os.path.expanduser(text))  # a shell does not expand them in quotes or after "="
    if not path or os.path.exists(path) and not os.path.isdir(path):
        raise argparse.ArgumentTypeError(f'{text!r} is not a directory (it may be one that does not exist yet)')
    return path


def _data_dir(text):
    path = _folder(text)
    if os.path.basename(os.path.normpath(path)) == BATCHES_FOLDER:  # the data directory is the one that contains it
        return os.path.dirname(os.path.normpath(path)) or '.'
    return path


def _results_dir(text):
    """Reject a folder that cannot be written before the training, not after it."""
    path = _folder(text)
    # A dangling link counts as existing, because it prevents the creation of the folder.
    existing = next(folder for folder in [Path(path), *Path(path).absolute().parents] if os.path.lexists(folder))
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise argparse.ArgumentTypeError(f'{text!r} is not writable ({error.strerror})') from error
    return path
