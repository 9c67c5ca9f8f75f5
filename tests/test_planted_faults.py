"""The list of faults that plant_faults.py tries is in step with the code."""

import pytest

from conftest import ROOT
from plant_faults import all_faults


@pytest.mark.parametrize('file', sorted({fault[0] for fault in all_faults()}))
def test_each_fault_has_one_place_to_be_planted(file):
    code = (ROOT / file).read_text(encoding='utf-8')
    for name, _, old, new in all_faults():
        if name == file:
            assert code.count(old) == 1 and old != new, old
