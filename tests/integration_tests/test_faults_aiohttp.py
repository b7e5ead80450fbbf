"""The fault catalogue of async calls, over aiohttp's connections as well."""

import pytest

from tests.faults.catalog import FAULTS
from tests.faults.fault import Fault
from tests.faults.runs import Mode
from tests.integration_tests.test_faults import verdict

pytest.importorskip("httpx_aiohttp", reason="an extra")

CASES = [
    pytest.param(fault, mode, id=f"{fault.group}: {fault.name} [{mode}]")
    for fault in FAULTS
    for mode in fault.modes
    if mode in ("ainvoke", "astream") and fault.group != "images"
]


@pytest.mark.parametrize(("fault", "mode"), CASES)
def test_a_fault_is_held_over_aiohttp_s_connections(fault: Fault, mode: Mode) -> None:
    assert verdict(fault, mode, "ours-aiohttp") == ""
