"""The image tool, without a network."""

import asyncio
import copy
import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.stores import InMemoryByteStore
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr, ValidationError

from langchain_minitoolai import contract, errors
from langchain_minitoolai._http.effects import Response
from langchain_minitoolai.tools import ImageToolError, MiniToolAIImageTool
from langchain_minitoolai.types import GeneratedImage, ImageJob
from tests.unit_tests.fake_driver import FakeDriver, response
from tests.unit_tests.test_types import png

URL = "https://cdn.example.com/a.png"
TAKEN = response({"status": "success", "jobid": 77, "signature": "s3cr3t"})
READY = response({"status": "success", "image_url": URL})
REFUSED = response({"status": "error", "jobid": None, "signature": None})
CALL = {"name": "generate_image", "args": {"prompt": "a fox"}, "id": "c1", "type": "tool_call"}


class Tool(MiniToolAIImageTool):
    """The tool, on a fake driver in place of its clients."""

    _driver: FakeDriver = PrivateAttr(default_factory=FakeDriver)

    def _sync_client(self) -> Any:
        return SimpleNamespace(execute=self._driver.run, clock=self._driver.clock)

    def _async_client(self) -> Any:
        async def execute(workflow: Any) -> Any:
            return await asyncio.to_thread(self._driver.run, workflow)

        return SimpleNamespace(execute=execute, clock=self._driver.clock)


def tool_on(
    *answers: Response | errors.MiniToolAIError,
    downloads: Sequence[bytes | Response | Exception] = (),
    **options: Any,
) -> Tool:
    options |= {"api_key": "a-key", "base_url": "https://example.com/api"}
    tool = Tool(**options)
    tool._driver = FakeDriver(answers or [TAKEN, READY, TAKEN, READY], downloads=downloads)
    return tool


def sent(tool: Tool) -> list[Any]:
    return [call.body for call in tool._driver.requests if call.path == contract.IMAGE_PATH]


@pytest.fixture(params=["sync", "async"])
def drawn(request: pytest.FixtureRequest) -> Any:
    def run(tool: Tool, given: Any, config: Any = None) -> Any:
        if request.param == "sync":
            return tool.invoke(given, config)
        return asyncio.run(tool.ainvoke(given, config))

    return run


def test_a_call_gives_a_text_and_an_artifact(drawn: Any) -> None:
    message = drawn(tool_on(), CALL)
    assert isinstance(message, ToolMessage)
    assert "77" in message.content
    assert message.artifact["url"] == URL
    assert "s3cr3t" not in str(message)


@pytest.mark.parametrize(
    "given",
    [
        "a fox",
        {"prompt": "a fox"},
        HumanMessage("a fox"),
        PromptTemplate.from_template("a {x}").invoke({"x": "fox"}),
        ChatPromptTemplate.from_messages([("system", "be kind"), ("user", "a fox")]).invoke({}),
    ],
)
def test_whatever_names_a_prompt_is_drawn(drawn: Any, given: Any) -> None:
    tool = tool_on()
    assert drawn(tool, given).startswith("Image 77")
    assert sent(tool)[0]["prompt"] == "a fox"


def test_the_same_call_is_paid_for_once_and_others_are_their_own(drawn: Any) -> None:
    tool = tool_on()
    first = drawn(tool, CALL)
    assert drawn(tool, CALL).artifact == first.artifact
    assert len(sent(tool)) == 1
    drawn(tool, {**CALL, "id": "c2"})
    assert len(sent(tool)) == 2
    assert tool.images_ordered == 2


def test_the_model_reads_errors(drawn: Any) -> None:
    message = drawn(tool_on(REFUSED), CALL)
    assert message.status == "error"
    assert "Nothing was charged" in message.content
    message = drawn(tool_on(), {**CALL, "args": {"prompt": "x", "width": 1}})
    assert message.status == "error"
    assert "width is 1; allowed" in message.content
    assert len(message.content) <= 400


def test_errors_are_raised_where_they_are_not_handled(drawn: Any) -> None:
    with pytest.raises(errors.ImageRequestError):
        drawn(tool_on(REFUSED, handle_tool_error=False), CALL)
    with pytest.raises(errors.ImageRequestError, match="width is 1"):
        drawn(tool_on(handle_tool_error=False), {"prompt": "x", "width": 1})


def test_a_handler_of_one_s_own_gets_the_typed_error(drawn: Any) -> None:
    def handle(error: Any) -> str:
        assert isinstance(error, ImageToolError)
        return type(error.error).__name__

    message = drawn(tool_on(REFUSED, handle_tool_error=handle), CALL)
    assert message.content == "ImageRequestError"


