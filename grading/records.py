"""The entries of a class in its report folder: kept from run to run, sealed, with a page, a row and a class page."""

import collections
import contextlib
import csv
import hashlib
import hmac
import io
import itertools
import json
import os
import re
import secrets
import unicodedata
from pathlib import Path

from grading import class_page, report, similar
from grading.findings import VERDICTS
from grading.points import award
from grading.report import clean
from storage.files import atomic_write, exclusive_lock

LONGEST_NAME = 120  # bytes of a student's file names, without the endings
KEY, OPTIONS = '.key', '.options'
GONE = 'gone'


class Records:
    """The entries of a class by student. With a folder, they are read from there at the start, and written there.

    hidden: True if solutions cannot read files of this user. Then an entry of an earlier run is believed if its seal
    was made with the key in the folder. Otherwise a solution could have made the seal itself, and none is believed. An
    entry that is not believed stays in the report until its solution is graded again, and notes() names it.
    """

    def __init__(self, folder, options, hidden):
        self.folder, self.options = folder and Path(folder), options
        self.records, self.key, self.about, self.graded_now = {}, None, [], set()
        if folder:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.key = self._key() if hidden else None
            if not hidden:
                (self.folder / KEY).unlink(missing_ok=True)  # a solution could read it from now on
            self._read()
            self._compare_options()

    @contextlib.contextmanager
    def open(self):
        """Keep other runs out of the folder; write the summary at the end, also of an interrupted run."""
        with contextlib.ExitStack() as stack:
            if self.folder:
                stack.enter_context(exclusive_lock(
                    self.folder / '.lock', f'waiting: another process is writing {self.folder}'))
                stack.callback(self.write_class)
            yield self

    def _key(self):
        """The key of the signatures. Solutions cannot read it: they run as another user or do not see the file."""
        path = self.folder / KEY
        try:
            if not path.stat().st_mode & 0o077 and len(key := path.read_bytes()) == 32:
                return key
        except OSError:
            pass
        path.unlink(missing_ok=True)
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), 'wb') as file:
            file.write(key := secrets.token_bytes(32))
        return key

    def _read(self):
        """Take the entries of earlier runs. Entries of students whose folder no longer exists are moved to gone/."""
        for path in sorted(self.folder.glob('*.json')):
            try:
                entry = json.loads(path.read_text(encoding='utf-8'))
                record = {name: entry[name] for name in report.FIELDS}
                usable = entry['student'] == path.stem and set(record['parts'].values()) <= set(VERDICTS) and all(
                    isinstance(text, str) for finding in record['findings'] for text in finding.values())
                report.page(self._entry(path.stem, record))
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                usable = False
            if not usable:  # it is graded again if it is among those to grade
                self.about.append(clean(f'{path.name} is damaged, or no result of this grader: it is left out until its solution is graded again'))
            elif not os.path.lexists(record['folder']):
                for name in (path.name, f'{path.stem}.txt'):
                    (self.folder / GONE).mkdir(exist_ok=True)
                    with contextlib.suppress(FileNotFoundError):
                        os.replace(self.folder / name, self.folder / GONE / name)
                self.about.append(clean(f'{path.stem}: {record["folder"]} no longer exists; moved to {self.folder / GONE}'))
            else:
                record['seal'] = str(entry.get('seal', ''))
                self.records[path.stem] = record
        owners = collections.Counter(record['folder'] for record in self.records.values())
        self.records = {student: record for student, record in self.records.items()
                        if owners[record['folder']] == 1 or self._is_believed(student)}  # no copy under another name

    def _compare_options(self):
        """Note if the last run had other options, because the points of all students follow the new ones."""
        with contextlib.suppress(OSError, ValueError):
            before = (self.folder / OPTIONS).read_text(encoding='utf-8')
            if before != (now := self.options_in_words()):
                self.about.append(f'The options have changed, and with them the points of all students. Before: {before}. '
                                  f'Now: {now}.')

    def options_in_words(self):
        points = ', '.join(f'{part} {number:g}' for part, number in self.options.points.items() if number != 1)
        return '; '.join([f'points: {f"{points}, others 1" if points else "1 for each part"}',
                          f'strict: {"yes" if self.options.strict else "no"}', f'timeout: {self.options.timeout:g} s'])

    def notes(self):
        """Lines about the class after a run: results that are not believed, overrides of unknown students."""
        lines = []
        if names := [student for student in sorted(self.records, key=_order) if not self._is_believed(student)]:
            lines.append(f'Not verified: {_listed(names)}. A run without protection wrote these results, or somebody changed '
                         'them, so a solution may have forged them: grade these solutions again.')
        if names := sorted({student for student, _ in self.options.decided} - set(self.records)):
            lines.append(f'overrides.csv names students who are not in this report: {_listed(names)}.')
        return lines

    def _is_believed(self, student):
        record = self.records[student]
        return student in self.graded_now or bool(self.key) and hmac.compare_digest(
            record['seal'].encode(errors='replace'), self.seal(student, record).encode())

    def seal(self, student, record):
        text = json.dumps([student, *(record[name] for name in report.FIELDS)])
        return hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest() if self.key else ''

    def earlier(self, student, fingerprint):
        """The record of an earlier run if it is still valid, or None."""
        record = self.records.get(student)
        if not record or record['fingerprint'] != fingerprint or record['retry'] or not self._is_believed(student):
            return None
        return record

    def entry(self, student):
        """All that is known of a student's solution, points included."""
        return self._entry(student, self.records[student])

    def _entry(self, student, record):
        decided = {part: value for (name, part), value in self.options.decided.items() if name == student}
        return report.entry_of(student, record, award(record, self.options.points, self.options.strict, decided))

    def entries(self):
        """The entries of all students, by name."""
        return [self.entry(student) for student in sorted(self.records, key=_order)]

    def take(self, student, record):
        """Note, seal and write the record of a solution that was graded now. Several threads may call this."""
        self.records[student] = {**record, 'seal': self.seal(student, record)}
        self.graded_now.add(student)
        self._write_entry(student)

    def _write_entry(self, student):
        entry = self.entry(student)
        if self.folder:
            self._write(f'{student}.json', json.dumps(entry, indent=1, ensure_ascii=False) + '\n')
            self._write(f'{student}.txt', report.page(entry))

    def write_class(self):
        """Write the entries whose points have changed, and the files about the class: summary.csv, index.html."""
        for student in self.records:
            self._write_entry(student)
        self.write_summary()
        entries = self.entries()
        about = [f'Options: {self.options_in_words()}', *dict.fromkeys(line for entry in entries for line in (
            f'Versions: {report.versions(entry)}', f'Sandbox: {entry["sandbox"]}'))]
        self._write('index.html', class_page.page(entries, self._same_code(), about, [*self.about, *self.notes()]))
        self._write(OPTIONS, self.options_in_words())

    def _same_code(self):
        return similar.same_code({student: record['code'] for student, record in list(self.records.items())})

    def write_summary(self):
        """summary.csv, of the solutions that are done so far."""
        text, same_code = io.StringIO(newline=''), self._same_code()
        writer = csv.DictWriter(text, report.COLUMNS)
        writer.writeheader()
        for entry in self.entries():
            row = report.row(entry, same_code[entry['student']])
            writer.writerow({key: report.cell(value) for key, value in row.items()})
        self._write('summary.csv', '\ufeff' + text.getvalue())  # Excel reads UTF-8 only with this mark

    def _write(self, name, text):
        """Write a file of the report, unless it has this text already."""
        path, content = self.folder / name, text.encode('utf-8', 'backslashreplace')
        with contextlib.suppress(OSError):
            if path.read_bytes() == content:
                return
        with atomic_write(path) as file:
            file.write(content)


