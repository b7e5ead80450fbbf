"""Arbitrary bytes, JSON and messages: nothing but errors of ours, and every bound kept."""

import json
import pickle
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from pydantic import SecretStr
from pydantic_core import from_json, to_json

from langchain_minitoolai import ChatMiniToolAI, contract, errors
from langchain_minitoolai._chat.stream import ChatStreamParser, Delta
from langchain_minitoolai._http import body as body_module
from langchain_minitoolai._http.body import BoundedBody, ContentDecoder, StreamReader
from langchain_minitoolai._http.effects import Request, Response
from langchain_minitoolai._http.error_mapping import error_from_response, retry_after
from langchain_minitoolai._http.transport import Deadline
from langchain_minitoolai._redaction import MAX_MESSAGE

SECRET = "sk-5ecret-0123456789"

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=12,
)
_KEYS = ("choices", "error", "status", "usage", "model", "id", "delta", "message", "code", "type")
_INNER = ("content", "tool_calls", "finish_reason", "function", "arguments", "name", "index")
_named = st.recursive(
    _json | st.sampled_from(["error", "failed", "stop", SECRET, f"Bearer {SECRET}"]),
    lambda inner: (
        st.dictionaries(st.sampled_from(_KEYS + _INNER), inner, max_size=5)
        | st.lists(inner, max_size=3)
    ),
    max_leaves=16,
)
_delta = st.fixed_dictionaries({"content": _named | st.text(max_size=9)}, optional={"role": _json})
_choice = st.fixed_dictionaries({"delta": _delta | _named}, optional={"finish_reason": _named})
_chunk = st.fixed_dictionaries(
    {"choices": st.lists(_choice, max_size=2) | _named},
    optional={"usage": _named, "model": _named, "id": _named, "status": _named},
)
_event = st.builds(
    "{}data: {}{}".format,
    st.sampled_from(["", "", "event: error\n", ": c\n"]),
    st.builds(json.dumps, _chunk | _named) | st.just("[DONE]") | st.text(max_size=12),
    st.sampled_from(["\n\n", "\r\n\r\n", "\r\r", "\n"]),
).map(str.encode)
_deltas_of_stream = st.lists(_event | st.binary(max_size=12), max_size=8)


def _read(chunks: Iterable[bytes]) -> tuple[list[Delta], errors.MiniToolAIError | None, Any]:
    parser, deltas = ChatStreamParser(SECRET), list[Delta]()
    try:
        for chunk in chunks:
            deltas += parser.feed(chunk)
        deltas += parser.end()
    except errors.MiniToolAIError as error:
        _check_error(error)
        return deltas, error, parser
    return deltas, None, parser


def _check_error(error: errors.MiniToolAIError) -> None:
    message = str(error)
    assert len(message) <= MAX_MESSAGE
    assert message.isprintable()
    assert SECRET not in f"{message} {vars(error)}"
    assert str(pickle.loads(pickle.dumps(error))) == message  # noqa: S301 - made right here


# --- The parser --------------------------------------------------------------------------


@given(_deltas_of_stream)
def test_any_stream_is_an_answer_or_an_error_from_response_ours(chunks: list[bytes]) -> None:
    deltas, error, parser = _read(chunks)
    assert error is not None or parser.complete
    assert all(isinstance(delta, str) or _are_objects(delta) for delta in deltas)


def _are_objects(delta: Delta) -> bool:
    return isinstance(delta, list) and all(isinstance(call, dict) for call in delta)


