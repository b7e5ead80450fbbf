"""The shell that acts in the calling thread: it runs flows and reads answers."""

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, TypeVar

import httpx

from langchain_minitoolai import errors
from langchain_minitoolai._body import blocks
from langchain_minitoolai._chat.stream import ChatCompletion, Delta
from langchain_minitoolai._http.body import AnswerIntake, BodyIntake
from langchain_minitoolai._http.deadline import Budget
from langchain_minitoolai._http.effects import Effect, Request, Response, Sleep, Workflow
from langchain_minitoolai._http.endpoint import Endpoint
from langchain_minitoolai._http.network import WIRE_FAILURES, failure_of

T = TypeVar("T")

DRAIN: Final = 0.05
"""Seconds to wait after `[DONE]` for the answer's last bytes, to keep the connection."""


class Client(Endpoint):
    """Runs flows in the calling thread; one instance serves any number of threads."""

    clock = staticmethod(time.monotonic)

    def run(self, flow: Workflow[T]) -> T:
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
                outcome = self._do(step)
            except Exception as caught:  # noqa: BLE001 - the flow decides what to do with it
                error = caught
            except BaseException:
                flow.close()  # now: a kept traceback would keep it, and what it holds
                raise

    def _do(self, step: Effect) -> Any:
        if isinstance(step, Request):
            return self._call(step)
        if isinstance(step, Sleep):
            return time.sleep(step.seconds)
        return step.run()

    def _call(self, call: Request) -> Response:
        budget = Budget(self.clock, call.timeout, call.deadline)
        try:
            client = self.network.client(fresh=call.new_connection)
            request = self.request(call, budget)
            response = client.send(request, auth=self.auth(call), stream=True)
        except WIRE_FAILURES as caught:
            failure = failure_of(caught, budget, place=self.place)
        else:
            return self._read(call, response, budget)
        raise failure

    def _read(self, call: Request, response: httpx.Response, budget: Budget) -> Response:
        if call.response_mode == "body" or response.status_code >= 300:
            with contextlib.closing(response):
                return self.reply(response, _body(response, budget))
        opened = OpenAnswer(response, budget, self.secret)
        if call.response_mode == "stream":
            return self.reply(response, answer=opened)
        pieces = [piece for some in opened for piece in some]
        return self.reply(response, answer=ChatCompletion(pieces, opened.reader))


def _body(response: httpx.Response, budget: Budget) -> bytes:
    intake = BodyIntake(response.status_code, response.headers)
    failure = None
    try:
        for raw in blocks(response, budget):
            intake.feed(raw)
            if intake.full:
                break
    except WIRE_FAILURES as caught:
        failure = failure_of(caught, budget, answering=True)
    return intake.end(failure)


class OpenAnswer:
    """A chat answer that is still coming; iterating gives its pieces and closes it.

    Attributes:
        reader: What was read so far.
    """

    def __init__(self, response: httpx.Response, budget: Budget, secret: str) -> None:
        """Take over an open response."""
        try:
            self._intake = AnswerIntake(response.headers, budget, secret)
        except errors.MiniToolAIError:
            response.close()
            raise
        self.reader = self._intake.reader
        self._response = response
        self._budget = budget
        self._failure: errors.MiniToolAIError | None = None

    def __iter__(self) -> Iterator[list[Delta]]:
        """Give the pieces as they come, some at a time.

        Raises:
            MiniToolAIError: If the answer breaks off, is none, or tells of an error.
        """
        blocks = self._blocks()
        try:
            for block in blocks:
                pieces = self._intake.feed(block)
                if pieces:
                    yield pieces
                    self.reader.raise_deferred()
                    self._budget.progress()  # the time spent out there does not count
                if self.reader.done:
                    self._budget.shorten(DRAIN)
                    deque(blocks, maxlen=0)
            yield self._intake.end(self._failure)
        finally:
            self._response.close()

    def _blocks(self) -> Iterator[bytes]:
        try:
            yield from blocks(self._response, self._budget)
        except WIRE_FAILURES as caught:
            self._failure = failure_of(caught, self._budget, answering=True)
