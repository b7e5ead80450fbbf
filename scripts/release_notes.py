"""Print a version's section of the changelog: the notes of its release.

`python scripts/release_notes.py 0.1.0`; it fails where the package has another version, or the
changelog no such section, so that a wrong tag ends before anything is published.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
_VERSION = re.compile(r'^__version__.*"(.+)"$', re.MULTILINE)


def release_notes(changelog: str, version: str) -> str:
    """Give the text of a version's section.

    Raises:
        ValueError: If there is none, or it is empty.
    """
    heading = rf"^## \[?{re.escape(version)}\]? [-–] \d{{4}}-\d\d-\d\d\n"
    found = re.search(
        rf"{heading}(.*?)(?=^## |^\[[^\]]+\]: |\Z)", changelog, re.MULTILINE | re.DOTALL
    )
    if found is None or not found[1].strip():
        raise ValueError(f"CHANGELOG.md has no section with a date for {version}")
    return found[1].strip() + "\n"


def main(arguments: Sequence[str]) -> int:
    """Print the notes of the version named; a failure is one line."""
    (version,) = arguments
    package = (ROOT / "langchain_minitoolai" / "_version.py").read_text(encoding="utf-8")
    if version not in _VERSION.findall(package):
        print(f"the package's version is not {version}", file=sys.stderr)
        return 1
    try:
        print(release_notes((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), version), end="")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
