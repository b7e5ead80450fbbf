from typing import Any

from tests.faults.client import Client, check_answered, check_raised
from tests.faults.fault import fault
from tests.faults.wire import TEXT, TOKENS, answer, chunk_object, event, stream, tokens

WORDS = "the model fell over"
ERROR = {"error": {"message": WORDS, "type": "server_error", "code": "overloaded"}}
RAISED = "the server's words are raised"
NO_OBJECT = "JSON that is no object is junk"


@fault("error object mid-stream", RAISED, before=tokens(), report=event(ERROR))
@fault(
    "error object first",
    "raised before anything is shown, so that fallbacks work",
    before=[],
    report=event(ERROR),
)
@fault("error text", RAISED, before=tokens(), report=event({"error": WORDS}))
@fault(
    "event: error", RAISED, before=tokens(), report=b"event: error\n" + event({"message": WORDS})
)
@fault(
    "status: error", RAISED, before=tokens(), report=event({"status": "error", "message": WORDS})
)
def test_a_reported_error_is_raised(client: Client, before: list[bytes], report: bytes) -> None:
    check_raised(
        client,
        [stream([*before, report, *answer()[len(TOKENS) :]])],
        "ServiceError",
        requests=1,
        shown=TEXT if before else "",
        says=WORDS,
    )


@fault(
    "broken JSON",
    "junk in the stream is no answer; `invoke` asks again",
    junk=event('{"choices": [{"delta'),
    says="",
)
@fault(
    "plain text",
    "junk in the stream is shown in the error; `invoke` asks again",
    junk=event("upstream timed out"),
    says="upstream timed out",
)
@fault("a list", NO_OBJECT, junk=event([1, 2]), says="")
@fault("null", NO_OBJECT, junk=event(None), says="")
@fault("a number", NO_OBJECT, junk=event(42), says="")
def test_junk_is_no_answer(client: Client, junk: bytes, says: str) -> None:
    check_raised(
        client,
        [stream([*tokens(), junk, *answer()[len(TOKENS) :]])],
        requests=1 if client.streams else 2,
        shown=TEXT,
        says=says,
    )


@fault("choices: null", "a chunk without choices is passed over", chunk=chunk_object(choices=None))
@fault(
    "no delta",
    "a choice without a delta is passed over",
    chunk=chunk_object(choices=[{"index": 0, "finish_reason": None}]),
)
def test_a_chunk_without_content_is_passed_over(client: Client, chunk: dict[str, Any]) -> None:
    first, *others = answer()
    check_answered(client, [stream([event(chunk), first, event(chunk), *others])])
