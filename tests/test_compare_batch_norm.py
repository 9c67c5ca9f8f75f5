"""The study resumes where it was stopped, mixes nothing, and its table and figures follow from its file."""

import json
import re
import signal

import pytest
from PIL import Image

import compare_batch_norm
from experiments import batch_norm_report
from conftest import ROOT
from small_study import FLAGS, NETS, PATCHES, SETTINGS, SWEEP_RATES

REFERENCE = ROOT / 'results' / 'reference'
FIGURES = ['batch_norm_train.png', 'batch_norm_validation.png', 'batch_norm_explained.png']


def read(folder):
    return json.loads((folder / 'batch_norm.json').read_text())


def without_seconds(results):
    runs = results['runs'] + results['learning_rate_runs']
    return [{key: value for key, value in run.items() if key != 'seconds_per_epoch'} for run in runs]


@pytest.fixture
def command_line(monkeypatch, capsys):
    """command_line(*arguments) → (exit code, standard output, standard error) of the script in this process."""
    monkeypatch.setattr(compare_batch_norm, 'NETS', NETS)

    def run(*arguments):
        monkeypatch.setattr('sys.argv', ['compare_batch_norm.py', *map(str, arguments)])
        try:
            compare_batch_norm.main()
            code = 0
        except SystemExit as ended:
            code = ended.code
        return code, *capsys.readouterr()

    return run


def test_all_configurations_are_trained_and_drawn(study):
    results = read(study)
    assert [(run['hidden_dims'], run['use_batch_norm'], run['seed']) for run in results['runs']] == [
        (hidden_dims, use_batch_norm, 42)
        for hidden_dims in NETS for use_batch_norm in (False, True)]
    for run in results['runs']:
        assert len(run['train_accuracy']) == len(run['val_accuracy']) == len(run['activation_spread']) == 2
        assert run['best_epoch'] in (1, 2) and 0 <= run['test_accuracy'] <= 1
    assert [(run['lr'], run['use_batch_norm']) for run in results['learning_rate_runs']] == [(0.5, False), (0.5, True)]
    for name in FIGURES:
        with Image.open(study / name) as image:
            image.verify()


def test_a_killed_study_goes_on_and_repeats_nothing(study, run_script, tmp_path):
    process = run_script('compare_batch_norm.py', *FLAGS, '--results_dir', tmp_path, PATCHES=PATCHES, start_only=True)
    try:
        while not (tmp_path / 'batch_norm.json').exists():
            assert process.poll() is None, 'the study ended before its first run was written'
    finally:
        process.kill()
        process.communicate()
    kept = read(tmp_path)['runs']
    assert 1 <= len(kept) < 8
    run = run_script('compare_batch_norm.py', *FLAGS, '--results_dir', tmp_path, PATCHES=PATCHES)
    assert (run.returncode, run.stderr) == (0, '')
    assert (tmp_path / 'batch_norm.md').read_text() in run.stdout
    assert without_seconds(read(tmp_path)) == without_seconds(read(study))
    for finished in kept:  # with the very seconds it took: it was not trained again
        assert finished in read(tmp_path)['runs']


def test_ctrl_c_keeps_the_finished_runs(run_script, tmp_path):
    process = run_script('compare_batch_norm.py', *FLAGS, '--jobs', '2', '--results_dir', tmp_path, PATCHES=PATCHES,
                         start_only=True)
    while not (tmp_path / 'batch_norm.json').exists():
        assert process.poll() is None, 'the study ended before its first run was written'
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == '\ncompare_batch_norm.py: interrupted; finished runs are kept\n'
    assert read(tmp_path)['runs']


def test_plot_only_draws_without_training(study, command_line, tmp_path):
    (tmp_path / 'batch_norm.json').write_bytes((study / 'batch_norm.json').read_bytes())
    code, out, _ = command_line(*FLAGS, '--plot_only', '--data_dir', tmp_path / 'none', '--results_dir', tmp_path)
    assert code == 0
    assert {path.name for path in tmp_path.iterdir()} == {'batch_norm.json', 'batch_norm.md', *FIGURES}
    assert (tmp_path / 'batch_norm.md').read_text() in out


def test_figures_on_a_full_disk_are_missed_in_one_line_and_the_old_ones_stay(study, run_script, tmp_path):
    (tmp_path / 'batch_norm.json').write_bytes((study / 'batch_norm.json').read_bytes())
    (tmp_path / FIGURES[0]).write_text('from before')
    run = run_script('compare_batch_norm.py', *FLAGS, '--plot_only', '--results_dir', tmp_path, PATCHES=PATCHES,
                     LIMITS=json.dumps({'RLIMIT_FSIZE': 1000}))
    assert run.returncode == 1 and run.stderr.count('\n') == 1
    assert 'File too large' in run.stderr and str(tmp_path) in run.stderr
    assert (tmp_path / FIGURES[0]).read_text() == 'from before'
    assert read(tmp_path) == read(study)


