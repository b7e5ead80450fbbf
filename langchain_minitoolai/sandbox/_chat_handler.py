"""Chat handler: answers of a script, an upstream server or the responder, streamed as events."""

import asyncio
import hashlib
import itertools
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final, TypeAlias, TypeVar

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from langchain_minitoolai.contract import DEFAULT_MAX_COMPLETION_TOKENS, TOKEN_LIMITS
from langchain_minitoolai.sandbox import _responder
from langchain_minitoolai.sandbox._chat import (
    DONE,
    SNAPSHOTS,
    Answer,
    CallForm,
    Frame,
    call_tag,
    compose,
    event,
    events,
    prompt_tokens,
    usage_of,
)
from langchain_minitoolai.sandbox._service import Reply, Service, resolve
from langchain_minitoolai.sandbox._validation import (
    APIError,
    check_chat,
    insufficient_balance,
    is_reasoning,
)
from langchain_minitoolai.sandbox._waiting import LONG, unless_gone
from langchain_minitoolai.sandbox.faults import (
    Break,
    Ending,
    Fault,
    Insert,
    Stall,
    is_early,
    is_last,
    place,
)

T = TypeVar("T")
Drop: TypeAlias = Callable[[Any, Ending], None]
"""Ends the connection of a client, given by its address."""
THINKING: Final = {
    "none": 0,
    "minimal": 16,
    "low": 64,
    "medium": 256,
    "high": 1024,
    "xhigh": 4096,
}
"""Tokens that a reasoning model thinks for, by effort; from `high` on more than the default
`max_completion_tokens`."""


class ChatHandler:
    """The answers of one service."""

    def __init__(self, service: Service, drop: Drop) -> None:
        """Answer for `service`; `drop` ends a client's connection."""
        self._service = service
        self._drop = drop
        self._count = itertools.count()

    async def answer(self, request: Request, body: Any, fault: Fault | None) -> Response:
        """Answer a chat with a stream, which a fault may spoil.

        Raises:
            APIError: The request is not documented, too long, or not paid for.
        """
        settings = self._service.settings
        check_chat(
            body,
            native=settings.native_tools,
            models=settings.models,
            fields=settings.fields,
        )
        if self._service.balance <= 0:
            raise insufficient_balance()
        _check_length(body)
        frame = self._frame(body["model"])
        reply = self._service.next_reply()
        if reply is None and settings.upstream:
            stream = await self._forwarded(request, settings.upstream, body, frame)
        else:
            stream = await self._own(body, reply, frame)
        return StreamingResponse(
            self._played(request, stream, fault),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache"},
        )

    def _frame(self, model: str) -> Frame:
        mark = f"{self._service.settings.seed}/{next(self._count)}"
        name = hashlib.sha256(mark.encode()).hexdigest()[:29]
        return Frame(f"chatcmpl-{name}", int(time.time()), SNAPSHOTS.get(model, model))

    async def _own(
        self, body: Mapping[str, Any], reply: Reply | None, frame: Frame
    ) -> AsyncIterator[bytes]:
        """Answer from the script or the responder; the charge is booked at once."""
        limit = body.get("max_completion_tokens") or DEFAULT_MAX_COMPLETION_TOKENS
        thought = min(_reasoning_tokens(body), limit)
        answer = await asyncio.to_thread(
            _composed, body, reply, frame, self._service.call_form, limit - thought
        )
        usage = usage_of(prompt_tokens(body), thought + len(answer.deltas), thought)
        self._service.charge_chat(body["model"], usage)
        return self._paced(events(frame, answer, usage))

    async def _paced(self, stream: list[bytes]) -> AsyncIterator[bytes]:
        for one in stream:
            # Without a pause too: only in between does the loop see that a client has left.
            await asyncio.sleep(self._service.settings.token_seconds)
            yield one

    async def _forwarded(
        self, request: Request, url: str, body: Mapping[str, Any], frame: Frame
    ) -> AsyncIterator[bytes]:
        """Let another server answer; its first chunk is awaited, so that it can refuse."""
        from langchain_minitoolai.sandbox._upstream import chunks  # noqa: PLC0415 - seldom used

        stream = chunks(url, body, self._service.settings.upstream_model)
        first = await unless_gone(request, anext(stream, {}))
        return self._translated(first, stream, body, frame)

    async def _translated(
        self,
        first: dict[str, Any],
        rest: AsyncGenerator[dict[str, Any]],
        body: Mapping[str, Any],
        frame: Frame,
    ) -> AsyncIterator[bytes]:
        """Give another server's chunks the documented shape; what came is booked at the end."""
        seen = _UpstreamAnswer(body)
        try:
            async with aclosing(rest):
                async for chunk in _chained(first, rest):
                    for delta in seen.read(chunk):
                        yield frame.delta(delta)
        except APIError as error:
            seen.error = error.error
        finally:
            self._service.charge_chat(body["model"], seen.usage)
        if seen.error:
            yield event({"error": seen.error})
            return
        yield frame.delta({}, seen.finish_reason)
        yield frame.chunk([], seen.usage)
        yield DONE

    async def _played(
        self, request: Request, stream: AsyncIterator[bytes], fault: Fault | None
    ) -> AsyncIterator[bytes]:
        """Let a fault strike at its place in a stream; one beyond its end strikes there."""
        at = None if is_early(fault) else place(fault)
        count = 0
        async for one in stream:
            if count == at:
                async for struck in self._struck(request, fault):
                    yield struck
                if is_last(fault):
                    return
            yield one
            count += 1
        if at is not None and at >= count:
            async for struck in self._struck(request, fault):
                yield struck

    async def _struck(self, request: Request, fault: Fault | None) -> AsyncIterator[bytes]:
        if isinstance(fault, Insert):
            yield fault.data
        elif isinstance(fault, Break) and fault.ending != "clean":
            self._drop(request.client, fault.ending)
            await asyncio.sleep(LONG)
        elif isinstance(fault, Stall):
            pause = fault.comments or fault.seconds
            for _ in range(round(fault.seconds / pause)):
                await asyncio.sleep(pause)
                if fault.comments:
                    yield b": keep-alive\n\n"


