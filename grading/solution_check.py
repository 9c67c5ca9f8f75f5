"""The report of `python unittests.py --solution DIR`: the checks on somebody else's solution.

The solution runs in a process of its own (solution_adapter.py). What it does there, an exception,
an endless loop, an exit, is a finding in the report.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

GROUPS = ['LinearModule', 'activation', 'SoftMaxModule', 'CrossEntropyModule', 'SoftMaxWithCrossEntropy',
          'BatchNormModule', 'MLP']
START_UP_SECONDS = 60  # to import NumPy and PyTorch from a slow disk


def main(folder, timeout):
    """Print the report; return 0 where every module passed, 1 where one did not, 2 where there is no such folder."""
    if not Path(folder).is_dir():
        print(f'unittests.py: error: argument --solution: {folder!r} is not a folder: '
              'give the one that has modules.py and mlp_numpy.py', file=sys.stderr)
        return 2
    findings = examine(folder, timeout)
    print(f'solution: {folder}')
    print(f'interface met: {"; ".join(findings.interface) or "none"}')
    for problem in findings.missing:
        print(problem)
    wrong = 0
    for group, checks in findings.checks.items():
        faults = {}
        for name, message in checks:
            if message:
                faults.setdefault(name, message)
        wrong += bool(faults) or not checks
        count = len({name for name, _ in checks})
        print(f'\n{group}: {f"WRONG in {len(faults)} of {count} checks" if faults else f"passed {count} checks"}')
        for name, message in faults.items():
            print(f'  {name}')
            print('\n'.join(f'    {line}' for line in message.splitlines() if line.strip()))
    print(f'\n{len(findings.checks) - wrong} of {len(findings.checks)} modules passed')
    return int(wrong > 0 or bool(findings.missing))


class Findings:
    """interface: what was met; missing: problems with the files; checks: group → [(name, message or None)]."""

    def __init__(self):
        self.interface, self.missing, self.checks = [], [], {}


def examine(folder, timeout):
    """Run the checks group by group; after a hang or crash go on with the next group in a new process."""
    findings = Findings()
    groups = GROUPS
    while groups:
        lines, ending = _run(folder, groups, timeout)
        findings.missing = [line['missing'] for line in lines if 'missing' in line]
        group = started = None
        for line in lines:
            findings.interface = line.get('interface', findings.interface)
            started = line.get('started', started)
            if 'group' in line:
                group = line['group']
                findings.checks[group] = []
            if 'check' in line:
                findings.checks[group].append((line['check'], line.get('message')))
        if ending is None:
            break
        if group is None:  # it did not get as far as a check
            findings.missing.append(f'{started or "start"}: {ending}')
            break
        findings.checks[group].append((started, ending))
        groups = groups[groups.index(group) + 1:]
    return findings


def _run(folder, groups, timeout):
    """Run the adapter → (its lines, None or how it ended before it was done)."""
    adapter = Path(__file__).with_name('solution_adapter.py')
    with tempfile.TemporaryDirectory() as temporary:
        output = Path(temporary) / 'findings.jsonl'
        output.touch()
        process = subprocess.Popen(
            [sys.executable, '-B', str(adapter), str(folder), str(output), *groups], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, 'PYTHONUNBUFFERED': '1'})
        size, last_change, ending = 0, time.monotonic(), None
        try:
            while process.poll() is None:
                if output.stat().st_size != size:
                    size, last_change = output.stat().st_size, time.monotonic()
                elif time.monotonic() - last_change > (timeout if size else max(timeout, START_UP_SECONDS)):
                    ending = f'no answer within {timeout:g} s: an endless loop?'
                    break
                time.sleep(0.02)
        finally:
            process.kill()
            process.wait()
        lines = [json.loads(line) for line in output.read_text(encoding='utf-8').splitlines()]
    if ending is None and not any('finished' in line for line in lines):
        ending = f'the solution ended the process (exit code {process.returncode})'
    return lines, ending
