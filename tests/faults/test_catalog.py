from collections import Counter

from tests.faults.catalog import CHAPTERS, faults
from tests.faults.targets import TARGETS


def test_every_fault_has_a_name_of_its_own() -> None:
    names = Counter(fault.name for _, fault in faults())
    assert [name for name, times in names.items() if times > 1] == []
    assert {chapter for chapter, _ in faults()} == set(CHAPTERS)


def test_what_is_known_not_to_hold_is_a_fault_of_the_catalogue() -> None:
    names = {fault.name for _, fault in faults()}
    assert [
        known for target in TARGETS.values() for known in target.known if known not in names
    ] == []
