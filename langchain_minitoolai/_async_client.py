"""The shell that acts in the running event loop: the other one's twin, with `await`."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, Final, TypeVar, cast

import httpx

from langchain_minitoolai import errors
from langchain_minitoolai._answers import Answer, AnswerReader, Piece
from langchain_minitoolai._budget import Budget
from langchain_minitoolai._client import DRAIN
from langchain_minitoolai._endpoint import Endpoint
from langchain_minitoolai._intake import AnswerIntake, BodyIntake
from langchain_minitoolai._network import WIRE_FAILURES, failure_of
from langchain_minitoolai._wire import Call, Flow, Reply, Sleep, Step

T = TypeVar("T")

_SLACK: Final = 0.02
"""Seconds by which a time limit may be too early."""
_AHEAD: Final = 64
"""The blocks that an open answer may be ahead of the one who takes them."""


class AsyncClient(Endpoint):
    """Runs flows in the running event loop; one instance serves any number of loops.

    Whatever touches the wire does so in a task of its own, which is cancelled at most once:
    httpcore then always gets to give its connection back.
    """

    clock = staticmethod(time.monotonic)

    async def run(self, flow: Flow[T]) -> T:
        """Do what a flow asks for until it returns.

        Raises:
            Exception: What the flow raises.
        """
        outcome, error = None, None
        while True:
            try:
                step = flow.send(outcome) if error is None else flow.throw(error)
            except StopIteration as stop:
                result: T = stop.value
                return result
            except errors.MiniToolAIError as failed:
                raise failed.redact(self.secret) from None
            outcome, error = None, None
            try:
                outcome = await self._do(step)
            except Exception as caught:  # noqa: BLE001 - the flow decides what to do with it
                error = caught
            except BaseException:
                flow.close()  # now: a kept traceback would keep it, and what it holds
                raise

    async def _do(self, step: Step) -> Any:
        if isinstance(step, Call):
            if step.reads == "stream":
                return await AsyncOpenAnswer(self, step).open()
            task = asyncio.create_task(self.perform(step))
            task.add_done_callback(_forgive)
            try:
                await asyncio.wait((task,))
            finally:
                await _settle(task)
            return task.result()
        if isinstance(step, Sleep):
            return await asyncio.sleep(step.seconds)
        return await step.arun()

    async def perform(self, call: Call, opened: "AsyncOpenAnswer | None" = None) -> Reply:
        """Make one exchange, start to end.

        Args:
            call: What to send.
            opened: Takes the pieces of an answer as they come.
        """
        budget = Budget(self.clock, call.timeout, call.deadline)
        response = None
        shard = await self.network.loop_clients().shard(fresh=call.fresh)
        shard.busy += 1
        try:
            async with asyncio.timeout(budget.left()):
                request = self.request(call, budget)
                if self.network.route.aiohttp:
                    request.extensions.update(budget.numbers())
                    request.read()
                response = await shard.client.send(request, auth=self.auth(call), stream=True)
            if call.reads == "body" or response.status_code >= 300:
                return self.reply(response, await _abody(response, budget))
            return await self._answer(response, budget, opened)
        except WIRE_FAILURES as caught:
            failure = failure_of(caught, budget, place=self.place)
        finally:
            shard.busy -= 1
            if response is not None:
                await response.aclose()
            elif budget.made is not None:
                # httpcore forgets a connection that is cancelled before its first request.
                await budget.made.aclose()
        raise failure

    async def _answer(
        self, response: httpx.Response, budget: Budget, opened: "AsyncOpenAnswer | None"
    ) -> Reply:
        intake = AnswerIntake(response.headers, budget, self.secret)
        pieces: list[Piece] = []
        if opened is not None:
            opened.start(self.reply(response, answer=opened), intake)
        offset = asyncio.get_running_loop().time() - self.clock()  # between the two clocks
        started = False
        failure: errors.MiniToolAIError | None = None
        try:
            async with asyncio.timeout(budget.left()) as timeout:
                async for raw in _stream(response):
                    some = intake.feed(raw)
                    if opened is None:
                        pieces += some
                    elif some and opened.put(some):
                        timeout.reschedule(None)  # the one who takes them is behind
                        await opened.room()
                        budget.progress()
                    elif some and not started:
                        started = True
                        await asyncio.sleep(0)  # so that the first piece is seen at once
                    if intake.reader.done:
                        budget.shorten(DRAIN)
                    _extend(timeout, budget.limit + offset)
        except WIRE_FAILURES as caught:
            failure = failure_of(caught, budget, answering=True)
        pieces += intake.end(failure)
        return self.reply(response, answer=Answer(pieces, intake.reader))


def _stream(response: httpx.Response) -> httpx.AsyncByteStream:
    # What iterating the response adds, decoding and counting, is done elsewhere or not needed.
    return cast("httpx.AsyncByteStream", response.stream)


def _extend(timeout: asyncio.Timeout, then: float) -> None:
    when = timeout.when()
    # Moving a timer costs as much as reading a block: a little too early will do.
    if when is None or then < when or then > when + _SLACK:
        timeout.reschedule(then)


async def _abody(response: httpx.Response, budget: Budget) -> bytes:
    intake = BodyIntake(response.status_code, response.headers)
    failure = None
    try:
        async with asyncio.timeout(budget.left()):
            async for raw in _stream(response):
                intake.feed(raw)
                if intake.full:
                    break
    except WIRE_FAILURES as caught:
        failure = failure_of(caught, budget, answering=True)
    return intake.end(failure)


async def _settle(task: asyncio.Task[Any]) -> None:
    """Cancel a task that is not done, once, and wait for what it does about it."""
    if not task.done():
        if not task.cancelling():
            task.cancel()
        await asyncio.wait((task,))


def _forgive(done: asyncio.Future[Any]) -> None:
    """Keep a failure that nobody asks for any more off stderr."""
    if not done.cancelled():
        done.exception()


class AsyncOpenAnswer:
    """A chat answer that is still coming, read ahead by a task of its own.

    Iterating gives its pieces and ends the task.

    Attributes:
        reader: What was read so far.
    """

    reader: AnswerReader

    def __init__(self, client: AsyncClient, call: Call) -> None:
        """Start the exchange."""
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[list[Piece]] = deque()
        self._opened: asyncio.Future[Reply] = self._loop.create_future()
        self._opened.add_done_callback(_forgive)
        self._news: asyncio.Future[None] | None = None
        self._taken: asyncio.Future[None] | None = None
        self._task = self._loop.create_task(client.perform(call, self))
        self._task.add_done_callback(self._ended)

    async def open(self) -> Reply:
        """Wait for the reply; its `answer` is this object if there is an answer to read.

        Raises:
            MiniToolAIError: If no reply came.
        """
        try:
            return await self._opened
        except asyncio.CancelledError:
            await _settle(self._task)
            raise

    def start(self, reply: Reply, intake: AnswerIntake) -> None:
        """Note that the reply came and its answer begins."""
        self.reader = intake.reader
        if not self._opened.done():
            self._opened.set_result(reply)

    def put(self, pieces: list[Piece]) -> bool:
        """Hand pieces over; say whether `room` must be awaited before the next."""
        self._pieces.append(pieces)
        self._wake()
        return len(self._pieces) >= _AHEAD

    async def room(self) -> None:
        """Wait until some of the pieces were taken."""
        self._taken = self._loop.create_future()
        await self._taken

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def _ended(self, task: asyncio.Task[Reply]) -> None:
        failure = None if task.cancelled() else task.exception()
        if self._opened.done():
            self._wake()
        elif task.cancelled():
            self._opened.cancel()
        elif failure is not None:
            self._opened.set_exception(failure)
        else:
            self._opened.set_result(task.result())

    async def __aiter__(self) -> AsyncIterator[list[Piece]]:
        """Give the pieces as they come, some at a time.

        Raises:
            MiniToolAIError: If the answer breaks off, is none, or tells of an error.
        """
        try:
            while self._pieces or not self._task.done():
                if self._pieces:
                    some = self._pieces.popleft()
                    while self._pieces:
                        some += self._pieces.popleft()
                    yield some
                    if self._taken is not None and not self._taken.done():
                        self._taken.set_result(None)
                else:
                    self._news = self._loop.create_future()
                    await self._news
            yield self._task.result().answer.pieces
        finally:
            await _settle(self._task)
