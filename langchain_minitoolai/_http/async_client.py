"""Async HTTP client: effects performed and bodies read in the running event loop."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final, TypeVar, cast

from langchain_minitoolai import errors
from langchain_minitoolai._http.body import BoundedBody, StreamReader
from langchain_minitoolai._http.client import BaseClient
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
from langchain_minitoolai._http.pool import PooledClient
from langchain_minitoolai._http.transport import Deadline, ExchangeTrace

T = TypeVar("T")


class AsyncClient(BaseClient):
    """Performs workflows in the running event loop; one instance serves any number of loops."""

    async def execute(self, workflow: Workflow[T]) -> T:
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
                outcome = await self._perform(effect)
            except Exception as caught:  # noqa: BLE001 - the workflow decides what to do with it
                error = caught
            except BaseException:
                workflow.close()  # now: a kept traceback would keep it, and what it holds
                raise

    async def _perform(self, effect: Effect) -> Any:
        if isinstance(effect, Sleep):
            return await asyncio.sleep(effect.seconds)
        if isinstance(effect, Invoke):
            return await effect.arun()
        if isinstance(effect, Uninterrupted):
            return await self._run_uninterrupted(effect)
        if isinstance(effect, Resolve):
            return await self._resolve(effect)
        return await self._exchange(effect)

    async def _run_uninterrupted(self, effect: Uninterrupted[T]) -> T:
        """Run a workflow in a task of its own, which outlives a cancelled call."""

        async def run() -> tuple[T | None, Exception | None]:
            try:
                return await self.execute(effect.start(lambda: effect.cancelled)), None
            except Exception as error:  # noqa: BLE001 - the waiting task raises it, if there is one
                return None, error

        task = _DetachedTask(run(), loop=asyncio.get_running_loop())
        _detached.add(task)
        task.add_done_callback(_detached.discard)
        try:
            result, error = await asyncio.shield(task)
        except asyncio.CancelledError:
            effect.cancelled = True
            raise
        if error is not None:
            raise error
        return cast("T", result)

    async def _resolve(self, effect: Resolve) -> list[str] | None:
        deadline = Deadline(self.clock, effect.timeout, effect.deadline)
        try:
            async with asyncio.timeout(deadline.remaining()):
                return await asyncio.to_thread(self._look_up, effect.url, is_async=True)
        except Exception as caught:  # noqa: BLE001 - whatever is no URL, too
            failure = self._failure(effect, caught, deadline)
        raise failure

    async def _exchange(self, effect: Request | Download) -> Response:
        deadline, trace = self._deadline(effect), ExchangeTrace()
        try:
            origin, new_connection = self._route(effect)
            pooled = await self.pool.async_client(origin, new_connection=new_connection)
            extensions = {"trace": trace.arecord, **deadline.async_extensions()}
            request, options = self._prepare(pooled.client, effect, extensions)
            exchange = AsyncExchange(pooled, deadline, trace)
            await exchange.send(request, options)
        except Exception as caught:  # noqa: BLE001 - whatever a transport raises
            failure = self._failure(effect, caught, deadline, trace)
        else:
            return await self._read(effect, exchange)
        raise failure

    async def _read(self, effect: Request | Download, exchange: "AsyncExchange") -> Response:
        response = exchange.response
        try:
            reader = self._reader(effect, response, exchange.deadline)
        except errors.MiniToolAIError:
            await exchange.aclose()
            raise
        head = response.status_code, response.headers
        if isinstance(reader, BoundedBody):
            return Response(*head, await exchange.read(reader))
        stream = exchange.parse(reader)
        if isinstance(effect, StreamRequest) and not effect.collect:
            return StreamResponse(*head, reader=reader.parser, stream=stream)
        items = [item async for batch in stream for item in batch]
        return StreamResponse(*head, reader=reader.parser, items=items)


class _DetachedTask(asyncio.Task[T]):
    """A task that only its own timers cancel.

    Other tasks can't, nor can the end of `asyncio.run`, which then waits for it.
    """

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the task, if a timer or the task itself asks for that."""
        loop = self.get_loop()
        if not loop.is_running() or asyncio.current_task(loop) not in (None, self):
            return False
        return super().cancel(msg)


