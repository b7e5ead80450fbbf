import itertools
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from langchain_minitoolai._tool_calling.events import (
    BrokenCall,
    CallArguments,
    CallEnd,
    CallStart,
    Event,
    Text,
)
from langchain_minitoolai._tool_calling.parser import ToolReader
from tests.unit_tests.answer_oracle import Oracle

NAMES = frozenset({"add", "now"})
ADD = '{"name": "add", "arguments": {"a": 1}}'
WITH_A = '{"name": "add", "arguments": {"a": A}}'
FIVE_THOUSAND_DIGITS = "1" * 5000


def read(pieces: Iterable[str], finish_reason: str | None = None) -> list[Event]:
    """Read an answer, its adjacent pieces merged."""
    numbers = itertools.count()
    reader = ToolReader(NAMES, lambda: f"call_{next(numbers)}")
    events = [event for piece in pieces for event in reader.feed(piece)]
    merged: list[Event] = []
    for event in events + reader.finish(finish_reason):
        last = merged[-1] if merged else None
        if isinstance(event, Text) and isinstance(last, Text):
            merged[-1] = Text(last.text + event.text)
        elif (
            isinstance(event, CallArguments)
            and isinstance(last, CallArguments)
            and event.index == last.index
        ):
            merged[-1] = CallArguments(event.index, last.text + event.text)
        else:
            merged.append(event)
    return merged


def found(answer: str, finish_reason: str | None = None) -> list[tuple[Any, ...]]:
    """Read an answer whole and in single characters; say what both found, as the oracle does."""
    events = read([answer], finish_reason)
    assert read(answer, finish_reason) == events
    return summary(events)


def summary(events: list[Event]) -> list[tuple[Any, ...]]:
    result: list[tuple[Any, ...]] = []
    names: dict[int, str] = {}
    pieces: dict[int, str] = {}
    for event in events:
        if isinstance(event, Text):
            assert event.text
            result.append(("text", event.text))
        elif isinstance(event, CallStart):
            assert event.index == len(names)
            names[event.index] = event.name
        elif isinstance(event, CallArguments):
            pieces[event.index] = pieces.get(event.index, "") + event.text
        elif isinstance(event, CallEnd):
            assert pieces[event.index] == event.arguments
            result.append(("call", names[event.index], json.loads(event.arguments)))
        else:
            assert event.started == (event.index in names)
            names.setdefault(event.index, "")
            result.append(("broken", event.name, event.raw))
    return result


def call(**arguments: Any) -> tuple[Any, ...]:
    return ("call", "add", arguments)


# --- Held against the oracle -------------------------------------------------------

FRAGMENTS = [
    *(
        "<tool_call>",
        "<tool_call>\n",
        "</tool_call>",
        "\n</tool_call>\n",
        "<TOOL_CALL>",
        "<tool",
        "<",
    ),
    *(
        "```",
        "```json\n",
        "\n```\n",
        "\n```tool_call\n",
        "`",
        "json",
        "\n",
        "\r\n",
        "   ",
        " ",
        "\t",
    ),
    *(
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        '"',
        "\\",
        "'",
        '"}',
        "hello",
        "é😀",
        "null",
        "tru",
        "12",
        "1.",
    ),
    *('"name"', '"add"', '"nope"', '"arguments"', '"input": {}', '"parameters": ', '"id": "x"'),
    *('"foo": 2', '"name": "add"', '"name": "now", ', '{"a": 1}', '{"a": ', '"{\\"a\\": 1}"'),
    *(
        '"{\\"a\\": 1"',
        '"[1]"',
        '""',
        '"x\\u12',
        "\\u00e9",
        '"{\\"s\\": \\"\\\\ud83d\\ud83d\\ude00\\"}"',
    ),
    *(
        '{"name": "add", "arguments": ',
        '{"name":"now"}',
        '{"name":"nope","args":{}}',
        '"<tool_call>"',
    ),
    '{"arguments":{"x":[1,{"y":"</tool_call>"}]},"name":"now"}',
    *([ADD] * 4),
]
ANSWERS = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=9).map("".join)


