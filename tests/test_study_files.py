"""Files of results that can't be: each is refused with one line that names what is wrong, and left as it is."""

import json
import re

import pytest

import known_runs
from approval import assert_catalogue
from experiments import batch_norm_runs, twins
from experiments.study import ResultsError

TWIN = {'twin': 'NumPy', 'seed': 1, 'use_batch_norm': True, 'test_accuracy': 0.5, 'first_epoch_loss': [2.5, 2]}
TWIN_OF_SEED_2 = {**TWIN, 'seed': 2}
RUN, STUDY, EMPTY = known_runs.known_run([5, 4], True, 42), known_runs.with_gaps(), known_runs.study_of([])


def without(contents, name):
    return {key: value for key, value in contents.items() if key != name}


def with_run(name, value, kind='runs'):
    """A study of one run with another value."""
    return {**EMPTY, kind: [{**RUN, name: value}]}


def with_text(name, text):
    """The same with a text of JSON for a value."""
    return json.dumps(with_run(name, '@')).replace('"@"', text)


def of_twins(*runs, **config):
    return {'config': {**twins.SETTINGS, **config}, 'runs': [*runs]}


@pytest.fixture
def load(tmp_path, monkeypatch):
    """load(module, contents) → the results, as read from a file that stays as it is."""
    monkeypatch.setattr(batch_norm_runs, 'NETS', known_runs.NETS)
    path = tmp_path / 'results.json'

    def load(module, contents, *settings):
        text = (contents if isinstance(contents, str) else json.dumps(contents)).encode('latin-1')
        path.write_bytes(text)
        try:
            return module.load_results(path, *settings)
        finally:
            assert path.read_bytes() == text

    return load


def test_a_file_that_cannot_be_is_refused_as_approved(load):
    def refusal(case):
        contents = eval(case, globals())
        with pytest.raises(ResultsError) as refused:
            load(twins if 'of_twins' in case else batch_norm_runs, contents)
        message = re.fullmatch(r'\S+ is damaged \((.+)\); it was left as it is: move it away or give another --results_dir',
                               str(refused.value))[1]
        assert len(message) < 300
        return re.sub(r"^(Expecting value|Expecting property name|maximum recursion|'utf-8' codec).*", r'\1…', message)  # Python's

    assert_catalogue('study_files', refusal)


def test_a_whole_file_is_read(load):
    for study in (known_runs.of_one_seed(), STUDY, EMPTY):
        assert load(batch_norm_runs, study, known_runs.SETTINGS) == load(batch_norm_runs, study) == study
    assert load(twins, of_twins(TWIN))['runs'] == [TWIN]


def test_runs_of_other_settings_are_not_mixed(load):
    changed = {**EMPTY, 'config': {**EMPTY['config'], 'lr': 0.2}}
    assert load(batch_norm_runs, changed) == changed
    for module, contents, settings, words in (
            (batch_norm_runs, changed, [known_runs.SETTINGS], 'lr 0.2, not 0.1'),
            (batch_norm_runs, {**EMPTY, 'config': {'nets': [[9]]}}, [], 'nets [[9]], not [[4], [5, 4], [6, 5, 4]]'),
            (twins, of_twins(epochs=None), [], 'epochs None, not 10')):
        words = f'holds runs with {words}; it was left as it is: give another --results_dir'
        with pytest.raises(ResultsError, match=re.escape(words)):
            load(module, contents, *settings)


def test_without_a_file_there_are_empty_results(tmp_path):
    empty = {'runs': [], 'start_runs': [], 'group_runs': [], 'learning_rate_runs': []}
    assert batch_norm_runs.load_results(tmp_path / 'none') == {
        'config': {'lr': 0.1, 'batch_size': 128, 'epochs': 20, 'nets': [[128], [256, 128], [512, 256, 128]]}, **empty}
    assert batch_norm_runs.load_results(tmp_path / 'none', {'lr': 3})['config'] == {'lr': 3, 'nets': batch_norm_runs.NETS}
    assert twins.load_results(tmp_path / 'none') == {
        'config': {'hidden_dims': [128], 'lr': 0.1, 'batch_size': 128, 'epochs': 10}, 'runs': []}
