"""The reports on solutions: a page for the student, the same as JSON, a row and a table for the teacher."""

import collections
import re
import sys
import textwrap

from grading.findings import (BLOCKED, CORE, DEVIATES, INCORRECT, INHERITED, KINDS, NOTE, OK, OPTIONAL, PARTS, TITLES,
                              VERDICTS, Finding)
from grading.points import errors, sources

HEADINGS = {
    INCORRECT: 'Errors: incorrect results',
    DEVIATES: 'Deviations from the assignment (results are correct)',
    NOTE: 'Notes (beyond the assignment)',
}
# The results of a solution without its points: the seal of an entry covers these fields.
FIELDS = ['solution', 'folder', 'verdict', 'parts', 'findings', 'reasons', 'interface', 'sandbox', 'versions',
          'seconds', 'code', 'fingerprint', 'retry']
COLUMNS = ['student', 'points', 'max_points', 'to_look_at', 'verdict', *PARTS, *(f'points_{part}' for part in PARTS),
           'same_code', 'errors', 'seconds', 'solution']
LONGEST = 2000  # characters of a text that may hold a student's own words
_LACKS = r"module '({0})\b[\w.]*' has no attribute|import name \S+ from '({0})\b"
DEPENDS = {  # findings that another version may not have
    'NumPy': f"{_LACKS.format('numpy')}|setting an array element|only 0-dimensional arrays",
    'PyTorch': _LACKS.format('torch'),
    'Python': f"Python cannot read|{_LACKS.format('|'.join(sys.stdlib_module_names))}",
}
PATH = re.compile(r'(?<![\w.\])])(?:[A-Za-z]:[\\/]|/)(?:[^\s/\\\'":,;()<>]+[\\/])+')


def clean(text):
    """A text without control codes, bidirectional marks or line ends other than a newline, and not endless."""
    if len(text) > LONGEST:
        text = text[:LONGEST] + ' …'
    return ''.join(letter if letter == '\n' or letter.isprintable() else ' ' if letter.isspace() else '\ufffd'
                   for letter in text)


def without_paths(text):
    """The text with only the last part of each path, because the folders are about the teacher's machine."""
    return PATH.sub('', clean(text))


def _with_version(text, versions):
    """A text that speaks of something that only some versions of a package have, with the version that was used."""
    for name, pattern in DEPENDS.items():
        if re.search(pattern, text):
            return f'{text.rstrip(".")} ({name} {versions.get(name, "")}){"." * text.endswith(".")}'
    return text


def record_of(judgement):
    """The results of a solution for JSON. Texts that a solution can choose are cleaned here."""
    findings = judgement.findings

    def cleaned(text):
        return _with_version(without_paths(text), judgement.versions)

    record = {
        'solution': clean(judgement.folder), 'folder': judgement.place, 'verdict': findings.overall(),
        'parts': {part: findings.verdict(part) for part in PARTS},
        'findings': [{name: (clean if name == 'quote' else cleaned if name == 'text' else without_paths)(str(text))
                      for name, text in vars(finding).items()} for finding in findings.found],
        'reasons': {part: cleaned(reason) for part, reason in findings.reasons.items()},
        'interface': [without_paths(words) for words in judgement.interface], 'sandbox': judgement.protection,
        'versions': judgement.versions, 'seconds': round(judgement.seconds, 2), 'code': judgement.code,
        'fingerprint': judgement.fingerprint, 'retry': findings.retry,
    }
    for finding in errors(record):
        finding['text'] = finding['text'].replace('(see there)', f'(see {sources(record, finding["part"])})')
    return record


def entry_of(student, record, tests):
    """The content of NAME.json: a record with its points. tests: from points.award."""
    graded = [test for test in tests if test['score'] is not None]
    entry = {
        'student': student, 'score': sum(test['score'] for test in graded),
        'max_score': sum(test['max_score'] for test in tests),
        'to_look_at': [test['part'] for test in tests if test['score'] is None],
        'tests': [{**test, 'output': '\n'.join([
            test['verdict'] + (f': {test["note"]}' if test['note'] else ''),
            *(with_place(finding) for finding in record['findings'] if finding['part'] == test['part'])])}
            for test in tests],
        **record}
    return {**entry, 'output': headline(entry)}


def points_line(entry):
    points = f'{entry["score"]:g} of {entry["max_score"]:g} points'
    return points + (f', to look at: {_to_look_at(entry)}' if entry['to_look_at'] else '')


def _titles(parts):
    return ', '.join(TITLES[part] for part in parts)


def _to_look_at(entry):
    """The parts that a person has to look at, in words."""
    if entry['to_look_at'] == PARTS:
        return 'all parts'
    core = {test['part'] for test in entry['tests'] if test['part'] in CORE and test['max_score']}
    if core and core <= set(entry['to_look_at']):
        return ', '.join(['all NumPy parts', *(TITLES[part] for part in entry['to_look_at'] if part in OPTIONAL)])
    return _titles(entry['to_look_at'])


def look(entry):
    """The parts that a person has to grade, and the reasons."""
    notes = dict.fromkeys(test['note'] for test in entry['tests'] if test['score'] is None and test['note'])
    return _to_look_at(entry) + (f' ({shortened("; ".join(notes))})' if notes else '')


def headline(entry):
    """The verdict on all parts in one line; the exit code depends on the same parts."""
    right = sum(entry['parts'][part] in OK for part in CORE)
    words = f'{entry["student"]}: {right} of {len(CORE)} NumPy parts correct'
    wrong = [part for part in OPTIONAL if entry['parts'][part] == INCORRECT]
    return words + (f'; errors in: {_titles(wrong)}' if wrong else '') + f'; {points_line(entry)}'


