"""Progress bars for images: one with tqdm, one with rich, whichever is installed."""

import sys
import threading
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from service import Needs, run

from langchain_minitoolai import MiniToolAIImageTool
from langchain_minitoolai.types import ImageProgress

GUESS = 6.0
"""Seconds an image is thought to take while nothing has been learnt."""

Bar = Callable[[float, str], None]
"""Shows a share from 0 to 1, and a word."""


class Ticker:
    """Moves a bar between the tool's progress events, which come only when it polls."""

    def __init__(self, bar: Bar) -> None:
        """Start at the beginning."""
        self._bar = bar
        self._began = time.monotonic()
        self._expected = GUESS
        self._done = threading.Event()

    def update(self, progress: ImageProgress) -> None:
        """Take a progress event: this is the tool's `on_progress`."""
        if progress["stage"] == "waiting":
            self._expected = progress["expected"] or GUESS
        elif progress["stage"] != "submitted":
            self.stop()

    def stop(self) -> None:
        """Move no more: the image is there, or will not come."""
        self._done.set()

    def run(self) -> None:
        """Move until the image is there; never quite to the end before that."""
        while not self._done.wait(0.1):
            gone = time.monotonic() - self._began
            self._bar(min(gone / self._expected, 0.95), "drawing")


def draw(prompt: str, bar: Bar, access: dict[str, Any]) -> str:
    """Draw one image under a bar; an error is raised, not returned as text."""
    ticker = Ticker(bar)
    tool = MiniToolAIImageTool(on_progress=ticker.update, handle_tool_error=False, **access)
    thread = threading.Thread(target=ticker.run, daemon=True)
    thread.start()
    try:
        text: str = tool.invoke(prompt)
    finally:
        ticker.stop()
        thread.join()
    bar(1.0, "done")
    return text


def with_tqdm(prompt: str, access: dict[str, Any]) -> str:
    """Draw under a tqdm bar."""
    from tqdm import tqdm  # type: ignore[import-untyped]  # noqa: PLC0415 - optional

    form = "{desc:8} {bar} {percentage:3.0f}% {elapsed}"
    with tqdm(total=100, bar_format=form, file=sys.stdout) as line:

        def bar(share: float, word: str) -> None:
            line.set_description(word, refresh=False)
            line.update(round(100 * share) - line.n)

        return draw(prompt, bar, access)


def with_rich(prompt: str, access: dict[str, Any]) -> str:
    """Draw under a rich bar."""
    from rich.progress import Progress  # noqa: PLC0415 - optional

    with Progress() as progress:
        task = progress.add_task("drawing", total=1.0)

        def bar(share: float, word: str) -> None:
            progress.update(task, completed=share, description=word)

        return draw(prompt, bar, access)


def show(access: dict[str, Any]) -> None:
    """Draw one image under each bar that is installed."""
    bars = {"tqdm": with_tqdm, "rich": with_rich}
    installed = [name for name in bars if find_spec(name)]
    for name in installed:
        print(bars[name](f"a lighthouse, for {name}", access))
    if not installed:
        print("Install tqdm or rich to see a bar.")


if __name__ == "__main__":
    sys.exit(run("progress_bars", show, Needs(reads=0, writes=0, images=2)))
