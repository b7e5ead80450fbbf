"""Progress of an image job: callback, LangGraph's custom stream, custom event, traced cost."""

import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeAlias

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.callbacks.manager import BaseRunManager

from langchain_minitoolai import contract
from langchain_minitoolai._http.client import run_awaitable
from langchain_minitoolai._http.effects import Invoke
from langchain_minitoolai._redaction import safe_warn, tidy
from langchain_minitoolai.types import ImageProgress

EVENT: Final = "minitoolai_image"
"""The custom event's name in `astream_events`."""

OnProgress: TypeAlias = Callable[[ImageProgress], Awaitable[None] | None]


def report(progress: ImageProgress, on_progress: OnProgress | None) -> Invoke:
    """Build the effect that reports progress; no failure of a channel reaches the job."""

    def run() -> None:
        answer = _call(on_progress, progress)
        if inspect.isawaitable(answer):
            try:
                run_awaitable(answer)
            except Exception as error:  # noqa: BLE001 - a user's callback
                _warn_of(error)
        _stream(progress)
        with suppress(Exception):  # a run need not be in progress
            dispatch_custom_event(EVENT, dict(progress))

    async def arun() -> None:
        answer = _call(on_progress, progress)
        if inspect.isawaitable(answer):
            try:
                await answer
            except Exception as error:  # noqa: BLE001 - a user's callback
                _warn_of(error)
        _stream(progress)
        with suppress(Exception):  # a run need not be in progress
            await adispatch_custom_event(EVENT, dict(progress))

    return Invoke(run, arun)


def record_cost(run_manager: BaseRunManager | None) -> None:
    """Record an image's price on the traced run, where LangSmith reads it."""
    run_id = getattr(run_manager, "run_id", None)
    for handler in getattr(run_manager, "handlers", ()):
        runs = getattr(handler, "run_map", None)
        run = runs.get(str(run_id)) if isinstance(runs, Mapping) else None
        if run is not None:
            metadata = run.extra.setdefault("metadata", {})
            metadata["total_cost"] = contract.IMAGE_PRICE
            metadata["usage_metadata"] = {"total_cost": contract.IMAGE_PRICE}


def _call(on_progress: OnProgress | None, progress: ImageProgress) -> Any:
    if on_progress is None:
        return None
    try:
        return on_progress(progress)
    except Exception as error:  # noqa: BLE001 - a user's callback
        _warn_of(error)
        return None


def _warn_of(error: Exception) -> None:
    safe_warn(f"on_progress failed ({tidy(f'{type(error).__name__}: {error}')})")


def _stream(progress: ImageProgress) -> None:
    """Write to LangGraph's custom stream, if this is a graph's step."""
    if "langgraph" not in sys.modules:
        return
    with suppress(Exception):  # outside a graph there is no writer
        from langgraph.config import get_stream_writer  # noqa: PLC0415 - it need not be installed

        get_stream_writer()({"type": EVENT, **progress})
