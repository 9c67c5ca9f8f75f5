"""The lists of faults and of mutants' tests, for plant_faults.py and mutate.py, are in step with the code."""

import configparser
from pathlib import Path

import pytest

from conftest import ROOT
from plant_faults import all_faults


@pytest.mark.parametrize('file', sorted({fault[0] for fault in all_faults()}))
def test_each_fault_has_one_place_to_be_planted(file):
    code = (ROOT / file).read_text(encoding='utf-8')
    for name, _, old, new in all_faults():
        if name == file:
            assert code.count(old) == 1 and old != new, old


def test_each_file_is_listed_with_the_tests_that_its_mutants_are_tried_with():
    config = configparser.ConfigParser(delimiters='=')
    config.read(ROOT / 'tests' / 'mutmut.cfg', encoding='utf-8')
    listed = dict(config['tests'])
    files = {path for folder in {Path(file).parent for file in listed} for path in (ROOT / folder).glob('*.py')}
    assert set(listed) == {str(path.relative_to(ROOT)) for path in files if path.name != '__init__.py'}
    for test in ' '.join(listed.values()).split():
        assert (ROOT / test).is_file(), test
