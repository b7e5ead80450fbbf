"""An answer that is one document: bounded, and read whole."""

from typing import Any

import pytest

from langchain_minitoolai import errors
from langchain_minitoolai._chat.json_body import Document, garbled, parse_object, tells_error
from langchain_minitoolai._http.error_mapping import MAX_DOCUMENT, MAX_PAGE

KEY = "sk-test-0123456789"


def document(*blocks: bytes) -> Document:
    made = Document(KEY)
    for block in blocks:
        made.add(block)
    return made


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf", b" \r\n\t"])
def test_an_object_with_a_choice_is_given(start: bytes) -> None:
    assert document(start, b'{"choi', b'ces": [{"a": 1}]}').read() == {"choices": [{"a": 1}]}


@pytest.mark.parametrize(
    ("body", "kind", "words"),
    [
        (b"<html><title>Just a moment</title><p>x", errors.InvalidResponseError, "Just a moment"),
        (b"{", errors.GarbledStreamError, "can't be read: {"),
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
        document(body).read()


def test_a_document_is_bounded_and_a_page_is_bounded_sooner() -> None:
    with pytest.raises(errors.InvalidResponseError, match=f"more than {MAX_DOCUMENT} bytes"):
        document(b"{", b" " * MAX_DOCUMENT)
    with pytest.raises(errors.InvalidResponseError, match="a page instead of an answer"):
        document(b"<title>x</title>", b" " * MAX_PAGE)


def test_bytes_that_are_no_utf_8_spoil_nothing_but_themselves() -> None:
    assert parse_object(b'{"a": "caf\xe9"}') == {"a": "caf\ufffd"}
    assert parse_object(b"[1]") is parse_object(b"{") is None


def test_an_error_is_told_by_error_or_status() -> None:
    told: list[dict[str, Any]] = [
        {"error": "x"},
        {"status": "failed"},
        {"error": None},
        {"status": "success"},
        {},
    ]
    assert [tells_error(each) for each in told] == [True, True, False, False, False]


def test_junk_is_shown_without_the_key() -> None:
    assert str(garbled(b"junk " + KEY.encode(), KEY)).endswith("junk [key]")
