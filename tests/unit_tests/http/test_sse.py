"""The decoder against the rules of the WHATWG, from the text of its specification.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
"""

from collections import deque
from itertools import pairwise

import pytest
from httpx_sse._decoders import SSEDecoder as HttpxSSEDecoder
from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai._http.sse import DONE, Event, EventTooLargeError, SSEDecoder

Vector = tuple[bytes, list[tuple[bytes, bytes]]]


def _message(*data: bytes) -> list[tuple[bytes, bytes]]:
    return [(one, b"message") for one in data]


VECTORS: dict[str, Vector] = {
    # The specification's own examples, the first one shortened.
    "two blocks of which one has two lines": (
        b"data: This is the first message.\n\ndata: This is the second\ndata: message.\n\n",
        _message(b"This is the first message.", b"This is the second\nmessage."),
    ),
    "events with names": (
        b"event: add\ndata: 73857293\n\nevent: remove\ndata: 2153\n\nevent: add\ndata: 113411\n\n",
        [(b"73857293", b"add"), (b"2153", b"remove"), (b"113411", b"add")],
    ),
    "the stock ticker": (
        b"data: YHOO\ndata: +2\ndata: 10\n\n",
        _message(b"YHOO\n+2\n10"),
    ),
    "four blocks: a comment, an id, an id without a value, an unfinished one": (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event",
        _message(b"first event", b"second event"),
    ),
    "empty data, two empty lines, and an unfinished one": (
        b"data\n\ndata\ndata\n\ndata:",
        _message(b"", b"\n"),
    ),
    "a space after the colon is dropped": (
        b"data:test\n\ndata: test\n\n",
        _message(b"test", b"test"),
    ),
    # Its rules, one by one.
    "only one space is dropped": (b"data:  two\n\n", _message(b" two")),
    "a tab is kept": (b"data:\tx\n\n", _message(b"\tx")),
    "a second colon is data": (b"data: a:b\n\n", _message(b"a:b")),
    "LF": (b"data: a\ndata: b\n\ndata: c\n\n", _message(b"a\nb", b"c")),
    "CR": (b"data: a\rdata: b\r\rdata: c\r\r", _message(b"a\nb", b"c")),
    "CRLF": (b"data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n", _message(b"a\nb", b"c")),
    "line ends mixed": (b"data: a\r\n\rdata: b\n\r\ndata: c\r\n\n", _message(b"a", b"b", b"c")),
    "LF CR is two line ends": (b"data: a\n\rdata: b\n\r", _message(b"a", b"b")),
    "one BOM is dropped": (b"\xef\xbb\xbfdata: a\n\n", _message(b"a")),
    "a second BOM is part of a field's name": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
    "a BOM later on is part of a field's name": (
        b"data: a\n\n\xef\xbb\xbfdata: b\n\n",
        _message(b"a"),
    ),
    "a comment inside a block": (b"data: a\n: c\ndata: b\n\n", _message(b"a\nb")),
    "an empty comment": (b":\n\n:\ndata: a\n\n", _message(b"a")),
    "unknown fields": (b"foo: 1\ndata: a\nDATA: b\n data: c\n\n", _message(b"a")),
    "a field without a colon": (b"foo\ndata: a\n\n", _message(b"a")),
    "a block without data is no event": (b"event: x\n\nid: 1\n\nretry: 5\n\n", []),
    "a name is forgotten with its block": (
        b"event: x\n\ndata: a\n\nevent: y\ndata: b\n\ndata: c\n\n",
        [(b"a", b"message"), (b"b", b"y"), (b"c", b"message")],
    ),
    "the last name counts": (b"event: x\nevent: y\ndata: a\n\n", [(b"a", b"y")]),
    "an empty name is the usual one": (b"event: x\nevent:\ndata: a\n\n", _message(b"a")),
    "an unfinished event is dropped": (b"data: a\n\ndata: b\n", _message(b"a")),
    "an unfinished line is dropped": (b"data: a\n\ndata: b", _message(b"a")),
    "empty lines alone": (b"\n\r\r\n\n", []),
    "nothing": (b"", []),
    "separators of other standards are data": (
        "data: a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\n\n".encode(),
        _message("a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg".encode()),
    ),
    "NUL is data": (b"data: a\x00b\n\n", _message(b"a\x00b")),
    "bad UTF-8 is kept for whoever decodes": (b"data: \xff\xfe\n\n", _message(b"\xff\xfe")),
    "[DONE]": (b"data: [DONE]\n\n", _message(DONE)),
    "[DONE] without its empty line": (b"data: a\n\ndata: [DONE]\n", _message(b"a", DONE)),
    "[DONE] without any line end": (b"data: a\n\ndata: [DONE]", _message(b"a", DONE)),
}
# Where httpx-sse reads a vector differently, and why.
HTTPX_SSE_DIFFERS = {
    "[DONE] without its empty line": "ours alone counts a last [DONE]",
    "[DONE] without any line end": "ours alone counts a last [DONE]",
    "one BOM is dropped": "it knows no BOM",
    "bad UTF-8 is kept for whoever decodes": "it reads text",
}

_every = pytest.mark.parametrize(("stream", "events"), VECTORS.values(), ids=VECTORS)


