"""Chat events: an answer in the documented stream's shape."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final, Literal, NamedTuple, TypeAlias

DONE: Final = b"data: [DONE]\n\n"
IMAGE_TOKENS: Final = {"low": 85, "auto": 765, "high": 765}
MESSAGE_TOKENS: Final = 4
_THINKING: Final = {"none": 0, "minimal": 16, "low": 64, "medium": 256, "high": 1024, "xhigh": 4096}
"""Tokens of thought by effort; from `high` on more than the default `max_completion_tokens`."""

CallForm: TypeAlias = Literal[
    "keyed",
    "unkeyed",
    "wrong_key",
    "single_line",
    "unclosed",
    "string_arguments",
    "fenced",
    "bare",
    "quoted",
]
"""The form of calls: as asked for (`keyed`, and `quoted`, where answers in words repeat their
input), or with a slip."""

_TAG: Final = re.compile(r"<tool_call[^<>]*>")
_PIECE: Final = re.compile(r"\s?[^\W\d_]{1,8}|\s?\d{1,3}|\s?[^\w\s]|\s|\w", re.UNICODE)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call for a scripted answer.

    Attributes:
        name: The tool's name.
        arguments: The arguments, or a text to send in their place, broken as it may be.
    """

    name: str
    arguments: Mapping[str, Any] | str = field(default_factory=dict)

    @property
    def arguments_text(self) -> str:
        """The arguments as JSON."""
        if isinstance(self.arguments, str):
            return self.arguments
        return json.dumps(self.arguments, ensure_ascii=False)


Part: TypeAlias = str | ToolCall


class Answer(NamedTuple):
    """An answer as tokens: the `delta` of each, and why it ended."""

    deltas: list[dict[str, Any]]
    finish_reason: str


def pieces(text: str) -> list[str]:
    """Cut a text into about as many pieces as a tokenizer would; joined, they are the text."""
    return _PIECE.findall(text)


def compose(
    parts: Sequence[Part],
    *,
    native: bool = False,
    limit: int | None = None,
    stop: Sequence[str] = (),
    finish_reason: str | None = None,
    stamp: str = "",
    tag: str = "<tool_call>",
    form: CallForm = "keyed",
) -> Answer:
    """Turn the parts of an answer into at most `limit` tokens, which end before a `stop`.

    Calls are text in their `form`, each opened by `tag`; `native` ones go into
    `delta.tool_calls`, with ids that `stamp` makes unique.
    """
    calls = [part for part in parts if native and isinstance(part, ToolCall)]
    texts = [part for part in parts if isinstance(part, str)]
    text = "\n".join(texts) if native else prompted_text(parts, tag, form)
    for mark in stop:
        text = text.split(mark, 1)[0]
    deltas: list[dict[str, Any]] = [{"content": piece} for piece in pieces(text)]
    for index, call in enumerate(calls):
        deltas += _call_deltas(index, call, stamp)
    reason = finish_reason or ("tool_calls" if calls else "stop")
    if limit is not None and len(deltas) > limit:
        return Answer(deltas[:limit], "length")
    return Answer(deltas, reason)


def prompted_text(parts: Sequence[Part], tag: str = "<tool_call>", form: CallForm = "keyed") -> str:
    """Render texts and calls as a model writes them that was asked in its prompt for a form."""
    texts: list[str] = []
    for kind, group in groupby(parts, type):
        found = [part if isinstance(part, str) else _call_json(part, form) for part in group]
        texts += [_prompted_calls(found, tag, form)] if kind is ToolCall else found
    return "\n".join(texts)


def _call_json(call: ToolCall, form: CallForm) -> str:
    name = json.dumps(call.name, ensure_ascii=False)
    arguments = call.arguments_text
    if form == "string_arguments":
        arguments = json.dumps(arguments, ensure_ascii=False)
    return f'{{"name": {name}, "arguments": {arguments}}}'


