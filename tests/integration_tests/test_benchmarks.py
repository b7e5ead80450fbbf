from collections.abc import Iterator

import pytest

from benchmarks.guard import measure
from benchmarks.measures import MEASURES
from benchmarks.rounds import Session
from benchmarks.soak import Callers, expected
from langchain_minitoolai import ChatMiniToolAI
from langchain_minitoolai.errors import APITimeoutError

SIZES = {
    "stream": 40,
    "astream": 40,
    "stream_paced": 5,
    "astream_paced": 5,
    "invoke": 2,
    "ainvoke": 2,
    "first_token": 2,
    "afirst_token": 2,
    "at_once_200": 3,
    "at_once_1000": 3,
    "open_stream": 3,
    "growth_objects": 8,
    "growth_sockets": 8,
    "growth_resident": 8,
}


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # the clients' imports are long
        with Session() as running:
            yield running


def test_every_measure_is_tested() -> None:
    assert SIZES.keys() == MEASURES.keys()


@pytest.mark.parametrize("name", SIZES)
def test_every_measure_gives_a_figure_for_the_chat_model_and_the_floor(
    session: Session, name: str
) -> None:
    clients = ["minitoolai", *MEASURES[name].floor]
    (figures,) = session.measure(name, clients, SIZES[name], 1)
    assert session.failures == {}
    assert figures.keys() == set(clients)
    if not name.startswith("growth"):
        assert all(value > 0 for value in figures.values())


def test_a_round_has_every_client_and_the_first_warms_up(session: Session) -> None:
    rounds = session.measure("invoke", ["core", "httpx"], 1, 2)
    assert [each.keys() for each in rounds] == [{"core", "httpx"}] * 2


def test_a_client_that_fails_is_reported_and_the_others_go_on(session: Session) -> None:
    (figures,) = session.measure("stream", ["unknown", "httpx"], 5, 1)
    assert figures.keys() == {"httpx"}
    assert session.failures.pop(("stream", "unknown")) == "KeyError: 'unknown'"


def test_the_guard_measures_ratios_to_the_floor(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.guard._ROUNDS", 1)
    ratios = measure(session, ["first_token"])
    assert ratios.keys() == {"first_token/minitoolai"}
    assert ratios["first_token/minitoolai"] > 0


@pytest.mark.parametrize(
    ("text", "how", "wrong"),
    [
        (expected("q"), "answered", False),
        (expected("q")[:-1], "answered", True),
        (expected("q")[:3], "cancelled", False),
        ("other words", "cancelled", True),
        (expected("q")[:3], APITimeoutError("late"), False),
        ("", ValueError("not one of ours"), True),
    ],
)
def test_the_soak_test_finds_wrong_answers_and_foreign_errors(
    text: str, how: str | Exception, *, wrong: bool
) -> None:
    callers = Callers(ChatMiniToolAI(api_key="x"), 0.0)
    callers._end("q", text, how)
    assert bool(callers.wrong) is wrong
    assert callers.ended.total() == 1
