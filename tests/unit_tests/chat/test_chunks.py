import itertools
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, content
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.messages.block_translators import get_translator
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_minitoolai import ChatMiniToolAI
from langchain_minitoolai._chat.chunks import (
    PROVIDER,
    CodeFenceStripper,
    ResponseBuilder,
    StopSequenceFilter,
    chunk_to_content_blocks,
    text_chunk,
    to_content_blocks,
)
from langchain_minitoolai._chat.stream import ChatStreamParser, Delta, Refusal
from langchain_minitoolai._tool_calling.parser import ToolCallParser

TAG = '<tool_call key="k3f9ab">'
ADD = TAG + '\n{"name": "add", "arguments": {"a": 1, "b": [2]}}\n</tool_call>'
INFO = {
    "id": "chatcmpl-1",
    "model": "gpt-4o-mini-2024-07-18",
    "system_fingerprint": "fp_1",
    "service_tier": "default",
}
USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 100,
    "total_tokens": 1100,
    "prompt_tokens_details": {"cached_tokens": 10, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 0},
}


def parser(
    finish_reason: str | None = "stop", usage: Any = USAGE, **metadata: Any
) -> ChatStreamParser:
    parsed = ChatStreamParser()
    parsed.metadata = {**INFO, **metadata}
    parsed.finish_reason = finish_reason
    parsed.usage = usage
    return parsed


def builder(stop: Sequence[str] = (), *, strip: bool = False) -> ResponseBuilder:
    """Build answers whose calls have the ids call_0, call_1, …"""
    numbers = itertools.count()

    def new_id() -> str:
        return f"call_{next(numbers)}"

    tools = ToolCallParser(["add", "now"], "k3f9ab", new_id=new_id)
    fence = CodeFenceStripper() if strip else None
    return ResponseBuilder("gpt-4o-mini", stop, tools, fence, native=True)


def streamed(
    build: ResponseBuilder, deltas: Iterable[Delta], parsed: ChatStreamParser
) -> list[AIMessageChunk]:
    chunks = [chunk for delta in deltas for chunk in build.chunks([delta])]
    chunks += build.final_chunks(parsed)
    messages = [chunk.message for chunk in chunks]
    assert all(isinstance(message, AIMessageChunk) for message in messages)
    return [message for message in messages if isinstance(message, AIMessageChunk)]


def both(
    deltas: Sequence[Delta],
    stop: Sequence[str] = (),
    finish_reason: str | None = "stop",
    *,
    strip: bool = False,
    usage: Any = USAGE,
) -> AIMessage:
    """Read an answer whole and streamed, see that both say the same, and give the whole one."""
    parsed = parser(finish_reason, usage)
    (generation,) = builder(stop, strip=strip).result(list(deltas), parsed).generations
    whole = generation.message
    assert isinstance(whole, AIMessage)
    chunks = streamed(builder(stop, strip=strip), deltas, parsed)
    total = add_ai_message_chunks(*chunks)
    assert total.content == whole.content
    assert total.tool_calls == whole.tool_calls
    assert total.usage_metadata == whole.usage_metadata
    assert total.response_metadata == whole.response_metadata
    assert [(call["id"], call["name"]) for call in total.invalid_tool_calls] == [
        (call["id"], call["name"]) for call in whole.invalid_tool_calls
    ]
    return whole


def delta(index: int, arguments: str | None = None, name: str | None = None) -> Delta:
    function = {"name": name, "arguments": arguments}
    call: dict[str, Any] = {key: value for key, value in function.items() if value is not None}
    return [{"index": index, "id": f"call_{index}" if name else None, "function": call}]


# --- A chunk made by copying ----------------------------------------------------------


def test_a_copied_chunk_equals_one_that_was_built_field_by_field() -> None:
    message = AIMessageChunk(content="Hi")
    built = ChatGenerationChunk(message=message)
    made = text_chunk("Hi")
    for one, other in ((made, built), (made.message, built.message)):
        assert type(one) is type(other)
        assert one == other
        assert vars(one) == vars(other)
        assert list(vars(one)) == list(vars(other))
        assert one.model_fields_set == other.model_fields_set
        assert one.model_extra == other.model_extra
        assert one.model_dump() == other.model_dump()
        assert one.model_dump(exclude_unset=True) == other.model_dump(exclude_unset=True)


