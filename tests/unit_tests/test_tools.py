"""The image tool's public face, without a wire."""

import asyncio
import copy
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr, ValidationError

from langchain_minitoolai import contract, errors
from langchain_minitoolai._http.effects import Response
from langchain_minitoolai._images import orders
from langchain_minitoolai.tools import ImageJob, ImageToolError, MiniToolAIImageTool
from tests.unit_tests.acting import Actor, answer
from tests.unit_tests.images.test_result import png

URL = "https://cdn.example.com/a.png"
TAKEN = answer({"status": "success", "jobid": 77, "signature": "s3cr3t"})
READY = answer({"status": "success", "image_url": URL})
REFUSED = answer({"status": "error", "jobid": None, "signature": None})
CALL = {"name": "generate_image", "args": {"prompt": "a fox"}, "id": "c1", "type": "tool_call"}


class Tool(MiniToolAIImageTool):
    """The tool, on an actor in place of a shell."""

    _actor: Actor = PrivateAttr(default_factory=Actor)

    def _client(self) -> Any:
        return self._actor

    def _async_client(self) -> Any:
        async def run(flow: Any) -> Any:
            return await asyncio.to_thread(self._actor.run, flow)

        return SimpleNamespace(run=run, clock=self._actor.clock)


def tool_on(*answers: Response | errors.MiniToolAIError, **options: Any) -> Tool:
    options |= {"api_key": "a-key", "base_url": "https://example.com/api"}
    tool = Tool(**options)
    tool._actor = Actor(answers or [TAKEN, READY, TAKEN, READY])
    return tool


def sent(tool: Tool) -> list[Any]:
    return [call.body for call in tool._actor.calls if call.path == contract.IMAGE_PATH]


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
    assert drawn(tool, given).startswith("Picture 77")
    assert sent(tool)[0]["prompt"] == "a fox"


def test_the_same_call_is_paid_for_once_and_others_are_their_own(drawn: Any) -> None:
    tool = tool_on()
    first = drawn(tool, CALL)
    assert drawn(tool, CALL).artifact == first.artifact
    assert len(sent(tool)) == 1
    drawn(tool, {**CALL, "id": "c2"})
    assert len(sent(tool)) == 2
    assert tool.images_ordered == 2


def test_errors_are_told_to_the_model(drawn: Any) -> None:
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
    def handle(told: Any) -> str:
        assert isinstance(told, ImageToolError)
        return type(told.error).__name__

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
        ({"deadline": 0}, "deadline"),
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
    tool._actor = Actor()
    twin = copied(tool)
    twin._actor = Actor([TAKEN, READY])
    assert twin.args["steps"]["default"] == 2
    assert twin.invoke(CALL).status == "success"
    assert sent(twin) == []
    assert not twin.is_lc_serializable()


def test_nothing_secret_is_in_a_repr() -> None:
    assert "a-key" not in repr(tool_on())
    assert "signature" not in repr(tool_on())


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_program_orders_waits_and_resumes(*, asynchronous: bool) -> None:
    tool = tool_on()
    if asynchronous:
        job = asyncio.run(tool.asubmit({"prompt": "a fox"}, call_id="mine"))
        first = asyncio.run(tool.await_(job))
        second = asyncio.run(tool.aresume("77"))
    else:
        job = tool.submit("a fox", call_id="mine")
        first, second = tool.wait(job), tool.resume("77")
    assert isinstance(job, ImageJob)
    assert first.url == second.url == URL
    assert tool.submit("a fox", call_id="mine").id == "77"
    assert len(sent(tool)) == 1
    with pytest.raises(errors.InvalidInputError, match="a job that the job store knows"):
        tool.resume("78")
    with pytest.raises(errors.ImageRequestError, match="steps is 9"):
        tool.submit("x", steps=9)


@pytest.mark.parametrize("proxy", [None, "http://proxy.example.com:3128"])
def test_a_picture_is_fetched_past_the_proxy_without_the_key(
    drawn: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxy: str | None
) -> None:
    asked: list[Any] = []

    def fetch(address: str, **how: Any) -> bytes:
        asked.append((address, how["route"].proxy, how["loopback"]))
        return png()

    monkeypatch.setattr(orders, "fetch", fetch)
    message = drawn(tool_on(save_to=tmp_path, proxy=proxy), CALL)
    assert asked == [(URL, proxy, False)]
    assert Path(message.artifact["path"]).exists()


def test_the_limiter_is_asked_before_each_order() -> None:
    limiter = InMemoryRateLimiter(requests_per_second=1e6)
    tool = tool_on(rate_limiter=limiter)
    assert tool.invoke("x").startswith("Picture")


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
