"""`python unittests.py --solution DIR …`: one solution, part by part, or a class with a report."""

import contextlib
import os
import signal
import sys
from pathlib import Path

from console.arguments import COUNT
from console.process import exit_code, say, signals_as_ctrl_c
from grading import class_run, report, submissions
from grading.findings import DEVIATES, INCORRECT, OK, PARTS
from grading.judge import Judgement, judge, not_found
from grading.points import add_settings, award, read_overrides, read_points
from grading.remote import NoServer, Server


def add_arguments(parser):
    """The arguments of the grader."""
    parser.add_argument('--solution', metavar='DIR', nargs='+', action='extend',
                        help='grade the solution in DIR: modules.py, mlp_numpy.py and, if present, mlp_pytorch.py and '
                             'the training scripts; several for a class')
    parser.add_argument('--report', metavar='DIR',
                        help='folder for the report on a class: index.html, summary.csv, a page and a JSON file for '
                             'each solution')
    parser.add_argument('--jobs', type=COUNT, default=1, metavar='N', help='number of solutions graded in parallel')
    add_settings(parser)


def main(arguments, parser):
    """→ exit code: 0 if nothing is incorrect, 1 otherwise. Ends with 2 for arguments that make no sense."""
    if not arguments.solution:
        given = next(name for name, value in vars(arguments).items() if value != parser.get_default(name))
        parser.refuse(f'--{given} requires --solution DIR')
    for path in arguments.solution:
        if not submissions.is_submission(path) and (len(arguments.solution) == 1 or not os.path.exists(path)):
            parser.refuse(f'argument --solution: {path!r} is not a folder: use the folder, or the .zip, that has modules.py '
                          'and mlp_numpy.py')
    for path in arguments.solution:
        if submissions.may_be_handed_in(path):
            say(report.clean(f'not graded, because it is neither a folder nor a .zip: {path}'))
    arguments.solution = [path for path in arguments.solution if submissions.is_submission(path)]  # no index.html
    if not arguments.solution:
        parser.refuse('argument --solution: there is no folder and no .zip among these paths')
    if arguments.report and Path(arguments.report).exists() and not Path(arguments.report).is_dir():
        parser.refuse(f'argument --report: {arguments.report!r} is a file: it must be a folder, which may be new')
    try:
        flag = 'points'
        arguments.points = read_points(arguments.points)
        flag = 'report'
        arguments.decided = read_overrides(arguments.report)
    except ValueError as error:
        parser.refuse(f'argument --{flag}: {error}')
    try:
        with signals_as_ctrl_c(), second_ctrl_c_ends_at_once():
            if len(arguments.solution) == 1 and not arguments.report:
                return one(arguments.solution[0], arguments)
            return many(arguments)
    except KeyboardInterrupt as interrupt:
        print('unittests.py: interrupted' + (': run the same command again to resume' if arguments.report else ''),
              file=sys.stderr)
        return exit_code(interrupt)
    except NoServer as error:
        parser.refuse(str(error))
    except OSError as error:
        if arguments.report:
            parser.refuse(f'argument --report: cannot write {error.filename or arguments.report!r}: {error.strerror}')
        parser.exit(1, f'{parser.prog}: error: {error}\n')


@contextlib.contextmanager
def second_ctrl_c_ends_at_once():
    """The first Ctrl-C raises KeyboardInterrupt. The second ends this process, also while Python unloads PyTorch."""
    def interrupt(*_):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # not if Ctrl-C is ignored
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is interrupt:  # otherwise the process is about to end
            signal.signal(signal.SIGINT, before)


def one(folder, arguments):
    """Grade one solution, and print the verdict on each part as soon as it is known."""
    say(f'solution: {report.clean(folder)}')

    def graded(judgement):
        record = report.record_of(judgement)
        return report.entry_of(Path(folder).absolute().name, record, award(record, arguments.points, arguments.strict))

    def show_part(part, findings):
        say(report.part_line(graded(Judgement(folder, findings=findings))['tests'][PARTS.index(part)]))

    try:
        with Server(timeout=arguments.timeout) as server, submissions.opened(folder) as inner:
            entry = graded(judge(server, inner, given=folder, after_part=show_part))
    except submissions.NotFound as error:
        entry = graded(not_found(folder, str(error)))
        for part in entry['tests']:
            say(report.part_line(part))
    say(report.details(entry), end='')
    say(f'\ndetected interface: {"; ".join(entry["interface"]) or "none"}\nsandbox: {entry["sandbox"]}\n')
    say(f'verdict: {entry["output"]}')
    return int(_fails(entry, arguments.strict))


def many(arguments):
    """Grade a class, and write its report if there is a folder for it."""
    entries = class_run.run(arguments.solution, arguments, arguments.report and Path(arguments.report))
    say(f'\n{report.table(entries)}')
    if arguments.report:
        say(f'\nreport: {Path(arguments.report) / "index.html"}; next to it summary.csv, a page and a JSON file for '
            'each solution')
    return int(any(_fails(entry, arguments.strict) for entry in entries))


def _fails(entry, strict):
    parts = entry['parts'].values()
    return entry['verdict'] not in OK or INCORRECT in parts or strict and DEVIATES in parts
