"""Stop sequences, enforced on this side: the service documents no `stop`."""

from collections.abc import Iterable


class StopCutter:
    """Cuts text before the first stop sequence, wherever the text is cut into pieces.

    Attributes:
        hit: A stop sequence was found; nothing that follows is shown.
    """

    def __init__(self, stop: Iterable[str]) -> None:
        """Look for these sequences; where several begin at one place, any of them cuts."""
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
        found = [place for stop in self._stop if (place := text.find(stop)) >= 0]
        if found:
            self.hit = True
            self._held = ""
            return text[: min(found)]
        keep = max(_overlap(text, stop) for stop in self._stop)
        cut = len(text) - keep
        self._held = text[cut:]
        return text[:cut]

    def flush(self) -> str:
        """Give what was kept: no more text follows, or something that is no text."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Count the characters at the text's end that begin the stop sequence."""
    for length in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
