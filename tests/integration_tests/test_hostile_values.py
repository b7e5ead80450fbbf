"""Every public call of the tool ends in a result or an error of ours, whatever it is given."""

import asyncio
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import ToolMessage
from langchain_core.stores import InMemoryByteStore
from pydantic import ValidationError

from langchain_minitoolai import (
    GeneratedImage,
    ImageJob,
    MiniToolAIError,
    MiniToolAIImageTool,
    sandbox,
)
from langchain_minitoolai._images.arguments import DEFAULTS
from tests.integration_tests.sandbox_helpers import access

HOSTILE: list[Any] = [
    None,
    "",
    " \n",
    "\0",
    "\ud800",
    "x" * 100_000,
    "../../etc/passwd",
    '"}</tool_call>',
    -1,
    0,
    10**400,
    float("nan"),
    float("inf"),
    True,
    b"\xff\0",
    [],
    [[[]]],
    {},
    {1: 2},
    {"prompt": None},
    object(),
    ValueError("boom"),
    int,
]
ARGUMENTS = ["prompt", "size", "seed", "\0", *DEFAULTS]
MODES = pytest.mark.parametrize("mode", ["sync", "async"])


@pytest.fixture
def service() -> Iterator[sandbox.Service]:
    with sandbox.running(job_seconds=0.0) as running:
        yield running


def tool_for(service: sandbox.Service, **options: Any) -> MiniToolAIImageTool:
    return MiniToolAIImageTool(
        **access(service), poll_interval=0.05, handle_tool_error=False, **options
    )


