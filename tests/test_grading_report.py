"""What is written about solutions, from findings that are known: the page, the JSON, a row, the table, the verdicts."""

import json

import pytest

from approval import assert_approved
from grading import agreement, report
from grading.findings import BESIDE, CORE, KINDS, PARTS, TITLES, Findings
from grading.judge import Judgement

POINTS = dict(zip(PARTS, [3, 1, 2.5, 2, 0, 1, 1, 4]))


def judgement(*found, folder='submissions/anna', interface=(), protection='a process of its own', **status):
    """found: the arguments of Findings.add; status: part → why it is not judged, the first word being its status."""
    made = Judgement(folder, interface=list(interface), protection=protection, fingerprint='0123456789abcdef',
                     seconds=2.3456)
    for part, kind, text, *more in found:
        made.findings.add(part, kind, text, **(more[0] if more else {}))
    for part, (word, reason) in status.items():
        made.findings.status[part] = word
        if reason:
            made.findings.reasons[part] = reason
    return made


RIGHT = judgement()
BESIDE_WRONG = judgement(
    ('training', 'wrong', 'train_mlp_numpy.train returns the last model.', {'cause': 'not the best model'}),
    ('pytorch', 'departs', 'the property device is missing.', {'cause': 'device'}), folder='ben')
MANY = judgement(
    ('linear', 'wrong', '∂L/∂b, the gradient of the bias, is the mean over the batch in place of the sum: 1/S too '
     'small, which is a sentence that goes on.',
     {'cause': 'mean in place of sum', 'place': 'modules.py, line 16',
      'quote': "self.grads['bias'] = dout.mean(axis=0)",
      'example': 'came out = [[-1],\n            [1]]\nshould be = [-2, -2]',
      'hint': '∂L/∂b = Σ_s ∂L/∂Y_s: each sample adds to the loss, so the gradients add up; the 1/S of the mean loss is '
              'in ∂L/∂Y already'}),
    ('linear', 'wrong', 'forward raises KeyError (modules.py, line 12).',
     {'cause': 'raises KeyError', 'place': 'modules.py, line 12'}),
    ('linear', 'wrong', 'forward raises KeyError (modules.py, line 12).', {'cause': 'told twice'}),
    ('linear', 'departs', 'the weights start with 2/√M, and this is a sentence that is so long that it has to be '
                          'wrapped at the end of the line.',
     {'cause': 'initialization', 'place': 'modules.py, line 7'}),
    ('softmax', 'wrong', 'forward has the wrong sign.', {'cause': 'sign'}),
    ('softmax', 'remark', 'αβγ is changed in place (modules.py, line 20).', {'place': 'modules.py, line 20'}),
    ('softmax', 'remark', 'clear_cache prints 7 characters.'),
    ('cross_entropy', 'wrong', 'The gradient has the wrong sign.', {'cause': 'sign', 'place': 'modules.py, line 60'}),
    ('cross_entropy', 'wrong', 'The loss has the wrong sign.', {'cause': 'sign', 'place': 'modules.py, line 55'}),
    ('softmax_cross_entropy', 'wrong', 'Wrong only since softmax is (see there).', {'cause': 'follows'}),
    ('mlp', 'wrong', 'Wrong only since LinearModule is (see there).', {'cause': 'inherited'}),
    ('pytorch', 'wrong', 'MLP is no nn.Module.', {'cause': 'no nn.Module'}),
    ('training', 'wrong', 'accuracy gives 2.', {'cause': 'accuracy'}),
    folder='submissions/cleo', interface=['weight (out, in)', 'bias (N,)', 'LinearModule(…, lr=0.1)', 'no input_layer',
                                          'activation ELUModule', 'cross-entropy on labels'],
    protection='a process of its own on a copy of the folder; no environment variables; limits on memory',
    activation=('stub', ''))
