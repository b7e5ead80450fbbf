"""Every fault of the wire, by name, in each mode that differs: all are held."""

import pytest

from tests.faults.catalog import BY_NAME, FAULTS
from tests.faults.driver import judge
from tests.faults.fault import Fault
from tests.faults.runs import Mode
from tests.faults.targets import TARGETS

CASES = [
    pytest.param(fault, mode, id=f"{fault.group}: {fault.name} [{mode}]")
    for fault in FAULTS
    for mode in fault.modes
]


@pytest.mark.parametrize(("fault", "mode"), CASES)
def test_a_fault_is_held(fault: Fault, mode: Mode) -> None:
    result = judge(fault, mode, TARGETS["ours"])
    assert result.wrong == ""


def test_every_fault_has_a_name_of_its_own() -> None:
    assert len(BY_NAME) == len(FAULTS)
