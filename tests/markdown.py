"""The code blocks of a Markdown page."""

import re
from dataclasses import dataclass

FENCE = re.compile(
    r"(?:^[ ]*<!--[ ]*not[ ]run:(?P<reason>.*?)-->\s*)?"
    r"^(?P<indent>[ ]*)(?P<fence>`{3,})(?P<language>\w*)[^\n]*\n"
    r"(?P<code>.*?)"
    r"^[ ]*(?P=fence)[ ]*$",
    re.MULTILINE | re.DOTALL,
)
COMMAND_LANGUAGES = ("bash", "console", "sh")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: As named after the fence; empty where none is.
        code: The text between the fences, without their indentation.
        line: The line of the page on which the code begins, from 1.
        not_run: Why it is not run, where a comment before it says so.
    """

    language: str
    code: str
    line: int
    not_run: str | None = None


def blocks(page: str) -> list[Block]:
    """Find the fenced blocks of a page, in order."""
    return [
        Block(
            language=found["language"].lower(),
            code=re.sub(f"^{found['indent']}", "", found["code"], flags=re.MULTILINE),
            line=page.count("\n", 0, found.start("code")) + 1,
            not_run=found["reason"] and found["reason"].strip(),
        )
        for found in FENCE.finditer(page)
    ]
