"""A chat answer: its forms, its pieces, and whether it is complete."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai import errors
from langchain_minitoolai._chat.stream import AnswerReader, Piece
from langchain_minitoolai._http.error_mapping import MAX_DOCUMENT, MAX_PAGE
from langchain_minitoolai._http.sse import MAX_EVENT
from tests.unit_tests.fake_clients import COMMENT, DONE, STOP, USAGE, WHOLE, delta, event, text_of

STREAM = b"".join(WHOLE)
CALL = {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}}


def read(*blocks: bytes, secret: str = "") -> tuple[list[Piece], AnswerReader]:
    reader = AnswerReader(secret)
    pieces = [piece for block in blocks for piece in reader.feed(block)]
    return pieces + reader.end(), reader


def text(*blocks: bytes) -> str:
    return text_of(read(*blocks)[0])


def failure(*blocks: bytes, secret: str = "") -> errors.MiniToolAIError:
    with pytest.raises(errors.MiniToolAIError) as raised:
        read(*blocks, secret=secret)
    assert raised.value.status_code == 200
    return raised.value


# --- Whole answers ----------------------------------------------------------------------


def test_an_answer_is_its_pieces_and_what_the_service_said_beside_them() -> None:
    pieces, reader = read(*WHOLE)
    assert pieces == ["Ala", "ska"]
    assert reader.info == {"id": "chatcmpl-1", "model": "gpt-4o-mini-2024-07-18"}
    assert (reader.finish_reason, reader.usage) == ("stop", {"total_tokens": 20})
    assert (reader.done, reader.complete, reader.events) == (True, True, 4)


def test_the_documented_stream_is_read() -> None:
    start = {
        "id": "chatcmpl-B5q",
        "object": "chat.completion.chunk",
        "created": 1740734359,
        "model": "gpt-4o-mini-2024-07-18",
        "service_tier": "default",
        "system_fingerprint": "fp_06737a9306",
    }

    def chunk(content: dict[str, str], finish: str | None) -> bytes:
        choice = {"index": 0, "delta": content, "logprobs": None, "finish_reason": finish}
        return event({**start, "choices": [choice], "usage": None})

    usage = {"prompt_tokens": 17, "completion_tokens": 3, "total_tokens": 20}
    last = event({**start, "choices": [], "usage": usage})
    blocks = [chunk({"content": "Ok"}, None), chunk({"content": "."}, None), chunk({}, "stop")]
    pieces, reader = read(*blocks, last, DONE)
    assert pieces == ["Ok", "."]
    assert reader.usage == usage
    told = ("id", "model", "service_tier", "system_fingerprint")
    assert reader.info == {name: start[name] for name in told}


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_an_answer_may_be_cut_into_packets_anywhere(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(STREAM)]
    blocks = [STREAM[a:b] for a, b in pairwise(edges)]
    assert text(*blocks) == "Alaska"


def test_an_answer_may_come_byte_by_byte() -> None:
    assert text(*[bytes([byte]) for byte in STREAM]) == "Alaska"


def test_either_end_is_enough() -> None:
    assert text(delta("a"), STOP) == "a"
    assert text(delta("a"), DONE) == "a"
    assert text(delta("a"), b"data: [DONE]") == "a"
    assert text(delta("a"), b"data:  [DONE] \n\n") == "a"


def test_nothing_counts_after_the_end() -> None:
    reader = AnswerReader()
    assert reader.feed(DONE + delta("x")) == []
    assert reader.feed(delta("x") + b"junk") == []
    assert reader.events == 0


def test_refusals_are_text_and_tool_calls_are_pieces() -> None:
    chunk = event({"choices": [{"delta": {"refusal": "No.", "tool_calls": [CALL, None, 3]}}]})
    assert read(chunk, STOP)[0] == ["No.", [CALL]]


def test_an_event_like_the_one_before_it_but_for_its_text_may_have_none() -> None:
    pieces, reader = read(delta("a"), delta(""), delta("b"), delta(""), STOP)
    assert pieces == ["a", "b"]
    assert reader.events == 5


def test_what_follows_a_piece_of_a_call_is_read_whole() -> None:
    call = event({"choices": [{"delta": {"content": "x", "tool_calls": [CALL]}}]})
    assert read(call, delta("a"), call, STOP)[0] == ["x", [CALL], "a", "x", [CALL]]


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": None},
        {"choices": []},
        {"choices": {}},
        {"choices": [None]},
        {"choices": [{}]},
        {"choices": [{"delta": None}]},
        {"choices": [{"delta": []}]},
        {"choices": [{"delta": {"content": None}}]},
        {"choices": [{"delta": {"content": ["x"]}}]},
        {"choices": [{"delta": {"content": "", "tool_calls": []}}]},
        {"choices": [{"delta": {"tool_calls": "x"}}]},
        {"usage": 7},
        {"error": None, "status": "success"},
        {"status": "processing"},
        {"id": None},
        {},
    ],
)
def test_what_holds_no_piece_is_skipped(chunk: dict[str, Any]) -> None:
    assert text(delta("a"), event(chunk), delta("b"), STOP) == "ab"


def test_comments_and_other_fields_are_no_events() -> None:
    _, reader = read(COMMENT, b"retry: 3\n\n", b"id: 1\nevent: x\n\n", delta("a"), STOP)
    assert reader.events == 2


def test_bad_utf_8_is_replaced_and_rare_line_ends_are_text() -> None:
    bad = b'data: {"choices": [{"delta": {"content": "caf\xe9 \xe2\x80\xa8\xc2\x85"}}]}\n\n'
    assert text(bad, STOP) == "caf� \u2028\x85"


def test_an_answer_without_text_is_an_answer() -> None:
    assert text(STOP, DONE) == ""


# --- Incomplete answers ---------------------------------------------------------------


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b"event: message\n", b"id: 7\n", COMMENT])
def test_an_answer_cut_anywhere_before_its_end_is_interrupted(start: bytes) -> None:
    stream = start + delta("Ala") + delta("ska")
    for cut in range(len(stream)):
        assert type(failure(stream[:cut])) is errors.StreamInterruptedError
        assert type(failure(*[stream[at : at + 1] for at in range(cut)])) is (
            errors.StreamInterruptedError
        )


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n", b": hi\n\n", b"retry: 3000\n\n"])
def test_an_answer_of_nothing_is_interrupted(body: bytes) -> None:
    assert type(failure(body)) is errors.StreamInterruptedError


@pytest.mark.parametrize("blocks", [[DONE], [USAGE, DONE], [event({"choices": None}), DONE]])
def test_an_end_without_an_answer_is_an_empty_one(blocks: list[bytes]) -> None:
    error = failure(*blocks)
    assert type(error) is errors.GarbledStreamError
    assert "empty" in str(error)


# --- Errors inside --------------------------------------------------------------------


@pytest.mark.parametrize("before", [[], [delta("a")], [STOP]])
@pytest.mark.parametrize(
    "told",
    [
        event({"error": {"message": "broken", "code": "server_error"}}),
        event({"error": "broken"}),
        event({"status": "error", "message": "broken"}),
        event({"status": "failed", "message": "broken"}),
        b"event: error\n" + event({"message": "broken"}),
    ],
)
def test_an_error_in_the_stream_is_raised_with_the_service_s_words(
    before: list[bytes], told: bytes
) -> None:
    error = failure(*before, told, DONE)
    assert type(error) is errors.ServiceError
    assert str(error) == "the service reports an error: broken"


def test_an_error_named_but_not_described_is_one() -> None:
    assert "no reason" in str(failure(b"event: error\ndata: {}\n\n"))


@pytest.mark.parametrize(
    "data", ["{broken", "plain text", "[]", "null", "17", '"text"', '{"a": 1} {"b": 2}']
)
def test_an_event_that_is_no_object_is_garbled(data: str) -> None:
    error = failure(delta("a"), event(data), DONE)
    assert type(error) is errors.GarbledStreamError
    assert data in str(error)


def test_an_event_may_be_large_but_not_larger_than_its_bound() -> None:
    assert len(text(delta("x" * (MAX_EVENT - 500)), STOP)) == MAX_EVENT - 500
    assert type(failure(delta("x" * MAX_EVENT), STOP)) is errors.InvalidResponseError


def test_an_endless_line_is_not_kept() -> None:
    reader = AnswerReader()
    with pytest.raises(errors.InvalidResponseError):
        _ = [reader.feed(b"x" * 65536) for _ in range(MAX_EVENT // 65536 + 1)]


# --- Documents in place of a stream ---------------------------------------------------


def document(**changes: Any) -> bytes:
    message = {"role": "assistant", "content": "Alaska"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"id": "c-1", "choices": [choice], "usage": {"a": 1}, **changes}).encode()


@pytest.mark.parametrize("start", [b"", b" \r\n", b"\xef\xbb\xbf", b"\n" * 200])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_json_completion_is_an_answer(start: bytes, size: int) -> None:
    body = start + document()
    pieces, reader = read(*[body[at : at + size] for at in range(0, len(body), size)])
    assert pieces == ["Alaska"]
    assert (reader.info, reader.usage) == ({"id": "c-1"}, {"a": 1})
    assert (reader.finish_reason, reader.complete) == ("stop", True)


def test_a_document_without_usage_or_finish_reason_is_whole_too() -> None:
    pieces, reader = read(document(usage=None, choices=[{"message": {"content": "a"}}]))
    assert pieces == ["a"]
    assert (reader.usage, reader.finish_reason, reader.complete) == (None, None, True)


@pytest.mark.parametrize("choices", [None, [], {}, [None], "x"])
def test_a_document_without_a_choice_is_no_answer(choices: Any) -> None:
    error = failure(document(choices=choices))
    assert type(error) is errors.InvalidResponseError
    assert "no choice" in str(error)


def test_an_error_in_place_of_a_stream_is_raised_with_the_service_s_words() -> None:
    error = failure(b'{"status": "error", "message": "no credit", "code": "insufficient"}')
    assert type(error) is errors.InsufficientCreditError
    assert "no credit" in str(error)


def test_a_document_that_breaks_off_is_garbled() -> None:
    assert type(failure(document()[:-1])) is errors.GarbledStreamError


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b"\r\n "])
def test_a_page_is_told_by_its_title(start: bytes) -> None:
    error = failure(start + b"<html><head><title>Checking your browser</title></head>")
    assert type(error) is errors.InvalidResponseError
    assert str(error).endswith("Checking your browser")


def test_text_is_no_stream() -> None:
    error = failure(b"Fatal error: out of memory in ", b"/var/www on line 7")
    assert type(error) is errors.InvalidResponseError
    assert "Fatal error: out of memory in /var/www on line 7" in str(error)


def test_a_page_or_a_document_is_read_no_further_than_its_bound() -> None:
    reader = AnswerReader()
    with pytest.raises(errors.InvalidResponseError, match="page"):
        _ = [reader.feed(b"<html>" + b"x" * (MAX_PAGE // 2)) for _ in range(3)]
    reader = AnswerReader()
    with pytest.raises(errors.InvalidResponseError, match="more than"):
        _ = [reader.feed(b'{"a": "' + b"x" * (MAX_DOCUMENT // 2)) for _ in range(3)]


@pytest.mark.parametrize(
    "body",
    [
        b"<title>who is sk-1?</title>",
        b'{"who": "sk-1"}',
        b'{"error": "sk-1"}',
        b"who is sk-1?",
        b"data: sk-1\n\n",
        b"{sk-1",
    ],
)
def test_no_answer_makes_an_error_show_the_key(body: bytes) -> None:
    assert "sk-1" not in str(failure(body, secret="sk-1"))
    assert "[key]" in str(failure(body, secret="sk-1"))


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_no_bytes_are_an_answer_or_crash(blocks: list[bytes]) -> None:
    assert len(str(failure(*blocks))) <= 300


def test_pieces_that_come_in_one_block_with_an_error_are_given_before_it() -> None:
    reader = AnswerReader()
    told = event({"error": {"message": "overloaded"}})
    assert reader.feed(event({"choices": [{"index": 0, "delta": {"content": "Ok"}}]}) + told) == [
        "Ok"
    ]
    for ask in (reader.check, reader.end, lambda: reader.feed(b"")):
        with pytest.raises(errors.ServiceError, match="overloaded"):
            ask()
