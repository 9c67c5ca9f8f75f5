"""Between a command and its surroundings: the lines that it prints, the signals that end it."""

import contextlib
import os
import signal
import sys
import threading


class Ended(KeyboardInterrupt):
    """A signal asked the process to end; its argument is the number of the signal."""


@contextlib.contextmanager
def signals_as_ctrl_c():
    """SIGTERM and SIGHUP raise in the main thread, as Ctrl-C does. A signal that was ignored (nohup) stays ignored."""
    def end(number, _):
        raise Ended(number)

    before = {}
    if threading.current_thread() is threading.main_thread():  # Python lets no other thread set what a signal does
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
    """The exit code that a shell expects of a process that a signal has ended: 130 for Ctrl-C."""
    return 128 + (interrupt.args[0] if isinstance(interrupt, Ended) else signal.SIGINT)


def say(text, end='\n'):
    """Print a line on standard output at once. An output that cannot be written never ends the work."""
    _print(text, end, 'stdout')


def warn(text, end='\n'):
    """Print a line on standard error at once. An output that cannot be written never ends the work."""
    _print(text, end, 'stderr')


def _print(text, end, name):
    stream = getattr(sys, name)
    try:
        print(text, end=end, file=stream, flush=True)  # prints nothing if the stream is None: closed by `2>&-`
    except OSError as error:
        with contextlib.suppress(OSError), open(os.devnull, 'wb') as nowhere:  # what follows is not tried again
            os.dup2(nowhere.fileno(), stream.fileno())
        # A reader that has seen enough, as in `| head -1`, needs no message.
        if name == 'stdout' and not isinstance(error, BrokenPipeError):
            warn(f'cannot write to standard output ({error}); the work continues')
    except ValueError:  # the stream is closed, or lacks a letter
        pass


def on_terminal():
    """Is standard error a terminal, which can show a progress bar?"""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # closed, by the shell or in this process
        return False
