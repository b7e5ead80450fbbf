"""HTTP client base and sync client: requests built, effects performed, bodies read."""

import logging
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import Future
from contextlib import closing, contextmanager
from contextvars import copy_context
from typing import Any, Final, Generic, TypeVar, cast

import httpx
from pydantic_core import to_json

from langchain_minitoolai import errors
from langchain_minitoolai._http.body import BoundedBody, StreamReader
from langchain_minitoolai._http.deadline import Deadline
from langchain_minitoolai._http.effects import (
    BodyReader,
    Download,
    Effect,
    Request,
    Response,
    ResponseStream,
    Sleep,
    StreamRequest,
    StreamResponse,
    Uninterrupted,
    Workflow,
)
from langchain_minitoolai._http.error_mapping import map_transport_error
from langchain_minitoolai._http.pool import ClientPool
from langchain_minitoolai._http.transport import ExchangeTrace, resolve
from langchain_minitoolai._redaction import hiding
from langchain_minitoolai._version import __version__

T = TypeVar("T")
R = TypeVar("R", bound=BodyReader[Any])

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
        netloc: The service's host and port, for errors.
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
        self.netloc = _netloc(httpx.URL(base_url))
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

    def _send_options(self, request: Request) -> dict[str, Any]:
        auth = self._auth if request.send_auth else None
        return {"auth": auth, "stream": True, "follow_redirects": False}

    def _failure(
        self, caught: Exception, deadline: Deadline, trace: ExchangeTrace
    ) -> errors.MiniToolAIError:
        with hiding(self.api_key):
            return map_transport_error(
                caught, deadline, trace, peer=f"the service at {self.netloc}"
            )

    def _response(self, response: Any, body: bytes) -> Response:
        """Make the outcome of a request whose body was read whole."""
        return Response(response.status_code, response.headers, body)

    def _reader(self, request: Request, response: Any, deadline: Deadline) -> Any:
        """Choose what reads a body: its parser, or a `BoundedBody`."""
        status, headers = response.status_code, response.headers
        _logger.debug("%s answered with HTTP %d", request.path, status)
        if isinstance(request, StreamRequest) and status < _REDIRECT:
            return StreamReader(headers, request.reader(self.api_key), deadline)
        return BoundedBody(status, headers)


def _netloc(url: httpx.URL) -> str:
    host, port = host_and_port(url)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


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


