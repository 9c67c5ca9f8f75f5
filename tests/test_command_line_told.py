"""What the command lines take and refuse, how a script ends, and all that a run says and writes: as approved."""

import argparse
import contextlib
import errno
import io
import json
import re
import signal
import sys

import pytest

import mlp_numpy
import train_mlp_pytorch
from approval import assert_approved
from cifar10.sources import DataUnavailable
from conftest import ROOT
from console import arguments, errors
from console.errors import SettingsError
from console.process import Ended
from test_command_line import BAD_INVOCATIONS
from training import command_line, models, results
from training.log import Diverged

SCRIPTS = ['train_mlp_numpy.py', 'train_mlp_pytorch.py', 'inspection']


class Parsed(errors.UserError):
    """In place of a run: its argument is the parser."""


def stop_at(result):
    """In place of argparse's parse_args."""
    def parse_args(parser, args):
        raise Parsed(parser, result(parser, args))

    return parse_args


def option_text(action):
    """What the project has said of one option."""
    parts = [' '.join(action.option_strings) or action.dest, f'{type(action).__name__.strip("_")}']
    parts += [f'{name} {getattr(action, name)!r}' for name in ('metavar', 'nargs', 'default')]
    return f'{", ".join(parts).replace(str(ROOT), "ROOT")}\n    {action.help}'


def test_the_options_are_those_approved_with_their_defaults_and_help(run_in_process, monkeypatch):
    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', stop_at(lambda *_: None))
    told = []
    for script in SCRIPTS:
        with pytest.raises(Parsed) as stopped:
            run_in_process(script, [])
        parser = stopped.value.args[0]
        told += [f'{parser.prog}: {parser.description}', *map(option_text, parser._actions[1:]), '']
    assert_approved('options', '\n'.join(told))


@pytest.mark.parametrize('script', ['train_mlp_numpy.py'])
def test_what_is_allowed_is_taken_as_approved(run_in_process, monkeypatch, script):
    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args',
                        stop_at(argparse.ArgumentParser.parse_args))
    told = []
    for text in ['', '--hidden_dims', '--hidden_dims 1 65536 --use_batch_norm', '--lr 3.4e38 --seed 0',
                 '--lr 1e-300 --seed 4294967295', '--lr .5 --epochs 1 --batch_size 1', '--batch_size 45000 --threads 1',
                 '--epochs 1000000 --data_dir new --results_dir new/newer --threads 999']:
        with pytest.raises(Parsed) as stopped:
            run_in_process(script, text.split())
        parser, arguments = stopped.value.args
        changed = {name: value for name, value in vars(arguments).items() if value != parser.get_default(name)}
        told.append(f'{text}\n    {changed}')
    assert_approved('flags', '\n'.join(told) + '\n')


def test_what_makes_no_sense_is_refused_in_one_line_as_approved(run_in_process, tmp_path, monkeypatch):
    monkeypatch.setattr(train_mlp_pytorch.torch.cuda, 'is_available', lambda: False)
    (tmp_path / 'a file').write_text('untouched')
    told = {}  # the scripts that say the same of the same arguments
    for script, arguments in BAD_INVOCATIONS:
        code, out, err = run_in_process(script, arguments)
        assert (code, out) == (2, '') and err.startswith(f'{script}: error: ') and err.count('\n') == 1, arguments
        message = err.rstrip().partition(': error: ')[2].replace(f' {script} --help', ' … --help')
        told.setdefault(f'{" ".join(map(repr, arguments)) or "nothing"}\n    {message}', []).append(script)
    assert [path.name for path in tmp_path.iterdir()] == ['a file'], 'no file was touched'
    assert (tmp_path / 'a file').read_text() == 'untouched'
    text = '\n'.join(f'{", ".join(scripts)}: {words}' for words, scripts in told.items()) + '\n'
    # Whoever may write anywhere is told another reason.
    assert_approved('refusals', re.sub(r"(?<='/proc/results' is not writable \().*(?=\))", '…', text))


def test_what_python_m_runs_goes_by_its_own_name(capsys, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['somewhere/inspection/__main__.py', '--nonsense'])
    parser = arguments.ArgumentParser('Shows it.\nIn all its beauty.', 'inspection')
    assert (parser.prog, parser.description) == ('inspection', 'Shows it.')
    with pytest.raises(SystemExit, match='2'):
        parser.parse_args()
    assert capsys.readouterr().err == ('inspection: error: unrecognized arguments: --nonsense; '
                                       'run python -m inspection --help to see the options\n')


def ended(capsys, monkeypatch, error):
    """The exit code and the line with which a script ends for an error; '' where it is passed on."""
    monkeypatch.setattr(sys, 'argv', ['script.py'])
    with pytest.raises((SystemExit, type(error))) as caught:
        with errors.user_errors(arguments.ArgumentParser('A script.'), when_interrupted='all is well'):
            raise error
    out, err = capsys.readouterr()
    assert not out
    return f'{error!r}\n    {caught.value.code if err else "passed on"} {err!r}'


