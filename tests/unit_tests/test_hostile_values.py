"""Every public call with hostile values: it ends in a result, an error of ours, or Python's own."""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from langchain_minitoolai import (
    ChatMiniToolAI,
    GeneratedImage,
    ImageJob,
    MiniToolAIError,
    MiniToolAIImageTool,
)

CYCLIC_LIST: list[Any] = []
CYCLIC_LIST.append(CYCLIC_LIST)
CYCLIC_DICT: dict[str, Any] = {}
CYCLIC_DICT["self"] = CYCLIC_DICT
DEEP: list[Any] = []
for _ in range(200):
    DEEP = [DEEP]


VALUES: dict[str, Any] = {
    "None": None,
    "true": True,
    "zero": 0,
    "minus one": -1,
    "2**63": 2**63,
    "10**400": 10**400,
    "10**5000": 10**5000,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "complex": 1j,
    "decimal": Decimal("NaN"),
    "empty text": "",
    "blank text": " \t\n",
    "NUL": "a\0b",
    "surrogate": "a\ud800b",
    "line ends": "a\r\nb: c",
    "long text": "x" * 20_000,
    "digits": "9" * 5000,
    "empty label": "https://a..b/x.png",
    "long label": f"https://{'a' * 64}.example/x.png",
    "half an address": "https://[::1",
    "odd port": "https://a:99999/x.png",
    "odd host": "https://\ud800.example/x.png",
    "odd scheme": "gopher://a/x.png",
    "data URL": "data:image/png;base64,%%%",
    "bytes": b"a\xff\0",
    "empty list": [],
    "list": ["a", None, {"b": float("nan")}],
    "empty dict": {},
    "dict": {"type": "text", "text": None},
    "odd keys": {1: 2, None: 3, "\ud800": "\ud800"},
    "cyclic list": CYCLIC_LIST,
    "cyclic dict": CYCLIC_DICT,
    "deep list": DEEP,
    "set": {1, 2},
    "object": object(),
    "class": int,
    "function": len,
    "error": ValueError("x"),
    "path": Path("a\0b"),
}

# --- A service that answers ---------------------------------------------------------------

IMAGE = "https://images.example/1.png"
CHUNK = {"choices": [{"index": 0, "delta": {"content": "Hello"}, "finish_reason": "stop"}]}
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000a49444154789c63000100"
    "00050001d0d2be9a0000000049454e44ae426082"
)


def _answer(request: httpx.Request, image_url: Any = IMAGE) -> httpx.Response:
    if request.url.path.endswith("/chat-completions/"):
        stream = f"data: {json.dumps(CHUNK)}\n\ndata: [DONE]\n\n"
        return httpx.Response(200, text=stream, headers={"content-type": "text/event-stream"})
    if request.url.path.endswith("/texttoimage/"):
        return httpx.Response(200, json={"status": "success", "jobid": 7, "signature": "s" * 20})
    if request.url.path.endswith("/jobs/"):
        return httpx.Response(200, json={"status": "success", "image_url": image_url})
    return httpx.Response(200, content=PNG, headers={"content-type": "image/png"})


def _clients(answer: Callable[[httpx.Request], httpx.Response] = _answer) -> dict[str, Any]:
    async def aanswer(request: httpx.Request) -> httpx.Response:
        return answer(request)

    return {
        "minitoolai_api_key": "sk-hostile-test",
        "http_client": lambda: httpx.Client(transport=httpx.MockTransport(answer)),
        "http_async_client": lambda: httpx.AsyncClient(transport=httpx.MockTransport(aanswer)),
        "max_retries": 0,
    }


CLIENTS = _clients()
CHAT = ChatMiniToolAI(**CLIENTS)


def _tool(**options: Any) -> MiniToolAIImageTool:
    quick = {"handle_tool_error": False, "poll_interval": 0.01, "total_timeout": 2.0}
    return MiniToolAIImageTool(**CLIENTS | quick | options)


TOOL = _tool()
JOB = ImageJob(id="7", signature="s" * 20, arguments={"prompt": "a fox"}, submitted_at=0.0)
DRAWN = GeneratedImage(
    id="7",
    url=IMAGE,
    width=1,
    height=1,
    prompt="a fox",
    model="flux",
    steps=4,
    cfg_scale=7.0,
    scheduler="euler",
)


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def _collect(stream: AsyncIterator[Any]) -> list[Any]:
    return [chunk async for chunk in stream]


# --- The calls ----------------------------------------------------------------------------

Call = Callable[[Any], Any]


def _keyword(function: Callable[..., Any], name: str, *arguments: Any) -> Call:
    return lambda value: function(*arguments, **{name: value})


def _astream(**options: Any) -> Any:
    return _collect(CHAT.astream("Hi", **options))


def _bind(**options: Any) -> Any:
    return CHAT.bind_tools([add], **options).invoke("Hi")