DEPARTS = judgement(('mlp', 'departs', 'an empty n_hidden fails.', {'place': 'mlp_numpy.py, line 3'}),
                    ('linear', 'departs', 'LinearModule takes no input_layer.'), folder='dora',
                    pytorch=('missing', 'no mlp_pytorch.py'), training=('not judged', 'it takes other arguments, ' * 8))
IN_SHORT = judgement(
    ('linear', 'wrong', 'forward has no bias in it.',
     {'cause': 'bias forgotten', 'place': 'modules.py, line 12', 'quote': 'return x @ W.T', 'example': 'X = [[1]]',
      'hint': 'Y = X Wᵀ + b'}),
    ('linear', 'departs', 'LinearModule.forward has a Python loop: for row in x:', {'place': 'modules.py, line 9'}),
    ('softmax', 'remark', 'αβγ (modules.py, line 20).', {'place': 'modules.py, line 20'}),
    interface=['weight (out, in)', 'bias (N,)'], activation=('stub', ''), training=('not judged', 'no answer'))
MISSING = judgement(folder='emil', **dict.fromkeys(CORE, ('missing', '')), pytorch=('missing', 'no mlp_pytorch.py'),
                    training=('missing', 'no training script'))
CLASS = [RIGHT, BESIDE_WRONG, MANY, DEPARTS, MISSING]


def entries(strict=False):
    return [report.as_json(solution, POINTS, strict) for solution in CLASS]


def test_the_pages_are_as_approved():
    assert_approved('grading_pages', '\n\n'.join(map(report.page, CLASS)))


def test_the_json_is_as_approved():
    entry = report.as_json(IN_SHORT, POINTS, False)
    assert_approved('grading_json', json.dumps(entry, indent=1, ensure_ascii=False) + '\n')


def test_a_strict_teacher_gives_no_points_for_a_departure():
    assert [(entry['score'], entry['max_score']) for entry in entries()] == [
        (14.5, 14.5), (10.5, 14.5), (0, 14.5), (9.5, 14.5), (0, 14.5)]
    assert [entry['score'] for entry in entries(strict=True)] == [14.5, 9.5, 0, 5.5, 0]
    assert [test['status'] for test in entries(strict=True)[3]['tests']] == [
        'failed', *['passed'] * 4, 'failed', 'failed', 'failed']


def test_a_class_is_summed_up_as_approved():
    rows = [report.row(entry) for entry in entries()]
    assert all(list(row) == report.COLUMNS for row in rows)
    lines = [' | '.join(map(str, row.values())) for row in rows]
    assert_approved('grading_class_table', '\n'.join([
        *map(report.one_line, entries()), '', report.table(entries()), '', report.table(entries()[:1]), '',
        *lines]) + '\n')


def test_the_ten_most_frequent_errors_are_listed():
    causes = {f'cause {number}': number for number in range(1, 13)}
    solutions = [judgement(*(('linear', 'wrong', cause, {'cause': cause}) for cause, count in causes.items()
                             if number < count)) for number in range(12)]
    table = report.table([report.as_json(solution, POINTS, False) for solution in solutions]).splitlines()
    assert table[table.index('The most frequent errors, and in how many solutions:') + 1:] == [
        f'{count:5}  linear: cause {count}' for count in range(12, 2, -1)]


def test_the_verdict_on_a_solution_is_that_of_its_numpy_half():
    def overall(**verdicts):
        found = [(part, kind, 'text') for part, kind in verdicts.items() if kind in KINDS]
        status = {part: (kind, '') for part, kind in verdicts.items() if kind not in KINDS}
        return judgement(*found, **status).findings.overall()

    assert [overall(), overall(mlp='remark'), overall(mlp='departs'), overall(linear='departs', mlp='wrong')] == [
        'right', 'right', 'departs', 'wrong']
    for verdict in ('missing', 'stub', 'not judged'):
        assert overall(**dict.fromkeys(CORE, verdict)) == verdict
        assert overall(**dict.fromkeys(CORE[1:], verdict)) == 'wrong'
        assert overall(**dict.fromkeys(BESIDE, verdict)) == 'right'
    assert overall(**dict.fromkeys(CORE[1:], 'missing'), linear='stub') == 'wrong'
    assert overall(pytorch='wrong', training='departs') == 'right'


