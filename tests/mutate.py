"""Test the tests with mutmut, which plants a small fault wherever one can be, and report which ones no test notices.

    python -m pip install mutmut==3.8.1 && python tests/mutate.py --sample 200 --seed 42

mutmut makes the mutants; a sample of them is tried, each in a copy of the project of its own, by a process of pytest.
So what the tests start runs the mutant too, even in a bare environment, as the solutions that are graded have; mutmut's
own way to try one is a switch within the process. mutmut.cfg says which tests the mutants of a file are tried with first;
those that survive these tests are tried with the whole suite.

What was tried is kept in results/mutants.jsonl as it goes: the same command resumes, and so does a larger sample.
--again tries the survivors once more, with tests that were written since. Leave the folder as it is meanwhile.
"""

import argparse
import concurrent.futures
import configparser
import difflib
import functools
import json
import os
import random
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import libcst
from mutmut.mutation.file_mutation import MutationVisitor, deep_replace
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode
from tqdm import tqdm

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))

from inspection.metrics import wilson_interval  # noqa: E402

KEPT = ROOT / 'results' / 'mutants.jsonl'
# A command that sees no processes but its own, since a mutant of what ends those of a solution might end any,
# with 12 GB of memory for each; the shell waits for processes whose parent has ended.
ALONE = ['unshare', *(['--map-current-user'] if os.getuid() else []), '--pid', '--fork', '--mount-proc', '--kill-child',
         'sh', '-c', 'ulimit -d 12000000; "$@"; exit $?', 'sh']
SLOW = 5  # a mutant is caught where the tests take so many times as long as without one


def tests_of_files():
    """{source file: the test files that its mutants are tried with}; files without any are not mutated."""
    config = configparser.ConfigParser(delimiters='=')
    config.read(ROOT / 'tests' / 'mutmut.cfg', encoding='utf-8')
    return {file: tests.split() for file, tests in config['tests'].items() if tests}


def mutants_of(file):
    """(file, its syntax tree, a mutation of one node) for each mutant that mutmut makes of the functions in a file."""
    visitor = MutationVisitor(mutation_operators, IgnoredCode(set(), set(), set()))
    tree = libcst.MetadataWrapper(libcst.parse_module((ROOT / file).read_text(encoding='utf-8'))).visit(visitor)
    return [(file, tree, mutation) for mutation in visitor.mutations
            if isinstance(mutation.contained_by_top_level_function, libcst.FunctionDef)]


def written_out(file, tree, mutation):
    """(file, its text with the mutation, what that changes as a diff)"""
    text = deep_replace(tree, mutation.original_node, mutation.mutated_node).code
    diff = difflib.unified_diff(tree.code.splitlines(), text.splitlines(), file, file, n=2, lineterm='')
    return file, text, '\n'.join(diff)


def failure(tests, limit=None, **texts):
    """What fails first in a copy of the project in which files have the texts {file: text}; '' where nothing does."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        folder = Path(temporary) / 'copy'
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns('.git', 'data', '__pycache__', '.venv', 'venv'))
        for file, text in texts.items():
            (folder / file).write_text(text, encoding='utf-8')
        command = [*ALONE, sys.executable, '-B', '-m', 'pytest', '-x', '-q', '-n0', '-p', 'no:cacheprovider', *tests]
        try:
            ended = subprocess.run(command, cwd=folder, capture_output=True, timeout=limit, stdin=subprocess.DEVNULL,
                                   encoding='utf-8', errors='replace', env={**os.environ, 'TMPDIR': temporary})
        except subprocess.TimeoutExpired:
            return f'not done after {limit:.0f} s'
        lines = [line for line in ended.stdout.splitlines() if line.startswith(('FAILED', 'ERROR'))]
        return '' if ended.returncode == 0 else (lines or [f'exit code {ended.returncode}'])[0]


@functools.cache
def duration(test):
    """The seconds that a test file takes without a mutant; measured once in a run, beside other tests."""
    for _ in range(2):  # some tests measure times, and other work may get in their way
        begun = time.monotonic()
        if not (failed := failure([test])):
            return time.monotonic() - begun
    raise SystemExit(f'fails without any mutant: {failed}')


def try_out(mutants, tests, jobs):
    """Try mutants that are written out, several at a time, and keep what becomes of each as soon as it is known."""
    def attempt(file, text, diff):
        chosen = sorted(tests[file], key=duration)
        return {'diff': diff, 'caught_by': failure(chosen, SLOW * sum(map(duration, chosen)), **{file: text})
                or failure(['.'], SLOW * duration('.'), **{file: text})}

    with concurrent.futures.ThreadPoolExecutor(jobs) as executor, open(KEPT, 'a', encoding='utf-8') as kept:
        attempts = [executor.submit(attempt, *mutant) for mutant in mutants]
        try:
            for done in tqdm(concurrent.futures.as_completed(attempts), 'mutants', len(attempts), disable=None):
                print(json.dumps(done.result()), file=kept, flush=True)
        except KeyboardInterrupt:
            print('interrupted; those that are being tried end first')
            executor.shutdown(cancel_futures=True)


def outcomes():
    """{diff: what caught it} of what was tried so far, the last time where it was tried twice; '' has survived."""
    lines = KEPT.read_text(encoding='utf-8').splitlines() if KEPT.exists() else []
    return {outcome['diff']: outcome['caught_by'] for outcome in map(json.loads, lines)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--sample', type=int, default=200, help='how many mutants to try (default: 200)')
    parser.add_argument('--seed', type=int, default=42, help='draws the sample (default: 42)')
    parser.add_argument('--jobs', type=int, default=os.cpu_count(), help='mutants that are tried at a time')
    parser.add_argument('--again', action='store_true', help='try those again that have survived')
    arguments = parser.parse_args()
    if not shutil.which('unshare') or subprocess.run([*ALONE, 'true'], capture_output=True).returncode:
        sys.exit(f'needs Linux, and the right to run `{shlex.join(ALONE[:-4])} true`: a mutant may end any process')
    tests = tests_of_files()
    everything = [mutant for file in tqdm(tests, 'files', disable=None) for mutant in mutants_of(file)]
    random.Random(arguments.seed).shuffle(everything)  # so that a larger sample holds the smaller ones
    drawn = [written_out(*mutant) for mutant in tqdm(everything[:arguments.sample], 'sample', disable=None)]
    tried, wanted = outcomes(), (None, '') if arguments.again else (None,)  # not tried yet, survived
    try_out([mutant for mutant in drawn if tried.get(mutant[-1]) in wanted], tests, arguments.jobs)
    tried = outcomes()
    found = {diff: tried[diff] for _, _, diff in drawn if diff in tried}
    caught, total = sum(map(bool, found.values())), len(found)
    low, high = wilson_interval(caught / total, total)
    print('\n\n'.join(diff for diff in found if not found[diff]))
    print(f'\n{caught} of {total} mutants were caught ({caught / total:.1%}, 95 % interval {low:.1%} to {high:.1%}), '
          f'drawn from {len(everything):,}; the others are above')


if __name__ == '__main__':
    main()
