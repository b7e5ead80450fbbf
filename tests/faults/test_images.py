import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.client import Client, check_decent, check_soon
from tests.faults.fault import fault
from tests.faults.server import Exchange, FaultServer, Record, Script
from tests.faults.targets import Mode
from tests.faults.wire import body, error, page

SIGNATURE = "s1gnature-never-show-this"
ADDRESS = "https://images.invalid/1.png"
MODES: tuple[Mode, ...] = ("invoke", "ainvoke")

TAKEN = body("200 OK", {"status": "success", "jobid": 12345678, "signature": SIGNATURE})
NOT_TAKEN = body("200 OK", {"status": "error", "jobid": None, "signature": None})
PENDING = body("200 OK", {"status": "pending", "image_url": None, "message": "in queue"})
FAILED = body("200 OK", {"status": "failed", "image_url": None, "message": "worker crashed"})


def _ready(address: str = ADDRESS) -> Script:
    return body("200 OK", {"status": "success", "image_url": address, "message": "success"})


def _reset(exchange: Exchange) -> None:
    exchange.reset()


def _draw(client: Client, scripts: list[Script], **options: Any) -> tuple[Any, Record]:
    """Draw with a tool that talks to a server of `scripts`; return its message or error."""
    made: Any
    with FaultServer(scripts) as server:
        tool = client.target.tool(server.url, **options)
        asked = {"name": tool.name, "args": {"prompt": "a lighthouse"}, "id": "call_1"}
        asked["type"] = "tool_call"
        try:
            made = asyncio.run(tool.ainvoke(asked)) if client.is_async else tool.invoke(asked)
        except Exception as raised:  # noqa: BLE001 - every error is looked at
            made = raised
    assert _count(server.record, "/texttoimage/") == 1, "one call is one order"
    return made, server.record


def _count(record: Record, path: str) -> int:
    return sum(one.target == f"/api{path}" for one in record.requests)


def _fault(name: str, promise: str, **values: Any) -> pytest.MarkDecorator:
    return fault(name, promise, modes=MODES, tool=True, **values)


@_fault(
    "pending then ready",
    "a job is waited for, and paid once",
    scripts=[TAKEN, PENDING, PENDING, _ready()],
)
@_fault(
    "poll 500 then ready",
    "a failing poll costs no image",
    scripts=[TAKEN, error("500 Oops"), page("520 Unknown"), PENDING, _ready()],
)
def test_a_job_is_waited_for(client: Client, scripts: list[Script]) -> None:
    message, _ = _draw(client, scripts)
    assert not isinstance(message, Exception), message
    assert ADDRESS in message.content
    assert ADDRESS in json.dumps(message.artifact)
    assert SIGNATURE not in f"{message.content}{message.artifact}"


@_fault(
    "submit says error",
    "a refused job is an error, and nothing is polled",
    scripts=[NOT_TAKEN],
    kind="ImageError",
    charged=None,
    polls=0,
)
@_fault(
    "poll says error",
    "a failed job is an error that says why",
    scripts=[TAKEN, PENDING, FAILED],
    kind="ImageJobFailedError",
    charged=None,
    polls=2,
)
@_fault(
    "submit 500",
    "an uncertain payment is never made twice",
    scripts=[error("500 Oops"), TAKEN],
    kind="SubmissionUnknownError",
    charged=True,
    polls=0,
)
@_fault(
    "submit reset",
    "an uncertain payment is never made twice",
    scripts=[_reset, TAKEN],
    kind="SubmissionUnknownError",
    charged=True,
    polls=0,
)
def test_a_lost_job_is_an_error(
    client: Client, scripts: list[Script], kind: str, polls: int, *, charged: bool | None
) -> None:
    raised, record = _draw(client, scripts)
    assert _count(record, "/texttoimage/jobs/") == polls
    _check_error(raised, kind, charged=charged)


@_fault("never done", "the deadline ends the wait, and the job can be resumed")
def test_a_job_that_is_never_done_can_be_resumed(client: Client) -> None:
    began = time.monotonic()
    raised, _ = _draw(client, [TAKEN, PENDING], total_timeout=1.0)
    check_soon(time.monotonic() - began, 3.0)
    _check_error(raised, "ImageJobTimeoutError", charged=True)
    assert raised.job_id


def _check_error(raised: Any, kind: str, *, charged: bool | None) -> None:
    assert kind in [type_.__name__ for type_ in type(raised).__mro__], repr(raised)
    assert charged in (None, raised.maybe_charged)
    check_decent(raised)
    shown = {name: value for name, value in vars(raised).items() if isinstance(value, str)}
    assert SIGNATURE not in f"{raised}{shown}"


@_fault("hostile image address", "only addresses of the web are taken, never read")
def test_a_hostile_address_is_never_read(client: Client, tmp_path: Path) -> None:
    for address in (
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://169.254.169.254/latest/meta-data/",
        "ftp://127.0.0.1/x.png",
        "//127.0.0.1/x.png",
        "http://user:password@127.0.0.1/x.png",
        "/etc/passwd",
    ):
        made, _ = _draw(client, [TAKEN, _ready(address)], total_timeout=1.0, save_to=tmp_path)
        assert isinstance(made, Exception), f"{address} was taken for an image"
        assert not list(tmp_path.rglob("*"))
