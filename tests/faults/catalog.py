"""Every fault, by chapter: a module of tests each."""

import importlib
from collections.abc import Iterator

from tests.faults.fault import Fault, faults_of

CHAPTERS = (
    "contract",
    "truncation",
    "stalls",
    "retries",
    "in the stream",
    "bad 200",
    "framing",
    "bounds",
    "life cycle",
    "secrets",
    "images",
)


def faults() -> Iterator[tuple[str, Fault]]:
    """Yield every fault with its chapter; once where a sync and an async test share it."""
    for chapter in CHAPTERS:
        module = importlib.import_module(f"tests.faults.test_{chapter.replace(' ', '_')}")
        found: dict[str, Fault] = {}
        for name, function in vars(module).items():
            if name.startswith("test_"):
                for fault in faults_of(function):
                    found.setdefault(fault.name, fault)
        yield from ((chapter, fault) for fault in found.values())
