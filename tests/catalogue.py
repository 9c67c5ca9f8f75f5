"""Catalogues of mistakes in tests/approved/: each case is a change of the small solution, and what is then said of it.

    ===== a title                   kept as it is, and given to the test with the cases below it
    ### right → wrong               a case: what the line is, and what the mistake makes of it
    ### wrong                       another mistake in the line of the case before it
    +++ right → wrong               a further change in the same case

A ⏎ separates two lines, of which the second has the indentation of the first. Without anything after the arrow, the
line is left out. The test writes the lines between the cases: APPROVE=1, see approval.py.
"""

import re

from approval import APPROVED, assert_approved
from grading import report


def cases(name):
    """The (title, lines, changes) of each case of a catalogue; changes: [(right, wrong), …]."""
    found, title, right = [], '', ''
    for line in (APPROVED / f'{name}.txt').read_text(encoding='utf-8').splitlines():
        if line.startswith('===== '):
            title = line[6:]
            found.append((title, [line], []))
        elif line.startswith(('### ', '+++ ')):
            before, arrow, wrong = line[4:].partition(' →')
            change = (before, wrong[1:]) if arrow else (right, before)
            if line.startswith('###'):
                right = change[0]
                found.append((title, [], []))
            found[-1][1].append(line)
            found[-1][2].append(change)
    return found


def assert_catalogue(name, told):
    """A catalogue has after each case the lines that told(title, changes) returns."""
    lines = [line for title, case, changes in cases(name) for line in case + (changes and told(title, changes))]
    assert_approved(name, '\n'.join(lines) + '\n')


def changed(files, changes, within='.*'):
    """The files with the changes, each in the first file that has the line.

    within: a pattern, the beginning of the class or function to look for the line in before anywhere else.
    """
    files = dict(files)
    for right, wrong in changes:
        lines = r'\n\s*'.join(re.escape(line.strip()) for line in right.split('⏎'))
        blocks = [(name, block[0]) for pattern in (rf'{within}.*?(?=\n(?:class|def) |\Z)', '.*')
                  for name, text in files.items() if (block := re.search(pattern, text, re.S))]
        name, block = next(((name, block) for name, block in blocks if re.search(lines, block)), (None, None))
        assert name, f'no file has {right!r}'
        files[name] = files[name].replace(block, _put(block, lines, wrong))
    return files


def _put(text, lines, wrong):
    if not wrong and re.search(whole := rf'(?m)^ *{lines}\n', text):
        return re.sub(whole, '', text)

    def put(match):
        indent = re.match(' *', text[text.rfind('\n', 0, match.start()) + 1:])[0]
        first, *more = wrong.split(' ⏎')
        return '\n'.join([first, *(line and indent + line[1:] for line in more)])

    return re.sub(lines, put, text)


def told(findings, seen):
    """What findings say, a line each; once each hint, each list of arrays in an example, and a paragraph of each form with one.

    seen: the hints, lists and forms that have been told, to which those of the findings are added.
    """
    lines = []
    for finding in findings:
        lines.append(f'[{finding.kind}: {finding.cause}] {finding.place}: {finding.text}')
        form = bool(finding.hint), bool(finding.example), bool(finding.quote)
        if finding.kind == 'incorrect':
            arrays = ', '.join(re.findall(r'^ *(\S+) = ', finding.example, re.M))
            lines += [report.paragraph(finding)] if finding.example and form not in seen else [
                f'   {name}: {text}' for name, text in (('Example', arrays), ('Hint', finding.hint)) if text and text not in seen]
            seen.update([form, finding.hint, arrays])
    return lines
