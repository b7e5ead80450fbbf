from tests.faults.client import Client, check_answered, check_raised
from tests.faults.fault import fault
from tests.faults.server import Script
from tests.faults.wire import DONE, answer, body, page, stream

WORDS = "the model fell over"


@fault(
    "page",
    "a page is no answer; the error has its title, no markup",
    response=page("200 OK", "Just a moment..."),
    kind="InvalidResponseError",
    says="Just a moment...",
)
@fault(
    "JSON error",
    "an error with status 200 is an error",
    response=body("200 OK", {"status": "error", "message": WORDS}),
    kind="ServiceError",
    says=WORDS,
)
@fault(
    "empty",
    "nothing is no answer",
    response=body("200 OK", b"", "text/event-stream"),
    kind="ModelError",
    says="",
)
@fault(
    "only [DONE]",
    "an end without a beginning is no answer",
    response=stream([DONE]),
    kind="ModelError",
    says="",
)
def test_a_200_that_is_no_answer_is_an_error(
    client: Client, response: Script, kind: str, says: str
) -> None:
    _, record = check_raised(client, [response], kind, shown="", says=says)
    assert len(record.requests) <= 2 or not client.ours


@fault(
    "SSE labelled text/html",
    "the body is judged, not its label",
    label="text/html; charset=iso-8859-1",
)
@fault("SSE without a label", "the body is judged, with no label too", label=None)
def test_the_body_is_judged_and_not_its_label(client: Client, label: str | None) -> None:
    check_answered(client, [stream(answer(), content_type=label)])
