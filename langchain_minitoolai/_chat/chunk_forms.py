"""How one chunk is made: of text, which is most of them, and of a piece of a call."""

from typing import Final

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk
from pydantic import BaseModel

from langchain_minitoolai._tool_calling.events import CallArguments, CallStart, InvalidCall

PROVIDER: Final = "minitoolai"

_MESSAGE: Final = AIMessageChunk(content="")
_MESSAGE_FIELDS: Final = dict(_MESSAGE)
_CHUNK_FIELDS: Final = dict(ChatGenerationChunk(message=_MESSAGE))
_new: Final = object.__new__
# What every pydantic model holds, set without going through pydantic's own `__setattr__`.
_set_fields: Final = BaseModel.__dict__["__dict__"].__set__
_set_names: Final = BaseModel.__dict__["__pydantic_fields_set__"].__set__
_set_extra: Final = BaseModel.__dict__["__pydantic_extra__"].__set__
_set_private: Final = BaseModel.__dict__["__pydantic_private__"].__set__


def text_chunk(text: str) -> ChatGenerationChunk:
    """Make a chunk of text, in a fifth of the time that checking it again would take.

    The fields of a chunk that pydantic has checked are copied, with containers of their own.
    """
    message = _new(AIMessageChunk)
    fields = _MESSAGE_FIELDS.copy()
    fields["content"] = text
    fields["additional_kwargs"] = {}
    fields["response_metadata"] = {}
    fields["tool_calls"] = []
    fields["invalid_tool_calls"] = []
    fields["tool_call_chunks"] = []
    _set_fields(message, fields)
    _set_names(message, {"content"})
    _set_extra(message, {})
    _set_private(message, None)
    chunk = _new(ChatGenerationChunk)
    fields = _CHUNK_FIELDS.copy()
    fields["message"] = message
    fields["text"] = text
    _set_fields(chunk, fields)
    _set_names(chunk, {"message", "text"})
    _set_extra(chunk, None)
    _set_private(chunk, None)
    return chunk


def call_chunk(event: CallStart | CallArguments | InvalidCall) -> ChatGenerationChunk:
    """Make a chunk of a call that is being written."""
    if isinstance(event, CallStart):
        piece = tool_call_chunk(name=event.name, args="", id=event.id, index=event.index)
    elif isinstance(event, CallArguments):
        piece = tool_call_chunk(args=event.text, index=event.index)
    elif event.started:
        piece = tool_call_chunk(args=event.suffix, index=event.index)
    else:
        args = event.raw + event.suffix
        piece = tool_call_chunk(name=event.name, args=args, id=event.id, index=event.index)
    message = AIMessageChunk(
        content="", tool_call_chunks=[piece], response_metadata={"model_provider": PROVIDER}
    )
    return ChatGenerationChunk(message=message)
