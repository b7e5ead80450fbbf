"""HTTP client base and sync client: requests built, effects performed, bodies read."""

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Generator, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from contextvars import copy_context
from typing import Any, Final, TypeVar

import httpx
from pydantic_core import to_json

from langchain_minitoolai import errors
from langchain_minitoolai._http.body import BoundedBody, StreamReader
from langchain_minitoolai._http.effects import (
    Download,
    Effect,
    Invoke,
    Request,
    Resolve,
    Response,
    Sleep,
    StreamRequest,
    StreamResponse,
    Uninterrupted,
    Workflow,
)
from langchain_minitoolai._http.error_mapping import map_transport_error
from langchain_minitoolai._http.pool import ClientPool
from langchain_minitoolai._http.transport import (
    CONNECT_TIMEOUT,
    Deadline,
    ExchangeTrace,
    Origin,
    resolve,
)
from langchain_minitoolai._redaction import hiding
from langchain_minitoolai._version import __version__

T = TypeVar("T")

USER_AGENT: Final = f"langchain-minitoolai/{__version__}"
"""The `User-Agent` of every request."""

_API_HEADERS: Final = {
    "Accept": "text/event-stream, application/json",
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": USER_AGENT,
}
_DOWNLOAD_HEADERS: Final = {
    "Accept": "image/*",
    "Accept-Encoding": "identity",
    "User-Agent": USER_AGENT,
}
OK: Final = 200
_REDIRECT: Final = 300
_SHOWN: Final = 60
_INTERRUPT_SECONDS: Final = 0.1  # a signal just before an endless wait would not end it
_logger: Final = logging.getLogger("langchain_minitoolai")


class BearerAuth:
    """Sets the API key on a request when it is sent, and not before: a callable, as httpx takes."""

    def __init__(self, api_key: str) -> None:
        """Keep the key."""
        self._api_key = api_key

    def __call__(self, request: Any) -> Any:
        """Set the header."""
        request.headers["Authorization"] = f"Bearer {self._api_key}"
        return request