def test_constructor_defaults_and_allowed_models_are_in_the_schema() -> None:
    tool = tool_on(allowed_models=["amigo", "realism"], steps=8, cfg_scale="3")
    shown = convert_to_openai_tool(tool)["function"]["parameters"]["properties"]
    assert shown["model"]["enum"] == ["amigo", "realism"]
    assert shown["model"]["default"] == tool.model == "amigo"
    assert (shown["steps"]["default"], shown["cfg_scale"]["default"]) == (8, 3.0)
    tool.invoke("x")
    assert sent(tool)[0]["steps"] == 8
    assert sent(tool)[0]["model"] == "amigo"


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"steps": 9}, "steps is 9; allowed: a whole number from 1 to 8"),
        ({"model": "dall-e"}, "model is 'dall-e'; allowed"),
        ({"allowed_models": []}, "allowed_models is"),
        ({"allowed_models": ["dall-e"]}, "allowed_models is"),
        ({"total_timeout": 0}, "total_timeout"),
        ({"deadline": 0}, "total_timeout"),
        ({"deadline": 1, "total_timeout": 1}, "deadline is no parameter"),
        ({"total_timeout": -5}, "total_timeout"),
        ({"total_timeout": float("nan")}, "total_timeout"),
        ({"poll_interval": 0}, "poll_interval is 0.0; allowed: seconds above 0"),
        ({"poll_interval": -1}, "poll_interval is -1.0; allowed"),
        ({"poll_interval": float("nan")}, "poll_interval is nan; allowed"),
        ({"poll_interval": float("inf")}, "poll_interval is inf; allowed"),
        ({"save_to": "a\0b"}, "NUL"),
        ({"show_to_model": "maybe"}, "show_to_model"),
        ({"widht": 512}, "widht"),
    ],
)
def test_an_option_out_of_range_is_refused(option: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        tool_on(**option)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])  # noqa: S301 - our own
def test_a_copy_draws_and_knows_what_was_paid_for(copied: Any) -> None:
    tool = tool_on(steps=2)
    tool.tool_call_schema  # noqa: B018 - it is kept, and is a class made at run time
    tool.invoke(CALL)
    tool._driver = FakeDriver()
    twin = copied(tool)
    twin._driver = FakeDriver([TAKEN, READY])
    assert twin.args["steps"]["default"] == 2
    assert twin.invoke(CALL).status == "success"
    assert sent(twin) == []
    assert not twin.is_lc_serializable()


def test_nothing_secret_is_in_a_repr() -> None:
    assert "a-key" not in repr(tool_on())
    assert "signature" not in repr(tool_on())


@pytest.mark.parametrize("is_async", [False, True])
def test_a_program_orders_waits_and_resumes(*, is_async: bool) -> None:
    tool = tool_on()
    if is_async:
        job = asyncio.run(tool.asubmit({"prompt": "a fox"}, call_id="mine"))
        first = asyncio.run(tool.await_for(job))
        second = asyncio.run(tool.aresume("77"))
    else:
        job = tool.submit("a fox", call_id="mine")
        first, second = tool.wait_for(job), tool.resume("77")
    assert isinstance(job, ImageJob)
    assert first.url == second.url == URL
    assert tool.submit("a fox", call_id="mine").id == "77"
    assert len(sent(tool)) == 1
    for unknown in ("78", None):
        with pytest.raises(errors.InvalidInputError, match="a job that the job store knows"):
            tool.resume(unknown)
    with pytest.raises(errors.ImageRequestError, match="steps is 9"):
        tool.submit("x", steps=9)


def test_the_limiter_is_asked_before_each_order() -> None:
    limiter = InMemoryRateLimiter(requests_per_second=1e6)
    tool = tool_on(rate_limiter=limiter)
    assert tool.invoke("x").startswith("Image")


def test_the_price_is_on_the_run_that_paid(drawn: Any) -> None:
    runs: list[Run] = []

    class Tracer(BaseTracer):
        def _persist_run(self, run: Run) -> None:
            runs.append(run)

    tool = tool_on()
    for _ in range(2):
        drawn(tool, CALL, {"callbacks": [Tracer(), BaseCallbackHandler()]})
    costs = [(run.extra or {}).get("metadata", {}).get("total_cost") for run in runs]
    assert costs == [contract.IMAGE_PRICE, None]


@pytest.mark.parametrize("is_async", [False, True])
def test_download_fetches_an_image_within_the_total_timeout(*, is_async: bool) -> None:
    tool = tool_on(total_timeout=9.0, downloads=[png()])
    image = GeneratedImage.model_validate(tool.invoke(CALL).artifact)
    began = tool._driver.now
    downloaded = asyncio.run(tool.adownload(image)) if is_async else tool.download(image)
    assert downloaded is image
    assert image.read() == png()
    assert (image.width, image.mime_type, image.size) == (32, "image/png", len(png()))
    (sent,) = tool._driver.downloads
    assert (sent.url, sent.deadline) == (URL, began + 9.0)


@pytest.mark.parametrize("is_async", [False, True])
def test_the_tool_keeps_its_last_images(*, is_async: bool) -> None:
    tool = tool_on(show_to_model="data", downloads=[png()] * 3)
    _ = asyncio.run(tool.ainvoke("a fox")) if is_async else tool.invoke("a fox")
    (image,) = tool.recent_images
    assert (image.id, image.read()) == ("77", png())
    assert "image/png" in image._repr_mimebundle_()
    tool.resume("77")
    assert len(tool.recent_images) == 1
    for twin in (copy.deepcopy(tool), pickle.loads(pickle.dumps(tool))):  # noqa: S301 - our own
        assert twin.recent_images == ()


