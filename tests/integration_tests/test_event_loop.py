"""Nothing blocks the event loop: both classes in agents, watched as by `langgraph dev`."""

import asyncio
import io
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from blockbuster import BlockBuster, BlockingError
from blockbuster.blockbuster import BlockBusterFunction
from langchain.agents import create_agent
from langchain_core.messages import ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from PIL import Image

from langchain_minitoolai import ChatMiniToolAI, GeneratedImage, MiniToolAIImageTool, sandbox
from langchain_minitoolai._image_files import atomic_write
from langchain_minitoolai.stores import SQLiteJobStore
from tests.faults.server import FaultServer
from tests.faults.wire import body, head

ASKED: Any = {"messages": [{"role": "user", "content": "Draw a red fox, please."}]}
CALL = {"name": "generate_image", "args": {"prompt": "a fox"}, "id": "c1", "type": "tool_call"}

_ALLOWED = (
    "os.stat",
    "os.listdir",
    "os.remove",
    "io.BufferedReader.read",
    "io.BufferedWriter.write",
    "io.TextIOWrapper.read",
    "io.TextIOWrapper.write",
    "threading.Lock.acquire",
)
"""What `langgraph dev` lets pass, besides `os.path`."""


_SANDBOX = ["langchain_minitoolai.sandbox"]


def _is_small(data: object = None, *_: object, **__: object) -> bool:
    """Whether bytes are so few that hashing them does not block."""
    return isinstance(data, bytes | memoryview) and len(data) < 2**16


def langgraph_s_watch() -> BlockBuster:
    """Build the watch of `langgraph dev`: it raises for a blocking call, whosever it is."""
    watch = BlockBuster()
    for name in list(watch.functions):
        if name in _ALLOWED or name.startswith("os.path."):
            del watch.functions[name]
    return watch


def strict_watch() -> BlockBuster:
    """Build a watch of this package alone that lets nothing pass: names, certificates, files."""
    ours: Any = ("langchain_minitoolai",)
    watch = BlockBuster(ours, excluded_modules=_SANDBOX)
    for module, name in (
        (ssl.SSLContext, "load_verify_locations"),
        (ssl.SSLContext, "load_default_certs"),
        (ssl.SSLContext, "set_default_verify_paths"),
        (None, "socket.getaddrinfo"),
        (None, "builtins.open"),
        (None, "io.open"),
        (None, "os.open"),
        (None, "os.fsync"),
        (None, "hashlib.sha256"),
        (None, "zlib.crc32"),
        (None, "base64.b64encode"),
    ):
        function = BlockBusterFunction(
            module,
            name,
            scanned_modules=ours,
            excluded_modules=_SANDBOX,
            can_block_predicate=_is_small,
        )
        watch.functions[function.full_name] = function
    return watch


def _let_coverage_wait(watch: BlockBuster) -> None:
    """Let pass the lock that coverage shares with the sandbox's thread."""
    if lock := watch.functions.get("threading.Lock.acquire"):
        lock.can_block_in("coverage/collector.py", "lock_data")


@pytest.fixture(params=[langgraph_s_watch, strict_watch])
def watch(request: pytest.FixtureRequest) -> Iterator[BlockBuster]:
    """Watch the event loop during a test."""
    watch: BlockBuster = request.param()
    _let_coverage_wait(watch)
    watch.activate()
    yield watch
    watch.deactivate()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory to work in, which is the home directory too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def quick() -> Iterator[sandbox.Service]:
    with sandbox.running(job_seconds=0.1) as service:
        yield service


def options(service: sandbox.Service, **more: Any) -> dict[str, Any]:
    """Name the service by a name that has to be resolved."""
    base_url = service.base_url.replace("127.0.0.1", "localhost")
    return {"api_key": service.api_key, "base_url": base_url, **more}


async def test_the_watch_sees_what_blocks(watch: BlockBuster, tmp_path: Path) -> None:
    with pytest.raises(BlockingError):
        atomic_write(tmp_path / "a.png", b"")


@pytest.mark.parametrize(
    ("save_to", "made_on", "transport"),
    [
        ("pictures", "import", "httpx"),
        ("pictures", "loop", "aiohttp"),
        ("~/pictures", "loop", "httpx"),
        (None, "loop", "httpx"),
    ],
)
async def test_an_agent_draws_and_answers_without_blocking(
    watch: BlockBuster,
    quick: sandbox.Service,
    folder: Path,
    save_to: str | None,
    made_on: str,
    transport: str,
) -> None:
    if made_on == "import":
        watch.deactivate()
    tool = MiniToolAIImageTool(
        **options(quick, save_to=save_to, show_to_model="data", poll_interval=0.05)
    )
    model = ChatMiniToolAI(**options(quick, model="gpt-4o-mini", async_transport=transport))
    watch.activate()
    agent = create_agent(model, [tool], checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "1"}}
    state: Any = {}
    async for mode, part in agent.astream(ASKED, config, stream_mode=["values", "custom"]):
        state = part if mode == "values" else state
    (drawn,) = (message for message in state["messages"] if isinstance(message, ToolMessage))
    assert drawn.status == "success", drawn.content
    assert state["messages"][-1].text
    image = GeneratedImage.model_validate(drawn.artifact)
    assert image.warning is None
    if save_to is not None:
        assert Path(str(image.path)).parent == folder / "pictures"
        assert len(await asyncio.to_thread(lambda: list((folder / "pictures").iterdir()))) == 2
    assert tool.recent_images[-1].read()
    assert len([each for each in quick.charges if each.kind == "image"]) == 1


async def test_programs_do_not_block_either(
    watch: BlockBuster, quick: sandbox.Service, folder: Path
) -> None:
    store = await asyncio.to_thread(SQLiteJobStore, "jobs.sqlite")
    tool = MiniToolAIImageTool(
        **options(quick, save_to="pictures", job_store=store, max_images=3, poll_interval=0.05)
    )
    job = await tool.asubmit("a fox", call_id="mine")
    image = await tool.await_for(job)
    assert image.path == str(folder / "pictures" / f"a-fox-{job.id}.png")
    assert (await tool.aresume(job.id)).path == image.path
    assert (await tool.adownload(image)).size
    assert (await tool.aspending()).images == 1


def test_certificates_are_read_and_large_images_checked_off_the_loop(folder: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path("authority.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    large = io.BytesIO()
    Image.effect_noise((1300, 1300), 90).save(large, "PNG")
    with FaultServer([], tls=tls) as server:
        base_url = f"{server.url.replace('127.0.0.1', 'localhost')}"
        address = f"{base_url}/a.png"
        picture = large.getvalue()
        server.scripts += [
            body("200 OK", {"status": "success", "jobid": 7, "signature": "abc"}),
            body("200 OK", {"status": "success", "image_url": address, "message": "success"}),
            lambda exchange: exchange.send(
                head("200 OK", "image/png", {"Content-Length": str(len(picture))}) + picture
            ),
        ]
        tool = MiniToolAIImageTool(
            api_key="a-key",
            base_url=f"{base_url}/api",
            verify="authority.pem",
            save_to="~/pictures",
            show_to_model="data",
            poll_interval=0.05,
        )
        watch = strict_watch()
        _let_coverage_wait(watch)
        watch.activate()
        try:
            message = asyncio.run(tool.ainvoke(CALL))
        finally:
            watch.deactivate()
        assert message.artifact["warning"] is None
        assert (folder / "pictures" / "a-fox-7.png").read_bytes() == picture
