"""Markdown scanner for a stream: code spans, fences, `<think>`, and the tags between them."""

import re
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["text", "fence", "fence_end", "tag"]
"""What a token is; `fence`: of a line that opens or closes a fence, or may do so; `fence_end`:
the end of a line that closed one; `tag`: a `<tool_call>` outside of code and thoughts."""

_TOKEN: Final = re.compile(
    r"\n|`+|~+|<(?:tool_call(?:\s[^<>]{0,60})?|/?think)>|[^\S\n]+|[^\n`~<]+|<", re.IGNORECASE
)


class MarkdownScanner:
    """Scans an answer's text; any cut of it gives the same kinds.

    Attributes:
        fence: The backticks or tildes that opened the fence around here; empty without one.
        thinking: Whether thoughts stand around here.
        has_text: Whether more than thoughts and the lines of fences was read.
    """

    def __init__(self) -> None:
        """Stand at the start of the answer's first line."""
        self.fence = ""
        self.has_text = self.thinking = False
        self._indent: int | None = 0  # blanks since the line's start, while nothing else stood
        self._span = 0  # how many backticks opened the code span around here
        self._run, self._count, self._run_is_first = "", 0, False
        self._in_info = self._closing = False

    @property
    def mid_line(self) -> bool:
        """Whether text without marks and line ends would change nothing."""
        return self._indent is None and not (self._run or self._in_info or self._closing)

    def quotes(self) -> bool:
        """Check whether what comes next stands in a code span or in thoughts."""
        self._end_run()
        return self.thinking or bool(self._span)

    def start_line(self) -> None:
        """Take what comes next as the start of a line."""
        self._end_run()
        self._indent, self._span, self._in_info = 0, 0, False

    def read(self, text: str, position: int) -> Iterator[tuple[Kind, int]]:
        """Read on, token by token; each comes as its kind and where it ends."""
        for match in _TOKEN.finditer(text, position):
            yield self.take(match[0]), match.end()

    def take(self, token: str) -> Kind:
        """Read one token; whole tags are tokens, anything else may come in pieces."""
        tag = token.lower() if token[0] == "<" else ""
        if self.thinking:
            self.thinking = tag != "</think>"
            self._indent = None if self.thinking else 0
            return "text"
        if token[0] in "`~":
            return self._add_run(token)
        self._end_run()
        if token[0] == "\n":
            return self._end_line()
        blank = token.isspace()
        if not blank:
            self.thinking = tag == "<think>" and self._indent is not None and not self.fence
            self.has_text = self.has_text or (not self._in_info and not self.thinking)
            self._closing = False
        fits = blank and self._indent is not None and self._indent + len(token) < 4
        self._indent = (self._indent or 0) + len(token) if fits else None
        if self._in_info or self._closing:
            return "fence"
        return "tag" if tag.startswith("<tool_call") and not (self.fence or self._span) else "text"

    def _add_run(self, run: str) -> Kind:
        if run[0] != self._run:
            self._end_run()
            self._run, self._count = run[0], 0
            self._run_is_first = self._indent is not None
        self._count += len(run)
        self._indent = None
        in_fence_line = self._run_is_first or self._in_info
        self.has_text = self.has_text or not in_fence_line
        return "fence" if in_fence_line else "text"

    def _end_run(self) -> None:
        run, self._run = self._run * self._count, ""
        if not run:
            return
        if self._in_info and run[0] == self.fence[0] == "`":  # no fence, but code on one line
            self._span, self.fence, self._in_info = len(self.fence), "", False
        if self.fence:
            self._closing = self._run_is_first and run.startswith(self.fence)
        elif self._run_is_first and len(run) >= 3 and not self._span:
            self.fence, self._in_info = run, True
        elif run[0] == "`":
            self._span = 0 if self._span == len(run) else self._span or len(run)

    def _end_line(self) -> Kind:
        kind: Kind = "fence" if self._in_info else "text"
        if self._closing:
            self.fence, kind = "", "fence_end"
        self._indent, self._span, self._in_info, self._closing = 0, 0, False, False
        return kind
