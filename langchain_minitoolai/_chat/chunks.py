"""Response builder: deltas to AIMessageChunk or AIMessage, stop sequences, content blocks."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from langchain_core.messages import AIMessage, AIMessageChunk, InvalidToolCall, ToolCall
from langchain_core.messages import content as blocks
from langchain_core.messages.ai import OutputTokenDetails, UsageMetadata
from langchain_core.messages.block_translators import register_translator
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from langchain_minitoolai import contract
from langchain_minitoolai._chat.stream import ChatStreamParser, Delta, Refusal
from langchain_minitoolai._chat.usage import estimate_cost, to_usage_metadata
from langchain_minitoolai._redaction import safe_warn
from langchain_minitoolai._tool_calling.events import (
    CallArguments,
    CallEnd,
    CallStart,
    Event,
    InvalidCall,
    Text,
)
from langchain_minitoolai._tool_calling.native import NativeToolCallParser
from langchain_minitoolai._tool_calling.parser import ToolCallParser

PROVIDER: Final = "minitoolai"
_MAX_CLOSING_FENCE: Final = 200
"""The most characters held back for a closing fence, blanks included."""


class ResponseBuilder:
    """Builds LangChain's messages of one response, chunk by chunk or whole.

    The text passes the tool call parser first and the stop sequence filter second, so that a
    stop sequence never cuts inside a call.
    """

    def __init__(
        self,
        model: str,
        stop: Iterable[str] = (),
        tools: ToolCallParser | None = None,
        fence: "CodeFenceStripper | None" = None,
        *,
        native: bool = False,
    ) -> None:
        """Start before the first delta.

        Args:
            model: The requested model, in case the response names none.
            stop: Stop sequences.
            tools: Parses tool calls in the text.
            fence: Strips the code fence around requested JSON.
            native: Whether calls in the response's `tool_calls` are valid ones.
        """
        self.http_metadata: dict[str, Any] = {}
        self._model = model
        self._stop = StopSequenceFilter(stop)
        self._tools = tools
        self._fence = fence
        self._is_native = native
        self._native: NativeToolCallParser | None = None
        self._started_calls: dict[int, CallStart] = {}
        self._calls: list[ToolCall] = []
        self._invalid_calls: list[InvalidToolCall] = []
        self._refusal = ""
        self._text_only = not (stop or tools or fence)
        self._started = False

    def chunks(self, deltas: list[Delta]) -> list[ChatGenerationChunk]:
        """Build the chunks of some deltas; the first chunk names the provider."""
        chunks = []
        for delta in deltas:
            if self._text_only and isinstance(delta, str):
                chunks.append(text_chunk(delta))
            else:
                chunks += [
                    chunk for event in self._parse(delta) for chunk in self._to_chunks(event)
                ]
        if chunks and not self._started:
            self._started = True
            chunks[0].message.response_metadata["model_provider"] = PROVIDER
        return chunks

    def final_chunks(self, parser: ChatStreamParser) -> list[ChatGenerationChunk]:
        """Build the chunks that the end completes; the last one has the metadata and the usage."""
        events = self._finish(parser.finish_reason)
        chunks = [chunk for event in events for chunk in self._to_chunks(event)]
        if rest := self._flush():
            chunks.append(text_chunk(rest))
        usage = to_usage_metadata(parser.usage) if parser.usage else None
        if not chunks and not self._started:
            self._warn_if_cut(parser, usage)
        message = AIMessageChunk(
            content="",
            response_metadata=self._metadata(parser, usage),
            usage_metadata=usage,
            chunk_position="last",
        )
        return [*chunks, ChatGenerationChunk(message=message)]

    def result(self, deltas: list[Delta], parser: ChatStreamParser) -> ChatResult:
        """Build one message of a whole response, from all of its deltas and its parser."""
        events = [event for delta in _join_text(deltas) for event in self._parse(delta)]
        events += self._finish(parser.finish_reason)
        text = "".join(self._consume(event) for event in events) + self._flush()
        usage = to_usage_metadata(parser.usage) if parser.usage else None
        if not text and not self._calls and not self._invalid_calls:
            self._warn_if_cut(parser, usage)
        message = AIMessage(
            content=text,
            additional_kwargs={"refusal": self._refusal} if self._refusal else {},
            tool_calls=self._calls,
            invalid_tool_calls=self._invalid_calls,
            response_metadata=self._metadata(parser, usage),
            usage_metadata=usage,
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _parse(self, delta: Delta) -> Sequence[Event | Refusal]:
        if isinstance(delta, str):
            return self._tools.feed(delta) if self._tools else [Text(delta)]
        if isinstance(delta, Refusal):
            return [delta]
        if self._native is None:
            self._native = NativeToolCallParser(refuse=not self._is_native)
        return self._native.feed(delta)

    def _finish(self, finish_reason: str | None) -> list[Event]:
        parsers = [parser for parser in (self._tools, self._native) if parser is not None]
        return [event for parser in parsers for event in parser.finish(finish_reason)]

    def _consume(self, event: Event | Refusal) -> str:
        """Record a call, valid or not; return the text that can be shown."""
        if isinstance(event, Text):
            text = self._fence.feed(event.text) if self._fence else event.text
            return self._stop.feed(text)
        text = self._flush()
        if isinstance(event, Refusal):
            self._refusal += event.text
            return text + event.text
        if self._is_hidden(event):
            return text
        if isinstance(event, CallStart):
            self._started_calls[event.index] = event
        elif isinstance(event, CallEnd):
            start = self._started_calls[event.index]
            arguments = json.loads(event.arguments, strict=False)  # as core parses chunks
            self._calls.append(tool_call(name=start.name, args=arguments, id=start.id))
        elif isinstance(event, InvalidCall):
            invalid = invalid_tool_call(
                name=event.name, args=event.raw, id=event.id, error=event.reason
            )
            self._invalid_calls.append(invalid)
        return text

    def _is_hidden(self, event: CallStart | CallArguments | CallEnd | InvalidCall) -> bool:
        """Check whether a call began after a stop sequence."""
        return self._stop.matched and event.index not in self._started_calls

    def _flush(self) -> str:
        text = self._stop.feed(self._fence.flush()) if self._fence else ""
        return text + self._stop.flush()

    def _to_chunks(self, event: Event | Refusal) -> list[ChatGenerationChunk]:
        text = self._consume(event)
        chunks = [text_chunk(text)] if text else []
        if isinstance(event, Refusal):
            chunks[0].message.additional_kwargs["refusal"] = event.text
            chunks[0].message.response_metadata["model_provider"] = PROVIDER
        elif not isinstance(event, Text | CallEnd) and not self._is_hidden(event):
            chunks.append(call_chunk(event))
        return chunks

    def _warn_if_cut(self, parser: ChatStreamParser, usage: UsageMetadata | None) -> None:
        """Warn that an answer is empty, where its limit of tokens is the reason."""
        if parser.finish_reason != "length" or self._stop.matched:
            return
        details: OutputTokenDetails = usage.get("output_token_details", {}) if usage else {}
        safe_warn(
            "the answer is empty: it reached its limit of tokens after "
            f"{details.get('reasoning', 0)} reasoning tokens; raise max_tokens, which the service "
            f"takes as {contract.DEFAULT_MAX_COMPLETION_TOKENS} where it is unset"
        )

    def _metadata(self, parser: ChatStreamParser, usage: UsageMetadata | None) -> dict[str, Any]:
        service = parser.metadata
        reason = parser.finish_reason or "stop"
        if self._calls:
            reason = "tool_calls"
        elif self._stop.matched:
            reason = "stop"
        metadata: dict[str, Any] = {
            "model_name": str(service.get("model") or self._model),
            "model_provider": PROVIDER,
            "finish_reason": reason,
            "system_fingerprint": service.get("system_fingerprint"),
            "service_tier": service.get("service_tier"),
            "id": service.get("id"),
        }
        if reason != parser.finish_reason:
            metadata["service_finish_reason"] = parser.finish_reason
        if usage:
            metadata["cost"] = estimate_cost(usage, metadata["model_name"], self._model)
        if self._invalid_calls:
            # Merging chunks keeps neither the reason nor all of what the model wrote.
            metadata["invalid_tool_calls"] = [dict(call) for call in self._invalid_calls]
        metadata |= self.http_metadata
        return {key: value for key, value in metadata.items() if value is not None}


def _join_text(deltas: list[Delta]) -> Iterator[Delta]:
    """Join the text deltas that follow one another."""
    for is_text, group in groupby(deltas, lambda delta: isinstance(delta, str)):
        if is_text:
            yield "".join(delta for delta in group if isinstance(delta, str))
        else:
            yield from group


# --- One chunk ---------------------------------------------------------------------

_MESSAGE: Final = AIMessageChunk(content="")
_CHUNK: Final = ChatGenerationChunk(message=_MESSAGE)


def text_chunk(text: str) -> ChatGenerationChunk:
    """Build a text chunk by pydantic's shallow copy, in half the time of both constructors."""
    message = _MESSAGE.__copy__()
    fields = vars(message)
    fields["content"] = text
    fields["additional_kwargs"] = {}
    fields["response_metadata"] = {}
    fields["tool_calls"] = []
    fields["invalid_tool_calls"] = []
    fields["tool_call_chunks"] = []
    chunk = _CHUNK.__copy__()
    fields = vars(chunk)
    fields["message"] = message
    fields["text"] = text
    return chunk


