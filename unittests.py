"""Checks of the NumPy modules and MLP: every gradient against central differences and PyTorch's autograd.

    python unittests.py                  a readable report; exit code 1 if a check fails
    python unittests.py --solution DIR   grade the solution in DIR, or several (docs/grading.md)
    python -m pytest unittests.py        the same checks under pytest

If a check fails, the message names the gradient, its error and the probable cause. The checks themselves are
in checks/module_checks.py and checks/mlp_checks.py.
"""

import os
import sys
import types
import unittest

from checks.mlp_checks import MLPChecks  # noqa: F401 (unittest finds the checks here)
from checks.module_checks import (ActivationChecks, BatchNormModuleChecks, CrossEntropyModuleChecks,  # noqa: F401
                                  LinearModuleChecks, ModuleChecks, ReLUModuleChecks, SoftMaxModuleChecks,
                                  SoftMaxWithCrossEntropyChecks)
from console.arguments import ArgumentParser
from console.process import warn
from grading import command_line as grading


class Report(unittest.TextTestResult):
    """One line per check; for a failure, only the message (the traceback would point into the check)."""

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
    os.environ['NO_COLOR'] = '1'  # newer Pythons color the report, also in a file if FORCE_COLOR is set
    # `say` does not fail if the reader of the report ends first, as with `2>&1 | head -1`.
    stream = types.SimpleNamespace(write=lambda text: warn(text, end=''), flush=lambda: None)
    unittest.main(__name__, argv=sys.argv[:1],
                  testRunner=unittest.TextTestRunner(stream, resultclass=Report, verbosity=2))


if __name__ == '__main__':
    main()
