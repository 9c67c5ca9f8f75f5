"""What the command lines take and refuse, and how a script ends for each error."""

import argparse
import ast
import errno
import io
import os
import re
import signal
import sys

import pytest

import train_mlp_pytorch
from approval import assert_approved, assert_catalogue
from cifar10.sources import DataUnavailable
from conftest import ROOT
from console import arguments, errors
from console.errors import SettingsError
from console.process import Ended
from training.log import Diverged

TRAINING_SCRIPTS = ['train_mlp_numpy.py', 'train_mlp_pytorch.py']
ALL_SCRIPTS = [*TRAINING_SCRIPTS, 'compare_batch_norm.py', 'experiments.twins', 'unittests.py', 'benchmark',
               'inspection', 'grading.gradescope', 'grading.agreement']


def row(option):
    """An option of --help as a row of the table in docs/usage.md."""
    flag, text, default = re.fullmatch(r'(--\w+(?: \[N ...])?)(?: [A-Z_]+)? (.*?)(?: \(default: (.*)\))?', option).groups()
    return f'| `{flag}` | {default or "off"} | {text} |'


def test_help_is_as_approved_and_the_page_on_usage_agrees(run_in_process, monkeypatch):
    monkeypatch.setenv('COLUMNS', '1000')
    monkeypatch.setenv('PYTHON_COLORS', '0')  # newer Pythons color the help if FORCE_COLOR is set
    monkeypatch.setattr('training.threads.processors', lambda: 3)
    page = (ROOT / 'docs' / 'usage.md').read_text(encoding='utf-8')
    descriptions, told = [], {}  # option → the scripts that have it
    for script in ALL_SCRIPTS:
        code, out, err = run_in_process(script, ['--help'])
        assert (code, err) == (0, '') and 'xample' in out.split('options:')[1]
        description = out.partition('\n\n')[2].partition('options:')[0].replace('\npositional arguments:\n', '')
        descriptions.append(f'{script}: {description.strip()}')
        options = [text.split('\n\n')[0] for text in re.split(r'\n  (?=--)', out.split('options:')[1])[1:]]
        options = [' '.join(text.replace(f'{ROOT}{os.sep}data', 'data/ of the project').split()) for text in options]
        for option in options:
            told.setdefault(option, []).append(script)
        found = {option.split()[0] for option in options}
        for paragraph in re.split('\n\n|\n- ', page):
            if re.search(f'python (-m )?{re.escape(script)}', paragraph):
                assert found >= set(re.findall(r'(?<!-)--\w+', paragraph)), paragraph
    in_table = {option: scripts for option, scripts in told.items() if TRAINING_SCRIPTS[1] in scripts}
    assert [option.split()[0] for option, scripts in in_table.items() if TRAINING_SCRIPTS[0] not in scripts] == ['--device']
    assert_approved(ROOT / 'docs' / 'usage.md', re.sub(r'(?<=\| --- \|\n)(\| `--.*\n)+', ''.join(
        f'{row(option)}\n' for option in in_table).replace('\\', r'\\'), page))
    options = [f'{", ".join(scripts)}: {option}' for option, scripts in told.items() if option not in in_table]
    assert_approved('options', '\n'.join([*descriptions, '', *options]) + '\n')


class Parsed(errors.UserError):
    """Ends a script as soon as its arguments are parsed."""


def test_what_is_allowed_is_taken_as_approved(run_in_process, monkeypatch):
    def parse_args(parser, args, real=argparse.ArgumentParser.parse_args):
        raise Parsed(parser, real(parser, args))

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', parse_args)
    for name, value in {'HOME': 'home', 'USERPROFILE': 'home', 'WHERE': 'place'}.items():  # Windows has USERPROFILE
        monkeypatch.setenv(name, value)
    told = []
    for text in ['', '--hidden_dims', '--hidden_dims 1 65536 --use_batch_norm', '--lr 3.4e38 --seed 0',
                 '--lr 1e-300 --seed 4294967295', '--lr .5 --epochs 1 --batch_size 1', '--batch_size 45000 --threads 1',
                 '--epochs 1000000 --data_dir new --results_dir new/newer --threads 999',
                 '--data_dir new/cifar-10-batches-py/', '--data_dir cifar-10-batches-py',
                 '--data_dir=~/$WHERE --results_dir ~/${WHERE}s']:
        with pytest.raises(Parsed) as stopped:
            run_in_process('train_mlp_numpy.py', text.split())
        parser, arguments = stopped.value.args
        changed = {name: value for name, value in vars(arguments).items() if value != parser.get_default(name)}
        told.append(f'{text}\n    {changed}')
    assert_approved('flags', '\n'.join(told) + '\n')


def test_what_makes_no_sense_is_refused_in_one_line_as_approved(run_in_process, tmp_path, monkeypatch):
    monkeypatch.setattr(train_mlp_pytorch.torch.cuda, 'is_available', lambda: False)
    (tmp_path / 'a file').write_text('untouched')

    def refusal(case):
        scripts, _, arguments = case.partition(':')
        arguments, told = [ast.literal_eval(text) for text in re.findall(r"'(?:[^'\\]|\\.)*'", arguments)], set()
        for script in scripts.split(', '):
            code, out, err = run_in_process(script, arguments)
            assert (code, out) == (2, '') and err.startswith(f'{script}: error: ') and err.count('\n') == 1, case
            told.add(err.rstrip().partition(': error: ')[2].replace(f' {script} --help', ' … --help'))
        # Whoever may write anywhere is told another reason.
        return re.sub(r"(?<='/proc/results' is not writable \().*(?=\))", '…', ' or '.join(told))

    assert_catalogue('refusals', refusal)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [('a file', 'untouched')]


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
