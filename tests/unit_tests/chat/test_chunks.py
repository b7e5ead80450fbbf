import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_core.outputs import ChatGenerationChunk

from langchain_minitoolai._chat.chunk_forms import PROVIDER, text_chunk
from langchain_minitoolai._chat.chunks import AnswerBuilder
from langchain_minitoolai._chat.code_fence import JsonUnwrapper
from langchain_minitoolai._chat.stream import AnswerReader, Piece
from langchain_minitoolai._tool_calling.native import NativeToolCallParser
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


def reader(finish_reason: str | None = "stop", usage: Any = USAGE, **info: Any) -> AnswerReader:
    read = AnswerReader()
    read.info = {**INFO, **info}
    read.finish_reason = finish_reason
    read.usage = usage
    return read


def builder(stop: Sequence[str] = (), *, unwrap: bool = False) -> AnswerBuilder:
    """Build answers whose calls have the ids call_0, call_1, …"""
    numbers = itertools.count()

    def new_id() -> str:
        return f"call_{next(numbers)}"

    tools = ToolCallParser(["add", "now"], "k3f9ab", new_id=new_id)
    fence = JsonUnwrapper() if unwrap else None
    native = NativeToolCallParser(new_id=new_id)
    return AnswerBuilder("gpt-4o-mini", stop, tools, native, fence)


def streamed(
    build: AnswerBuilder, pieces: Iterable[Piece], read: AnswerReader
) -> list[AIMessageChunk]:
    chunks = [chunk for piece in pieces for chunk in build.chunks([piece])]
    chunks += build.last_chunks(read)
    messages = [chunk.message for chunk in chunks]
    assert all(isinstance(message, AIMessageChunk) for message in messages)
    return [message for message in messages if isinstance(message, AIMessageChunk)]


def both(
    pieces: Sequence[Piece],
    stop: Sequence[str] = (),
    finish_reason: str | None = "stop",
    *,
    unwrap: bool = False,
    usage: Any = USAGE,
) -> AIMessage:
    """Read an answer whole and streamed, see that both say the same, and give the whole one."""
    read = reader(finish_reason, usage)
    (generation,) = builder(stop, unwrap=unwrap).result(list(pieces), read).generations
    whole = generation.message
    assert isinstance(whole, AIMessage)
    chunks = streamed(builder(stop, unwrap=unwrap), pieces, read)
    total = add_ai_message_chunks(*chunks)
    assert total.content == whole.content
    assert total.tool_calls == whole.tool_calls
    assert total.usage_metadata == whole.usage_metadata
    assert total.response_metadata == whole.response_metadata
    assert [(call["id"], call["name"]) for call in total.invalid_tool_calls] == [
        (call["id"], call["name"]) for call in whole.invalid_tool_calls
    ]
    return whole


def delta(index: int, arguments: str | None = None, name: str | None = None) -> Piece:
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


def test_an_answer_is_its_text_with_what_the_service_told_of_it() -> None:
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


def test_each_word_of_the_metadata_comes_on_one_chunk_and_the_last_says_so() -> None:
    chunks = streamed(builder(), ["a", ADD, "b"], reader())
    *others, last = chunks
    assert others[0].response_metadata == {"model_provider": PROVIDER}
    for chunk in others:
        # Core reads a call's pieces by their provider, and keeps a provider that is repeated.
        told = {"model_provider": PROVIDER} if chunk.tool_call_chunks or chunk is others[0] else {}
        assert chunk.response_metadata == told
        assert chunk.usage_metadata is None
        assert chunk.chunk_position is None
    assert last.chunk_position == "last"
    assert last.content == ""
    assert last.usage_metadata is not None
    assert set(last.response_metadata) > {"model_name", "finish_reason", "cost", "id"}


def test_what_the_service_did_not_tell_is_left_out() -> None:
    read = AnswerReader()
    read.done = True
    (generation,) = builder().result(["Hi"], read).generations
    assert generation.message.response_metadata == {
        "model_name": "gpt-4o-mini",
        "model_provider": "minitoolai",
        "finish_reason": "stop",
    }
    assert isinstance(generation.message, AIMessage)
    assert generation.message.usage_metadata is None
    (last,) = builder().last_chunks(read)
    assert last.message.response_metadata == generation.message.response_metadata


def test_a_model_of_an_unknown_price_has_no_cost() -> None:
    (generation,) = AnswerBuilder("gpt-9").result(["Hi"], reader(model="gpt-9")).generations
    assert "cost" not in generation.message.response_metadata


