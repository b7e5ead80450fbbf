"""Telling how far a picture is, on every channel that exists where the tool runs."""

import inspect
import sys
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeAlias

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event

from langchain_minitoolai._http.effects import Invoke
from langchain_minitoolai._images.result import ImageProgress
from langchain_minitoolai.errors import tidy

EVENT: Final = "minitoolai_image"
"""The custom event's name in `astream_events`."""

OnProgress: TypeAlias = Callable[[ImageProgress], Awaitable[None] | None]


def telling(progress: ImageProgress, on_progress: OnProgress | None) -> Invoke:
    """Make the action that tells; nothing that goes wrong with it reaches the picture."""

    def run() -> None:
        _call(on_progress, progress)
        _stream(progress)
        with suppress(Exception):  # a run need not be in progress
            dispatch_custom_event(EVENT, dict(progress))

    async def arun() -> None:
        answer = _call(on_progress, progress)
        if inspect.isawaitable(answer):
            try:
                await answer
            except Exception as error:  # noqa: BLE001 - a user's callback
                _warn(error)
        _stream(progress)
        with suppress(Exception):  # a run need not be in progress
            await adispatch_custom_event(EVENT, dict(progress))

    return Invoke(run, arun)


def _call(on_progress: OnProgress | None, progress: ImageProgress) -> Any:
    if on_progress is None:
        return None
    try:
        return on_progress(progress)
    except Exception as error:  # noqa: BLE001 - a user's callback
        _warn(error)
        return None


def _warn(error: Exception) -> None:
    said = tidy(f"{type(error).__name__}: {error}")
    warnings.warn(f"on_progress failed ({said})", stacklevel=2)


def _stream(progress: ImageProgress) -> None:
    """Write to LangGraph's custom stream, if this is a graph's step."""
    if "langgraph" not in sys.modules:
        return
    with suppress(Exception):  # outside a graph there is no writer
        from langgraph.config import get_stream_writer  # noqa: PLC0415 - it need not be installed

        get_stream_writer()({"type": EVENT, **progress})
