"""What a training says as it goes, why it stops, and all that it notes: as approved, or as whole results."""

import functools
import io
import itertools
import json
import math
import os
import re
import signal
import sys
import types

import pytest
import torch
import tqdm

from approval import assert_approved
from console import process
from console.arguments import POSITIVE
from training import log, results, settings, threads


class Terminal(io.StringIO):
    """A terminal of 80 columns that keeps all that it has shown."""
    encoding = 'utf-8'

    def isatty(self):
        return True


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


def test_settings_are_refused_as_approved():
    sound = {'hidden_dims': [1, 65536], 'lr': 3.4e38, 'batch_size': 45000, 'epochs': 1, 'seed': 2**32 - 1}
    settings.check_settings(**sound)
    settings.check_settings(hidden_dims=[], lr=5e-324, batch_size=1, seed=0)
    told = []
    for change in [{'hidden_dims': [8, 0]}, {'hidden_dims': [65537]}, {'lr': 0}, {'lr': 3.5e38}, {'lr': math.nan},
                   {'batch_size': 0}, {'batch_size': 45001}, {'epochs': 0}, {'seed': -1}, {'seed': 2**32}]:
        with pytest.raises(settings.SettingsError) as refused:
            settings.check_settings(**{**sound, **change})
        told.append(str(refused.value))
    assert_approved('settings', '\n'.join(told) + '\n')
    assert POSITIVE('1e300') == 1e300
    assert (settings.net_name([512, 8]), settings.net_name([])) == ('512 8', 'no hidden layer')


def test_who_ends_a_process_is_told_by_its_exit_code_and_signals_act_as_before_afterwards():
    assert [process.exit_code(error) for error in (KeyboardInterrupt(), process.Ended(15), process.Ended(1))] == [
        130, 143, 129]
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(process.Ended) as ended, process.signals_as_ctrl_c():
        os.kill(os.getpid(), signal.SIGTERM)
    assert ended.value.args == (signal.SIGTERM,) and signal.getsignal(signal.SIGTERM) is before


def test_where_nobody_takes_the_output_it_is_left_out(monkeypatch, capsys):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, 'w') as output:
        monkeypatch.setattr(sys, 'stdout', output)
        for _ in range(2):
            process.say('to nobody')
    assert capsys.readouterr().err == ''
    if os.path.exists('/dev/full'):
        with open('/dev/full', 'w') as output:
            monkeypatch.setattr(sys, 'stdout', output)
            for _ in range(2):
                process.say('too much')
        assert capsys.readouterr().err == (
            'cannot write to standard output ([Errno 28] No space left on device); the work continues\n')


def test_one_line_on_the_committed_result_of_that_name_if_there_is_one(monkeypatch, tmp_path):
    monkeypatch.setattr(results, 'REFERENCE_DIR', tmp_path)
    sound = {'test_accuracy': 0.43216,
             'environment': {'platform': 'Linux', 'numpy': '2.0', 'torch': '2.1', 'threads': 2}}
    (tmp_path / 'run.json').write_text(json.dumps(sound))
    assert results.reference_line('run', 2) == (
        'reference result: test accuracy 0.4322 (Linux, NumPy 2.0, PyTorch 2.1, 2 threads)')
    assert results.reference_line('run', 1).endswith(' 2 threads; this run: 1)')
    del sound['environment']['platform']
    for name, text in {'part': json.dumps(sound), 'list': '[]', 'damaged': '{'}.items():
        (tmp_path / f'{name}.json').write_text(text)
        assert results.reference_line(name, 2) is None
    assert results.reference_line('nowhere', 2) is None


def test_a_result_notes_what_it_may_depend_on(monkeypatch):
    monkeypatch.setattr(results, 'platform', types.SimpleNamespace(
        python_version=lambda: '3.9', system=lambda: 'CP/M', machine=lambda: 'Z80'))
    monkeypatch.setattr(results, 'version', {'numpy': '2.0', 'torch': '2.1'}.get)
    monkeypatch.setattr(results, 'commit', lambda: 'c0ffee')
    assert results.environment(['numpy', 'torch'], 3, 'cpu') == {
        'python': '3.9', 'numpy': '2.0', 'torch': '2.1', 'platform': 'CP/M Z80', 'threads': 3, 'device': 'cpu',
        'commit': 'c0ffee'}


def test_the_names_of_results_are_as_approved():
    told = [results.result_stem('mlp', changed) for changed in [
        {}, {'use_batch_norm': True}, {'use_batch_norm': False, 'hidden_dims': []},
        {'hidden_dims': [512, 8], 'lr': 1e-05}, {'hidden_dims': [1] * 20}, {'hidden_dims': [11, *[1] * 19]},
        {'hidden_dims': [128] * 70}, {'seed': 10**41, 'lr': 1}]]
    assert_approved('result_names', '\n'.join(told) + '\n')


def test_a_folder_in_the_place_of_a_result_is_told_before_the_training(tmp_path):
    results.check_place(tmp_path / 'nowhere' / 'run')
    (tmp_path / 'file').write_text('')
    results.check_place(tmp_path / 'file' / 'run')
    results.check_place(tmp_path / 'file')
    for ending in ('json', 'png', 'npz'):
        (tmp_path / f'{ending}.{ending}').mkdir()
        with pytest.raises(IsADirectoryError) as refused:
            results.check_place(tmp_path / ending)
        assert str(refused.value) == f"[Errno 21] Is a directory: '{tmp_path / ending}.{ending}'"
