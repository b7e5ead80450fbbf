"""Deadline of one exchange: idle and total time limits."""

import pytest

from langchain_minitoolai._http.deadline import CONNECT_TIMEOUT, Deadline
from langchain_minitoolai.errors import APITimeoutError
from tests.unit_tests.fake_clients import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_time_runs_out_without_progress(clock: Clock) -> None:
    deadline = Deadline(clock, 9.0, None)
    clock.sleep(8.0)
    assert deadline.remaining() == 1.0
    deadline.check()
    clock.sleep(1.0)
    with pytest.raises(APITimeoutError, match="no progress for 9 s"):
        deadline.check()
    with pytest.raises(TimeoutError):
        deadline.remaining()


def test_progress_resets_the_idle_time_but_never_moves_the_total(clock: Clock) -> None:
    deadline = Deadline(clock, 9.0, clock() + 12.0)
    clock.sleep(8.0)
    deadline.reset_idle()
    assert deadline.remaining() == 4.0
    clock.sleep(4.0)
    with pytest.raises(APITimeoutError, match="total timeout"):
        deadline.check()


def test_a_total_that_has_passed_leaves_no_time(clock: Clock) -> None:
    deadline = Deadline(clock, 9.0, clock() - 1.0)
    for limits in (deadline.remaining, deadline.sync_extensions, deadline.async_extensions):
        with pytest.raises(TimeoutError):
            limits()


def test_a_cap_never_gives_more_time(clock: Clock) -> None:
    deadline = Deadline(clock, 9.0, None)
    deadline.cap(2.0)
    assert deadline.remaining() == 2.0
    clock.sleep(1.0)
    deadline.cap(5.0)
    assert deadline.remaining() == 1.0
    deadline.reset_idle()
    assert deadline.remaining() == 2.0
    assert deadline.timeout_message() == "the service made no progress for 2 s"


@pytest.mark.parametrize(
    ("idle", "connect"), [(60.0, CONNECT_TIMEOUT), (10.0, 9.95), (3.0, 2.95), (0.01, 0.001)]
)
def test_connecting_takes_ten_seconds_at_most_and_ends_before_the_exchange(
    clock: Clock, idle: float, connect: float
) -> None:
    deadline = Deadline(clock, idle, None)
    for extensions in (deadline.sync_extensions(), deadline.async_extensions()):
        assert extensions["timeout"]["connect"] == pytest.approx(connect)


def test_a_sync_request_has_numbers_and_a_function_that_counts_down(clock: Clock) -> None:
    extensions = Deadline(clock, 9.0, None).sync_extensions()
    assert extensions["timeout"] == pytest.approx(
        {"connect": 8.95, "read": 9.0, "write": 9.0, "pool": 9.0}
    )
    clock.sleep(4.0)
    assert extensions["remaining"]() == 5.0


def test_an_async_request_has_a_limit_for_connecting_alone(clock: Clock) -> None:
    extensions = Deadline(clock, 60.0, None).async_extensions()
    assert extensions == {"timeout": {"connect": 10.0, "read": None, "write": None, "pool": None}}
