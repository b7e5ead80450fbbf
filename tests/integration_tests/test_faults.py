"""Every wire fault, by name, in each mode that differs, over each HTTP client: all are held."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from tests.faults.catalog import BY_NAME, FAULTS
from tests.faults.driver import judge
from tests.faults.fault import LATE
from tests.faults.runs import Mode
from tests.faults.targets import TARGETS


def cases() -> Iterator[Any]:
    """List every fault over our own transports; over aiohttp, all that async calls can meet."""
    for target in ("ours", "ours-aiohttp"):
        known = TARGETS[target].known
        for fault in FAULTS:
            for mode in fault.modes:
                is_own = target == "ours"
                if mode not in TARGETS[target].modes or not (is_own or fault.group != "images"):
                    continue
                reason = known.get(fault.name)
                marks = [pytest.mark.xfail(reason=reason, strict=is_own)] if reason else []
                name = f"{fault.group}: {fault.name} [{mode}, {target}]"
                yield pytest.param(fault.name, mode, target, id=name, marks=marks)


@pytest.mark.parametrize(("name", "mode", "target"), list(cases()))
def test_a_fault_is_held(name: str, mode: Mode, target: str) -> None:
    if target == "ours-aiohttp" and find_spec("httpx_aiohttp") is None:
        pytest.skip("the extra `aiohttp` is not installed")
    wrong = judge(BY_NAME[name], mode, TARGETS[target]).wrong
    for _ in range(2):  # late and nothing else: a busy machine may be why
        if wrong.startswith(LATE):
            wrong = judge(BY_NAME[name], mode, TARGETS[target]).wrong
    assert wrong == ""


def test_every_fault_has_a_name_of_its_own() -> None:
    assert len(BY_NAME) == len(FAULTS)


def test_what_is_known_not_to_hold_is_a_fault_of_the_catalogue() -> None:
    assert all(target.known.keys() <= BY_NAME.keys() for target in TARGETS.values())
