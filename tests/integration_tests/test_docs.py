"""Every block of Python in the documentation runs, against the sandbox."""

import ast
import asyncio
import contextlib
import doctest
import inspect
import io
import logging
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from langchain_minitoolai import sandbox
from tests.markdown import COMMAND_LANGUAGES, Block, blocks

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NOT_RUN: dict[str, list[str]] = {}
"""By page, the reasons of the blocks that are left out: an exception is agreed on here."""

LINK = re.compile(r"\]\((?!https?://|mailto:|#)([^)#\s]+)")
TARGET = re.compile(r"^([a-z-]+):", re.MULTILINE)


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def of(page: Path, *languages: str) -> list[Block]:
    return [b for b in blocks(page.read_text(encoding="utf-8")) if b.language in languages]


def execute(block: Block, page: Path, namespace: dict[str, Any], loop: asyncio.Runner) -> str:
    """Run a block, `await` at its top level included; a traceback names the page's line.

    Returns:
        What it printed.
    """
    tree = ast.increment_lineno(ast.parse(block.code), block.line - 1)
    code = compile(tree, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if code.co_flags & inspect.CO_COROUTINE:
            loop.run(eval(code, namespace))  # noqa: S307 - this is the documentation's code
        else:
            exec(code, namespace)  # noqa: S102 - this is the documentation's code
    return printed.getvalue()


def assert_prints(block: Block, page: Path, printed: str) -> None:
    """Compare with the `text` block below, in which `...` stands for anything."""
    if block.output is None:
        return
    same = doctest.OutputChecker().check_output(
        block.output.strip() + "\n",
        printed.strip() + "\n",
        doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
    )
    assert same, f"{page.name}:{block.line} prints\n{printed}\nand not\n{block.output}"


@pytest.fixture
def job_seconds() -> float:
    return 0.8  # longer than the least that a page waits for


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_code_of_a_page_runs_from_top_to_bottom(
    page: Path, service: sandbox.Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("documentation_page")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(tmp_path)
    with asyncio.Runner() as loop:
        for block in of(page, "python"):
            if block.not_run is None:
                assert_prints(block, page, execute(block, page, vars(module), loop))
    logging.getLogger("langchain_minitoolai").setLevel(
        logging.NOTSET
    )  # a page shows how to turn it up


def test_only_the_blocks_agreed_on_are_left_out() -> None:
    left_out = {
        name(page): [
            b.not_run for b in of(page, "python", *COMMAND_LANGUAGES) if b.not_run is not None
        ]
        for page in PAGES
    }
    assert {page: reasons for page, reasons in left_out.items() if reasons} == NOT_RUN


def test_every_block_says_its_language() -> None:
    silent = [f"{name(page)}:{block.line}" for page in PAGES for block in of(page, "")]
    assert silent == []


def test_commands_name_targets_and_extras_that_exist() -> None:
    targets = set(TARGET.findall((ROOT / "Makefile").read_text(encoding="utf-8")))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = set(project["optional-dependencies"])
    for page in PAGES:
        for block in of(page, *COMMAND_LANGUAGES):
            assert set(re.findall(r"\bmake +([a-z-]+)", block.code)) <= targets, name(page)
            for named in re.findall(r"langchain-minitoolai\[([\w,-]+)\]", block.code):
                assert set(named.split(",")) <= extras, name(page)


def test_links_within_the_project_lead_somewhere() -> None:
    dead = [
        f"{name(page)}: {link}"
        for page in PAGES
        for link in LINK.findall(page.read_text(encoding="utf-8"))
        if not (page.parent / link).exists()
    ]
    assert dead == []