@given(ANSWERS, st.lists(st.integers(0, 200), max_size=6))
@settings(max_examples=600, deadline=None)
@example("[" + ADD + ",\n" + ADD + "] done", [])
@example('<tool_call>[{"name": "now"}, 1]</tool_call>', [])
@example('<tool_call>{"name": "add", "foo": {}}</tool_call>  x', [])
def test_any_cut_of_any_answer_finds_what_the_oracle_finds(answer: str, cuts: list[int]) -> None:
    ends = [*sorted(cuts), len(answer)]
    starts = [0, *ends[:-1]]
    pieces = [answer[start:end] for start, end in zip(starts, ends, strict=True)]
    events = read([answer])
    assert read(pieces) == events
    assert read(answer) == events
    assert summary(events) == Oracle(answer, NAMES).read()


@given(st.text(st.characters(exclude_characters="<`")))
def test_an_answer_without_markers_comes_back_as_it_is(answer: str) -> None:
    assert "".join(text for _, text in found("So: " + answer)) == "So: " + answer


# --- Calls -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        f"<tool_call>\n{ADD}\n</tool_call>",
        f"<tool_call>\r\n{ADD}\r\n</tool_call>\r\n",
        f"<tool_call>{ADD}</tool_call>",
        f"<Tool_Call>{ADD}</TOOL_CALL>",
        f"<tool_call>{ADD}",
        f"```json\n{ADD}\n```",
        f"```json\r\n{ADD}\r\n```\r\n",
        f"```JSON {ADD}```",
        f"```tool_call\n{ADD}\n```",
        f"```\n{ADD}\n```",
        f"```json\n{ADD}",
        f"\n   ```\n{ADD}\n```",
        ADD,
        f" \n{ADD}\n",
        f"[{ADD}]",
        '{"name":"add","parameters":{"a":1}}',
        '{"name":"add","args":{"a":1}}',
        '{"name":"add","input":{"a":1}}',
        '{"name":"add","arguments":"{\\"a\\":1}"}',
        '{"name":"add","arguments":" {\\"a\\":\\n1} "}',
        '{"arguments":{"a":1},"name":"add"}',
        '{"arguments":"{\\"a\\":1}","name":"add"}',
        '{"id":"7","type":"function","name":"add","arguments":{"a":1}}',
        '{"name":"add","arguments":{"a":1},"id":{"x":[2]}}',
        '{"name":"\\u0061dd","arguments":{"a":1}}',
        '{"name":"add","arguments":{"a":0,"a":1}}',
    ],
)
def test_each_way_to_write_a_call_is_read(answer: str) -> None:
    assert [what for what in found(answer) if what[1].strip()] == [call(a=1)]


@pytest.mark.parametrize(
    "arguments", ["", ', "arguments": {}', ', "arguments": null', ', "arguments": ""']
)
def test_a_call_without_arguments_gets_an_empty_object(arguments: str) -> None:
    answer = f'<tool_call>{{"name": "now"{arguments}}}</tool_call>'
    assert found(answer) == [("call", "now", {})]


def test_text_stands_around_and_between_calls_and_bare_white_space_does_not() -> None:
    block = f"<tool_call>\n{ADD}\n</tool_call>"
    assert found(f"First\n{block}\n\n{block} then {block}\n") == [
        ("text", "First\n"),
        call(a=1),
        call(a=1),
        ("text", " then "),
        call(a=1),
    ]


@pytest.mark.parametrize(
    "answer",
    [
        f"<tool_call>\n{ADD}\n{ADD}\n</tool_call>",
        f"<tool_call>[{ADD}, {ADD}]</tool_call>",
        f"<tool_call>{ADD}<tool_call>{ADD}</tool_call>",
        f"```json\n[{ADD},\n{ADD}]\n```",
        f"```json\n{ADD}\n{ADD}\n```",
        f"```json\n{ADD}\n```\n```json\n{ADD}\n```",
        f"[{ADD}, {ADD}]",
        f"{ADD}\n{ADD}",
        f"[{ADD}, {ADD}",
    ],
)
def test_several_calls_are_read_each_with_an_index_and_an_id(answer: str) -> None:
    assert found(answer) == [call(a=1), call(a=1)]
    starts = [event for event in read([answer]) if isinstance(event, CallStart)]
    assert starts == [CallStart(0, "call_0", "add"), CallStart(1, "call_1", "add")]


