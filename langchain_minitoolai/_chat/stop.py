"""Stop sequences, enforced on this side: the service documents no `stop`."""

from collections.abc import Iterable


class StopCutter:
    """Cuts text before the first stop sequence, wherever the text is cut into pieces.

    Attributes:
        hit: A stop sequence was found; nothing that follows is shown.
    """

    def __init__(self, stop: Iterable[str]) -> None:
        """Look for these sequences; the one that begins first cuts."""
        self._stop = tuple(stop)
        self._held = ""
        self.hit = False

    def feed(self, text: str) -> str:
        """Take a piece of text.

        Returns:
            What can be shown now; a tail that may be the start of a stop sequence is kept.
        """
        if self.hit:
            return ""
        if not self._stop:
            return text
        text = self._held + text
        keep = max(_overlap(text, stop) for stop in self._stop)
        return self._cut(text, len(text) - keep)

    def flush(self) -> str:
        """Give what was kept: no more text follows, or something that is no text."""
        return self._cut(self._held, len(self._held))

    def _cut(self, text: str, settled: int) -> str:
        """Cut before a sequence that begins by `settled`; from there on, keep the text."""
        found = [place for stop in self._stop if (place := text.find(stop)) >= 0]
        if found and min(found) <= settled:
            self.hit, self._held = True, ""
            return text[: min(found)]
        self._held = text[settled:]
        return text[:settled]


def _overlap(text: str, stop: str) -> int:
    """Count the characters at the text's end that begin the stop sequence."""
    for length in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
