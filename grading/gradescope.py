"""Write an autograder package for Gradescope.

examples:
  python -m grading.gradescope autograder.zip --points points.json     # writes the package to upload
  python -m grading.gradescope --grade SUBMISSION RESULTS              # runs in Gradescope's container

The package has this grader and its imports, but nothing of the project's own solution.
"""

if __name__ == '__main__':
    import console.start  # noqa: F401 (an error in an import below becomes one line)

import ast
import json
import sys
import zipfile
from pathlib import Path

from console.arguments import ArgumentParser
from console.errors import user_errors
from grading import report, submissions
from grading.findings import CORRECT, DEVIATES
from grading.judge import judge, not_found
from grading.points import add_settings, award, read_points
from grading.remote import Server
from storage.files import atomic_write

ROOT = Path(__file__).resolve().parent.parent
SETTINGS = 'gradescope.json'  # in the package
FAILED = ('The grader failed on this submission, so nothing was graded. This is not a verdict: your teacher sees the '
          'reason and grades it by hand.')
SETUP = '''#!/usr/bin/env bash
# Gradescope runs this once, as root, when the image is built. PyTorch is large: where a smaller build of it is known,
# install that one before the last line.
set -euo pipefail
apt-get update
apt-get install --yes --no-install-recommends python3 python3-venv bubblewrap
python3 -m venv /autograder/venv
/autograder/venv/bin/python -m pip install --no-cache-dir -r /autograder/source/requirements.txt
'''
RUN = '''#!/usr/bin/env bash
# Gradescope runs this for each submission. There is a result whatever happens.
root=${AUTOGRADER:-/autograder}
python=$root/venv/bin/python
cd "$root/source"
mkdir -p "$root/results"
cp failed.json "$root/results/results.json"
"${PYTHON:-$python}" -m grading.gradescope --grade "$root/submission" "$root/results/results.json"
'''


def results(entry, strict):
    """An entry as Gradescope's results.json: documented fields only, and no number that is not known.

    A part that a person has to grade has no points there, neither earned nor possible.
    """
    tests = []
    for test in entry['tests']:
        open_ = test['score'] is None
        shown = {'name': test['name'] + (' (not graded, your teacher will look at it)' if open_ else ''),
                 'score': 0 if open_ else test['score'], 'max_score': 0 if open_ else test['max_score'],
                 'output': test['output'], 'output_format': 'text'}
        if not open_:
            passed = test['verdict'] == CORRECT or test['verdict'] == DEVIATES and not strict
            shown['status'] = 'passed' if passed else 'failed'
        tests.append(shown)
    return {'score': entry['score'], 'output': report.page(entry), 'output_format': 'text', 'visibility': 'visible',
            'stdout_visibility': 'hidden', 'tests': tests, 'extra_data': {'to_look_at': entry['to_look_at']}}


def grade(submission, results_file):
    """Grade a submission in the container and write its results.json, also if the grader fails."""
    try:
        settings = json.loads((ROOT / SETTINGS).read_text(encoding='utf-8'))
        with Server(timeout=settings['timeout']) as server:
            try:
                with submissions.opened(submission) as folder:
                    record = report.record_of(judge(server, folder, given='submission'))
            except submissions.NotFound as error:
                record = report.record_of(not_found('submission', str(error)))
        tests = award(record, settings['points'], settings['strict'])
        found = results(report.entry_of('submission', record, tests), settings['strict'])
    except Exception as error:  # for any error the student gets an answer and the teacher the reason
        print(f'grading.gradescope: {type(error).__name__}: {error}', file=sys.stderr)
        found = failed()
    with atomic_write(results_file) as file:
        file.write(json.dumps(found, allow_nan=False).encode())


def failed():
    return {'score': 0, 'output': FAILED, 'output_format': 'text', 'visibility': 'visible',
            'stdout_visibility': 'hidden', 'tests': []}


def sources():
    """The files of the grader and of its imports from this project."""
    found = [path for path in sorted(Path(__file__).parent.rglob('*'))
             if path.is_file() and '__pycache__' not in path.parts]
    for path in found:  # the list grows in the loop
        if path.suffix == '.py':
            found += [module for module in _imported(path) if module not in found]
    return found


def _imported(path):
    """The files of this project that a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module, *(f'{node.module}.{alias.name}' for alias in node.names)]
        for name in names:
            module = ROOT / f'{name.replace(".", "/")}.py'
            yield from filter(Path.is_file, (module, module.with_suffix('') / '__init__.py',
                                             module.parent / '__init__.py'))


def write_package(path, settings):
    files = {file.relative_to(ROOT).as_posix(): file.read_bytes() for file in [
        *sources(), ROOT / 'requirements.txt', ROOT / 'requirements-numpy.txt']}
    files |= {SETTINGS: json.dumps(settings).encode(), 'failed.json': json.dumps(failed()).encode(),
              'setup.sh': SETUP.encode(), 'run_autograder': RUN.encode()}
    with atomic_write(path) as file, zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as package:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o755 if name in ('setup.sh', 'run_autograder') else 0o644) << 16
            package.writestr(info, content, zipfile.ZIP_DEFLATED)


def main(arguments=None):
    parser = ArgumentParser(__doc__, 'grading.gradescope')
    parser.add_argument('package', nargs='?', help='the zip file to write')
    add_settings(parser)
    parser.add_argument('--grade', nargs=2, metavar=('SUBMISSION', 'RESULTS'),
                        help='grade a submission (in the container)')
    arguments = parser.parse_args(arguments)
    with user_errors(parser, 'nothing was written'):
        if arguments.grade:
            return grade(*arguments.grade)
        if not arguments.package:
            parser.refuse('no package is given: name a file that ends in .zip')
        if Path(arguments.package).suffix != '.zip':
            parser.refuse(f'the package must be a file that ends in .zip, not {arguments.package!r}')
        try:
            settings = {'points': read_points(arguments.points), 'strict': arguments.strict, 'timeout': arguments.timeout}
            write_package(Path(arguments.package), settings)
        except ValueError as error:
            parser.refuse(f'argument --points: {error}')
        except OSError as error:
            parser.refuse(f'cannot write {arguments.package!r}: {error.strerror}')
    print(f'written: {arguments.package}; upload it on Gradescope under Configure Autograder')


if __name__ == '__main__':
    main()
