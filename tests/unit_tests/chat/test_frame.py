"""The short cut for events that differ in nothing but their text: it changes nothing."""

import json
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from langchain_minitoolai._chat.stream import AnswerReader, Piece
from langchain_minitoolai._frame import ContentFrame
from langchain_minitoolai.errors import MiniToolAIError
from tests.unit_tests.shells import STOP, event

BEFORE = b'{"id":"c","choices":[{"delta":{"content":'
AFTER = b'},"finish_reason":null}],"usage":null}'


def framed(raw: bytes) -> bytes:
    return BEFORE + raw + AFTER


def lines(*raws: bytes) -> bytes:
    return b"".join(b"data: " + framed(raw) + b"\n\n" for raw in raws)


def learnt(raw: bytes = b'"Ala"', text: str = "Ala") -> ContentFrame:
    frame = ContentFrame()
    frame.learn(framed(raw), text)
    return frame


def test_nothing_is_read_before_something_was_learnt() -> None:
    assert ContentFrame().text(framed(b'"ska"')) is None
    assert ContentFrame().text(b"") is None
    assert ContentFrame().texts(lines(b'"ska"')) == ([], lines(b'"ska"'))


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
    assert learnt().text(framed(raw)) == text
    assert learnt(raw, text).text(framed(raw)) == text
    assert learnt().texts(lines(raw)) == ([text], b"")
    assert learnt().texts(lines(raw, b'"x"', raw)) == ([text, "x", text], b"")


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
    assert learnt().text(data) is None
    block = b"data: " + data + b"\n\n"
    assert learnt().texts(block) == ([], block)


@pytest.mark.parametrize(
    "raws",
    [
        (b'"a","x', b'y"'),  # none of these is a text, and together they must not be two
        (rb'"a","x\"', b'"'),
        (rb'"x\"', b'","b"'),
        (b'"a",["b"', b'"c"]'),
        (b'"a"', b""),
        (b'"a","b"', b""),
        (b'"a"', b"null"),
        (b'"a"', b'"caf\xe9"'),
        (b'"a"', b'\n"b"'),
        (b'"a"\r',),
        (b'"a"', b'"b"\n\n'),
    ],
)
def test_events_that_are_no_texts_one_by_one_are_none_together(raws: tuple[bytes, ...]) -> None:
    assert learnt().texts(lines(*raws)) == ([], lines(*raws))


def test_what_follows_the_events_that_are_alike_is_given_back() -> None:
    for rest in (b"data: [DONE]\n\n", b"data: {", b": comment\n\n", STOP):
        assert learnt().texts(lines(b'"a"', b'"b"') + rest) == (["a", "b"], rest)
    block = STOP + lines(b'"a"')
    assert learnt().texts(block) == ([], block)
    block = lines(b'"a"') + STOP + lines(b'"b"')
    assert learnt().texts(block) == ([], block)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (framed(b'"Ala"'), "ska"),
        (framed(b"null"), "Ala"),
        (b'{"text":"Ala"}', "Ala"),
        (b'{"a":{"content":"Ala"},"b":{"content":"Ala"}}', "Ala"),
        (b'{"content" :"Ala"}', "Ala"),
        (b'{"content":"Ala","refusal":"Ala"}', "Ala"),
        (rb'{"content":"Ala","\u0063ontent":"Ala"}', "Ala"),
    ],
)
def test_nothing_is_learnt_where_it_is_not_clear_where_the_text_stands(
    data: bytes, text: str
) -> None:
    frame = learnt()
    frame.learn(data, text)
    assert frame.text(data) is None
    assert frame.text(framed(b'"ska"')) is None


FIELDS = st.sampled_from(["content", "refusal", "role", "name", 'a"content":b'])
DELTAS = st.dictionaries(FIELDS, st.none() | st.text(max_size=6), max_size=3)
CHOICES = st.fixed_dictionaries(
    {"delta": DELTAS}, optional={"finish_reason": st.sampled_from([None, "stop"])}
)
CHUNKS = st.fixed_dictionaries(
    {"choices": st.lists(CHOICES, max_size=2)},
    optional={"usage": st.none() | st.just({"a": 1}), "content": st.text(max_size=3)},
)


RAW = st.one_of(
    st.text(max_size=4).map(lambda text: json.dumps(text).encode()),
    st.sampled_from(
        [
            b'"a","x',
            b'y"',
            b'"',
            b"",
            rb'"x\"',
            b"null",
            b'"\n\n"',
            b'["a"]',
            b' "a" ',
            b'\n"a"',
            b'"a"\r',
        ]
    ),
)


def told(blocks: list[bytes]) -> tuple[list[Piece], str, str | None, object, int]:
    """Read an answer; give its pieces, what went wrong, and all that the reader knows."""
    reader, pieces, wrong = AnswerReader(), [], ""
    try:
        for block in blocks:
            pieces += reader.feed(block)
        reader.check()
    except MiniToolAIError as error:
        wrong = repr(error)
    return pieces, wrong, reader.finish_reason, reader.usage, reader.events


def told_without(blocks: list[bytes]) -> tuple[list[Piece], str, str | None, object, int]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ContentFrame, "text", lambda *_: None)
        patch.setattr(ContentFrame, "texts", lambda _, block: ([], block))
        return told(blocks)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({0, len(data), *(place for place in places if place < len(data))})
    return [data[a:b] for a, b in pairwise(ends)]


PLACES = st.lists(st.integers(1, 900), max_size=5)


@given(st.lists(CHUNKS, max_size=6), st.booleans(), PLACES)
def test_an_answer_says_the_same_with_and_without_the_short_cut(
    chunks: list[dict[str, object]], escaped: object, places: list[int]
) -> None:
    texts = [json.dumps(chunk, ensure_ascii=bool(escaped)) for chunk in chunks]
    events = [event(text) for text in texts for _ in range(2)] + [STOP]
    assert told(events) == told_without(events)
    blocks = cut(b"".join(events), places)
    assert told(blocks) == told_without(blocks)


@given(st.lists(RAW, max_size=6), PLACES)
@example([rb'"x\"', b'","b"'], [])
def test_a_broken_event_is_one_with_and_without_the_short_cut(
    raws: list[bytes], places: list[int]
) -> None:
    blocks = cut(lines(b'"Ala"', *raws) + STOP, places)
    assert told(blocks) == told_without(blocks)