def test_copied_chunks_share_nothing_that_can_change() -> None:
    first, second = text_chunk("a"), text_chunk("b")
    assert isinstance(first.message, AIMessageChunk)
    first.message.tool_calls.append({"name": "x", "args": {}, "id": "1", "type": "tool_call"})
    first.message.tool_call_chunks.append({"name": "x", "args": "", "id": "1", "index": 0})
    first.message.invalid_tool_calls.append({"name": "x"})  # type: ignore[typeddict-item]
    first.message.additional_kwargs["x"] = 1
    first.message.response_metadata["x"] = 1
    first.message.id = "run-1"
    assert second == text_chunk("b")
    assert text_chunk("c").message.response_metadata == {}
    assert second.message.model_fields_set == text_chunk("c").message.model_fields_set


def test_copied_chunks_add_up() -> None:
    total = text_chunk("a") + text_chunk("b")
    assert total.text == "ab"
    assert total.message.response_metadata == {}


# --- The whole and the sum of its chunks ----------------------------------------------


def test_an_answer_is_its_text_with_the_service_s_metadata() -> None:
    message = both(["Hel", "lo"])
    assert message.content == "Hello"
    assert message.response_metadata == {
        "model_name": "gpt-4o-mini-2024-07-18",
        "model_provider": "minitoolai",
        "finish_reason": "stop",
        "system_fingerprint": "fp_1",
        "service_tier": "default",
        "id": "chatcmpl-1",
        "cost": 0.00021,
    }
    assert message.usage_metadata == {
        "input_tokens": 1000,
        "output_tokens": 100,
        "total_tokens": 1100,
        "input_token_details": {"audio": 0, "cache_read": 10},
        "output_token_details": {"audio": 0, "reasoning": 5},
    }


def test_each_key_of_the_metadata_comes_on_one_chunk_and_the_last_says_so() -> None:
    chunks = streamed(builder(), ["a", ADD, "b"], parser())
    *others, last = chunks
    assert others[0].response_metadata == {"model_provider": PROVIDER}
    for chunk in others:
        # Core reads a call's parts by their provider, and keeps a provider that is repeated.
        expected = (
            {"model_provider": PROVIDER} if chunk.tool_call_chunks or chunk is others[0] else {}
        )
        assert chunk.response_metadata == expected
        assert chunk.usage_metadata is None
        assert chunk.chunk_position is None
    assert last.chunk_position == "last"
    assert last.content == ""
    assert last.usage_metadata is not None
    assert set(last.response_metadata) > {"model_name", "finish_reason", "cost", "id"}


def test_what_the_service_did_not_send_is_left_out() -> None:
    parsed = ChatStreamParser()
    parsed.done = True
    (generation,) = builder().result(["Hi"], parsed).generations
    assert generation.message.response_metadata == {
        "model_name": "gpt-4o-mini",
        "model_provider": "minitoolai",
        "finish_reason": "stop",
    }
    assert isinstance(generation.message, AIMessage)
    assert generation.message.usage_metadata is None
    (last,) = builder().final_chunks(parsed)
    assert last.message.response_metadata == generation.message.response_metadata


def test_a_model_of_an_unknown_price_has_no_cost() -> None:
    (generation,) = ResponseBuilder("gpt-9").result(["Hi"], parser(model="gpt-9")).generations
    assert "cost" not in generation.message.response_metadata


def test_a_model_s_name_that_is_no_text_does_not_spoil_the_answer() -> None:
    (generation,) = builder().result(["Hi"], parser(model=5)).generations
    assert generation.message.response_metadata["model_name"] == "5"
    assert generation.message.response_metadata["cost"] == 0.00021


@pytest.mark.parametrize("reason", ["length", "content_filter", "stop"])
def test_the_service_s_own_finish_reason_is_kept(reason: str) -> None:
    message = both(["Hello"], finish_reason=reason)
    assert message.response_metadata["finish_reason"] == reason
    assert "service_finish_reason" not in message.response_metadata


