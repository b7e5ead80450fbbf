"""The decorator that gives a test the name of a fault."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from tests.faults.targets import MODES, Mode

ONE_EACH: tuple[Mode, ...] = ("stream", "ainvoke")
"""A sync and an async mode, one shown and one collected: for what is the same in the other two."""


@dataclass(frozen=True)
class Fault:
    """One thing the wire can do.

    Attributes:
        name: Its name, as `--only` takes it.
        promise: What holds, in a few words for the documentation.
        modes: The modes that differ.
        tool: Whether it is the image tool that meets it.
        values: Arguments of the test besides `client`.
    """

    name: str
    promise: str
    modes: tuple[Mode, ...]
    tool: bool
    values: Mapping[str, Any]


def fault(
    name: str, promise: str, *, modes: tuple[Mode, ...] = MODES, tool: bool = False, **values: Any
) -> pytest.MarkDecorator:
    """Let a test take `client`, once for each mode and target; it may stand several times."""
    return pytest.mark.fault(Fault(name, promise, modes, tool, values))


def faults_of(function: Any) -> Iterator[Fault]:
    """Yield the faults that stand above a test, from the top down."""
    for mark in reversed(getattr(function, "pytestmark", [])):
        if mark.name == "fault":
            yield mark.args[0]
