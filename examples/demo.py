"""The main job in one go: a streamed chat, an agent that draws, and a look at the image.

Without a key it runs against the sandbox, which costs nothing. With `MINITOOLAI_API_KEY` set
it runs against the service, after saying what that costs.
"""

import sys
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from service import ExampleError, Needs, run

from langchain_minitoolai import ChatMiniToolAI, MiniToolAIImageTool

OUTPUT = Path("demo-output")
QUESTION = "Why is the sky blue? Answer in two sentences."
REQUEST = "Please draw an image of a red lighthouse on a cliff in a storm, with one lit window."
LOOK = "What does this image show? Answer in one sentence."


def chat(model: ChatMiniToolAI) -> None:
    """Stream an answer, token by token, and say what it used and cost."""
    print(f"\n1. A streamed answer\n   you:   {QUESTION}\n   model: ", end="")
    whole: AIMessageChunk | None = None
    for chunk in model.stream(QUESTION):
        print(chunk.text, end="", flush=True)
        whole = chunk if whole is None else whole + chunk
    if whole is not None and whole.usage_metadata:
        used, metadata = whole.usage_metadata, whole.response_metadata
        print(
            f"\n   ({metadata['model_name']}: {used['input_tokens']} tokens read, "
            f"{used['output_tokens']} written, ${metadata.get('cost', 0):.6f})"
        )


def draw(model: ChatMiniToolAI, tool: MiniToolAIImageTool) -> dict[str, Any]:
    """Let an agent draw an image; show its words, its call and the job's progress."""
    print(f"\n2. An agent with a tool that draws\n   you:   {REQUEST}\n   agent: ", end="")
    agent = create_agent(model, tools=[tool])
    artifact: dict[str, Any] = {}
    start = time.monotonic()
    asked: Any = {"messages": [HumanMessage(REQUEST)]}
    for mode, event in agent.stream(asked, stream_mode=["messages", "custom"]):
        if mode == "custom":
            progress: Any = event
            seconds = time.monotonic() - start
            print(f"\n   {seconds:5.1f} s  {progress['stage']:9}  job {progress['job_id']}", end="")
            continue
        message: Any = event[0]
        if isinstance(message, ToolMessage):
            artifact = message.artifact or {}
            print(f"\n   tool:  {message.status}\n   agent: ", end="")
        else:
            for piece in message.tool_call_chunks:
                print(f"[calls {piece['name']}] " if piece["name"] else piece["args"], end="")
            print(message.text, end="", flush=True)
    print()
    return artifact


def report(artifact: dict[str, Any]) -> None:
    """Say where the image is, and what it took."""
    print(
        f"   saved: {artifact['path']}\n"
        f"   size:  {artifact['width']} x {artifact['height']} pixels, "
        f"{artifact['bytes']:,} bytes\n"
        f"   took:  {artifact['seconds']:.1f} s and {artifact['polls']} poll(s) of the job\n"
        f"   cost:  ${artifact['cost_usd']:.4f}"
    )


def look(model: ChatMiniToolAI, artifact: dict[str, Any]) -> None:
    """Show the image to the model."""
    data = b64encode(Path(artifact["path"]).read_bytes()).decode()
    image = {"type": "image", "base64": data, "mime_type": artifact["mime_type"]}
    question = HumanMessage([{"type": "text", "text": LOOK}, image])
    print(f"\n3. An answer about that image\n   you:   {LOOK}\n   model: ", end="")
    for chunk in model.stream([question]):
        print(chunk.text, end="", flush=True)
    print()


def show(access: dict[str, Any]) -> None:
    """Chat, draw, and look at the image."""
    model = ChatMiniToolAI(**access)
    tool = MiniToolAIImageTool(save_to=OUTPUT, **access)
    chat(model)
    artifact = draw(model, tool)
    if not artifact:
        raise ExampleError("the agent drew no image; its words above say why")
    report(artifact)
    look(model, artifact)


if __name__ == "__main__":
    sys.exit(run("demo", show, Needs(reads=9_000, writes=900, images=1)))
