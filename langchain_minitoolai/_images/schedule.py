"""When to ask for a job next.

Jobs of one model, step count and size take alike long, so a fixed interval asks too often
early and too rarely when the picture is due. Where the duration has the hazard `h` and one
more request is worth `c` seconds of delay, the best gap is `sqrt(2c / h)` (Barlow's and
Keller's inspection problem). Here the hazard is summed over the gap itself, so that a gap
ends before a peak that lies ahead: `gap * (H(t + gap) - H(t)) = 2c`.
"""

import math
import threading
from collections.abc import Generator, Hashable
from contextlib import contextmanager
from typing import Final

PRICE: Final = 0.037
"""Seconds of delay that one request is worth."""
PRICE_UNLEARNT: Final = 0.042
"""The same while nothing is known: a guess is worth fewer requests."""
REMEMBERED: Final = 24
SHORTEST: Final = 0.15
LONGEST: Final = 3.0
LONGEST_LATE: Final = 5.0
LATE: Final = 60.0
FIRST_LOOK: Final = 6.0

_LEARNT: Final = 0.85
_PRIOR_CENTRE: Final = math.log(6.0)
_PRIOR_WIDTH: Final = 0.6
_NARROWEST: Final = 0.05
_PATIENT: Final = 20.0
_STRETCH: Final = 0.03
_ROOT2: Final = math.sqrt(2.0)
_GOLDEN: Final = (math.sqrt(5.0) - 1.0) / 2.0
_HALVINGS: Final = 7
_SIZE_STEP: Final = 256 * 1024


def bucket(model: str, steps: int, width: int, height: int) -> tuple[str, int, int]:
    """Name the jobs that take alike long: one model, one step count, about one area."""
    return (model, steps, round(width * height / _SIZE_STEP))


class Schedule:
    """What is known of how long jobs take, and the gaps that follow; safe to share by threads."""

    def __init__(self) -> None:
        """Start without history."""
        self._laws: dict[Hashable, _Law] = {}
        self._lock = threading.Lock()
        self._running = 0
        self._turn = 0

    def next_gap(self, elapsed: float, key: Hashable, latency: float = 0.0) -> float:
        """Give the seconds to wait before the next look.

        Args:
            elapsed: Seconds since the job's submit was sent.
            key: Which jobs take alike long, as from `bucket`.
            latency: Seconds that the last look took on the wire. What it told was true when
                it was sent, so its flight is taken off the gap.
        """
        with self._lock:
            law = self._laws.get(key, _PRIOR)
            crowded = self._running > 1
            self._turn += 1
            turn = self._turn
        told = max(elapsed - latency, 0.0)
        longest = LONGEST_LATE if elapsed > LATE else LONGEST if told > 0.0 else FIRST_LOOK
        shortest = max(SHORTEST, (elapsed - _PATIENT) * _STRETCH)
        gap = min(max(law.gap(told, longest) - latency, shortest), longest)
        if crowded:
            gap *= 0.9 + 0.2 * (turn * _GOLDEN % 1.0)
        return min(max(gap, SHORTEST), longest)

    def record(self, key: Hashable, seconds: float) -> None:
        """Remember how long a job took."""
        if not 0.0 < seconds < math.inf:
            return
        with self._lock:
            old = self._laws.get(key, _PRIOR)
            self._laws[key] = _Law([*old.logs, math.log(seconds)][-REMEMBERED:])

    def expected(self, key: Hashable) -> float | None:
        """Give the median duration of the jobs remembered, or `None` without history."""
        with self._lock:
            logs = self._laws.get(key, _PRIOR).logs
        return math.exp(sorted(logs)[len(logs) // 2]) if logs else None

    @contextmanager
    def running(self) -> Generator[None]:
        """Count a job as running: several at once are kept from asking in step."""
        with self._lock:
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1


class _Law:
    """A distribution of durations: kernels on the logarithms, mixed with a wide prior."""

    def __init__(self, logs: list[float]) -> None:
        self.logs = logs
        count = len(logs)
        share = _LEARNT * count / (count + 0.5) if count else 0.0
        self._price = PRICE if count else PRICE_UNLEARNT
        self._prior = 1.0 - share
        self._each = share / count if count else 0.0
        self._scale = 1.0 / (_bandwidth(logs) * _ROOT2) if count else 1.0

    def alive(self, seconds: float) -> float:
        """Give the chance that a job takes longer."""
        if seconds <= 0.0:
            return 1.0
        at = math.log(seconds)
        erfc, scale = math.erfc, self._scale
        learnt: float = sum([erfc((at - log) * scale) for log in self.logs])
        prior = erfc((at - _PRIOR_CENTRE) / (_PRIOR_WIDTH * _ROOT2))
        return max(0.5 * (self._each * learnt + self._prior * prior), 1e-300)

    def gap(self, told: float, longest: float) -> float:
        """Solve `gap * (H(told + gap) - H(told)) = 2 * price` by halving."""
        low, high = 0.0, longest
        now = math.log(self.alive(told))
        for _ in range(_HALVINGS):
            middle = (low + high) / 2.0
            if middle * (now - math.log(self.alive(told + middle))) > 2.0 * self._price:
                high = middle
            else:
                low = middle
        return (low + high) / 2.0


def _bandwidth(logs: list[float]) -> float:
    """Choose the kernels' width: Silverman's rule on the tighter of two measures of spread."""
    count = len(logs)
    mean = sum(logs) / count
    spread = math.sqrt(sum((log - mean) ** 2 for log in logs) / count)
    ordered = sorted(logs)
    quartiles = (ordered[(3 * count) // 4] - ordered[count // 4]) / 1.34
    tight = min(spread, quartiles) or spread
    return max(0.9 * tight * math.pow(count, -0.2), _NARROWEST, 0.3 / count)


_PRIOR: Final = _Law([])
