from collections.abc import Iterator

import pytest

from benchmarks.measures import MEASURES, Effort
from benchmarks.session import Session

NAMED = {measure.name: measure for measure in MEASURES}
SIZES = {
    "invoke_1": 2,
    "ainvoke_200": 1,
    "stream": 40,
    "astream_16": 40,
    "astream_paced": 5,
    "afirst_token": 2,
    "astream_once_50": 3,
    "batch": 3,
    "open_streams": 3,
    "growth": 8,
}


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with Session() as running:
        yield running


@pytest.mark.parametrize("name", SIZES)
def test_the_chat_model_and_the_floors_answer_rightly_in_every_kind_of_measure(
    session: Session, name: str
) -> None:
    targets = [t for t in ("ours", "raw", "httpx", "core") if t in NAMED[name].targets]
    (only,) = session.measure(NAMED[name], Effort(SIZES[name], 1), targets)
    assert session.failures == []
    assert set(only) == set(targets)
    for rows in only.values():
        assert all(sample.get("wrong", 0) == 0 for sample in rows.values())


def test_a_target_that_fails_is_told_and_the_others_go_on(session: Session) -> None:
    (only,) = session.measure(NAMED["stream_16"], Effort(0, 1), ["raw"])
    assert only == {}
    failure = session.failures.pop()
    assert (failure.target, failure.measure) == ("raw", "stream_16")
    assert "ZeroDivisionError" in failure.reason
