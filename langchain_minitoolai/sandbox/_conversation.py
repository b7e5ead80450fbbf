"""Parser of chat requests for the responder: question, tools, results, rules."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from langchain_minitoolai.sandbox._chat import content_parts

_BLOCK: Final = r"<{0}(?: [^<>]*)?>\n\s*(.*?)\s*\n</{0}>"  # a line end in a value is escaped
_TOOLS: Final = re.compile(_BLOCK.format("tools"), re.DOTALL)
_SCHEMA: Final = re.compile(_BLOCK.format("response_schema"), re.DOTALL)
_CALL: Final = re.compile(_BLOCK.format("tool_call"), re.DOTALL)
_RESULT: Final = re.compile(_BLOCK.format("tool_response"), re.DOTALL)
_THING: Final = r"(?:tools?|functions?|of them|calls?|<tool_call[^<>]*>)"
_DEMAND: Final = re.compile(
    rf"\b(?:must|shall|have to|need to|required to|always)\b(?!\s+(?:not|never)\b)[^.;:\n]{{0,40}}?"
    rf"\b(?:call|use|invoke|contain|include|be)\b[^.;:\n]{{0,40}}?{_THING}"
    r"|\b(?:tool|function) call is (?:required|mandatory)"
    r"|\bat least one (?:tool |function )?call"
    r"|\b(?:answer|reply|respond) (?:only )?(?:with|by) (?:\w+ ){0,3}"
    r"(?:call\b|calling|<tool_call[^<>]*>)",
    re.IGNORECASE,
)
_JSON_RULE: Final = re.compile(
    r"\b(?:answer|reply|respond)\s+(?:only\s+)?(?:with|in|as)\s+(?:\w+\s+){0,3}JSON\b",
    re.IGNORECASE,
)
_CONDITION: Final = re.compile(
    r"\b(?:if|when|whenever|unless|may|can|(?<!have )(?<!need )(?<!required )to call)\b",
    re.IGNORECASE,
)
_SINGLE: Final = re.compile(
    r"\b(?:at most|only|exactly|no more than) one (?:tool |function )?call"
    r"|\bone (?:tool |function )?(?:call )?at a time",
    re.IGNORECASE,
)


class Tool(NamedTuple):
    """A function that the model may call."""

    name: str
    description: str
    parameters: Mapping[str, Any]


class Result(NamedTuple):
    """The result of a tool call."""

    name: str
    content: str
    failed: bool


@dataclass(slots=True)
class Conversation:
    """The parts of a request that the responder reads."""

    question: str = ""  # the user's last
    images: int = 0  # how many the request shows
    tools: Sequence[Tool] = ()  # that may be called
    demanded: bool = False  # whether a call is
    single: bool = False  # whether at most one call is allowed
    called: list[str] = field(default_factory=list)  # tools, since the question
    results: list[Result] = field(default_factory=list)  # of these
    schema: Mapping[str, Any] | None = None  # of the answer, where one is asked for


def read(body: Mapping[str, Any]) -> Conversation:
    """Read a request that has been checked, its tools in the prompted form or in OpenAI's."""
    talk = Conversation()
    names: dict[str, str] = {}
    for message in body["messages"]:
        _read_message(message, talk, names)
    talk.question = talk.question.strip()
    parts = (part for message in body["messages"] for part in content_parts(message))
    talk.images = sum(part["type"] == "image_url" for part in parts)
    developer = "\n".join(text_of(m) for m in body["messages"] if m["role"] == "developer")
    rules = _SCHEMA.sub("", _TOOLS.sub("", developer))
    choice = body.get("tool_choice")
    talk.tools = _tools(body, developer, choice)
    talk.demanded = choice == "required" or isinstance(choice, Mapping) or _demands(rules)
    talk.single = body.get("parallel_tool_calls") is False or bool(_SINGLE.search(rules))
    talk.schema = _schema(body, developer, rules, talk.question)
    return talk


def _read_message(message: Mapping[str, Any], talk: Conversation, names: dict[str, str]) -> None:
    """Read one message; `names` keeps those of native calls by id."""
    text = text_of(message)
    if message["role"] == "assistant":
        talk.called += [str(_object(block).get("name", "")) for block in _CALL.findall(text)]
        for call in message.get("tool_calls") or ():
            names[call["id"]] = call["function"]["name"]
            talk.called.append(call["function"]["name"])
    elif message["role"] == "tool":
        name = names.get(message.get("tool_call_id", ""), "the tool")
        talk.results.append(Result(name, text, failed=False))
    elif message["role"] == "user" and text.lstrip().startswith("<tool_response"):
        talk.results += [_result(block) for block in _RESULT.findall(text)]
        talk.question = _RESULT.sub("", text).strip() or talk.question
    elif message["role"] == "user":
        talk.question, talk.called, talk.results = text, [], []


def text_of(message: Mapping[str, Any]) -> str:
    """Join the texts of a message."""
    return "\n".join(part["text"] for part in content_parts(message) if part["type"] == "text")


def _demands(rules: str) -> bool:
    """Return whether a sentence of the rules demands a call, without conditions."""
    sentences = re.split(r"(?<=[.;!])\s+|\n", rules)
    return any(_DEMAND.search(one) and not _CONDITION.search(one) for one in sentences)


def _tools(body: Mapping[str, Any], developer: str, choice: Any) -> list[Tool]:
    if choice == "none":
        return []
    blocks = _TOOLS.findall(developer)
    found = [_object(line) for line in blocks[-1].splitlines()] if blocks else []
    found += [tool["function"] for tool in body.get("tools") or ()]
    named = choice["function"]["name"] if isinstance(choice, Mapping) else None
    return [
        Tool(str(tool["name"]), tool.get("description") or "", tool.get("parameters") or {})
        for tool in found
        if "name" in tool and named in (None, tool["name"])
    ]


def _schema(
    body: Mapping[str, Any], developer: str, rules: str, question: str
) -> Mapping[str, Any] | None:
    blocks = _SCHEMA.findall(developer)
    if blocks:
        return _object(blocks[-1])
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        schema: Mapping[str, Any] = wanted["json_schema"]["schema"]
        return schema
    asked = _JSON_RULE.search(rules) or re.search(r"\bJSON\b", question)
    if asked or wanted.get("type") == "json_object":
        keys = re.findall(r"(?<!\w)[\"'`]([A-Za-z_]\w*)[\"'`](?!\w)", question)
        return {"properties": {key: {} for key in keys or ["answer"]}}
    return None


def _result(block: str) -> Result:
    data = _object(block)
    content = data.get("content", block)
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    return Result(str(data.get("name") or "the tool"), text, data.get("status") == "error")


def _object(text: str) -> dict[str, Any]:
    """Read a JSON object; anything else is an empty one."""
    try:
        data = json.loads(text)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}
