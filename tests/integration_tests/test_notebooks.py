"""Every notebook runs, and shows what is stored in it."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.usefixtures("uncovered")

NOTEBOOKS = sorted((Path(__file__).parents[2] / "docs" / "notebooks").glob("*.ipynb"))
VARIABLE = re.compile(r"[0-9a-f]{12,}|\d+(?:\.\d+)?(?:e-\d+)?")
"""Ports, names of files, seconds and costs."""


def shown(notebook: Any) -> list[tuple[str, list[str]]]:
    """What each cell shows: its text without what varies, and the types of what it displays."""
    return [
        (
            VARIABLE.sub("N", output.get("text") or output["data"]["text/plain"]),
            sorted(output.get("data", ())),
        )
        for cell in notebook.cells
        for output in cell.get("outputs", ())
    ]


def without_folder(notebook: Any, folder: Path) -> Any:
    """Take the name of the folder out, in which images are saved."""
    text = nbformat.writes(notebook).replace(f"{folder}/", "")
    return nbformat.reads(text, as_version=4)


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_shows_what_is_stored_in_it(file: Path, tmp_path: Path) -> None:
    stored = nbformat.read(file, as_version=4)
    running = nbformat.read(file, as_version=4)
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(running, timeout=120, resources=where).execute()
    again = shown(without_folder(running, tmp_path))
    assert again == shown(stored)


def test_the_images_of_a_notebook_are_stored_with_it() -> None:
    notebook = nbformat.read(NOTEBOOKS[1], as_version=4)
    types = [kind for _, kinds in shown(notebook) for kind in kinds]
    assert types.count("image/png") == 4