def _decode(*chunks: bytes) -> list[tuple[bytes, bytes]]:
    decoder = SSEDecoder()
    events = [event for chunk in chunks for event in decoder.feed(chunk)]
    return [(event.data, event.name) for event in events + decoder.end()]


@_every
def test_a_stream_in_one_piece_gives_its_events(
    stream: bytes, events: list[tuple[bytes, bytes]]
) -> None:
    assert _decode(stream) == events


@_every
def test_a_stream_cut_in_two_anywhere_gives_the_same(
    stream: bytes, events: list[tuple[bytes, bytes]]
) -> None:
    for place in range(len(stream) + 1):
        assert _decode(stream[:place], stream[place:]) == events, place


@_every
def test_a_stream_byte_by_byte_gives_the_same(
    stream: bytes, events: list[tuple[bytes, bytes]]
) -> None:
    assert _decode(*(stream[n : n + 1] for n in range(len(stream)))) == events


# --- Beside another reader ----------------------------------------------------------------


def _other(text: str) -> list[tuple[bytes, bytes]]:
    """Read with httpx-sse's decoder, given lines cut as the standard says.

    Its own way to lines, `httpx.Response.iter_lines`, cuts at U+2028, U+2029, U+0085 and
    others too, which are legal inside a JSON string.
    """
    decoder, found = HttpxSSEDecoder(), []
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:-1]:
        event = decoder.decode(line)
        if event is not None and event.data:  # one without data is an event for it if it has an id
            found.append((event.data.encode(), event.event.encode()))
    return found


@pytest.mark.parametrize("name", [name for name in VECTORS if name not in HTTPX_SSE_DIFFERS])
def test_httpx_sse_agrees_where_it_follows_the_standard(name: str) -> None:
    stream, events = VECTORS[name]
    assert _other(stream.decode()) == [event for event in events if event[0]]


@pytest.mark.parametrize("name", HTTPX_SSE_DIFFERS)
def test_httpx_sse_differs_where_it_is_said_to(name: str) -> None:
    stream, events = VECTORS[name]
    assert _other(stream.decode(errors="replace")) != [event for event in events if event[0]]


_field = st.sampled_from(["data", "event", "id", "retry", "", "foo", " data", "\ufeffdata"])
_value = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=8)
_line = st.builds("{}{}{}".format, _field, st.sampled_from(["", ":", ": ", ":  "]), _value)
_end = st.sampled_from(["\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n"])
_stream = st.lists(st.builds("{}{}".format, _line, _end), max_size=12).map("".join)


@given(_stream)
def test_any_stream_of_fields_is_read_as_httpx_sse_reads_its_data(text: str) -> None:
    decoder = SSEDecoder()
    found = [tuple(event) for event in decoder.feed(text.encode()) if event.data]
    assert found == _other(text.removeprefix("\ufeff"))


# --- Cuts, bounds, endings ------------------------------------------------------------------


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=12))
def test_any_cut_of_any_bytes_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    chunks = [stream[a:b] for a, b in pairwise(places)]
    assert _decode(*chunks) == _decode(stream)


_marks = st.sampled_from([b"data", b":", b" ", b"\r", b"\n", b"[DONE]", b"\xef\xbb\xbf", b"event"])


@given(st.lists(_marks, max_size=40))
def test_any_cut_between_the_marks_of_the_grammar_gives_the_same_events(parts: list[bytes]) -> None:
    stream = b"".join(parts)
    assert _decode(*parts) == _decode(stream)
    assert _decode(*(stream[n : n + 1] for n in range(len(stream)))) == _decode(stream)


@given(st.lists(st.binary(max_size=64), max_size=20), st.integers(1, 48))
def test_whatever_comes_is_kept_within_the_bound(chunks: list[bytes], limit: int) -> None:
    decoder = SSEDecoder(limit)
    try:
        events = [event for chunk in chunks for event in decoder.feed(chunk)] + decoder.end()
    except EventTooLargeError:
        return
    assert all(len(event.data) <= limit for event in events)


@pytest.mark.parametrize(
    "block",
    [b"x" * 10, b"data: xxxx\n", b"data\n", b"data:\n", b"event: xxxxx", b"\xef\xbb\xbfdata: "],
    ids=["line", "lines", "bare lines", "empty lines", "name", "marks"],
)
def test_an_event_that_outgrows_the_bound_is_refused(block: bytes) -> None:
    decoder = SSEDecoder(limit=1000)
    with pytest.raises(EventTooLargeError, match="1000 bytes"):
        deque(map(decoder.feed, [block] * 2000), maxlen=0)


def test_comments_of_any_length_are_read_past() -> None:
    decoder = SSEDecoder(limit=100)
    for _ in range(100):
        assert decoder.feed(b": " + b"x" * 50) == []
    for _ in range(100):
        assert decoder.feed(b"\n: xxxxxxxxxxx\n:") == []
    assert decoder.feed(b"\ndata: a\n\n") == [Event(b"a")]


def test_an_event_as_long_as_the_bound_is_taken() -> None:
    decoder = SSEDecoder(limit=1000)
    for _ in range(3):
        assert decoder.feed(b"data: " + b"x" * 900 + b"\n\n") == [Event(b"x" * 900)]


def test_the_end_is_no_event() -> None:
    assert SSEDecoder().end() == []
    decoder = SSEDecoder()
    assert decoder.feed(b"\xef\xbb") == []
    assert decoder.end() == []
