"""ASGI application of the sandbox: routes, authorization, faults, charges."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route as Address

from langchain_minitoolai.contract import (
    CHAT_PATH,
    IMAGE_JOB_PATH,
    IMAGE_PATH,
    IMAGE_PRICE,
)
from langchain_minitoolai.sandbox._chat_handler import ChatHandler, Drop
from langchain_minitoolai.sandbox._service import RecordedRequest, Service
from langchain_minitoolai.sandbox._validation import (
    APIError,
    check_image,
    check_job,
    insufficient_balance,
)
from langchain_minitoolai.sandbox._waiting import LONG, until_gone
from langchain_minitoolai.sandbox.faults import (
    Break,
    Fault,
    JobOutcome,
    ReplaceResponse,
    Route,
    Stall,
    is_early,
)

Handler: TypeAlias = Callable[[Request, Any, Fault | None], Awaitable[Response]]


def build(service: Service, drop: Drop) -> Starlette:
    """Make the ASGI application of one service."""
    handlers = _Handlers(service, drop)
    app = Starlette(
        routes=[
            Address(f"/api{CHAT_PATH}", handlers.chat, methods=["POST"]),
            Address(f"/api{IMAGE_PATH}", handlers.image, methods=["POST"]),
            Address(f"/api{IMAGE_JOB_PATH}", handlers.job, methods=["POST"]),
            Address("/files/{name}", handlers.file, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _unknown},
    )
    app.router.redirect_slashes = False
    return app


class _Handlers:
    """The handlers of the routes, which share authorization and faults."""

    def __init__(self, service: Service, drop: Drop) -> None:
        self._service = service
        self._drop = drop
        self._chat_handler = ChatHandler(service, drop)

    async def chat(self, request: Request) -> Response:
        return await self._served(request, "chat", self._chat_handler.answer)

    async def image(self, request: Request) -> Response:
        return await self._served(request, "image", self._submit)

    async def job(self, request: Request) -> Response:
        return await self._served(request, "job", self._job_status)

    async def file(self, request: Request) -> Response:
        return await self._served(request, "file", self._image)

    async def _served(self, request: Request, route: Route, handle: Handler) -> Response:
        try:
            body = _json(await request.body())
        except ClientDisconnect:
            return Response()
        headers = {name: val for name, val in request.headers.items() if name != "authorization"}
        place = self._service.receive(
            RecordedRequest(
                request.method, request.url.path, body, headers, self._authorized(request)
            )
        )
        fault = self._service.next_fault(route)
        try:
            response = await self._handled(request, route, handle, body, fault)
        except APIError as refusal:
            response = JSONResponse({"error": refusal.error}, refusal.status)
        response.headers.setdefault("x-request-id", f"req_{place:08d}")
        return response

    async def _handled(
        self, request: Request, route: Route, handle: Handler, body: Any, fault: Fault | None
    ) -> Response:
        """Handle a request, with a fault before or after it, or inside the answer."""
        early = fault if is_early(fault) else None
        if early and not early.charged and (instead := await self._struck(request, early)):
            return instead
        if route in ("chat", "image") and not self._authorized(request):
            raise APIError(
                "Incorrect or missing API key; send 'Authorization: Bearer <API key>'.",
                status=401,
                code="invalid_api_key",
            )
        if route != "file":
            _check_type(request)
        response = await handle(request, body, fault)
        if early and early.charged and (instead := await self._struck(request, early)):
            return instead
        return response

    async def _struck(
        self, request: Request, fault: ReplaceResponse | Break | Stall
    ) -> Response | None:
        """Let a fault strike before the answer; what it gives stands in the answer's place."""
        if isinstance(fault, ReplaceResponse):
            return Response(fault.body, fault.status, dict(fault.headers))
        if isinstance(fault, Break):
            self._drop(request.client, fault.ending)
            await until_gone(request, LONG)
            return Response()
        return Response() if await until_gone(request, fault.seconds) else None

    def _authorized(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {self._service.api_key}"

    async def _submit(self, _request: Request, body: Any, fault: Fault | None) -> Response:
        check_image(body)
        if self._service.balance < IMAGE_PRICE:
            raise insufficient_balance()
        job = self._service.jobs.submit(body, fault if isinstance(fault, JobOutcome) else None)
        self._service.charge_image(job.number, body)
        return JSONResponse({"status": "success", "jobid": job.number, "signature": job.signature})

    async def _job_status(self, request: Request, body: Any, _fault: Fault | None) -> Response:
        check_job(body)
        status, answer = self._service.jobs.status(
            # Other containers reach this one by a name that only they know.
            body["jobid"],
            body["signature"],
            f"{request.base_url}files",
        )
        return JSONResponse(answer, status)

    async def _image(self, request: Request, _body: Any, _fault: Fault | None) -> Response:
        job = self._service.jobs.finished(request.path_params["name"])
        if job is None:
            raise APIError("There is no such image.", status=404, code="not_found")
        from langchain_minitoolai.sandbox._image import draw  # noqa: PLC0415 - Pillow is heavy

        return Response(await asyncio.to_thread(draw, job.parameters), media_type="image/png")


def _json(raw: bytes) -> Any:
    """Parse a body; `None` if it is no JSON."""
    try:
        return json.loads(raw)
    except ValueError:
        return None


def _check_type(request: Request) -> None:
    kind = request.headers.get("content-type", "")
    if kind.split(";")[0].strip().lower() != "application/json":
        raise APIError(
            f"Invalid value for 'Content-Type': {kind!r}; allowed: 'application/json'.",
            param="Content-Type",
        )


async def _unknown(request: Request, error: Exception) -> Response:
    """Answer a request that no route handles."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    message = f"Unknown request: {request.method} {request.url.path}"
    kind = "invalid_request_error"
    return JSONResponse(
        {"error": {"message": message, "type": kind, "param": None, "code": "unknown_url"}}, status
    )
