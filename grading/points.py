"""Points: each part earns them by its verdict, unless the teacher decides otherwise."""

import csv
import io
import json
from pathlib import Path

from console.arguments import POSITIVE
from grading.findings import (BLOCKED, CORE, CORRECT, DEVIATES, INCORRECT, INHERITED, MISSING, NOT_GRADED, PARTS,
                              TITLES)

OVERRIDES = ['student', 'part', 'points', 'reason']
LARGEST = 1e6  # points; a typing error otherwise
BUILT_ON = {'softmax_cross_entropy': ['softmax', 'cross_entropy'], 'mlp': ['linear', 'activation', 'softmax']}


def read_points(path):
    """The points of each part: 1 unless the file says otherwise. Raises ValueError."""
    if not path:
        return dict.fromkeys(PARTS, 1)
    try:
        given = json.loads(Path(path).read_text(encoding='utf-8-sig'))
    except OSError as error:
        raise ValueError(f'cannot read {path!r}: {error.strerror}') from error
    except ValueError as error:
        raise ValueError(f'{path!r} is not valid JSON: {error}') from error
    if not isinstance(given, dict):
        raise ValueError(f'{path!r} must be a JSON object that maps parts to points')
    for part, value in given.items():
        if part not in PARTS:
            raise ValueError(f'{path!r}: unknown part {part!r}; valid parts: {", ".join(PARTS)}')
        if type(value) not in (int, float) or not 0 <= value < LARGEST:
            raise ValueError(f'{path!r}: invalid points {value!r} for {part}: must be a number from 0 to a million')
    return {**dict.fromkeys(PARTS, 1), **given}


def read_overrides(folder):
    """The teacher's decisions, in overrides.csv of a report: {(student, part): (points, reason)}. Raises ValueError."""
    path = Path(folder or '', 'overrides.csv')
    if not folder or not path.exists():
        return {}
    try:
        text = path.read_text(encoding='utf-8-sig')
    except (OSError, ValueError) as error:
        raise ValueError(f'cannot read {str(path)!r} as a text file in UTF-8: {error}') from error
    separator = ';' if ';' in text.partition('\n')[0] else ','  # Excel writes semicolons in half of Europe
    decided = {}
    for row in csv.reader(io.StringIO(text, newline=''), delimiter=separator, skipinitialspace=True):
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells == OVERRIDES:
            continue
        student, part, points, reason = (cells + [''] * 4)[:4]
        try:
            number = float(points.replace(',', '.'))
        except ValueError:
            number = -1
        if part not in PARTS or not 0 <= number < LARGEST:
            raise ValueError(f'{str(path)!r}: {separator.join(row)!r} must be student, part, points and reason, with a '
                             f'number of points of at least 0 and one of the parts {", ".join(PARTS)}')
        decided[student, part] = number, reason
    return decided


def add_settings(parser):
    """The flags that decide about points, and the time limit."""
    parser.add_argument('--strict', action='store_true', help='deviations from the assignment count as errors')
    parser.add_argument('--points', metavar='FILE',
                        help=f'JSON file that maps parts to points (1 for a part that it does not name): '
                             f'{", ".join(PARTS)}')
    parser.add_argument('--timeout', type=POSITIVE, default=20, metavar='SECONDS',
                        help='time limit for each call to a solution')


def award(record, points, strict=False, decided=None):
    """The points of each part of a solution: a dict for each, with Gradescope's field names.

    The score is None if a person has to grade the part: it could not be graded, or nothing was found. A part that is
    incorrect only because of another part earns its points. decided: {part: (points, reason)}.
    """
    tests, nothing = [], all(record['parts'][part] == MISSING for part in CORE)
    for part in PARTS:
        verdict, notes = record['parts'][part], [record['reasons'].get(part)]
        causes = {finding['cause'] for finding in errors(record) if finding['part'] == part}
        if verdict == INCORRECT and causes <= {INHERITED, BLOCKED}:
            score = points[part] if causes == {INHERITED} else None
            notes.append(f'follows from {sources(record, part)}')
        elif verdict == NOT_GRADED or nothing and verdict == MISSING:
            score = None
        else:
            score = points[part] if verdict == CORRECT or verdict == DEVIATES and not strict else 0
        if not points[part]:
            score = 0  # it is not worth grading by hand
        if part in (decided or {}):
            score, reason = decided[part]
            notes = ['set by the teacher' + (f': {reason}' if reason else '')]
        tests.append({'name': TITLES[part], 'part': part, 'verdict': verdict, 'score': score,
                      'max_score': points[part], 'note': '; '.join(filter(None, notes))})
    return tests


def errors(record):
    """The findings that are errors, in the order in which they are numbered."""
    return [finding for part in PARTS for finding in record['findings']
            if (finding['part'], finding['kind']) == (part, INCORRECT)]


def sources(record, part):
    """The numbers of the errors that a part follows from, in words: the first of each part that it is built on."""
    first = {}
    for number, finding in enumerate(errors(record), 1):
        if finding['cause'] not in (INHERITED, BLOCKED) and finding['part'] in BUILT_ON.get(part, ['linear']):
            first.setdefault(finding['part'], str(number))
    if not first:  # a file that cannot be used, or a part without an error of its own
        return '1' if next((finding['part'] for finding in errors(record)), part) != part else 'another part'
    *others, last = first.values()
    return f'{", ".join(others)} and {last}' if others else last
