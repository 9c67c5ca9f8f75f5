"""Files of results that can't be: each is refused with one line that names what is wrong, and those are approved."""

import json
import re

import pytest

import known_runs
from approval import assert_approved
from experiments import batch_norm_file, batch_norm_runs, twins
from experiments.study import ResultsError

LARGE = 1e300
FEW = 7 * [0.5]  # as many as batch_norm_runs.MULTIPLES
MOMENT = {'epoch': 2, 'losses': FEW}
# name → values of it in a run of the net 5 4 that is two epochs long: those that can be, those that can't.
VALUES = {
    'lr': ([1e-9, 1, LARGE], [0, -1, 2 * LARGE, True, '0.1', None, [0.1]]),
    'batch_size': ([1, 10**300], [0, 1.5, True, 2 * 10**300]),
    'epochs': ([], [0, 1, 3, 2.5, True]),
    'hidden_dims': ([[1, 1]], [[], [5], [5, 0], [5, 4, 3], [5, True], [5, '4'], 5, {}]),
    'use_batch_norm': ([True, False], [1, 0, None, 'yes']),
    'seed': ([0, 2**32 - 1], [-1, 2**32, 1.5, True, '42']),
    'group_size': ([2], [1, 2.5, True, None]),
    'diverged': (['the loss is nan'], [True, None]),
    'train_accuracy': ([[0, 1]], [[0.5], [0.5, 1.1], [0.5, -0.1], [0.5, None], [True, 0.5], 0.5, {}]),
    'val_accuracy': ([[0, 1]], [[0.5], [0.5, 1.1], [0.5, 0.5, 0.5], '0.5']),
    'measured_train_accuracy': ([[1, 0]], [[], [0.5, -0.1], None]),
    'train_loss': ([[-LARGE, LARGE]], [[1], [1, 2 * LARGE], [1, -2 * LARGE], [1, True], [1, None]]),
    'best_epoch': ([1, 2], [0, 3, 1.5, True]),
    'test_accuracy': ([0, 1], [-0.1, 1.1, None]),
    'activation_spread': ([[[1, 2], [-3, 4]]], [[[1, 2]], [[1, 2], [3]], [[1, 2], [3, None]], [[1, 2], 3], None]),
    'loss_along_gradient': ([[], [{'epoch': 0, 'losses': [None, *FEW[1:]]}, MOMENT, MOMENT]],
                            [[1], [{**MOMENT, 'epoch': -1}], [{**MOMENT, 'epoch': 3}], [{'losses': FEW}],
                             [{'epoch': 2}], [{'epoch': 2, 'losses': FEW[1:]}], [{'epoch': 2, 'losses': [*FEW, 1]}], {},
                             [MOMENT, []],
                             [{'epoch': 2, 'losses': ['1', *FEW[1:]]}], [{'epoch': 2, 'losses': [True, *FEW[1:]]}]])}
OF_TWINS = {
    'twin': (['NumPy', 'PyTorch'], ['numpy', [], None]),
    'seed': ([0, 2**32 - 1], [-1, 2**32]),
    'use_batch_norm': ([True, False], [1, 0]),
    'test_accuracy': ([0, 1], [1.1, -0.1, True]),
    'first_epoch_loss': ([[LARGE, 1]], [[], [1, None], [True], 1])}


def written(value):
    """As it stands in the catalogue: JSON, with no number of hundreds of digits nor a long list."""
    text = json.dumps(value).replace(', '.join(map(str, FEW[1:])), '…')
    return text.replace('1' + 300 * '0', '10^300').replace('2' + 300 * '0', '2*10^300')


@pytest.fixture
def told(tmp_path, monkeypatch):
    """told(load_results, contents, settings=…) → what is said of a file with these contents, 'read' if it is read."""
    monkeypatch.setattr(batch_norm_runs, 'NETS', known_runs.NETS)
    path = tmp_path / 'FILE'

    def tell(load_results, contents, *settings):
        path.write_text(contents if isinstance(contents, str) else json.dumps(contents), encoding='utf-8')
        before = path.read_bytes()
        try:
            read = load_results(path, *settings)
            assert read == contents
            return 'read'
        except ResultsError as error:
            return str(error).replace(str(path), 'FILE')
        finally:
            assert path.read_bytes() == before

    return tell


