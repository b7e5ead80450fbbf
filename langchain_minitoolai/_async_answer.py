"""A chat answer that is read ahead in the running event loop, and how its task is ended."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, TypeAlias

from langchain_minitoolai._chat.stream import ChatStreamParser, Delta
from langchain_minitoolai._http.body import AnswerIntake
from langchain_minitoolai._http.effects import Response

Exchange: TypeAlias = Coroutine[Any, Any, Response]

_AHEAD: Final = 64
"""The blocks that an open answer may be ahead of the one who takes them."""


async def settle(task: asyncio.Task[Any]) -> None:
    """Cancel a task that is not done, once, and wait for what it does about it."""
    if not task.done():
        if not task.cancelling():
            task.cancel()
        await asyncio.wait((task,))


def forgive(done: asyncio.Future[Any]) -> None:
    """Keep a failure that nobody asks for any more off stderr."""
    if not done.cancelled():
        done.exception()


class AsyncOpenAnswer:
    """A chat answer that is still coming, read ahead by a task of its own.

    Iterating gives its pieces and ends the task.

    Attributes:
        reader: What was read so far.
    """

    reader: ChatStreamParser

    def __init__(self, exchange: Callable[["AsyncOpenAnswer"], Exchange]) -> None:
        """Start the exchange.

        Args:
            exchange: Makes it, start to end, with this object to take the pieces.
        """
        self._loop = asyncio.get_running_loop()
        self._pieces: deque[list[Delta]] = deque()
        self._opened: asyncio.Future[Response] = self._loop.create_future()
        self._opened.add_done_callback(forgive)
        self._news: asyncio.Future[None] | None = None
        self._taken: asyncio.Future[None] | None = None
        self._task = self._loop.create_task(exchange(self))
        self._task.add_done_callback(self._ended)

    async def open(self) -> Response:
        """Wait for the reply; its `answer` is this object if there is an answer to read.

        Raises:
            MiniToolAIError: If no reply came.
        """
        try:
            return await self._opened
        except asyncio.CancelledError:
            await settle(self._task)
            raise

    def start(self, reply: Response, intake: AnswerIntake) -> None:
        """Note that the reply came and its answer begins."""
        self.reader = intake.reader
        if not self._opened.done():
            self._opened.set_result(reply)

    def put(self, pieces: list[Delta]) -> bool:
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

    def _ended(self, task: asyncio.Task[Response]) -> None:
        failure = None if task.cancelled() else task.exception()
        if self._opened.done():
            self._wake()
        elif task.cancelled():
            self._opened.cancel()
        elif failure is not None:
            self._opened.set_exception(failure)
        else:
            self._opened.set_result(task.result())

    async def __aiter__(self) -> AsyncIterator[list[Delta]]:
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
            yield self._task.result().answer.deltas
        finally:
            await settle(self._task)
