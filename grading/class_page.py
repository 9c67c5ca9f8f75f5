"""The page of a class: one HTML file that needs nothing else, to be opened from the disk.

The students' texts are data in it, as JSON, and the script of the page shows them as text. A content security policy
allows this script and this style, and nothing else.
"""

import base64
import collections
import hashlib
import json
import string
import urllib.parse
from pathlib import Path

from grading import report
from grading.findings import INCORRECT, PARTS, TITLES, VERDICTS

LARGEST = 1_000_000  # bytes
SHOWN = ['part', 'kind', 'place', 'text', 'quote', 'example', 'hint']  # of a finding
SHORTER = [(), ('example',), ('example', 'hint', 'quote'), tuple(SHOWN[2:])]  # left out if the page is too large


def page(entries, same_code, notes, first=()):
    """entries: as in NAME.json; same_code: {student: other students}; notes: lines about how the class was graded; first:
    lines to read before all others.
    """
    for left_out in SHORTER:
        text = _page(entries, same_code, notes, first, left_out)
        if len(text.encode()) <= LARGEST:
            break
    return text


def _page(entries, same_code, notes, first, left_out):
    texts, findings = {}, {}
    errors = collections.Counter(error for entry in entries for error in report.causes(entry))
    ranks = {error: rank for rank, (error, _) in enumerate(errors.most_common())}
    numbers = {entry['student']: number for number, entry in enumerate(entries)}

    def index(known, item):
        return known.setdefault(item, len(known))

    def finding_of(finding):
        shown = {**finding, 'part': TITLES[finding['part']], 'kind': report.HEADINGS[finding['kind']],
                 **dict.fromkeys(left_out, '')}
        return tuple(index(texts, shown[name]) for name in SHOWN)

    students = [{
        'name': entry['student'], 'page': urllib.parse.quote(f'./{entry["student"]}.txt'),
        'headline': entry['output'], 'folder': entry['solution'],
        'score': entry['score'], 'max': entry['max_score'], 'look': report.look(entry) if entry['to_look_at'] else '',
        'cells': [[index(texts, test['verdict']), test['score'], index(texts, test['note'])] for test in entry['tests']],
        'errors': [ranks[error] for error in report.causes(entry)],
        'findings': [index(findings, finding_of(finding)) for finding in report.in_order(entry)],
        'same': [numbers[other] for other in same_code.get(entry['student'], [])],
    } for entry in entries]
    if left_out:
        notes = [*notes, f'Left out of this page because of its size: {", ".join(left_out)} of the findings. The page '
                         'of each student has them.']
    data = {'students': students, 'parts': [TITLES[part] for part in PARTS], 'errors': errors.most_common(),
            'texts': list(texts), 'findings': list(findings), 'facts': facts(entries), 'first': list(first), 'notes': notes,
            'errorHeading': report.HEADINGS[INCORRECT]}
    folder = Path(__file__).parent
    style, script = (folder.joinpath(f'class_page.{kind}').read_text(encoding='utf-8') for kind in ('css', 'js'))
    policy = (f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; base-uri 'none'; "
              "form-action 'none'")
    template = string.Template(folder.joinpath('class_page.html').read_text(encoding='utf-8'))
    return template.substitute(policy=policy, style=style, script=script, data=json.dumps(
        data, ensure_ascii=False, separators=(',', ':')).replace('<', '\\u003c'))


def _hash(text):
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def facts(entries):
    """The class in a line."""
    counts = collections.Counter(entry['verdict'] for entry in entries)
    verdicts = ', '.join(f'{counts[verdict]} {verdict}' for verdict in VERDICTS if counts[verdict])
    look = sum(bool(entry['to_look_at']) for entry in entries)
    return f'{len(entries)} students; NumPy parts: {verdicts or "none"}; to look at by hand: {look}'