def pinned_request(client: Any, url: httpx.URL, ip: str, extensions: Mapping[str, Any]) -> Any:
    """Build a bare request that connects to a checked address and asks for the host's name.

    The client's own headers and parameters, which may hold secrets, are not for a foreign host.
    """
    pinned = client.build_request(
        "GET",
        str(url.copy_with(host=ip)),
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

    def stream(
        self, workflow: Workflow[StreamResponse[T, R]]
    ) -> tuple["Stream[T, R]", StreamResponse[T, R]]:
        """Perform a workflow that ends in an open stream; return it and its response."""
        response = self.execute(workflow)
        return cast("Stream[T, R]", response.stream), response

    def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Request):
            return self._exchange(effect)
        if isinstance(effect, Download):
            return self._download(effect)
        if isinstance(effect, Sleep):
            return time.sleep(effect.seconds)
        if isinstance(effect, Uninterrupted):
            return self._run_uninterrupted(effect)
        return effect.run()

    def _run_uninterrupted(self, effect: Uninterrupted[T]) -> T:
        """Run a workflow in a thread, where no signal handler can raise."""
        future: Future[T] = Future()
        workflow, context = effect.workflow(), copy_context()

        def run() -> None:
            try:
                future.set_result(context.run(self.execute, workflow))
            except BaseException as error:  # noqa: BLE001 - the waiting thread raises it
                future.set_exception(error)

        # At its exit, the interpreter waits for the thread.
        threading.Thread(target=run, name="minitoolai-order", daemon=False).start()
        finished = False
        try:
            error = future.exception()
            finished = True
        finally:
            effect.cancelled = not finished
        if error is not None:
            raise error
        return future.result()

    def _exchange(self, request: Request) -> Response:
        deadline, trace = Deadline(self.clock, request.timeout, request.deadline), ExchangeTrace()
        try:
            client = self.pool.client(new_connection=request.new_connection)
            extensions = {"trace": trace.record, **deadline.sync_extensions()}
            prepared = self.build_request(client, request, extensions)
            response = client.send(prepared, **self._send_options(request))
        except Exception as caught:  # noqa: BLE001 - whatever a transport raises
            failure = self._failure(caught, deadline, trace)
        else:
            return self._read(request, response, deadline)
        raise failure

    def _read(self, request: Request, response: Any, deadline: Deadline) -> Response:
        with _closed_on_error(response):
            reader = self._reader(request, response, deadline)
        if isinstance(reader, BoundedBody):
            return self._response(response, _read_bounded(response, reader, deadline))
        stream: Stream[Any, Any] = Stream(response, reader, deadline)
        if cast("StreamRequest[Any, Any]", request).collect:
            stream.items = [item for items in stream for item in items]
        return StreamResponse(response.status_code, response.headers, stream=stream)

    def _download(self, download: Download) -> Response:
        deadline, trace = Deadline(self.clock, download.timeout, download.deadline), ExchangeTrace()
        try:
            url = httpx.URL(download.url)
            client = self.pool.client(new_connection=True)
            ip = download.pick_ip(resolve(*host_and_port(url)))
            extensions = {"trace": trace.record, **deadline.sync_extensions()}
            prepared = pinned_request(client, url, ip, extensions)
            response = client.send(prepared, auth=None, stream=True, follow_redirects=False)
        except Exception as caught:  # noqa: BLE001 - whatever a transport raises
            failure = map_transport_error(caught, deadline, trace, peer="the host of the URL")
        else:
            with closing(response):
                if response.status_code != OK:
                    return Response(response.status_code, response.headers)
                body = BoundedBody(OK, response.headers, download.max_bytes, deadline)
                content = _read_bounded(response, body, deadline)
            return Response(OK, response.headers, content)
        raise failure


class Stream(ResponseStream[T, R], Generic[T, R]):
    """An open body; iterating gives what its parser makes of it, some items at a time."""

    def __init__(self, response: Any, reader: StreamReader[T, R], deadline: Deadline) -> None:
        """Take over an open response."""
        super().__init__(reader.parser)
        self._response = response
        self._stream_reader = reader
        self._deadline = deadline

    def __iter__(self) -> Generator[list[T]]:
        """Read the body to its end, and close it whatever happens.

        Raises:
            MiniToolAIError: If the body breaks off, is incomplete, or reports an error.
        """
        reader, failure = self._stream_reader, None
        with closing(self._response):
            blocks = iter(self._response.stream)
            while True:
                try:
                    self._deadline.remaining()
                    block = next(blocks, None)
                except Exception as caught:  # noqa: BLE001 - whatever a transport raises
                    failure = map_transport_error(caught, self._deadline, headers_received=True)
                    break
                if block is None:
                    break
                items = reader.feed(block)
                if items:
                    yield items
                    reader.consumed()
            yield reader.end(failure)


class _Blocks:
    """The raw blocks of a body; an error of the connection ends them, and is kept.

    Attributes:
        failure: What ended them, if not the server.
    """

    def __init__(self, response: Any, deadline: Deadline) -> None:
        self.failure: errors.MiniToolAIError | None = None
        self._response = response
        self._deadline = deadline

    def __iter__(self) -> Iterator[bytes]:
        try:
            for block in self._response.stream:
                yield block
                self._deadline.remaining()
        except Exception as caught:  # noqa: BLE001 - whatever a transport raises
            self.failure = map_transport_error(caught, self._deadline, headers_received=True)


def _read_bounded(response: Any, body: BoundedBody, deadline: Deadline) -> bytes:
    blocks = _Blocks(response, deadline)
    with closing(response):
        for block in blocks:
            body.feed(block)
            if body.truncated:
                break
    return body.end(blocks.failure)


@contextmanager
def _closed_on_error(response: Any) -> Iterator[None]:
    try:
        yield
    except errors.MiniToolAIError:
        response.close()
        raise


def host_and_port(url: httpx.URL) -> tuple[str, int]:
    """Return a URL's host, as it is sent, and its port."""
    return url.raw_host.decode("ascii"), url.port or (443 if url.scheme == "https" else 80)
