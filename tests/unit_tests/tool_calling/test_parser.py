import itertools
import json
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from canitoolcall.fixtures import Fixture, load_fixtures
from hypothesis import example, given, settings
from hypothesis import strategies as st

from langchain_minitoolai._tool_calling.events import (
    CallArguments,
    CallEnd,
    CallStart,
    Event,
    InvalidCall,
    Text,
)
from langchain_minitoolai._tool_calling.parser import MAX_UNKEYED, ToolCallParser
from langchain_minitoolai._tool_calling.quotations import Quotations

NAMES = frozenset({"add", "now"})
KEY = "k3f9ab"
TAG = f'<tool_call key="{KEY}">'
MASKED = '<tool_call key="k-3f9ab">'
END = "</tool_call>"
ADD = '{"name": "add", "arguments": {"a": 1}}'
KEYED = f"{TAG}\n{ADD}\n{END}"
UNKEYED = f"<tool_call>\n{ADD}\n{END}"
FIVE_THOUSAND_DIGITS = "1" * 5000


def read(
    pieces: Iterable[str],
    finish_reason: str | None = None,
    names: Iterable[str] = NAMES,
    **options: Any,
) -> list[Event]:
    """Parse an answer, its adjacent pieces merged."""
    numbers = itertools.count()
    parser = ToolCallParser(names, KEY, new_id=lambda: f"call_{next(numbers)}", **options)
    events = [event for piece in pieces for event in parser.feed(piece)]
    merged: list[Event] = []
    for event in events + parser.finish(finish_reason):
        last = merged[-1] if merged else None
        if isinstance(event, Text) and isinstance(last, Text):
            merged[-1] = Text(last.text + event.text)
        elif isinstance(event, CallArguments) and isinstance(last, CallArguments):
            assert event.index == last.index
            merged[-1] = CallArguments(event.index, last.text + event.text)
        else:
            merged.append(event)
    return merged


def found(answer: str, finish_reason: str | None = None, **options: Any) -> list[tuple[Any, ...]]:
    """Parse an answer whole and in single characters, and sum up what both found."""
    events = read([answer], finish_reason, **options)
    with untraced():
        assert read(answer, finish_reason, **options) == events
    return summary(events)


@contextmanager
def untraced() -> Iterator[None]:
    """Run without coverage's tracing, which takes more time than parsing."""
    trace = sys.gettrace()
    sys.settrace(None)
    try:
        yield
    finally:
        sys.settrace(trace)


def summary(events: list[Event]) -> list[tuple[Any, ...]]:
    result: list[tuple[Any, ...]] = []
    names: dict[int | None, str] = {}
    pieces: dict[int | None, str] = {}
    for event in events:
        if isinstance(event, Text):
            assert event.text
            assert KEY not in event.text
            result.append(("text", event.text))
        elif isinstance(event, CallStart):
            assert event.index == len(names)
            names[event.index] = event.name
        elif isinstance(event, CallArguments):
            pieces[event.index] = pieces.get(event.index, "") + event.text
        elif isinstance(event, CallEnd):
            assert pieces[event.index] == event.arguments
            arguments = json.loads(event.arguments, strict=False)
            result.append(("call", names[event.index], arguments))
        else:
            assert event.started == (event.index in names)
            names.setdefault(event.index, "")
            result.append(("invalid", event.name, event.raw))
    return result


def call(**arguments: Any) -> tuple[Any, ...]:
    return ("call", "add", arguments)


# --- Any cut gives the same, and answers made of known parts give these parts ----------------