def _draw(**arguments: Any) -> Any:
    return TOOL.invoke({"prompt": "a fox"} | arguments)


def _order(**arguments: Any) -> Any:
    return TOOL.asubmit(**{"prompt": "a fox"} | arguments)


def _construct(kind: Any, options: dict[str, Any], **more: Any) -> Any:
    return kind(**options | more)


def _chat_calls() -> Iterator[tuple[str, Call]]:
    yield "invoke", CHAT.invoke
    yield "ainvoke", CHAT.ainvoke
    yield "stream", lambda value: list(CHAT.stream(value))
    yield "astream", lambda value: _collect(CHAT.astream(value))
    yield "batch", lambda value: CHAT.batch([value])
    yield "abatch", lambda value: CHAT.abatch([value])
    yield "invoke(content)", lambda value: CHAT.invoke([HumanMessage(value)])
    yield "invoke(block)", lambda value: CHAT.invoke([HumanMessage([value])])
    yield "invoke(text)", lambda value: CHAT.invoke([_blocks("text", value)])
    yield "invoke(image)", lambda value: CHAT.invoke([_blocks("image_url", {"url": value})])
    yield "invoke(detail)", lambda value: CHAT.invoke([_detail(value)])
    yield "invoke(history)", lambda value: CHAT.invoke(_history(value))
    for name in ("stop", "temperature", "max_tokens", "model", "tools", "tool_choice", "config"):
        yield f"invoke({name}=)", _keyword(CHAT.invoke, name, "Hi")
        yield f"astream({name}=)", _keyword(_astream, name)
    for name in ("response_format", "reasoning_effort", "strict", "timeout", "odd"):
        yield f"invoke({name}=)", _keyword(CHAT.invoke, name, "Hi")
    yield "bind_tools", lambda value: CHAT.bind_tools(value).invoke("Hi")
    yield "bind_tools([])", lambda value: CHAT.bind_tools([value]).invoke("Hi")
    for name in ("tool_choice", "strict", "parallel_tool_calls", "response_format"):
        yield (
            f"bind_tools({name}=)",
            _keyword(_bind, name),
        )
    yield "with_structured_output", lambda value: CHAT.with_structured_output(value).invoke("Hi")
    for name in ("method", "strict", "include_raw"):
        yield (
            f"with_structured_output({name}=)",
            _keyword(CHAT.with_structured_output, name, {"title": "A"}),
        )
    yield "get_num_tokens", CHAT.get_num_tokens
    yield "get_token_ids", CHAT.get_token_ids
    yield "get_num_tokens_from_messages", CHAT.get_num_tokens_from_messages
    yield (
        "get_num_tokens_from_messages(content)",
        lambda v: CHAT.get_num_tokens_from_messages([HumanMessage(v)]),
    )
    yield (
        "get_num_tokens_from_messages(tools=)",
        lambda v: CHAT.get_num_tokens_from_messages([HumanMessage("Hi")], v),
    )


def _blocks(kind: str, value: Any) -> HumanMessage:
    return HumanMessage([{"type": kind, kind: value}])


def _detail(value: Any) -> HumanMessage:
    return _blocks("image_url", {"url": "https://a.example/x.png", "detail": value})


