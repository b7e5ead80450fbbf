from typing import Any

import pytest

from langchain_minitoolai._tool_calling.events import (
    CallArguments,
    CallEnd,
    CallStart,
    Event,
    InvalidCall,
)
from langchain_minitoolai._tool_calling.native import NativeToolCallParser, native_fields
from langchain_minitoolai.errors import InvalidInputError

ADD = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
NOW = {"type": "function", "function": {"name": "now"}}


def delta(index: int | None = 0, arguments: str | None = None, **call: Any) -> dict[str, Any]:
    name = call.pop("name", None)
    function = {"name": name, "arguments": arguments}
    call["function"] = {key: value for key, value in function.items() if value is not None}
    return call if index is None else {"index": index, **call}


def read(*deltas: Any, finish_reason: str | None = "tool_calls") -> list[Event]:
    reader = NativeToolCallParser(new_id=lambda: "call_new")
    return [event for each in deltas for event in reader.feed(each)] + reader.finish(finish_reason)


def test_the_fields_are_openai_s() -> None:
    assert native_fields([ADD, NOW]) == {"tools": [ADD, NOW]}
    assert native_fields([ADD], "required", parallel_tool_calls=False) == {
        "tools": [ADD],
        "tool_choice": "required",
        "parallel_tool_calls": False,
    }
    assert native_fields([ADD, NOW], "now") == {
        "tools": [ADD, NOW],
        "tool_choice": {"type": "function", "function": {"name": "now"}},
    }


def test_without_tools_only_a_format_is_sent() -> None:
    assert native_fields([], parallel_tool_calls=True) == {}
    assert native_fields([ADD], "none", response_format={"type": "json_object"}) == {
        "response_format": {"type": "json_object"}
    }


def test_a_name_that_is_not_bound_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="'sub'"):
        native_fields([ADD], "sub")


def test_a_call_streams_its_name_then_its_arguments() -> None:
    assert read(
        [delta(id="call_1", name="add", arguments="")],
        [delta(arguments='{"a"')],
        [delta(arguments=": 1}")],
    ) == [
        CallStart(0, "call_1", "add"),
        CallArguments(0, '{"a"'),
        CallArguments(0, ": 1}"),
        CallEnd(0, '{"a": 1}'),
    ]


def test_several_calls_are_kept_apart_by_index_by_id_or_by_place() -> None:
    for indexes, ids in (
        ((0, 1), (None, None)),
        ((None, None), ("x", "y")),
        ((None, None), (None, None)),
    ):
        first = delta(indexes[0], name="add", arguments='{"a": 1}', id=ids[0])
        second = delta(indexes[1], name="now", arguments="{}", id=ids[1])
        assert read([first, second]) == [
            CallStart(0, ids[0] or "call_new", "add"),
            CallArguments(0, '{"a": 1}'),
            CallStart(1, ids[1] or "call_new", "now"),
            CallArguments(1, "{}"),
            CallEnd(0, '{"a": 1}'),
            CallEnd(1, "{}"),
        ]


def test_a_call_without_arguments_gets_an_empty_object() -> None:
    assert read([delta(name="now", id="x")]) == [
        CallStart(0, "x", "now"),
        CallArguments(0, "{}"),
        CallEnd(0, "{}"),
    ]


def test_arguments_wait_for_the_name_and_a_repeated_name_counts_once() -> None:
    assert read(
        [delta(arguments='{"a"', id="x")], [delta(name="add", arguments=":1}")], [delta(name="add")]
    ) == [
        CallStart(0, "x", "add"),
        CallArguments(0, '{"a":1}'),
        CallEnd(0, '{"a":1}'),
    ]


@pytest.mark.parametrize("junk", [None, "x", {}, [None, "x"]])
def test_what_is_not_in_the_form_is_ignored(junk: Any) -> None:
    assert read(junk) == []


@pytest.mark.parametrize(
    ("call", "finish_reason", "word"),
    [
        (delta(arguments="{}"), "tool_calls", "no tool"),
        ({"index": 0, "function": None}, "tool_calls", "no tool"),
        (delta(name="add", arguments='{"a": 1,}'), "tool_calls", "can't be read"),
        (delta(name="add", arguments="[" * 100_000), "tool_calls", "can't be read"),
        (delta(name="add", arguments='{"a": 1'), "length", "length limit"),
        (delta(name="add"), "length", "length limit"),
        (delta(name="add"), "content_filter", "content filter"),
        (delta(name="add", arguments="[1]"), "tool_calls", "no JSON object"),
    ],
)
def test_a_broken_call_is_reported_with_its_text_and_the_reason(
    call: dict[str, Any], finish_reason: str, word: str
) -> None:
    broken = read([call], finish_reason=finish_reason)[-1]
    assert isinstance(broken, InvalidCall)
    assert word in broken.reason
    function = call["function"] or {}
    assert broken.raw == function.get("arguments", "")
    assert broken.name == function.get("name")
    assert broken.started == ("name" in function)
    assert broken.id == "call_new"
    assert broken.suffix


def test_native_calls_in_an_answer_read_for_others_are_invalid() -> None:
    parser = NativeToolCallParser(refuse=True, new_id=lambda: "call_new")
    assert parser.feed([delta(name="add", arguments='{"a"')]) == []
    (event,) = [*parser.feed([delta(arguments=": 1}")]), *parser.finish("tool_calls")]
    assert isinstance(event, InvalidCall)
    assert (event.index, event.name, event.raw) == (None, "add", '{"a": 1}')
    assert event.reason == "the service sent a native call, and tool_calling is 'prompted'"
    assert not event.started
