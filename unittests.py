"""Checks of the NumPy modules and MLP: every gradient against central differences and PyTorch's autograd.

    python unittests.py                  a readable report; exit code 1 where a check fails
    python unittests.py --solution DIR   judge the solution in DIR, or several (docs/grading.md)
    python -m pytest unittests.py        the same checks under pytest

Where a check fails, the message says which gradient is off, by how much, and the probable cause. The checks
themselves are in checks/module_checks.py and checks/mlp_checks.py.
"""

import sys
import types
import unittest

from checks.mlp_checks import MLPChecks  # noqa: F401 (the checks are run from here)
from checks.module_checks import (ActivationChecks, BatchNormModuleChecks, CrossEntropyModuleChecks,  # noqa: F401
                                  LinearModuleChecks, ModuleChecks, ReLUModuleChecks, SoftMaxModuleChecks,
                                  SoftMaxWithCrossEntropyChecks)
from grading import command_line as grading
from training.command_line import ArgumentParser
from training.process import say


class Report(unittest.TextTestResult):
    """One line per check, and of a failed one the message alone: the traceback leads into the check."""

    def getDescription(self, test):
        case = ''.join(f' ({name}={value})' for name, value in getattr(test, 'params', {}).items())  # of a subTest
        return f'{test.shortDescription() or test.id()}{case}'

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.failures[-1] = (test, f'{err[1]}\n')

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err and issubclass(err[0], test.failureException):
            self.failures[-1] = (subtest, f'{err[1]}\n')


def main():
    parser = ArgumentParser('Check the NumPy modules and MLP of this project or of a solution.')
    grading.add_arguments(parser)
    arguments = parser.parse_args()
    if any(value != parser.get_default(name) for name, value in vars(arguments).items()):
        sys.exit(grading.main(arguments, parser))
    # A reader of the report that goes away, as with `2>&1 | head -1`, is no check that fails.
    stream = types.SimpleNamespace(write=lambda text: say(text, sys.stderr, end=''), flush=lambda: None)
    unittest.main(__name__, argv=sys.argv[:1],
                  testRunner=unittest.TextTestRunner(stream, resultclass=Report, verbosity=2))


if __name__ == '__main__':
    main()