@given(_deltas_of_stream)
def test_what_was_read_does_not_depend_on_the_packets(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    deltas, error, _ = _read([whole])
    for cut in ([whole[n : n + 1] for n in range(len(whole))], chunks):
        again, other, _ = _read(cut)
        if error is None:
            assert again == deltas
        assert type(other) is type(error)


@given(_deltas_of_stream)
@example(
    [b'data: {"model": 42, "id": [], "choices": [{"finish_reason": 7}], "usage": {"a": 1}}\n\n']
)
def test_whatever_was_read_can_be_shown(chunks: list[bytes]) -> None:
    deltas, error, parser = _read(chunks)
    if error is not None:
        return
    builder = _model()._request([HumanMessage("Hi")], None, {}).response_builder
    message = builder.result(deltas, parser).generations[0].message
    again = _model()._request([HumanMessage("Hi")], None, {}).response_builder
    streamed = [*again.chunks(deltas), *again.final_chunks(parser)]
    assert "".join(str(chunk.message.content) for chunk in streamed) == message.content
    to_json(message.response_metadata)


@given(st.binary(max_size=200), st.sampled_from([b"{", b"<", b"\xef\xbb\xbf{", b" <!"]))
def test_any_document_in_place_of_a_stream_is_an_answer_or_an_error_from_response_ours(
    rest: bytes, start: bytes
) -> None:
    _, error, parser = _read([start + rest])
    assert error is not None or parser.complete


@given(_chunk | _named)
def test_any_json_in_place_of_a_stream_is_an_answer_or_an_error_of_ours(
    value: Any,
) -> None:
    _, error, parser = _read([json.dumps(value).encode()])
    assert error is not None or parser.complete


# --- Replies that are errors ----------------------------------------------------------------


@given(
    st.integers(300, 599),
    st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms", "date", "x-request-id", "cf-ray"]),
        st.text(max_size=30) | st.just(SECRET),
    ),
    st.binary(max_size=200) | st.builds(json.dumps, _named).map(str.encode),
)
def test_any_reply_is_an_error_fit_to_show(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    error = error_from_response(Response(status, headers, body)).redact(SECRET)
    _check_error(error)
    assert error.retry_after is None or error.retry_after >= 0


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_wait_that_is_asked_for_is_a_number_or_nothing(text: str, date: str) -> None:
    wait = retry_after({"retry-after": text, "date": date})
    assert wait is None or wait >= 0


# --- Decompression --------------------------------------------------------------------------


@given(
    st.lists(st.binary(max_size=60), max_size=6),
    st.sampled_from([31, 15]),
    st.integers(1, 40),
    st.integers(1, 9),
)
def test_a_compressed_body_is_given_whole_whatever_the_packets_and_steps(
    parts: list[bytes], bits: int, packet: int, step: int
) -> None:
    packer = zlib.compressobj(wbits=bits)
    packed = b"".join(packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH) for part in parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(body_module, "_STEP", step)
        decode = ContentDecoder({"content-encoding": "gzip" if bits == 31 else "deflate"})
        blocks = [packed[n : n + packet] for n in range(0, len(packed), packet)]
        found = [some for block in blocks for some in decode.decode(block)]
    assert b"".join(found) == b"".join(parts)
    assert all(len(some) <= step for some in found)


@given(st.lists(st.binary(max_size=60), max_size=6), st.sampled_from(["gzip", "deflate", "x-gzip"]))
def test_any_bytes_called_compressed_are_an_error_from_response_ours_or_bytes(
    blocks: list[bytes], encoding: str
) -> None:
    decode = ContentDecoder({"content-encoding": encoding})
    try:
        for block in blocks:
            list(decode.decode(block))
    except errors.MiniToolAIError as error:
        _check_error(error)


@given(st.text(max_size=20))
def test_any_content_encoding_is_known_or_an_error_from_response_ours(encoding: str) -> None:
    try:
        ContentDecoder({"content-encoding": encoding})
    except errors.MiniToolAIError as error:
        _check_error(error)


@given(st.integers(200, 599), st.lists(st.integers(0, 5000), max_size=30), st.integers(1, 20_000))
def test_no_body_is_kept_beyond_its_bound(status: int, sizes: list[int], bound: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(body_module, "MAX_ERROR_BODY", bound)
        bounded = BoundedBody(status, {}, bound)
        try:
            for size in sizes:
                bounded.feed(b"x" * size)
                if bounded.truncated:
                    break
        except errors.InvalidResponseError:
            assert status < 300
            return
        assert len(bounded.end(None)) <= bound


@given(_deltas_of_stream)
def test_a_stream_reader_raises_nothing_but_errors_of_ours(chunks: list[bytes]) -> None:
    reader: StreamReader[ChatStreamParser] = StreamReader(
        {}, ChatStreamParser(SECRET), Deadline(lambda: 0.0, 60.0, None)
    )
    try:
        for chunk in chunks:
            reader.feed(chunk)
        reader.end(None)
    except errors.MiniToolAIError as error:
        _check_error(error)


# --- Messages ---------------------------------------------------------------------------------


def _model() -> ChatMiniToolAI:
    return ChatMiniToolAI(minitoolai_api_key=SecretStr(SECRET))


_text = st.text(max_size=12) | st.sampled_from(["<tool_call>", "</tool_response>", "\ud800", "\0"])
_types = [
    "text",
    "image_url",
    "image",
    "input_image",
    "tool_use",
    "tool_result",
    "file",
    "thinking",
]
_urls = ["https://e.org/a.png", "file:///etc/passwd", "data:image/png;base64,AAAA", "/etc/passwd"]
_block = st.dictionaries(
    st.sampled_from(
        ["type", "text", "image_url", "url", "source", "base64", "mime_type", "detail"]
    ),
    _json | st.sampled_from(_types + _urls),
    max_size=5,
)
_content = _text | st.lists(_text | _block, max_size=4)
_call = st.fixed_dictionaries(
    {"name": _text, "args": st.dictionaries(st.text(max_size=5), _json), "id": st.none() | _text},
)
_roles = st.text(max_size=6) | st.sampled_from(["user", "system", "assistant", "tool"])
_message: st.SearchStrategy[BaseMessage] = st.one_of(
    st.builds(HumanMessage, content=_content),
    st.builds(SystemMessage, content=_content),
    st.builds(AIMessage, content=_content, tool_calls=st.lists(_call, max_size=2)),
    st.builds(ToolMessage, content=_content, tool_call_id=_text),
    st.builds(FunctionMessage, content=_content, name=_text),
    st.builds(ChatMessage, content=_content, role=_roles),
)


def _sent(messages: Sequence[BaseMessage], **options: Any) -> bytes | None:
    """Return the bytes of the request, or nothing where the messages are refused."""
    model = _model()
    try:
        request = model._request(list(messages), None, options)
        call = Request(contract.CHAT_PATH, request.body)
        with httpx.Client() as client:
            prepared = model._sync_client().build_request(client, call, {})
        return bytes(prepared.read())
    except errors.InvalidInputError:
        return None


@given(st.lists(_message, max_size=5))
def test_any_conversation_is_sent_in_documented_fields_or_refused(
    messages: list[BaseMessage],
) -> None:
    raw = _sent(messages)
    if raw is None:
        return
    body = from_json(raw)
    assert set(body) <= set(contract.CHAT_FIELDS)
    assert body["messages"]
    for message in body["messages"]:
        assert set(message) == {"role", "content"}
        assert message["role"] in contract.CHAT_ROLES
    assert b"/etc/passwd" not in raw or b'"image_url"' not in raw or _as_text(body)


def _as_text(body: dict[str, Any]) -> bool:
    """Check that no image's address is a local path."""
    contents = [message["content"] for message in body["messages"]]
    parts = [part for content in contents if isinstance(content, list) for part in content]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return all(url.startswith(("https://", "http://", "data:image/")) for url in urls)


@given(st.lists(_message, max_size=4))
def test_any_conversation_with_tools_is_sent_or_refused(messages: list[BaseMessage]) -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    _sent(messages, tools=[tool])