@pytest.mark.parametrize(
    "value",
    [
        "</tool_call>",
        "<tool_call>{}</tool_call>",
        "```",
        '{"name": "now"}',
        'a "quoted" \\ word',
        "line\nline\ttab\x01",
        "é 😀 \u2028",
        [{"deep": [[{"er": None}], True, -1.5e-3]}],
    ],
)
def test_what_stands_in_an_argument_changes_nothing(value: Any) -> None:
    for ascii_only in (True, False):
        arguments = json.dumps({"a": value}, ensure_ascii=ascii_only)
        quotation = json.dumps(arguments, ensure_ascii=ascii_only)
        plain = f'{{"name": "add", "arguments": {arguments}}}'
        quoted = f'{{"name": "add", "arguments": {quotation}}}'
        for written in (plain, quoted):
            for answer in (written, f"<tool_call>{written}</tool_call>", f"```\n{written}\n```"):
                assert found(answer) == [call(a=value)]


def test_line_ends_inside_strings_are_mended() -> None:
    assert found('{"name": "add", "arguments": {"a\n": "b\tc\n"}}') == [
        ("call", "add", {"a\n": "b\tc\n"})
    ]
    assert found('{"name":"add","arguments":"{\\"a\\": \\"b\\nc\\"}"}') == [call(a="b\nc")]


def test_surrogates_in_quoted_arguments_are_joined_and_lone_ones_stay_escapes() -> None:
    answer = '{"name":"add","arguments":"{\\"a\\": \\"\\ud83d\\ude00\\"}"}'
    assert found(answer) == [call(a="😀")]
    lone = '{"name":"add","arguments":"{\\"a\\": \\"\\ud83d\\"}"}'
    events = read([lone])
    assert events[-1] == CallEnd(0, '{"a": "\\ud83d"}')
    slashes = '{"name":"add","arguments":"{\\"a\\": \\"\\\\\\\\ud83d\\"}"}'
    assert found(slashes) == [call(a="\\ud83d")]


# --- Text --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        "Use the `<tool_call>` tag.",
        "It starts with <tool_call",
        "<tool_call>\nadd(a=1)\n</tool_call>",
        "<tool_call>" + " " * 100 + ADD,
        '<tool_call>{"name": …, "arguments": {…}}</tool_call>',
        '<tool_call>{"name": "nope", "arguments": {"a": "<tool_call>"}}</tool_call> ok',
        f"<tool_call>\n[{{}}, {ADD}]\n</tool_call>",
        '<tool_call>{"arguments": {"a": 1}}</tool_call>',
        '<tool_call>{"name": 5}</tool_call>',
        '<tool_call>{"name": ["add"]}</tool_call>',
        "<tool_call>[]</tool_call>",
        "<tool_call>[1, 2]",
        "a < b, a <t> b and ``` in a line",
        "```python\nprint({'name': 'add'})\n```\n",
        '```json\n{"name": "Ada", "age": 36}\n```\nThat is all.',
        '```json\n{"title": "x", "text": "```"}\n```',
        f"```python\nx\n```\n{ADD}\n```\n",
        f"```yaml\n{ADD}\n```",
        f"    ```\n{ADD}\n",
        f"Inline ```{ADD}```",
        "```js",
        "```json  ",
        "``",
        '{"answer": 42, "name": "add"}',
        '{"name": "add", "description": "Adds.", "parameters": {"type": "object"}}',
        '[{"name": "add", "description": "Adds.", "parameters": {"type": "object"}}]',
        '{"name": "Ada"}',
        '{"name": null, "arguments": {}}',
        '{"arguments": {}, "args": {}, "name": "add"}',
        '{"arguments": [1], "name": "add"}',
        '{"arguments": "no", "name": "add"}',
        '{"arguments": {"a": 1}, "na',
        "{not json}",
        "{",
        "[",
        "[1, 2, 3]",
        f"Bare JSON inside the text: {ADD}",
        '{"a": "<tool_call>{\\"name\\": \\"add\\"}</tool_call>"} and so on',
    ],
)
def test_what_is_no_call_of_a_bound_tool_is_text(answer: str) -> None:
    assert found(answer, "length") == [("text", answer)]


def test_nothing_is_called_where_no_tool_is_bound() -> None:
    reader = ToolReader([])
    answer = f"<tool_call>\n{ADD}\n</tool_call>"
    events = reader.feed(answer) + reader.finish()
    assert "".join(event.text for event in events if isinstance(event, Text)) == answer


