"""Bodies in chunks, against RFC 9112's rules and against h11 as an oracle."""

from collections.abc import Iterable
from itertools import pairwise

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from langchain_minitoolai._chunked import (
    LAST,
    MAX_LINE,
    MAX_TRAILERS,
    BrokenFrameError,
    ChunkedBody,
)

Read = tuple[bytes, str]
"""The body's bytes, and how it ended: "whole", "broken", or "open"."""

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

BAD_WHITE_SPACE = "white space before an extension"
"""RFC 9112 has recipients take it; h11 does not."""

VECTORS: dict[str, tuple[bytes, Read]] = {
    "one chunk": (b"3\r\nabc\r\n0\r\n\r\n", (b"abc", "whole")),
    "two chunks": (b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", (b"abcde", "whole")),
    "no chunk but the last": (b"0\r\n\r\n", (b"", "whole")),
    "a last chunk of many zeros": (b"1\r\na\r\n0000\r\n\r\n", (b"a", "whole")),
    "leading zeros": (b"0003\r\nabc\r\n0\r\n\r\n", (b"abc", "whole")),
    "digits of both cases": (
        b"0a\r\n0123456789\r\n0A\r\n0123456789\r\n0\r\n\r\n",
        (b"0123456789" * 2, "whole"),
    ),
    "an extension": (b"3;name=value\r\nabc\r\n0;last\r\n\r\n", (b"abc", "whole")),
    BAD_WHITE_SPACE: (b"3 ;a=b\r\nabc\r\n0\r\n\r\n", (b"abc", "whole")),
    "white space after a size": (b"3 \t\r\nabc\r\n0\r\n\r\n", (b"abc", "whole")),
    "trailers": (b"3\r\nabc\r\n0\r\nDigest: x\r\nServer: y\r\n\r\n", (b"abc", "whole")),
    "line ends inside a chunk": (b"6\r\n\r\n0\r\n\r\r\n0\r\n\r\n", (b"\r\n0\r\n\r", "whole")),
    "trailers that end with LF alone": (b"1\r\na\r\n0\r\nA: b\n\n", (b"a", "whole")),
    "junk in place of trailers": (b"1\r\na\r\n0\r\njunk\r\n\r\n", (b"a", "broken")),
    "no end": (b"3\r\nabc\r\n", (b"abc", "open")),
    "no end of a chunk": (b"5\r\nabc", (b"abc", "open")),
    "no end of the trailers": (b"1\r\na\r\n0\r\nDigest: x\r\n", (b"a", "open")),
    "a size that is none": (b"3\r\nabc\r\nxyz\r\n", (b"abc", "broken")),
    "no size": (b"\r\nabc\r\n", (b"", "broken")),
    "a size with a sign": (b"+3\r\nabc\r\n0\r\n\r\n", (b"", "broken")),
    "a size as Python writes it": (b"0x3\r\nabc\r\n0\r\n\r\n", (b"", "broken")),
    "a size with an underscore": (b"1_0\r\n0123456789abcdef\r\n0\r\n\r\n", (b"", "broken")),
    "a size after white space": (b" 3\r\nabc\r\n0\r\n\r\n", (b"", "broken")),
    "a chunk longer than its size": (b"3\r\nabcd\r\n0\r\n\r\n", (b"abc", "broken")),
    "a chunk shorter than its size": (b"4\r\nabc\r\n0\r\n\r\n", (b"abc\r", "broken")),
    "a chunk that ends with LF alone": (b"3\r\nabc\n0\r\n\r\n", (b"abc", "broken")),
}


def read(parts: Iterable[bytes]) -> Read:
    """Read a body that comes in these parts."""
    body, found = ChunkedBody(), b""
    try:
        for part in parts:
            if body.done:
                break
            found += body.feed(part)
            body.check()
    except BrokenFrameError:
        return found, "broken"
    return found, "whole" if body.done else "open"


def oracle(data: bytes) -> Read:
    """Read the same with h11."""
    wire = h11.Connection(our_role=h11.CLIENT)
    wire.send(h11.Request(method="GET", target="/", headers=[("Host", "a.test")]))
    wire.send(h11.EndOfMessage())
    wire.receive_data(HEAD + data)
    found = b""
    try:
        while True:
            event = wire.next_event()
            if isinstance(event, h11.Data):
                found += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return found, "whole"
            elif event is h11.NEED_DATA:
                return found, "open"
    except h11.RemoteProtocolError:
        return found, "broken"


def whole(found: Read) -> bytes | None:
    return found[0] if found[1] == "whole" else None


def halves(data: bytes) -> Iterable[tuple[bytes, bytes]]:
    return ((data[:at], data[at:]) for at in range(1, len(data)))


@pytest.mark.parametrize(("data", "expected"), VECTORS.values(), ids=VECTORS)
def test_a_body_is_read_the_same_however_it_is_cut(data: bytes, expected: Read) -> None:
    assert read([data]) == expected
    assert read(bytes([byte]) for byte in data) == expected
    for cut in halves(data):
        assert read(cut) == expected


@pytest.mark.parametrize("name", [name for name in VECTORS if name != BAD_WHITE_SPACE])
def test_h11_reads_the_same(name: str) -> None:
    assert read([VECTORS[name][0]]) == oracle(VECTORS[name][0])


_size = st.sampled_from(["{:x}", "{:X}", "{:04x}", "{:x};a=b", "{:x} "])
_chunk = st.builds(
    lambda form, data: form.format(len(data)).encode() + b"\r\n" + data + b"\r\n",
    _size,
    st.binary(min_size=1, max_size=40),
)
_trailers = st.sampled_from([b"", b"A: b\r\n", b"A: b\r\nC: d\r\n"])
_body = st.builds(
    lambda chunks, trailers: b"".join(chunks) + b"0\r\n" + trailers + b"\r\n",
    st.lists(_chunk, max_size=6),
    _trailers,
)
_cuts = st.lists(st.integers(0, 200), max_size=6)


def parts_of(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[a:b] for a, b in pairwise(places)]


@given(data=_body, cuts=_cuts)
def test_any_body_in_any_parts_is_what_h11_makes_of_it(data: bytes, cuts: list[int]) -> None:
    assert read(parts_of(data, cuts)) == oracle(data)


@given(chunks=st.lists(_chunk, max_size=4), cuts=_cuts, at=st.integers(0, 99), junk=st.binary())
@example(chunks=[b"3\r\nabc\r\n"], cuts=[], at=7, junk=b"\n")
@example(chunks=[b"3\r\nabc\r\n"], cuts=[4], at=0, junk=b"2")
def test_a_damaged_body_is_whole_only_where_h11_says_so(
    chunks: list[bytes], cuts: list[int], at: int, junk: bytes
) -> None:
    data = b"".join(chunks) + LAST
    damaged = data[:at] + junk + data[at + 1 :]
    ours, theirs = read(parts_of(damaged, cuts)), oracle(damaged)
    if b" ;" not in damaged and b"\t;" not in damaged:
        assert whole(ours) == whole(theirs)
    assert ours[0].startswith(theirs[0]) or theirs[0].startswith(ours[0])


def test_what_follows_the_end_is_kept_apart() -> None:
    for data in (b"3\r\nabc\r\n" + LAST + b"HTTP/1.1 200", LAST + b"HTTP/1.1 200"):
        body = ChunkedBody()
        body.feed(data)
        assert (body.done, body.excess) == (True, b"HTTP/1.1 200")


def test_bytes_before_damage_are_given_before_it_is_told() -> None:
    body = ChunkedBody()
    assert body.feed(b"3\r\nabc\r\nzz\r\n") == b"abc"
    with pytest.raises(BrokenFrameError, match="does not say its size"):
        body.check()


def test_an_end_of_the_connection_within_the_body_is_an_error() -> None:
    body = ChunkedBody()
    with pytest.raises(BrokenFrameError, match="ended within the body"):
        body.end()
    body.feed(LAST)
    body.end()


def test_lines_and_trailers_are_bounded() -> None:
    body = ChunkedBody()
    body.feed(b"1;" + b"a" * (MAX_LINE - 2))
    with pytest.raises(BrokenFrameError, match="too many bytes"):
        body.feed(b"a")
    body = ChunkedBody()
    body.feed(b"0\r\n")
    for parts in (
        [b"0\r\n", b"a: " + b"b" * MAX_LINE + b"\r\n"],
        [b"1;" + b"a" * MAX_LINE + b"\r\n"],
    ):
        body = ChunkedBody()
        with pytest.raises(BrokenFrameError, match="a line between chunks takes too many bytes"):
            body.feed(b"".join(parts))
    body = ChunkedBody()
    body.feed(b"0\r\n")
    line = b"a: " + b"b" * 1000 + b"\r\n"
    for _ in range(MAX_TRAILERS // len(line)):
        body.feed(line)
    with pytest.raises(BrokenFrameError, match="trailers take too many bytes"):
        body.feed(line)
