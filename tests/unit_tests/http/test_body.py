"""Response bodies: decoded in bounded steps, parsed and timed, or read up to a bound."""

import gzip
import zlib
from collections import deque
from collections.abc import Mapping
from itertools import pairwise
from typing import TypeAlias

import pytest
from httpx_sse._decoders import SSEDecoder as HttpxSSEDecoder
from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai import errors
from langchain_minitoolai._http.body import (
    DONE,
    DRAIN_SECONDS,
    USAGE_GRACE,
    BoundedBody,
    ContentDecoder,
    Event,
    EventTooLargeError,
    SSEDecoder,
    StreamReader,
)
from langchain_minitoolai._http.effects import MAX_JSON_BODY
from langchain_minitoolai._http.error_mapping import MAX_ERROR_BODY
from langchain_minitoolai._http.transport import Deadline
from tests.unit_tests.fake_clients import (
    COMMENT,
    STOP,
    USAGE,
    WHOLE,
    Clock,
    DeltaReader,
    delta,
    event,
    text_of,
)
from tests.unit_tests.fake_clients import DONE as DONE_EVENT

STEP = 64 * 1024
GZIP = {"content-encoding": "gzip"}


def bomb(head: bytes, size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(head), *(packer.compress(b"x" * 10**6) for _ in range(size // 10**6))]
    return b"".join(parts) + packer.flush()


def unpacked(packed: bytes, size: int, encoding: str = "gzip") -> bytes:
    """Unpack a body that comes in blocks of this size."""
    decoder = ContentDecoder({"content-encoding": encoding})
    cut = [packed[at : at + size] for at in range(0, len(packed), size)]
    return b"".join(part for block in cut for part in decoder.decode(block))


# --- Decoding -------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_what_is_not_compressed_is_passed_on(encoding: str) -> None:
    assert list(ContentDecoder({"content-encoding": encoding}).decode(b"abc")) == [b"abc"]


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(b"abc" * 99, mtime=0)),
        ("X-GZIP", gzip.compress(b"abc" * 99, mtime=0)),
        ("deflate", zlib.compress(b"abc" * 99)),
    ],
)
def test_what_is_compressed_is_unpacked_however_it_is_cut(encoding: str, packed: bytes) -> None:
    for size in (1, 5, 1000):
        assert unpacked(packed, size, encoding) == b"abc" * 99


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "what\nis this"])
def test_another_encoding_is_refused(encoding: str) -> None:
    with pytest.raises(errors.InvalidResponseError, match="nobody asked for") as raised:
        ContentDecoder({"content-encoding": encoding})
    assert str(raised.value).isprintable()


def test_a_bomb_is_unpacked_in_small_steps_and_only_as_far_as_asked() -> None:
    steps = iter(ContentDecoder(GZIP).decode(bomb(b"", 50 * 10**6)))
    assert all(len(next(steps)) <= STEP for _ in range(100))


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("junk", [b"junk", b"\0" * 9, b"\x1fjunk"])
@pytest.mark.parametrize("size", [1, 1000])
def test_what_follows_the_compressed_bytes_is_left_alone(
    encoding: str, junk: bytes, size: int
) -> None:
    member = gzip.compress(b"abc", mtime=0)
    packed = (member if encoding == "gzip" else zlib.compress(b"abc")) + junk + member
    assert unpacked(packed, size, encoding) == b"abc"


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_every_member_of_a_gzip_body_is_read_however_it_is_cut(size: int) -> None:
    texts = [b"abc", b"", b"d" * 999, b"e"]
    packed = b"".join(gzip.compress(text, mtime=0) for text in texts)
    assert unpacked(packed, size) == b"".join(texts)


def test_a_body_in_another_encoding_ends_with_its_first_part() -> None:
    again = gzip.compress(b"more", mtime=0)
    assert unpacked(zlib.compress(b"abc") + again, 1000, "deflate") == b"abc"


def test_a_member_that_is_none_is_garbled() -> None:
    with pytest.raises(errors.MalformedStreamError, match="compressed"):
        unpacked(gzip.compress(b"abc", mtime=0) + b"\x1f\x8b\xff junk", 1000)


def test_members_are_unpacked_in_small_steps_and_only_as_far_as_asked() -> None:
    packed = gzip.compress(b"", mtime=0) * 1000 + bomb(b"", 10**7) * 2
    steps = iter(ContentDecoder(GZIP).decode(packed))
    sizes = [len(next(steps)) for _ in range(1300)]
    assert max(sizes) <= STEP
    assert sum(sizes) > 10**7