def _history(value: Any) -> list[Any]:
    call = {"name": "add", "args": {"a": value}, "id": "1"}
    return [
        HumanMessage("Hi"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("3", tool_call_id="1"),
    ]


def _tool_calls() -> Iterator[tuple[str, Call]]:
    yield "invoke", TOOL.invoke
    yield "ainvoke", TOOL.ainvoke
    yield "invoke(id)", lambda value: TOOL.invoke(_tool_call({"prompt": "a fox"}, value))
    yield "invoke(args)", lambda value: TOOL.invoke(_tool_call(value, "call_1"))
    for name in ("prompt", "negative_prompt", "model", "width", "steps", "cfg_scale", "scheduler"):
        yield f"invoke({name})", _keyword(_draw, name)
        yield f"asubmit({name}=)", _keyword(_order, name)
    yield "submit", TOOL.submit
    yield "asubmit", TOOL.asubmit
    yield "submit(odd=)", lambda value: TOOL.submit("a fox", odd=value)
    yield "wait_for", TOOL.wait_for
    yield "await_for", TOOL.await_for
    yield "wait_for(changed)", lambda value: TOOL.wait_for(_changed_job(value))
    yield "resume", TOOL.resume
    yield "aresume", TOOL.aresume
    yield "download", TOOL.download
    yield "adownload", TOOL.adownload
    yield "download(url)", lambda v: TOOL.download(DRAWN.model_copy(update={"url": v}))
    yield "adownload(url)", lambda v: TOOL.adownload(DRAWN.model_copy(update={"url": v}))
    yield "spending", TOOL.spending
    yield "aspending", TOOL.aspending


def _tool_call(args: Any, call_id: Any) -> Any:
    return {"name": TOOL.name, "args": args, "id": call_id, "type": "tool_call"}


def _changed_job(value: Any) -> ImageJob:
    return JOB.model_copy(update={"id": value, "signature": value, "arguments": {"prompt": value}})


def _image_calls() -> Iterator[tuple[str, Call]]:
    yield "ImageJob", lambda value: ImageJob(**dict.fromkeys(ImageJob.model_fields, value))
    yield (
        "GeneratedImage",
        lambda v: GeneratedImage(**dict.fromkeys(GeneratedImage.model_fields, v)),
    )
    yield "from_job", lambda value: GeneratedImage.from_job(_changed_job(value))
    yield "save", lambda value: _kept().save(value)
    yield "read", lambda value: DRAWN.model_copy(update={"path": value}).read()
    yield "keep", _shown


def _kept() -> GeneratedImage:
    image = DRAWN.model_copy()
    image.keep(PNG)
    return image


def _shown(data: Any) -> Any:
    image = DRAWN.model_copy()
    image.keep(data)
    return image._repr_mimebundle_()


def _constructors() -> Iterator[tuple[str, Call]]:
    for kind in (ChatMiniToolAI, MiniToolAIImageTool):
        for name, field in kind.model_fields.items():
            yield f"{kind.__name__}({name}=)", _keyword(partial(_construct, kind, CLIENTS), name)
            if field.alias:
                yield (
                    f"{kind.__name__}({field.alias}=)",
                    _keyword(partial(_construct, kind, {"api_key": "x"}), field.alias),
                )


def _sorts() -> dict[str, dict[str, Call]]:
    return {
        "chat": dict(_chat_calls()),
        "tool": dict(_tool_calls()),
        "image": dict(_image_calls()),
        "constructor": dict(_constructors()),
    }


PROMPTS = ("invoke", "ainvoke", "stream", "astream", "batch", "abatch")


def _expected(sort: str, name: str) -> tuple[type[Exception], ...]:
    """Return what a call may end with besides errors of ours.

    Constructors raise pydantic's `ValidationError`; core refuses what is no prompt, no config and
    no call of a tool before any code of ours runs, each in its own way; an option that is no text,
    list or number where one must be is a `TypeError` or a `ValueError` of Python's own.
    """
    more: tuple[type[Exception], ...] = ()
    if sort == "chat" and name in PROMPTS:
        more = (NotImplementedError,)  # core: "Unsupported message type"
    elif "config=" in name or name == "invoke(args)":
        more = (AttributeError,)  # core takes both for dicts
    elif name in ("save", "read"):
        more = (OSError, UnicodeEncodeError)  # documented: files are Python's
    return (MiniToolAIError, TypeError, ValueError, *more)


async def _awaited(made: Any) -> Any:
    return await made


def _end(call: Call, value: Any) -> BaseException | None:
    """Return what a call ends with, if with an exception."""
    try:
        made = call(value)
        if inspect.isawaitable(made):
            asyncio.run(_awaited(made))
    except BaseException as error:  # noqa: BLE001 - what it is, is the question
        return error
    return None


@pytest.mark.filterwarnings("ignore")  # of values that a model may not like
@pytest.mark.parametrize(
    ("sort", "name", "call"),
    [
        pytest.param(sort, name, call, id=f"{sort}: {name}")
        for sort, calls in _sorts().items()
        for name, call in calls.items()
    ],
)
def test_a_public_call_ends_in_a_result_or_an_expected_error(
    sort: str, name: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = _expected(sort, name)
    escaped = {}
    for kind, value in VALUES.items():
        raised = _end(call, value)
        is_bare = isinstance(raised, UnicodeError) and UnicodeEncodeError not in expected
        if raised and (is_bare or not isinstance(raised, expected)):
            escaped[kind] = f"{type(raised).__name__}: {str(raised)[:150]}"
    assert escaped == {}


@pytest.mark.parametrize(
    "kind", ["empty label", "long label", "half an address", "odd port", "odd host", "odd scheme"]
)
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_paid_image_with_a_hostile_address_ends_with_what_is_wrong(
    mode: str, kind: str, tmp_path: Path
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return _answer(request, VALUES[kind].encode("utf-8", "replace").decode())

    options = {"handle_tool_error": True, "poll_interval": 0.01, "total_timeout": 0.2}
    drawing = MiniToolAIImageTool(**_clients(answer) | options, save_to=tmp_path)
    asked = _tool_call({"prompt": "a fox"}, "call_1")
    message = drawing.invoke(asked) if mode == "sync" else asyncio.run(drawing.ainvoke(asked))
    assert message.status == "error" or message.artifact["warning"]
    assert not list(tmp_path.iterdir())
