"""Files of results that can't be: each is refused with one line that names what is wrong, and left as it is."""

import json
import re

import pytest

import known_runs
from experiments import batch_norm_runs, twins
from experiments.study import ResultsError

TWIN = {'twin': 'NumPy', 'seed': 1, 'use_batch_norm': True, 'test_accuracy': 0.5, 'first_epoch_loss': [2.5, 2]}
RUN, STUDY = known_runs.known_run([5, 4], True, 42), known_runs.with_gaps()


def with_run(name, value, kind='runs'):
    """The text of a study of one run with another value; with a text of JSON in its place if that is a str."""
    text = json.dumps({**known_runs.study_of([]), kind: [{**RUN, name: '@' if isinstance(value, str) else value}]})
    return text.replace('"@"', value) if isinstance(value, str) else text


def without(contents, name):
    return json.dumps({key: value for key, value in contents.items() if key != name})


def of_twins(*runs):
    return json.dumps({'config': twins.SETTINGS, 'runs': runs})


DAMAGED = [
    ('', 'Expecting value'), ('{', 'Expecting property name'), ('\xff', "'utf-8' codec can't decode"), ('[]', 'must be an object'),
    ('[' * 10**5, 'maximum recursion depth exceeded'), (with_run('more', '[' * 10**5 + ']' * 10**5), 'maximum recursion'),
    (with_run('seed', '9' * 5000), 'the number 999'), (with_run('more', '1e999'), 'the number 1e999 is not finite'),
    (with_run('more', 'NaN'), 'the number NaN is not finite'), (with_run('more', '{"a": 1, "a": 2}'), "the key 'a' is there twice"),
    (without(STUDY, 'config'), 'must be an object with config and the lists runs, start_runs, group_runs, learning_rate_runs'),
    (without(STUDY, 'group_runs'), 'must be an object'), (json.dumps({**STUDY, 'runs': [3]}), 'must be an object'),
    (json.dumps({**STUDY, 'others': []}), "unknown key 'others'"),
    (json.dumps(known_runs.study_of([RUN, RUN])), 'run 2 of runs is there twice'),
    (json.dumps(known_runs.study_of([json.loads(without(RUN, 'loss_along_gradient'))])), 'run 1 of runs has no loss_along_gradient'),
    (json.dumps(known_runs.study_of([{'diverged': 'at once'}])), 'run 1 of runs has no hidden_dims'),
    (with_run('seed', '"42"'), "has seed '42'"), (with_run('use_batch_norm', 1), 'has use_batch_norm 1'),
    (with_run('seed', True), 'has seed True'), (with_run('test_accuracy', True), 'has test_accuracy True'), (with_run('val_accuracy', [0.5, None]), 'has val_accuracy [0.5, None]'),
    (with_run('loss_along_gradient', [{'epoch': 0}]), 'has loss_along_gradient'),
    (with_run('start', '"normalized"'), 'run 1 of runs has start'), (with_run('start', 10), 'run 1 of runs has start'),
    (with_run('group_size', 8, 'learning_rate_runs'), 'run 1 of learning_rate_runs has group_size'),
    (with_run('start', None, 'start_runs'), 'run 1 of start_runs has start None'),
    (json.dumps(known_runs.study_of([], group_runs=[RUN])), 'run 1 of group_runs has no group_size'),
    *((with_run(name, value), 'lists of the wrong lengths') for name, value in (
        ('val_accuracy', [0.5]), ('activation_spread', [[1.0]] * 4), ('loss_along_gradient', [{'epoch': 0, 'losses': [1, None]}])))]
DAMAGED_TWINS = [
    ('{"config": {}}', 'must be an object with config and the lists runs'), (of_twins({**TWIN, 'test_accuracy': None}), 'has test_accuracy None'),
    (of_twins(TWIN, {**TWIN, 'seed': 2, 'first_epoch_loss': None}), 'has first_epoch_loss None'), (of_twins({**TWIN, 'diverged': 'x'}), 'run 1 of runs has diverged'),
    (of_twins(TWIN, {**TWIN, 'seed': 2, 'first_epoch_loss': [2]}), 'lists of the wrong lengths')]


@pytest.fixture
def load(tmp_path, monkeypatch):
    """load(module, text) → the results, as read from a file that stays as it is."""
    monkeypatch.setattr(batch_norm_runs, 'NETS', known_runs.NETS)
    path = tmp_path / 'results.json'

    def load(module, text, *settings):
        path.write_bytes(text.encode('latin-1'))
        try:
            return module.load_results(path, *settings)
        finally:
            assert path.read_bytes() == text.encode('latin-1')

    return load


@pytest.mark.parametrize('module, text, words', [(batch_norm_runs, *case) for case in DAMAGED] + [
    (twins, *case) for case in DAMAGED_TWINS], ids=lambda value: value if isinstance(value, str) and len(value) < 80 else '')
def test_a_file_that_cannot_be_is_refused(load, module, text, words):
    with pytest.raises(ResultsError) as refused:
        load(module, text)
    message = str(refused.value)
    assert re.fullmatch(r'\S+ is damaged \(.+\); it was left as it is: move it away or give another --results_dir', message)
    assert words in message and len(message) < 500


def test_a_whole_file_is_read(load):
    for study in (known_runs.of_one_seed(), STUDY, known_runs.study_of([])):
        assert load(batch_norm_runs, json.dumps(study), known_runs.SETTINGS) == load(batch_norm_runs, json.dumps(study)) == study
    assert load(twins, of_twins(TWIN))['runs'] == [TWIN]


def test_runs_of_other_settings_are_not_mixed(load):
    changed = {**STUDY, 'config': {**STUDY['config'], 'lr': 0.2}}
    assert load(batch_norm_runs, json.dumps(changed)) == changed
    for module, config, settings, words in (
            (batch_norm_runs, changed['config'], [known_runs.SETTINGS], 'lr 0.2, not 0.1'),
            (batch_norm_runs, {**STUDY['config'], 'nets': [[9]]}, [], 'nets [[9]], not [[4], [5, 4], [6, 5, 4]]'),
            (twins, {**twins.SETTINGS, 'epochs': None}, [], 'epochs None, not 10')):
        contents = {**(known_runs.study_of([]) if module is batch_norm_runs else {'runs': []}), 'config': config}
        words = f'holds runs with {words}; it was left as it is: give another --results_dir'
        with pytest.raises(ResultsError, match=re.escape(words)):
            load(module, json.dumps(contents), *settings)


def test_without_a_file_there_are_empty_results(tmp_path):
    empty = {'runs': [], 'start_runs': [], 'group_runs': [], 'learning_rate_runs': []}
    assert batch_norm_runs.load_results(tmp_path / 'none') == {
        'config': {'lr': 0.1, 'batch_size': 128, 'epochs': 20, 'nets': [[128], [256, 128], [512, 256, 128]]}, **empty}
    assert batch_norm_runs.load_results(tmp_path / 'none', {'lr': 3})['config'] == {'lr': 3, 'nets': batch_norm_runs.NETS}
    assert twins.load_results(tmp_path / 'none') == {
        'config': {'hidden_dims': [128], 'lr': 0.1, 'batch_size': 128, 'epochs': 10}, 'runs': []}