def sentence(text):
    """The text with a capital letter, unless the first word is a formula or a name such as modules.py."""
    first = text.partition(' ')[0].rstrip(',:')
    return text[:1].upper() + text[1:] if first.isascii() and first.isalpha() else text


def wrapped(text, bullet=''):
    return textwrap.fill(text, 110, initial_indent=bullet or '   ', subsequent_indent='  ' if bullet else '   ',
                         break_long_words=False, break_on_hyphens=False)


def paragraph(finding, number=None):
    """A finding with its place, its line of code and its example, indented."""
    bullet = f'{number}.' if number else '-'
    place = f' ({finding.place})' if finding.place else ''
    lines = [f'{bullet} {TITLES[finding.part]}{place}', wrapped(sentence(finding.text))]
    if finding.quote:
        lines.append(f'   Code: {finding.quote}')
    if finding.example:
        lines += ['   Minimal example:', *(f'       {line}' for line in finding.example.split('\n'))]
    if finding.hint:
        lines.append(wrapped(f'Hint: {finding.hint}.'))
    return '\n'.join(lines)


def shortened(text):
    return textwrap.shorten(text, 150, placeholder=' …')


def with_place(finding):
    """The text of a finding, and its place unless the text names it."""
    text = sentence(finding['text'])
    if not finding['place'] or finding['place'] in text:
        return text
    return f'{text[:-1]} ({finding["place"]}).' if text.endswith('.') else f'{text} ({finding["place"]})'


def part_line(test):
    points = f'{"–" if test["score"] is None else format(test["score"], "g")} of {test["max_score"]:g}'
    note = shortened(test['note'])
    return f'  {test["name"]:36}{test["verdict"]:17}{points:10}{f"({note})" if note else ""}'.rstrip()


def in_order(record):
    """The findings in the order of every page, by kind and part."""
    return sorted(record['findings'], key=lambda one: (KINDS.index(one['kind']), PARTS.index(one['part'])))


def details(record):
    """The findings by kind, as text: each block between blank lines; '' if nothing was found."""
    blocks = []
    for kind in KINDS:
        found = [finding for finding in in_order(record) if finding['kind'] == kind]
        if found:
            blocks.append(HEADINGS[kind])
        if kind == INCORRECT:
            blocks += [paragraph(Finding(**finding), number)
                       for number, finding in enumerate(errors(record), 1)]
        elif found:
            blocks.append('\n'.join(wrapped(f'{TITLES[finding["part"]]}: {with_place(finding)}', '- ')
                                    for finding in found))
    return ''.join(f'\n{block}\n' for block in blocks)


def page(entry):
    """The student's page, ready to be sent: nothing in it is about the teacher's machine."""
    parts = '\n'.join(map(part_line, entry['tests']))
    notes = [f'Detected interface: {"; ".join(entry["interface"])}.'] if entry['interface'] else []
    told = {finding['part'] for finding in entry['findings'] if finding['cause'] == 'not graded'}
    notes += [f'{test["name"]}, {test["verdict"]}: {test["note"].rstrip(".")}.' for test in entry['tests']
              if shortened(test['note']) != test['note'] and test['part'] not in told]
    notes.append(f'Graded with {versions(entry)}.')
    notes = '\n'.join(wrapped(note, '* ') for note in notes)
    return f'{headline(entry)}\n\n{parts}\n{details(entry)}\n{notes}\n'


def versions(entry):
    return ', '.join(f'{name} {version}' for name, version in entry['versions'].items())


def row(entry, same_code=()):
    """The row of an entry in summary.csv."""
    texts = [f'{finding["part"]}: {finding["text"]}' for finding in errors(entry)]
    scores = {f'points_{test["part"]}': '' if test['score'] is None else test['score'] for test in entry['tests']}
    return {'student': entry['student'], 'points': entry['score'], 'max_points': entry['max_score'],
            'to_look_at': ' '.join(entry['to_look_at']), 'verdict': entry['verdict'], **entry['parts'], **scores,
            'same_code': ' | '.join(same_code), 'errors': ' | '.join(texts), 'seconds': entry['seconds'],
            'solution': entry['solution']}


def cell(value):
    """A cell that no spreadsheet runs as a formula, even if a semicolon separates its cells."""
    return re.sub('(^|;)(\\s*["\']*)(?=[=+\\-@＝＋－＠])', r"\1'\2", value) if isinstance(value, str) else value


def causes(entry):
    """Part and cause of the errors that do not follow from another, each once."""
    return list(dict.fromkeys(f'{finding["part"]}: {finding["cause"]}' for finding in errors(entry)
                              if finding['cause'] not in (INHERITED, BLOCKED)))


def one_line(entry):
    found = causes(entry)
    return f'{entry["student"]}: {entry["verdict"]}, {points_line(entry)}' + (f' ({"; ".join(found)})' if found else '')


def table(entries):
    """The parts to grade by hand, the verdicts by part, and the most frequent errors."""
    lines = [f'  {entry["student"]}: {look(entry)}' for entry in entries if entry['to_look_at']]
    if lines:
        lines = ['To look at by hand:', *lines, '']
    lines.append(' ' * 22 + ''.join(f'{verdict:>16}' for verdict in VERDICTS))
    for part in [*PARTS, 'verdict']:
        counts = collections.Counter(entry['verdict'] if part == 'verdict' else entry['parts'][part]
                                     for entry in entries)
        lines.append((f'{part:22}' + ''.join(f'{counts[verdict] or "":>16}' for verdict in VERDICTS)).rstrip())
    frequent = collections.Counter(error for entry in entries for error in causes(entry)).most_common(10)
    if frequent:
        lines += ['', 'The most frequent errors, and in how many solutions:']
        lines += [f'{count:5}  {error}' for error, count in frequent]
    return '\n'.join(lines)
