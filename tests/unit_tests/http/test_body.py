"""Response bodies: decoded in bounded steps, parsed and timed, or read up to a bound."""

import gzip
import zlib
from collections.abc import Mapping
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai import errors
from langchain_minitoolai._http.body import (
    DRAIN_SECONDS,
    USAGE_GRACE,
    BoundedBody,
    ContentDecoder,
    StreamReader,
)
from langchain_minitoolai._http.deadline import Deadline
from langchain_minitoolai._http.effects import MAX_JSON_BODY
from langchain_minitoolai._http.error_mapping import MAX_ERROR_BODY
from tests.unit_tests.fake_clients import (
    COMMENT,
    DONE,
    STOP,
    USAGE,
    WHOLE,
    Clock,
    DeltaReader,
    delta,
    event,
    text_of,
)

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


Reader: TypeAlias = StreamReader[str, DeltaReader]


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
    assert reader.feed(STOP + DONE) == []
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
