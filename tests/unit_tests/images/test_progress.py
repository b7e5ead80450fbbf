"""Progress of an image job."""

import asyncio
import sys
from contextvars import ContextVar
from typing import Any

import pytest

from langchain_minitoolai._images.progress import report
from langchain_minitoolai.types import ImageProgress

PROGRESS = ImageProgress(
    stage="waiting",
    job_id="77",
    tool_call_id=None,
    seconds=1.0,
    expected=None,
    url=None,
    path=None,
)


def test_no_callback_is_needed() -> None:
    action = report(PROGRESS, None)
    action.run()
    asyncio.run(action.arun())  # type: ignore[arg-type]


def test_a_callback_is_called_sync_and_async() -> None:
    reported: list[ImageProgress] = []

    async def listen(progress: ImageProgress) -> None:
        reported.append(progress)

    report(PROGRESS, reported.append).run()
    asyncio.run(report(PROGRESS, reported.append).arun())  # type: ignore[arg-type]
    asyncio.run(report(PROGRESS, listen).arun())  # type: ignore[arg-type]
    assert reported == [PROGRESS] * 3


def test_a_callback_that_fails_is_only_a_warning() -> None:
    def fail(_: ImageProgress) -> None:
        raise ValueError("boom")

    async def afail(_: ImageProgress) -> None:
        raise ValueError("boom")

    with pytest.warns(UserWarning, match="ValueError: boom"):
        report(PROGRESS, fail).run()
    with pytest.warns(UserWarning, match="ValueError: boom"):
        report(PROGRESS, afail).run()
    for callback in (fail, afail):
        with pytest.warns(UserWarning, match="ValueError: boom"):
            asyncio.run(report(PROGRESS, callback).arun())  # type: ignore[arg-type]


@pytest.mark.parametrize("present", [False, True])
def test_outside_a_graph_there_is_no_stream(
    monkeypatch: pytest.MonkeyPatch, *, present: bool
) -> None:
    if present:
        monkeypatch.setitem(sys.modules, "langgraph", sys)
    else:
        monkeypatch.delitem(sys.modules, "langgraph", raising=False)
    report(PROGRESS, None).run()


def test_in_a_graph_the_stream_is_written_to(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Any] = []

    class Config:
        @staticmethod
        def get_stream_writer() -> Any:
            return written.append

    monkeypatch.setitem(sys.modules, "langgraph", sys)
    monkeypatch.setitem(sys.modules, "langgraph.config", Config)
    report(PROGRESS, None).run()
    assert written == [{"type": "minitoolai_image", **PROGRESS}]


@pytest.mark.parametrize("in_a_loop", [False, True])
def test_an_async_callback_is_awaited_in_a_sync_call(*, in_a_loop: bool) -> None:
    variable: ContextVar[str] = ContextVar("variable", default="lost")
    reported: list[tuple[ImageProgress, str]] = []

    async def callback(progress: ImageProgress) -> None:
        await asyncio.sleep(0)
        reported.append((progress, variable.get()))

    async def inside() -> None:
        report(PROGRESS, callback).run()

    variable.set("kept")
    if in_a_loop:
        asyncio.run(inside())
    else:
        report(PROGRESS, callback).run()
    assert reported == [(PROGRESS, "kept")]