def _prompted_calls(calls: Sequence[str], tag: str, form: CallForm) -> str:
    if form in ("fenced", "bare"):
        text = calls[0] if len(calls) == 1 else f"[{', '.join(calls)}]"
        return text if form == "bare" else f"```json\n{text}\n```"
    tags = {"unkeyed": "<tool_call>", "wrong_key": '<tool_call key="000000">'}
    space = "" if form == "single_line" else "\n"
    end = "" if form == "unclosed" else f"{space}</tool_call>"
    return "\n".join(f"{tags.get(form, tag)}{space}{call}{end}" for call in calls)


def call_tag(body: Mapping[str, Any]) -> str:
    """Find the tag that the developer messages ask for, as a model would copy it."""
    developer = (message for message in body["messages"] if message["role"] == "developer")
    texts = (part.get("text", "") for message in developer for part in content_parts(message))
    return next((tags[-1] for text in texts if (tags := _TAG.findall(text))), "<tool_call>")


def _call_deltas(index: int, call: ToolCall, stamp: str) -> Iterator[dict[str, Any]]:
    function = {"name": call.name, "arguments": ""}
    head = {"index": index, "id": f"call_{stamp}{index}", "type": "function"}
    yield {"tool_calls": [{**head, "function": function}]}
    for piece in pieces(call.arguments_text):
        yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


class Frame(NamedTuple):
    """The fields that every chunk of one answer repeats."""

    id: str
    created: int
    model: str

    def chunk(self, choices: list[dict[str, Any]], usage: Mapping[str, Any] | None = None) -> bytes:
        """Write one chunk as an event."""
        return event(
            {
                "id": self.id,
                "object": "chat.completion.chunk",
                "created": self.created,
                "model": self.model,
                "service_tier": "default",
                "system_fingerprint": "fp_06737a9306",
                "choices": choices,
                "usage": usage,
            }
        )

    def delta(self, delta: Mapping[str, Any], finish_reason: str | None = None) -> bytes:
        """Write a chunk with one choice as an event."""
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return self.chunk([choice])


def events(frame: Frame, answer: Answer, usage: Mapping[str, Any]) -> list[bytes]:
    """Write a whole answer: a chunk a token, the finish, the usage, the end."""
    return [
        *(frame.delta(delta) for delta in answer.deltas),
        frame.delta({}, answer.finish_reason),
        frame.chunk([], usage),
        DONE,
    ]


def event(data: Mapping[str, Any]) -> bytes:
    """Write one server-sent event."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"data: {text}\n\n".encode()


def usage_of(
    prompt_tokens: int, completion_tokens: int, reasoning_tokens: int = 0
) -> dict[str, Any]:
    """Write the usage object in its documented shape; the reasoning is part of the completion."""
    none = ("audio_tokens", "accepted_prediction_tokens", "rejected_prediction_tokens")
    details = {"reasoning_tokens": reasoning_tokens, **dict.fromkeys(none, 0)}
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": details,
    }


def prompt_tokens(body: Mapping[str, Any]) -> int:
    """Count a request's tokens about as a tokenizer would, images by their detail."""
    total = len(pieces(json.dumps(body["tools"]))) if body.get("tools") else 0
    for message in body["messages"]:
        total += MESSAGE_TOKENS + sum(_part_tokens(part) for part in content_parts(message))
        if message.get("tool_calls"):
            total += len(pieces(json.dumps(message["tool_calls"])))
    return total


def is_reasoning(model: str) -> bool:
    """Return whether a model is named like one of OpenAI's that think before they answer."""
    return re.match(r"gpt-[5-9]|o\d", model) is not None


def reasoning_tokens(body: Mapping[str, Any]) -> int:
    """Count the tokens that a model thinks for; of efforts that are unknown, as for the medium."""
    effort = str(body.get("reasoning_effort"))
    return _THINKING.get(effort, _THINKING["medium"]) if is_reasoning(body["model"]) else 0


def content_parts(message: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """Give a message's content as a list of parts, whatever its form."""
    content = message.get("content") or ""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _part_tokens(part: Mapping[str, Any]) -> int:
    if part["type"] == "text":
        return len(pieces(part["text"]))
    return IMAGE_TOKENS[part["image_url"].get("detail", "auto")]