def missing(module):
    return ModuleNotFoundError(f"No module named '{module}'", name=module)


def test_a_script_ends_as_approved_for_each_error_that_is_none_of_ours(capsys, monkeypatch):
    errors = [DataUnavailable('no data'), Diverged('too fast'), Parsed('one more'), SettingsError('lr is 0: give 1'),
              missing('matplotlib.figure'), missing('PIL'), missing('tqdm.auto'), missing('torch'), missing('modules'),
              MemoryError('9 GB'), OSError(errno.ENOSPC, 'No space left', 'run.json'), KeyboardInterrupt(),
              Ended(int(signal.SIGTERM)), ValueError('a defect'), SettingsError('two\nlines')]
    assert_approved('errors', '\n'.join(ended(capsys, monkeypatch, error) for error in errors) + '\n')


def test_a_letter_that_a_stream_does_not_have_ends_no_script(monkeypatch):
    streams = [io.TextIOWrapper(io.BytesIO(), 'ascii') for _ in range(2)]
    monkeypatch.setattr(sys, 'stdout', streams[0])
    monkeypatch.setattr(sys, 'stderr', streams[1])
    arguments.ArgumentParser('A script.').parse_args([])
    for stream in streams:
        stream.write('32×32')
        stream.flush()
        assert stream.buffer.getvalue() == b'32?32'
    monkeypatch.setattr(sys, 'stdout', io.StringIO())  # which has no bytes behind it
    arguments.ArgumentParser(None).parse_args([])


INFO = {'train_loss': [2.5, 1.5, 1.25], 'train_accuracy': [0.25, 0.5, 0.5], 'val_accuracy': [0.375, 0.625, 0.5],
        'best_epoch': 2, 'dataset': {'name': 'CIFAR-10'}, 'last_test_accuracy': 0.53125,
        'environment': {'numpy': '2.0', 'threads': 2}}


@pytest.fixture
def trained(monkeypatch, capsys, tmp_path):
    """trained(*arguments, **options of command_line.main) without a training → all that is said and written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results, 'ROOT', tmp_path)
    monkeypatch.setattr(results, 'REFERENCE_DIR', tmp_path / 'reference')
    monkeypatch.setattr(results.curves, 'draw', lambda name, record: f'curves of {name}, {record["test_accuracy"]}')
    monkeypatch.setattr(results, 'png_bytes', str.encode)
    told = []
    monkeypatch.setattr(command_line.threads, 'use_threads', lambda count: told.append(f'{count} threads'))
    monkeypatch.setattr(command_line.threads, 'use_idle_processors', lambda: told.append('room left'))
    (tmp_path / 'reference').mkdir()
    reference = {'test_accuracy': 0.4321, 'environment': {'platform': 'CP/M Z80', 'numpy': '0.9', 'threads': 2}}
    (tmp_path / 'reference' / 'mlp_epochs3.json').write_text(json.dumps(reference))

    def train(hidden_dims, lr, batch_size, epochs, seed, data_dir, use_batch_norm=False):
        values = [hidden_dims, use_batch_norm, lr, batch_size, epochs, seed, data_dir]
        told.append(f'trained with {values}')
        return mlp_numpy.MLP(2, [], 2), 'not looked at', 0.5625, INFO

    def run(*arguments, module='elsewhere', fails=None, **options):
        monkeypatch.setattr(sys, 'argv', ['train.py', *arguments, '--data_dir', 'data'])
        train.__module__ = module
        told[:] = [f'$ python train.py {" ".join(arguments)}']
        with monkeypatch.context() as patch, contextlib.suppress(SystemExit):
            if fails:
                patch.setattr(results, *fails)
            command_line.main('mlp', train, 'A training.', **options)
        out, err = capsys.readouterr()
        told.extend(text.rstrip() for text in (err, out) if text)
        for path in sorted(path for path in tmp_path.rglob('*.*') if path.parent.name != 'reference'):
            text = json.dumps(models.load_numpy(path)[1]) if path.suffix == '.npz' else path.read_text().rstrip()
            told.extend([f'--- {path.relative_to(tmp_path).as_posix()}', text])
            path.unlink()
        return '\n'.join(told) + '\n'

    return run


def test_all_that_a_run_says_and_writes_is_as_approved(trained):
    assert_approved('run', '\n'.join([
        trained('--epochs', '3', '--results_dir', 'new/one'),
        trained('--epochs', '3', '--threads', '1', '--use_batch_norm', '--hidden_dims', '4', '3', module='__main__'),
        trained('--seed', '7', module='__main__'), trained('--epochs', '3', writes=False),
        trained('--use_batch_norm', '--hidden_dims', '--batch_size', '1'),
        trained('--use_batch_norm', '--batch_size', '2'),
        trained('--epochs', '1', fails=('check_place', lambda stem: raise_(KeyboardInterrupt()))),
        trained('--epochs', '1', fails=('png_bytes', lambda figure: raise_(ImportError('no backend')))),
        trained('--epochs', '1', fails=('png_bytes', lambda figure: 1 / 0))]))


def raise_(error):
    raise error
