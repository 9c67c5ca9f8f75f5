"""Files of results that can't be: each is refused with one line that names what is wrong, and left as it is."""

import json
import re

import pytest

import known_runs
from experiments import batch_norm_runs, twins
from experiments.study import ResultsError

RUN = {'twin': 'NumPy', 'seed': 1, 'use_batch_norm': True, 'test_accuracy': 0.5, 'first_epoch_loss': [2.5, 2]}


def without(run, name):
    return {key: value for key, value in run.items() if key != name}


def study_with(run):
    return known_runs.study_of([run])


WHOLE = known_runs.known_run([5, 4], True, 42)
DAMAGED = [(batch_norm_runs, contents) for contents in (
    [], {}, without(study_with(WHOLE), 'config'), without(study_with(WHOLE), 'group_runs'), {**study_with(WHOLE), 'runs': 3},
    {**study_with(WHOLE), 'config': 3}, study_with([]), study_with(without(WHOLE, 'seed')),
    study_with(without(WHOLE, 'loss_along_gradient')))] + [(twins, contents) for contents in (
        [], {'config': twins.SETTINGS}, {'config': twins.SETTINGS, 'runs': [without(RUN, 'first_epoch_loss')]})]


@pytest.fixture
def load(tmp_path, monkeypatch):
    """load(module, contents) → the results, as read from a file that stays as it is."""
    monkeypatch.setattr(batch_norm_runs, 'NETS', known_runs.NETS)
    path = tmp_path / 'results.json'

    def load(module, contents, *settings):
        path.write_text(json.dumps(contents))
        try:
            return module.load_results(path, *settings)
        finally:
            assert path.read_text() == json.dumps(contents)

    return load


@pytest.mark.parametrize('module, contents', DAMAGED)
def test_a_file_that_lacks_what_is_needed_is_refused(load, module, contents):
    with pytest.raises(ResultsError, match=r'^\S+ is damaged \(.+\); it was left as it is: move it away or give another '):
        load(module, contents)


def test_a_whole_file_is_read(load):
    of_twins = {'config': twins.SETTINGS, 'runs': [RUN]}
    for study in (known_runs.of_one_seed(), known_runs.with_gaps(), known_runs.study_of([])):
        assert load(batch_norm_runs, study, known_runs.SETTINGS) == load(batch_norm_runs, study) == study
    assert load(twins, of_twins) == of_twins


def test_runs_of_other_settings_are_not_mixed(load):
    study = known_runs.of_one_seed()
    changed = {**study, 'config': {**study['config'], 'lr': 0.2}}
    assert load(batch_norm_runs, changed) == changed
    words = 'holds runs with lr 0.2, not 0.1; it was left as it is: give another --results_dir'
    with pytest.raises(ResultsError, match=re.escape(words)):
        load(batch_norm_runs, changed, known_runs.SETTINGS)
    with pytest.raises(ResultsError, match=re.escape('holds runs with nets [[9]], not [[4], [5, 4], [6, 5, 4]]')):
        load(batch_norm_runs, {**study, 'config': {**study['config'], 'nets': [[9]]}})
    with pytest.raises(ResultsError, match='holds runs with epochs None, not 10'):
        load(twins, {'config': {**twins.SETTINGS, 'epochs': None}, 'runs': []})


def test_without_a_file_there_are_empty_results(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_norm_runs, 'NETS', known_runs.NETS)
    empty = known_runs.study_of([])
    assert batch_norm_runs.load_results(tmp_path / 'none', known_runs.SETTINGS) == empty
    assert batch_norm_runs.load_results(tmp_path / 'none') == {
        **empty, 'config': {'lr': 0.1, 'batch_size': 128, 'epochs': 20, 'nets': known_runs.NETS}}
    assert twins.load_results(tmp_path / 'none') == {
        'config': {'hidden_dims': [128], 'lr': 0.1, 'batch_size': 128, 'epochs': 10}, 'runs': []}
