"""A class: several solutions in parallel. Each report is written when its solution is graded, so a run can resume."""

import concurrent.futures
import contextlib
import functools
import hashlib
import json
import os
import time
from pathlib import Path

from tqdm import tqdm

from console.process import say
from grading import report, sandbox, similar, submissions
from grading.findings import NOT_GRADED, PARTS
from grading.judge import Judgement, judge, not_found, versions
from grading.records import Records, names_for
from grading.remote import NoServer, Server

UNPROTECTED = ('warning: a malicious solution could read your files, use the network and change this report, also the '
               'results of others: install bubblewrap (apt install bubblewrap), or grade in a container or an account of '
               'its own. No earlier result is reused')
LOOK_SECONDS = 0.5  # how long Ctrl-C may go unnoticed: always on Windows, elsewhere if it comes just before the wait
SUMMARY_SECONDS = 5  # how often summary.csv is written while solutions are graded


def run(folders, options, folder=None, show=say):
    """Grade the folders → the entries of the class, by student; with `folder`, everything is written there.

    options: points, strict, decided (the teacher's overrides), timeout, jobs. show: called with each line.
    """
    places = [os.path.abspath(path) for path in folders]
    bubblewrap = sandbox.has_bubblewrap()
    hidden = bubblewrap or sandbox.can_change_user()
    with Records(folder, options, hidden).open() as records:
        show(f'sandbox: {sandbox.protection(bubblewrap)}' if hidden else UNPROTECTED)
        for note in records.about:
            show(note)
        students = names_for(places, {student: record['folder'] for student, record in records.records.items()})
        grade(dict(zip(students, zip(places, folders))), options, records, show)
        for note in records.notes():
            show(note)
    return records.entries()


def grade(students, options, records, show):
    """Grade students' folders, {student: (absolute path, as given)}, except those with a valid result in `records`."""
    def one(student):
        place, given = students[student]
        fingerprint = ''
        try:
            with submissions.opened(place) as folder:
                fingerprint = fingerprint_of(folder, options)
                if records.earlier(student, fingerprint):
                    return student
                judgement = judge(server, folder, given=given)
                judgement.code = similar.digests(folder)
        except submissions.NotFound as error:
            judgement = not_found(given, str(error))
        except NoServer:
            raise
        except Exception as error:  # an unexpected error in one folder becomes a row and does not end the run
            judgement = not_graded(given, error)
        judgement.place, judgement.fingerprint = place, fingerprint
        records.take(student, report.record_of(judgement))
        return student

    with Server(timeout=options.timeout) as server:
        executor, written = concurrent.futures.ThreadPoolExecutor(options.jobs), time.monotonic()
        try:
            pending = [executor.submit(one, student) for student in students]
            with tqdm(total=len(students), desc='solutions', unit='solution', disable=None) as bar:
                while pending:
                    done, _ = concurrent.futures.wait(pending, LOOK_SECONDS, concurrent.futures.FIRST_COMPLETED)
                    for future in filter(done.__contains__, pending):
                        entry = records.entry(future.result())
                        bar.clear()
                        show(report.one_line(entry))
                        bar.update()
                    pending = [future for future in pending if future not in done]
                    if time.monotonic() - written > SUMMARY_SECONDS:
                        records.write_summary()
                        written = time.monotonic()
        finally:
            executor.shutdown(wait=False, cancel_futures=True)
            server.stop()  # after Ctrl-C or an error, do not wait for solutions
            executor.shutdown()


def not_graded(folder, error):
    judgement = Judgement(folder)
    judgement.findings.retry = True
    for part in PARTS:
        judgement.findings.status[part] = NOT_GRADED
        judgement.findings.reasons[part] = f'the grader itself failed, {type(error).__name__}: {error}'
    return judgement


@functools.cache
def _grader(folder):
    """This package in a number."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob('*.py')):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def fingerprint_of(folder, options):
    """A hash of everything that affects the result: the solution's files, the grader, versions, the time limit."""
    digest = hashlib.sha256(json.dumps([options.timeout, versions(), _grader(Path(__file__).parent)]).encode())
    for name in submissions.files(folder):
        with contextlib.suppress(OSError):  # no permission: the report will say so
            digest.update(os.fsencode(name) + b'\0' + (folder / name).read_bytes())
    return digest.hexdigest()[:16]
