"""`examples/mcp_server.py`, a process that a real MCP client talks to over stdio."""

import base64
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from langchain_minitoolai import sandbox

SERVER = Path(__file__).parents[2] / "examples" / "mcp_server.py"
FOX = {"prompt": "a red fox in the snow", "width": 256, "height": 256}


@pytest.fixture
def service() -> Iterator[sandbox.Service]:
    with sandbox.running(job_seconds=0.2) as running:
        yield running


@asynccontextmanager
async def connected(service: sandbox.Service, folder: Path) -> AsyncIterator[ClientSession]:
    process = StdioServerParameters(
        command=sys.executable,
        args=[str(SERVER), "--folder", str(folder)],
        env={**service.environment, "PYTHONPATH": str(SERVER.parents[1])},
    )
    async with stdio_client(process) as (reads, writes), ClientSession(reads, writes) as session:
        await session.initialize()
        yield session


async def test_a_client_finds_the_tool_with_its_schema(
    service: sandbox.Service, tmp_path: Path
) -> None:
    async with connected(service, tmp_path) as session:
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
    assert set(tools) == {"generate_image", "resume_image"}
    schema = tools["generate_image"].inputSchema
    assert schema["required"] == ["prompt"]
    assert schema["properties"]["steps"]["default"] == 4
    assert "costs money" in (tools["generate_image"].description or "")


async def test_an_image_comes_with_progress_and_a_preview(
    service: sandbox.Service, tmp_path: Path
) -> None:
    seen: list[str | None] = []

    async def progress(_done: float, _total: float | None, message: str | None) -> None:
        seen.append(message)

    async with connected(service, tmp_path) as session:
        result = await session.call_tool("generate_image", FOX, progress_callback=progress)
    assert not result.isError
    text, image = result.content
    assert text.type == "text"
    assert "is ready: 256x256" in text.text
    assert image.type == "image"
    data = base64.b64decode(image.data)
    assert data.startswith(b"\xff\xd8")
    assert len(image.data) < 1_000_000
    assert seen[0] == "submitted, job 10000000"
    assert seen[-1] == "saved, job 10000000"
    assert len([charge for charge in service.charges if charge.kind == "image"]) == 1


async def test_a_paid_image_is_fetched_after_a_restart(
    service: sandbox.Service, tmp_path: Path
) -> None:
    async with connected(service, tmp_path) as session:
        await session.call_tool("generate_image", FOX)
    async with connected(service, tmp_path) as session:
        result = await session.call_tool("resume_image", {"job_id": "10000000"})
    assert not result.isError
    assert [part.type for part in result.content] == ["text", "image"]
    assert len(service.charges) == 1


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("generate_image", {"prompt": "a fox", "steps": 9}, "steps"),
        ("resume_image", {"job_id": "99"}, "allowed: a job that the job store knows"),
    ],
)
async def test_a_refusal_is_an_error_of_the_tool(
    service: sandbox.Service, tmp_path: Path, name: str, arguments: dict[str, Any], words: str
) -> None:
    async with connected(service, tmp_path) as session:
        result = await session.call_tool(name, arguments)
    assert result.isError
    (text,) = result.content
    assert text.type == "text"
    assert words in text.text
    assert service.charges == []
