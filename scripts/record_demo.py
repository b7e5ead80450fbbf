"""Record `make demo` as an animated SVG: `python scripts/record_demo.py`.

It runs the demo against the sandbox and writes `docs/_static/demo.svg`, in which each line
appears when the demo printed it. A browser that is asked for less motion shows all at once.
"""

import os
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
OUTPUT = ROOT / "docs" / "_static" / "demo.svg"
COLUMNS = 92
CHARACTER, LINE, MARGIN = 8.4, 20, 16
"""Sizes in pixels, of a monospaced font of 14 pixels."""
STYLE = """\
.t { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; fill: #d6deeb;
  white-space: pre; opacity: 0; animation: appear 0.1s linear forwards; }
.h { fill: #7fdbca; font-weight: bold; }
.u { fill: #ecc48d; }
@keyframes appear { to { opacity: 1; } }
@media (prefers-reduced-motion: reduce) { .t { animation: none; opacity: 1; } }
"""


class Line(NamedTuple):
    """A line of the recording, and the second at which it was complete."""

    text: str
    second: float


def record(command: Sequence[str], folder: str) -> Iterator[Line]:
    """Run a program without a key in a folder, and give its lines as they come.

    Raises:
        subprocess.CalledProcessError: If it fails.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MINITOOLAI_")}
    environment["PYTHONPATH"] = str(ROOT)
    start = time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, cwd=folder
    ) as process:
        for printed in process.stdout or ():
            text = printed.replace(f"{folder}/", "")
            for part in textwrap.wrap(text, COLUMNS, subsequent_indent=" " * 10) or [""]:
                yield Line(part, time.monotonic() - start)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, list(command))


def draw(lines: Sequence[Line], title: str) -> str:
    """Draw a recording as an SVG, quicker than it was where nothing happened."""
    width = COLUMNS * CHARACTER + 2 * MARGIN
    height = len(lines) * LINE + 2 * MARGIN
    shown = []
    at = before = 0.0
    for number, (text, second) in enumerate(lines):
        at, before = at + min(max(second - before, 0.05), 0.8), second
        kind = "h" if text[:2].strip(".").isdigit() else "u" if "you:" in text else ""
        shown.append(
            f'<text class="t {kind}" x="{MARGIN}" y="{MARGIN + (number + 0.75) * LINE:g}" '
            f'style="animation-delay:{at:.2f}s">{escape(text)}</text>'
        )
    return "\n".join(
        (
            f'<svg viewBox="0 0 {width:g} {height:g}" xmlns="http://www.w3.org/2000/svg">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{STYLE}</style>",
            '<rect width="100%" height="100%" rx="8" fill="#011627"/>',
            *shown,
            "</svg>\n",
        )
    )


def main() -> int:
    """Record the demo."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "examples" / "demo.py")]
        lines = [Line("$ make demo", 0.0), *record(command, folder)]
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(draw(lines, "make demo, recorded against the sandbox"), encoding="utf-8")
    print(OUTPUT.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
