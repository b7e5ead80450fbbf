"""Telling how far a picture is."""

import asyncio
import sys
from typing import Any

import pytest

from langchain_minitoolai._images.progress import telling
from langchain_minitoolai._images.result import ImageProgress

PROGRESS = ImageProgress(
    stage="waiting",
    job="77",
    tool_call_id=None,
    seconds=1.0,
    expected=None,
    url=None,
    path=None,
)


def test_nobody_has_to_listen() -> None:
    action = telling(PROGRESS, None)
    action.run()
    asyncio.run(action.arun())  # type: ignore[arg-type]


def test_a_callback_is_told_in_either_colour() -> None:
    told: list[ImageProgress] = []

    async def listen(progress: ImageProgress) -> None:
        told.append(progress)

    telling(PROGRESS, told.append).run()
    asyncio.run(telling(PROGRESS, told.append).arun())  # type: ignore[arg-type]
    asyncio.run(telling(PROGRESS, listen).arun())  # type: ignore[arg-type]
    assert told == [PROGRESS] * 3


def test_a_callback_that_fails_is_only_a_warning() -> None:
    def fail(_: ImageProgress) -> None:
        raise ValueError("boom")

    async def afail(_: ImageProgress) -> None:
        raise ValueError("boom")

    with pytest.warns(UserWarning, match="ValueError: boom"):
        telling(PROGRESS, fail).run()
    for callback in (fail, afail):
        with pytest.warns(UserWarning, match="ValueError: boom"):
            asyncio.run(telling(PROGRESS, callback).arun())  # type: ignore[arg-type]


@pytest.mark.parametrize("present", [False, True])
def test_outside_a_graph_there_is_no_stream(
    monkeypatch: pytest.MonkeyPatch, *, present: bool
) -> None:
    if present:
        monkeypatch.setitem(sys.modules, "langgraph", sys)
    else:
        monkeypatch.delitem(sys.modules, "langgraph", raising=False)
    telling(PROGRESS, None).run()


def test_in_a_graph_the_stream_is_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []

    class Config:
        @staticmethod
        def get_stream_writer() -> Any:
            return written.append

    monkeypatch.setitem(sys.modules, "langgraph", sys)
    monkeypatch.setitem(sys.modules, "langgraph.config", Config)
    telling(PROGRESS, None).run()
    assert written == [{"type": "minitoolai_image", **PROGRESS}]
