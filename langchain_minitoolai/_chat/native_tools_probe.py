"""Whether the service forwards OpenAI's tool fields: ask it once, and know."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from langchain_core.messages import AIMessage, HumanMessage

from langchain_minitoolai._chat.parameters import Parameters, ToolCalling
from langchain_minitoolai._chat.request import ChatRequest, chat_request
from langchain_minitoolai._http.effects import Response, Workflow
from langchain_minitoolai.errors import BadRequestError

_TOOL: Final[dict[str, Any]] = {
    "type": "function",
    "function": {
        "name": "ping",
        "description": "Answers pong.",
        "parameters": {"type": "object", "properties": {}},
    },
}
_ANSWER_TOKENS: Final = 16


@dataclass(frozen=True)
class ToolProbe:
    """What the service made of a request with OpenAI's tool fields.

    Attributes:
        outcome: `"calls"` if a call came back, `"ignored"` if words did, `"refused"` if the
            service did not take the request.
        tool_calling: The mode to use.
        cost: What asking cost, in USD; `None` where the service did not tell.
        detail: The service's words.
    """

    outcome: Literal["calls", "ignored", "refused"]
    tool_calling: ToolCalling
    cost: float | None
    detail: str


def probe_request(parameters: Parameters, secret: str) -> ChatRequest:
    """Make the request: about 60 tokens to read, at most 16 to write."""
    asking = parameters.replace(
        {
            "tool_calling": "native",
            "tools": [_TOOL],
            "tool_choice": "ping",
            "max_tokens": _ANSWER_TOKENS,
            "stop": None,
        }
    )
    return chat_request(asking, [HumanMessage("Call the tool ping.")], secret)


def probe(asking: Workflow[Response], request: ChatRequest) -> Workflow[ToolProbe]:
    """Ask, and judge by what comes.

    Args:
        asking: The flow that sends the request.
        request: What is sent.

    Raises:
        MiniToolAIError: If the service says nothing about the fields.
    """
    try:
        reply = yield from asking
    except BadRequestError as refused:
        return ToolProbe("refused", "prompted", 0.0, str(refused))
    message = request.builder.result(*reply.answer).generations[0].message
    calls = isinstance(message, AIMessage) and bool(message.tool_calls)
    cost = message.response_metadata.get("cost")
    if calls:
        return ToolProbe("calls", "native", cost, "a call came back")
    return ToolProbe("ignored", "prompted", cost, message.text)
