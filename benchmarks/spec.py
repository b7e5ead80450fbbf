"""What a benchmark asks of a target, and what every target offers."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Protocol

PROMPT = "How is the harbour tonight?"
MODEL = "gpt-4o-mini"
BODY = {"model": MODEL, "messages": [{"role": "user", "content": PROMPT}]}


@dataclass(frozen=True, slots=True)
class Spec:
    """The client that a benchmark wants.

    Attributes:
        root: The server's address.
        chunks: Content chunks in each answer.
        per_packet: Events in each packet.
        hold: Whether the answer waits after its first event.
        paced: Whether a packet comes each millisecond, and not as fast as it can be read.
        streaming: Whether a peer that could ask for one JSON document asks for a stream.
        tools: How many tools are bound.
    """

    root: str
    chunks: int = 1
    per_packet: int = 1
    hold: bool = False
    paced: bool = False
    streaming: bool = True
    tools: int = 0

    @property
    def address(self) -> str:
        """Where the server answers in this shape."""
        manner = "-h" if self.hold else "-t" if self.paced else ""
        return f"{self.root}/c{self.chunks}-p{self.per_packet}{manner}"

    @property
    def minitoolai_url(self) -> str:
        """The base address of the service's own shape: always a stream."""
        return f"{self.address}/api"

    @property
    def openai_url(self) -> str:
        """The base address of the peers' shape: a stream when asked for."""
        return f"{self.address}/v1"


class Client(Protocol):
    """What every target can do; texts are returned whole, so that they can be checked."""

    def invoke(self) -> str:
        """Ask and give the whole text."""
        ...

    async def ainvoke(self) -> str:
        """Ask and give the whole text."""
        ...

    def stream(self) -> Iterator[str]:
        """Ask and give the pieces."""
        ...

    def astream(self) -> AsyncIterator[str]:
        """Ask and give the pieces."""
        ...


def tool_schemas(count: int) -> list[dict[str, object]]:
    """Give `count` functions of ordinary size, in OpenAI's form."""
    return [
        {
            "type": "function",
            "function": {
                "name": f"look_up_{i}",
                "description": f"Look up register {i} of the harbour and tell what is in it.",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "vessel": {"type": "string", "description": "The vessel's name."},
                        "berth": {"type": "integer", "description": "Which berth it has."},
                        "since": {"type": "string", "description": "The first day, ISO 8601."},
                    },
                    "required": ["vessel"],
                },
            },
        }
        for i in range(count)
    ]
