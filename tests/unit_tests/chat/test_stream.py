"""Chat stream parser: deltas, completeness, errors, JSON bodies."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from langchain_minitoolai import errors
from langchain_minitoolai._chat.stream import (
    ChatStreamParser,
    Delta,
    JSONBody,
    Refusal,
    is_error_payload,
    malformed_event_error,
)
from langchain_minitoolai._http.body import MAX_EVENT
from langchain_minitoolai._http.effects import MAX_JSON_BODY
from langchain_minitoolai._http.error_mapping import MAX_ERROR_BODY, parse_json_object
from tests.unit_tests.fake_clients import COMMENT, DONE, STOP, USAGE, WHOLE, delta, event, text_of

STREAM = b"".join(WHOLE)
CALL = {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}}


def read(*blocks: bytes, api_key: str = "") -> tuple[list[Delta], ChatStreamParser]:
    parser = ChatStreamParser(api_key)
    deltas = [delta for block in blocks for delta in parser.feed(block)]
    return deltas + parser.end(), parser


def text(*blocks: bytes) -> str:
    return text_of(read(*blocks)[0])


def failure(*blocks: bytes, api_key: str = "") -> errors.MiniToolAIError:
    with pytest.raises(errors.MiniToolAIError) as raised:
        read(*blocks, api_key=api_key)
    assert raised.value.status_code == 200
    return raised.value


# --- Whole answers ----------------------------------------------------------------------


def test_an_answer_is_its_deltas_and_the_service_s_metadata() -> None:
    deltas, parser = read(*WHOLE)
    assert deltas == ["Ala", "ska"]
    assert parser.metadata == {"id": "chatcmpl-1", "model": "gpt-4o-mini-2024-07-18"}
    assert (parser.finish_reason, parser.usage) == ("stop", {"total_tokens": 20})
    assert (parser.done, parser.complete, parser.events) == (True, True, 4)


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
    deltas, parser = read(*blocks, last, DONE)
    assert deltas == ["Ok", "."]
    assert parser.usage == usage
    names = ("id", "model", "service_tier", "system_fingerprint")
    assert parser.metadata == {name: start[name] for name in names}


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
    parser = ChatStreamParser()
    assert parser.feed(DONE + delta("x")) == []
    assert parser.feed(delta("x") + b"junk") == []
    assert parser.events == 0


def test_refusals_and_tool_calls_are_deltas_of_their_own() -> None:
    delta = {"content": "Hm. ", "refusal": "No.", "tool_calls": [CALL, None, 3]}
    assert read(event({"choices": [{"delta": delta}]}), STOP)[0] == ["Hm. ", Refusal("No."), [CALL]]
    odd = event({"choices": [{"delta": {"refusal": 5}}]})
    assert read(odd, STOP)[0] == []


def test_a_refusal_in_a_json_body_is_one() -> None:
    choice = {"message": {"content": None, "refusal": "No."}, "finish_reason": "stop"}
    assert read(json.dumps({"choices": [choice]}).encode())[0] == [Refusal("No.")]


def test_an_event_like_the_one_before_it_but_for_its_text_may_have_none() -> None:
    deltas, parser = read(delta("a"), delta(""), delta("b"), delta(""), STOP)
    assert deltas == ["a", "b"]
    assert parser.events == 5


def test_what_follows_a_delta_of_a_call_is_read_whole() -> None:
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
def test_what_holds_no_delta_is_skipped(chunk: dict[str, Any]) -> None:
    assert text(delta("a"), event(chunk), delta("b"), STOP) == "ab"


def test_comments_and_other_fields_are_no_events() -> None:
    _, parser = read(COMMENT, b"retry: 3\n\n", b"id: 1\nevent: x\n\n", delta("a"), STOP)
    assert parser.events == 2


def test_bad_utf_8_is_replaced_and_rare_line_ends_are_text() -> None:
    bad = b'data: {"choices": [{"delta": {"content": "caf\xe9 \xe2\x80\xa8\xc2\x85"}}]}\n\n'
    assert text(bad, STOP) == "caf� \u2028\x85"


def test_an_answer_without_text_is_an_answer() -> None:
    assert text(STOP, DONE) == ""


FIELDS = st.sampled_from(["content", "refusal", "role", "name", 'a"content":b'])
DELTAS = st.dictionaries(FIELDS, st.none() | st.text(max_size=6), max_size=3)
CHOICES = st.fixed_dictionaries(
    {"delta": DELTAS}, optional={"finish_reason": st.sampled_from([None, "stop"])}
)
CHUNKS = st.fixed_dictionaries(
    {"choices": st.lists(CHOICES, max_size=2)},
    optional={"usage": st.none() | st.just({"a": 1}), "content": st.text(max_size=3)},
)
# JSON in the place of a text, and what breaks the event or the stream there.
RAW_TEXTS = st.one_of(
    st.text(max_size=4).map(lambda text: json.dumps(text).encode()),
    st.sampled_from(
        [
            b'"a","x',
            b'y"',
            b'"',
            b"",
            rb'"x\"',
            b'"a","content":"b"',
            b'"a","refusal":"b"',
            b"null",
            b'"\n\n"',
            b'["a"]',
            b' "a" ',
            b'\n"a"',
            b'"a"\r',
            b'"caf\xe9"',
            rb'"\ud800"',
        ]
    ),
)
PLACES = st.lists(st.integers(1, 900), max_size=5)


def parsed(blocks: list[bytes]) -> tuple[list[Delta], str, str | None, object, int]:
    """Parse blocks; give the deltas, the error, and what else the parser knows."""
    parser, deltas, error = ChatStreamParser(), [], ""
    try:
        for block in blocks:
            deltas += parser.feed(block)
        parser.raise_deferred()
    except errors.MiniToolAIError as raised:
        error = repr(raised)
    return deltas, error, parser.finish_reason, parser.usage, parser.events


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({0, len(data), *(place for place in places if place < len(data))})
    return [data[a:b] for a, b in pairwise(ends)]


@given(st.lists(CHUNKS, max_size=6), st.booleans(), PLACES)
def test_any_cut_of_a_stream_gives_what_its_events_give_one_by_one(
    chunks: list[dict[str, object]], escaped: object, places: list[int]
) -> None:
    texts = [json.dumps(chunk, ensure_ascii=bool(escaped)) for chunk in chunks]
    events = [event(text) for text in texts for _ in range(2)] + [STOP]
    assert parsed(cut(b"".join(events), places)) == parsed(events)


@given(st.lists(RAW_TEXTS, max_size=6), PLACES)
@example([rb'"x\"', b'","b"'], [])
def test_any_cut_of_a_broken_stream_gives_what_its_events_give_one_by_one(
    raws: list[bytes], places: list[int]
) -> None:
    before, after = b'{"id":"c","choices":[{"delta":{"content":', b'}}],"usage":null}'
    events = [b"data: " + before + raw + after + b"\n\n" for raw in (b'"Ala"', *raws)] + [STOP]
    assert parsed(cut(b"".join(events), places)) == parsed(events)


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
    assert type(error) is errors.MalformedStreamError
    assert "empty" in str(error)


# --- Errors inside --------------------------------------------------------------------


@pytest.mark.parametrize("before", [[], [delta("a")], [STOP]])
@pytest.mark.parametrize(
    "payload",
    [
        event({"error": {"message": "broken", "code": "server_error"}}),
        event({"error": "broken"}),
        event({"status": "error", "message": "broken"}),
        event({"status": "failed", "message": "broken"}),
        b"event: error\n" + event({"message": "broken"}),
    ],
)
def test_an_error_in_the_stream_is_raised_with_the_service_s_text(
    before: list[bytes], payload: bytes
) -> None:
    error = failure(*before, payload, DONE)
    assert type(error) is errors.ServiceError
    assert str(error) == "the service reports an error: broken"


def test_an_error_named_but_not_described_is_one() -> None:
    assert "no reason" in str(failure(b"event: error\ndata: {}\n\n"))


@pytest.mark.parametrize(
    "data", ["{broken", "plain text", "[]", "null", "17", '"text"', '{"a": 1} {"b": 2}']
)
def test_an_event_that_is_no_object_is_malformed(data: str) -> None:
    error = failure(delta("a"), event(data), DONE)
    assert type(error) is errors.MalformedStreamError
    assert data in str(error)


def test_an_event_may_be_large_but_not_larger_than_its_bound() -> None:
    assert len(text(delta("x" * (MAX_EVENT - 500)), STOP)) == MAX_EVENT - 500
    assert type(failure(delta("x" * MAX_EVENT), STOP)) is errors.InvalidResponseError


def test_an_endless_line_is_not_kept() -> None:
    parser = ChatStreamParser()
    with pytest.raises(errors.InvalidResponseError):
        _ = [parser.feed(b"x" * 65536) for _ in range(MAX_EVENT // 65536 + 1)]


# --- Documents in place of a stream ---------------------------------------------------


def document(**changes: Any) -> bytes:
    message = {"role": "assistant", "content": "Alaska"}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return json.dumps({"id": "c-1", "choices": [choice], "usage": {"a": 1}, **changes}).encode()


@pytest.mark.parametrize("start", [b"", b" \r\n", b"\xef\xbb\xbf", b"\n" * 200])
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_json_completion_is_an_answer(start: bytes, size: int) -> None:
    body = start + document()
    deltas, parser = read(*[body[at : at + size] for at in range(0, len(body), size)])
    assert deltas == ["Alaska"]
    assert (parser.metadata, parser.usage) == ({"id": "c-1"}, {"a": 1})
    assert (parser.finish_reason, parser.complete) == ("stop", True)


def test_a_document_without_usage_or_finish_reason_is_whole_too() -> None:
    deltas, parser = read(document(usage=None, choices=[{"message": {"content": "a"}}]))
    assert deltas == ["a"]
    assert (parser.usage, parser.finish_reason, parser.complete) == (None, None, True)


@pytest.mark.parametrize("choices", [None, [], {}, [None], "x"])
def test_a_document_without_a_choice_is_no_answer(choices: Any) -> None:
    error = failure(document(choices=choices))
    assert type(error) is errors.InvalidResponseError
    assert "no choice" in str(error)


def test_an_error_in_place_of_a_stream_is_raised_with_the_service_s_text() -> None:
    error = failure(b'{"status": "error", "message": "no credit", "code": "insufficient"}')
    assert type(error) is errors.InsufficientCreditError
    assert "no credit" in str(error)


def test_a_document_that_breaks_off_is_malformed() -> None:
    assert type(failure(document()[:-1])) is errors.MalformedStreamError


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b"\r\n "])
def test_a_page_is_named_by_its_title(start: bytes) -> None:
    error = failure(start + b"<html><head><title>Checking your browser</title></head>")
    assert type(error) is errors.InvalidResponseError
    assert str(error).endswith("Checking your browser")


def test_text_is_no_stream() -> None:
    error = failure(b"Fatal error: out of memory in ", b"/var/www on line 7")
    assert type(error) is errors.InvalidResponseError
    assert "Fatal error: out of memory in /var/www on line 7" in str(error)


def test_a_page_or_a_document_is_read_no_further_than_its_bound() -> None:
    parser = ChatStreamParser()
    with pytest.raises(errors.InvalidResponseError, match="page"):
        _ = [parser.feed(b"<html>" + b"x" * (MAX_ERROR_BODY // 2)) for _ in range(3)]
    parser = ChatStreamParser()
    with pytest.raises(errors.InvalidResponseError, match="more than"):
        _ = [parser.feed(b'{"a": "' + b"x" * (MAX_JSON_BODY // 2)) for _ in range(3)]


@pytest.mark.parametrize(
    "body",
    [
        b"<title>who is sk-12345?</title>",
        b'{"who": "sk-12345"}',
        b'{"error": "sk-12345"}',
        b"who is sk-12345?",
        b"data: sk-12345\n\n",
        b"{sk-12345",
    ],
)
def test_no_answer_makes_an_error_show_the_key(body: bytes) -> None:
    assert "sk-12345" not in str(failure(body, api_key="sk-12345"))
    assert "[key]" in str(failure(body, api_key="sk-12345"))


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_no_bytes_are_an_answer_or_crash(blocks: list[bytes]) -> None:
    assert len(str(failure(*blocks))) <= 300


def test_deltas_that_come_in_one_block_with_an_error_are_given_before_it() -> None:
    parser = ChatStreamParser()
    payload = event({"error": {"message": "overloaded"}})
    assert parser.feed(
        event({"choices": [{"index": 0, "delta": {"content": "Ok"}}]}) + payload
    ) == ["Ok"]
    for ask in (parser.raise_deferred, parser.end, lambda: parser.feed(b"")):
        with pytest.raises(errors.ServiceError, match="overloaded"):
            ask()


# --- One JSON body, bounded ----------------------------------------------------------


KEY = "sk-test-0123456789"


def json_body(*blocks: bytes) -> JSONBody:
    made = JSONBody(KEY)
    for block in blocks:
        made.add(block)
    return made


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b" \r\n\t"])
def test_an_object_with_a_choice_is_given(start: bytes) -> None:
    assert json_body(start, b'{"choi', b'ces": [{"a": 1}]}').parse() == {"choices": [{"a": 1}]}


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"<html><title>Just a moment</title><p>x", errors.InvalidResponseError, "Just a moment"),
        (b"{", errors.MalformedStreamError, "can't be read: {"),
        (b'{"error": {"message": "no"}}', errors.ServiceError, "no"),
        (b'{"status": "error", "message": "no"}', errors.ServiceError, "no"),
        (b'{"a": "sk-test-0123456789"}', errors.InvalidResponseError, r"no choice: .*\[key\]"),
        (b'{"choices": []}', errors.InvalidResponseError, "no choice"),
        (b'{"choices": [1]}', errors.InvalidResponseError, "no choice"),
    ],
)
def test_anything_else_is_an_error_that_says_what_came(
    body: bytes, kind: type[errors.MiniToolAIError], words: str
) -> None:
    with pytest.raises(kind, match=words):
        json_body(body).parse()


def test_a_document_is_bounded_and_a_page_is_bounded_sooner() -> None:
    with pytest.raises(errors.InvalidResponseError, match=f"more than {MAX_JSON_BODY} bytes"):
        json_body(b"{", b" " * MAX_JSON_BODY)
    with pytest.raises(errors.InvalidResponseError, match="a page instead of an answer"):
        json_body(b"<title>x</title>", b" " * MAX_ERROR_BODY)


def test_bytes_that_are_no_utf_8_spoil_nothing_but_themselves() -> None:
    assert parse_json_object(b'{"a": "caf\xe9"}') == {"a": "caf\ufffd"}
    assert parse_json_object(b"[1]") is parse_json_object(b"{") is None


def test_an_error_is_reported_by_error_or_status() -> None:
    payload: list[dict[str, Any]] = [
        {"error": "x"},
        {"status": "failed"},
        {"error": None},
        {"status": "success"},
        {},
    ]
    assert [is_error_payload(each) for each in payload] == [True, True, False, False, False]


def test_junk_is_shown_without_the_key() -> None:
    assert str(malformed_event_error(b"junk " + KEY.encode(), KEY)).endswith("junk [key]")