FRAGMENTS = [
    *(TAG, f"{TAG}\n", TAG.upper(), "<tool_call>", "<tool_call>\n", END, f"\n{END}\n"),
    *('<tool_call key="x">', f"<tool_call key='{KEY}'>", "<TOOL_CALL>", "<tool", "<", KEY),
    *("<think>", "</think>", "<think>\n", "\n</think>\n"),
    *("```", "```json\n", "\n```\n", "\n```tool_call\n", "`", "``", "~~~\n", "json", "\n", "\r\n"),
    *("   ", " ", "\t", "{", "}", "[", "]", ",", ":", '"', "\\", "'", '"}', "hello", "é😀", "null"),
    *('"name"', '"add"', '"nope"', '"arguments"', '"input": {}', '"parameters": ', '"id": "x"'),
    *('"foo": 2', '"name": "add"', '"name": "now", ', '{"a": 1}', '{"a": ', '"{\\"a\\": 1}"'),
    *(
        '{"name": "add", "arguments": ',
        '{"name":"now"}',
        '{"name":"nope","args":{}}',
        '"<tool_call>"',
    ),
    '{"arguments":{"x":[1,{"y":"</tool_call>"}]},"name":"now"}',
    *([ADD] * 4),
    *([KEYED, UNKEYED] * 2),
]
ANSWERS = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=9).map("".join)


@given(ANSWERS, st.lists(st.integers(0, 200), max_size=6))
@settings(max_examples=200)
@example(f"<tool_call>{ADD}<tool_call>{ADD}{END}", [])
@example('<tool_call>{ not "a <tool_call>{', [])
@example(f"```json\n{ADD}\n```\n{ADD}", [])
@example(f"<think>\n{ADD}</think>{ADD}", [])
def test_any_cut_of_any_answer_gives_the_same_events(answer: str, cuts: list[int]) -> None:
    ends = [*sorted(cuts), len(answer)]
    starts = [0, *ends[:-1]]
    pieces = [answer[start:end] for start, end in zip(starts, ends, strict=True)]
    with untraced():
        events = read([answer])
        assert read(pieces) == events
        assert read(answer) == events
        summary(events)


ARGUMENTS = st.dictionaries(
    st.text(max_size=5),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=9)
        | st.sampled_from(FRAGMENTS),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=3,
    ),
    max_size=2,
)
WORDS = st.sampled_from(
    ["Now I add. ", "a < b\n", "Use `<tool_call>{` here.\n", "**x** ~ y\n", "{}\n"]
)


@given(
    st.lists(
        st.tuples(WORDS, st.lists(ARGUMENTS, min_size=1, max_size=2), st.booleans(), st.booleans()),
        min_size=1,
        max_size=3,
    )
)
@settings(max_examples=50)
def test_answers_made_of_text_and_keyed_calls_give_that_text_and_those_calls(
    parts: list[tuple[str, list[dict[str, Any]], bool, bool]],
) -> None:
    answer = "So: "
    expected: list[tuple[Any, ...]] = [("text", answer)]
    for text, calls, ascii_only, fenced in parts:
        dumped = [json.dumps(each, ensure_ascii=ascii_only) for each in calls]
        written = "".join(f'{TAG}{{"name": "add", "arguments": {each}}}\n{END}' for each in dumped)
        answer += text + (f"\n```xml\n{written}\n```\n" if fenced else written)
        shown = f"{text}\n" if fenced else text
        if expected[-1][0] == "text":
            expected[-1] = ("text", expected[-1][1] + shown)
        else:
            expected.append(("text", shown))
        expected += [("call", "add", each) for each in calls]
    assert found(answer) == expected


@given(st.text(st.characters(exclude_characters="<`~{[")))
def test_an_answer_without_marks_comes_back_as_it_is(answer: str) -> None:
    assert "".join(text for _, text in found("So: " + answer)) == "So: " + answer


# --- The fixtures of canitoolcall ------------------------------------------------------------

HERMES = [each for each in load_fixtures() if each.family == "qwen3-hermes"]


@pytest.mark.parametrize("keyed", [True, False], ids=["keyed", "unkeyed"])
@pytest.mark.parametrize("fixture", HERMES, ids=lambda fixture: fixture.id.partition("/")[2])
def test_outputs_of_real_models_give_what_their_collection_expects(
    fixture: Fixture, *, keyed: bool
) -> None:
    output = fixture.raw_output
    answer = re.sub(r"<tool_call>(?=\s*(?:[\[{]|\Z))", TAG, output) if keyed else output
    names = [tool["function"]["name"] for tool in fixture.tools]
    result = found(answer, names=names)
    calls = [(name, *rest) for kind, name, *rest in result if kind == "call"]
    text = "".join(each[1] for each in result if each[0] == "text")
    expected = fixture.expected
    if expected is None:
        assert calls == []
        return
    assert calls == [(each.name, each.arguments) for each in expected.tool_calls]
    thoughts, end, said = text.rpartition("</think>")
    if expected.reasoning_content and not end:
        thoughts, said = text, ""
    assert said.strip() == (expected.content or "").strip()
    thought = thoughts.strip().removeprefix("<think>").strip()
    assert thought == (expected.reasoning_content or "").strip()