@given(
    st.lists(st.binary(max_size=99), min_size=1, max_size=9),
    st.integers(min_value=1, max_value=99),
)
def test_any_members_cut_anywhere_give_what_was_packed(texts: list[bytes], size: int) -> None:
    packed = b"".join(gzip.compress(text, mtime=0) for text in texts)
    assert unpacked(packed, size) == b"".join(texts)


# --- Streams --------------------------------------------------------------------------


Reader: TypeAlias = StreamReader[DeltaReader]


def reading(
    clock: Clock, idle: float = 9.0, headers: Mapping[str, str] | None = None
) -> tuple[Reader, Deadline]:
    deadline = Deadline(clock, idle, None)
    return StreamReader(headers or {}, DeltaReader(), deadline), deadline


def test_pieces_are_given_as_blocks_complete_them() -> None:
    reader, _ = reading(Clock())
    first = delta("Ala")
    assert reader.feed(first[:9]) == []
    assert reader.feed(first[9:] + delta("s") + delta("ka")) == ["Ala", "s", "ka"]
    assert reader.feed(STOP + DONE_EVENT) == []
    assert reader.end(None) == []


def test_an_event_is_progress_and_nothing_else_is() -> None:
    clock = Clock()
    reader, deadline = reading(clock)
    clock.sleep(5.0)
    reader.feed(COMMENT)
    reader.feed(b"data: {")
    assert deadline.remaining() == 4.0
    reader.feed(b"}\n\n")
    assert deadline.remaining() == 9.0
    clock.sleep(9.0)
    with pytest.raises(errors.APITimeoutError, match="no progress for 9 s"):
        reader.feed(COMMENT)


def test_a_compressed_flood_of_comments_is_stopped_by_the_time() -> None:
    class Passing(Clock):
        def __call__(self) -> float:
            self.now += 0.01
            return self.now

    reader, _ = reading(Passing(), 1.0, GZIP)
    flood = gzip.compress(COMMENT * 1_000_000, 1)
    with pytest.raises(errors.APITimeoutError):
        reader.feed(flood)


def test_after_the_finish_reason_little_time_is_left_and_running_out_of_it_is_no_error() -> None:
    clock = Clock()
    reader, deadline = reading(clock)
    reader.feed(delta("a") + STOP)
    assert deadline.remaining() == USAGE_GRACE
    clock.sleep(3.0)
    reader.feed(USAGE)
    assert deadline.remaining() == 2.0
    clock.sleep(3.0)
    assert reader.feed(COMMENT) == []
    assert reader.end(errors.APITimeoutError("late")) == []


def test_nothing_is_watched_after_the_end() -> None:
    clock = Clock()
    reader, deadline = reading(clock)
    assert text_of(reader.feed(b"".join(WHOLE))) == "Alaska"
    assert deadline.remaining() == pytest.approx(DRAIN_SECONDS)
    clock.sleep(1.0)
    assert reader.feed(COMMENT) == []


@pytest.mark.parametrize("headers", [{}, GZIP])
def test_an_error_after_some_items_is_raised_when_they_were_consumed(
    headers: dict[str, str],
) -> None:
    block = delta("Ala") + event({"error": "broken"})
    reader, _ = reading(Clock(), headers=headers)
    assert reader.feed(gzip.compress(block) if headers else block) == ["Ala"]
    with pytest.raises(errors.ServiceError, match="broken"):
        reader.consumed()


@pytest.mark.parametrize("junk", [b"no gzip", b"\x1f\x8b\xff"])
def test_junk_after_compressed_items_is_raised_when_they_were_consumed(junk: bytes) -> None:
    reader, _ = reading(Clock(), headers=GZIP)
    member = gzip.compress(delta("Ala"), mtime=0)
    assert reader.feed(member + b"\x1f\x8b\xff" + junk) == ["Ala"]
    with pytest.raises(errors.MalformedStreamError, match="compressed"):
        reader.consumed()


def test_the_time_that_the_consumer_takes_does_not_count() -> None:
    clock = Clock()
    reader, deadline = reading(clock)
    reader.feed(delta("a"))
    clock.sleep(100.0)
    reader.consumed()
    assert deadline.remaining() == 9.0


def test_the_cost_of_an_incomplete_stream_is_in_its_error() -> None:
    for failure in (None, errors.APITimeoutError("late")):
        reader, _ = reading(Clock())
        reader.feed(delta("a") + USAGE)
        with pytest.raises(errors.MiniToolAIError) as raised:
            reader.end(failure)
        assert raised.value.usage == {"total_tokens": 20}


