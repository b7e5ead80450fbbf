"""ASGI application of the sandbox: routes, authorization, faults, streamed answers."""

import asyncio
import hashlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route as Address

from langchain_minitoolai import contract
from langchain_minitoolai.sandbox import _chat, _responder, faults
from langchain_minitoolai.sandbox import _validation as validation
from langchain_minitoolai.sandbox._service import RecordedRequest, Reply, Service, resolve
from langchain_minitoolai.sandbox._validation import APIError
from langchain_minitoolai.sandbox.faults import Fault, Route

T = TypeVar("T")
Drop: TypeAlias = Callable[[Any, faults.Ending], None]
"""Ends the connection of a client, given by its address."""
_LONG: Final = 3600.0
"""Seconds after which no client is waiting any more."""


def build(service: Service, drop: Drop) -> Starlette:
    """Make the ASGI application of one service; `drop` ends a client's connection."""
    serve = _Handlers(service, drop).serve
    app = Starlette(
        routes=[
            Address(f"/api{contract.CHAT_PATH}", partial(serve, "chat"), methods=["POST"]),
            Address(f"/api{contract.IMAGE_PATH}", partial(serve, "image"), methods=["POST"]),
            Address(f"/api{contract.IMAGE_JOB_PATH}", partial(serve, "job"), methods=["POST"]),
            Address("/files/{name}", partial(serve, "file"), methods=["GET"]),
        ],
        exception_handlers={HTTPException: _unknown},
    )
    app.router.redirect_slashes = False
    return app


class _Handlers:
    def __init__(self, service: Service, drop: Drop) -> None:
        self._service = service
        self._drop = drop
        self._count = itertools.count()

    async def serve(self, route: Route, request: Request) -> Response:
        """Record a request and answer it."""
        try:
            body = _json(await request.body())
        except ClientDisconnect:
            return Response()
        headers = {name: val for name, val in request.headers.items() if name != "authorization"}
        authorized = request.headers.get("authorization") == f"Bearer {self._service.api_key}"
        record = RecordedRequest(request.method, request.url.path, body, headers, authorized)
        count = self._service.receive(record)
        try:
            response = await self._answer(route, request, record)
        except APIError as refusal:
            response = JSONResponse({"error": refusal.error}, refusal.status)
        response.headers.setdefault("x-request-id", f"req_{count:08d}")
        return response

    async def _answer(self, route: Route, request: Request, record: RecordedRequest) -> Response:
        """Answer a request, with a fault before or after it, or inside the answer."""
        fault = self._service.next_fault(route)
        early = fault if faults.is_early(fault) else None
        if early and not early.charged and (instead := await self._struck(request, early)):
            return instead
        if route in ("chat", "image") and not record.authorized:
            raise APIError(
                "Incorrect or missing API key; send 'Authorization: Bearer <API key>'.",
                status=401,
                code="invalid_api_key",
            )
        if route != "file":
            _check_type(request)
        if route == "chat":
            response = await self._chat(request, record.body, fault)
        elif route == "image":
            response = self._submit(record.body, fault)
        elif route == "job":
            response = self._job(request, record.body)
        else:
            response = await self._image(request.path_params["name"])
        if early and early.charged and (instead := await self._struck(request, early)):
            return instead
        return response

    async def _struck(
        self, request: Request, fault: faults.ReplaceResponse | faults.Break | faults.Stall
    ) -> Response | None:
        """Let a fault strike before the answer; what it gives stands in the answer's place."""
        if isinstance(fault, faults.ReplaceResponse):
            return Response(fault.body, fault.status, dict(fault.headers))
        if isinstance(fault, faults.Break):
            self._drop(request.client, fault.ending)
            await until_gone(request, _LONG)
            return Response()
        return Response() if await until_gone(request, fault.seconds) else None

    def _submit(self, body: Any, fault: Fault | None) -> Response:
        validation.check_image(body)
        if self._service.balance < contract.IMAGE_PRICE:
            raise validation.insufficient_balance()
        job = self._service.jobs.submit(
            body, fault if isinstance(fault, faults.JobOutcome) else None
        )
        self._service.charge_image(job.number, body)
        return JSONResponse({"status": "success", "jobid": job.number, "signature": job.signature})

    def _job(self, request: Request, body: Any) -> Response:
        validation.check_job(body)
        # Other containers reach this one by a name that only they know.
        files = f"{request.base_url}files"
        status, answer = self._service.jobs.status(body["jobid"], body["signature"], files)
        return JSONResponse(answer, status)

    async def _image(self, name: str) -> Response:
        job = self._service.jobs.finished(name)
        if job is None:
            raise APIError("There is no such image.", status=404, code="not_found")
        from langchain_minitoolai.sandbox._image import draw  # noqa: PLC0415 - Pillow is heavy

        return Response(await asyncio.to_thread(draw, job.parameters), media_type="image/png")

    async def _chat(self, request: Request, body: Any, fault: Fault | None) -> Response:
        """Answer from the script, an upstream server or the responder; charge at once."""
        service, settings = self._service, self._service.settings
        native, models, fields = settings.native_tools, settings.models, settings.fields
        validation.check_chat(body, native=native, models=models, fields=fields)
        if service.balance <= 0:
            raise validation.insufficient_balance()
        mark = hashlib.sha256(f"{settings.seed}/{next(self._count)}".encode()).hexdigest()[:29]
        model = contract.SNAPSHOTS.get(body["model"], body["model"])
        frame = _chat.Frame(f"chatcmpl-{mark}", int(time.time()), model)
        reply = service.next_reply()
        stream: AsyncIterator[bytes]
        if reply is None and settings.upstream:
            from langchain_minitoolai.sandbox._upstream import forwarded  # noqa: PLC0415 - seldom

            stream = forwarded(service, settings.upstream, body, frame)
            await unless_gone(request, anext(stream))
        else:
            make = partial(_composed, body, reply, service.call_form, mark)
            answer, usage = await asyncio.to_thread(make)
            service.charge_chat(body["model"], usage)
            stream = _paced(_chat.events(frame, answer, usage), settings.token_seconds)
        return StreamingResponse(
            self._played(request, stream, fault),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache"},
        )

    async def _played(
        self, request: Request, stream: AsyncIterator[bytes], fault: Fault | None
    ) -> AsyncIterator[bytes]:
        """Let a fault strike at its place in a stream; one beyond its end strikes there."""
        at = fault.after if fault else None
        count = 0
        async for event in stream:
            if count == at:
                async for struck in self._struck_inside(request, fault):
                    yield struck
                if faults.is_last(fault):
                    return
            yield event
            count += 1
        if at is not None and at >= count:
            async for struck in self._struck_inside(request, fault):
                yield struck

    async def _struck_inside(self, request: Request, fault: Fault | None) -> AsyncIterator[bytes]:
        if isinstance(fault, faults.Insert):
            yield fault.data
        elif isinstance(fault, faults.Break) and fault.ending != "clean":
            self._drop(request.client, fault.ending)
            await asyncio.sleep(_LONG)
        elif isinstance(fault, faults.Stall):
            pause = fault.comments or fault.seconds
            for _ in range(round(fault.seconds / pause)):
                await asyncio.sleep(pause)
                if fault.comments:
                    yield b": keep-alive\n\n"