def call_chunk(event: CallStart | CallArguments | InvalidCall) -> ChatGenerationChunk:
    """Build a chunk of a tool call that is being written."""
    if isinstance(event, CallStart):
        part = tool_call_chunk(name=event.name, args="", id=event.id, index=event.index)
    elif isinstance(event, CallArguments):
        part = tool_call_chunk(args=event.text, index=event.index)
    elif event.started:
        part = tool_call_chunk(args=event.suffix, index=event.index)
    else:
        args = event.raw + event.suffix
        part = tool_call_chunk(name=event.name, args=args, id=event.id, index=event.index)
    message = AIMessageChunk(
        content="", tool_call_chunks=[part], response_metadata={"model_provider": PROVIDER}
    )
    return ChatGenerationChunk(message=message)


# --- Filters of the text -----------------------------------------------------------


class StopSequenceFilter:
    """Cuts text before the first stop sequence, also across deltas: the API has no `stop`.

    Attributes:
        matched: A stop sequence was found; nothing that follows is shown.
    """

    def __init__(self, stop: Iterable[str]) -> None:
        """Search for these sequences; the one that begins first cuts."""
        self._stop = tuple(stop)
        self._pending = ""
        self.matched = False

    def feed(self, text: str) -> str:
        """Filter some text.

        Returns:
            What can be shown now; a tail that may begin a stop sequence is kept.
        """
        if self.matched:
            return ""
        if not self._stop:
            return text
        text = self._pending + text
        keep = max(_overlap(text, stop) for stop in self._stop)
        return self._cut(text, len(text) - keep)

    def flush(self) -> str:
        """Return what was kept: no more text follows, or something that is no text."""
        return self._cut(self._pending, len(self._pending))

    def _cut(self, text: str, end: int) -> str:
        """Cut before a sequence that begins by `end`; keep the text from there on."""
        found = [start for stop in self._stop if (start := text.find(stop)) >= 0]
        if found and min(found) <= end:
            self.matched, self._pending = True, ""
            return text[: min(found)]
        self._pending = text[end:]
        return text[:end]