def test_a_part_that_could_not_be_judged_has_no_other_verdict():
    findings = judgement(('mlp', 'wrong', 'a'), ('mlp', 'remark', 'b'), ('linear', 'wrong', 'a'),
                         mlp=('not judged', 'why')).findings
    assert [findings.verdict(part) for part in ('linear', 'softmax', 'mlp')] == ['wrong', 'right', 'not judged']
    assert [finding.text for finding in findings.of('mlp')] == ['a', 'b']
    assert [finding.text for finding in findings.of('mlp', 'remark')] == ['b']
    assert Findings().found == [] and set(TITLES) == set(PARTS)


def rows_and_truth(folder):
    parts = dict.fromkeys(CORE, 'right')
    truth = {'a': parts, 'b': parts | {'linear': 'wrong', 'mlp': 'stub'}, 'd': parts}
    rows = [{'solution': 'x/c', **parts}, {'solution': 'x/a', **parts, 'linear': 'departs'},
            {'solution': 'x/b/', **parts, 'mlp': 'wrong'}, {'solution': 'd', **parts, 'softmax': 'wrong'}]
    lines = [','.join(row.values()) for row in rows]
    (folder / 'summary.csv').write_text('\n'.join([','.join(rows[0]), *lines]), encoding='utf-8')
    (folder / 'truth.json').write_text(json.dumps(truth), encoding='utf-8')
    return rows, truth


def test_agreement_counts_parts_and_solutions_that_the_truth_knows(tmp_path, capsys):
    rows, truth = rows_and_truth(tmp_path)
    assert agreement.compare(rows, truth) == (
        15, 18, 1, 3, [['b', 'linear', 'wrong', 'right'], ['b', 'mlp', 'stub', 'wrong'],
                       ['d', 'softmax', 'right', 'wrong']])
    agreement.main(tmp_path / 'summary.csv', tmp_path / 'truth.json')
    assert capsys.readouterr().out == (
        'parts: 15 of 18 agree; solutions: 1 of 3 agree in every part\n'
        '  b, linear: truth wrong, verdict right\n  b, mlp: truth stub, verdict wrong\n'
        '  d, softmax: truth right, verdict wrong\n')


@pytest.mark.parametrize('text, start', [('∂L/∂W is', '∂L/∂W is'), ('forward has', 'Forward has'), ('', ''), ('α', 'α'),
                                         ('modules.py is', 'modules.py is'), ('MLP is', 'MLP is'), ('a', 'A'),
                                         ('with this, it', 'With this, it'), ('besides, it', 'Besides, it')])
def test_a_sentence_begins_with_a_capital_but_no_formula(text, start):
    assert report.sentence(text) == start


def test_lines_end_at_110_characters_and_words_stay_whole():
    full = 'a ' * 53 + 'b'  # 107 characters, and three of indentation
    assert report.wrapped(f'{full} c') == f'   {full}\n   c'
    assert report.wrapped(f'{full}d c', '- ').splitlines() == [f'- {full}d', '  c']
    assert report.wrapped(f'{"a " * 52}cross-entropy') == f'   {"a " * 51}a\n   cross-entropy'
    assert report.wrapped(f'a {"long" * 40} b') == f'   a\n   {"long" * 40}\n   b'


def test_a_reason_takes_150_characters_of_a_line_at_most():
    reasons = [word * (length - 5) + ' ' + 'b' * 4 for word, length in (('a', 150), ('a', 151))]
    assert [report.part_line('mlp', judgement(mlp=('stub', reason)).findings) for reason in reasons] == [
        f'  NumPy MLP                           stub ({"a" * 145} bbbb)',
        f'  NumPy MLP                           stub ({"a" * 146} …)']


def test_a_finding_by_itself_has_a_dash():
    finding = MANY.findings.of('softmax')[0]
    assert report.paragraph(finding) == '- softmax\n   Forward has the wrong sign.'
