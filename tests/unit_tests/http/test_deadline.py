"""The time that an exchange has left."""

import pytest

from langchain_minitoolai._http.deadline import CONNECT_TIMEOUT, Budget
from langchain_minitoolai.errors import APITimeoutError
from tests.unit_tests.shells import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_time_runs_out_without_progress(clock: Clock) -> None:
    budget = Budget(clock, 9.0, None)
    clock.sleep(8.0)
    assert budget.left() == 1.0
    budget.check()
    clock.sleep(1.0)
    with pytest.raises(APITimeoutError, match="no progress for 9 s"):
        budget.check()
    with pytest.raises(TimeoutError):
        budget.left()
    clock.sleep(1.0)


def test_progress_gives_the_time_anew_but_never_beyond_the_deadline(clock: Clock) -> None:
    budget = Budget(clock, 9.0, clock() + 12.0)
    clock.sleep(8.0)
    budget.progress()
    assert budget.left() == 4.0
    clock.sleep(4.0)
    with pytest.raises(APITimeoutError, match="total timeout"):
        budget.check()


def test_a_deadline_that_has_passed_leaves_no_time(clock: Clock) -> None:
    with pytest.raises(TimeoutError):
        Budget(clock, 9.0, clock() - 1.0).left()


def test_what_is_shortened_never_gets_longer(clock: Clock) -> None:
    budget = Budget(clock, 9.0, None)
    budget.shorten(2.0)
    assert budget.left() == 2.0
    clock.sleep(1.0)
    budget.shorten(5.0)
    assert budget.left() == 1.0
    budget.progress()
    assert budget.left() == 2.0


def test_connecting_takes_ten_seconds_at_most(clock: Clock) -> None:
    budget = Budget(clock, 60.0, None)
    assert budget.to_connect() == CONNECT_TIMEOUT == 10.0
    clock.sleep(4.0)
    assert budget.to_connect() == 6.0
    clock.sleep(7.0)
    assert budget.to_connect() == pytest.approx(0.001)


def test_connecting_takes_no_longer_than_the_time_that_is_left(clock: Clock) -> None:
    budget = Budget(clock, 3.0, None)
    assert budget.to_connect() == 3.0
    clock.sleep(3.0)
    with pytest.raises(TimeoutError):
        budget.to_connect()


def test_a_budget_knows_whether_its_connection_is_new_and_stands(clock: Clock) -> None:
    budget = Budget(clock, 60.0, None)
    assert (budget.fresh, budget.connecting) == (False, False)
    budget.to_connect()
    assert (budget.fresh, budget.connecting) == (True, True)
    budget.connected()
    assert (budget.fresh, budget.connecting) == (True, False)


def test_the_network_is_given_the_budget_and_the_pool_a_number(clock: Clock) -> None:
    budget = Budget(clock, 9.0, None)
    timeout = budget.extensions()["timeout"]
    assert timeout == {"connect": budget, "read": budget, "write": budget, "pool": 9.0}


def test_a_network_that_knows_no_budgets_is_given_numbers(clock: Clock) -> None:
    for idle, connect in ((60.0, CONNECT_TIMEOUT), (9.0, 9.0)):
        budget = Budget(clock, idle, None)
        assert not budget.foreign
        timeout = budget.numbers()["timeout"]
        assert timeout == {"connect": connect, "read": None, "write": None, "pool": None}
        assert budget.foreign