def test_what_is_no_call_in_a_list_of_calls_is_text() -> None:
    assert found(f'[{ADD}, {{"name": "nope"}}, 3] x') == [
        call(a=1),
        ("text", '{"name": "nope"}, 3] x'),
    ]
    assert found(f"[{ADD}, 3]") == [call(a=1), ("text", ", 3]")]
    assert found(f"[{ADD} x") == [call(a=1), ("text", " x")]


def test_a_call_in_a_fence_leaves_the_rest_of_the_fence_as_text() -> None:
    assert found(f"```json\n{ADD}\nx\n```\n{ADD}") == [call(a=1), ("text", f"\nx\n```\n{ADD}")]


# --- Broken calls ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "name", "word"),
    [
        ('{"name": "add", "arguments": {"a": 1,}}', "add", "'}'"),
        ("{'name': 'add', 'arguments': {}}", None, "'"),
        ('{"name": "add", "arguments": {"a": \'x\'}}', "add", "'"),
        ('{"name": "add", "arguments": {a: 1}}', "add", "'a'"),
        ('{"name": "add", "arguments": {"a": 1}', "add", "'<'"),
        ('{"name": "add", "arguments": {"a": "\\x"}}', "add", "escape"),
        ('{"name": "add", "arguments": {}, "args": {}}', "add", "arguments twice"),
        ('{"name": "add", "name": "now"}', "add", "name twice"),
        ('{"name": "add", "a": 1}', "add", "'a' is no key"),
        ('{"thought": "I add", "name": "add"}', None, "'thought' is no key"),
        ('{"name": "add", "arguments": [1]}', "add", "no JSON object"),
        ('{"name": "add", "arguments": 5}', "add", "no JSON object"),
        ('{"name": "add", "arguments": "5"}', "add", "no JSON object"),
        ('{"name": "add", "arguments": "{\\"a\\": 1"}', "add", "too early"),
        ('{"name": "add", "arguments": "{\\"a\\": 1}}"}', "add", "more than one"),
        ('{"name": "add", "arguments": "{\\"a\\": x} "}', "add", "'x'"),
        (WITH_A.replace("A", FIVE_THOUSAND_DIGITS), "add", "digits"),
        (WITH_A.replace("A", ("[" * 200)), "add", "nested"),
    ],
)
def test_a_broken_call_in_tags_is_told_with_its_text_and_the_reason(
    raw: str, name: str | None, word: str
) -> None:
    answer = f"Now <tool_call>\n{raw}\n</tool_call> and on."
    assert found(answer) == [("text", "Now "), ("broken", name, raw), ("text", " and on.")]
    broken = next(event for event in read([answer]) if isinstance(event, BrokenCall))
    assert word in broken.reason
    assert not any(isinstance(event, CallEnd) for event in read([answer]))


def test_a_broken_call_in_a_fence_ends_with_the_fence_and_a_bare_one_with_the_answer() -> None:
    raw = '{"name": "add", "arguments": {"a": 1,}}'
    assert found(f"```json\n{raw}\n```\nOn.") == [("broken", "add", raw), ("text", "\nOn.")]
    assert found(f"{raw}\nOn <tool_call>{ADD}") == [
        ("broken", "add", f"{raw}\nOn <tool_call>{ADD}")
    ]


def test_a_broken_call_without_its_closing_tag_runs_to_the_end() -> None:
    raw = '{"name": "add", "arguments": {"a": 1,}} </tool'
    assert found(f"<tool_call>{raw}") == [("broken", "add", raw)]
    assert found("<tool_call>{none </tool") == [("text", "<tool_call>{none </tool")]


def test_letters_that_grow_in_lower_case_do_not_move_the_end_of_a_broken_call() -> None:
    raw = "{'name': 'add', 'a': 'İİİİ'}"
    assert found(f"<tool_call>{raw}</tool_call>On.") == [("broken", None, raw), ("text", "On.")]


def test_what_follows_a_broken_call_is_read() -> None:
    answer = f"<tool_call>{{'add'}}</tool_call>\n<tool_call>{ADD}</tool_call>"
    assert found(answer) == [("broken", None, "{'add'}"), call(a=1)]