class BaseClient:
    """Where requests go, and as whom: what both clients share.

    Attributes:
        origin: The service's.
    """

    clock = staticmethod(time.monotonic)

    def __init__(
        self,
        pool: ClientPool,
        base_url: str,
        api_key: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Keep the settings; nothing is opened.

        Args:
            pool: Where httpx clients come from.
            base_url: The service's URL, without a slash at its end.
            api_key: The API key.
            headers: Headers for every request.
        """
        self.pool = pool
        self.api_key = api_key
        self.origin = Origin.of(base_url)
        self._base_url = base_url
        self._urls: dict[str, httpx.URL] = {}
        self._auth = BearerAuth(api_key)
        merged = httpx.Headers(_API_HEADERS)
        merged.update(headers)  # the user's replace ours, in any case
        self._headers = dict(merged)

    def _step(self, workflow: Workflow[T], outcome: Any, error: Exception | None) -> Effect:
        """Run a workflow to its next effect; what it makes of the service's text holds no key."""
        try:
            with hiding(self.api_key):
                return workflow.send(outcome) if error is None else workflow.throw(error)
        except errors.MiniToolAIError as failed:
            raise failed.redact(self.api_key) from None

    def build_request(self, client: Any, request: Request, extensions: Mapping[str, Any]) -> Any:
        """Build the request with the client that sends it; the key is not in it yet.

        Raises:
            InvalidInputError: If the body holds what JSON can't.
        """
        return client.build_request(
            "POST",
            self._url(client, request.path),
            content=_to_json(request.body),
            headers=self._headers,
            extensions=extensions,
        )

    def _url(self, client: Any, path: str) -> httpx.URL | str:
        """Return a URL, parsed once where the client is httpx's."""
        if not isinstance(client, httpx.Client | httpx.AsyncClient):
            return self._base_url + path
        if path not in self._urls:
            self._urls[path] = httpx.URL(self._base_url + path)
        return self._urls[path]

    def _prepare(
        self, client: Any, effect: Request | Download, extensions: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Return the request to send, and the options to send it with."""
        options: dict[str, Any] = {"auth": None, "stream": True, "follow_redirects": False}
        if isinstance(effect, Download):
            return pinned_request(client, effect, extensions), options
        options["auth"] = self._auth if effect.send_auth else None
        return self.build_request(client, effect, extensions), options

    def _route(self, effect: Request | Download) -> tuple[Origin, bool]:
        """Return where a request goes, and whether on a connection of its own."""
        if isinstance(effect, Download):
            return Origin.of(effect.url), True
        return self.origin, effect.new_connection

    def _look_up(self, url: str, *, is_async: bool) -> list[str] | None:
        origin = Origin.of(url)
        proxy = self.pool.proxy_for(origin, is_async=is_async)
        return resolve(origin.host, origin.port, numeric=proxy is not None)

    def _deadline(self, effect: Request | Download) -> Deadline:
        connect = effect.connect_timeout if isinstance(effect, Download) else CONNECT_TIMEOUT
        return Deadline(self.clock, effect.timeout, effect.deadline, connect)

    def _failure(
        self,
        effect: Request | Resolve | Download,
        caught: Exception,
        deadline: Deadline,
        trace: ExchangeTrace | None = None,
    ) -> errors.MiniToolAIError:
        is_ours = isinstance(effect, Request)
        peer = f"the service at {self.origin.netloc}" if is_ours else "the host of the URL"
        with hiding(self.api_key):
            return map_transport_error(caught, deadline, trace, peer=peer)

    def _reader(
        self, effect: Request | Download, response: Any, deadline: Deadline
    ) -> "StreamReader[Any] | BoundedBody":
        """Choose what reads a body."""
        status, headers = response.status_code, response.headers
        if isinstance(effect, Download):
            body = BoundedBody(status, headers, effect.max_bytes, deadline)
            body.truncated |= status != OK
            return body
        _logger.debug("%s answered with HTTP %d", effect.path, status)
        if isinstance(effect, StreamRequest) and status < _REDIRECT:
            return StreamReader(headers, effect.reader(self.api_key), deadline)
        return BoundedBody(status, headers)


def _to_json(body: Mapping[str, Any]) -> bytes:
    try:
        return to_json(body)
    except ValueError:
        place, value = next(_find_unserializable(body, ""), ("the request", "something"))
    raise errors.InvalidInputError(
        f"{place} is {value}; allowed: what JSON can hold, in valid Unicode"
    )


def _find_unserializable(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Find what JSON can't hold: where it stands, and what it is."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _find_unserializable(inner, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _find_unserializable(inner, f"{place}[{index}]")
    else:
        try:
            to_json(value)
        except ValueError:
            text = ascii(value)
            yield place, text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


def pinned_request(client: Any, download: Download, extensions: Mapping[str, Any]) -> Any:
    """Build a bare request that connects to a checked address and asks for the host's name.

    The client's own headers and parameters, which may hold secrets, are not for a foreign host.
    """
    url = httpx.URL(download.url)
    pinned = client.build_request(
        "GET",
        str(url.copy_with(host=download.ip or url.host)),
        extensions={**extensions, "sni_hostname": url.raw_host.decode("ascii")},
    )
    pinned.url = pinned.url.copy_with(query=url.query or None)
    pinned.headers.clear()
    pinned.headers.update({"Host": url.netloc.decode("ascii"), **_DOWNLOAD_HEADERS})
    return pinned


class SyncClient(BaseClient):
    """Performs workflows in the calling thread; one instance serves any number of threads."""

    def execute(self, workflow: Workflow[T]) -> T:
        """Perform a workflow's effects until it returns.

        Raises:
            Exception: What the workflow raises.
        """
        outcome, error = None, None
        while True:
            try:
                effect = self._step(workflow, outcome, error)
            except StopIteration as stop:
                result: T = stop.value
                return result
            outcome, error = None, None
            try:
                outcome = self._perform(effect)
            except Exception as caught:  # noqa: BLE001 - the workflow decides what to do with it
                error = caught
            except BaseException:
                workflow.close()  # now: a kept traceback would keep it, and what it holds
                raise

    def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Sleep):
            return time.sleep(effect.seconds)
        if isinstance(effect, Invoke):
            return effect.run()
        if isinstance(effect, Uninterrupted):
            return self._run_uninterrupted(effect)
        if isinstance(effect, Resolve):
            return self._resolve(effect)
        return self._exchange(effect)

    def _run_uninterrupted(self, effect: Uninterrupted[T]) -> T:
        """Run a workflow in a thread, where no signal handler can raise."""
        future: Future[T] = Future()
        workflow, context = effect.start(lambda: effect.cancelled), copy_context()

        def run() -> None:
            try:
                future.set_result(context.run(self.execute, workflow))
            except BaseException as error:  # noqa: BLE001 - the waiting thread raises it
                future.set_exception(error)

        try:
            # At its exit, the interpreter waits for the thread.
            threading.Thread(target=run, name="minitoolai-order", daemon=False).start()
            while not future.done():
                wait((future,), _INTERRUPT_SECONDS)
        finally:
            effect.cancelled = not future.done()
        return future.result()

    def _resolve(self, effect: Resolve) -> list[str] | None:
        try:
            return self._look_up(effect.url, is_async=False)
        except Exception as caught:  # noqa: BLE001 - whatever is no URL, too
            failure = self._failure(effect, caught, Deadline(self.clock, effect.timeout, None))
        raise failure

    def _exchange(self, effect: Request | Download) -> Response:
        deadline, trace = self._deadline(effect), ExchangeTrace()
        try:
            origin, new_connection = self._route(effect)
            client = self.pool.client(origin, new_connection=new_connection)
            extensions = {"trace": trace.record, **deadline.sync_extensions()}
            request, options = self._prepare(client, effect, extensions)
            response = client.send(request, **options)
        except Exception as caught:  # noqa: BLE001 - whatever a transport raises
            failure = self._failure(effect, caught, deadline, trace)
        else:
            return self._read(effect, SyncExchange(response, deadline))
        raise failure

    def _read(self, effect: Request | Download, exchange: "SyncExchange") -> Response:
        response = exchange.response
        try:
            reader = self._reader(effect, response, exchange.deadline)
        except errors.MiniToolAIError:
            response.close()
            raise
        head = response.status_code, response.headers
        if isinstance(reader, BoundedBody):
            return Response(*head, exchange.read(reader))
        stream = exchange.parse(reader)
        if isinstance(effect, StreamRequest) and not effect.collect:
            return StreamResponse(*head, reader=reader.parser, stream=stream)
        items = [item for batch in stream for item in batch]
        return StreamResponse(*head, reader=reader.parser, items=items)


class SyncExchange:
    """One response whose body is read in the calling thread.

    Attributes:
        response: The response.
        deadline: The time that is left.
        failure: What ended the body, if not the server.
    """

    def __init__(self, response: Any, deadline: Deadline) -> None:
        """Take over an open response."""
        self.response = response
        self.deadline = deadline
        self.failure: errors.MiniToolAIError | None = None

    def __iter__(self) -> Iterator[bytes]:
        """Iterate over the raw blocks; a connection error ends them and is kept."""
        try:
            blocks = iter(self.response.stream)
            self.deadline.remaining()
            for block in blocks:
                yield block
                self.deadline.remaining()
        except Exception as caught:  # noqa: BLE001 - whatever a transport raises
            self.failure = map_transport_error(caught, self.deadline, headers_received=True)

    def read(self, body: BoundedBody) -> bytes:
        """Read the body in one piece, as far as it is wanted, and close it."""
        with closing(self.response):
            blocks = iter(self)
            while not body.truncated and (block := next(blocks, None)) is not None:
                body.feed(block)
        return body.end(self.failure)

    def parse(self, reader: StreamReader[Any]) -> Generator[list[Any]]:
        """Yield what a parser makes of the body, some items at a time, and close it at the end.

        Raises:
            MiniToolAIError: If the body breaks off, is incomplete, or reports an error.
        """
        with closing(self.response):
            for block in self:
                items = reader.feed(block)
                if items:
                    yield items
                    reader.consumed()
            yield reader.end(self.failure)


def run_awaitable(awaitable: Awaitable[T]) -> T:
    """Await something from sync code, in an event loop and a thread of its own."""

    async def run() -> T:
        return await awaitable

    context = copy_context()  # so that LangChain's and LangGraph's own variables are known there
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(context.run, asyncio.run, run()).result()
