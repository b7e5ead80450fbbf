"""Mistakes that type checkers must find: each line that is marked, and no other.

Pydantic converts what it is given, so some checkers let a wrong scalar pass a constructor: there
the mark names those that do not.
"""

from langchain_minitoolai import (
    ChatMiniToolAI,
    ImageJob,
    MiniToolAIError,
    MiniToolAIImageTool,
    sandbox,
)


def constructors() -> None:
    """Wrong types, and values that are none of those allowed."""
    ChatMiniToolAI(temperature="hot")  # mistake: mypy pyright
    ChatMiniToolAI(max_tokens="many")  # mistake: mypy pyright
    ChatMiniToolAI(tool_calling="magic")  # mistake
    MiniToolAIImageTool(width="wide")  # mistake: mypy pyright
    MiniToolAIImageTool(show_to_model="perhaps")  # mistake


def calls(model: ChatMiniToolAI, draw: MiniToolAIImageTool, job: ImageJob) -> None:
    """Wrong arguments and results."""
    model.invoke(3)  # mistake
    model.invoke("Hello").txt  # mistake
    draw.submit(3)  # mistake
    draw.wait_for("10000000")  # mistake
    draw.wait_for(job).read() + ""  # mistake
    draw.resume(3.5)  # mistake


def failures(error: MiniToolAIError) -> None:
    """Attributes that no error has, and types that they have not."""
    error.retry_in  # mistake
    error.hint + 1  # mistake


def scripts() -> None:
    """Wrong switches of the sandbox."""
    with sandbox.running(port="8000") as service:  # mistake
        service.reply(404)  # mistake
        service.fault("429")  # mistake
