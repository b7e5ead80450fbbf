"""Upstream client: forwards a chat to an OpenAI-compatible server, and its answer back."""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, Final

import httpx

from langchain_minitoolai.contract import DEFAULT_MAX_COMPLETION_TOKENS
from langchain_minitoolai.sandbox._chat import DONE, Frame, event, prompt_tokens, usage_of
from langchain_minitoolai.sandbox._service import Service
from langchain_minitoolai.sandbox._validation import APIError

_TIMEOUT: Final = httpx.Timeout(600.0, connect=5.0)


def address(url: str, path: str) -> str:
    """Join a server's address, with or without `/v1`, and a path below `/v1`."""
    return f"{url.rstrip('/').removesuffix('/v1')}/v1/{path}"


def translated(body: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Translate a request: `developer` to `system`, the token limit's name, a stream with usage."""
    messages = [
        {**message, "role": "system"} if message["role"] == "developer" else dict(message)
        for message in body["messages"]
    ]
    other = ("model", "messages", "max_completion_tokens")
    return {
        **{name: val for name, val in body.items() if name not in other and val is not None},
        "model": model,
        "messages": messages,
        "max_tokens": body.get("max_completion_tokens") or DEFAULT_MAX_COMPLETION_TOKENS,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def forwarded(
    service: Service, url: str, body: Mapping[str, Any], frame: Frame
) -> AsyncGenerator[bytes]:
    """Let a server answer, in the documented shape; what came is charged at the end.

    The first event is empty: it says that the server has accepted the request.

    Raises:
        APIError: A 502 before the first event, when the server can't be reached or refuses.
    """
    finish_reason, error, usage = "stop", None, usage_of(prompt_tokens(body), 0)
    async with aclosing(_chunks(url, body, service.settings.upstream_model)) as chunks:
        await anext(chunks)
        yield b""
        try:
            async for chunk in chunks:
                count = usage["completion_tokens"]
                for choice in chunk.get("choices") or ():
                    finish_reason = choice.get("finish_reason") or finish_reason
                    full = choice.get("delta") or {}
                    delta = {key: full[key] for key in ("content", "tool_calls") if full.get(key)}
                    if delta:
                        count += 1
                        yield frame.delta(delta)
                error = chunk.get("error") or error
                counts = chunk.get("usage") or {**usage, "completion_tokens": count}
                usage = usage_of(counts["prompt_tokens"], counts["completion_tokens"])
        except APIError as failure:
            error = failure.error
        finally:
            service.charge_chat(body["model"], usage)
    if error:
        yield event({"error": error})
        return
    yield frame.delta({}, finish_reason)
    yield frame.chunk([], usage)
    yield DONE


async def _chunks(
    url: str, body: Mapping[str, Any], model: str | None
) -> AsyncGenerator[dict[str, Any]]:
    """Ask the server, and give its chunks as they come, an empty one before the first."""
    try:
        async with httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False) as client:
            request = translated(body, model or await _model(client, url, body["model"]))
            target = address(url, "chat/completions")
            async with client.stream("POST", target, json=request) as response:
                if response.status_code != httpx.codes.OK:
                    detail = (await response.aread()).decode(errors="replace")[:300]
                    raise _bad(f"the upstream server answers {response.status_code}: {detail}")
                yield {}
                async for chunk in _read(response):
                    yield chunk
    except (httpx.HTTPError, ValueError) as error:
        words = str(error) or type(error).__name__
        raise _bad(f"the upstream server at {url} fails: {words}") from None


async def _model(client: httpx.AsyncClient, url: str, asked: str) -> str:
    """Choose the server's model: the one asked for if it has it, else its first."""
    response = await client.get(address(url, "models"))
    try:
        names = [str(model["id"]) for model in response.json()["data"]]
    except (ValueError, KeyError, TypeError):
        return asked
    return asked if asked in names or not names else names[0]


async def _read(response: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    rest = b""
    async for data in response.aiter_bytes():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            text = line.strip().removeprefix(b"data:").strip()
            if text.startswith(b"{"):
                yield json.loads(text)


def _bad(message: str) -> APIError:
    return APIError(message, status=502, kind="upstream_error", code="bad_gateway")
