"""Errors that are not defects of the program: the command ends with one line on standard error, no traceback."""

import contextlib

from console.process import exit_code, signals_as_ctrl_c

PACKAGES = {'numpy': 'numpy', 'matplotlib': 'matplotlib', 'PIL': 'Pillow', 'tqdm': 'tqdm',
            'threadpoolctl': 'threadpoolctl', 'torch': 'torch'}  # module: package


class UserError(Exception):
    """An error for which the user needs only the message: the problem, and its solution."""


class SettingsError(UserError, ValueError):
    """A setting with an invalid value; the message names the setting, its value and the valid values."""


def what_is_missing(error):
    """A message with the command to install a missing package of the requirements; None for another error."""
    package = PACKAGES.get((error.name or '').partition('.')[0]) if isinstance(error, ModuleNotFoundError) else None
    # If NumPy is missing, other packages probably are too. The newest PyTorch may not be the required version.
    wanted = '-r requirements.txt' if package in ('numpy', 'torch') else package
    return f'{package} is not installed: run python -m pip install {wanted}' if package else None


@contextlib.contextmanager
def user_errors(parser, when_interrupted):
    """End the command with one line for an error that is not a defect of the program.

    when_interrupted: the message after Ctrl-C, which says where the finished results are, or a function that returns it.
    """
    try:
        with signals_as_ctrl_c():
            yield
    except SettingsError as error:
        parser.refuse(error)
    except UserError as error:
        parser.exit(1, f'{parser.prog}: error: {error}\n')
    except ModuleNotFoundError as error:
        missing = what_is_missing(error)
        if not missing:
            raise
        parser.exit(1, f'{parser.prog}: error: {missing}\n')
    except MemoryError as error:
        parser.exit(1, f'{parser.prog}: error: out of memory ({error}): use smaller --hidden_dims or --batch_size\n')
    except OSError as error:
        what = f'{error.filename}: {error.strerror}' if error.filename and error.strerror else error
        parser.exit(1, f'{parser.prog}: error: {what} (existing files are unchanged)\n')
    except KeyboardInterrupt as interrupt:
        left = when_interrupted() if callable(when_interrupted) else when_interrupted
        parser.exit(exit_code(interrupt), f'\n{parser.prog}: interrupted; {left}\n')
