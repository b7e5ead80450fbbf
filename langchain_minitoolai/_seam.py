"""Where an answer's head ends: httpcore is handed that and no more.

So the body stays where it can be read without going through a general parser; whoever does
that hands back the body's end, and the connection is used again as if nothing had happened.
"""

import re
from typing import Final

_END: Final = re.compile(rb"\n\r?\n")  # where h11 sees the end of a head
_LONGEST: Final = 3
_HEAD: Final = b"HTTP/"


class Seam:
    """Cuts what a connection reads after the head of an answer, and keeps the rest.

    Attributes:
        clean: What was handed on so far is heads and nothing else.
        held: What was read and not handed on yet.
    """

    __slots__ = ("_last", "_left", "_looking", "_spoilt", "clean", "held")

    def __init__(self) -> None:
        """Start before the first request; until then nothing is cut."""
        self.clean = False
        self.held = b""
        self._looking = False
        self._last = b""
        self._left: int | None = None
        self._spoilt = False

    @property
    def dirty(self) -> bool:
        """Whether there are bytes that nobody asked for, or may be."""
        return self._spoilt or bool(self.held)

    def begin(self) -> None:
        """Note that a request is being sent: the next bytes are a head."""
        self.clean = False
        self._looking = True
        self._last = b""
        self._left = None

    def cut(self, data: bytes) -> bytes:
        """Give what can be handed on of the bytes that were read.

        Args:
            data: What `take` gave, or what was read where it gave nothing.
        """
        if self._left is not None:
            part, self.held = data[: self._left], data[self._left :]
            self._left -= len(part)
            return part
        if self.clean and not _HEAD.startswith(data[: len(_HEAD)]):
            self._looking = False  # not another head after an interim one, but a body
        self.clean = False
        if not self._looking:
            return data
        found = _END.search(self._last + data)
        if found is None:
            self._last = (self._last + data)[1 - _LONGEST :]
            return data
        at = found.end() - len(self._last)
        self.clean, self.held, self._last = True, data[at:], b""
        return data[:at]

    def allow(self, length: int | None) -> None:
        """Let a body be read by httpcore, and nothing that follows it.

        Args:
            length: The body's bytes; `None` where they are unknown: then the connection can't
                be used again.
        """
        if self.clean and length is not None:
            self._left = length
        else:
            self._spoilt = True

    def take(self) -> bytes:
        """Give what was read and not handed on."""
        data, self.held = self.held, b""
        return data

    def hand_back(self, data: bytes) -> None:
        """Put bytes before all that will be read."""
        self.clean = self._looking = False
        self.held = data