def test_a_download_that_fails_is_a_typed_error() -> None:
    tool = tool_on(downloads=[Response(403, {})])
    image = GeneratedImage.model_validate(tool.invoke(CALL).artifact)
    with pytest.raises(errors.ImageDownloadError, match="HTTP 403"):
        tool.download(image)


def test_an_address_without_a_valid_host_costs_the_file_alone(drawn: Any, tmp_path: Path) -> None:
    ready = response({"status": "success", "image_url": URL})
    moved = Response(302, {"location": "https://a..b/x.png"})
    message = drawn(tool_on(TAKEN, ready, save_to=tmp_path, downloads=[moved]), CALL)
    assert message.status == "success"
    assert "no valid host" in message.artifact["warning"]
    assert URL in message.content


# Options.


def test_the_total_timeout_has_a_second_name() -> None:
    assert tool_on(deadline=9).total_timeout == tool_on(total_timeout=9).total_timeout == 9.0


def test_options_that_are_no_mapping_are_refused() -> None:
    with pytest.raises(ValidationError):
        MiniToolAIImageTool.model_validate(["a-key"])


def test_the_directory_is_resolved_when_the_tool_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    tool, at_home = tool_on(save_to="images"), tool_on(save_to="~/images")
    monkeypatch.chdir("/")
    assert tool.save_to == tmp_path / "images"
    assert at_home.save_to == tmp_path / "home" / "images"


def test_an_assigned_option_counts(drawn: Any) -> None:
    tool = tool_on()
    assert tool.args["width"]["default"] == 1024
    tool.width = 512
    drawn(tool, "x")
    assert sent(tool)[0]["width"] == 512
    shown = convert_to_openai_tool(tool)["function"]["parameters"]["properties"]
    assert shown["width"]["default"] == 512


def test_assigned_allowed_models_narrow_the_default_as_in_the_constructor() -> None:
    tool = tool_on()
    tool.allowed_models = ("amigo",)
    assert tool.model == "amigo"
    assert tool.args["model"]["const"] == "amigo"


def test_an_option_in_an_updated_copy_counts(drawn: Any) -> None:
    tool = tool_on()
    twin = tool.model_copy(update={"width": 512, "total_timeout": 3})
    twin._driver = FakeDriver([TAKEN, READY])
    drawn(twin, "x")
    assert sent(twin)[0]["width"] == 512
    assert (twin.total_timeout, tool.width, tool.total_timeout) == (3.0, 1024, 120.0)
    assert tool.model_copy().width == 1024


@pytest.mark.parametrize(
    ("option", "value"), [("steps", 9), ("model", "dall-e"), ("total_timeout", 0), ("widht", 512)]
)
def test_an_assigned_option_out_of_range_is_refused_and_changes_nothing(
    option: str, value: Any
) -> None:
    tool = tool_on()
    before, was_set = dict(tool.__dict__), set(tool.model_fields_set)
    with pytest.raises(ValueError, match=option):
        setattr(tool, option, value)
    assert (tool.__dict__, tool.model_fields_set) == (before, was_set)
    with pytest.raises(ValueError, match=option):
        tool.model_copy(update={option: value})


def test_an_empty_call_id_is_no_id(drawn: Any) -> None:
    tool = tool_on()
    drawn(tool, {**CALL, "id": ""})
    drawn(tool, {**CALL, "id": ""})
    assert len(sent(tool)) == 2
    tool._driver = FakeDriver([TAKEN])
    assert tool.submit("x", call_id="").call_key is None


def test_arguments_are_validated_once_a_call(drawn: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tool_on()
    schema, count = tool._schema(), []

    class Counting:
        @staticmethod
        def model_validate(given: Any) -> Any:
            count.append(given)
            return schema.model_validate(given)

    monkeypatch.setattr(Tool, "_schema", lambda self: Counting)
    drawn(tool, CALL)
    assert len(count) == 1


# What goes wrong beside the image.


class BrokenStore(InMemoryByteStore):
    """A store that can't be read."""

    def mget(self, keys: Any) -> Any:
        raise OSError("disk full")


@pytest.mark.parametrize("is_async", [False, True])
def test_a_store_that_fails_is_an_error_of_ours_when_resuming(*, is_async: bool) -> None:
    tool = tool_on(job_store=BrokenStore())
    with pytest.raises(errors.ImageRequestError, match="disk full"):
        _ = asyncio.run(tool.aresume("77")) if is_async else tool.resume("77")


def test_where_warnings_are_errors_a_paid_image_still_comes(drawn: Any) -> None:
    def fail(_: Any) -> None:
        raise ValueError("boom")

    strange = response({"status": "wibble"})
    tool = tool_on(TAKEN, strange, READY, on_progress=fail)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert drawn(tool, CALL).status == "success"
