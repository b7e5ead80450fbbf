"""What is done with each block of a body."""

import gzip
import zlib
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai import errors
from langchain_minitoolai._chat.stream import ChatStreamParser
from langchain_minitoolai._http.body import ENDING, AnswerIntake, BodyIntake, Decoder
from langchain_minitoolai._http.deadline import Budget
from langchain_minitoolai._http.error_mapping import MAX_DOCUMENT, MAX_PAGE
from tests.unit_tests.shells import COMMENT, DONE, STOP, USAGE, WHOLE, Clock, delta, text_of

STEP = 64 * 1024
GZIP = {"content-encoding": "gzip"}


def bomb(head: bytes, size: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(head), *(packer.compress(b"x" * 10**6) for _ in range(size // 10**6))]
    return b"".join(parts) + packer.flush()


def unpacked(packed: bytes, size: int, encoding: str = "gzip") -> bytes:
    """Unpack a body that comes in blocks of this size."""
    decode = Decoder({"content-encoding": encoding})
    cut = [packed[at : at + size] for at in range(0, len(packed), size)]
    return b"".join(part for block in cut for part in decode(block))


# --- Decoding -------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
def test_what_is_not_compressed_is_passed_on(encoding: str) -> None:
    assert list(Decoder({"content-encoding": encoding})(b"abc")) == [b"abc"]


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
        Decoder({"content-encoding": encoding})
    assert str(raised.value).isprintable()


def test_a_bomb_is_unpacked_in_small_steps_and_only_as_far_as_asked() -> None:
    steps = iter(Decoder(GZIP)(bomb(b"", 50 * 10**6)))
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
    steps = iter(Decoder(GZIP)(packed))
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


# --- Answers --------------------------------------------------------------------------


def intake(
    clock: Clock, idle: float = 9.0, headers: Mapping[str, str] | None = None
) -> tuple[AnswerIntake, Budget]:
    budget = Budget(clock, idle, None)
    return AnswerIntake(headers or {}, budget), budget


def test_pieces_are_given_as_blocks_complete_them() -> None:
    taking, _ = intake(Clock())
    first = delta("Ala")
    assert taking.feed(first[:9]) == []
    assert taking.feed(first[9:] + delta("s") + delta("ka")) == ["Ala", "s", "ka"]
    assert taking.feed(STOP + DONE) == []
    assert taking.end(None) == []


def test_an_event_is_progress_and_nothing_else_is() -> None:
    clock = Clock()
    taking, budget = intake(clock)
    clock.sleep(5.0)
    taking.feed(COMMENT)
    taking.feed(b"data: {")
    assert budget.left() == 4.0
    taking.feed(b"}\n\n")
    assert budget.left() == 9.0
    clock.sleep(9.0)
    with pytest.raises(errors.APITimeoutError, match="no progress for 9 s"):
        taking.feed(COMMENT)


def test_a_compressed_flood_of_comments_is_stopped_by_the_time() -> None:
    class Passing(Clock):
        def __call__(self) -> float:
            self.now += 0.01
            return self.now

    taking, _ = intake(Passing(), 1.0, GZIP)
    flood = gzip.compress(COMMENT * 1_000_000, 1)
    with pytest.raises(errors.APITimeoutError):
        taking.feed(flood)


def test_after_the_finish_reason_little_time_is_left_and_running_out_of_it_is_no_error() -> None:
    clock = Clock()
    taking, budget = intake(clock)
    taking.feed(delta("a") + STOP)
    assert budget.left() == ENDING
    clock.sleep(3.0)
    taking.feed(USAGE)
    assert budget.left() == 2.0
    clock.sleep(3.0)
    assert taking.feed(COMMENT) == []
    assert taking.end(errors.APITimeoutError("late")) == []


def test_nothing_is_watched_after_the_end() -> None:
    clock = Clock()
    taking, budget = intake(clock)
    assert text_of(taking.feed(b"".join(WHOLE))) == "Alaska"
    before = budget.left()
    taking.feed(COMMENT)
    assert budget.left() == before


def test_what_ended_a_body_is_raised_unless_the_answer_is_whole() -> None:
    failure = errors.StreamInterruptedError("reset")
    for blocks, whole in (([delta("a")], False), ([delta("a"), STOP], True)):
        taking, _ = intake(Clock())
        for block in blocks:
            taking.feed(block)
        if whole:
            assert taking.end(failure) == []
        else:
            with pytest.raises(errors.StreamInterruptedError, match="reset"):
                taking.end(failure)


def test_a_body_that_ends_too_early_by_itself_is_an_error_too() -> None:
    taking, _ = intake(Clock())
    taking.feed(delta("a"))
    with pytest.raises(errors.StreamInterruptedError):
        taking.end(None)


def test_a_bomb_of_one_line_is_refused_at_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    feed = ChatStreamParser.feed

    def noted(reader: ChatStreamParser, block: bytes) -> object:
        sizes.append(len(block))
        return feed(reader, block)

    monkeypatch.setattr(ChatStreamParser, "feed", noted)
    taking, _ = intake(Clock(), headers=GZIP)
    with pytest.raises(errors.InvalidResponseError, match="more than"):
        taking.feed(bomb(b"data: ", 40 * 10**6))
    assert max(sizes) <= STEP
    assert sum(sizes) <= 5 * 1024 * 1024


def test_compressed_junk_is_garbled() -> None:
    taking, _ = intake(Clock(), headers=GZIP)
    with pytest.raises(errors.MalformedStreamError, match="compressed"):
        taking.feed(b"this is no gzip")


# --- Bodies ---------------------------------------------------------------------------


def test_a_body_is_given_in_one_piece() -> None:
    taking = BodyIntake(200, {})
    taking.feed(b"ab")
    taking.feed(b"c")
    assert not taking.full
    assert taking.end(None) == b"abc"


def test_a_success_that_breaks_off_is_an_error_and_an_error_is_what_came() -> None:
    failure = errors.StreamInterruptedError("reset")
    for status in (200, 404):
        taking = BodyIntake(status, {})
        taking.feed(b"abc")
        if status == 404:
            assert taking.end(failure) == b"abc"
        else:
            with pytest.raises(errors.StreamInterruptedError):
                taking.end(failure)


def test_a_success_at_its_bound_is_taken_and_beyond_it_refused() -> None:
    taking = BodyIntake(200, {})
    taking.feed(b"x" * MAX_DOCUMENT)
    assert len(taking.end(None)) == MAX_DOCUMENT
    with pytest.raises(errors.InvalidResponseError, match="more than 8388608 bytes"):
        taking.feed(b"x")


@pytest.mark.parametrize("headers", [{}, GZIP])
def test_an_error_s_body_is_cut_at_its_bound(headers: dict[str, str]) -> None:
    taking = BodyIntake(500, headers)
    taking.feed(bomb(b"", 10**7) if headers else b"x" * 10**6)
    assert taking.full
    assert len(taking.end(None)) == MAX_PAGE


@pytest.mark.parametrize("encoding", ["br", "gzip"])
def test_an_error_s_body_that_can_t_be_decoded_is_none(encoding: str) -> None:
    taking = BodyIntake(503, {"content-encoding": encoding})
    taking.feed(b"junk")
    assert taking.full
    assert taking.end(None) == b""


@pytest.mark.parametrize("encoding", ["br", "gzip"])
def test_a_success_that_can_t_be_decoded_is_an_error(encoding: str) -> None:
    with pytest.raises(errors.InvalidResponseError):
        BodyIntake(200, {"content-encoding": encoding}).feed(b"junk")
