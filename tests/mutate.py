"""Test the tests with mutmut, which plants a small fault wherever one can be, and report which ones no test notices.

    python -m pip install mutmut && python tests/mutate.py
    python tests/mutate.py modules.py training/log.py      the mutants of these files only

It works on a copy of the project; which tests a file's mutants are tried with stands in mutmut.cfg. All files take hours;
plant_faults.py tries faults of our own choice in minutes.
"""

import argparse
import configparser
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / 'tests' / 'mutmut.cfg'
SURVIVED, CAUGHT = {0}, {1, 3, 24, 36, 152, -11, -24}  # mutmut's exit codes; those of no test are neither


def configuration():
    config = configparser.ConfigParser()
    config.read(CONFIG, encoding='utf-8')
    return config


def mutate(file, folder, jobs):
    """Try the mutants of one file in a copy of the project in `folder`; return {mutant: exit code of its tests}."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns('.git', 'data', '__pycache__', '.venv', 'venv'))
    config = configuration()
    config['mutmut']['only_mutate'] = f'\n{file}'
    config['mutmut']['pytest_add_cli_args_test_selection'] = '\n'.join(['', *config['tests'][file].split()])
    with open(folder / 'setup.cfg', 'w', encoding='utf-8') as setup:
        config.write(setup)
    try:
        run_mutmut(folder, 'run', '--max-children', str(jobs))
    except KeyboardInterrupt:
        print(f'\n{file}: interrupted; what was tried so far:')
    path = folder / 'mutants' / f'{file}.meta'
    return json.loads(path.read_text(encoding='utf-8'))['exit_code_by_key'] if path.exists() else {}


def run_mutmut(folder, *arguments, **options):
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1'}
    return subprocess.run([sys.executable, '-m', 'mutmut', *arguments], cwd=folder, env=environment, **options)


def report(file, folder, codes):
    """Print what each surviving mutant changes, and how many were caught; return the numbers caught and survived."""
    survivors = [name for name, code in codes.items() if code in SURVIVED]
    for name in survivors:
        shown = run_mutmut(folder, 'show', name, capture_output=True, encoding='utf-8').stdout.splitlines()
        print(f'survived: {name}',
              *(line for line in shown if line[:1] in ('+', '-') and line[:3] not in ('+++', '---')), sep='\n  ')
    caught = sum(code in CAUGHT for code in codes.values())
    print(f'{file}: {caught} of {caught + len(survivors)} mutants were caught; '
          f'{len(codes) - caught - len(survivors)} were not tried, or no test runs their line', flush=True)
    return caught, len(survivors)


def main():
    files = list(configuration()['tests'])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('files', nargs='*', help=f'of {", ".join(files)}; none: all')
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='mutants that are tried at a time')
    arguments = parser.parse_args()
    counts = []
    for file in arguments.files or files:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / 'copy'
            counts.append(report(file, folder, mutate(file, folder, arguments.jobs)))
    caught, survived = map(sum, zip(*counts))
    print(f'{caught} of {caught + survived} mutants were caught')


if __name__ == '__main__':
    main()
