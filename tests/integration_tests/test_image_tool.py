"""The image tool over a real socket: one charge each, whatever happens."""

import asyncio
import copy
import io
import json
import logging
import os
import pickle
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ToolRetryMiddleware
from langchain_classic.storage import LocalFileStore
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.prompts import PromptTemplate
from langchain_core.runnables import RunnableLambda
from langchain_core.stores import InMemoryByteStore
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run
from langgraph.checkpoint.memory import InMemorySaver
from PIL import Image

from langchain_minitoolai import contract, errors, sandbox
from langchain_minitoolai.stores import CallRecord
from langchain_minitoolai.tools import MiniToolAIImageTool
from langchain_minitoolai.types import GeneratedImage, ImageJob, ImageProgress
from tests.faults.memory import measured
from tests.faults.server import Exchange, FaultServer
from tests.faults.wire import body, head

CALL = {"name": "generate_image", "args": {"prompt": "a red fox"}, "id": "c1", "type": "tool_call"}
MODES = ["sync", "async"]


@pytest.fixture
def quick() -> Any:
    with sandbox.running(job_seconds=0.2) as service:
        yield service


def tool_for(service: sandbox.Service, **options: Any) -> MiniToolAIImageTool:
    key = {"api_key": service.api_key, "base_url": service.base_url}
    return MiniToolAIImageTool(**{"poll_interval": 0.1, **key, **options})


def drawn(tool: MiniToolAIImageTool, call: Any, mode: str = "sync") -> Any:
    return tool.invoke(call) if mode == "sync" else asyncio.run(tool.ainvoke(call))


