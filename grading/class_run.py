"""Many solutions: several at a time, each with its page and its JSON as it is done; an interrupted run goes on."""

import concurrent.futures
import csv
import hashlib
import io
import json
import os
import threading
from pathlib import Path

from tqdm import tqdm

from grading import report
from grading.findings import PARTS
from grading.judge import Judgement, judge, locate
from grading.remote import NoServer, Server
from grading.source import LARGEST
from storage.files import atomic_write
from training.process import say


def run(folders, options, folder=None, show=say):
    """Judge the folders → their entries (report.as_json), in order; with `folder`, everything is written there.

    options: points, strict, timeout, jobs. show: called with each line.
    """
    names = names_of(folders)
    entries = [None] * len(folders)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    local, servers = threading.local(), []

    def one(index):
        path = Path(folders[index])
        fingerprint = fingerprint_of(path, options)
        entry = earlier(folder, names[index], fingerprint) if folder else None
        if entry is None:
            if not hasattr(local, 'server'):
                local.server = Server(timeout=options.timeout)
                servers.append(local.server)
            try:
                judgement = judge(local.server, path, given=folders[index])
            except NoServer:
                raise
            except Exception as error:  # one folder that we did not foresee is a row, and not the end
                judgement = not_judged(folders[index], error)
            judgement.fingerprint = fingerprint
            entry = report.as_json(judgement, options.points, options.strict)
            if folder:
                _write(folder / f'{names[index]}.txt', report.page(judgement))
                _write(folder / f'{names[index]}.json', json.dumps(entry, indent=1, ensure_ascii=False) + '\n')
        return index, entry

    executor = concurrent.futures.ThreadPoolExecutor(options.jobs)
    try:
        futures = [executor.submit(one, index) for index in range(len(folders))]
        with tqdm(total=len(folders), desc='solutions', unit='solution', disable=None) as bar:
            for future in concurrent.futures.as_completed(futures):
                index, entry = future.result()
                entries[index] = entry
                bar.clear()
                show(report.one_line(entry))
                bar.update()
                if folder:
                    write_summary(folder, entries)
    finally:
        executor.shutdown(cancel_futures=True)
        for server in servers:
            server.__exit__()
    return entries


def not_judged(folder, error):
    judgement = Judgement(folder)
    for part in PARTS:
        judgement.findings.status[part] = 'not judged'
        judgement.findings.reasons[part] = f'the checker itself failed, {type(error).__name__}: {error}'
    return judgement


def names_of(folders):
    """A file name for each folder: its last part, with those before it where two are the same."""
    parts = [Path(os.path.abspath(folder)).parts[1:] for folder in folders]
    depth = [1] * len(folders)
    while True:
        names = ['__'.join(part[-count:]) or 'solution' for part, count in zip(parts, depth)]
        double = [index for index, name in enumerate(names)
                  if names.count(name) > 1 and depth[index] < len(parts[index])]
        if not double:
            break
        for index in double:
            depth[index] += 1
    for index, name in enumerate(names):  # the same folder twice
        if name in names[:index]:
            names[index] = f'{name}__{index + 1}'
    return names


def fingerprint_of(folder, options):
    """What the judgement depends on: the solution's Python files, this package, the options."""
    digest = hashlib.sha256(json.dumps([options.points, options.strict, options.timeout]).encode())
    for path in sorted(Path(__file__).parent.rglob('*.py')):
        digest.update(path.read_bytes())
    inner = locate(folder)
    for path in sorted(inner.rglob('*.py')):
        try:
            if not path.is_file() or path.stat().st_size > LARGEST:
                continue
            digest.update(os.fsencode(path.relative_to(inner)) + b'\0' + path.read_bytes())
        except OSError:  # a dangling link, or no permission: the judgement will say so
            pass
    return digest.hexdigest()[:16]


def earlier(folder, name, fingerprint):
    """The entry of an earlier run with the same fingerprint, or None."""
    try:
        entry = json.loads((folder / f'{name}.json').read_text(encoding='utf-8'))
        return entry if entry['fingerprint'] == fingerprint and (folder / f'{name}.txt').is_file() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_summary(folder, entries):
    """summary.csv, of the solutions that are done so far, in the order given."""
    text = io.StringIO(newline='')
    writer = csv.DictWriter(text, report.COLUMNS)
    writer.writeheader()
    for entry in entries:
        if entry:
            writer.writerow({key: _safe(value) for key, value in report.row(entry).items()})
    _write(folder / 'summary.csv', text.getvalue())


def _safe(value):
    """A cell that no spreadsheet takes for a formula, whatever a solution's messages are."""
    return f"'{value}" if isinstance(value, str) and value.startswith(('=', '+', '-', '@')) else value


def _write(path, text):
    with atomic_write(path) as file:
        file.write(text.encode('utf-8', errors='replace'))
