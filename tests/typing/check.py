"""Run type checkers over what users write: `python tests/typing/check.py` names what is amiss.

None may find anything in `usage.py`, and each must find every line that is marked in
`mistakes.py`, and no other.
"""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PYTHON = sys.executable
BIN = Path(PYTHON).parent
CHECKERS = {
    # As users have it: without pydantic's plugin, which checks constructors less.
    "mypy": ("mypy", "--config-file=", "--cache-dir=.mypy_cache/typing", "--strict"),
    # pyright itself, in a package that downloads nothing at its first start.
    "pyright": ("basedpyright", "--level", "error", "--pythonpath", PYTHON),
    "pyrefly": (
        "pyrefly",
        "check",
        "--output-format=min-text",
        "--python-interpreter-path",
        PYTHON,
    ),
    "ty": ("ty", "check", "--output-format=concise", "--no-progress", "--python", PYTHON),
}


def findings(output: str, file: Path) -> set[int]:
    """Read the lines of a file that a checker names."""
    return {int(line) for line in re.findall(rf"{re.escape(file.name)}:(\d+)", output)}


def marked(file: Path, checker: str) -> set[int]:
    """Read the lines of a file that are marked as mistakes, for all checkers or for this one."""
    lines = file.read_text(encoding="utf-8").splitlines()
    marks = {number: line.partition("  # mistake") for number, line in enumerate(lines, 1)}
    return {
        number
        for number, (_, mark, names) in marks.items()
        if mark and (not names or checker in names.split())
    }


def check(name: str) -> list[str]:
    """Run a checker; give what it missed and what it should not have found."""
    program, *options = CHECKERS[name]
    files = [HERE / "usage.py", HERE / "mistakes.py"]
    run = subprocess.run(
        [BIN / program, *options, *files], capture_output=True, text=True, check=False, cwd=ROOT
    )
    output = run.stdout + run.stderr
    amiss = [
        f"{name}: {file.name}:{line} {what}"
        for file in files
        for what, lines in (
            ("is not found to be a mistake", marked(file, name) - findings(output, file)),
            ("is said to be a mistake", findings(output, file) - marked(file, name)),
        )
        for line in sorted(lines)
    ]
    return [*amiss, output] if amiss else []


def main() -> int:
    """Run all checkers at once."""
    with ThreadPoolExecutor() as threads:
        amiss = [line for lines in threads.map(check, CHECKERS) for line in lines]
    print("\n".join(amiss), end="\n" if amiss else "")
    return 1 if amiss else 0


if __name__ == "__main__":
    sys.exit(main())
