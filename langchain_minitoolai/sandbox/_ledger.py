"""Ledger: the charges, and the rest of the prepaid balance."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, Literal

from langchain_minitoolai.contract import CHAT_PRICES, IMAGE_PRICE

ChargeKind = Literal["chat", "image"]


@dataclass(frozen=True, slots=True)
class Charge:
    """One charge, as booked.

    Attributes:
        kind: Chat or image.
        model: The model that was asked for.
        usd: The price, in USD.
        facts: The usage of an answer, or the job and the parameters of an image.
    """

    kind: ChargeKind
    model: str
    usd: float
    facts: Mapping[str, Any] = field(default_factory=dict)


def chat_charge(
    model: str,
    usage: Mapping[str, Any],
    prices: Mapping[str, tuple[float, float] | None] = CHAT_PRICES,
) -> Charge:
    """Price an answer from the usage that it reports; without a price it costs nothing."""
    read, written = prices[model] or (0.0, 0.0)
    usd = (usage["prompt_tokens"] * read + usage["completion_tokens"] * written) / 1_000_000
    return Charge("chat", model, usd, dict(usage))


def image_charge(jobid: int, body: Mapping[str, Any]) -> Charge:
    """Price an image, which costs the same whatever its parameters."""
    return Charge("image", body["model"], IMAGE_PRICE, {"jobid": jobid, **body})


class Ledger:
    """The charges and the balance; safe to use from several threads."""

    def __init__(self, balance: float) -> None:
        """Start with `balance` USD and no charges."""
        self._lock = Lock()
        self._opening = balance
        self._charges: list[Charge] = []

    def book(self, charge: Charge) -> None:
        """Add a charge; the balance may fall below zero by one charge."""
        with self._lock:
            self._charges.append(charge)

    @property
    def charges(self) -> list[Charge]:
        """Every charge so far, in order; a copy."""
        with self._lock:
            return list(self._charges)

    @property
    def balance(self) -> float:
        """The rest, in USD."""
        with self._lock:
            return self._opening - sum(charge.usd for charge in self._charges)

    @balance.setter
    def balance(self, usd: float) -> None:
        with self._lock:
            self._opening = usd + sum(charge.usd for charge in self._charges)

    def reset(self, balance: float) -> None:
        """Forget every charge and start again with `balance` USD."""
        with self._lock:
            self._opening = balance
            self._charges.clear()