def test_a_model_s_name_that_is_no_text_does_not_spoil_the_answer() -> None:
    (generation,) = builder().result(["Hi"], reader(model=5)).generations
    assert generation.message.response_metadata["model_name"] == "5"
    assert generation.message.response_metadata["cost"] == 0.00021


@pytest.mark.parametrize("reason", ["length", "content_filter", "stop"])
def test_the_service_s_own_word_for_the_end_is_kept(reason: str) -> None:
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


@given(pieces=PIECES, stop=st.sampled_from([(), ("STOP",), ("STOP", "lo")]), unwrap=st.booleans())
def test_the_sum_of_the_chunks_is_the_whole_answer(
    pieces: list[str], stop: tuple[str, ...], *, unwrap: bool
) -> None:
    both(pieces, stop, unwrap=unwrap)


# --- Calls ------------------------------------------------------------------------------


def test_calls_in_the_text_are_calls_of_the_message() -> None:
    message = both(["I add.\n", ADD[:25], ADD[25:]])
    assert message.content == "I add.\n"
    assert message.tool_calls == [
        {"name": "add", "args": {"a": 1, "b": [2]}, "id": "call_0", "type": "tool_call"}
    ]
    assert message.response_metadata["finish_reason"] == "tool_calls"
    assert message.response_metadata["service_finish_reason"] == "stop"


def test_calls_stream_their_name_first_and_their_arguments_in_pieces() -> None:
    pieces = [ADD[at : at + 4] for at in range(0, len(ADD), 4)]
    chunks = [
        call for each in streamed(builder(), pieces, reader()) for call in each.tool_call_chunks
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
    pieces: list[Piece] = [
        "I ",
        "add.",
        delta(0, "", "add"),
        delta(0, '{"a"'),
        delta(0, ": 1}"),
        delta(1, None, "now"),
    ]
    message = both(pieces, finish_reason="tool_calls")
    assert message.content == "I add."
    assert [(call["name"], call["args"], call["id"]) for call in message.tool_calls] == [
        ("add", {"a": 1}, "call_0"),
        ("now", {}, "call_1"),
    ]
    assert message.response_metadata["finish_reason"] == "tool_calls"
    assert "service_finish_reason" not in message.response_metadata


def test_calls_in_the_service_s_own_fields_are_left_alone_where_nobody_reads_them() -> None:
    build = AnswerBuilder("gpt-4o-mini")
    (generation,) = build.result(["a", delta(0, "{}", "add"), []], reader()).generations
    assert isinstance(generation.message, AIMessage)
    assert generation.message.content == "a"
    assert generation.message.tool_calls == []


def broken_texts() -> Iterator[tuple[str, str]]:
    """Give every start of a call, and calls with a fault."""
    for end in range(ADD.index("add") + 4, ADD.index("}}") + 1):
        yield ADD[:end], "length"
    for text in ('{"name": "add", "arguments": 5}', '{"name": "add", "arguments": {"a": nope}}'):
        yield f"{TAG}{text}</tool_call>", "stop"


@pytest.mark.parametrize(("text", "reason"), list(broken_texts()))
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
    message = both([delta(0, '{"a": 1}')], (), "tool_calls")
    assert message.tool_calls == []
    assert [call["args"] for call in message.invalid_tool_calls] == ['{"a": 1}']


@pytest.mark.parametrize(
    "arguments", ['{"a": "\\ud800"}', '{"a": ' + "[" * 300 + "]" * 300 + "}", '{"a": 1e999}']
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
    pieces: list[Piece] = [
        delta(0, '{"a"', "add"),
        "x STOP y",
        delta(0, ": 1}"),
        delta(1, "{}", "add"),
    ]
    message = both(pieces, ["STOP"], "tool_calls")
    assert message.content == "x "
    assert [call["args"] for call in message.tool_calls] == [{"a": 1}]


def test_what_could_have_become_a_stop_sequence_is_shown_before_a_call_and_at_the_end() -> None:
    assert both(["a ST", ADD], ["STOP"]).content == "a ST"
    assert both(["a ST"], ["STOP"]).content == "a ST"


# --- An answer in JSON --------------------------------------------------------------------


def test_a_fence_comes_off_an_answer_that_was_asked_for_in_json() -> None:
    message = both(["```js", 'on\n{"a": 1}\n', "```"], unwrap=True)
    assert message.content == '{"a": 1}'


def test_text_that_the_fence_held_back_is_cut_and_not_lost_when_a_call_follows() -> None:
    message = both(["```json\n{}\n``", ADD], ["`"], unwrap=True)
    assert message.content == "{}\n"
    assert message.tool_calls == []