# --- Calls with the key ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        KEYED,
        f"{TAG}\r\n{ADD}\r\n{END}\r\n",
        f"{TAG}{ADD}{END}",
        f"{TAG}{ADD}</Tool_Call>",
        f'<TOOL_CALL  key = "{KEY}" >{ADD}{END}',
        f"{TAG}{ADD}",
        f"{TAG}" + "\n" * 500 + ADD,
        f"{TAG}{ADD}}}{END}",
        f"```json\n{KEYED}\n```",
        f"```\n{KEYED}\n```\n",
        f"   ~~~~xml\n{KEYED}\n~~~~",
        f"```{KEYED}```",
        f"```\n{KEYED}",
        f"{TAG}[{ADD}]{END}",
        f'{TAG}{{"name":"add","parameters":{{"a":1}}}}{END}',
        f'{TAG}{{"name":"add","args":{{"a":1}}}}{END}',
        f'{TAG}{{"name":"add","input":{{"a":1}}}}{END}',
        f'{TAG}{{"name":"add","arguments":"{{\\"a\\":1}}"}}{END}',
        f'{TAG}{{"name":"add","arguments":" {{\\"a\\":\\n1}} "}}{END}',
        f'{TAG}{{"arguments":{{"a":1}},"name":"add"}}{END}',
        f'{TAG}{{"id":"7","type":"function","name":"add","arguments":{{"a":1}}}}{END}',
        f'{TAG}{{"name":"add","arguments":{{"a":1}},"id":{{"x":[2]}}}}{END}',
        f'{TAG}{{"name":"\\u0061dd","arguments":{{"a":1}}}}{END}',
        f'{TAG}{{"name":"add","arguments":{{"a":0,"a":1}}}}{END}',
    ],
)
def test_each_way_to_write_a_keyed_call_is_read(answer: str) -> None:
    assert found(answer.lstrip(" ")) == [call(a=1)]
    assert found(f"Now:\n{answer}")[-1] == call(a=1)


@pytest.mark.parametrize(
    "given", ["", ', "arguments": {}', ', "arguments": null', ', "arguments": ""']
)
def test_a_keyed_call_without_arguments_gets_an_empty_object(given: str) -> None:
    assert found(f'{TAG}{{"name": "now"{given}}}{END}') == [("call", "now", {})]


def test_text_stands_around_and_between_calls_and_bare_white_space_does_not() -> None:
    assert found(f"First\n{KEYED}\n\n{KEYED} then {KEYED}\n") == [
        ("text", "First\n"),
        call(a=1),
        call(a=1),
        ("text", " then "),
        call(a=1),
    ]


def test_a_fence_with_more_than_calls_in_it_stays() -> None:
    assert found(f"```\n{KEYED}\nx\n```\n") == [call(a=1), ("text", "```\n\nx\n```\n")]
    assert found(f"```\nx\n{KEYED}\n```\nOn") == [
        ("text", "```\nx\n"),
        call(a=1),
        ("text", "\n```\nOn"),
    ]
    assert found(f"```\n{KEYED}\n``` x") == [call(a=1), ("text", "```\n\n``` x")]
    assert found(f"``\n{KEYED}") == [("text", "``\n"), call(a=1)]


