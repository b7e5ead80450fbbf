"""The command that puts a run's tables into the documentation.

Run as `python -m benchmarks.publish results.json docs/performance.md`.
"""

import json
import sys
from pathlib import Path

from benchmarks.report import markdown

BEGIN = "<!-- figures: begin -->"
END = "<!-- figures: end -->"


def filled(page: str, tables: str) -> str:
    """Give `page` with `tables` between the two marks.

    Raises:
        ValueError: The page lacks a mark.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        message = f"the page needs the marks {BEGIN} and {END}"
        raise ValueError(message)
    return f"{before}{BEGIN}\n\n{tables}\n{END}{after}"


def main() -> None:
    """Fill the page in place."""
    results, page = (Path(argument) for argument in sys.argv[1:])
    data = json.loads(results.read_text("utf-8"))
    page.write_text(filled(page.read_text("utf-8"), markdown(data)), "utf-8")


if __name__ == "__main__":
    main()
