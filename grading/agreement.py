"""How far verdicts agree with a ground truth that was established in another way.

    python -m grading.agreement graded/summary.csv truth.json

The ground truth is a JSON object: the last part of each solution's folder → an object with `right`, `wrong`, `stub` or
`missing` for each of the six NumPy parts. A part that deviates counts as right.
"""

import csv
import json
import sys
from pathlib import Path

from grading.findings import CORE, CORRECT, DEVIATES, INCORRECT, MISSING, NOT_IMPLEMENTED

WORDS = {CORRECT: 'right', DEVIATES: 'right', INCORRECT: 'wrong', NOT_IMPLEMENTED: 'stub', MISSING: 'missing'}


def compare(rows, truth):
    """→ (parts that agree, parts, solutions that agree in every part, solutions, [solution, part, truth, verdict])."""
    agree, parts, whole, solutions, differing = 0, 0, 0, 0, []
    for row in rows:
        name = Path(row['solution']).name
        if name not in truth:
            continue
        expected = truth[name]
        found = [[name, part, expected[part], row[part]] for part in CORE
                 if expected[part] != WORDS.get(row[part])]
        differing += found
        parts, agree = parts + len(CORE), agree + len(CORE) - len(found)
        solutions, whole = solutions + 1, whole + (not found)
    return agree, parts, whole, solutions, differing


def main(summary, truth):
    with open(summary, encoding='utf-8-sig', newline='') as file:
        rows = list(csv.DictReader(file))
    agree, parts, whole, solutions, differing = compare(rows, json.loads(Path(truth).read_text(encoding='utf-8')))
    print(f'parts: {agree} of {parts} agree; solutions: {whole} of {solutions} agree in every part')
    for name, part, expected, verdict in differing:
        print(f'  {name}, {part}: ground truth {expected}, verdict {verdict}')


if __name__ == '__main__':
    if len(sys.argv) != 3:
        sys.exit('usage: python -m grading.agreement SUMMARY.csv TRUTH.json')
    try:
        main(*sys.argv[1:])
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f'grading.agreement: error: {error}: the arguments must be the summary.csv of a report and a JSON '
                 'file with verdicts by folder and part')