@pytest.mark.parametrize(
    "answer",
    [
        f"{TAG}\n{ADD}\n{ADD}\n{END}",
        f"{TAG}[{ADD}, {ADD}]{END}",
        f"{TAG}{ADD}{TAG}{ADD}{END}",
        f"{KEYED}\n{KEYED}",
        f"```json\n{KEYED}\n```\n```json\n{KEYED}\n```",
        f"{KEYED}\n{UNKEYED}",
    ],
)
def test_several_calls_are_read_each_with_an_index_and_an_id(answer: str) -> None:
    assert found(answer) == [call(a=1), call(a=1)]
    starts = [event for event in read([answer]) if isinstance(event, CallStart)]
    assert starts == [CallStart(0, "call_0", "add"), CallStart(1, "call_1", "add")]


@pytest.mark.parametrize(
    "value",
    [
        END,
        "<tool_call>{}</tool_call>",
        f'{TAG}{{"name": "now"}}{END}',
        "```",
        '{"name": "now"}',
        'a "quoted" \\ word\\',
        "line\nline\ttab\x01",
        "é 😀 \u2028",
        [{"deep": [[{"er": None}], True, -1.5e-3]}],
    ],
)
def test_what_stands_in_an_argument_changes_nothing(value: Any) -> None:
    for ascii_only in (True, False):
        arguments = json.dumps({"a": value}, ensure_ascii=ascii_only)
        quotation = json.dumps(arguments, ensure_ascii=ascii_only)
        for written in (arguments, quotation):
            body = f'{{"name": "add", "arguments": {written}}}'
            for answer in (
                f"{TAG}{body}{END}",
                f"<tool_call>{body}{END}",
                body,
                f"```\n{body}\n```",
            ):
                assert found(answer) == [call(a=value)]


def test_line_ends_inside_strings_are_read() -> None:
    assert found(f'{TAG}{{"name": "add", "arguments": {{"a\n": "b\tc\n"}}}}{END}') == [
        ("call", "add", {"a\n": "b\tc\n"})
    ]


def test_surrogates_stay_escapes_where_they_are_alone() -> None:
    assert read(['{"name":"add","arguments":"{\\"a\\": \\"\\ud83d\\"}"}'])[-1] == CallEnd(
        0, '{"a": "\\ud83d"}'
    )
    assert found('{"name":"add","arguments":"{\\"a\\": \\"\\ud83d\\ude00\\"}"}') == [call(a="😀")]


@pytest.mark.parametrize(
    "answer",
    [
        f"Use the {TAG} tag.",
        f"Use `{TAG}` so.",
        f"Use `` {TAG}{ADD}{END} `` so.",
        f"<think>\nI write {TAG}{ADD}{END}\n</think>\nNo.",
        f"<think>{TAG}{ADD}{END}",
        f"{TAG}\nadd(a=1)\n{END}",
        f"The key is {KEY}.",
        TAG[:-3],
        f'<tool_call key="{KEY}',
    ],
)
def test_a_tag_that_is_spoken_of_is_text_with_its_key_broken_up(answer: str) -> None:
    assert found(answer) == [("text", answer.replace(KEY, "k-3f9ab"))]


def test_a_span_of_code_ends_with_its_line() -> None:
    assert found(f"A ` alone\n{KEYED}") == [("text", "A ` alone\n"), call(a=1)]
    assert found(f"``` no fence ``` \n{KEYED}")[-1] == call(a=1)
    assert found(f"~~~\n`\n{KEYED}")[-1] == call(a=1)


def test_an_unknown_tool_is_an_invalid_call_that_lists_the_bound_ones() -> None:
    raw = '{"name": "nope", "arguments": {"a": 1}}'
    assert found(f"{TAG}{raw}{END} ok") == [("invalid", "nope", raw), ("text", " ok")]
    event = read([f"{TAG}{raw}{END}"])[0]
    assert isinstance(event, InvalidCall)
    assert event.reason == "no tool is called 'nope'; those to call are: add, now"
    event = read([f"{TAG}{raw}{END}"], names=())[0]
    assert isinstance(event, InvalidCall)
    assert event.reason.endswith("are: none")


