"""LangChain's standard suite for chat models over a real socket, in both ways to call tools."""

import struct
import zlib
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias

import httpx
import pytest
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import add_ai_message_chunks
from langchain_tests.integration_tests import ChatModelIntegrationTests

from langchain_minitoolai import ChatMiniToolAI, contract, sandbox
from tests.integration_tests.conftest import Endpoint

Way: TypeAlias = Literal["invoke", "stream"]
Detail: TypeAlias = Literal[
    "audio_input",
    "audio_output",
    "reasoning_output",
    "cache_read_input",
    "cache_creation_input",
]


def png(width: int = 64, height: int = 64) -> bytes:
    """Make an image: a red square."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = (b"\0" + b"\xff\0\0" * width) * height
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    )


@pytest.fixture
def local_images(monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve the suite an image of our own where it downloads one from the web."""

    def get(url: str, **kwargs: Any) -> httpx.Response:
        assert url.endswith(".png")
        return httpx.Response(200, content=png())

    monkeypatch.setattr(httpx, "get", get)


@pytest.fixture(scope="module")
def vcr_config() -> dict[str, Any]:
    """Recordings of the sandbox, at the service's own address and without the key."""

    def at_the_service(request: Any) -> Any:
        request.uri = contract.API_BASE + contract.CHAT_PATH
        return request

    return {
        "filter_headers": [("authorization", "PLACEHOLDER")],
        "before_record_request": at_the_service,
        "match_on": ["method", "uri", "body"],
        "allow_playback_repeats": True,
    }


@pytest.mark.usefixtures("endpoint", "local_images")
class Suite(ChatModelIntegrationTests):
    """Capabilities that the contract documents: no audio, PDF or video."""

    @property
    def chat_model_class(self) -> type[ChatMiniToolAI]:
        return ChatMiniToolAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "gpt-4o-mini"}

    @property
    def enable_vcr_tests(self) -> bool:
        return True

    @pytest.fixture
    def model(self, request: pytest.FixtureRequest) -> ChatMiniToolAI:
        """Make a model; VCR patches httpx's own transports alone, so that a sync call needs one."""
        recorded = {"http_client": httpx.Client} if "vcr" in request.fixturenames else {}
        fields = {**self.standard_chat_model_params, **self.chat_model_params, **recorded}
        return self.chat_model_class(**fields, **getattr(request, "param", {}))

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def supports_image_urls(self) -> bool:
        return True

    @property
    def supports_image_tool_message(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "gpt-4.1"

    @property
    def supported_usage_metadata_details(self) -> dict[Way, list[Detail]]:
        details: list[Detail] = ["reasoning_output", "cache_read_input"]
        return {"invoke": details, "stream": details}

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        return self.ask(stream=stream)

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        return self.ask(stream=stream)

    def ask(self, *, stream: bool) -> AIMessage:
        model = self.chat_model_class(**self.chat_model_params)
        if not stream:
            return model.invoke("Hello")
        return add_ai_message_chunks(*model.stream("Hello"))


class TestPrompted(Suite):
    """Tools in the prompt: the service sees documented fields and roles alone."""


class TestNative(Suite):
    """Tools in OpenAI's fields, against a sandbox that takes them."""

    @pytest.fixture
    def endpoint(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
        with sandbox.running(native_tools=True) as running:
            monkeypatch.setenv(contract.API_BASE_VARIABLE, running.base_url)
            monkeypatch.setenv(contract.API_KEY_VARIABLE, running.api_key)
            yield Endpoint(running.base_url, running.api_key)

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {**super().chat_model_params, "tool_calling": "native"}
