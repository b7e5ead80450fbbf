"""Built-in responder: short, deterministic answers and tool calls, made from the question."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_minitoolai.sandbox import _text
from langchain_minitoolai.sandbox._chat import CallForm, Part, ToolCall
from langchain_minitoolai.sandbox._conversation import Conversation, Result, Tool, read
from langchain_minitoolai.sandbox._schema_faker import fill

LONGEST: Final = 600
"""The most characters of a result or a question that an answer repeats."""

_FITS: Final = 2
_SIGNS: Final = {"+": "add", "*": "multiply", "×": "multiply", "-": "subtract", "/": "divide"}


def answer(body: Mapping[str, Any], form: CallForm = "keyed") -> Sequence[Part]:
    """Answer a request that has been checked; `form` says whether words repeat the input."""
    talk = read(body)
    tools = chosen(talk)
    if tools:
        return [ToolCall(tool.name, _arguments(tool, talk.question)) for tool in tools]
    if talk.schema is not None:
        return [json.dumps(fill(talk.schema, talk.question), ensure_ascii=False)]
    if form == "quoted":
        return ["\n".join(result.content for result in talk.results) or talk.question]
    if talk.results:
        return ["\n".join(map(_result_text, talk.results))]
    return [_echo(talk)]


def chosen(talk: Conversation) -> list[Tool]:
    """Choose what to call: the tools that the question names, else one that fits or must be."""
    fresh = [tool for tool in talk.tools if tool.name not in talk.called]
    named = [tool for tool in fresh if _is_named(tool, talk.question)]
    if named:
        return named[:1] if talk.single else named
    asked = _stems(talk.question)
    best = max(fresh or talk.tools, key=lambda tool: fitness(tool, asked), default=None)
    if best is None:
        return []
    if talk.demanded:
        return [best]
    if talk.results or talk.images:
        return []
    fits = "tool" in _text.words(talk.question) or fitness(best, asked) >= _FITS
    return [best] if fits else []


def fitness(tool: Tool, asked: frozenset[str]) -> int:
    """Count the words that a tool shares with a question; those of its name count twice."""
    return 2 * len(_text.stems(tool.name) & asked) + len(_text.stems(tool.description) & asked)


def _stems(question: str) -> frozenset[str]:
    written = _text.arithmetic(question)
    signs = (name for sign, name in _SIGNS.items() if written and sign in written[0])
    return _text.stems(question) | frozenset(signs)


def _is_named(tool: Tool, question: str) -> bool:
    spaced = " ".join(_text.words(tool.name))
    names = [tool.name, spaced] if " " in spaced else [tool.name]
    return any(
        re.search(rf"(?<!\w){re.escape(name)}(?!\w)", question, re.IGNORECASE) for name in names
    )


def _arguments(tool: Tool, question: str) -> Any:
    return fill({"type": "object", **tool.parameters}, question, name=tool.name, sparse=True)


def _result_text(result: Result) -> str:
    content = _short(result.content)
    return f"{result.name} failed: {content}" if result.failed else f"{result.name}: {content}"


def _echo(talk: Conversation) -> str:
    shown = {0: "", 1: " I was shown 1 image."}.get(
        talk.images, f" I was shown {talk.images} images."
    )
    if written := _text.arithmetic(talk.question):
        return f"{written[0]} = {written[1]}.{shown}"
    said = _short(talk.question) or "nothing"
    dot = "" if said.endswith((".", "!", "?", "…")) else "."
    asked = f"You said: “{said}”{dot}" if talk.question else "You said nothing."
    return f"{asked}{shown} This is the sandbox, which gives the same answer every time."


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