def names_for(folders, known):
    """A student's name for each folder; the student's files in the report have this name.

    It is the last part of the folder's path, with earlier parts if two folders would have the same name. known:
    {student: folder} of earlier runs; they keep their names.
    """
    names, taken = {folder: student for student, folder in known.items()}, set(map(_fold, known))
    new = [folder for folder in dict.fromkeys(folders) if folder not in names]
    parts = {folder: [_plain(part.removesuffix('.zip')) for part in Path(folder).parts[1:]] for folder in [*names, *new]}
    whole = {folder: _fold('__'.join(path)) for folder, path in parts.items()}
    depth = dict.fromkeys(new, 1)
    while True:
        tried = {folder: '__'.join(parts[folder][-depth[folder]:]) or 'solution' for folder in new}
        paths = collections.defaultdict(set)
        for folder, name in [*names.items(), *tried.items()]:
            paths[_fold(name)].add(whole[folder])
        double = [folder for folder, name in tried.items() if depth[folder] < len(parts[folder])
                  and len(paths[_fold(name)]) > 1]  # if whole paths differ only by case, more parts do not help
        if not double:
            break
        for folder in double:
            depth[folder] += 1
    for folder, name in tried.items():
        names[folder] = next(short for number in itertools.count(1) if _fold(
            short := _short(name if number == 1 else f'{name}__{number}')) not in taken)
        taken.add(_fold(names[folder]))
    return [names[folder] for folder in folders]


def _listed(names):
    return ', '.join(map(clean, names[:5])) + (f' and {len(names) - 5} more' if len(names) > 5 else '')


def _plain(name):
    """A name with only the characters that every file system accepts."""
    return re.sub(r'[\\/:*?"<>|\n\ufffd]', '_', clean(os.fsencode(name).decode('utf-8', errors='replace'))).rstrip('. ')


def _short(name):
    """A name short enough for its endings. If it is cut, a hash makes it unique."""
    content = name.encode()
    if len(content) <= LONGEST_NAME:
        return name
    return f'{content[:LONGEST_NAME - 10].decode(errors="ignore")}~{hashlib.sha256(content).hexdigest()[:8]}'


def _fold(name):
    """Names that are one file on macOS and Windows are equal."""
    return unicodedata.normalize('NFC', name).casefold()


def _order(student):
    return _fold(student), student
