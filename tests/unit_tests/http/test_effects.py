"""What goes over the wire, before it does."""

from dataclasses import FrozenInstanceError

import pytest

from langchain_minitoolai._http.effects import Request, Response, Sleep


def test_a_call_asks_for_a_body_with_the_key_over_any_connection() -> None:
    call = Request("/x/", {})
    assert (call.timeout, call.deadline, call.response_mode) == (60.0, None, "body")
    assert (call.send_auth, call.new_connection) == (True, False)


def test_what_a_user_wrote_is_in_no_repr() -> None:
    assert "private" not in repr(Request("/x/", {"messages": "private"}))


def test_what_was_said_stays_said() -> None:
    for thing, name in (
        (Request("/x/", {}), "path"),
        (Response(200, {}), "status"),
        (Sleep(1), "seconds"),
    ):
        with pytest.raises(FrozenInstanceError):
            setattr(thing, name, None)


def test_a_reply_is_empty_until_it_is_read() -> None:
    assert (Response(200, {}).body, Response(200, {}).answer) == (b"", None)