def test_the_courses_functions_train_and_plot(study, monkeypatch, tmp_path):
    filename = tmp_path / 'batch_norm.json'
    filename.write_bytes((study / 'batch_norm.json').read_bytes())
    monkeypatch.setattr(compare_batch_norm, 'NETS', NETS)
    monkeypatch.setattr(compare_batch_norm, 'SWEEP_RATES', SWEEP_RATES)
    monkeypatch.setattr(compare_batch_norm, 'SETTINGS', SETTINGS)
    compare_batch_norm.train_models(str(filename))  # nothing is left to do
    compare_batch_norm.plot_results(str(filename))
    assert read(tmp_path) == read(study) and all((tmp_path / name).exists() for name in FIGURES)


@pytest.mark.parametrize('content, complaint', [
    (b'', 'is damaged'), (b'{"runs": [', 'is damaged'), (b'[]', 'is damaged'), (b'{"runs": []}', 'is damaged'),
    (b'\xff\xfe', 'is damaged')])
def test_a_damaged_file_is_left_as_it_is(command_line, tmp_path, content, complaint):
    (tmp_path / 'batch_norm.json').write_bytes(content)
    for flags in ([], ['--plot_only']):
        code, _, err = command_line(*flags, '--results_dir', tmp_path)
        assert code == 1 and complaint in err and err.count('\n') == 1
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [content]


@pytest.mark.parametrize('flags, complaint', [
    (['--epochs', '3'], 'holds runs with epochs 2, not 3'), (['--lr', '0.2'], 'holds runs with lr 0.1, not 0.2')])
def test_a_changed_setting_is_not_mixed_with_old_runs(study, command_line, flags, complaint):
    before = (study / 'batch_norm.json').read_bytes()
    code, _, err = command_line(*FLAGS, *flags, '--results_dir', study)
    assert code == 1 and complaint in err and err.count('\n') == 1
    assert (study / 'batch_norm.json').read_bytes() == before


def test_nothing_to_plot_is_said(command_line, tmp_path):
    code, _, err = command_line('--plot_only', '--results_dir', tmp_path)
    assert code == 1 and 'holds no run to plot' in err and not list(tmp_path.iterdir())


def test_a_learning_rate_at_which_training_diverges_is_recorded_as_that(expect_trainable, study, tmp_path):
    run = compare_batch_norm.train_one({'hidden_dims': [6, 5, 4], 'use_batch_norm': False, 'seed': 1, **SETTINGS,
                                        'lr': 1e30}, expect_trainable)
    assert 'the loss is nan' in run['diverged']
    results = read(study)
    results['learning_rate_runs'].append(run)
    (tmp_path / 'batch_norm.json').write_text(json.dumps(results))
    _, table = compare_batch_norm.plot_results(tmp_path / 'batch_norm.json')
    assert '| 1e+30 | loss not finite in 1 of 1 | not run |' in table


def test_the_table_shows_mean_and_deviation():
    def run(seed, val_accuracy):
        return {'hidden_dims': [4], 'use_batch_norm': True, 'seed': seed, 'train_accuracy': [0.5, 0.9],
                'val_accuracy': val_accuracy, 'best_epoch': 1 + val_accuracy.index(max(val_accuracy)),
                'test_accuracy': 0.5, 'seconds_per_epoch': 2.0}

    row = batch_norm_report.make_table([run(1, [0.4, 0.6]), run(2, [0.55, 0.5])]).splitlines()[2]
    assert row == ('| 4 | yes | 2 | 0.4750 ± 0.1061 | 0.5750 ± 0.0354 | 1.5 ± 0.7 | 0.5000 ± 0.0000 '
                   '| 0.9000 ± 0.0000 | 0.3500 ± 0.0707 | 1.5 ± 0.7 | 2.0 ± 0.0 |')
    row = batch_norm_report.make_table([run(1, [0.4, 0.6]), run(2, [0.4, 0.5])]).splitlines()[2]
    assert '| reached by 1 of 2 |' in row
    row = batch_norm_report.make_table([run(1, [0.4, 0.6])]).splitlines()[2]
    assert '| 0.6000 | 2.0 |' in row


def test_the_committed_study_is_complete_and_its_table_follows_from_it():
    results = read(REFERENCE)
    assert len(results['runs']) >= 18
    assert all(len(run['train_accuracy']) == len(run['val_accuracy']) == 20 for run in results['runs'])
    planned, sweep = compare_batch_norm.planned_runs([42, 43, 44], compare_batch_norm.SETTINGS)
    for kind, runs in (('runs', planned), ('learning_rate_runs', sweep)):
        for run in runs:
            assert any(run.items() <= finished.items() for finished in results[kind]), run
    tables = (REFERENCE / 'batch_norm.md').read_text().split('\n\n')
    assert tables == [batch_norm_report.make_table(results['runs']),
                      batch_norm_report.make_learning_rate_table(results),
                      batch_norm_report.make_spread_table(results) + '\n']
    for name in FIGURES:
        assert (REFERENCE / name).exists()


def test_the_page_shows_the_committed_table():
    page = (ROOT / 'docs' / 'batch_normalization.md').read_text(encoding='utf-8')
    for table in (REFERENCE / 'batch_norm.md').read_text(encoding='utf-8').split('\n\n'):
        assert table.strip() in page
    for picture in re.findall(r'!\[.*?\]\((.*?)\)', page):
        assert (ROOT / 'docs' / picture).exists(), picture