PIECES = st.lists(
    st.sampled_from(
        [
            "Hello ",
            "STOP",
            "ST",
            "OP",
            "\n",
            ADD,
            ADD[:30],
            ADD[30:],
            "<tool",
            "```json\n",
            "```",
            '{"name": "now"}',
            "</tool_call>",
        ]
    ),
    max_size=6,
)


@given(deltas=PIECES, stop=st.sampled_from([(), ("STOP",), ("STOP", "lo")]), strip=st.booleans())
def test_the_sum_of_the_chunks_is_the_whole_answer(
    deltas: list[str], stop: tuple[str, ...], *, strip: bool
) -> None:
    both(deltas, stop, strip=strip)


# --- Calls ------------------------------------------------------------------------------


def test_calls_in_the_text_are_calls_of_the_message() -> None:
    message = both(["I add.\n", ADD[:25], ADD[25:]])
    assert message.content == "I add.\n"
    assert message.tool_calls == [
        {"name": "add", "args": {"a": 1, "b": [2]}, "id": "call_0", "type": "tool_call"}
    ]
    assert message.response_metadata["finish_reason"] == "tool_calls"
    assert message.response_metadata["service_finish_reason"] == "stop"


def test_calls_stream_their_name_first_and_their_arguments_in_parts() -> None:
    deltas = [ADD[at : at + 4] for at in range(0, len(ADD), 4)]
    chunks = [
        call for each in streamed(builder(), deltas, parser()) for call in each.tool_call_chunks
    ]
    assert chunks[0] == {
        "name": "add",
        "args": "",
        "id": "call_0",
        "index": 0,
        "type": "tool_call_chunk",
    }
    assert len(chunks) > 3
    assert {(chunk["name"], chunk["id"], chunk["index"]) for chunk in chunks[1:]} == {
        (None, None, 0)
    }
    assert json.loads("".join(chunk["args"] or "" for chunk in chunks)) == {"a": 1, "b": [2]}


def test_calls_in_the_service_s_own_fields_are_calls_of_the_message() -> None:
    deltas: list[Delta] = [
        "I ",
        "add.",
        delta(0, "", "add"),
        delta(0, '{"a"'),
        delta(0, ": 1}"),
        delta(1, None, "now"),
    ]
    message = both(deltas, finish_reason="tool_calls")
    assert message.content == "I add."
    assert [(call["name"], call["args"], call["id"]) for call in message.tool_calls] == [
        ("add", {"a": 1}, "call_0"),
        ("now", {}, "call_1"),
    ]
    assert message.response_metadata["finish_reason"] == "tool_calls"
    assert "service_finish_reason" not in message.response_metadata


def test_calls_in_the_service_s_own_fields_are_invalid_where_nobody_asked_for_them() -> None:
    build = ResponseBuilder("gpt-4o-mini")
    (generation,) = build.result(["a", delta(0, "{}", "add"), []], parser()).generations
    assert isinstance(generation.message, AIMessage)
    assert generation.message.content == "a"
    assert generation.message.tool_calls == []
    (invalid,) = generation.message.invalid_tool_calls
    assert "tool_calling is 'prompted'" in str(invalid["error"])


def invalid_texts() -> Iterator[tuple[str, str]]:
    """Give every start of a call, and calls with a fault."""
    for end in range(ADD.index("add") + 4, ADD.index("}}") + 1):
        yield ADD[:end], "length"
    for text in ('{"name": "add", "arguments": 5}', '{"name": "add", "arguments": {"a": nope}}'):
        yield f"{TAG}{text}</tool_call>", "stop"


@pytest.mark.parametrize(("text", "reason"), list(invalid_texts()))
@pytest.mark.parametrize("size", [1, 5, 200])
def test_a_broken_call_never_becomes_a_call(text: str, reason: str, size: int) -> None:
    message = both([text[at : at + size] for at in range(0, len(text), size)], (), reason)
    assert message.tool_calls == []
    (broken,) = message.invalid_tool_calls
    assert broken["error"]
    assert message.response_metadata["finish_reason"] == reason
    assert message.response_metadata["invalid_tool_calls"] == [broken]


