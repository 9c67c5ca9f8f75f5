"""The lines that a command prints, and the signals that end it."""

import contextlib
import os
import signal
import sys
import threading


class Ended(KeyboardInterrupt):
    """A signal ended the process; the argument is the number of the signal."""


# Restores what console.start has replaced during the imports, because an interactive session may run a script.
import_guard = contextlib.ExitStack()


def end_interrupted(number=signal.SIGINT, _=None):
    """End the process after Ctrl-C during the imports, because C++ code of an import may swallow an exception."""
    warn('\ninterrupted')
    os._exit(128 + number)


@contextlib.contextmanager
def signals_as_ctrl_c():
    """SIGTERM and SIGHUP raise in the main thread, like Ctrl-C. A signal that was ignored (nohup) stays ignored."""
    def end(number, _):
        raise Ended(number)

    before = {}
    if threading.current_thread() is threading.main_thread():  # only the main thread may set signal handlers
        for name in ('SIGTERM', 'SIGHUP'):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)


def exit_code(interrupt):
    """The usual exit code of a process that a signal has ended: 130 for Ctrl-C."""
    return 128 + (interrupt.args[0] if isinstance(interrupt, Ended) else signal.SIGINT)


def say(text, end='\n'):
    """Print a line on standard output at once. If it cannot be written, the program continues."""
    _print(text, end, 'stdout')


def warn(text, end='\n'):
    """Print a line on standard error at once. If it cannot be written, the program continues."""
    _print(text, end, 'stderr')


def _print(text, end, name):
    stream = getattr(sys, name)
    try:
        print(text, end=end, file=stream, flush=True)  # prints nothing if the stream is None: closed by `2>&-`
    except OSError as error:
        with contextlib.suppress(OSError), open(os.devnull, 'wb') as nowhere:  # later lines go nowhere
            os.dup2(nowhere.fileno(), stream.fileno())
        # A closed pipe, as in `| head -1`, is intended and needs no message.
        if name == 'stdout' and not isinstance(error, BrokenPipeError):
            warn(f'cannot write to standard output ({error}); the work continues')
    except ValueError:  # the stream is closed, or its encoding lacks a character
        pass


def on_terminal():
    """Is standard error a terminal? Only a terminal shows a progress bar."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # closed, by the shell or in this process
        return False
