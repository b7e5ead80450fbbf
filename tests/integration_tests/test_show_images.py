"""`ShowImagesMiddleware` in agents with the image tool, over the sandbox."""

import base64
from collections.abc import Iterator
from typing import Any, cast

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage

from langchain_minitoolai import ChatMiniToolAI, MiniToolAIImageTool, sandbox
from langchain_minitoolai.middleware import ShowImagesMiddleware
from tests.integration_tests.parametrize import Caller, sync_and_async
from tests.integration_tests.sandbox_helpers import access, bodies
from tests.unit_tests.test_middleware import SEES, scripted

ASKED: Any = {"messages": [HumanMessage("Please draw a fjord")]}
CALL: Any = {"name": "generate_image", "args": {"prompt": "a fjord"}, "id": "call-1"}


@pytest.fixture
def quick() -> Iterator[sandbox.Service]:
    with sandbox.running(job_seconds=0.0) as service:
        yield service


def tool(service: sandbox.Service, show: Any) -> MiniToolAIImageTool:
    return MiniToolAIImageTool(
        show_to_model=show, width=256, height=256, poll_interval=0.01, **access(service)
    )


@sync_and_async
@pytest.mark.parametrize("show", ["url", "data"])
def test_a_model_that_takes_no_images_of_tools_is_shown_them_by_the_user(
    caller: Caller, show: str, quick: sandbox.Service
) -> None:
    model = scripted(AIMessage("", tool_calls=[CALL]), AIMessage("Seen."), profile=SEES)
    agent = create_agent(model, [tool(quick, show)], middleware=[ShowImagesMiddleware()])
    done = caller.invoke(agent, ASKED)["messages"]
    *_, result, shown = model.prompts[-1]
    assert (result.type, shown.type) == ("tool", "human")
    assert "Address: http" in result.content
    label, image = cast("list[Any]", shown.content)
    assert label["text"] == "Images in the result of generate_image (call-1):"
    if show == "data":
        assert base64.b64decode(image["base64"]).startswith(b"\x89PNG")
    else:
        assert image["url"] in result.content
    assert [message.type for message in done] == ["human", "ai", "tool", "ai"]
    assert done[2].content[1] == image


@sync_and_async
def test_the_chat_model_sees_images_of_tools_as_it_is(
    caller: Caller, quick: sandbox.Service
) -> None:
    quick.reply(sandbox.ToolCall("generate_image", {"prompt": "a fjord"}))
    plain = create_agent(ChatMiniToolAI(**access(quick)), [tool(quick, "data")])
    caller.invoke(plain, ASKED)
    quick.reply(sandbox.ToolCall("generate_image", {"prompt": "a fjord"}))
    agent = create_agent(
        ChatMiniToolAI(**access(quick)),
        [tool(quick, "data")],
        middleware=[ShowImagesMiddleware()],
    )
    caller.invoke(agent, ASKED)
    _, without, _, with_middleware = bodies(quick)
    assert [kinds(each) for each in with_middleware["messages"]] == [
        kinds(each) for each in without["messages"]
    ]
    assert kinds(with_middleware["messages"][-1])[-1] == "image_url"


def kinds(message: dict[str, Any]) -> list[str]:
    content = message["content"]
    return ["text"] if isinstance(content, str) else [part["type"] for part in content]
