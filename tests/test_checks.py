"""Bugs in the modules fail the checks of unittests.py: tests/approved/checks_*.txt lists them, with the messages."""

import io
import os
import re
import sys
import types
import unittest

import pytest

import mlp_numpy
import modules
import unittests
from approval import APPROVED, assert_approved
from checks import mlp_checks, module_checks
from conftest import ROOT

# The snapshot checks_batch_norm.txt belongs to BatchNormModuleChecks.
CLASSES = {name.removesuffix('Checks').removesuffix('Module').lower(): checks
           for name, checks in vars(unittests).items() if name.endswith('Checks')}
CASES = {path.stem.removeprefix('checks_'): CLASSES[path.stem.removeprefix('checks_').replace('_', '')]
         for path in sorted(APPROVED.glob('checks_*.txt'))}


def planted(name, changes, cls):
    """The module with those of the changes that are in it, each where it is first in the class or file, and their number."""
    text, here = (ROOT / f'{name}.py').read_text(encoding='utf-8'), 0
    for old, new in changes:
        position = max(text.find(old, max(text.find(f'class {cls}'), 0)), text.find(old))
        if position >= 0:
            text, here = text[:position] + new + text[position + len(old):], here + 1
    module = types.ModuleType(name)
    exec(compile(text, name, 'exec'), module.__dict__)
    return module, here


def failures(case, changes, patch):
    """Check → its message, for each check of a case that fails with the changes."""
    cls = case.__name__.removesuffix('Checks')
    faulty, count = planted('modules', changes, cls)
    patch.setitem(sys.modules, 'modules', faulty)
    mlp, more = planted('mlp_numpy', changes, cls)
    assert count + more == len(changes), f'each must be in modules.py or in mlp_numpy.py: {changes}'
    for checks, name, module in ((module_checks, 'modules', faulty), (mlp_checks, 'modules', faulty),
                                 (mlp_checks, 'mlp_numpy', mlp)):
        patch.setattr(checks, name, module)
    runner = unittest.TextTestRunner(io.StringIO(), resultclass=unittests.Report, warnings='ignore')
    result = runner.run(unittest.defaultTestLoader.loadTestsFromTestCase(case))
    return {re.search(r'test_(\w+)', test.id())[1]: message.strip().splitlines()[-1]
            for test, message in result.failures + result.errors}


@pytest.mark.parametrize('part', CASES)
def test_each_bug_fails_its_checks_with_their_messages(part, monkeypatch):
    """A line of the snapshot is a bug, OLD → NEW | OLD → NEW, and ⇒ the checks that fail.

    Below the bugs is the first message of each kind. To add a bug, write its line and run the test with APPROVE=1.
    """
    bugs = (APPROVED / f'checks_{part}.txt').read_text(encoding='utf-8').partition('\n\n')[0]
    lines, messages = [], {}
    for bug in (line.split(' ⇒ ')[0] for line in bugs.splitlines()):
        changes = [change.replace(r'\n', '\n').split(' → ') for change in bug.split(' | ')]
        failed = failures(CASES[part], changes, monkeypatch) or pytest.fail(f'no check finds {bug!r}')
        causes = dict.fromkeys(re.findall(r'Probable cause: (.+?) \(der', ' '.join(failed.values())))
        for check, message in failed.items():
            kind = re.sub(r'∂L/∂.+? is off: .+?\. (?=[PN])|\d[\d.e+-]*', '', message)
            messages.setdefault(kind, f'{check}: {message}')
        lines.append(f'{bug} ⇒ {", ".join(failed)}' + ''.join(f' [{cause}]' for cause in causes))
    assert_approved(f'checks_{part}', '\n'.join([*lines, '', *messages.values()]) + '\n')


def test_each_class_of_checks_has_a_snapshot():
    bases = {unittests.ModuleChecks, unittests.ForwardChecks, unittests.ActivationChecks}
    assert set(CLASSES.values()) - set(CASES.values()) == bases


def test_a_failure_in_a_subtest_is_reported_with_its_parameters_and_the_message_alone():
    class Checks(unittest.TestCase):
        def test_several(self):
            """numbers are odd"""
            with self.subTest(number=2):
                self.fail('2 is even')

    runner = unittest.TextTestRunner(io.StringIO(), resultclass=unittests.Report)
    result = runner.run(unittest.defaultTestLoader.loadTestsFromTestCase(Checks))
    ((test, message),) = result.failures
    assert (result.getDescription(test), message) == ('numbers are odd (number=2)', '2 is even\n')


def test_unittests_prints_each_check_each_failure_and_each_error_and_ends_with_1(run_in_process, monkeypatch):
    def backward(self, x, y):
        return x

    def clear_cache(self):
        raise KeyError('four')

    monkeypatch.setattr(modules.CrossEntropyModule, 'backward', backward)
    monkeypatch.setattr(mlp_numpy.MLP, 'clear_cache', clear_cache)
    monkeypatch.setenv('FORCE_COLOR', '1')
    monkeypatch.setenv('NO_COLOR', '')  # restored after the script has set it
    code, out, err = run_in_process('unittests.py', [])
    assert code in (1, True) and out == '' and os.environ['NO_COLOR']
    checks, failed = re.sub(r'Ran \d+ tests in \d+\.\d+s', 'Ran … tests in … s', err).split('\n\n', 1)
    lines = [line for line in checks.splitlines() if line.startswith('relu') or not line.endswith(' ... ok')]
    failed = [line for line in failed.splitlines() if not line.startswith('  ')]
    assert_approved('unittests', '\n'.join([*lines, '', *failed]) + '\n')