def test_what_ended_a_body_is_raised_unless_the_answer_is_whole() -> None:
    failure = errors.StreamInterruptedError("reset")
    for blocks, whole in (([delta("a")], False), ([delta("a"), STOP], True)):
        reader, _ = reading(Clock())
        for block in blocks:
            reader.feed(block)
        if whole:
            assert reader.end(failure) == []
        else:
            with pytest.raises(errors.StreamInterruptedError, match="reset"):
                reader.end(failure)


def test_a_body_that_ends_too_early_by_itself_is_an_error_too() -> None:
    reader, _ = reading(Clock())
    reader.feed(delta("a"))
    with pytest.raises(errors.StreamInterruptedError):
        reader.end(None)


def test_a_bomb_of_one_line_is_refused_at_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    feed = DeltaReader.feed

    def noted(reader: DeltaReader, block: bytes) -> object:
        sizes.append(len(block))
        return feed(reader, block)

    monkeypatch.setattr(DeltaReader, "feed", noted)
    reader, _ = reading(Clock(), headers=GZIP)
    with pytest.raises(errors.InvalidResponseError, match="more than"):
        reader.feed(bomb(b"data: ", 40 * 10**6))
    assert max(sizes) <= STEP
    assert sum(sizes) <= 5 * 1024 * 1024


def test_compressed_junk_is_garbled() -> None:
    reader, _ = reading(Clock(), headers=GZIP)
    with pytest.raises(errors.MalformedStreamError, match="compressed"):
        reader.feed(b"this is no gzip")


# --- Bodies ---------------------------------------------------------------------------


def test_a_body_is_given_in_one_piece() -> None:
    body = BoundedBody(200, {})
    body.feed(b"ab")
    body.feed(b"c")
    assert not body.truncated
    assert body.end(None) == b"abc"


def test_a_success_that_breaks_off_is_an_error_and_an_error_is_what_came() -> None:
    failure = errors.StreamInterruptedError("reset")
    for status in (200, 404):
        body = BoundedBody(status, {})
        body.feed(b"abc")
        if status == 404:
            assert body.end(failure) == b"abc"
        else:
            with pytest.raises(errors.StreamInterruptedError):
                body.end(failure)


def test_a_success_at_its_bound_is_taken_and_beyond_it_refused() -> None:
    body = BoundedBody(200, {})
    body.feed(b"x" * MAX_JSON_BODY)
    assert len(body.end(None)) == MAX_JSON_BODY
    with pytest.raises(errors.InvalidResponseError, match="more than 8388608 bytes"):
        body.feed(b"x")


def test_a_success_that_says_it_is_too_large_is_refused_unread() -> None:
    for length in (str(MAX_JSON_BODY + 1), "9" * 5000):
        with pytest.raises(errors.InvalidResponseError, match="more than 8388608 bytes"):
            BoundedBody(200, {"content-length": length})
    for length in (str(MAX_JSON_BODY), "-1", "junk", "\u0663"):
        BoundedBody(200, {"content-length": length}).feed(b"x")
    assert BoundedBody(404, {"content-length": str(10**9)}).end(None) == b""


def test_a_body_has_a_bound_of_its_own_and_its_blocks_are_progress() -> None:
    clock = Clock()
    deadline = Deadline(clock, 9.0, None)
    body = BoundedBody(200, {}, 4, deadline)
    clock.sleep(8.0)
    body.feed(b"abcd")
    assert deadline.remaining() == 9.0
    with pytest.raises(errors.InvalidResponseError, match="more than 4 bytes"):
        body.feed(b"e")


def test_a_body_without_a_deadline_has_the_time_of_its_response() -> None:
    body = BoundedBody(200, {})
    body.feed(b"a")
    assert body.end(None) == b"a"


@pytest.mark.parametrize("headers", [{}, GZIP])
def test_an_error_s_body_is_cut_at_its_bound(headers: dict[str, str]) -> None:
    body = BoundedBody(500, headers)
    body.feed(bomb(b"", 10**7) if headers else b"x" * 10**6)
    assert body.truncated
    assert len(body.end(None)) == MAX_ERROR_BODY


@pytest.mark.parametrize("encoding", ["br", "gzip"])
def test_an_error_s_body_that_can_t_be_decoded_is_none(encoding: str) -> None:
    body = BoundedBody(503, {"content-encoding": encoding})
    body.feed(b"junk")
    assert body.truncated
    assert body.end(None) == b""


@pytest.mark.parametrize("encoding", ["br", "gzip"])
def test_a_success_that_can_t_be_decoded_is_an_error(encoding: str) -> None:
    with pytest.raises(errors.InvalidResponseError):
        BoundedBody(200, {"content-encoding": encoding}).feed(b"junk")


# --- Server-sent events ------------------------------------------------------------

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
