"""The package's front door."""

import importlib.metadata
import json
import subprocess
import sys
from typing import Any

import pytest

import langchain_minitoolai
from langchain_minitoolai import _version

HEAVY = ("starlette", "uvicorn", "PIL", "langchain", "langgraph", "openai")


def in_a_new_process(program: str) -> Any:
    """Run a program where nothing is imported yet; give the JSON that it prints."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert run.stderr == ""
    return json.loads(run.stdout)


def test_importing_the_package_imports_next_to_nothing() -> None:
    program = "import sys, json, langchain_minitoolai; print(json.dumps(sorted(sys.modules)))"
    loaded = set(in_a_new_process(program))
    assert loaded.isdisjoint({*HEAVY, "langchain_core", "httpx", "pydantic"})
    ours = {name for name in loaded if name.startswith("langchain_minitoolai.")}
    assert ours == {"langchain_minitoolai._version"}


def test_importing_everything_public_imports_nothing_of_the_extras() -> None:
    program = (
        "import sys, json; from langchain_minitoolai import *; print(json.dumps([*sys.modules]))"
    )
    loaded = set(in_a_new_process(program))
    assert {"langchain_core", "httpx"} <= loaded
    assert loaded.isdisjoint(HEAVY)
    assert not any(name.startswith("langchain_minitoolai.sandbox") for name in loaded)


@pytest.mark.parametrize("name", langchain_minitoolai.__all__)
def test_every_public_name_is_there_and_stays_the_same(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    found = getattr(langchain_minitoolai, name)
    if name != "__version__":
        monkeypatch.delitem(vars(langchain_minitoolai), name)
    assert getattr(langchain_minitoolai, name) is found
    assert name in vars(langchain_minitoolai)


def test_only_public_names_are_listed() -> None:
    assert dir(langchain_minitoolai) == sorted(langchain_minitoolai.__all__)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'langchain_minitoolai' has no attribute 'Nothing'"):
        _ = langchain_minitoolai.Nothing


def test_the_version_is_one_that_packages_have() -> None:
    assert langchain_minitoolai.__version__ == _version.__version__
    assert all(part.isdigit() for part in _version.__version__.split("."))
    try:
        installed = importlib.metadata.version("langchain-minitoolai")
    except importlib.metadata.PackageNotFoundError:
        return
    assert installed == _version.__version__
