"""What is written about solutions: a page for the student, the same as JSON, a row and a table for the teacher."""

import collections
import textwrap

from grading import findings as words
from grading.findings import BESIDE, CORE, OK, PARTS, TITLES

HEADINGS = {
    'wrong': 'Errors: what is computed is not what the mathematics says',
    'departs': 'Departures: the assignment asks for it, what the net computes is right all the same',
    'remark': 'Remarks, beyond the assignment',
}
COLUMNS = ['solution', 'verdict', *PARTS, 'findings', 'seconds']


def sentence(text):
    """A text that begins with a capital, unless it begins with a symbol or the name of a file."""
    return text[:1].upper() + text[1:] if text[:1].isascii() and not text.split(' ')[0].endswith('.py') else text


def wrapped(text, bullet=''):
    return textwrap.fill(text, 110, initial_indent=bullet or '   ', subsequent_indent='  ' if bullet else '   ',
                         break_long_words=False, break_on_hyphens=False)


def paragraph(finding, number=None):
    """A finding with its place, its line and its example, indented."""
    bullet = f'{number}.' if number else '-'
    place = f' ({finding.place})' if finding.place else ''
    lines = [f'{bullet} {TITLES[finding.part]}{place}', wrapped(sentence(finding.text))]
    if finding.quote:
        lines.append(f'   The line: {finding.quote}')
    if finding.example:
        lines += ['   The smallest case in which it shows:',
                  *(f'       {line}' for line in finding.example.splitlines())]
    if finding.hint:
        lines.append(wrapped(f'To check: {finding.hint}.'))
    return '\n'.join(lines)


def part_line(part, findings):
    verdict = findings.verdict(part)
    reason = findings.reasons.get(part, '')
    return f'  {TITLES[part]:36}{verdict}' + (f' ({reason[:150]})' if reason else '')


def headline(judgement):
    findings = judgement.findings
    verdict = findings.overall()
    beside = [TITLES[part] for part in BESIDE if findings.verdict(part) == 'wrong']
    right = sum(findings.verdict(part) in OK for part in CORE)
    return (f'{judgement.folder}: {verdict}, {right} of {len(CORE)} parts right'
            + (f'; wrong beside them: {", ".join(beside)}' if beside else ''))


def details(judgement):
    """The findings by kind, as text."""
    lines = []
    for kind in words.KINDS:
        found = [finding for part in PARTS for finding in judgement.findings.of(part, kind)]
        if found:
            lines += ['', HEADINGS[kind], '']
        for number, finding in enumerate(found, 1):
            if kind == 'wrong':
                lines += [paragraph(finding, number), '']
            else:
                place = f' ({finding.place})' if finding.place and finding.place not in finding.text else ''
                lines.append(wrapped(f'{TITLES[finding.part]}: {sentence(finding.text)}{place}', '- '))
    return '\n'.join(lines).rstrip()


def page(judgement):
    """What can be sent to the student."""
    lines = [headline(judgement), '']
    lines += [part_line(part, judgement.findings) for part in PARTS]
    lines += [details(judgement), '']
    if judgement.interface:
        lines.append(wrapped(f'Interface met: {"; ".join(judgement.interface)}.', '* '))
    lines.append(wrapped(f'Judged in {judgement.seconds:.1f} s. Protection: {judgement.protection}.', '* '))
    return '\n'.join(lines) + '\n'


def as_json(judgement, points, strict):
    """The same for programs, with the fields of Gradescope's results.json: score, output, tests."""
    findings = judgement.findings
    tests = []
    for part in PARTS:
        verdict = findings.verdict(part)
        passed = verdict == 'right' or verdict == 'departs' and not strict
        found = [f'{sentence(finding.text)}{f" ({finding.place})" if finding.place else ""}'
                 for finding in findings.of(part)]
        reason = findings.reasons.get(part)
        tests.append({
            'name': TITLES[part], 'part': part, 'score': points[part] if passed else 0, 'max_score': points[part],
            'status': 'passed' if passed else 'failed',
            'output': '\n'.join([f'{verdict}{f": {reason}" if reason else ""}', *found])})
    return {
        'solution': judgement.folder, 'verdict': findings.overall(),
        'parts': {part: findings.verdict(part) for part in PARTS},
        'score': sum(test['score'] for test in tests), 'max_score': sum(test['max_score'] for test in tests),
        'output': headline(judgement), 'tests': tests,
        'findings': [vars(finding) for finding in findings.found], 'reasons': findings.reasons,
        'interface': judgement.interface, 'protection': judgement.protection,
        'seconds': round(judgement.seconds, 2), 'fingerprint': judgement.fingerprint,
    }


def row(entry):
    """The row of summary.csv of what as_json gave."""
    texts = [f'{finding["part"]}: {finding["text"]}' for finding in entry['findings'] if finding['kind'] == 'wrong']
    return {'solution': entry['solution'], 'verdict': entry['verdict'], **entry['parts'],
            'findings': ' | '.join(texts), 'seconds': entry['seconds']}


def one_line(entry):
    wrong = [finding['cause'] or finding['text'] for finding in entry['findings']
             if finding['kind'] == 'wrong' and finding['cause'] not in ('follows', 'inherited')]
    return f'{entry["solution"]}: {entry["verdict"]}' + (f' ({"; ".join(dict.fromkeys(wrong))})' if wrong else '')


def table(entries):
    """Verdicts by part, and the most frequent errors."""
    verdicts = ['right', 'departs', 'wrong', 'stub', 'missing', 'not judged']
    lines = [' ' * 22 + ''.join(f'{verdict:>12}' for verdict in verdicts)]
    for part in [*PARTS, 'verdict']:
        counts = collections.Counter(entry['verdict'] if part == 'verdict' else entry['parts'][part]
                                     for entry in entries)
        lines.append(f'{part:22}' + ''.join(f'{counts[verdict] or "":>12}' for verdict in verdicts))
    causes = collections.Counter()
    for entry in entries:
        causes.update({(finding['part'], finding['cause']) for finding in entry['findings']
                       if finding['kind'] == 'wrong'
                       and finding['cause'] not in ('follows', 'inherited')})
    if causes:
        lines += ['', 'The most frequent errors:']
        lines += [f'{count:5}  {part}: {cause}' for (part, cause), count in causes.most_common(10)]
    return '\n'.join(lines)
