"""Compare the verdicts of a report with an independent ground truth.

example:
  python -m grading.agreement graded/summary.csv truth.json

The ground truth is a JSON object: the last part of each solution's folder → an object with `right`, `wrong`, `stub` or
`missing` for each of the six NumPy parts. A part that deviates counts as right.
"""

import csv
import json
from pathlib import Path

from console.arguments import ArgumentParser
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
    parser = ArgumentParser(__doc__, 'grading.agreement')
    parser.add_argument('summary', help='the summary.csv of a report')
    parser.add_argument('truth', help='a JSON file with the ground truth')
    arguments = parser.parse_args()
    try:
        main(arguments.summary, arguments.truth)
    except (OSError, ValueError, KeyError) as error:
        parser.exit(1, f'grading.agreement: error: {error}: the arguments must be the summary.csv of a report and a JSON '
                       'file with verdicts by folder and part\n')
