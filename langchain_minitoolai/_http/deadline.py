"""The time that one exchange with the service has left."""

from typing import Any, Final

from langchain_minitoolai import errors
from langchain_minitoolai._http.effects import Clock

CONNECT_TIMEOUT: Final = 10.0
"""Seconds to connect, at most."""


class Budget:
    """The time one exchange has left; the network asks it before every read.

    Attributes:
        limit: When the exchange is over if there is no progress, on the clock's scale.
        fresh: Whether a connection was made for this exchange.
        connecting: Whether that connection is still being made.
        foreign: Whether the network is aiohttp's, which takes numbers.
        made: The connection that was made, for an async exchange to close if nothing comes of it.
    """

    __slots__ = (
        "_clock",
        "_connect_by",
        "_deadline",
        "_idle",
        "connecting",
        "foreign",
        "fresh",
        "limit",
        "made",
    )

    def __init__(self, clock: Clock, idle: float, deadline: float | None) -> None:
        """Start to count.

        Args:
            clock: Seconds on a monotonic scale.
            idle: Seconds allowed without progress.
            deadline: The end of the whole call, on the clock's scale.
        """
        self._clock = clock
        self._idle = idle
        self._deadline = float("inf") if deadline is None else deadline
        self._connect_by = clock() + CONNECT_TIMEOUT
        self.fresh = self.connecting = False
        self.foreign = False
        self.made: Any = None
        self.progress()

    def progress(self) -> None:
        """Note that the answer got on."""
        self.limit = min(self._clock() + self._idle, self._deadline)

    def shorten(self, seconds: float) -> None:
        """Allow only these seconds from now on, since the answer is complete."""
        self._idle = min(self._idle, seconds)
        self.limit = min(self.limit, self._clock() + seconds)

    def check(self) -> None:
        """Raise `APITimeoutError` if no time is left."""
        if self.limit <= self._clock():
            raise errors.APITimeoutError(self.reason())

    def left(self) -> float:
        """Give the seconds left.

        Raises:
            TimeoutError: If there are none.
        """
        left = self.limit - self._clock()
        if left <= 0:
            raise TimeoutError
        return left

    def to_connect(self) -> float:
        """Give the seconds left to connect, and note that a connection is being made."""
        self.fresh = self.connecting = True
        return max(0.001, min(self.left(), self._connect_by - self._clock()))

    def connected(self) -> None:
        """Note that the connection stands."""
        self.connecting = False

    def reason(self) -> str:
        """Say which limit was reached, for an error."""
        if self.limit >= self._deadline:
            return "the call took longer than its total timeout allows"
        return f"the service made no progress for {self._idle:g} s"

    def extensions(self) -> dict[str, Any]:
        """Give the request extensions that carry this budget to the network."""
        return {"timeout": {"connect": self, "read": self, "write": self, "pool": self.left()}}

    def numbers(self) -> dict[str, Any]:
        """Give the extensions for a network that expects numbers, and mark the budget so."""
        self.foreign = True
        connect = min(self.left(), CONNECT_TIMEOUT)
        return {"timeout": {"connect": connect, "read": None, "write": None, "pool": None}}
