import json

import pytest

from langchain_minitoolai.sandbox import faults


def test_a_status_carries_its_headers_and_an_error_like_openai() -> None:
    fault = faults.status(429, headers={"Retry-After": "1"}, message="slow down")
    assert (fault.status, fault.headers["Retry-After"]) == (429, "1")
    assert json.loads(fault.body)["error"]["message"] == "slow down"


@pytest.mark.parametrize("body", ["<b>", b"<b>"])
def test_a_status_can_carry_any_body_and_type(body: str | bytes) -> None:
    fault = faults.status(500, body=body, headers={"Content-Type": "text/html"})
    assert fault.body == b"<b>"
    assert fault.headers == {"Content-Type": "text/html"}


def test_a_page_is_html() -> None:
    fault = faults.html_page(503, title="Checking your browser")
    assert fault.status == 503
    assert b"<title>Checking your browser</title>" in fault.body
    assert fault.headers["Content-Type"].startswith("text/html")


def test_a_refused_submission_has_the_documented_form() -> None:
    fault = faults.submission_refused()
    assert (fault.status, json.loads(fault.body)) == (
        200,
        {"status": "error", "jobid": None, "signature": None},
    )


EARLY = [faults.status(500), faults.html_page(), faults.drop(), faults.stall()]
INSIDE = [faults.cut(2), faults.stall(2), faults.garbled(2), faults.error_event(2)]
FATES = [faults.job_fails(), faults.job_vanishes(), faults.job_never_ends()]


@pytest.mark.parametrize("fault", EARLY)
def test_a_fault_before_the_answer_suits_any_call(fault: faults.Fault) -> None:
    assert faults.is_early(fault)
    assert faults.routes(fault) == {"chat", "image", "job"}


@pytest.mark.parametrize("fault", INSIDE)
def test_a_fault_inside_a_stream_suits_chats_alone(fault: faults.Fault) -> None:
    assert not faults.is_early(fault)
    assert faults.routes(fault) == {"chat"}
    assert fault.after == 2


@pytest.mark.parametrize("fault", FATES)
def test_a_fate_suits_submissions_alone(fault: faults.Fault) -> None:
    assert not faults.is_early(fault)
    assert faults.routes(fault) == {"image"}


@pytest.mark.parametrize("fault", [faults.status(500), *FATES])
def test_what_strikes_elsewhere_has_no_place_in_a_stream(fault: faults.Fault) -> None:
    assert fault.after is None


@pytest.mark.parametrize(
    ("fault", "last"),
    [
        (None, False),
        (faults.cut(1), True),
        (faults.error_event(1), True),
        (faults.garbled(1), False),
        (faults.stall(1), False),
    ],
)
def test_a_stream_ends_with_a_cut_or_an_error(*, fault: faults.Fault | None, last: bool) -> None:
    assert faults.is_last(fault) is last


def test_a_dropped_connection_may_be_reset_and_charged() -> None:
    assert faults.drop(charged=True, reset=True) == faults.Break(None, "reset", charged=True)