@pytest.mark.parametrize("arguments", ['{"a": 1', '{"a": "x', "5", "nope", '{"a": 1}}', "[1]"])
@pytest.mark.parametrize("reason", ["length", "tool_calls"])
def test_a_broken_call_in_the_service_s_own_fields_never_becomes_a_call(
    arguments: str, reason: str
) -> None:
    message = both([delta(0, None, "add"), *(delta(0, char) for char in arguments)], (), reason)
    assert message.tool_calls == []
    assert [call["args"] for call in message.invalid_tool_calls] == [arguments]


def test_a_broken_call_that_names_no_tool_comes_as_one_piece() -> None:
    nameless: Delta = [{"index": 0, "id": "call_0", "function": {"arguments": '{"a": 1}'}}]
    message = both([nameless], (), "tool_calls")
    assert message.tool_calls == []
    assert [call["args"] for call in message.invalid_tool_calls] == ['{"a": 1}']


@pytest.mark.parametrize(
    "arguments", ['{"a": "\\ud800"}', '{"a": ' + "[" * 90 + "]" * 90 + "}", '{"a": 1e999}']
)
def test_odd_arguments_do_not_spoil_the_answer(arguments: str) -> None:
    message = both([delta(0, arguments, "add")], (), "tool_calls")
    assert [call["args"] for call in message.tool_calls] == [json.loads(arguments)]


def test_a_good_call_beside_a_broken_one_is_made() -> None:
    message = both([ADD, "\n", ADD[:-30]], (), "length")
    assert len(message.tool_calls) == len(message.invalid_tool_calls) == 1
    assert message.response_metadata["finish_reason"] == "tool_calls"
    assert message.response_metadata["service_finish_reason"] == "length"


# --- Stop sequences ---------------------------------------------------------------------


def test_a_stop_sequence_cuts_across_chunks_and_hides_what_follows() -> None:
    message = both(["One. ST", "OP two", ADD], ["STOP"], "length")
    assert message.content == "One. "
    assert message.tool_calls == []
    assert message.response_metadata["finish_reason"] == "stop"
    assert message.response_metadata["service_finish_reason"] == "length"


def test_a_stop_sequence_never_cuts_inside_a_call() -> None:
    text = TAG + '{"name": "add", "arguments": {"a": "STOP"}}</tool_call>'
    message = both([text], ["STOP", "add", "}"])
    assert [call["args"] for call in message.tool_calls] == [{"a": "STOP"}]


def test_calls_before_a_stop_sequence_stay_calls() -> None:
    message = both([ADD, "\nObserve STOP this", ADD], ["STOP"])
    assert len(message.tool_calls) == 1
    assert message.content == "\nObserve "
    assert message.response_metadata["finish_reason"] == "tool_calls"


def test_a_call_that_began_before_a_stop_sequence_is_finished() -> None:
    deltas: list[Delta] = [
        delta(0, '{"a"', "add"),
        "x STOP y",
        delta(0, ": 1}"),
        delta(1, "{}", "add"),
    ]
    message = both(deltas, ["STOP"], "tool_calls")
    assert message.content == "x "
    assert [call["args"] for call in message.tool_calls] == [{"a": 1}]


def test_what_could_have_become_a_stop_sequence_is_shown_before_a_call_and_at_the_end() -> None:
    assert both(["a ST", ADD], ["STOP"]).content == "a ST"
    assert both(["a ST"], ["STOP"]).content == "a ST"


# --- An answer in JSON --------------------------------------------------------------------


def test_a_fence_comes_off_an_answer_that_was_asked_for_in_json() -> None:
    message = both(["```js", 'on\n{"a": 1}\n', "```"], strip=True)
    assert message.content == '{"a": 1}'


def test_text_that_the_fence_held_back_is_cut_and_not_lost_when_a_call_follows() -> None:
    message = both(["```json\n{}\n``", ADD], ["`"], strip=True)
    assert message.content == "{}\n"
    assert message.tool_calls == []


