import pytest

from langchain_minitoolai.contract import CHAT_PRICES, IMAGE_PRICE
from langchain_minitoolai.sandbox._ledger import Ledger, chat_charge, image_charge


@pytest.mark.parametrize("model", CHAT_PRICES)
def test_an_answer_costs_what_the_price_table_says(model: str) -> None:
    charge = chat_charge(model, {"prompt_tokens": 1_000_000, "completion_tokens": 500_000})
    price = CHAT_PRICES[model]
    assert charge.usd == pytest.approx(price.input + price.output / 2)
    assert (charge.kind, charge.model) == ("chat", model)


def test_an_answer_costs_what_was_agreed_or_nothing() -> None:
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 500_000}
    prices = {"gpt-5": (1.25, 10.0), "free": None}
    assert chat_charge("gpt-5", usage, prices).usd == pytest.approx(6.25)
    assert chat_charge("free", usage, prices).usd == 0


def test_an_image_costs_the_same_whatever_its_parameters() -> None:
    charge = image_charge(7, {"model": "amigo", "prompt": "a fox", "steps": 8})
    assert (charge.kind, charge.model, charge.usd) == ("image", "amigo", IMAGE_PRICE)
    assert charge.facts == {"jobid": 7, "model": "amigo", "prompt": "a fox", "steps": 8}


def test_every_charge_lowers_the_balance_and_stays_in_the_books() -> None:
    ledger = Ledger(1.0)
    charges = [image_charge(number, {"model": "amigo"}) for number in range(3)]
    for charge in charges:
        ledger.book(charge)
    assert ledger.balance == pytest.approx(1.0 - 3 * IMAGE_PRICE)
    assert ledger.charges == charges


def test_the_balance_can_be_set_without_losing_the_charges() -> None:
    ledger = Ledger(1.0)
    ledger.book(image_charge(1, {"model": "amigo"}))
    ledger.balance = 0.5
    assert ledger.balance == pytest.approx(0.5)
    assert len(ledger.charges) == 1


def test_a_reset_forgets_the_charges() -> None:
    ledger = Ledger(1.0)
    ledger.book(image_charge(1, {"model": "amigo"}))
    ledger.reset(2.0)
    assert (ledger.balance, ledger.charges) == (2.0, [])
