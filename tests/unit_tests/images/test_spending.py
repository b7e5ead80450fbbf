"""A tool's budget."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from langchain_minitoolai._images.spending import Spending
from langchain_minitoolai.errors import ImageBudgetError


def test_as_many_pictures_as_allowed_and_not_one_more() -> None:
    spending = Spending()
    spending.reserve(2, None)
    spending.reserve(2, None)
    with pytest.raises(ImageBudgetError, match=r"max_images=2.*Nothing was sent") as caught:
        spending.reserve(2, None)
    assert not caught.value.maybe_charged
    assert spending.images == 2


@pytest.mark.parametrize(("usd", "images"), [(0.0015, 1), (0.0149, 9), (0.015, 10), (0.0, 0)])
def test_as_much_money_as_allowed_and_not_a_picture_more(usd: float, images: int) -> None:
    spending = Spending()
    for _ in range(images):
        spending.reserve(None, usd)
    with pytest.raises(ImageBudgetError, match="max_cost_usd"):
        spending.reserve(None, usd)


def test_what_was_not_charged_is_given_back() -> None:
    spending = Spending()
    spending.reserve(1, None)
    spending.give_back()
    spending.reserve(1, None)
    assert spending.images == 1


def test_threads_share_a_budget() -> None:
    spending = Spending()

    def one(_: int) -> bool:
        try:
            spending.reserve(50, None)
        except ImageBudgetError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(200))) == 50


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])  # noqa: S301 - our own
def test_a_copy_goes_on_from_what_was_spent(copied: object) -> None:
    spending = Spending()
    spending.reserve(None, None)
    twin = copied(spending)  # type: ignore[operator]
    twin.reserve(2, None)
    assert (spending.images, twin.images) == (1, 2)
