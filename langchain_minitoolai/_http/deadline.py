"""Deadline of one exchange: idle and total time limits."""

from typing import Any, Final

from langchain_minitoolai import errors
from langchain_minitoolai._http.effects import Clock

CONNECT_TIMEOUT: Final = 10.0
"""Seconds to connect, at most."""
_CONNECT_MARGIN: Final = 0.05
"""Seconds by which connecting ends before the whole exchange does, so that it is known to."""


class Deadline:
    """The time that one exchange has left.

    Attributes:
        limit: When the exchange is over if there is no progress, on the clock's scale.
    """

    __slots__ = ("_clock", "_idle", "_total", "limit")

    def __init__(self, clock: Clock, idle: float, total: float | None) -> None:
        """Start the clock.

        Args:
            clock: Seconds on a monotonic scale.
            idle: Seconds allowed without progress.
            total: The end of the whole call, on the clock's scale.
        """
        self._clock = clock
        self._idle = idle
        self._total = float("inf") if total is None else total
        self.limit = min(clock() + idle, self._total)

    def reset_idle(self) -> None:
        """Start the idle time anew, since there was progress."""
        self.limit = min(self._clock() + self._idle, self._total)

    def cap(self, seconds: float) -> None:
        """Allow at most these seconds from now on, since the content is complete."""
        self._idle = min(self._idle, seconds)
        self.limit = min(self.limit, self._clock() + seconds)

    def check(self) -> None:
        """Raise `APITimeoutError` if no time is left."""
        if self.limit <= self._clock():
            raise errors.APITimeoutError(self.timeout_message())

    def remaining(self) -> float:
        """Return the seconds left.

        Raises:
            TimeoutError: If there are none.
        """
        left = self.limit - self._clock()
        if left <= 0:
            raise TimeoutError
        return left

    def timeout_message(self) -> str:
        """Describe the limit that was reached."""
        if self.limit >= self._total:
            return "the call took longer than its total timeout allows"
        return f"the service made no progress for {self._idle:g} s"

    def sync_extensions(self) -> dict[str, Any]:
        """Return the time limits of a sync request.

        `timeout` bounds each read on any transport; `remaining` bounds all of them together on
        `transport.DeadlineTransport`.
        """
        left = self.remaining()
        connect = max(min(left - _CONNECT_MARGIN, CONNECT_TIMEOUT), 0.001)
        limits = {"connect": connect, "read": left, "write": left, "pool": left}
        return {"timeout": limits, "remaining": self.remaining}

    def async_extensions(self) -> dict[str, Any]:
        """Return the time limits of an async request: all but connecting is timed by its task."""
        connect = max(min(self.remaining() - _CONNECT_MARGIN, CONNECT_TIMEOUT), 0.001)
        return {"timeout": {"connect": connect, "read": None, "write": None, "pool": None}}