async def _chained(first: T, rest: AsyncIterator[T]) -> AsyncIterator[T]:
    yield first
    async for one in rest:
        yield one


class _UpstreamAnswer:
    """Finish reason, error and usage of an upstream server's answer, as read so far."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        self.finish_reason = "stop"
        self.error: dict[str, Any] | None = None
        self.usage = usage_of(prompt_tokens(body), 0)

    def read(self, chunk: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Read one chunk, and return its deltas."""
        deltas = []
        for choice in chunk.get("choices") or ():
            self.finish_reason = choice.get("finish_reason") or self.finish_reason
            full = choice.get("delta") or {}
            delta = {name: full[name] for name in ("content", "tool_calls") if full.get(name)}
            deltas += [delta] if delta else []
        self.error = chunk.get("error") or self.error
        if usage := chunk.get("usage"):
            self.usage = usage_of(usage["prompt_tokens"], usage["completion_tokens"])
        elif deltas:
            self.usage = usage_of(
                self.usage["prompt_tokens"], self.usage["completion_tokens"] + len(deltas)
            )
        return deltas


def _reasoning_tokens(body: Mapping[str, Any]) -> int:
    """Give the tokens that a model thinks for, more with more effort, however it is named."""
    if not is_reasoning(body["model"]):
        return 0
    return THINKING.get(str(body.get("reasoning_effort")), THINKING["medium"])


def _composed(
    body: Mapping[str, Any], reply: Reply | None, frame: Frame, form: CallForm, limit: int
) -> Answer:
    try:
        parts = _responder.answer(body, form) if reply is None else resolve(reply.parts, body)
    except Exception as error:
        # A status that is tried again would give the answer after this one, and hide the mistake.
        message = f"the scripted answer fails: {type(error).__name__}: {error}"
        raise APIError(message, code="script") from error
    stop = body.get("stop") or ()
    return compose(
        parts,
        native=bool(body.get("tools")),
        limit=limit,
        stop=[stop] if isinstance(stop, str) else stop,
        finish_reason=reply.finish_reason if reply else None,
        stamp=frame.id.removeprefix("chatcmpl-"),
        tag=call_tag(body),
        form=form,
    )


def _check_length(body: Mapping[str, Any]) -> None:
    limits = TOKEN_LIMITS.get(body["model"])
    tokens, most = prompt_tokens(body), limits.input if limits else math.inf
    if tokens > most:
        raise APIError(
            f"The model reads at most {most} tokens; the messages have {tokens}.",
            code="context_length_exceeded",
            param="messages",
        )
