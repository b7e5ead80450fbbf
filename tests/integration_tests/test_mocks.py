"""respx, pytest-httpx and VCR stand in for the service: a stream, a failing call and an image."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
import vcr
from pytest_httpx import HTTPXMock

from langchain_minitoolai import ChatMiniToolAI, MiniToolAIImageTool, contract, sandbox
from langchain_minitoolai.errors import AuthenticationError
from langchain_minitoolai.types import GeneratedImage
from tests.faults.wire import TEXT, answer
from tests.integration_tests.test_standard_chat import png

KEY = "a-key-that-no-record-may-hold"
CHAT, SUBMIT, POLL = (
    contract.API_BASE + path
    for path in (contract.CHAT_PATH, contract.IMAGE_PATH, contract.IMAGE_JOB_PATH)
)
IMAGE = "https://93.184.215.14/files/fox.png"  # an address in numbers needs no name server
EVENTS = b"".join(answer())
STREAM: dict[str, Any] = {"headers": {"content-type": "text/event-stream"}, "content": EVENTS}
JOB = {"status": "success", "jobid": 7, "signature": "s1"}
REFUSED = {"error": {"message": "Incorrect API key", "code": "invalid_api_key"}}


def chat(**options: Any) -> ChatMiniToolAI:
    return ChatMiniToolAI(api_key=KEY, **options)


def drawing(directory: Path, **options: Any) -> MiniToolAIImageTool:
    return MiniToolAIImageTool(
        api_key=KEY, save_to=directory, poll_interval=0.01, handle_tool_error=False, **options
    )


def call(prompt: str = "a red fox") -> dict[str, Any]:
    return {"name": "generate_image", "args": {"prompt": prompt}, "id": "c1", "type": "tool_call"}


def check_image(message: Any) -> None:
    image = GeneratedImage.model_validate(message.artifact)
    assert (image.url, image.width, image.height) == (IMAGE, 64, 64)
    assert image.read() == png()


# --- respx: patches httpcore, and so needs no client of yours -----------------------


def mock_image(mock: respx.MockRouter) -> None:
    mock.post(SUBMIT).respond(json=JOB)
    polls = [{"status": "pending"}, {"status": "completed", "image_url": IMAGE}]
    mock.post(POLL).mock(side_effect=[httpx.Response(200, json=poll) for poll in polls])
    mock.get(IMAGE).respond(content=png(), content_type="image/png")


@respx.mock
def test_respx_mocks_a_stream_and_a_call_that_is_repeated() -> None:
    route = respx.post(CHAT)
    route.side_effect = [
        httpx.Response(429, headers={"Retry-After": "0"}),
        httpx.Response(200, **STREAM),
        httpx.Response(200, **STREAM),
    ]
    assert chat().invoke("Hello").text == TEXT
    assert "".join(chunk.text for chunk in chat().stream("Hello")) == TEXT
    assert route.call_count == 3
    assert json.loads(route.calls.last.request.content)["messages"][-1]["content"] == "Hello"


@respx.mock
async def test_respx_mocks_an_async_stream_and_a_call_that_is_repeated() -> None:
    route = respx.post(CHAT)
    route.side_effect = [
        httpx.Response(429, headers={"Retry-After": "0"}),
        httpx.Response(200, **STREAM),
        httpx.Response(200, **STREAM),
    ]
    assert (await chat().ainvoke("Hello")).text == TEXT
    assert "".join([chunk.text async for chunk in chat().astream("Hello")]) == TEXT
    assert route.call_count == 3


@respx.mock
async def test_respx_mocks_a_call_that_fails() -> None:
    respx.post(CHAT).respond(401, json=REFUSED)
    with pytest.raises(AuthenticationError, match="Incorrect API key"):
        chat().invoke("Hello")
    with pytest.raises(AuthenticationError, match="Incorrect API key"):
        await chat().ainvoke("Hello")


@respx.mock
def test_respx_mocks_an_image(tmp_path: Path) -> None:
    mock_image(respx.mock)
    check_image(drawing(tmp_path).invoke(call()))


@respx.mock
async def test_respx_mocks_an_image_async(tmp_path: Path) -> None:
    mock_image(respx.mock)
    check_image(await drawing(tmp_path).ainvoke(call()))


# --- pytest-httpx: patches httpx's own transports, so a sync call needs such a client


def sync(**options: Any) -> dict[str, Any]:
    return {"http_client": httpx.Client, **options}


def add_image(httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(method="POST", url=SUBMIT, json=JOB)
    httpx_mock.add_response(method="POST", url=POLL, json={"status": "pending"})
    httpx_mock.add_response(url=POLL, json={"status": "completed", "image_url": IMAGE})
    httpx_mock.add_response(method="GET", url=IMAGE, content=png())


def test_pytest_httpx_mocks_a_stream_and_a_call_that_is_repeated(httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(url=CHAT, status_code=429, headers={"Retry-After": "0"})
    httpx_mock.add_response(url=CHAT, **STREAM)
    httpx_mock.add_response(url=CHAT, **STREAM)
    assert chat(**sync()).invoke("Hello").text == TEXT
    assert "".join(chunk.text for chunk in chat(**sync()).stream("Hello")) == TEXT
    assert httpx_mock.get_requests()[0].headers["authorization"] == f"Bearer {KEY}"


async def test_pytest_httpx_mocks_an_async_stream_over_our_own_client(
    httpx_mock: HTTPXMock,
) -> None:
    httpx_mock.add_response(url=CHAT, status_code=429, headers={"Retry-After": "0"})
    httpx_mock.add_response(url=CHAT, **STREAM)
    httpx_mock.add_response(url=CHAT, **STREAM)
    assert (await chat().ainvoke("Hello")).text == TEXT
    assert "".join([chunk.text async for chunk in chat().astream("Hello")]) == TEXT


async def test_pytest_httpx_mocks_a_call_that_fails(httpx_mock: HTTPXMock) -> None:
    httpx_mock.add_response(url=CHAT, status_code=401, json=REFUSED, is_reusable=True)
    with pytest.raises(AuthenticationError, match="Incorrect API key"):
        chat(**sync()).invoke("Hello")
    with pytest.raises(AuthenticationError, match="Incorrect API key"):
        await chat().ainvoke("Hello")


def test_pytest_httpx_mocks_an_image(httpx_mock: HTTPXMock, tmp_path: Path) -> None:
    add_image(httpx_mock)
    check_image(drawing(tmp_path, **sync()).invoke(call()))


async def test_pytest_httpx_mocks_an_image_async(httpx_mock: HTTPXMock, tmp_path: Path) -> None:
    add_image(httpx_mock)
    check_image(await drawing(tmp_path).ainvoke(call()))


# --- VCR: patches httpx's own transports too; cassettes are recorded and played here --


def record_and_play(cassette: Path, run: Callable[[str, str], Any]) -> tuple[Any, Any]:
    """Run once against a sandbox that is recorded, and once without any service."""
    recorder = vcr.VCR(filter_headers=["authorization"], record_mode=vcr.mode.ONCE)
    with (
        sandbox.running(job_seconds=0.0, api_key=KEY) as service,
        recorder.use_cassette(str(cassette)),
    ):
        base_url = service.base_url
        service.fault(sandbox.faults.status(429, headers={"Retry-After": "0"}), on="chat")
        recorded = run(base_url, "recorded")
    with recorder.use_cassette(str(cassette)) as played:
        result = run(base_url, "played")
        assert played.all_played
    assert KEY not in cassette.read_text(encoding="utf-8")
    return recorded, result


def test_vcr_plays_a_stream_and_a_call_that_is_repeated(tmp_path: Path) -> None:
    def run(base_url: str, _: str) -> list[str]:
        model = chat(**sync(base_url=base_url))
        streamed = "".join(chunk.text for chunk in model.stream("What is 3 + 3?"))
        return [str(model.invoke("What is 2 + 2?").text), streamed]

    recorded, played = record_and_play(tmp_path / "chat.yaml", run)
    assert recorded == played == ["2 + 2 = 4.", "3 + 3 = 6."]


async def test_vcr_plays_an_async_stream(tmp_path: Path) -> None:
    async def run(model: ChatMiniToolAI) -> str:
        return "".join([chunk.text async for chunk in model.astream("What is 3 + 3?")])

    recorder = vcr.VCR(filter_headers=["authorization"])
    cassette = tmp_path / "stream.yaml"
    with sandbox.running(api_key=KEY) as service, recorder.use_cassette(str(cassette)):
        assert await run(chat(base_url=service.base_url)) == "3 + 3 = 6."
    with recorder.use_cassette(str(cassette)) as played:
        assert await run(chat(base_url=service.base_url)) == "3 + 3 = 6."
        assert played.all_played


def test_vcr_plays_a_call_that_fails(tmp_path: Path) -> None:
    def run(base_url: str, _: str) -> str:
        with pytest.raises(AuthenticationError) as failed:
            ChatMiniToolAI(api_key="wrong", **sync(base_url=base_url)).invoke("Hello")
        return str(failed.value)

    recorded, played = record_and_play(tmp_path / "failing.yaml", run)
    assert recorded == played
    assert "Incorrect or missing API key" in recorded


def test_vcr_plays_an_image(tmp_path: Path) -> None:
    def run(base_url: str, folder: str) -> bytes:
        options = sync(base_url=base_url, width=256, height=256)
        message = drawing(tmp_path / folder, **options).invoke(call())
        return GeneratedImage.model_validate(message.artifact).read()

    recorder = vcr.VCR(filter_headers=["authorization"])
    cassette = str(tmp_path / "image.yaml")
    with (
        sandbox.running(job_seconds=0.0, api_key=KEY) as service,
        recorder.use_cassette(cassette),
    ):
        recorded = run(service.base_url, "recorded")
    with recorder.use_cassette(cassette) as played:
        assert run(service.base_url, "played") == recorded
        assert played.all_played
    assert recorded.startswith(b"\x89PNG")