async def until_gone(request: Request, seconds: float) -> bool:
    """Wait until the client leaves, at most so many seconds; return whether it left."""
    try:
        async with asyncio.timeout(seconds):
            while (await request.receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Wait for some work, and drop it when the client leaves before it is done."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(until_gone(request, _LONG))
    await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
    if not task.done():
        task.cancel()
    gone.cancel()
    await asyncio.gather(task, gone, return_exceptions=True)
    if task.cancelled():
        raise APIError("The client left.", status=499)
    return task.result()


async def _paced(events: list[bytes], seconds: float) -> AsyncIterator[bytes]:
    for event in events:
        await asyncio.sleep(seconds)  # also for none: so the loop sees that a client has left
        yield event


def _composed(
    body: Mapping[str, Any], reply: Reply | None, form: _chat.CallForm, mark: str
) -> tuple[_chat.Answer, dict[str, Any]]:
    try:
        parts = _responder.answer(body, form) if reply is None else resolve(reply.parts, body)
    except Exception as error:
        # A status that is tried again would give the answer after this one, and hide the mistake.
        message = f"the scripted answer fails: {type(error).__name__}: {error}"
        raise APIError(message, code="script") from error
    limit = body.get("max_completion_tokens") or contract.DEFAULT_MAX_COMPLETION_TOKENS
    thought = min(_chat.reasoning_tokens(body), limit)
    stop = body.get("stop") or ()
    answer = _chat.compose(
        parts,
        native=bool(body.get("tools")),
        limit=limit - thought,
        stop=[stop] if isinstance(stop, str) else stop,
        finish_reason=reply.finish_reason if reply else None,
        stamp=mark,
        tag=_chat.call_tag(body),
        form=form,
    )
    count = thought + len(answer.deltas)
    return answer, _chat.usage_of(_chat.prompt_tokens(body), count, thought)


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _check_type(request: Request) -> None:
    kind = request.headers.get("content-type", "")
    if kind.split(";")[0].strip().lower() != "application/json":
        message = f"Invalid value for 'Content-Type': {kind!r}; allowed: 'application/json'."
        raise APIError(message, param="Content-Type")


async def _unknown(request: Request, error: Exception) -> Response:
    """Answer a request that no route handles."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    message = f"Unknown request: {request.method} {request.url.path}"
    refusal = APIError(message, status=status, code="unknown_url")
    return JSONResponse({"error": refusal.error}, status)
