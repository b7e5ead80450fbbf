"""Image jobs: slow, failing or lost ones, and addresses that must not be followed."""

import asyncio
import importlib
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.faults.fault import Fault, Verdict
from tests.faults.runs import Caught, Mode, catch
from tests.faults.server import Exchange, FaultServer, Record, Script
from tests.faults.targets import KEY, Target
from tests.faults.wire import body, error, page

SIGNATURE = "s1gnature-never-show-this"
ADDRESS = "https://images.invalid/1.png"
ARGUMENTS = {"prompt": "a lighthouse"}

_TAKEN = body("200 OK", {"status": "success", "jobid": 12345678, "signature": SIGNATURE})
_NOT_TAKEN = body("200 OK", {"status": "error", "jobid": None, "signature": None})
_PENDING = body("200 OK", {"status": "pending", "image_url": None, "message": "in queue"})
_FAILED = body("200 OK", {"status": "failed", "image_url": None, "message": "worker crashed"})


def _ready(address: str = ADDRESS) -> Script:
    return body("200 OK", {"status": "success", "image_url": address, "message": "success"})


def _reset(exchange: Exchange) -> None:
    exchange.reset()


class Drawn:
    """The outcome of one call of the image tool."""

    def __init__(self, scripts: Sequence[Script], mode: Mode, **options: Any) -> None:
        """Draw with a tool that talks to a server of `scripts`."""
        tool_class = importlib.import_module("langchain_minitoolai").MiniToolAIImageTool
        with FaultServer(scripts) as server:
            settings = {"deadline": 8.0, "poll_interval": 0.1, "timeout": 2.0} | options
            tool = tool_class(api_key=KEY, base_url=f"{server.url}/api", **settings)
            tool.handle_tool_error = False
            call = {"name": tool.name, "args": ARGUMENTS, "id": "call_1", "type": "tool_call"}
            began = time.monotonic()
            self.caught: Caught | None = None
            self.content = self.artifact = None
            try:
                message = tool.invoke(call) if mode == "invoke" else asyncio.run(tool.ainvoke(call))
                self.content, self.artifact = str(message.content), message.artifact
            except Exception as raised:  # noqa: BLE001 - every error is looked at
                self.caught = catch(raised)
            self.seconds = time.monotonic() - began
            self.record: Record = server.record

    def asked(self, path: str) -> int:
        """Count the requests to a path."""
        return sum(one.target == f"/api{path}" for one in self.record.requests)


def _has_image(drawn: Drawn) -> Verdict:
    if drawn.caught is not None:
        return f"raised {drawn.caught.name}: {drawn.caught.message[:120]}"
    if drawn.asked("/texttoimage/") != 1:
        return f"submitted {drawn.asked('/texttoimage/')} times"
    if ADDRESS not in json.dumps(drawn.artifact) or ADDRESS not in str(drawn.content):
        return "the image's address is lost"
    return "the signature shows" if SIGNATURE in f"{drawn.content}{drawn.artifact}" else ""


def _raises(
    kind: str, *, charged: bool | None, polls: int | None = None
) -> Callable[[Drawn], Verdict]:
    def judge(drawn: Drawn) -> Verdict:  # noqa: PLR0911 - each is one thing that may be wrong
        caught = drawn.caught
        if caught is None:
            return f"no error: {drawn.content!r}"[:160]
        if not caught.is_a(kind):
            return f"raised {caught.name}, not {kind}: {caught.message[:120]}"
        if drawn.asked("/texttoimage/") != 1:
            return f"submitted {drawn.asked('/texttoimage/')} times"
        if polls not in (None, drawn.asked("/texttoimage/jobs/")):
            return f"polled {drawn.asked('/texttoimage/jobs/')} times"
        if charged not in (None, caught.facts["maybe_charged"]):
            return f"maybe_charged is {caught.facts['maybe_charged']}"
        shown = f"{caught.message} {caught.facts}"
        if caught.leaks or SIGNATURE in shown:
            return "the error shows a secret"
        return "" if caught.pickles else "the error does not survive a pickle"

    return judge


def _image(
    name: str,
    promise: str,
    judge: Callable[[Drawn], Verdict],
    *scripts: Script,
    **options: Any,
) -> Fault:
    def scenario(target: Target, mode: Mode) -> Verdict:
        return judge(Drawn(scripts, mode, **options))

    return Fault(
        "images",
        name,
        promise,
        scenario=scenario,
        modes=("invoke", "ainvoke"),
        peers=False,
        isolated=True,
    )


def _never(drawn: Drawn) -> Verdict:
    wrong = _raises("ImageJobTimeoutError", charged=True)(drawn)
    if wrong:
        return wrong
    assert drawn.caught is not None
    if not drawn.caught.facts.get("job_id"):
        return "the error has no job to resume"
    return "" if drawn.seconds < 4.0 else f"took {drawn.seconds:.1f} s"


_HOSTILE = (
    "file:///etc/passwd",
    "javascript:alert(1)",
    "http://169.254.169.254/latest/meta-data/",
    "ftp://127.0.0.1/x.png",
    "//127.0.0.1/x.png",
    "http://user:password@127.0.0.1/x.png",
    "/etc/passwd",
)


def _hostile(target: Target, mode: Mode) -> Verdict:
    for address in _HOSTILE:
        with tempfile.TemporaryDirectory() as directory:
            drawn = Drawn((_TAKEN, _ready(address)), mode, deadline=1.0, save_to=directory)
            if drawn.caught is None:
                return f"{address} was taken for an image"
            if any(Path(directory).rglob("*")):
                return f"{address} left a file"
            if drawn.asked("/texttoimage/") != 1:
                return f"submitted {drawn.asked('/texttoimage/')} times"
    return ""


IMAGES = (
    _image(
        "pending then ready",
        "a job is waited for, and paid once",
        _has_image,
        _TAKEN,
        _PENDING,
        _PENDING,
        _ready(),
    ),
    _image(
        "submit says error",
        "a refused job is an error, and nothing is polled",
        _raises("ImageError", charged=None, polls=0),
        _NOT_TAKEN,
    ),
    _image(
        "poll says error",
        "a failed job is an error that says why",
        _raises("ImageJobFailedError", charged=None),
        _TAKEN,
        _PENDING,
        _FAILED,
    ),
    _image(
        "never done",
        "the deadline ends the wait, and the job can be resumed",
        _never,
        _TAKEN,
        _PENDING,
        deadline=1.5,
    ),
    _image(
        "poll 500 then ready",
        "a failing poll costs no image",
        _has_image,
        _TAKEN,
        error("500 Oops"),
        page("520 Unknown"),
        _PENDING,
        _ready(),
    ),
    _image(
        "submit 500",
        "an uncertain payment is never made twice",
        _raises("SubmissionUnknownError", charged=True, polls=0),
        error("500 Oops"),
        _TAKEN,
    ),
    _image(
        "submit reset",
        "an uncertain payment is never made twice",
        _raises("SubmissionUnknownError", charged=True, polls=0),
        _reset,
        _TAKEN,
    ),
    Fault(
        "images",
        "hostile image address",
        "only addresses of the web are taken, never read",
        scenario=_hostile,
        modes=("invoke", "ainvoke"),
        peers=False,
        isolated=True,
    ),
)
