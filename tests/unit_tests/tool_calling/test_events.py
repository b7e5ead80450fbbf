import functools
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk

from langchain_minitoolai._tool_calling.events import (
    decode_arguments,
    invalidating_suffix,
    new_call_id,
    truncation_reason,
)


def test_an_id_is_call_and_24_letters_or_digits_and_never_the_same() -> None:
    ids = {new_call_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"call_[0-9a-z]{24}", call_id) for call_id in ids)


@pytest.mark.parametrize(
    ("finish_reason", "word"),
    [
        ("length", "length limit"),
        ("content_filter", "content filter"),
        ("stop", "ended"),
        (None, "ended"),
    ],
)
def test_the_reason_says_what_cut_the_call(finish_reason: str | None, word: str) -> None:
    assert word in truncation_reason(finish_reason)


NOTHING: list[Any] = []
JSON_LIKE = st.text(st.sampled_from('{}[]",:\\1a\n '), max_size=12)


@given(JSON_LIKE)
def test_core_reads_no_call_from_made_invalid_arguments(arguments: str) -> None:
    chunk = tool_call_chunk(
        name="add", args=arguments + invalidating_suffix(arguments), id="call_1", index=0
    )
    message = AIMessageChunk(content="", tool_call_chunks=[chunk])
    assert not message.tool_calls
    assert len(message.invalid_tool_calls) == 1


@pytest.mark.parametrize("cut", range(len('{"a": [{"b": "c\\"d"}], "e": 1}') + 1))
def test_core_reads_no_call_from_arguments_that_were_cut_and_made_invalid(cut: int) -> None:
    arguments = '{"a": [{"b": "c\\"d"}], "e": 1}'[:cut]
    chunk = tool_call_chunk(
        name="add", args=arguments + invalidating_suffix(arguments), id="call_1", index=0
    )
    assert not AIMessageChunk(content="", tool_call_chunks=[chunk]).tool_calls


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ("[1]", "no JSON object"),
        ([1], "no JSON object"),
        ("{", "Expecting"),
        ('{"a": NaN}', "NaN"),
        ("[" * 50_000, "nested too deep"),
        (
            {"a": functools.reduce(lambda inner, _: [inner], range(100), NOTHING)},
            "nested deeper than 100",
        ),
    ],
)
def test_arguments_that_are_no_plain_object_are_refused(arguments: Any, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        decode_arguments(arguments)


def test_arguments_are_decoded_or_taken_as_they_are() -> None:
    assert decode_arguments('{"a": "b\n"}') == decode_arguments({"a": "b\n"}) == {"a": "b\n"}