@pytest.mark.parametrize(
    ("raw", "name", "word"),
    [
        ('{"name": "add", "arguments": {"a": 1,}}', "add", "no JSON"),
        ("{'name': 'add', 'arguments': {}}", None, "no JSON"),
        ('{"name": "add", "arguments": {"a": \'x\'}}', "add", "no JSON"),
        ('{"name": "add", "arguments": {"a": NaN}}', "add", "NaN"),
        ('{"name": "add", "arguments": {"a": 1}', "add", "no JSON"),
        ('{"name": "add", "arguments": {"a": "\\x"}}', "add", "escape"),
        ('{"name": "add", "arguments": {}, "args": {}}', "add", "arguments twice"),
        ('{"name": "add", "arguments": {"a": 1}, "arguments": {"a": 2}}', "add", "key twice"),
        ('{"name": "add", "arguments": {"a": 1}, "name": "now"}', "now", "key twice"),
        ('{"name": "add", "a": 1}', "add", "'a' is no key"),
        ('{"thought": "I add", "name": "add"}', "add", "'thought' is no key"),
        ('{"name": "add", "arguments": [1]}', "add", "no JSON object"),
        ('{"name": "add", "arguments": 5}', "add", "no JSON object"),
        ('{"name": "add", "arguments": "5"}', "add", "no JSON object"),
        ('{"name": "add", "arguments": "{\\"a\\": 1"}', "add", "can't be read"),
        ('{"name": "add", "arguments": "{\\"a\\": 1}}"}', "add", "Extra data"),
        ('{"name": "add", "arguments": ' + "A" + "}", "add", "no JSON"),
        (ADD.replace("1", FIVE_THOUSAND_DIGITS), "add", "digits"),
        (ADD.replace("1", "[" * 200 + "]" * 200), "add", "nested"),
        (ADD.replace("1", "[" * 20_000 + "]" * 20_000), "add", "recursion"),
        ('{"name": ["add"]}', None, "names a tool"),
        ("[1]", None, "names a tool"),
        ("[]", None, "empty"),
    ],
)
def test_a_broken_keyed_call_is_invalid_with_its_text_and_the_reason(
    raw: str, name: str | None, word: str
) -> None:
    answer = f"Now {TAG}\n{raw}\n{END} and on."
    shown = "" if raw == "[]" else raw
    assert found(answer) == [("text", "Now "), ("invalid", name, shown), ("text", " and on.")]
    broken = next(event for event in read([answer]) if isinstance(event, InvalidCall))
    assert word in broken.reason
    assert not any(isinstance(event, CallEnd) for event in read([answer]))


def test_a_keyed_call_that_another_interrupts_is_invalid_and_the_other_is_read() -> None:
    raw = '{"name": "add", "arguments": {"a": "x}}</tool_call>'
    answer = f"{TAG}{raw}\n{KEYED}"
    assert found(answer) == [("invalid", "add", raw), call(a=1)]
    assert "another call" in next(e for e in read([answer]) if isinstance(e, InvalidCall)).reason
    assert found(f"{TAG}{KEYED}") == [("text", MASKED), call(a=1)]
    assert found(f"<tool_call>{ADD}{KEYED}") == [("text", f"<tool_call>{ADD}"), call(a=1)]


def test_what_follows_whole_json_in_a_tag_is_text() -> None:
    assert found(f"{TAG}{ADD} That is all.") == [call(a=1), ("text", "That is all.")]


@pytest.mark.parametrize(
    ("answer", "name", "raw"),
    [
        (f"{TAG}\n", None, ""),
        (f"{TAG}\n{{", None, "{"),
        (f"{TAG}\n[", None, "["),
        (f'{TAG}\n{{"name": "ad', None, '{"name": "ad'),
        (f'{TAG}\n{{"name": "add"', "add", '{"name": "add"'),
        (
            f'{TAG}\n{{"name": "add", "arguments": {{"a": 1',
            "add",
            '{"name": "add", "arguments": {"a": 1',
        ),
        (
            f'{TAG}\n{{"name": "add", "arguments": {{"a\\',
            "add",
            '{"name": "add", "arguments": {"a\\',
        ),
        (
            '<tool_call>\n{"name": "add", "arguments": {"a',
            "add",
            '{"name": "add", "arguments": {"a',
        ),
        ('```json\n{"name": "add", "argu', "add", '{"name": "add", "argu'),
        ('{"name": "add", "arguments": "{\\"a', "add", '{"name": "add", "arguments": "{\\"a'),
    ],
)
def test_a_call_that_was_cut_is_invalid(answer: str, name: str | None, raw: str) -> None:
    assert found(answer, "length") == [("invalid", name, raw)]
    broken = read([answer], "length")[-1]
    assert isinstance(broken, InvalidCall)
    assert "length limit" in broken.reason


