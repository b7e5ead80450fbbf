from pathlib import Path

import pytest
import release_notes

from langchain_minitoolai import __version__

CHANGELOG = """\
# Changelog

## [Unreleased]

## [0.2.0] - 2026-12-01

### Added

- A thing.

## [0.1.0] - 2026-11-25

- The first.

[0.1.0]: https://example.com/
"""


def test_the_notes_are_the_section_of_the_version() -> None:
    assert release_notes.release_notes(CHANGELOG, "0.2.0") == "### Added\n\n- A thing.\n"
    assert release_notes.release_notes(CHANGELOG, "0.1.0") == "- The first.\n"


@pytest.mark.parametrize("version", ["0.3.0", "0.1", "Unreleased", "0.2"])
def test_a_version_without_a_section_is_an_error(version: str) -> None:
    with pytest.raises(ValueError, match=f"no section with a date for {version}"):
        release_notes.release_notes(CHANGELOG, version)


def test_a_tag_that_is_not_the_packages_version_ends_the_release(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert release_notes.main(["99.0.0"]) == 1
    assert capsys.readouterr() == ("", "the package's version is not 99.0.0\n")


def test_the_packages_version_without_a_section_ends_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "langchain_minitoolai").mkdir()
    (tmp_path / "langchain_minitoolai" / "_version.py").write_text('__version__ = "0.3.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    monkeypatch.setattr(release_notes, "ROOT", tmp_path)
    assert release_notes.main(["0.3.0"]) == 1
    assert capsys.readouterr().err == "CHANGELOG.md has no section with a date for 0.3.0\n"
    (tmp_path / "langchain_minitoolai" / "_version.py").write_text('__version__ = "0.1.0"\n')
    assert release_notes.main(["0.1.0"]) == 0
    assert capsys.readouterr().out == "- The first.\n"


def test_the_release_of_this_version_has_notes() -> None:
    assert release_notes.main([__version__]) == 0