def open_files() -> int:
    """Count this process's file descriptors, sockets among them."""
    return len(list(Path("/proc/self/fd").iterdir()))


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait a few seconds for something to come true."""
    until = time.monotonic() + 5.0
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def submits(service: sandbox.Service) -> int:
    return sum(request.path.endswith(contract.IMAGE_PATH) for request in service.requests)


@pytest.mark.parametrize("mode", MODES)
def test_an_image_is_drawn_saved_and_described(
    quick: sandbox.Service, tmp_path: Path, mode: str
) -> None:
    tool = tool_for(quick, save_to=tmp_path)
    message = drawn(tool, CALL, mode)
    assert isinstance(message, ToolMessage)
    assert message.status == "success"
    artifact = json.loads(json.dumps(message.artifact))
    generated = GeneratedImage.model_validate(artifact)
    with Image.open(io.BytesIO(generated.read())) as image:
        image.load()
        assert image.size == (generated.width, generated.height) == (1024, 1024)
    sidecar = json.loads(Path(artifact["path"]).with_suffix(".json").read_text())
    assert sidecar == artifact
    assert generated.id in str(message.content)
    assert generated.url in str(message.content)
    assert len(quick.charges) == 1
    assert "image/png" in generated._repr_mimebundle_()


@pytest.mark.parametrize("mode", MODES)
def test_the_same_id_again_is_the_same_image(quick: sandbox.Service, mode: str) -> None:
    tool = tool_for(quick)
    assert drawn(tool, CALL).artifact == drawn(tool, CALL, mode).artifact
    assert len(quick.charges) == 1


def agent_with(tool: MiniToolAIImageTool, *middleware: Any, **options: Any) -> Any:
    call = {"name": "generate_image", "args": {"prompt": "a fox"}, "id": "call_9"}
    says = iter([AIMessage("", tool_calls=[call]), AIMessage("Here it is.")])

    class Model(GenericFakeChatModel):
        def bind_tools(self, *_: Any, **__: Any) -> Any:
            return self

    return create_agent(Model(messages=says), [tool], middleware=list(middleware), **options)


ASKED = {"messages": [{"role": "user", "content": "Draw a fox"}]}


@pytest.mark.parametrize(
    "fault",
    [
        sandbox.faults.drop(charged=True),
        sandbox.faults.status(500, charged=True),
        sandbox.faults.stall(seconds=5.0, charged=True),
    ],
)
def test_under_a_retry_middleware_a_lost_answer_is_charged_once(
    quick: sandbox.Service, fault: Any
) -> None:
    quick.fault(fault, on="image", times=None)
    tool = tool_for(quick, handle_tool_error=False, timeout=0.5)
    retry = ToolRetryMiddleware(
        max_retries=3, initial_delay=0.0, jitter=False, retry_on=(Exception,)
    )
    state = agent_with(tool, retry).invoke(ASKED)
    assert state["messages"][-1].content == "Here it is."
    assert len(quick.charges) == 1


def test_a_store_of_files_keeps_the_job_for_another_tool(
    quick: sandbox.Service, tmp_path: Path
) -> None:
    for _ in range(2):
        tool = tool_for(quick, job_store=LocalFileStore(tmp_path))
        assert tool.invoke(CALL).status == "success"
    assert len(quick.charges) == 1


def test_under_a_retry_middleware_a_slow_job_is_taken_up_again() -> None:
    with sandbox.running(job_seconds=2.5) as service:
        tool = tool_for(service, handle_tool_error=False, total_timeout=1.0)
        retry = ToolRetryMiddleware(max_retries=4, initial_delay=0.0, jitter=False)
        state = agent_with(tool, retry).invoke(ASKED)
        message = next(m for m in state["messages"] if isinstance(m, ToolMessage))
        assert message.status == "success"
        assert "Address:" in message.content
        assert len(service.charges) == 1


def test_a_checkpoint_replay_charges_nothing(quick: sandbox.Service) -> None:
    saver = InMemorySaver()
    agent = agent_with(tool_for(quick), checkpointer=saver)
    config: Any = {"configurable": {"thread_id": "1"}}
    agent.invoke(ASKED, config)
    before_tools = next(s for s in agent.get_state_history(config) if s.next == ("tools",))
    for _ in agent.stream(None, before_tools.config, interrupt_after=["tools"]):
        pass
    assert len(quick.charges) == 1


def test_an_error_never_ends_an_agent_s_run(quick: sandbox.Service) -> None:
    quick.fault(sandbox.faults.job_fails("nsfw"))
    state = agent_with(tool_for(quick)).invoke(ASKED)
    message = next(m for m in state["messages"] if isinstance(m, ToolMessage))
    assert message.status == "error"
    assert len(message.content) <= 400
    assert state["messages"][-1].content == "Here it is."


KILLED = '''
import os, pathlib, sys
from langchain_core.stores import ByteStore


class Folder(ByteStore):
    """A store of one file a key."""

    def mget(self, keys):
        paths = [pathlib.Path(sys.argv[1]) / key for key in keys]
        return [path.read_bytes() if path.exists() else None for path in paths]

    def mset(self, pairs):
        for key, value in pairs:
            (pathlib.Path(sys.argv[1]) / key).write_bytes(value)

    def mdelete(self, keys):
        for key in keys:
            (pathlib.Path(sys.argv[1]) / key).unlink(missing_ok=True)

    def yield_keys(self, *, prefix=None):
        return iter(os.listdir(sys.argv[1]))


from langchain_minitoolai.stores import CallRecord
from langchain_minitoolai.tools import MiniToolAIImageTool

tool = MiniToolAIImageTool(job_store=Folder(), on_progress=lambda p: print(p["stage"], flush=True))
call = {"name": "generate_image", "args": {"prompt": "a fox"}, "id": "c1", "type": "tool_call"}
print(tool.invoke(call).status, flush=True)
'''


def test_a_process_killed_after_ordering_takes_the_job_up_when_started_again(
    tmp_path: Path,
) -> None:
    with sandbox.running(job_seconds=3.0) as service:
        environment = {**os.environ, **service.environment, "PYTHONPATH": str(Path.cwd())}
        command = [sys.executable, "-c", KILLED, str(tmp_path)]
        child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        assert child.stdout
        assert child.stdout.readline().strip() == "submitted"
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout.split()[-1] == "success"
        assert "submitted" not in done.stdout
        assert len(service.charges) == 1


async def test_a_cancelled_call_stops_at_once_and_is_taken_up_by_the_next() -> None:
    with sandbox.running(job_seconds=1.5) as service:
        ordered = asyncio.Event()
        tool = tool_for(service, on_progress=lambda _: ordered.set())
        task = asyncio.create_task(tool.ainvoke(CALL))
        await ordered.wait()
        await asyncio.sleep(0.3)
        began = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - began < 0.3
        message = await tool.ainvoke(CALL)
        assert message.status == "success"
        assert len(service.charges) == 1


async def test_a_call_cancelled_while_it_orders_is_taken_up_by_the_next(
    quick: sandbox.Service,
) -> None:
    quick.fault(sandbox.faults.stall(seconds=0.5, charged=True), on="image")
    tool = tool_for(quick)
    task = asyncio.create_task(tool.ainvoke(CALL))
    while not quick.charges:  # noqa: ASYNC110 - another thread books them
        await asyncio.sleep(0.02)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 0.3
    message = await asyncio.wait_for(tool.ainvoke(CALL), 5.0)
    assert message.status == "success"
    assert len(quick.charges) == 1


def test_two_loops_threads_copies_and_pickles_draw(quick: sandbox.Service) -> None:
    tool = tool_for(quick)
    for twin in (tool, copy.deepcopy(tool), pickle.loads(pickle.dumps(tool))):  # noqa: S301 - our own
        for mode in ("async", "async", "sync"):
            assert "Address:" in drawn(twin, {"prompt": "x"}, mode)
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(tool.invoke("x"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(quick.charges) == 17


# Downloads.


@pytest.mark.parametrize(
    ("fault", "warning"),
    [
        (sandbox.faults.html_page(200), "a page"),
        (sandbox.faults.status(404), "HTTP 404"),
        (sandbox.faults.status(200, body=b"\x89PNG\r\n\x1a\n\0\0"), "cut short"),
        (sandbox.faults.status(302, headers={"Location": "http://10.0.0.1/a.png"}), "redirects"),
        (sandbox.faults.status(302, headers={"Location": "https://localhost.invalid/"}), "host"),
        (sandbox.faults.status(302, headers={"Location": "/files/x"}), "more than 3 times"),
        (sandbox.faults.status(200, body=b"\x89PNG" + b"x" * (17 * 2**20)), "more than"),
        (sandbox.faults.drop(), "can't be fetched"),
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_an_image_that_cannot_be_downloaded_still_comes_with_its_address(
    quick: sandbox.Service, tmp_path: Path, fault: Any, warning: str, mode: str
) -> None:
    quick.fault(fault, on="file", times=None)
    message = drawn(tool_for(quick, save_to=tmp_path), CALL, mode)
    assert message.status == "success"
    assert warning in message.artifact["warning"]
    assert message.artifact["url"] in message.content
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["a..b", f"{'x' * 64}.example.com"])
@pytest.mark.parametrize("mode", MODES)
def test_an_address_that_names_no_valid_host_costs_the_file_alone(
    tmp_path: Path, mode: str, host: str
) -> None:
    address = f"https://{host}/x.png"
    taken = body("200 OK", {"status": "success", "jobid": 7, "signature": "abc"})
    ready = body("200 OK", {"status": "success", "image_url": address, "message": "success"})
    with FaultServer([taken, ready]) as server:
        options: dict[str, Any] = {"base_url": f"{server.url}/api", "api_key": "test"}
        tool = MiniToolAIImageTool(save_to=tmp_path, handle_tool_error=False, **options)
        message = drawn(tool, CALL, mode)
        assert message.artifact["warning"]
        assert address in message.content
        assert drawn(tool, CALL, mode).artifact == message.artifact
        with pytest.raises(errors.ImageDownloadError):
            tool.download(GeneratedImage.model_validate(message.artifact))


@pytest.mark.parametrize("mode", MODES)
def test_download_fetches_an_image_that_was_not_saved(quick: sandbox.Service, mode: str) -> None:
    tool = tool_for(quick)
    image = GeneratedImage.model_validate(drawn(tool, CALL).artifact)
    with pytest.raises(errors.ImageDownloadError, match="neither in memory nor saved"):
        image.read()
    _ = tool.download(image) if mode == "sync" else asyncio.run(tool.adownload(image))
    with Image.open(io.BytesIO(image.read())) as opened:
        assert opened.size == (image.width, image.height) == (1024, 1024)


@pytest.mark.parametrize("mode", MODES)
def test_a_download_that_fails_for_a_moment_is_tried_again(
    quick: sandbox.Service, tmp_path: Path, mode: str
) -> None:
    quick.fault(sandbox.faults.status(503), on="file")
    quick.fault(sandbox.faults.drop(), on="file")
    message = drawn(tool_for(quick, save_to=tmp_path), CALL, mode)
    assert message.artifact["warning"] is None


def test_the_key_goes_to_the_api_alone(quick: sandbox.Service, tmp_path: Path) -> None:
    drawn(tool_for(quick, save_to=tmp_path), CALL)
    for request in quick.requests:
        assert request.authorized == request.path.endswith(contract.IMAGE_PATH)


@pytest.mark.parametrize("mode", MODES)
def test_a_directory_that_cannot_be_written_is_found_before_paying(
    quick: sandbox.Service, tmp_path: Path, mode: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    message = drawn(tool_for(quick, save_to=tmp_path / "file"), CALL, mode)
    assert message.status == "error"
    assert "where no file can be written" in message.content
    assert "Nothing was sent or charged" in message.content
    assert quick.charges == []


@pytest.mark.parametrize("mode", MODES)
def test_a_directory_that_is_lost_meanwhile_costs_the_file_alone(
    quick: sandbox.Service, tmp_path: Path, mode: str
) -> None:
    folder = tmp_path / "images"

    def lose(progress: ImageProgress) -> None:
        if progress["stage"] == "submitted":
            folder.rmdir()
            folder.write_text("in the way")

    message = drawn(tool_for(quick, save_to=folder, on_progress=lose), CALL, mode)
    assert "can't be saved" in message.artifact["warning"]
    folder.unlink()
    assert drawn(tool_for(quick, save_to=folder), {**CALL, "id": "c2"}, mode).artifact["path"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("status", [403, 410])
def test_an_address_that_expired_is_asked_for_anew(
    quick: sandbox.Service, tmp_path: Path, mode: str, status: int
) -> None:
    expired = quick.base_url.replace("/api", "/files/expired.png")
    first = json.dumps({"status": "success", "image_url": expired}).encode()
    quick.fault(sandbox.faults.status(200, body=first), on="job")
    quick.fault(sandbox.faults.status(status), on="file")
    message = drawn(tool_for(quick, save_to=tmp_path), CALL, mode)
    assert message.artifact["warning"] is None
    assert message.artifact["url"] != expired
    assert Path(message.artifact["path"]).exists()
    assert len(quick.charges) == 1


# What a job's status says.


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("status", "text"),
    [
        ("error", "upstream timeout, please retry"),
        ("error", "database connection failed"),
        ("failed", "temporarily unavailable, try again"),
    ],
)
def test_one_transient_word_does_not_give_up_a_paid_job(
    quick: sandbox.Service, mode: str, status: str, text: str
) -> None:
    reported = json.dumps({"status": status, "message": text}).encode()
    quick.fault(sandbox.faults.status(200, body=reported), on="job")
    message = drawn(tool_for(quick), CALL, mode)
    assert message.status == "success"
    assert len(quick.charges) == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        ({"status": "failed", "message": "nsfw content", "code": 7}, "failed: nsfw content."),
        ({"status": "failed", "error": {"message": "blocked"}, "x": [1]}, "failed: blocked."),
        ({"data": {"status": "cancelled"}}, "failed: cancelled."),
    ],
)
def test_a_job_that_failed_is_told_in_words(
    quick: sandbox.Service, mode: str, reported: Any, expected: str
) -> None:
    fault = sandbox.faults.status(200, body=json.dumps(reported).encode())
    quick.fault(fault, on="job", times=None)
    message = drawn(tool_for(quick), CALL, mode)
    assert message.status == "error"
    assert expected in message.content
    assert "{" not in message.content


# What the model sees.


@pytest.mark.parametrize("mode", MODES)
def test_the_model_may_see_the_image(quick: sandbox.Service, mode: str) -> None:
    shown = drawn(tool_for(quick, show_to_model="url"), CALL, mode).content
    assert shown[1] == {"type": "image", "url": shown[1]["url"]}
    shown = drawn(tool_for(quick, show_to_model="data"), {**CALL, "id": "c2"}, mode).content
    assert shown[1]["mime_type"] == "image/png"
    assert shown[1]["base64"].startswith("iVBOR")


# Progress.


async def test_progress_is_reported_on_every_channel(
    quick: sandbox.Service, tmp_path: Path
) -> None:
    reported: list[Any] = []
    tool = tool_for(quick, save_to=tmp_path, on_progress=reported.append)
    agent = agent_with(tool)
    written = [chunk async for chunk in agent.astream(ASKED, stream_mode="custom")]
    stages = [each["stage"] for each in reported]
    assert stages[0] == "submitted"
    assert stages[-2:] == ["ready", "saved"]
    assert set(stages[1:-2]) == {"waiting"}
    assert [each["stage"] for each in written] == stages
    assert {each["tool_call_id"] for each in reported} == {"call_9"}
    events: list[Any] = [event async for event in tool.astream_events(CALL)]
    custom = [event["data"] for event in events if event["event"] == "on_custom_event"]
    assert custom[-1]["stage"] == "saved"


def test_progress_is_written_from_a_sync_graph_too(quick: sandbox.Service) -> None:
    written = list(agent_with(tool_for(quick)).stream(ASKED, stream_mode="custom"))
    assert written[0]["stage"] == "submitted"


# Programs.


@pytest.mark.parametrize("mode", MODES)
def test_a_program_orders_waits_and_resumes(quick: sandbox.Service, mode: str) -> None:
    tool = tool_for(quick)

    async def awaited() -> tuple[ImageJob, GeneratedImage, GeneratedImage]:
        job = await tool.asubmit("a fox", steps=2)
        return job, await tool.await_for(job), await tool.aresume(job.id)

    if mode == "sync":
        job = tool.submit({"prompt": "a fox"}, steps=2)
        again = ImageJob.model_validate_json(job.model_dump_json())
        found = job, tool.wait_for(again), tool.resume(job.id)
    else:
        found = asyncio.run(awaited())
    job, first, second = found
    assert first.url == second.url
    assert first.steps == 2
    assert job.signature not in f"{job} {job!r}"
    assert len(quick.charges) == 1
    with pytest.raises(errors.InvalidInputError, match="no-such-job"):
        tool.resume("no-such-job")


@pytest.mark.parametrize("mode", MODES)
def test_an_async_callback_is_awaited_whatever_the_call(quick: sandbox.Service, mode: str) -> None:
    stages: list[str] = []

    async def listen(progress: ImageProgress) -> None:
        await asyncio.sleep(0)
        stages.append(progress["stage"])

    drawn(tool_for(quick, on_progress=listen), CALL, mode)
    assert (stages[0], stages[-1]) == ("submitted", "ready")


def test_a_timeout_names_the_job_to_resume() -> None:
    with sandbox.running(job_seconds=1.5) as service:
        tool = tool_for(service, total_timeout=0.7, handle_tool_error=False)
        with pytest.raises(errors.ImageJobTimeoutError) as caught:
            tool.invoke("a fox")
        tool.total_timeout = 20.0
        assert tool.resume(caught.value.job_id).url
        assert len(service.charges) == 1


@pytest.mark.parametrize("mode", MODES)
def test_in_a_batch_one_failure_costs_only_itself(quick: sandbox.Service, mode: str) -> None:
    tool = tool_for(quick)
    inputs: list[Any] = ["one", {"prompt": "two", "steps": 99}, "three"]
    config: Any = {"max_concurrency": 2}
    if mode == "sync":
        texts = tool.batch(inputs, config)
    else:
        texts = asyncio.run(tool.abatch(inputs, config))
    assert [text.startswith("Image") for text in texts] == [True, False, True]
    assert len(quick.charges) == 2
    raising = tool_for(quick, handle_tool_error=False)
    results = raising.batch(inputs, return_exceptions=True)
    assert [isinstance(result, errors.ImageRequestError) for result in results] == [
        False,
        True,
        False,
    ]


def test_it_stands_in_chains(quick: sandbox.Service) -> None:
    tool = tool_for(quick)
    prompt: Any = PromptTemplate.from_template("a {what}")
    worded: Any = RunnableLambda(lambda what: f"a {what}")
    assert "Address:" in (prompt | tool).invoke({"what": "fox"})
    assert "Address:" in (worded | tool).invoke("fox")
    assert len(tool.map().invoke(["a", "b"])) == 2


def test_the_budget_holds_for_many_at_once(quick: sandbox.Service) -> None:
    tool = tool_for(quick, max_images=3)
    texts = tool.batch(["x"] * 6)
    assert sum("budget" in text for text in texts) == 3
    assert len(quick.charges) == 3
    assert tool.images_ordered == 3


def test_the_price_is_on_the_traced_run(quick: sandbox.Service) -> None:
    runs: list[Run] = []

    class Tracer(BaseTracer):
        def _persist_run(self, run: Run) -> None:
            runs.append(run)

    tool = tool_for(quick)
    config: Any = {"callbacks": [Tracer()]}
    tool.invoke(CALL, config)
    tool.invoke(CALL, config)
    assert [(run.extra or {}).get("metadata", {}).get("total_cost") for run in runs] == [
        0.0015,
        None,
    ]


# Secrets.


@pytest.mark.parametrize("fault", [None, sandbox.faults.job_fails(), sandbox.faults.status(500)])
def test_key_and_signature_are_nowhere(
    quick: sandbox.Service, tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    if fault:
        quick.fault(fault)
    runs: list[Run] = []

    class Tracer(BaseTracer):
        def _persist_run(self, run: Run) -> None:
            runs.append(run)

    store = InMemoryByteStore()
    tool = tool_for(quick, save_to=tmp_path, job_store=store)
    config: Any = {"callbacks": [Tracer()]}
    message = tool.invoke(CALL, config)
    saved = "".join(p.read_bytes().decode("latin-1") for p in tmp_path.iterdir())
    shown = [
        repr(tool),
        str(tool),
        repr(message),
        caplog.text,
        saved,
        tool.model_dump_json(exclude={"poll_interval"}),
    ]
    shown += [run.model_dump_json(exclude={"parent_run"}) for run in runs]
    records = map(CallRecord.model_validate_json, store.store.values())
    secrets = {quick.api_key, *(record.job.signature for record in records if record.job)}
    for secret in secrets:
        assert secret not in "\n".join(shown)


# Too much.


SIZE = 100 * 1024 * 1024
MIB = 1024 * 1024


def _long_image(exchange: Exchange, *, announced: bool) -> None:
    """Send 100 MB of an image, its length announced or not."""
    length = {"Content-Length": str(SIZE)} if announced else {"Connection": "close"}
    exchange.send(head("200 OK", "image/png", length) + b"\x89PNG\r\n\x1a\n")
    for _ in range(SIZE // MIB):
        exchange.send(b"x" * MIB)
    exchange.close()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("announced", [True, False], ids=["length announced", "length unknown"])
def test_an_image_of_a_hundred_megabytes_is_refused_at_its_bound_and_its_address_kept(
    tmp_path: Path, mode: str, *, announced: bool
) -> None:
    with FaultServer([]) as server:
        address = f"{server.url}/image.png"
        server.scripts += [
            body("200 OK", {"status": "success", "jobid": 7, "signature": "abc"}),
            body("200 OK", {"status": "success", "image_url": address, "message": "success"}),
            partial(_long_image, announced=announced),
        ]
        options: dict[str, Any] = {"save_to": tmp_path, "poll_interval": 0.05, "api_key": "test"}
        tool = MiniToolAIImageTool(base_url=f"{server.url}/api", handle_tool_error=False, **options)
        with measured() as grown:
            message = drawn(tool, CALL, mode)
            growth = grown()
        assert server.record.wait_closed(1)  # what polls is kept
        paid = [one.target for one in server.record.requests if one.target.endswith("toimage/")]
        fetched = [one for one in server.record.requests if one.target == "/image.png"]
    assert address in str(message.content)
    assert message.artifact["url"] == address
    assert "more than 16777216 bytes" in message.artifact["warning"]
    assert len(paid) == 1
    assert [one.connection.closed_by for one in fetched] == ["client"]
    assert growth < 64
    assert max(one.connection.sent for one in fetched) < (16 if announced else 48) * MIB
    assert not list(tmp_path.iterdir())


# Many.


def test_five_hundred_at_once_are_all_delivered_and_charged_once_each() -> None:
    with sandbox.running(job_seconds=2.0, balance=100.0) as service:
        tool = tool_for(service, poll_interval=None)

        async def many() -> list[str]:
            return await tool.abatch([f"image {number}" for number in range(500)])

        tool.invoke("warm")
        asyncio.run(tool.ainvoke("warm"))
        files = open_files()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        texts = asyncio.run(many())
        growth = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        # The sandbox lives here too, and closes its ends when it sees ours closed.
        assert eventually(lambda: open_files() <= files), f"{open_files()} after {files}"
        assert all(text.startswith("Image") for text in texts)
        assert len(set(texts)) == 500
        assert len(service.charges) == 502
        assert growth < 100 * 1024