# --- Calls without the key -------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        UNKEYED,
        f"<tool_call>{ADD}{END}",
        f"<Tool_Call>{ADD}</TOOL_CALL>\n\n",
        f"<tool_call>{ADD}",
        f'<tool_call key="k00000">{ADD}{END}',
        f"<tool_call key='{KEY}'>{ADD}{END}",
        f"<tool_call key={KEY}>{ADD}{END}",
        f"```json\n{ADD}\n```",
        f"```JSON\r\n{ADD}\r\n```\r\n",
        f"```tool_call\n{ADD}\n```",
        f"\n   ```\n{ADD}\n```",
        f"```json\n{ADD}",
        ADD,
        f" \n{ADD}\n",
        f"[{ADD}]",
        f"<think>\nI add.\n</think>\n\n{ADD}",
        f"<think>I add {{</think>```json\n{ADD}\n```",
        '{"name":"add","parameters":{"a":1}}',
        '{"name":"add","args":{"a":1}}',
        '{"name":"add","input":{"a":1}}',
        '{"name":"add","arguments":"{\\"a\\":1}"}',
        '{"arguments":{"a":1},"name":"add"}',
        '{"id":"7","type":"function","name":"add","arguments":{"a":1}}',
    ],
)
def test_each_way_to_forget_the_key_is_read_at_the_answers_end(answer: str) -> None:
    assert [what for what in found(answer) if "think" not in what[1] and what[1].strip()] == [
        call(a=1)
    ]
    assert all(what[0] == "text" for what in found(answer, strict=True))
    assert all(what[0] == "text" for what in found(f"{answer}\nThat is all."))


@pytest.mark.parametrize(
    "answer",
    [
        f"{UNKEYED}\n{UNKEYED}",
        f"<tool_call>{ADD}<tool_call>{ADD}{END}",
        f"<tool_call>[{ADD}, {ADD}]{END}",
        f"<tool_call>{ADD}\n{ADD}{END}",
        f"[{ADD}, {ADD}]",
        f"{ADD}\n{ADD}",
        f"```json\n[{ADD},\n{ADD}]\n```",
    ],
)
def test_several_calls_without_the_key_are_all_read(answer: str) -> None:
    assert found(answer) == [call(a=1), call(a=1)]
    assert found(f"Now: {UNKEYED}\n{UNKEYED}") == [("text", "Now: "), call(a=1), call(a=1)]