@pytest.mark.parametrize(
    ("answer", "name", "raw"),
    [
        ("<tool_call>\n", None, ""),
        ("<tool_call>\n{", None, "{"),
        ("<tool_call>\n[", None, "["),
        ('<tool_call>\n{"name": "ad', None, '{"name": "ad'),
        ('<tool_call>\n{"name": "add', None, '{"name": "add'),
        ('<tool_call>\n{"name": "add"', "add", '{"name": "add"'),
        (
            '<tool_call>\n{"name": "add", "arguments": {"a": 1',
            "add",
            '{"name": "add", "arguments": {"a": 1',
        ),
        (
            '<tool_call>\n{"name": "add", "arguments": {"a": 1}',
            "add",
            '{"name": "add", "arguments": {"a": 1}',
        ),
        ('```json\n{"name": "add", "argu', "add", '{"name": "add", "argu'),
        ('{"name": "add", "arguments": "{\\"a', "add", '{"name": "add", "arguments": "{\\"a'),
    ],
)
def test_a_call_that_was_cut_is_a_broken_call(answer: str, name: str | None, raw: str) -> None:
    assert found(answer, "length") == [("broken", name, raw)]
    broken = read([answer], "length")[-1]
    assert isinstance(broken, BrokenCall)
    assert "length limit" in broken.reason


# --- Streaming ---------------------------------------------------------------------


def test_text_flows_at_once_and_only_what_may_be_a_marker_is_held() -> None:
    reader = ToolReader(NAMES)
    assert reader.feed("") == []
    assert reader.feed("Hello") == [Text("Hello")]
    assert reader.feed(" you, a <") == [Text(" you, a ")]
    assert reader.feed("b") == [Text("<b")]
    assert reader.feed(" and `code`") == [Text(" and `code`")]
    assert reader.feed("\n``") == [Text("\n")]
    assert reader.feed("x") == [Text("``x")]
    assert reader.feed("<tool_c") == []
    assert reader.finish() == [Text("<tool_c")]


@pytest.mark.parametrize("first", ["\n", "Hi", "*", "é", "0", "}"])
def test_the_first_piece_of_plain_text_waits_for_nothing(first: str) -> None:
    assert ToolReader(NAMES).feed(first) == [Text(first)]


def test_json_that_opens_the_answer_is_let_go_as_soon_as_it_can_be_no_call() -> None:
    reader = ToolReader(NAMES)
    assert reader.feed('{"answer') == []
    assert reader.feed('":') == [Text('{"answer":')]
    assert reader.feed(' "x') == [Text(' "x')]
    reader = ToolReader(NAMES)
    assert reader.feed("[") == []
    assert reader.feed("1, ") == [Text("[1, ")]


def test_a_call_streams_its_name_first_and_then_its_arguments() -> None:
    reader = ToolReader(NAMES, lambda: "call_0")
    assert reader.feed('<tool_call>\n{"name": "add') == []
    assert reader.feed('", ') == [CallStart(0, "call_0", "add")]
    assert reader.feed('"arguments": {"a"') == [CallArguments(0, '{"a"')]
    assert reader.feed(': "x y') == [CallArguments(0, ': "x y')]
    assert reader.feed('"}') == [CallArguments(0, '"}')]
    assert reader.feed("}") == [CallEnd(0, '{"a": "x y"}')]
    assert reader.feed("\n</tool_call>\n") == []
    assert reader.feed("Ok") == [Text("\nOk")]
    assert reader.finish("stop") == []


def test_quoted_arguments_stream_unescaped() -> None:
    reader = ToolReader(NAMES, lambda: "call_0")
    assert reader.feed('{"name": "add", "arguments": "{\\"a') == [
        CallStart(0, "call_0", "add"),
        CallArguments(0, "{"),
    ]
    assert reader.feed('\\": \\"x') == [CallArguments(0, '"a": "x')]


def test_arguments_before_the_name_wait_for_it() -> None:
    reader = ToolReader(NAMES, lambda: "call_0")
    assert reader.feed('{"arguments": {"a": 1}, ') == []
    assert reader.feed('"name": "add"') == [
        CallStart(0, "call_0", "add"),
        CallArguments(0, '{"a": 1}'),
    ]


def test_a_reader_keeps_nothing_of_the_text_that_has_passed() -> None:
    reader = ToolReader(NAMES)
    for piece in ("word " * 100, "a < b ", "`x` ", '\n```py\nf({"a": 1})\n```\n', *"words") * 50:
        reader.feed(piece)
    kept = [value for value in vars(reader).values() if isinstance(value, str)]
    assert max(map(len, kept)) < 10
