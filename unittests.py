"""Check the NumPy modules and MLP of this project, or grade a solution.

examples:
  python unittests.py                           # gradients against central differences and PyTorch's autograd
  python unittests.py --solution DIR            # grade the solution in DIR
  python unittests.py --solution submissions/* --report graded --jobs 4

A failed check prints the gradient, its error and, if it is known, the probable cause; the exit code is 1.
docs/grading.md describes the grader and the files of a report.
"""

import os
import sys

if __name__ == '__main__':
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # missing if PYTHONSAFEPATH is set
    import console.start  # noqa: F401 (an error in an import below becomes one line)

import types
import unittest

from checks.mlp_checks import *  # noqa: F403 (unittest finds all classes of checks here)
from checks.module_checks import *  # noqa: F403
from console.arguments import ArgumentParser
from console.process import warn
from grading import command_line as grading


class Report(unittest.TextTestResult):
    """One line per check. A failure shows only its message, because the traceback would point into the check."""

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
    parser = ArgumentParser(__doc__)
    grading.add_arguments(parser)
    arguments = parser.parse_args()
    if any(value != parser.get_default(name) for name, value in vars(arguments).items()):
        sys.exit(grading.main(arguments, parser))
    os.environ['NO_COLOR'] = '1'  # newer Pythons color the report, even in a file if FORCE_COLOR is set
    # `warn` does not fail if the pipe is closed, as with `2>&1 | head -1`.
    stream = types.SimpleNamespace(write=lambda text: warn(text, end=''), flush=lambda: None)
    unittest.main(__name__, argv=sys.argv[:1],
                  testRunner=unittest.TextTestRunner(stream, resultclass=Report, verbosity=2))


if __name__ == '__main__':
    main()