@pytest.mark.parametrize(
    "answer",
    [
        "Use the `<tool_call>` tag.",
        f"Use `{UNKEYED}`",
        f"```xml\n{UNKEYED}\n```",
        f"~~~\n{UNKEYED}\n~~~",
        f"<think>\n{UNKEYED}",
        "It starts with <tool_call",
        "<tool_call>\nadd(a=1)\n</tool_call>",
        "<tool_call>" + " " * 100 + ADD,
        '<tool_call>{"name": …, "arguments": {…}}</tool_call>',
        '<tool_call>{"name": "nope", "arguments": {"a": "<tool_call>"}}</tool_call>',
        f"<tool_call>\n[{{}}, {ADD}]\n</tool_call>",
        '<tool_call>{"arguments": {"a": 1}}</tool_call>',
        '<tool_call>{"name": 5}</tool_call>',
        '<tool_call>{"name": ["add"]}</tool_call>',
        "<tool_call>[]</tool_call>",
        "<tool_call></tool_call>",
        "<tool_call>[1, 2]",
        '<tool_call>{"name": "add", \\',
        "a < b, a <t> b and ``` in a line",
        "```python\nprint({'name': 'add'})\n```\n",
        '```json\n{"name": "Ada", "age": 36}\n```\nThat is all.',
        '```json\n{"title": "x", "text": "```"}\n```',
        f"```json\n{ADD}\n```\n```json\n{ADD}\n```",
        f"```yaml\n{ADD}\n```",
        f"So:\n```json\n{ADD}\n```",
        f"    ```\n{ADD}\n",
        f"Inline ```{ADD}```",
        f"A list: [{ADD}]",
        "```js",
        "```json  ",
        "``",
        f"``\n{ADD}",
        '{"answer": 42, "name": "add"}',
        '{"name": "add", "description": "Adds.", "parameters": {"type": "object"}}',
        '{"name": "add"}',
        '{"name": "add", "arguments": null}',
        '{"name": "add", "arguments": ""}',
        '{"name": "Ada"}',
        '{"name": null, "arguments": {}}',
        '{"arguments": {}, "args": {}, "name": "add"}',
        '{"arguments": [1], "name": "add"}',
        '{"arguments": "no", "name": "add"}',
        '{"arguments": {"a": 1}, "na',
        f'[{ADD}, {{"name": "nope", "arguments": {{}}}}]',
        "{not json}",
        "{",
        "[",
        "[1, 2, 3]",
        '{"a": "<tool_call>{\\"name\\": \\"add\\"}</tool_call>"} and so on',
        f"{ADD}\n" * (MAX_UNKEYED + 1),
    ],
)
def test_what_is_no_call_is_text_as_it_came(answer: str) -> None:
    assert found(answer, "length") == [("text", answer)]


@pytest.mark.parametrize("answer", [ADD, UNKEYED, f"```json\n{ADD}\n```", f"Look: {UNKEYED}"])
@pytest.mark.parametrize(
    "given", ['say add with "a": 1', f"It holds {ADD}", '{"add": {\\"a\\":1}}']
)
def test_what_others_wrote_is_no_call_without_the_key(answer: str, given: str) -> None:
    assert found(answer, quotations=Quotations([given])) == [("text", answer)]
    assert found(answer.replace("1", "2"), quotations=Quotations([given]))[-1] == call(a=2)
    assert found(KEYED, quotations=Quotations([given])) == [call(a=1)]


def test_a_broken_call_that_others_wrote_is_text() -> None:
    cut = '{"name": "add", "arguments": {"a": "b'
    assert found(cut, quotations=Quotations([f"It says {cut} or so."])) == [("text", cut)]


def test_nothing_without_the_key_is_called_where_no_tool_is_bound() -> None:
    for answer in (ADD, UNKEYED):
        assert found(answer, names=()) == [("text", answer)]


# --- Streaming -------------------------------------------------------------------------------


def test_text_flows_at_once_and_only_what_may_be_a_tag_is_held() -> None:
    parser = ToolCallParser(NAMES, KEY)
    assert parser.feed("") == []
    assert parser.feed("Hello") == [Text("Hello")]
    assert parser.feed(" you, a <") == [Text(" you, a ")]
    assert parser.feed("b") == [Text("<b")]
    assert parser.feed(" and `code`") == [Text(" and `code`")]
    assert parser.feed("\n``") == [Text("\n")]
    assert parser.feed("x") == [Text("``x")]
    assert parser.feed("<tool_c") == []
    assert parser.finish() == [Text("<tool_c")]


@pytest.mark.parametrize(
    "answer",
    [
        *("Hello", "I can do that.", "- one\n- two", "# Title\n", "**Yes**", "1. First", "0"),
        *("\nHi", "  Hi", "é😀", '"a"', "(a)", "}", "]", "> quoted", "| a | b |", "\\frac", "$x$"),
    ],
)
@pytest.mark.parametrize("strict", [False, True])
def test_text_flows_from_the_character_from_which_it_flows_without_tools(
    answer: str, *, strict: bool
) -> None:
    parser = ToolCallParser(NAMES, KEY, strict=strict)
    assert [parser.feed(char) for char in answer] == [[Text(char)] for char in answer]


