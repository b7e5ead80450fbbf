"""The page on troubleshooting quotes messages that the package has."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| (?!Message|---)(.+?) \| ", re.MULTILINE)


@cache
def texts() -> str:
    """Every text in the package's code, one a line."""
    constants = [
        node.value
        for file in sorted((ROOT / "langchain_minitoolai").rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    return "\n".join(constants)


def quoted() -> list[str]:
    """What the page quotes of messages, without what differs from call to call."""
    rows = ROW.findall(PAGE.split("## Classes")[0])
    spans = [span for row in rows for span in re.findall(r"`([^`]+)`", row)]
    parts = [part.strip() for span in spans for part in re.split(r"…|\d{3}", span)]
    return sorted({part for part in parts if len(part) > 1})


def test_the_page_quotes_messages() -> None:
    assert len(quoted()) > 30


@pytest.mark.parametrize("words", quoted())
def test_a_quoted_message_is_one_of_the_package(words: str) -> None:
    assert words in texts(), "docs/troubleshooting.md quotes a message that is no more"
