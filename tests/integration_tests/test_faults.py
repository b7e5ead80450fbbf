"""The fault catalogue, by name, in each mode that differs: all are held."""

import pytest

from tests.faults.catalog import BY_NAME, FAULTS
from tests.faults.driver import judge
from tests.faults.fault import LATE, Fault
from tests.faults.runs import Mode
from tests.faults.targets import TARGETS

CASES = [
    pytest.param(fault, mode, id=f"{fault.group}: {fault.name} [{mode}]")
    for fault in FAULTS
    for mode in fault.modes
]


def verdict(fault: Fault, mode: Mode, target: str) -> str:
    """Judge a fault once; where it was late and nothing else, a busy machine may be why."""
    wrong = judge(fault, mode, TARGETS[target]).wrong
    for _ in range(2):
        if not wrong.startswith(LATE):
            break
        wrong = judge(fault, mode, TARGETS[target]).wrong
    return wrong


@pytest.mark.parametrize(("fault", "mode"), CASES)
def test_a_fault_is_held(fault: Fault, mode: Mode) -> None:
    assert verdict(fault, mode, "ours") == ""


def test_every_fault_has_a_name_of_its_own() -> None:
    assert len(BY_NAME) == len(FAULTS)
