from collections.abc import Mapping
from typing import Any

import pytest

from langchain_minitoolai.contract import CHAT_PRICES, IMAGE_PRICE
from langchain_minitoolai.sandbox import RecordedRequest, Service, ToolCall, faults
from langchain_minitoolai.sandbox._service import Settings, resolve

ORIGIN = "http://127.0.0.1:1"


@pytest.fixture
def service() -> Service:
    return Service(ORIGIN, "k", Settings(balance=1.0))


def test_it_knows_its_address_and_hides_its_key(service: Service) -> None:
    assert service.base_url == f"{ORIGIN}/api"
    assert service.environment == {
        "MINITOOLAI_API_KEY": "k",
        "MINITOOLAI_API_BASE": f"{ORIGIN}/api",
    }
    assert repr(service) == f"Service(base_url='{ORIGIN}/api')"
    assert service.settings == Settings(balance=1.0)


def test_replies_are_given_in_order_and_as_often_as_scripted(service: Service) -> None:
    service.reply("one")
    service.reply("two", times=2)
    service.reply("ever", finish_reason="length", times=None)
    given = [service.next_reply() for _ in range(5)]
    assert [reply.parts for reply in given if reply] == [
        ("one",),
        *[("two",)] * 2,
        *[("ever",)] * 2,
    ]
    assert given[4] is not None
    assert given[4].finish_reason == "length"


def test_what_is_no_answer_and_no_fault_is_refused_at_once(service: Service) -> None:
    wrong: Any = 3
    with pytest.raises(TypeError, match="a part of an answer is 3"):
        service.reply("one", wrong)
    with pytest.raises(TypeError, match="a fault is 3"):
        service.fault(wrong)
    with pytest.raises(TypeError, match="a part of an answer is 3"):
        resolve([lambda _body: wrong], {})
    assert (service.next_reply(), service.next_fault("chat")) == (None, None)


def test_without_a_script_there_is_no_reply_and_no_fault(service: Service) -> None:
    assert service.next_reply() is None
    assert service.next_fault("chat") is None


def test_a_fault_waits_for_a_request_that_it_suits(service: Service) -> None:
    service.fault(faults.job_fails())
    service.fault(faults.status(500), on="file")
    assert service.next_fault("chat") is None
    assert service.next_fault("file") == faults.status(500)
    assert service.next_fault("image") == faults.job_fails()
    assert service.next_fault("image") is None


def test_a_fault_may_last(service: Service) -> None:
    service.fault(faults.status(500), times=None)
    assert [service.next_fault("job") for _ in range(3)] == [faults.status(500)] * 3


def test_what_was_scripted_for_more_requests_than_came_is_unused(service: Service) -> None:
    service.reply("one", times=2)
    service.fault(faults.drop(), times=None)
    service.fault(faults.drop())
    assert [line.rpartition(" was ")[2] for line in service.unused] == [
        "used 0 of 2 times",
        "used 0 of 1 times",
        "used 0 of 1 times",
    ]
    assert "Reply(parts=('one',)" in service.unused[0]
    service.next_reply()
    service.next_fault("chat")
    assert [line[-17:] for line in service.unused] == ["used 1 of 2 times", "used 0 of 1 times"]
    service.next_reply()
    service.reset()
    assert service.unused == []


@pytest.mark.parametrize("model", CHAT_PRICES)
def test_an_answer_costs_what_the_price_table_says(service: Service, model: str) -> None:
    service.charge_chat(model, {"prompt_tokens": 1_000_000, "completion_tokens": 500_000})
    (charge,) = service.charges
    price = CHAT_PRICES[model]
    assert charge.usd == pytest.approx(price.input + price.output / 2)
    assert (charge.kind, charge.model) == ("chat", model)


def test_an_answer_of_another_model_costs_what_was_agreed_or_nothing() -> None:
    service = Service(ORIGIN, "k", Settings(models={"gpt-5": (1.25, 10.0), "free": None}))
    for model in ("gpt-5", "free"):
        service.charge_chat(model, {"prompt_tokens": 1_000_000, "completion_tokens": 500_000})
    assert [charge.usd for charge in service.charges] == [pytest.approx(6.25), 0]


def test_an_image_costs_the_same_whatever_its_parameters(service: Service) -> None:
    service.charge_image(7, {"model": "amigo", "prompt": "a fox", "steps": 8})
    (charge,) = service.charges
    assert (charge.kind, charge.model, charge.usd) == ("image", "amigo", IMAGE_PRICE)
    assert charge.facts == {"jobid": 7, "model": "amigo", "prompt": "a fox", "steps": 8}


def test_every_charge_lowers_the_balance_and_stays_in_the_books(service: Service) -> None:
    for number in range(3):
        service.charge_image(number, {"model": "amigo"})
    assert service.balance == pytest.approx(1.0 - 3 * IMAGE_PRICE)
    assert [charge.facts["jobid"] for charge in service.charges] == [0, 1, 2]
    service.balance = 0.5
    assert service.balance == pytest.approx(0.5)
    assert len(service.charges) == 3


def test_a_reset_forgets_everything(service: Service) -> None:
    service.reply("x")
    service.fault(faults.drop())
    assert service.receive(RecordedRequest("POST", "/", None, {}, authorized=True)) == 1
    service.charge_image(1, {"model": "amigo"})
    service.jobs.submit({"model": "amigo", "prompt": "x"})
    service.balance = 0
    service.reset()
    assert (service.requests, service.charges, service.balance) == ([], [], 1.0)
    assert (service.next_reply(), service.next_fault("chat")) == (None, None)
    assert service.jobs.status("10000000", "x", "")[0] == 404


def test_a_scripted_answer_is_worked_out_for_each_request() -> None:
    def echo(body: Mapping[str, Any]) -> str:
        return f"{body['model']}!"

    def several(_: Mapping[str, Any]) -> list[str | ToolCall]:
        return ["a", ToolCall("b")]

    def call(_: Mapping[str, Any]) -> ToolCall:
        return ToolCall("c")

    assert resolve(["x", echo, several, call], {"model": "gpt-4o"}) == [
        "x",
        "gpt-4o!",
        "a",
        ToolCall("b"),
        ToolCall("c"),
    ]
