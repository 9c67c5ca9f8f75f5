"""What the log of a training shows, records and refuses to go on with, as approved."""

import functools
import io
import itertools
import json
import math
import re
import types

import pytest
import torch
import tqdm

from approval import assert_approved
from training import log, threads


class Terminal(io.StringIO):
    """A terminal that keeps all that it has shown."""
    encoding, isatty = 'utf-8', lambda self: True


@pytest.fixture
def clocks(monkeypatch):
    """Each epoch of a log takes 4 seconds, and 6, 1, 1 and 7 of its processors."""
    ends = [6, 1, 1, 7]
    processor = itertools.chain.from_iterable((100, 100 + seconds) for seconds in itertools.cycle(ends))
    monkeypatch.setattr(log, 'time', types.SimpleNamespace(perf_counter=functools.partial(next, itertools.count(0, 4)),
                                                           process_time=lambda: next(processor)))


@pytest.fixture
def terminal(monkeypatch):
    """What a progress bar is shown on, each step of it."""
    shown = Terminal()
    monkeypatch.setenv('COLUMNS', '81')  # tqdm leaves the last one free
    monkeypatch.setenv('LINES', '25')
    monkeypatch.setattr(tqdm, 'tqdm', functools.partial(tqdm.tqdm, mininterval=0, file=shown))
    monkeypatch.setattr(log, 'on_terminal', shown.isatty)
    return shown


VAL_ACCURACIES = [0.25, 0.5, 0.5, 0.375]


def logged(batches=4, fetches=False, **options):
    """A log of four epochs, and what each end of an epoch has returned."""
    fetch = (lambda values: [float(value) for value in values]) if fetches else None
    found = log.TrainingLog(4, 0.1, fetch, **options)
    found.start(2.5)
    for epoch, val_accuracy in enumerate(VAL_ACCURACIES, start=1):
        for batch in found.track(range(batches)):
            found.step(torch.tensor(4 / 2**epoch - batch / 256), torch.tensor(batch / 32))
        found.end_epoch(3 / 2**epoch, val_accuracy)
    return found


def test_all_that_a_log_shows_on_a_terminal_and_says_is_as_approved(terminal, clocks, capsys):
    logged(batches=26, threads=2)
    shown = re.sub(r'(?<=%\|)[^|]*(?=\|)|\S+(?= left)', '…', terminal.getvalue())
    lines = re.split('[\r\n]+', shown)
    bars = [line.rstrip() for line in lines if not re.search(r' ([1-9]|1\d|2[0-3])/26', line)]
    assert_approved('training_shown', '\n'.join([*bars, 'and on standard output', capsys.readouterr().out]))
    terminal.truncate(0)
    logged(verbose=False)
    assert terminal.getvalue() == '' and capsys.readouterr().out == ''


def test_a_log_that_is_no_terminals_or_is_not_asked_shows_no_bar(clocks, capsys):
    logged(threads=2)
    out, err = capsys.readouterr()
    assert out.count('\n') == 4
    assert err == threads.advice(2, 4, 1, 2) + '\n', 'one line of advice, of the first such epoch'
    logged(threads=2, fetches=True)
    assert capsys.readouterr() == (out, ''), 'where a device is waited for, the processors tell nothing'
    logged(threads=2, verbose=False)
    assert capsys.readouterr() == ('', '')


@pytest.mark.parametrize('fetches', [False, True])
def test_a_log_is_a_record_as_approved_fetched_at_the_end_of_an_epoch_or_not(clocks, fetches):
    found = logged(fetches=fetches, verbose=False)
    lines = [f'{name}: {json.dumps(value)}' for name, value in found.as_dict().items()]
    assert_approved('training_record', '\n'.join([*lines, f'threads: {found.threads}']) + '\n')


def diverged(after_epochs, fetches=False, losses=(1, 2, 3), **seen):
    """Why a log stops where the losses of an epoch are those or it is told what `seen` says, after so many epochs."""
    found = log.TrainingLog(9, 0.25, (lambda values: values) if fetches else None, verbose=False)
    try:
        found.start(1.0)
        for epoch in range(after_epochs + 1):
            last = epoch == after_epochs
            for loss in found.track(losses if last else (1, 2, 3)):
                found.step(loss, 0.5)
            found.end_epoch(**{'val_accuracy': 0.5, 'val_loss': 1.0, **(seen if last else {})})
    except log.Diverged as error:
        return str(error)


def test_a_run_that_diverges_says_what_is_not_finite_since_when_as_approved():
    assert diverged(1) is None
    with pytest.raises(log.Diverged) as before_the_first:
        log.TrainingLog(9, 0.25).start(math.nan)
    assert_approved('training_diverged', '\n'.join([
        str(before_the_first.value), diverged(0, losses=(1, math.nan, 3)), diverged(2, losses=(1, 2, math.inf)),
        diverged(2, fetches=True, losses=(1, -math.inf, math.nan)), diverged(1, val_loss=math.inf)]) + '\n')
