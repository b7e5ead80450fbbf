"""The code blocks of a Markdown page."""

import re
from dataclasses import dataclass
from itertools import zip_longest

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
        output: The `text` block that follows directly: what the block prints.
    """

    language: str
    code: str
    line: int
    not_run: str | None = None
    output: str | None = None


def blocks(page: str) -> list[Block]:
    """Find the fenced blocks of a page, in order."""
    found = list(FENCE.finditer(page))
    return [
        Block(
            language=fence["language"].lower(),
            code=_code(fence),
            line=page.count("\n", 0, fence.start("code")) + 1,
            not_run=fence["reason"] and fence["reason"].strip(),
            output=_code(after)
            if after
            and after["language"] == "text"
            and not page[fence.end() : after.start("indent")].strip()
            else None,
        )
        for fence, after in zip_longest(found, found[1:])
    ]


def _code(fence: re.Match[str]) -> str:
    return re.sub(f"^{fence['indent']}", "", fence["code"], flags=re.MULTILINE)
