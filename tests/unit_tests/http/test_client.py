"""The calling thread's shell alone; what it shares with the other is tested with both."""

import threading

import httpx
import pytest

from langchain_minitoolai import errors
from langchain_minitoolai._http.client import DRAIN
from tests.unit_tests.shells import (
    DONE,
    STOP,
    WHOLE,
    Connecting,
    Exchange,
    SyncShell,
    call,
    delta,
    once,
    read,
    text_of,
)


def test_reading_stops_at_the_end_of_the_drain() -> None:
    exchange = Exchange([*WHOLE, DRAIN / 2, b"x", DRAIN / 2, b"y", b"z"])
    shell = SyncShell(exchange)
    answer = shell.run(once(call(response_mode="answer"))).answer
    assert text_of(answer.deltas) == "Alaska"
    assert exchange.read == len(WHOLE) + 3


def test_one_client_serves_several_threads() -> None:
    shell = SyncShell(Exchange([b"{}"]))
    statuses: list[int] = []
    threads = [
        threading.Thread(target=lambda: statuses.append(shell.run(once(call())).status))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 8


def test_an_answer_dropped_half_read_closes_its_response() -> None:
    exchange = Exchange([delta("a"), delta("b"), STOP, DONE])
    shell = SyncShell(exchange)
    for batch in shell.run(once(call(response_mode="stream"))).answer:
        assert batch == ["a"]
        break
    assert exchange.closed == 1


def test_an_interrupt_leaves_the_shell_and_closes_the_response() -> None:
    def items() -> list[bytes]:
        raise KeyboardInterrupt

    exchange = Exchange(item for item in [delta("a")] for _ in items())
    with pytest.raises(KeyboardInterrupt):
        SyncShell(exchange).run(once(call(response_mode="answer")))
    assert exchange.closed == 1


def test_an_answer_after_a_new_connection_that_breaks_is_not_stale() -> None:
    shell = SyncShell(Exchange([httpx.ReadError("x")], before=[Connecting]))
    answer = shell.run(once(call(response_mode="stream"))).answer
    with pytest.raises(errors.StreamInterruptedError) as raised:
        read(shell, answer)
    assert not raised.value.stale