# --- Stop sequence filter ------------------------------------------------------------


LETTERS = st.text("ab\n", max_size=12)
STOPS = st.lists(st.text("ab\n", min_size=1, max_size=4), max_size=3)


def filtered(deltas: list[str], stop: list[str]) -> tuple[str, bool]:
    stop_filter = StopSequenceFilter(stop)
    shown = "".join(map(stop_filter.feed, deltas)) + stop_filter.flush()
    return shown, stop_filter.matched


def filtered_whole(text: str, stop: list[str]) -> tuple[str, bool]:
    places = [text.find(each) for each in stop if each in text]
    return (text[: min(places)], True) if places else (text, False)


@given(st.lists(LETTERS, max_size=6), STOPS)
def test_any_cut_of_the_text_gives_what_the_whole_text_gives(
    deltas: list[str], stop: list[str]
) -> None:
    assert filtered(deltas, stop) == filtered_whole("".join(deltas), stop)


@given(LETTERS, STOPS)
def test_single_characters_give_what_the_whole_text_gives(text: str, stop: list[str]) -> None:
    assert filtered(list(text), stop) == filtered_whole(text, stop)


@given(st.lists(LETTERS, max_size=6), STOPS)
def test_no_character_of_a_stop_sequence_is_shown_early(deltas: list[str], stop: list[str]) -> None:
    stop_filter = StopSequenceFilter(stop)
    shown = ""
    for index, delta in enumerate(deltas):
        shown += stop_filter.feed(delta)
        rest = "".join(deltas[index + 1 :])
        assert filtered_whole("".join(deltas[: index + 1]) + rest, stop)[0].startswith(shown)


def test_only_a_tail_that_could_become_a_stop_sequence_is_kept() -> None:
    stop_filter = StopSequenceFilter(["\nObservation:"])
    assert stop_filter.feed("Think.\nObs") == "Think."
    assert stop_filter.feed("tacle") == "\nObstacle"
    assert stop_filter.feed("\nObservation: 3") == ""
    assert stop_filter.matched
    assert stop_filter.feed("more") == ""
    assert stop_filter.flush() == ""


def test_a_longer_sequence_that_began_earlier_wins_over_one_inside_it() -> None:
    stop_filter = StopSequenceFilter(["abc", "b"])
    assert stop_filter.feed("xab") == "x"
    assert not stop_filter.matched
    assert stop_filter.feed("c") == ""
    assert stop_filter.matched


def test_a_sequence_inside_one_that_was_never_finished_cuts_at_the_end() -> None:
    stop_filter = StopSequenceFilter(["abc", "b"])
    assert stop_filter.feed("xab") == "x"
    assert stop_filter.flush() == "a"
    assert stop_filter.matched


def test_text_passes_at_once_where_nothing_stops_it() -> None:
    stop_filter = StopSequenceFilter(())
    assert stop_filter.feed("anything") == "anything"
    assert stop_filter.flush() == ""
    assert not stop_filter.matched


def test_what_was_kept_is_given_at_the_end() -> None:
    stop_filter = StopSequenceFilter(["END"])
    assert stop_filter.feed("the EN") == "the "
    assert stop_filter.flush() == "EN"
    assert not stop_filter.matched


# --- Code fence stripper -------------------------------------------------------------


OPENINGS = ["```json\n", "```JSON\r\n", "```\n", "\n ```json  \n"]
CLOSINGS = ["\n```", "```", "\n```\n", "\r\n``` \n\n"]

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
SCRAPS = st.text("`json\n\r {}ab", max_size=20)


def strip(*deltas: str) -> str:
    stripper = CodeFenceStripper()
    return "".join(map(stripper.feed, deltas)) + stripper.flush()


@pytest.mark.parametrize("opening", OPENINGS)
@pytest.mark.parametrize("closing", CLOSINGS)
def test_a_fence_comes_off_in_whatever_form(opening: str, closing: str) -> None:
    assert strip(f'{opening}{{"a": "`"}}{closing}') == '{"a": "`"}'
    assert strip(*f'{opening}{{"a": "`"}}{closing}') == '{"a": "`"}'


