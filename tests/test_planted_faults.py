"""The list of mutants' tests, for mutate.py, is in step with the code."""

import configparser
from pathlib import Path

from conftest import ROOT


def test_each_file_is_listed_with_the_tests_that_its_mutants_are_tried_with():
    config = configparser.ConfigParser(delimiters='=')
    config.read(ROOT / 'tests' / 'mutmut.cfg', encoding='utf-8')
    listed = dict(config['tests'])
    files = {path for folder in {Path(file).parent for file in listed} for path in (ROOT / folder).glob('*.py')}
    assert set(listed) == {str(path.relative_to(ROOT)) for path in files if path.name != '__init__.py'}
    for test in ' '.join(listed.values()).split():
        assert (ROOT / test).is_file(), test
