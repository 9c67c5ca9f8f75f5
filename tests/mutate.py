"""Test the tests with mutmut: it plants a small fault wherever one can be, and reports which ones no test notices.

    python -m pip install mutmut && python tests/mutate.py
    python tests/mutate.py --sample 200          mutants drawn at random, of all that there are
    python tests/mutate.py 'cifar10_utils.*'     those of one module

It works on a copy of the project, in --folder where it is to be taken up again. What is mutated, and by which tests it is
tried, stands in mutmut.cfg. A full run takes hours; plant_faults.py tries faults of our own choice.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
SURVIVED, WITHOUT_A_TEST, CAUGHT = {0}, {5, 33}, {1, 3, 36, 24, 152, 255, -24}  # mutmut's exit codes


def mutmut(folder, *arguments, **options):
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'OPENBLAS_NUM_THREADS': '1'}
    return subprocess.run([sys.executable, '-m', 'mutmut', *arguments], cwd=folder, env=environment, **options)


def exit_codes(folder):
    """{mutant: exit code of its tests, None for one that was not tried}."""
    return {name: code for path in sorted((folder / 'mutants').rglob('*.meta'))
            for name, code in json.loads(path.read_text(encoding='utf-8'))['exit_code_by_key'].items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('mutants', nargs='*', help="names as mutmut has them, such as 'modules.*'; none: all")
    parser.add_argument('--sample', type=int, help='try so many, drawn at random')
    parser.add_argument('--seed', type=int, default=42, help='of that draw')
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='mutants that are tried at a time')
    parser.add_argument('--folder', type=Path, help='of the copy; by default a temporary one')
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    try:
        shutil.copytree(ROOT, folder, dirs_exist_ok=True,
                        ignore=shutil.ignore_patterns('.git', 'data', '__pycache__', '.venv', 'venv', 'mutants'))
        shutil.copy(ROOT / 'tests' / 'mutmut.cfg', folder / 'setup.cfg')
        names = arguments.mutants
        if arguments.sample:
            mutmut(folder, 'run', '--max-children', str(arguments.jobs), 'none.yet', capture_output=True)  # makes them
            names = random.Random(arguments.seed).sample(sorted(exit_codes(folder)), arguments.sample)
        try:
            mutmut(folder, 'run', '--max-children', str(arguments.jobs), *names)
        except KeyboardInterrupt:
            print('\ninterrupted; what was tried so far:')
        report(folder)
    finally:
        if not arguments.folder:
            shutil.rmtree(folder)


def report(folder):
    """Print the difference that each surviving mutant makes, and the share that was caught."""
    codes = exit_codes(folder)
    survivors = [name for name, code in codes.items() if code in SURVIVED]
    for name in survivors:
        shown = mutmut(folder, 'show', name, capture_output=True, encoding='utf-8').stdout
        print(name, *(line for line in shown.splitlines() if line[:1] in '+-' and line[:3] not in ('+++', '---')), sep='\n  ')
    caught = sum(code in CAUGHT for code in codes.values())
    without = sum(code in WITHOUT_A_TEST for code in codes.values())
    print(f'{caught} of {caught + len(survivors)} mutants were caught; {without} more are seen by no test in its own process, '
          f'{sum(code is None for code in codes.values())} were not tried')


if __name__ == '__main__':
    main()
