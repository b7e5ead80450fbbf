"""Pieces of an answer to what LangChain hands on: chunks, or one message."""

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, Protocol, TypeAlias

from langchain_core.messages import AIMessage, AIMessageChunk, InvalidToolCall, ToolCall
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import invalid_tool_call, tool_call
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from langchain_minitoolai._chat.chunk_forms import PROVIDER, call_chunk, text_chunk
from langchain_minitoolai._chat.code_fence import JsonUnwrapper
from langchain_minitoolai._chat.stop import StopCutter
from langchain_minitoolai._chat.stream import AnswerReader, Piece
from langchain_minitoolai._chat.usage import cost_of, to_usage
from langchain_minitoolai._tool_calling.events import (
    CallArguments,
    CallEnd,
    CallStart,
    Event,
    InvalidCall,
    Text,
)

CallEvent: TypeAlias = CallStart | CallArguments | CallEnd | InvalidCall


class TextReader(Protocol):
    """Reads calls out of text; see `_tool_calling.parser`."""

    def feed(self, text: str) -> list[Event]:
        """Read a piece."""

    def finish(self, finish_reason: str | None) -> list[Event]:
        """Read the end."""


class DeltaReader(Protocol):
    """Reads calls out of OpenAI's `tool_calls` deltas; see `_tool_calling.native`."""

    def feed(self, deltas: list[dict[str, Any]]) -> list[Event]:
        """Read some deltas."""

    def finish(self, finish_reason: str | None) -> list[Event]:
        """Read the end."""


class AnswerBuilder:
    """Builds LangChain's view of one answer, chunk by chunk or whole.

    The text passes the tool reader first and the stop cutter second, so that a stop sequence
    never cuts inside a call.
    """

    def __init__(
        self,
        model: str,
        stop: Iterable[str] = (),
        tools: TextReader | None = None,
        native: DeltaReader | None = None,
        unwrap: JsonUnwrapper | None = None,
    ) -> None:
        """Start before the first piece.

        Args:
            model: The model asked for, in case the answer does not name its own.
            stop: Where to cut.
            tools: Reads calls out of the text.
            native: Reads calls out of the answer's `tool_calls`.
            unwrap: Takes a fence off an answer that was asked for in JSON.
        """
        self._model = model
        self._cutter = StopCutter(stop)
        self._tools = tools
        self._native = native
        self._unwrap = unwrap
        self._names: dict[int, CallStart] = {}
        self._calls: list[ToolCall] = []
        self._broken: list[InvalidToolCall] = []
        self._plain = not (stop or tools or unwrap)
        self._started = False

    def chunks(self, pieces: list[Piece]) -> list[ChatGenerationChunk]:
        """Make chunks of the pieces that came; the first one names the provider."""
        chunks = []
        for piece in pieces:
            if self._plain and isinstance(piece, str):
                chunks.append(text_chunk(piece))
            else:
                chunks += [chunk for event in self._read(piece) for chunk in self._show(event)]
        if chunks and not self._started:
            self._started = True
            chunks[0].message.response_metadata["model_provider"] = PROVIDER
        return chunks

    def last_chunks(self, reader: AnswerReader) -> list[ChatGenerationChunk]:
        """Make the chunks that the answer's end completes; the last one tells of the whole.

        Args:
            reader: What read the answer.
        """
        events = self._finish(reader.finish_reason)
        chunks = [chunk for event in events for chunk in self._show(event)]
        if rest := self._flush():
            chunks.append(text_chunk(rest))
        usage = _usage(reader)
        message = AIMessageChunk(
            content="",
            response_metadata=self._metadata(reader, usage),
            usage_metadata=usage,
            chunk_position="last",
        )
        return [*chunks, ChatGenerationChunk(message=message)]

    def result(self, pieces: list[Piece], reader: AnswerReader) -> ChatResult:
        """Make one message of a whole answer.

        Args:
            pieces: All of it.
            reader: What read it.
        """
        events = [event for piece in _joined(pieces) for event in self._read(piece)]
        events += self._finish(reader.finish_reason)
        shown = "".join(self._take(event) for event in events) + self._flush()
        usage = _usage(reader)
        message = AIMessage(
            content=shown,
            tool_calls=self._calls,
            invalid_tool_calls=self._broken,
            response_metadata=self._metadata(reader, usage),
            usage_metadata=usage,
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _read(self, piece: Piece) -> list[Event]:
        if isinstance(piece, str):
            return self._tools.feed(piece) if self._tools else [Text(piece)]
        return self._native.feed(piece) if self._native and piece else []

    def _finish(self, reason: str | None) -> list[Event]:
        readers = [reader for reader in (self._tools, self._native) if reader is not None]
        return [event for reader in readers for event in reader.finish(reason)]

    def _take(self, event: Event) -> str:
        """Note a call, whole or broken; give the text that can be shown."""
        if isinstance(event, Text):
            text = self._unwrap.feed(event.text) if self._unwrap else event.text
            return self._cutter.feed(text)
        held = self._flush()
        if self._is_cut_off(event):
            return held
        if isinstance(event, CallStart):
            self._names[event.index] = event
        elif isinstance(event, CallEnd):
            start = self._names[event.index]
            arguments = json.loads(event.arguments, strict=False)  # as core reads chunks
            self._calls.append(tool_call(name=start.name, args=arguments, id=start.id))
        elif isinstance(event, InvalidCall):
            broken = invalid_tool_call(
                name=event.name, args=event.raw, id=event.id, error=event.reason
            )
            self._broken.append(broken)
        return held

    def _is_cut_off(self, event: CallEvent) -> bool:
        """Say whether a call began after a stop sequence."""
        return self._cutter.hit and event.index not in self._names

    def _flush(self) -> str:
        text = self._cutter.feed(self._unwrap.flush()) if self._unwrap else ""
        return text + self._cutter.flush()

    def _show(self, event: Event) -> list[ChatGenerationChunk]:
        text = self._take(event)
        chunks = [text_chunk(text)] if text else []
        if isinstance(event, Text | CallEnd) or self._is_cut_off(event):
            return chunks
        return [*chunks, call_chunk(event)]

    def _metadata(self, reader: AnswerReader, usage: UsageMetadata | None) -> dict[str, Any]:
        info = reader.info
        reason = reader.finish_reason or "stop"
        if self._calls:
            reason = "tool_calls"
        elif self._cutter.hit:
            reason = "stop"
        found: dict[str, Any] = {
            "model_name": str(info.get("model") or self._model),
            "model_provider": PROVIDER,
            "finish_reason": reason,
            "system_fingerprint": info.get("system_fingerprint"),
            "service_tier": info.get("service_tier"),
            "id": info.get("id"),
        }
        if reason != reader.finish_reason:
            found["service_finish_reason"] = reader.finish_reason
        if usage:
            found["cost"] = cost_of(usage, found["model_name"], self._model)
        if self._broken:
            # Merging chunks keeps neither the reason nor all of what the model wrote.
            found["invalid_tool_calls"] = [dict(each) for each in self._broken]
        return {key: value for key, value in found.items() if value is not None}


def _usage(reader: AnswerReader) -> UsageMetadata | None:
    return to_usage(reader.usage) if reader.usage else None


def _joined(pieces: list[Piece]) -> Iterator[Piece]:
    """Join the pieces of text that stand together."""
    for is_text, group in groupby(pieces, lambda piece: isinstance(piece, str)):
        if is_text:
            yield "".join(piece for piece in group if isinstance(piece, str))
        else:
            yield from group
