import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai._chat.code_fence import JsonUnwrapper

OPENINGS = ["```json\n", "```JSON\r\n", "```\n", "\n ```json  \n"]
CLOSINGS = ["\n```", "```", "\n```\n", "\r\n``` \n\n"]

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
SCRAPS = st.text("`json\n\r {}ab", max_size=20)


def unwrap(*pieces: str) -> str:
    unwrapper = JsonUnwrapper()
    return "".join(map(unwrapper.feed, pieces)) + unwrapper.flush()


@pytest.mark.parametrize("opening", OPENINGS)
@pytest.mark.parametrize("closing", CLOSINGS)
def test_a_fence_comes_off_in_whatever_form(opening: str, closing: str) -> None:
    assert unwrap(f'{opening}{{"a": "`"}}{closing}') == '{"a": "`"}'
    assert unwrap(*f'{opening}{{"a": "`"}}{closing}') == '{"a": "`"}'


@given(VALUES, st.sampled_from(OPENINGS), st.sampled_from(CLOSINGS), st.integers(1, 7))
def test_json_in_a_fence_comes_out_whole(
    value: object, opening: str, closing: str, size: int
) -> None:
    text = opening + json.dumps(value, ensure_ascii=False) + closing
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert json.loads(unwrap(*pieces)) == value


@given(st.lists(SCRAPS, max_size=6))
def test_any_cut_of_the_text_gives_what_the_whole_text_gives(pieces: list[str]) -> None:
    assert unwrap(*pieces) == unwrap("".join(pieces))


@given(st.lists(SCRAPS, max_size=4), st.sampled_from(OPENINGS), st.sampled_from(["", *CLOSINGS]))
def test_any_cut_of_a_fenced_text_gives_what_the_whole_text_gives(
    pieces: list[str], opening: str, closing: str
) -> None:
    pieces = [opening, *pieces, closing]
    whole = unwrap("".join(pieces))
    assert unwrap(*pieces) == whole
    assert unwrap(*"".join(pieces)) == whole


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        '{"a": 1}\n```',
        "plain words",
        "  words with ```json\n{}\n``` inside",
        "```python\nprint()\n```",
        "``",
        "```js",
        "```",
        "",
        " \n ",
    ],
)
def test_text_without_an_opening_fence_passes_as_it_is(text: str) -> None:
    assert unwrap(text) == text
    assert unwrap(*text) == text


def test_json_without_a_fence_flows_at_once() -> None:
    unwrapper = JsonUnwrapper()
    assert unwrapper.feed('{"a"') == '{"a"'
    assert unwrapper.feed(": 1}") == ": 1}"


def test_json_in_a_fence_flows_too() -> None:
    unwrapper = JsonUnwrapper()
    assert unwrapper.feed("```json\n") == ""
    assert unwrapper.feed('{"a"') == '{"a"'
    assert unwrapper.feed(": 1}\n``") == ": 1}"
    assert unwrapper.feed("`\n") == ""
    assert unwrapper.flush() == ""


def test_what_looked_like_a_closing_fence_and_was_none_is_given_back() -> None:
    assert unwrap("```json\n1\n``") == "1\n``"
    assert unwrap("```json\n1\n```\n", "2") == "1\n```\n2"