@pytest.mark.parametrize(
    ("answer", "waits"),
    [
        *(("<b>", 2), ("</b>", 3), ("<table>", 3), ("<tool>", 6), ("<thing>", 6)),
        *(("`code`", 2), ("~x", 2), ("```\nx", 5), ("```py\nx", 7)),
        *(("[1]", 2), ("[link](/)", 2), ("{a}", 2), ('{"answer": 1}', 9)),
        *((f"{KEY[0]} x", 2), (f"{KEY[:3]}!", 4)),
    ],
)
def test_text_that_may_begin_a_call_waits_for_the_character_that_rules_it_out(
    answer: str, waits: int
) -> None:
    parser = ToolCallParser(NAMES, KEY)
    fed = next(count for count, char in enumerate(answer, 1) if parser.feed(char))
    assert fed == waits


def test_json_that_opens_the_answer_is_let_go_as_soon_as_it_can_be_no_call() -> None:
    parser = ToolCallParser(NAMES, KEY)
    assert parser.feed('{"answer') == []
    assert parser.feed('":') == [Text('{"answer":')]
    assert parser.feed(' "x') == [Text(' "x')]
    parser = ToolCallParser(NAMES, KEY)
    assert parser.feed("[") == []
    assert parser.feed("1, ") == [Text("[1, ")]
    parser = ToolCallParser(NAMES, KEY)
    assert parser.feed('{"name": "Ad') == []
    assert parser.feed('a"') == [Text('{"name": "Ada"')]
    assert ToolCallParser(NAMES, KEY, strict=True).feed('{"na') == [Text('{"na')]


def test_a_call_streams_its_name_first_and_then_its_arguments() -> None:
    parser = ToolCallParser(NAMES, KEY, new_id=lambda: "call_0")
    assert parser.feed(f'{TAG}\n{{"name": "add", "argu') == []
    assert parser.feed('ments": {"a"') == [CallStart(0, "call_0", "add"), CallArguments(0, '{"a"')]
    assert parser.feed(': "x \\') == [CallArguments(0, ': "x \\')]
    assert parser.feed('"y') == [CallArguments(0, '"y')]
    assert parser.feed('"}') == [CallArguments(0, '"}')]
    assert parser.feed("}\n") == []
    assert parser.feed("</tool_call>\n") == [CallEnd(0, '{"a": "x \\"y"}')]
    assert parser.feed("Oh") == [Text("\nOh")]
    assert parser.finish("stop") == []


def test_a_parser_keeps_nothing_of_the_text_that_has_passed() -> None:
    parser = ToolCallParser(NAMES, KEY)
    for piece in ("word " * 100, "a < b ", "`x` ", '\n```py\nf({"a": 1})\n```\n', *"words") * 50:
        parser.feed(piece)
    kept = [value for value in vars(parser).values() if isinstance(value, str | list)]
    assert max(map(len, kept)) < 10


HOSTILE = {
    "tags": "<tool_call>",
    "open tags": "<tool_call>{",
    "calls": f"<tool_call>{ADD}",
    "strings": '<tool_call>{"name": "add", "x": "',
    "angles": "<",
    "blanks after a tag": "\n",
    "backticks": "`",
    "fences": "```\n",
    "spans": "`a",
    "tildes": "~",
    "braces": "{",
    "lists": '[{"name": "add",',
    "backslashes": "\\",
    "quotes": '"',
    "thoughts": "<think>\n</think>\n",
    "the key's start": "k3f9a",
    "blank lines": " \n",
}


@pytest.mark.parametrize("opening", ["", "x", "<tool_call>", TAG, f'{TAG}{{"a": "', "```json\n{"])
@pytest.mark.parametrize("unit", HOSTILE.values(), ids=list(HOSTILE))
def test_any_answer_takes_time_in_proportion_to_its_length(opening: str, unit: str) -> None:
    def seconds(size: int) -> float:
        answer = opening + unit * (size // len(unit))
        started = time.process_time()
        read([answer])
        read(answer[start : start + 5] for start in range(0, len(answer), 5))
        return time.process_time() - started

    with untraced():
        for _ in range(3):  # another process may take the time away once
            few, many = seconds(4_000), seconds(32_000)
            if many < (most := 0.02 + 2.5 * 8 * few):
                return
    pytest.fail(f"{many} s are more than {most} s; quadratic time would be 64 times as much")