@given(VALUES, st.sampled_from(OPENINGS), st.sampled_from(CLOSINGS), st.integers(1, 7))
def test_json_in_a_fence_comes_out_whole(
    value: object, opening: str, closing: str, size: int
) -> None:
    text = opening + json.dumps(value, ensure_ascii=False) + closing
    deltas = [text[at : at + size] for at in range(0, len(text), size)]
    assert json.loads(strip(*deltas)) == value


@given(st.lists(SCRAPS, max_size=6))
def test_any_cut_of_json_text_gives_what_the_whole_text_gives(deltas: list[str]) -> None:
    assert strip(*deltas) == strip("".join(deltas))


@given(st.lists(SCRAPS, max_size=4), st.sampled_from(OPENINGS), st.sampled_from(["", *CLOSINGS]))
def test_any_cut_of_a_fenced_text_gives_what_the_whole_text_gives(
    deltas: list[str], opening: str, closing: str
) -> None:
    deltas = [opening, *deltas, closing]
    whole = strip("".join(deltas))
    assert strip(*deltas) == whole
    assert strip(*"".join(deltas)) == whole


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
    assert strip(text) == text
    assert strip(*text) == text


def test_json_without_a_fence_flows_at_once() -> None:
    stripper = CodeFenceStripper()
    assert stripper.feed('{"a"') == '{"a"'
    assert stripper.feed(": 1}") == ": 1}"


def test_json_in_a_fence_flows_too() -> None:
    stripper = CodeFenceStripper()
    assert stripper.feed("```json\n") == ""
    assert stripper.feed('{"a"') == '{"a"'
    assert stripper.feed(": 1}\n``") == ": 1}"
    assert stripper.feed("`\n") == ""
    assert stripper.flush() == ""


def test_what_looked_like_a_closing_fence_and_was_none_is_given_back() -> None:
    assert strip("```json\n1\n``") == "1\n``"
    assert strip("```json\n1\n```\n", "2") == "1\n```\n2"


# --- Content blocks ------------------------------------------------------------------


METADATA = {"model_provider": "minitoolai"}
CALL = tool_call(name="add", args={"a": 1}, id="call_1")
BROKEN = invalid_tool_call(name="add", args='{"a"', id="call_2", error="cut")


def test_core_reads_our_messages_with_our_translator() -> None:
    assert ChatMiniToolAI.__name__ == "ChatMiniToolAI"
    found = get_translator("minitoolai")
    assert found == {
        "translate_content": to_content_blocks,
        "translate_content_chunk": chunk_to_content_blocks,
    }


def test_a_message_is_its_text_its_calls_and_its_broken_calls() -> None:
    message = AIMessage(
        "Hi", tool_calls=[CALL], invalid_tool_calls=[BROKEN], response_metadata=METADATA
    )
    assert message.content_blocks == [
        {"type": "text", "text": "Hi"},
        {"type": "tool_call", "id": "call_1", "name": "add", "args": {"a": 1}},
        {
            "type": "invalid_tool_call",
            "id": "call_2",
            "name": "add",
            "args": '{"a"',
            "error": "cut",
        },
    ]
    assert AIMessage("", response_metadata=METADATA).content_blocks == []


@pytest.mark.parametrize(("index", "index_field"), [(0, {"index": "lc_tc_0"}), (None, {})])
def test_half_a_call_is_never_shown_as_a_call(
    index: int | None, index_field: dict[str, Any]
) -> None:
    part = tool_call_chunk(name="add", args='{"a"', id="call_1", index=index)
    chunk = AIMessageChunk(content="Hi", tool_call_chunks=[part], response_metadata=METADATA)
    assert chunk.content_blocks == [
        {"type": "text", "text": "Hi"},
        {"type": "tool_call_chunk", "id": "call_1", "name": "add", "args": '{"a"', **index_field},
    ]


