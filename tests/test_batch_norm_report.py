"""The report of the batch-normalization study: tables and figures of runs that are known, approved as a whole."""

import pytest

import known_runs
from approval import assert_approved
from experiments import batch_norm_report as report
from experiments import batch_norm_tables as tables
from experiments import intervals
from figures_in_words import described


def test_the_tables_of_a_study_are_as_approved():
    """A study of four seeds and controls; some runs have diverged or are missing."""
    results = known_runs.with_gaps()
    text = report.markdown(results)
    assert text.startswith(report.INTRODUCTION + '\n\n## Table 1\n\n') and text.endswith('|\n')
    parts = [text[len(report.INTRODUCTION):].strip(), '# in the terminal', tables.terminal_table(results)]
    assert_approved('batch_norm_report', '\n\n'.join(parts) + '\n')


def test_one_seed_without_controls_has_tables_without_deviations_and_intervals():
    made = report.table_texts(known_runs.of_one_seed())
    assert list(made) == [1, 2, 3, 4, 5, 6, 14]
    assert not any(mark in table for _, table in made.values() for mark in ('±', '[', '**', '†'))
    run, other = (known_runs.known_run([4], use, 42) for use in (False, True))
    assert f'| 4 | 1 | {intervals.signed(100 * (other["val_accuracy"][0] - run["val_accuracy"][0]))} |' in made[3][1]


def test_runs_that_have_all_diverged_have_tables_that_say_so_and_empty_figures():
    results = known_runs.without_results()
    made, figures = report.table_texts(results), report.figures_of(results)
    assert list(made) == [1, 2, 3, 7, 8, 9, 14]
    cells = {cell for number in made for line in made[number][1].splitlines()[2:] for cell in line.strip('| ').split(' | ')[2:]}
    assert cells == {'0', '1', '–', 'loss not finite in 1 of 1'}
    assert tables.terminal_table(results).count('loss not finite in 1 of 1') == 6
    assert list(figures) == ['_train', '_validation', '_gradient', '_groups', '_rates', '_fit', '_spread']
    assert [len(axes.get_lines()) for axes in figures['_validation'].axes] == [0, 0, 0]
    assert {line.get_label() for axes in figures['_rates'].axes for line in axes.get_lines()} == {
        'without batch normalization: loss not finite', 'with batch normalization: loss not finite'}


def test_the_figures_of_a_study_are_as_approved():
    figures = report.figures_of(known_runs.with_gaps())
    validation = figures.pop('_validation')  # which differs from '_train' in this
    first = validation.axes[0]
    assert (first.get_title(), first.get_ylabel()) == ('hidden layers 4: validation', 'validation accuracy (after the epoch)')
    reached = [known_runs.known_run([4], False, seed)['val_accuracy'][0] for seed in known_runs.MEASURED]
    assert first.get_lines()[0].get_ydata()[0] == pytest.approx(sum(reached) / 4)
    texts = [f'# {ending}\n\n{described(figure)}' for ending, figure in figures.items()]
    assert_approved('batch_norm_figures', '\n'.join(texts))


def test_validation_is_compared_at_the_same_fit():
    run = {'measured_train_accuracy': [0.5, 0.7, 0.6, 0.9], 'val_accuracy': [0.4, 0.5, 0.3, 0.2]}
    assert tables.validation_at(run, 60) == pytest.approx(45)
    assert tables.validation_at(run, 80) == pytest.approx(100 * (0.3 - 0.1 * 2 / 3))
    assert tables.validation_at(run, 95) is None
    run['measured_train_accuracy'][0] = 0.85  # and after falling back above 80 % again
    assert tables.validation_at(run, 80) is None
    # The mean step is that of all epochs.
    assert [tables.mean_step({'val_accuracy': values}) for values in ([0.5], [0.5, 0.25], [0.5, 0.25, 0.75])] == [0, 25, 37.5]


def test_each_kind_of_control_has_its_figure_and_any_of_them_the_fit_and_the_spread(monkeypatch):
    for name in ('accuracy', 'gradient', 'groups', 'rates', 'fit', 'spread'):
        monkeypatch.setattr(report.figures, f'draw_{name}', lambda *_: 'a figure')
    for kind, ending in (('start_runs', '_gradient'), ('group_runs', '_groups'), ('learning_rate_runs', '_rates')):
        drawn = report.figures_of({**known_runs.of_one_seed(), kind: known_runs.with_gaps()[kind]})
        assert list(drawn) == ['_train', '_validation', ending, '_fit', '_spread']


def test_the_report_is_written_beside_the_results(monkeypatch, tmp_path):
    results = known_runs.of_one_seed()
    monkeypatch.setattr(report, 'png_bytes', lambda figure: described(figure).encode())
    paths, table = report.write_report(tmp_path / 'a.b.json', results)
    assert [path.name for path in paths] == ['a.b_train.png', 'a.b_validation.png', 'a.b.md']
    assert set(paths) == set(tmp_path.iterdir()) and table == tables.terminal_table(results)
    figures = report.figures_of(results)
    assert [path.read_text(encoding='utf-8') for path in paths] == [
        described(figures['_train']), described(figures['_validation']), report.markdown(results)]


def test_a_mean_a_deviation_and_an_interval_as_texts():
    """The differences in a table are judged together: p = 0.04 is significant next to smaller ones, and not next to larger ones."""
    few = [[1, 2, 3], [-2.5], [2, 2.1, 1.9], [-0.04], [-3, -2.6], [0, 0], [0, 0, 0.3], [1, -1], [1, 1], [0.5, 1.5, 1]]
    one, many = [0.4, 1, 1.9, 1.4], [[-2, 1, 2], [-1, 1, 2], [0, 1, 2]]
    lines = []
    for together in ([*few, one], [one], [one, *many], [one, *3 * [[1, 1]]]):
        differences = [intervals.Difference(tuple(values)) for values in together]
        survivors = intervals.significant(differences)
        lines += [f'{list(each.values)}: {intervals.mean_and_deviation(each.values)}; {each.text(survivors)}'
                  + (f'; p = {intervals.p_value(each.values):.4f}' if len(each.values) > 1 else '') for each in differences] + ['']
    assert_approved('intervals', '\n'.join(lines))


def test_the_quantiles_of_students_t_are_those_of_the_tables():
    """NIST/SEMATECH e-Handbook, 1.3.6.7.2."""
    quantiles = {1: 12.7062, 2: 4.3027, 3: 3.1824, 4: 2.7764, 5: 2.5706, 30: 2.0423}
    assert {freedom: intervals.quantile(freedom) for freedom in quantiles} == pytest.approx(quantiles, abs=5e-5)
