"""Texts that the project writes, as somebody has read and approved them, in tests/approved/ or on a page.

    APPROVE=1 python -m pytest -n0 tests/…    writes them anew, for the next commit to show what has changed
"""

import os
from pathlib import Path

APPROVED = Path(__file__).parent / 'approved'


def assert_approved(name, text):
    """The text is the one in approved/NAME.txt, or in the file at the path `name`."""
    path = name if isinstance(name, Path) else APPROVED / f'{name}.txt'
    if os.environ.get('APPROVE'):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding='utf-8', newline='\n')
    assert text == path.read_text(encoding='utf-8'), f'not as approved in {path.name}; tests/approval.py says how to'


def assert_catalogue(name, outcome):
    """Each line of approved/NAME.txt is a case, ⇒ and outcome(case). To add a case, write its line; then APPROVE=1."""
    cases = [line.split(' ⇒ ')[0] for line in (APPROVED / f'{name}.txt').read_text(encoding='utf-8').splitlines()]
    assert cases
    assert_approved(name, ''.join(f'{case} ⇒ {outcome(case)}\n' for case in cases))
