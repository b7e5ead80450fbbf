"""A tool's budget: counted before paying, given back only when nothing was charged."""

import threading
from typing import Any

from langchain_minitoolai import contract
from langchain_minitoolai.errors import ImageBudgetError


class Spending:
    """How many pictures a tool has ordered; safe to share by threads."""

    def __init__(self) -> None:
        """Start with nothing spent."""
        self._images = 0
        self._lock = threading.Lock()

    @property
    def images(self) -> int:
        """How many pictures were ordered, or may have been."""
        return self._images

    def reserve(self, max_images: int | None, max_cost_usd: float | None) -> None:
        """Count one picture more.

        Raises:
            ImageBudgetError: If that would be more than is allowed.
        """
        with self._lock:
            images = self._images + 1
            if max_images is not None and images > max_images:
                raise _spent(f"max_images={max_images}")
            cost = images * contract.IMAGE_PRICE
            if max_cost_usd is not None and cost > max_cost_usd * (1 + 1e-9):
                raise _spent(f"max_cost_usd={max_cost_usd:g}")
            self._images = images

    def give_back(self) -> None:
        """Count one picture less: it was not charged."""
        with self._lock:
            self._images -= 1

    def __getstate__(self) -> dict[str, Any]:
        """Leave the lock out of pickles and copies."""
        return {"_images": self._images}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take up the count with a lock of its own."""
        self.__init__()  # type: ignore[misc]
        self.__dict__.update(state)


def _spent(limit: str) -> ImageBudgetError:
    return ImageBudgetError(
        f"The budget of this tool is spent ({limit}). Nothing was sent or charged.",
        hint="Go on without another picture.",
    )
