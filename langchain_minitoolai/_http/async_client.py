"""The shell that acts in the running event loop: the other one's twin, with `await`."""

import asyncio
import contextlib
import time
from functools import partial
from typing import Any, Final, TypeVar

import httpx

from langchain_minitoolai import errors
from langchain_minitoolai._aiohttp import lend
from langchain_minitoolai._async_answer import AsyncOpenAnswer, forgive, settle
from langchain_minitoolai._body import ablocks
from langchain_minitoolai._chat.stream import ChatCompletion, Delta
from langchain_minitoolai._http.body import AnswerIntake, BodyIntake
from langchain_minitoolai._http.client import DRAIN
from langchain_minitoolai._http.deadline import Budget
from langchain_minitoolai._http.effects import Effect, Request, Response, Sleep, Workflow
from langchain_minitoolai._http.endpoint import Endpoint
from langchain_minitoolai._http.network import failure_of, wire_failures

T = TypeVar("T")

_SLACK: Final = 0.02
"""Seconds by which a time limit may be too early."""


class AsyncClient(Endpoint):
    """Runs flows in the running event loop; one instance serves any number of loops.

    Whatever touches the wire does so in a task of its own, which is cancelled at most once:
    httpcore then always gets to give its connection back.
    """

    clock = staticmethod(time.monotonic)

    async def run(self, flow: Workflow[T]) -> T:
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

    async def _do(self, step: Effect) -> Any:
        if isinstance(step, Request):
            if step.response_mode == "stream":
                return await AsyncOpenAnswer(partial(self.perform, step)).open()
            task = asyncio.create_task(self.perform(step))
            task.add_done_callback(forgive)
            try:
                await asyncio.wait((task,))
            finally:
                await settle(task)
            return task.result()
        if isinstance(step, Sleep):
            return await asyncio.sleep(step.seconds)
        return await step.arun()

    async def perform(self, call: Request, opened: AsyncOpenAnswer | None = None) -> Response:
        """Make one exchange, start to end.

        Args:
            call: What to send.
            opened: Takes the pieces of an answer as they come.
        """
        budget = Budget(self.clock, call.timeout, call.deadline)
        response = None
        shard = await self.network.loop_clients().shard(fresh=call.new_connection)
        shard.busy += 1
        try:
            async with asyncio.timeout(budget.left()):
                request = self.request(call, budget)
                if self.network.route.aiohttp:
                    lend(request, budget)
                response = await shard.client.send(request, auth=self.auth(call), stream=True)
            if call.response_mode == "body" or response.status_code >= 300:
                return self.reply(response, await _abody(response, budget))
            return await self._answer(response, budget, opened)
        except wire_failures(budget) as caught:
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
        self, response: httpx.Response, budget: Budget, opened: AsyncOpenAnswer | None
    ) -> Response:
        intake = AnswerIntake(response.headers, budget, self.secret)
        pieces: list[Delta] = []
        if opened is not None:
            opened.start(self.reply(response, answer=opened), intake)
        offset = asyncio.get_running_loop().time() - self.clock()  # between the two clocks
        started = False
        failure: errors.MiniToolAIError | None = None
        try:
            async with (
                asyncio.timeout(budget.left()) as timeout,
                contextlib.aclosing(ablocks(response)) as blocks,
            ):
                async for raw in blocks:
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
                    intake.reader.raise_deferred()
                    if intake.reader.done:
                        budget.shorten(DRAIN)
                    _extend(timeout, budget.limit + offset)
        except wire_failures(budget) as caught:
            failure = failure_of(caught, budget, answering=True)
        pieces += intake.end(failure)
        return self.reply(response, answer=ChatCompletion(pieces, intake.reader))


def _extend(timeout: asyncio.Timeout, then: float) -> None:
    when = timeout.when()
    # Moving a timer costs as much as reading a block: a little too early will do.
    if when is None or then < when or then > when + _SLACK:
        timeout.reschedule(then)


async def _abody(response: httpx.Response, budget: Budget) -> bytes:
    intake = BodyIntake(response.status_code, response.headers)
    failure = None
    try:
        async with (
            asyncio.timeout(budget.left()),
            contextlib.aclosing(ablocks(response)) as blocks,
        ):
            async for raw in blocks:
                intake.feed(raw)
                if intake.full:
                    break
    except wire_failures(budget) as caught:
        failure = failure_of(caught, budget, answering=True)
    return intake.end(failure)
