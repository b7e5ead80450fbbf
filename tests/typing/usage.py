"""What users write, as type checkers see it: none may find anything here."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal, TypedDict, assert_type

import httpx
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable
from pydantic import BaseModel, SecretStr

from langchain_minitoolai import (
    ChatMiniToolAI,
    GeneratedImage,
    ImageJob,
    MiniToolAIError,
    MiniToolAIImageTool,
    sandbox,
)
from langchain_minitoolai.errors import ImageJobTimeoutError, RateLimitError
from langchain_minitoolai.types import ImageProgress


class City(BaseModel):
    """A city."""

    name: str


class Landmark(TypedDict):
    """A landmark."""

    name: str


def population(city: str) -> int:
    """Look up how many people live in a city."""
    return len(city)


def make_client() -> httpx.Client:
    """Make a client."""
    return httpx.Client()


def constructors() -> None:
    """Make models and tools, by every name."""
    ChatMiniToolAI()
    ChatMiniToolAI(model="gpt-4o", temperature=0.2, max_tokens=500, stop=["\n"], timeout=20)
    ChatMiniToolAI(api_key=SecretStr("key"), base_url="https://gateway.example/api")
    ChatMiniToolAI(total_timeout=None, max_retries=0, model_kwargs={"seed": 1})
    ChatMiniToolAI(http_client=make_client, tool_calling="native", async_transport="aiohttp")
    MiniToolAIImageTool(save_to=Path("images"), width=512, total_timeout=30, max_cost_usd=0.1)
    MiniToolAIImageTool(on_progress=show, show_to_model="url", handle_tool_error=False)


def show(progress: ImageProgress) -> None:
    """Show progress."""
    assert_type(progress["stage"], Literal["submitted", "waiting", "ready", "saved"])
    assert_type(progress["seconds"], float)


def chat(model: ChatMiniToolAI) -> str:
    """Invoke, stream and parse."""
    answer = model.invoke([HumanMessage("Hello")])
    assert_type(answer, AIMessage)
    chunks: Iterator[AIMessageChunk] = model.stream("Hello")
    chain = ChatPromptTemplate.from_messages([("human", "{text}")]) | model | StrOutputParser()
    assert_type(chain.invoke({"text": "Hello"}), str)
    return answer.text + "".join(chunk.text for chunk in chunks)


async def async_chat(model: ChatMiniToolAI) -> list[AIMessage]:
    """Invoke and stream without blocking."""
    chunks: AsyncIterator[AIMessageChunk] = model.astream("Hello")
    async for chunk in chunks:
        assert_type(chunk, AIMessageChunk)
    return await model.abatch(["Hello", "Good-bye"])


def tools_and_schemas(model: ChatMiniToolAI) -> AIMessage:
    """Bind tools, ask for objects."""
    draw = MiniToolAIImageTool()
    city: Runnable[Any, Any] = model.with_structured_output(City)
    city.invoke("Oslo")
    model.with_structured_output(Landmark, method="json_schema", include_raw=True)
    return model.bind_tools([population, draw], tool_choice="auto").invoke("How many in Oslo?")


def images(draw: MiniToolAIImageTool) -> Path:
    """Order, wait, resume, download and save."""
    job = draw.submit("a fox", steps=2, call_id="order-1")
    assert_type(job, ImageJob)
    try:
        image = draw.wait_for(ImageJob.model_validate_json(job.model_dump_json()))
    except ImageJobTimeoutError as error:
        assert_type(error.maybe_charged, bool)
        image = draw.resume(error.job_id)
    assert_type(image, GeneratedImage)
    assert_type(draw.download(image).read(), bytes)
    return image.save("fox.png")


def failures(model: ChatMiniToolAI) -> float | None:
    """Read the attributes of errors."""
    try:
        model.invoke("Hello")
    except RateLimitError as error:
        return error.retry_after
    except MiniToolAIError as error:
        assert_type(error.hint, str)
        assert_type(error.status_code, int | None)
    return None


def tests() -> None:
    """Script the sandbox."""
    with sandbox.running(balance=1.0, job_seconds=0) as service:
        service.reply("Let me see.", sandbox.ToolCall("population", {"city": "Oslo"}))
        service.fault(sandbox.faults.status(429, headers={"Retry-After": "1"}), on="chat")
        assert_type(service.base_url, str)
        assert_type(service.charges, list[sandbox.Charge])
