"""An MCP server over stdio that draws images: `python examples/mcp_server.py --folder images`.

It needs `langchain-mcp-adapters` and Pillow, and the key in `MINITOOLAI_API_KEY`; without one,
start the sandbox and paste what it prints. Images lie in the folder, and so does the job store:
what is paid for can be fetched after a restart, by its job's id.
"""

import argparse
import asyncio
import io
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

from langchain_mcp_adapters.tools import to_fastmcp
from mcp.server.fastmcp import Context, FastMCP, Image
from mcp.server.fastmcp.exceptions import ToolError
from mcp.server.fastmcp.tools import Tool
from PIL import Image as Pillow

from langchain_minitoolai import GeneratedImage, MiniToolAIError, MiniToolAIImageTool
from langchain_minitoolai.stores import SQLiteJobStore
from langchain_minitoolai.types import ImageProgress

LARGEST_PREVIEW = 1_000_000
"""Bytes; clients refuse tool results that are much larger."""


def preview(data: bytes) -> Image:
    """Make a JPEG that a client shows, of a megabyte at most."""
    picture = Pillow.open(io.BytesIO(data)).convert("RGB")
    for side in (1024, 768, 512, 256):
        picture.thumbnail((side, side))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=85)
        if buffer.tell() <= LARGEST_PREVIEW * 3 // 4:  # base64 adds a third
            break
    return Image(data=buffer.getvalue(), format="jpeg")


async def with_preview(text: str, image: GeneratedImage) -> list[Any]:
    """Give what a tool answers: a text and, where the bytes are at hand, a preview."""
    if image.path is None:
        return [text]
    return [text, await asyncio.to_thread(lambda: preview(image.read()))]


def reporter(context: Context[Any, Any, Any]) -> Callable[[ImageProgress], Awaitable[None]]:
    """Make what reports an image's progress to the client."""

    async def report(progress: ImageProgress) -> None:
        text = f"{progress['stage']}, job {progress['job_id']}"
        await context.report_progress(progress["seconds"], progress["expected"], text)

    return report


def image_tool(draw: MiniToolAIImageTool) -> Tool:
    """Serve the tool with its own name, description and schema, progress and a preview."""

    async def run(context: Context[Any, Any, Any], **arguments: Any) -> list[Any]:
        reporting = draw.model_copy(update={"on_progress": reporter(context)})
        call = {
            "type": "tool_call",
            "id": f"mcp-{uuid4().hex}",
            "name": draw.name,
            "args": arguments,
        }
        message = await reporting.ainvoke(call)
        if message.status == "error":
            raise ToolError(message.text)
        return await with_preview(message.text, GeneratedImage.model_validate(message.artifact))

    changes = {"fn": run, "is_async": True, "context_kwarg": "context"}
    return to_fastmcp(draw).model_copy(update=changes)


def server(folder: Path) -> FastMCP:
    """Make the server; images and jobs are kept in the folder."""
    draw = MiniToolAIImageTool(save_to=folder, job_store=SQLiteJobStore(folder / "jobs.sqlite"))

    async def resume_image(job_id: str) -> list[Any]:
        """Fetch an image that was ordered before, by its job's id; it is not charged again."""
        try:
            image = await draw.aresume(job_id)
        except MiniToolAIError as error:
            raise ToolError(f"{error} {error.hint}".strip()) from error
        return await with_preview(f"Image {image.id} is ready: {image.url}", image)

    mcp = FastMCP("minitoolai", tools=[image_tool(draw)])
    mcp.add_tool(resume_image, structured_output=False)
    return mcp


def main() -> int:
    """Serve until the client goes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("images"))
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    server(folder).run("stdio")
    return 0


if __name__ == "__main__":
    sys.exit(main())
