"""Where a head ends, wherever the network cuts it."""

import pytest

from langchain_minitoolai._seam import Seam

HEAD = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
BODY = b"3\r\nabc\r\n0\r\n\r\n"


def begun() -> Seam:
    seam = Seam()
    seam.begin()
    return seam


def handed_on(seam: Seam, *packets: bytes) -> bytes:
    """Read as httpcore does: until the head is there."""
    waiting, found = list(packets), b""
    while not seam.clean and (waiting or seam.held):
        found += seam.cut(seam.take() or waiting.pop(0))
    return found


@pytest.mark.parametrize("at", range(1, len(HEAD + BODY)))
def test_the_head_alone_is_handed_on_wherever_it_is_cut(at: int) -> None:
    data, seam = HEAD + BODY, begun()
    assert handed_on(seam, data[:at], data[at:]) == HEAD
    assert seam.clean
    assert seam.held == data[len(HEAD) : max(at, len(HEAD))] or seam.held == BODY


def test_a_head_byte_by_byte() -> None:
    seam = begun()
    assert handed_on(seam, *(bytes([byte]) for byte in HEAD)) == HEAD
    assert (seam.clean, seam.held) == (True, b"")


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n", b"\r\n\n", b"\n\r\n"])
def test_a_head_ends_where_h11_says(end: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nA: b" + end
    assert handed_on(begun(), head + BODY) == head


def test_a_head_after_an_interim_one_is_a_head_as_well() -> None:
    seam = begun()
    assert seam.cut(HINTS + HEAD + BODY) == HINTS
    assert seam.clean
    assert seam.cut(seam.take()) == HEAD
    assert (seam.clean, seam.held) == (True, BODY)


def test_a_body_that_is_read_after_all_is_not_cut() -> None:
    seam = begun()
    body = b"data: a\n\ndata: b\n\n"
    assert seam.cut(HEAD + body) == HEAD
    assert seam.cut(seam.take()) == body
    assert seam.cut(body) == body
    assert not seam.clean


def test_nothing_is_cut_before_the_first_request() -> None:
    seam = Seam()
    assert seam.cut(HEAD + BODY) == HEAD + BODY
    assert not seam.clean


def test_what_is_handed_back_comes_first_and_is_not_cut() -> None:
    seam = begun()
    seam.cut(HEAD + BODY)
    seam.hand_back(b"0\r\n\r\nHTTP/")
    assert not seam.clean
    assert seam.cut(seam.take()) == b"0\r\n\r\nHTTP/"
    seam.begin()
    assert seam.cut(HEAD + BODY) == HEAD


def test_the_end_of_the_connection_is_handed_on() -> None:
    assert begun().cut(b"") == b""


@pytest.mark.parametrize("at", range(1, len(HINTS + HEAD)))
def test_a_head_after_an_interim_one_may_be_cut_anywhere(at: int) -> None:
    seam, data = begun(), HINTS + HEAD + BODY
    packets, found = [data[:at], data[at:]], b""
    while len(found) < len(HINTS + HEAD):
        found += seam.cut(seam.take() or packets.pop(0))
    assert found == HINTS + HEAD
    assert seam.clean


def test_of_a_body_of_known_length_nothing_more_is_handed_on() -> None:
    seam = begun()
    seam.cut(HEAD + b"ab")
    assert not seam.dirty or seam.held == b"ab"
    seam.allow(4)
    assert seam.cut(seam.take()) == b"ab"
    assert not seam.dirty
    assert seam.cut(b"cdHTTP/1.1 200 OK") == b"cd"
    assert (seam.dirty, seam.held) == (True, b"HTTP/1.1 200 OK")


def test_a_connection_whose_body_has_no_known_end_is_not_used_again() -> None:
    seam = begun()
    seam.cut(HEAD)
    seam.allow(None)
    assert seam.dirty
    unclear = begun()
    unclear.cut(HEAD[:9])
    unclear.allow(4)
    assert unclear.dirty
    unclear.begin()
    assert unclear.dirty