_detached: Final[set[asyncio.Task[Any]]] = set()  # a loop holds its tasks weakly


class AsyncExchange:
    """One async request and its response, timed and closed in the task that awaits them.

    `asyncio.timeout` belongs to one task, but an iterator may change tasks between two items, as
    LangChain's own streams do, and opening one for each block costs more than reading it.

    Attributes:
        deadline: The time that is left.
        response: The response, once its head has come.
        failure: What ended its body, if not the server.
    """

    response: Any

    def __init__(self, pooled: PooledClient, deadline: Deadline, trace: ExchangeTrace) -> None:
        """Start before the request."""
        self.deadline = deadline
        self.failure: errors.MiniToolAIError | None = None
        self._trace = trace
        self._pooled = pooled
        self._blocks: Any = None
        self._is_whole = self._is_closed = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_limit = 0.0
        self._waiting: asyncio.Task[Any] | None = None
        self._expired = False

    async def send(self, request: Any, options: Mapping[str, Any]) -> None:
        """Send the request and wait for the head of the response."""
        self._pooled.in_flight += 1
        try:
            self.response = await self.wait(lambda: self._pooled.client.send(request, **options))
        except BaseException:
            self._release()
            if self._trace.connection is not None:
                # httpcore forgets a connection that is cancelled before its first request.
                await self._trace.connection.aclose()
            raise
        self._blocks = aiter(self.response.stream)

    def _release(self) -> None:
        self._pooled.end_call(lost=self._trace.lost)
        self._stop_timer()

    async def wait(self, step: Callable[[], Awaitable[T]]) -> T:
        """Await one step of the exchange until its deadline.

        Raises:
            TimeoutError: If the deadline passes first.
        """
        self._start_timer()
        self._waiting = task = cast("asyncio.Task[Any]", asyncio.current_task())
        cancelling = task.cancelling()
        try:
            outcome = await step()
        except BaseException as caught:
            self._waiting = None
            timed_out = self._expired and task.uncancel() <= cancelling
            if timed_out and isinstance(caught, asyncio.CancelledError):
                raise TimeoutError from None
            raise
        self._waiting = None
        if self._expired:  # the step took the cancellation for one of its own
            task.uncancel()
            raise TimeoutError
        return outcome

    def _start_timer(self) -> None:
        left = self.deadline.remaining()
        if self._timer is None or self.deadline.limit < self._timer_limit:
            self._stop_timer()
            self._timer_limit = self.deadline.limit
            self._timer = asyncio.get_running_loop().call_later(left, self._expire)

    def _expire(self) -> None:
        self._timer = None
        if self._waiting is None:
            return  # the consumer is busy; the next wait starts the timer
        try:
            self._start_timer()  # the deadline has moved since
        except TimeoutError:
            self._expired = True
            self._waiting.cancel()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def __aiter__(self) -> "AsyncExchange":
        """Iterate over the raw blocks of the body; a connection error ends them and is kept."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next block."""
        try:
            return cast("bytes", await self.wait(self._blocks.__anext__))
        except StopAsyncIteration:
            self._is_whole = True
            raise
        except Exception as caught:  # noqa: BLE001 - whatever a transport raises
            self.failure = map_transport_error(caught, self.deadline, headers_received=True)
        raise StopAsyncIteration

    async def read(self, body: BoundedBody) -> bytes:
        """Read the body in one piece, as far as it is wanted, and close it."""
        async with aclosing(self):
            while not body.truncated and (block := await anext(self, None)) is not None:
                body.feed(block)
        return body.end(self.failure)

    async def parse(self, reader: StreamReader[Any]) -> AsyncGenerator[list[Any]]:
        """Yield what a parser makes of the body, some items at a time, and close it at the end.

        Raises:
            MiniToolAIError: If the body breaks off, is incomplete, or reports an error.
        """
        async with aclosing(self):
            async for block in self:
                items = reader.feed(block)
                if items:
                    yield items
                    reader.consumed()
            yield reader.end(self.failure)

    async def aclose(self) -> None:
        """Give the connection back, or close it; another cancellation can't prevent that."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            await self._blocks.aclose()
            await self.response.aclose()
        finally:
            self._release()
            connection = self.response.extensions.get("network_stream")
            if connection is not None and not self._is_whole:
                await connection.aclose()
