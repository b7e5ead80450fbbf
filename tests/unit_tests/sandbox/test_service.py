from collections.abc import Mapping
from typing import Any

import pytest

from langchain_minitoolai.sandbox import RecordedRequest, Service, ToolCall, faults
from langchain_minitoolai.sandbox._ledger import image_charge
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


def test_a_reset_forgets_everything(service: Service) -> None:
    service.reply("x")
    service.fault(faults.drop())
    assert service.receive(RecordedRequest("POST", "/", None, {}, authorized=True)) == 1
    service.ledger.book(image_charge(1, {"model": "amigo"}))
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
