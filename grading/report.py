"""What is written about solutions: a page for the student, the same as JSON, a row and a table for the teacher."""

import collections
import textwrap

from grading.findings import BESIDE, CORE, KINDS, OK, PARTS, TITLES

HEADINGS = {
    'wrong': 'Errors: what is computed is not what the mathematics says',
    'departs': 'Departures: the assignment asks for it, what the net computes is right all the same',
    'remark': 'Remarks, beyond the assignment',
}
COLUMNS = ['solution', 'verdict', *PARTS, 'findings', 'seconds']


def sentence(text):
    """With a capital, unless the first word is a formula or a name such as modules.py."""
    first = text.partition(' ')[0].rstrip(',:')
    return text[:1].upper() + text[1:] if first.isascii() and first.isalpha() else text


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


def with_place(finding):
    """The text of a finding, and where it is unless the text says so."""
    text = sentence(finding.text)
    if not finding.place or finding.place in text:
        return text
    return f'{text[:-1]} ({finding.place}).' if text.endswith('.') else f'{text} ({finding.place})'


def part_line(part, findings):
    reason = textwrap.shorten(findings.reasons.get(part, ''), 150, placeholder=' …')
    return f'  {TITLES[part]:36}{findings.verdict(part)}' + (f' ({reason})' if reason else '')


def headline(judgement):
    findings = judgement.findings
    beside = [TITLES[part] for part in BESIDE if findings.verdict(part) == 'wrong']
    right = sum(findings.verdict(part) in OK for part in CORE)
    return (f'{judgement.folder}: {findings.overall()}, {right} of {len(CORE)} parts right'
            + (f'; wrong beside them: {", ".join(beside)}' if beside else ''))


def details(judgement):
    """The findings by kind, as text: each block between blank lines; '' where nothing was found."""
    blocks = []
    for kind in KINDS:
        found = [finding for part in PARTS for finding in judgement.findings.of(part, kind)]
        if found:
            blocks.append(HEADINGS[kind])
        if kind == 'wrong':
            blocks += [paragraph(finding, number) for number, finding in enumerate(found, 1)]
        elif found:
            blocks.append('\n'.join(wrapped(f'{TITLES[finding.part]}: {with_place(finding)}', '- ')
                                    for finding in found))
    return ''.join(f'\n{block}\n' for block in blocks)


def page(judgement):
    """What can be sent to the student."""
    parts = '\n'.join(part_line(part, judgement.findings) for part in PARTS)
    notes = [f'Interface met: {"; ".join(judgement.interface)}.'] if judgement.interface else []
    notes.append(f'Judged in {judgement.seconds:.1f} s. Protection: {judgement.protection}.')
    notes = '\n'.join(wrapped(note, '* ') for note in notes)
    return f'{headline(judgement)}\n\n{parts}\n{details(judgement)}\n{notes}\n'


def as_json(judgement, points, strict):
    """The same for programs, with the fields of Gradescope's results.json: score, output, tests."""
    findings = judgement.findings
    tests = []
    for part in PARTS:
        verdict = findings.verdict(part)
        passed = verdict == 'right' or verdict == 'departs' and not strict
        reason = findings.reasons.get(part)
        tests.append({
            'name': TITLES[part], 'part': part, 'score': points[part] if passed else 0, 'max_score': points[part],
            'status': 'passed' if passed else 'failed',
            'output': '\n'.join([f'{verdict}{f": {reason}" if reason else ""}', *map(with_place, findings.of(part))])})
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


def errors(entry):
    """Part and cause of the errors that don't follow from another, each once."""
    return list(dict.fromkeys(f'{finding["part"]}: {finding["cause"]}' for finding in entry['findings']
                              if finding['kind'] == 'wrong' and finding['cause'] not in ('follows', 'inherited')))


def one_line(entry):
    wrong = errors(entry)
    return f'{entry["solution"]}: {entry["verdict"]}' + (f' ({"; ".join(wrong)})' if wrong else '')


def table(entries):
    """Verdicts by part, and the most frequent errors."""
    verdicts = ['right', 'departs', 'wrong', 'stub', 'missing', 'not judged']
    lines = [' ' * 22 + ''.join(f'{verdict:>12}' for verdict in verdicts)]
    for part in [*PARTS, 'verdict']:
        counts = collections.Counter(entry['verdict'] if part == 'verdict' else entry['parts'][part]
                                     for entry in entries)
        lines.append((f'{part:22}' + ''.join(f'{counts[verdict] or "":>12}' for verdict in verdicts)).rstrip())
    frequent = collections.Counter(error for entry in entries for error in errors(entry)).most_common(10)
    if frequent:
        lines += ['', 'The most frequent errors, and in how many solutions:']
        lines += [f'{count:5}  {error}' for error, count in frequent]
    return '\n'.join(lines)