def ends_well(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return the result of a call, sync or async, or its error if that is ours."""
    try:
        found = call(*args, **kwargs)
        return asyncio.run(found) if asyncio.iscoroutine(found) else found
    except MiniToolAIError as error:
        found = error
    assert 0 < len(str(found)) < 1000
    return found


def picked(tool: MiniToolAIImageTool, mode: str, name: str) -> Any:
    """Return a method, or its async twin."""
    twins = {"invoke": "ainvoke", "submit": "asubmit", "wait_for": "await_for"}
    twins |= {"resume": "aresume", "download": "adownload"}
    return getattr(tool, name if mode == "sync" else twins[name])


@MODES
def test_whatever_is_to_be_drawn(service: sandbox.Service, mode: str) -> None:
    tool = tool_for(service)
    for value in HOSTILE:
        ends_well(picked(tool, mode, "invoke"), value)
        ends_well(picked(tool, mode, "submit"), value)
        for name in ARGUMENTS:
            ends_well(picked(tool, mode, "invoke"), {"prompt": "a fox", name: value})


@MODES
def test_whatever_a_model_calls_with(service: sandbox.Service, mode: str) -> None:
    tool = tool_for(service)
    tool.handle_tool_error = True
    for value in HOSTILE:
        for name in ARGUMENTS:
            args = {"prompt": "a fox", name: value}
            call = {"type": "tool_call", "name": "generate_image", "id": "c1", "args": args}
            message = ends_well(picked(tool, mode, "invoke"), call)
            assert isinstance(message, ToolMessage)
            assert len(message.text) < 1000


@MODES
def test_whatever_the_ids_jobs_and_images_are(service: sandbox.Service, mode: str) -> None:
    tool = tool_for(service)
    job = tool.submit("a fox")
    image = tool.wait_for(job)
    tool.total_timeout = 0.2
    for value in HOSTILE:
        ends_well(picked(tool, mode, "submit"), "a fox", call_id=value)
        error = ends_well(picked(tool, mode, "resume"), value)
        assert "job_id is" in str(error)
        assert isinstance(ends_well(picked(tool, mode, "wait_for"), value), MiniToolAIError)
        assert isinstance(ends_well(picked(tool, mode, "download"), value), MiniToolAIError)
        arguments = {**job.arguments, "width": value}
        ends_well(picked(tool, mode, "wait_for"), job.model_copy(update={"arguments": arguments}))
        for name in ("id", "signature", "url"):
            if isinstance(value, str):
                ends_well(picked(tool, mode, "wait_for"), job.model_copy(update={name: value}))
                twin = image.model_copy(update={name: value})
                ends_well(picked(tool, mode, "download"), twin)
                twin._repr_mimebundle_()


@MODES
def test_whatever_the_store_holds(service: sandbox.Service, mode: str) -> None:
    store = InMemoryByteStore()
    job = tool_for(service, job_store=store).submit("a fox", call_id="mine")
    for junk in (b"", b"\xff", b"null", b"[]", b"{}", b'{"id": "7"}', job.id.encode()):
        broken = InMemoryByteStore()
        broken.mset([(key, junk) for key in store.store])
        tool = tool_for(service, job_store=broken, total_timeout=0.3)
        assert isinstance(ends_well(picked(tool, mode, "resume"), job.id), MiniToolAIError)
        assert isinstance(
            ends_well(picked(tool, mode, "submit"), "a fox", call_id="mine"), MiniToolAIError
        )
    assert len(service.charges) == 1


OPTIONS = sorted(set(MiniToolAIImageTool.model_fields) - {"args_schema"})


def test_whatever_an_option_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own = {"minitoolai_api_key": "api_key", "minitoolai_api_base": "base_url"}
    known: dict[str, Any] = {"api_key": "a-key-of-mine", "base_url": "http://127.0.0.1:9/api"}
    tool = MiniToolAIImageTool(**known)
    said = []
    for name in OPTIONS:
        for value in HOSTILE:
            given = {**known, own.get(name, name): value}
            for change in (
                lambda given=given: MiniToolAIImageTool(**given),
                lambda name=name, value=value: setattr(tool.model_copy(), name, value),
                lambda name=name, value=value: tool.model_copy(update={name: value}),
            ):
                try:
                    change()
                except (ValidationError, MiniToolAIError) as error:
                    said.append(str(error))
    assert len(said) > 500
    assert "a-key-of-mine" not in "".join(said)


@pytest.mark.parametrize("value", ["pictures\ud800", "x" * 5000, "file/below", "/proc/nothing"])
@MODES
def test_whatever_the_directory_is_it_is_found_out_before_paying(
    service: sandbox.Service, tmp_path: Path, mode: str, value: str
) -> None:
    (tmp_path / "file").write_bytes(b"")
    tool = tool_for(service, save_to=tmp_path / value)
    error = ends_well(picked(tool, mode, "invoke"), "a fox")
    assert isinstance(error, MiniToolAIError)
    assert "save_to is" in str(error)
    assert not error.maybe_charged
    assert service.charges == []


# Warnings as errors.


class Loud(InMemoryByteStore):
    """A store that warns of whatever it is asked."""

    def mget(self, keys: Any) -> Any:
        _warn("mget")
        return super().mget(keys)

    def mset(self, pairs: Any) -> None:
        super().mset(pairs)
        _warn("mset")


def _warn(text: str) -> None:
    warnings.warn(text, DeprecationWarning, stacklevel=2)


def _interval(_: float) -> float:
    _warn("poll_interval")
    return 0.05


@MODES
def test_no_warning_becomes_an_error_once_an_image_is_paid_for(
    service: sandbox.Service, tmp_path: Path, mode: str
) -> None:
    service.fault(sandbox.faults.status(200, body=b'{"status": "wibble"}'), on="job")
    tool = MiniToolAIImageTool(
        **access(service),
        poll_interval=_interval,
        on_progress=lambda progress: _warn(progress["stage"]),
        save_to=tmp_path,
        total_timeout=20.0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        job = ImageJob.model_validate(ends_well(picked(tool, mode, "submit"), "a fox"))
        tool.job_store = Loud()
        image = GeneratedImage.model_validate(ends_well(picked(tool, mode, "wait_for"), job))
    assert image.warning is None
    assert len(service.charges) == 1
