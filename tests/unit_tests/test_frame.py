"""The short cut for events that differ in nothing but their text: it changes nothing."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai._answers import AnswerReader, Piece
from langchain_minitoolai._frame import ContentFrame
from tests.unit_tests.shells import STOP, event

BEFORE = b'{"id":"c","choices":[{"delta":{"content":'
AFTER = b'},"finish_reason":null}],"usage":null}'


def framed(raw: bytes) -> bytes:
    return BEFORE + raw + AFTER


def learnt(raw: bytes = b'"Ala"', text: str = "Ala") -> ContentFrame:
    frame = ContentFrame()
    frame.learn(framed(raw), text)
    return frame


def test_nothing_is_read_before_something_was_learnt() -> None:
    assert ContentFrame().read(framed(b'"ska"')) is None
    assert ContentFrame().read(b"") is None


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b'"ska"', "ska"),
        (b' "ska" ', "ska"),
        (b'""', ""),
        (rb'"\"quoted\" \\ \u00e6 \ud83d\ude00"', '"quoted" \\ æ 😀'),
        ('"æøå\u2028"'.encode(), "æøå\u2028"),
    ],
)
def test_the_text_of_an_event_like_the_last_is_read(raw: bytes, text: str) -> None:
    assert learnt().read(framed(raw)) == text
    assert learnt(raw, text).read(framed(raw)) == text


@pytest.mark.parametrize(
    "data",
    [
        framed(b"null"),
        framed(b"17"),
        framed(b'["a"]'),
        framed(b""),
        framed(b'"'),
        framed(b'"a'),
        framed(b'"a","content":"b"'),
        framed(b'"a","refusal":"b"'),
        framed(b'"caf\xe9"'),
        framed(rb'"\ud800"'),
        framed(b'"ska"').replace(b'"c"', b'"d"'),
        framed(b'"ska"').replace(b"null}]", b'"stop"}]'),
        framed(b'"ska"')[:-1],
        framed(b'"ska"') + b" ",
        b"[DONE]",
        BEFORE + AFTER[1:],
        b"",
    ],
)
def test_any_other_event_has_to_be_read_whole(data: bytes) -> None:
    assert learnt().read(data) is None


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (framed(b'"Ala"'), "ska"),
        (framed(b"null"), "Ala"),
        (b'{"text":"Ala"}', "Ala"),
        (b'{"a":{"content":"Ala"},"b":{"content":"Ala"}}', "Ala"),
        (b'{"content" :"Ala"}', "Ala"),
    ],
)
def test_nothing_is_learnt_where_it_is_not_clear_where_the_text_stands(
    data: bytes, text: str
) -> None:
    frame = learnt()
    frame.learn(data, text)
    assert frame.read(data) is None
    assert frame.read(framed(b'"ska"')) is None


FIELDS = st.sampled_from(["content", "refusal", "role", "name", 'a"content":b'])
DELTAS = st.dictionaries(FIELDS, st.none() | st.text(max_size=6), max_size=3)
CHOICES = st.fixed_dictionaries(
    {"delta": DELTAS}, optional={"finish_reason": st.sampled_from([None, "stop"])}
)
CHUNKS = st.fixed_dictionaries(
    {"choices": st.lists(CHOICES, max_size=2)},
    optional={"usage": st.none() | st.just({"a": 1}), "content": st.text(max_size=3)},
)


def told(chunks: list[bytes]) -> tuple[list[list[Piece]], str | None, object, int]:
    reader = AnswerReader()
    pieces = [reader.feed(chunk) for chunk in chunks]
    return pieces, reader.finish_reason, reader.usage, reader.events


@given(st.lists(CHUNKS, max_size=6), st.booleans())
def test_an_answer_says_the_same_with_and_without_the_short_cut(
    chunks: list[dict[str, object]], escaped: object
) -> None:
    texts = [json.dumps(chunk, ensure_ascii=bool(escaped)) for chunk in chunks]
    events = [event(text) for text in texts for _ in range(2)] + [STOP]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ContentFrame, "read", lambda *_: None)
        whole = told(events)
    assert told(events) == whole
