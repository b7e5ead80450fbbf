"""Effects of the workflows: plain data."""

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from langchain_minitoolai._http.effects import (
    Download,
    Invoke,
    Request,
    Resolve,
    Response,
    Sleep,
    StreamRequest,
    StreamResponse,
)
from tests.unit_tests.fake_clients import DeltaReader


async def aclose() -> None:
    """Do nothing, asynchronously."""


DOWNLOAD = Download("https://a.test/", 9, timeout=1.0, deadline=2.0)


def test_a_request_has_the_key_and_may_use_any_connection() -> None:
    request = Request("/x/", {})
    assert (request.timeout, request.deadline) == (60.0, None)
    assert (request.send_auth, request.new_connection) == (True, False)


def test_a_stream_request_is_a_request_whose_stream_is_collected() -> None:
    request: StreamRequest[DeltaReader] = StreamRequest("/x/", {}, reader=DeltaReader)
    assert isinstance(request, Request)
    assert request.collect
    assert replace(request, new_connection=True).reader is DeltaReader


def test_what_a_user_wrote_is_in_no_repr() -> None:
    body = {"messages": "private"}
    for request in (Request("/x/", body), StreamRequest("/x/", body, reader=DeltaReader)):
        assert "private" not in repr(request)


@pytest.mark.parametrize(
    ("effect", "name"),
    [
        (Request("/x/", {}), "path"),
        (DOWNLOAD, "url"),
        (Resolve("https://a.test/", 1.0, 2.0), "url"),
        (Response(200, {}), "status"),
        (Sleep(1), "seconds"),
        (Invoke(dict, aclose), "run"),
    ],
)
def test_effects_and_outcomes_never_change(effect: Any, name: str) -> None:
    with pytest.raises(FrozenInstanceError):
        setattr(effect, name, None)


def test_a_response_is_empty_until_it_is_read() -> None:
    assert (Response(200, {}).body, Response(200, {}).attempts) == (b"", 1)


def test_a_stream_response_keeps_its_stream_when_attempts_are_counted() -> None:
    reader, stream = DeltaReader(), iter([["a"]])
    response = replace(StreamResponse(200, {}, reader=reader, stream=stream), attempts=3)
    assert isinstance(response, Response)
    assert (response.stream, response.reader, response.attempts) == (stream, reader, 3)
    assert response.items == []