def test_the_sum_of_all_chunks_shows_the_call() -> None:
    part = tool_call_chunk(name="add", args='{"a": 1}', id="call_1", index=0)
    chunk = AIMessageChunk(content="", tool_call_chunks=[part], response_metadata=METADATA)
    last = AIMessageChunk(content="", chunk_position="last", response_metadata=METADATA)
    (block,) = (chunk + last).content_blocks
    assert block["type"] == "tool_call"


REFUSED: list[Delta] = ["Hm. ", Refusal("I can"), Refusal("'t.")]


@pytest.fixture
def core_knows_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "KNOWN_BLOCK_TYPES", content.KNOWN_BLOCK_TYPES | {"refusal"})


@pytest.mark.usefixtures("core_knows_refusals")
def test_a_refusal_is_core_s_block_and_text_of_the_content() -> None:
    message = both(REFUSED)
    assert message.content == message.text == "Hm. I can't."
    assert message.additional_kwargs == {"refusal": "I can't."}
    refused = [{"type": "text", "text": "Hm. "}, {"type": "refusal", "refusal": "I can't."}]
    assert message.content_blocks == refused
    chunks = streamed(builder(), REFUSED, parser())
    assert [block for chunk in chunks for block in chunk.content_blocks] == [
        {"type": "text", "text": "Hm. "},
        {"type": "refusal", "refusal": "I can"},
        {"type": "refusal", "refusal": "'t."},
    ]
    assert add_ai_message_chunks(*chunks).content_blocks == refused


@pytest.mark.usefixtures("core_knows_refusals")
def test_what_was_held_back_for_a_stop_sequence_comes_before_a_refusal() -> None:
    message = both(["ab", Refusal("No.")], ["bc"])
    assert message.content == "abNo."
    assert message.content_blocks[-1] == {"type": "refusal", "refusal": "No."}


def test_a_refusal_is_text_where_core_has_no_block_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = content.KNOWN_BLOCK_TYPES - {"refusal"}
    monkeypatch.setattr(content, "KNOWN_BLOCK_TYPES", known)
    assert both(REFUSED).content_blocks == [{"type": "text", "text": "Hm. I can't."}]


THOUGHT = {**USAGE, "completion_tokens_details": {"reasoning_tokens": 100}}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("usage", "tokens"), [(THOUGHT, 100), ({}, 0), (None, 0)])
def test_an_answer_that_thinking_left_no_tokens_for_is_warned_of(
    usage: Any, tokens: int, *, stream: bool
) -> None:
    ending = builder().final_chunks if stream else partial(builder().result, [])
    with pytest.warns(UserWarning, match=f"empty: .* {tokens} reasoning tokens; raise max_tokens"):
        ending(parser("length", usage))


@pytest.mark.parametrize(
    ("deltas", "stop", "reason"),
    [
        (["Hi"], [], "length"),
        ([ADD[:-30]], [], "length"),
        (["x"], ["x"], "length"),
        ([], [], "stop"),
        ([], [], "content_filter"),
    ],
)
def test_an_answer_that_is_not_empty_or_ended_otherwise_is_not_warned_of(
    deltas: list[Delta], stop: list[str], reason: str
) -> None:
    both(deltas, stop, reason)  # warnings are errors here


def test_content_in_blocks_is_left_to_core() -> None:
    content: list[str | dict[str, Any]] = [{"type": "text", "text": "Hi"}]
    message = AIMessage(content, response_metadata=METADATA)
    assert message.content_blocks == [{"type": "text", "text": "Hi"}]
    chunk = AIMessageChunk(content=content, response_metadata=METADATA)
    assert chunk.content_blocks == [{"type": "text", "text": "Hi"}]


@pytest.mark.parametrize("unit", [" ", "\n", "`", "` ", "`\n"])
@pytest.mark.parametrize("opening", ["", "```json\n"])
def test_stripping_a_fence_takes_time_in_proportion_to_the_text(opening: str, unit: str) -> None:
    started = time.process_time()
    fence = CodeFenceStripper()
    for char in opening + unit * (20_000 // len(unit)):
        fence.feed(char)
    fence.flush()
    assert time.process_time() - started < 5