DAMAGED = re.compile(r'FILE is damaged \((.*)\); it was left as it is: move it away or give another --results_dir')


def told_of_runs(told, load_results, study, run, values):
    """For each value of a run what is said where it is missing, and what of the possible and impossible ones."""
    def reason(changed):
        said = told(load_results, {**study, 'runs': [run, changed]})
        return said if said == 'read' else DAMAGED.fullmatch(said)[1]

    parts = [f'a list in place of a run: {reason([run])}']
    for name, (possible, impossible) in values.items():
        lines = {'': [name], reason({key: value for key, value in run.items() if key != name}): ['without it']}
        for value in possible + impossible:
            lines.setdefault(reason({**run, name: value}), []).append(written(value))
        parts.append('\n    '.join(f'{said}: {"; ".join(texts)}'.removeprefix(': ') for said, texts in lines.items()))
    return '\n'.join(parts) + '\n'


def test_what_is_said_of_a_run_of_the_study_of_batch_normalization(told):
    run = known_runs.known_run([5, 4], True, 42, epochs=2, group_size=2)
    text = told_of_runs(told, batch_norm_file.load_results, known_runs.study_of([]), run, VALUES)
    assert_approved('refused_runs_batch_norm', text)


def test_what_is_said_of_a_run_of_the_twins(told):
    run = {'twin': 'NumPy', 'seed': 1, 'use_batch_norm': True, 'test_accuracy': 0.5, 'first_epoch_loss': [2.5, 2]}
    text = told_of_runs(told, twins.load_results, {'config': twins.SETTINGS, 'runs': []}, run, OF_TWINS)
    assert_approved('refused_runs_twins', text)


def test_what_is_said_of_a_whole_file(told):
    """Of one that is damaged, and of one that was made with other settings."""
    study, short = known_runs.of_one_seed(), {'config': twins.SETTINGS, 'runs': []}
    changed = {f'config with {name} {written(value)}': {**study, 'config': {**study['config'], name: value}}
               for name, value in (('lr', 0), ('lr', True), ('lr', 0.2), ('batch_size', 0), ('batch_size', 1),
                                   ('epochs', 0), ('epochs', 1.5), ('epochs', 1), ('nets', [[9]]), ('nets', None))}
    files = {'as it is written': study, 'of no run': known_runs.study_of([]), 'a list': [], 'an empty object': {},
             'a config that is a list': {**study, 'config': []}, 'an empty config': {**study, 'config': {}},
             'runs that are an object': {**study, 'runs': {}}, 'NaN': '{"config": NaN}', '-Infinity': '[-Infinity]',
             **{f'no {name}': {key: value for key, value in study.items() if key != name} for name in study}, **changed}
    lines = []
    for name, contents in files.items():
        lines.append(f'{name}: {told(batch_norm_file.load_results, contents)}')
        with_settings = told(batch_norm_file.load_results, contents, known_runs.SETTINGS)
        lines += [f'… with the settings of the study: {with_settings}'] * (with_settings != lines[-1].split(': ', 1)[1])
    for name, value in (('lr', 0.2), ('hidden_dims', '9' * 200), ('hidden_dims', '9\n' * 100 + '9'), ('epochs', None)):
        contents = {**short, 'config': {**twins.SETTINGS, name: value}}
        lines.append(f'twins, {name} {written(value)[:9]}: {told(twins.load_results, contents)}')
    lines.append(f'twins, of no run: {told(twins.load_results, short)}')
    lines.append(f'twins, a list: {told(twins.load_results, [])}')
    lines.append(f'twins, no runs: {told(twins.load_results, {"config": twins.SETTINGS})}')
    assert_approved('refused_files', '\n'.join(lines) + '\n')


def test_without_a_file_there_are_empty_results(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_norm_runs, 'NETS', known_runs.NETS)
    empty = known_runs.study_of([])
    assert batch_norm_file.load_results(tmp_path / 'none', known_runs.SETTINGS) == empty
    assert batch_norm_file.load_results(tmp_path / 'none') == {
        **empty, 'config': {'lr': 0.1, 'batch_size': 128, 'epochs': 20, 'nets': known_runs.NETS}}
    assert twins.load_results(tmp_path / 'none') == {
        'config': {'hidden_dims': [128], 'lr': 0.1, 'batch_size': 128, 'epochs': 10}, 'runs': []}
