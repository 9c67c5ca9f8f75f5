"""`python unittests.py --solution DIR …`: one solution, told as it goes, or a class with a report."""

import json
import sys
from pathlib import Path

from grading import class_run, report
from grading.findings import PARTS
from grading.judge import judge
from grading.remote import NoServer, Server
from training.process import exit_code, say, signals_as_ctrl_c
from training.settings import COUNT, POSITIVE


def add_arguments(parser):
    """The arguments of the checks on other solutions."""
    parser.add_argument('--solution', metavar='DIR', nargs='+',
                        help='judge the modules.py and mlp_numpy.py in DIR, and what lies beside them; several for a '
                             'class')
    parser.add_argument('--report', metavar='DIR', help='for a class: write a page and a JSON for each solution, and '
                                                        'summary.csv, into this folder')
    parser.add_argument('--jobs', type=COUNT, default=1, metavar='N', help='so many solutions at a time')
    parser.add_argument('--strict', action='store_true', help='departures from the assignment count as errors')
    parser.add_argument('--points', metavar='FILE',
                        help='a JSON object with the points of parts, for the report, 1 for each that it does not name: '
                             + ', '.join(PARTS))
    parser.add_argument('--timeout', type=POSITIVE, default=20, metavar='SECONDS',
                        help='how long one call to a solution may take')


def read_points(path):
    """The points of each part; 1 where the file, or there being none, doesn't say. Raises ValueError."""
    try:
        given = json.loads(Path(path).read_text(encoding='utf-8')) if path else {}
        right = given.keys() <= set(PARTS) and all(
            type(value) in (int, float) and 0 <= value < 1e6 for value in given.values())
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ValueError(f'{path!r} can not be read: {error}') from error
    if not right:
        raise ValueError(f'{path!r}: give a number of at least 0 and below a million for some of {", ".join(PARTS)}')
    return {**dict.fromkeys(PARTS, 1), **given}


def main(arguments, parser):
    """→ exit code: 0 where nothing is wrong, 1 where something is. Ends with 2 for arguments that make no sense."""
    if not arguments.solution:
        given = next(name for name, value in vars(arguments).items() if value != parser.get_default(name))
        parser.error(f'argument --{given}: give the solutions too, with --solution DIR …')
    try:
        arguments.points = read_points(arguments.points)
    except ValueError as error:
        parser.error(f'argument --points: {error}')
    if arguments.report and Path(arguments.report).exists() and not Path(arguments.report).is_dir():
        parser.error(f'argument --report: {arguments.report!r} is a file: give a folder for the reports')
    alone = len(arguments.solution) == 1 and not arguments.report
    if alone and not Path(arguments.solution[0]).is_dir():
        parser.error(f'argument --solution: {arguments.solution[0]!r} is not a folder: give the one that has '
                     'modules.py and mlp_numpy.py')
    try:
        with signals_as_ctrl_c():
            return one(arguments.solution[0], arguments) if alone else many(arguments)
    except KeyboardInterrupt as interrupt:
        print('unittests.py: interrupted' + (': the same command goes on where it was' if arguments.report else ''),
              file=sys.stderr)
        return exit_code(interrupt)
    except NoServer as error:
        parser.error(str(error))
    except OSError as error:
        if arguments.report:
            parser.error(f'argument --report: {error.filename or arguments.report!r}: {error.strerror}: give a folder '
                         'that can be written')
        parser.exit(1, f'{parser.prog}: error: {error}\n')


def one(folder, arguments):
    """One solution, each part told as it is done."""
    say(f'solution: {folder}')
    with Server(timeout=arguments.timeout) as server:
        judgement = judge(server, folder, given=folder, tell=lambda part, findings: say(
            report.part_line(part, findings)))
    say(report.details(judgement), end='')
    say(f'\ninterface met: {"; ".join(judgement.interface) or "none"}\nprotection: {judgement.protection}\n')
    say(f'verdict: {report.headline(judgement)}')
    return int(_fails(report.as_json(judgement, arguments.points, arguments.strict), arguments.strict))


def many(arguments):
    """A class, with its report where one is asked for."""
    entries = class_run.run(arguments.solution, arguments, arguments.report and Path(arguments.report))
    say(f'\n{report.table(entries)}')
    if arguments.report:
        say(f'\nreport: {Path(arguments.report) / "summary.csv"}, a page and a JSON for each solution beside it')
    return int(any(_fails(entry, arguments.strict) for entry in entries))


def _fails(entry, strict):
    parts = entry['parts'].values()
    return entry['verdict'] not in ('right', 'departs') or 'wrong' in parts or strict and 'departs' in parts