def _overlap(text: str, stop: str) -> int:
    """Count the characters at the end of the text that begin the stop sequence."""
    for length in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0


class CodeFenceStripper:
    """Strips the Markdown fence that some models put around JSON; other text is unchanged."""

    _OPENING = re.compile(r"\s{0,64}```(?:json|JSON)?[ \t]{0,64}\r?\n")
    _PARTIAL_OPENING = re.compile(
        r"\s{0,64}(?:`{0,2}|```(?:j|js|jso|json|J|JS|JSO|JSON)?[ \t]{0,64}\r?)"
    )
    _CLOSING = re.compile(r"\s*```\s*\Z")

    def __init__(self) -> None:
        """Start before the first character."""
        self._pending = ""
        self._at_start = True
        self._fenced = False

    def feed(self, text: str) -> str:
        """Return what of the text is surely no fence."""
        text, self._pending = self._pending + text, ""
        if self._at_start:
            if self._PARTIAL_OPENING.fullmatch(text):
                self._pending = text
                return ""
            self._at_start = False
            if opening := self._OPENING.match(text):
                self._fenced = True
                text = text[opening.end() :]
        if not self._fenced:
            return text
        end = _closing_fence_start(text)
        self._pending = text[end:]
        return text[:end]

    def flush(self) -> str:
        """Return what was kept and is no fence: the text ends here."""
        pending, self._pending = self._pending, ""
        if self._fenced and self._CLOSING.fullmatch(pending):
            return ""
        return pending


def _closing_fence_start(text: str) -> int:
    """Find where a closing fence may begin at the end of the text."""
    end = len(text.rstrip())
    ticks = min(end - len(text[:end].rstrip("`")), 3)
    return max(len(text[: end - ticks].rstrip()), len(text) - _MAX_CLOSING_FENCE)


# --- Standard content blocks -------------------------------------------------------


def register_content_blocks() -> None:
    """Register the translator of messages whose `model_provider` is ours with core."""
    register_translator(PROVIDER, to_content_blocks, chunk_to_content_blocks)


def to_content_blocks(message: AIMessage) -> list[blocks.ContentBlock]:
    """Translate a whole message: its text, tool calls and invalid tool calls.

    Raises:
        NotImplementedError: If the content is no text; core then translates it as it can.
    """
    calls: list[Any] = [*message.tool_calls, *message.invalid_tool_calls]
    return [*_text_blocks(message), *calls]


def chunk_to_content_blocks(chunk: AIMessageChunk) -> list[blocks.ContentBlock]:
    """Translate a chunk; its calls are partial until the last chunk.

    The parts of a call share an index of their own kind: a bare number would be taken for the
    text block of that number.

    Raises:
        NotImplementedError: As `to_content_blocks`.
    """
    if chunk.chunk_position == "last":
        return to_content_blocks(chunk)
    calls: list[Any] = [dict(part) for part in chunk.tool_call_chunks]
    for call in calls:
        if (index := call.pop("index")) is not None:
            call["index"] = f"lc_tc_{index}"
    return [*_text_blocks(chunk), *calls]


def _text_blocks(message: AIMessage) -> list[blocks.ContentBlock]:
    if not isinstance(message.content, str):
        raise NotImplementedError
    refusal = message.additional_kwargs.get("refusal", "")
    if "refusal" not in blocks.KNOWN_BLOCK_TYPES:  # since langchain-core 1.7.5
        refusal = ""
    text = message.content.removesuffix(refusal)
    found: list[Any] = [{"type": "text", "text": text}] if text else []
    return [*found, {"type": "refusal", "refusal": refusal}] if refusal else found
