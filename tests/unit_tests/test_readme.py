"""The README as the package index shows it: without files beside it."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LINK = re.compile(r"\]\(([^)\s]+)\)")


def as_published() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    hook = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    assert hook["fragments"] == [{"path": "README.md"}]
    for rule in hook["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    return text


def test_every_link_is_absolute_or_within_the_page() -> None:
    links = LINK.findall(as_published())
    assert len(links) > 15
    assert [link for link in links if not link.startswith(("https://", "#"))] == []


def test_links_into_the_repository_lead_to_files_of_it() -> None:
    home = PROJECT["project"]["urls"]["Homepage"]
    ours = [link for link in LINK.findall(as_published()) if link.startswith(f"{home}/")]
    assert f"{home}/raw/main/docs/_static/demo.svg" in ours
    for link in ours:
        kind, _, path = link.removeprefix(f"{home}/").partition("/main/")
        assert kind in ("raw", "blob"), link
        assert (ROOT / path.partition("#")[0]).exists(), link
