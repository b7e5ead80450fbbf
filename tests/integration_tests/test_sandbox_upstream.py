"""The sandbox in front of another server: a sandbox behind one of its own, or a scripted one."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import httpx
import pytest

from langchain_minitoolai import sandbox

Answer = Callable[[BaseHTTPRequestHandler], None]


class Upstream:
    """An OpenAI-compatible server that writes what its handler does, and keeps the requests."""

    def __init__(self, models: bytes, answer: Answer) -> None:
        asked: list[Any] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                respond(self, models)

            def do_POST(self) -> None:
                asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.asked = asked
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = Thread(target=self.server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            self.server.shutdown()
            self.server.server_close()
            thread.join()


def respond(handler: BaseHTTPRequestHandler, body: bytes, status: int = 200) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def events(*datas: Any) -> Answer:
    lines = [f"data: {json.dumps(data)}\n\n" for data in datas]
    return lambda handler: respond(handler, "".join([*lines, "data: [DONE]\n\n"]).encode())


def token(text: str | None, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    delta = {"role": "assistant", "content": text, **delta}
    return {"id": "up", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


USAGE = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}}
MODELS = b'{"data": [{"id": "llama"}, {"id": "gpt-4o"}]}'


@contextmanager
def fronted(
    answer: Answer, models: bytes = MODELS, **options: Any
) -> Iterator[tuple[Upstream, sandbox.Service]]:
    upstream = Upstream(models, answer)
    with upstream.running(), sandbox.running(upstream=upstream.url, **options) as service:
        yield upstream, service


def chat(service: sandbox.Service, timeout: float = 10, **fields: Any) -> httpx.Response:
    messages = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    return httpx.post(
        f"{service.base_url}/chat-completions/",
        headers={"Authorization": f"Bearer {service.api_key}"},
        json={"model": "gpt-4o-mini", "messages": messages, **fields},
        timeout=timeout,
        trust_env=False,
    )


def events_of(response: httpx.Response) -> list[dict[str, Any]]:
    found = response.text.split("\n\n")
    return [json.loads(e.removeprefix("data: ")) for e in found if e.startswith("data: {")]


def test_a_chat_is_forwarded_and_comes_back_in_the_documented_shape() -> None:
    answer = events(token(""), token("Hei"), token("!"), token(None, "length"), USAGE)
    with fronted(answer) as (upstream, service):
        response = chat(service, max_completion_tokens=2)
        charge = service.charges[0]
    first, second, finish, usage = events_of(response)
    assert upstream.asked[0]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (upstream.asked[0]["model"], upstream.asked[0]["max_tokens"]) == ("llama", 2)
    assert [c["choices"][0]["delta"] for c in (first, second)] == [
        {"content": "Hei"},
        {"content": "!"},
    ]
    assert set(first) == set(finish) == set(usage)
    assert first["model"] == "gpt-4o-mini-2024-07-18"
    assert finish["choices"][0]["finish_reason"] == "length"
    assert usage["usage"]["total_tokens"] == 9
    assert charge.facts["completion_tokens"] == 2
    assert response.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("models", "options", "asked", "expected"),
    [
        (MODELS, {}, "gpt-4o", "gpt-4o"),
        (MODELS, {"upstream_model": "mine"}, "gpt-4o", "mine"),
        (b'{"data": []}', {}, "gpt-4o", "gpt-4o"),
        (b"none", {}, "gpt-4o", "gpt-4o"),
        (b"[]", {}, "gpt-4o", "gpt-4o"),
    ],
)
def test_the_upstream_s_model_is_found_out(
    models: bytes, options: dict[str, Any], asked: str, expected: str
) -> None:
    with fronted(events(token("x")), models, **options) as (upstream, service):
        chat(service, model=asked)
        assert upstream.asked[0]["model"] == expected


def test_tokens_are_counted_where_the_upstream_reports_no_usage() -> None:
    with fronted(events(token("a"), token("b"), {"choices": [{}]})) as (_, service):
        usage = events_of(chat(service))[-1]["usage"]
        assert usage["completion_tokens"] == 2
        assert service.charges[0].facts["completion_tokens"] == 2


def test_native_calls_pass_through() -> None:
    call = {"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": ""}}
    tools = [{"type": "function", "function": {"name": "f"}}]
    answer = events(token(None, tool_calls=[call]), token(None, "tool_calls"))
    with fronted(answer, native_tools=True) as (upstream, service):
        first, *_ = events_of(chat(service, tools=tools))
    assert upstream.asked[0]["tools"] == tools
    assert first["choices"][0]["delta"] == {"tool_calls": [call]}


def test_a_scripted_answer_comes_before_the_upstream_s() -> None:
    with fronted(events(token("up"))) as (upstream, service):
        service.reply("scripted")
        assert "scripted" in chat(service).text
        assert upstream.asked == []


def test_faults_strike_in_front_of_the_upstream_too() -> None:
    with fronted(events(token("a"), token("b"))) as (_, service):
        service.fault(sandbox.faults.cut(1, ending="clean"))
        assert len(events_of(chat(service))) == 1


@pytest.mark.parametrize("status", [400, 500])
def test_an_upstream_that_refuses_is_a_502(status: int) -> None:
    with fronted(lambda handler: respond(handler, b"no such model", status)) as (_, service):
        response = chat(service)
        assert response.status_code == 502
        assert "no such model" in response.json()["error"]["message"]
        assert service.charges == []


def test_an_upstream_that_is_not_there_is_a_502() -> None:
    with sandbox.running(upstream="http://127.0.0.1:9") as service:
        assert chat(service).status_code == 502


def test_an_upstream_that_breaks_ends_the_stream_with_an_error() -> None:
    def broken(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(f"data: {json.dumps(token('a'))}\n\n".encode())

    with fronted(broken) as (_, service):
        first, last = events_of(chat(service))
        assert first["choices"][0]["delta"] == {"content": "a"}
        assert last["error"]["code"] == "bad_gateway"
        assert len(service.charges) == 1


def test_an_upstream_s_own_error_ends_the_stream() -> None:
    with fronted(events(token("a"), {"error": {"message": "oops"}})) as (_, service):
        assert events_of(chat(service))[-1] == {"error": {"message": "oops"}}


def test_an_upstream_that_hangs_holds_up_neither_the_client_nor_the_end() -> None:
    freed = Event()

    def hangs(_: BaseHTTPRequestHandler) -> None:
        freed.wait(10)

    upstream = Upstream(MODELS, hangs)
    with upstream.running(), ThreadPoolExecutor() as pool:
        with sandbox.running(upstream=upstream.url) as service:
            with pytest.raises(httpx.ReadTimeout):
                chat(service, timeout=1.0)
            waiting = pool.submit(chat, service)
            while len(upstream.asked) < 2 and not waiting.done():
                time.sleep(0.005)
            started = time.monotonic()
        assert time.monotonic() - started < 0.3
        assert isinstance(waiting.exception(), httpx.HTTPError)
        freed.set()
