"""What its surroundings do to a running script: signals that end it, a reader of its output that goes away."""

import contextlib
import os
import signal
import sys
import threading


class Ended(KeyboardInterrupt):
    """A signal asked the process to end; its argument is the number of the signal."""


@contextlib.contextmanager
def signals_as_ctrl_c():
    """SIGTERM and SIGHUP raise in the main thread, as Ctrl-C does; one that was ignored, as under nohup, stays so."""
    def end(number, _):
        raise Ended(number)

    before = {}
    if threading.current_thread() is threading.main_thread():  # no other may set what a signal does
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


def say(text, stream=None, end='\n'):
    """Print a line at once, on standard output by default.

    Where nobody can take it, the work goes on: its results are worth more than its report.
    """
    stream = stream or sys.stdout
    try:
        print(text, end=end, file=stream, flush=True)
    except OSError as error:
        if stream is sys.stdout and not isinstance(error, BrokenPipeError):  # whose reader has seen enough, as with `| head -1`
            print(f'standard output can not be written ({error}); the work goes on', file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
