"""An agent with two tools, streamed: its words, its calls and the tools' answers as they come."""

import sys
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from service import Needs, run

from langchain_minitoolai import ChatMiniToolAI

QUESTION = "What is the weather in Bergen? Also, multiply 6 by 7."


@tool
def weather(city: str) -> str:
    """Look up the weather in a city."""
    return f"{city}: 9 °C, rain, wind from the west"


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


def talk(access: dict[str, Any]) -> None:
    """Ask the agent, and show everything that happens."""
    agent = create_agent(ChatMiniToolAI(**access), tools=[weather, multiply])
    print(f"\nyou:   {QUESTION}\nagent: ", end="")
    for message, _ in agent.stream({"messages": [HumanMessage(QUESTION)]}, stream_mode="messages"):
        if isinstance(message, ToolMessage):
            print(f"\ntool:  {message.name} -> {message.text}\nagent: ", end="")
        elif isinstance(message, AIMessageChunk):
            for piece in message.tool_call_chunks:
                print(f"\n       [calls {piece['name']}] " if piece["name"] else "", end="")
                print(piece["args"] or "", end="")
            print(message.text, end="", flush=True)
    print()


if __name__ == "__main__":
    sys.exit(run("agent", talk, Needs(reads=2_000, writes=300)))
