"""The sandbox over a socket, asked by plain httpx."""

import asyncio
import gc
import io
import json
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import uvicorn
from PIL import Image

from langchain_minitoolai import ChatMiniToolAI, sandbox
from langchain_minitoolai.contract import IMAGE_PRICE
from langchain_minitoolai.errors import BadRequestError
from langchain_minitoolai.sandbox import ToolCall, faults

IMAGE = {"model": "realvision", "prompt": "a red fox", "width": 256, "height": 300}
DRAW = ToolCall("draw", {"prompt": "a fox"})


class Asker:
    """A client of one sandbox."""

    def __init__(self, service: sandbox.Service, **options: Any) -> None:
        headers = {"Authorization": f"Bearer {service.api_key}"}
        self.http = httpx.Client(
            base_url=service.base_url, headers=headers, trust_env=False, **options
        )

    def chat(self, question: Any = "Hello", **fields: Any) -> httpx.Response:
        message = {"role": "user", "content": question}
        body = {"model": "gpt-4o-mini", "messages": [message], **fields}
        return self.http.post("/chat-completions/", json=body)

    def submit(self, **fields: Any) -> httpx.Response:
        return self.http.post("/texttoimage/", json={**IMAGE, **fields})

    def poll(self, job: Any) -> httpx.Response:
        body = {"jobid": str(job["jobid"]), "signature": job["signature"]}
        return httpx.post(f"{self.http.base_url}texttoimage/jobs/", json=body, trust_env=False)


def chunks(response: httpx.Response) -> list[dict[str, Any]]:
    events = response.text.split("\n\n")
    return [json.loads(e.removeprefix("data: ")) for e in events if e.startswith("data: {")]


def text_of(response: httpx.Response) -> str:
    deltas = [c["choices"][0]["delta"] for c in chunks(response) if c.get("choices")]
    return "".join(delta.get("content", "") for delta in deltas)


@pytest.fixture
def service() -> Iterator[sandbox.Service]:
    with sandbox.running(job_seconds=0) as service:
        yield service


@pytest.fixture
def ask(service: sandbox.Service) -> Iterator[Asker]:
    asker = Asker(service)
    with asker.http:
        yield asker


# --- Chat -------------------------------------------------------------------------


def test_a_chat_is_streamed_in_the_documented_shape(ask: Asker, service: sandbox.Service) -> None:
    response = ask.chat("What is 2 + 2?")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["x-request-id"]
    assert response.text.endswith("\n\ndata: [DONE]\n\n")
    assert text_of(response) == "2 + 2 = 4."
    *_, finish, usage = chunks(response)
    assert finish["choices"][0]["finish_reason"] == "stop"
    assert {chunk["model"] for chunk in chunks(response)} == {"gpt-4o-mini-2024-07-18"}
    assert service.charges[0].facts == usage["usage"]


def test_a_chat_is_charged_from_the_usage_it_reports(ask: Asker, service: sandbox.Service) -> None:
    usage = chunks(ask.chat(model="gpt-4o"))[-1]["usage"]
    usd = (usage["prompt_tokens"] * 2.5 + usage["completion_tokens"] * 10) / 1e6
    assert [charge.usd for charge in service.charges] == [pytest.approx(usd)]
    assert service.balance == pytest.approx(10 - usd)


def test_the_limit_of_tokens_cuts_the_answer(ask: Asker) -> None:
    response = ask.chat(max_completion_tokens=3)
    *_, finish, usage = chunks(response)
    assert finish["choices"][0]["finish_reason"] == "length"
    assert usage["usage"]["completion_tokens"] == 3


def test_it_serves_other_models_and_fields_when_it_is_asked_to() -> None:
    options: dict[str, Any] = {"models": {"llama": (1.0, 2.0)}, "fields": ["top_k"]}
    with sandbox.running(**options) as service, Asker(service).http as http:
        body = {"model": "llama", "messages": [{"role": "user", "content": "x " * 200_000}]}
        answer = http.post("/chat-completions/", json={**body, "top_k": 3, "temperature": 2})
        assert {chunk["model"] for chunk in chunks(answer)} == {"llama"}
        facts = service.charges[0].facts
        usd = (facts["prompt_tokens"] + 2 * facts["completion_tokens"]) / 1e6
        assert service.charges[0].usd == pytest.approx(usd)
        assert http.post("/chat-completions/", json={**body, "top_p": 3}).status_code == 400
        assert http.post("/chat-completions/", json={**body, "model": "gpt-5"}).status_code == 400


@pytest.mark.parametrize(
    ("fields", "thought", "text"),
    [
        ({}, 256, "Yes."),
        ({"reasoning_effort": "low"}, 64, "Yes."),
        ({"reasoning_effort": "none"}, 0, "Yes."),
        ({"reasoning_effort": "some day"}, 256, "Yes."),
        ({"max_completion_tokens": 257}, 256, "Yes"),
        ({"max_completion_tokens": 20}, 20, ""),
        ({"reasoning_effort": "high"}, 1000, ""),
    ],
)
def test_a_reasoning_model_thinks_before_it_answers(
    fields: dict[str, Any], thought: int, text: str
) -> None:
    models = ["gpt-5.4-nano"]
    with sandbox.running(models=models, fields=["reasoning_effort"]) as service:
        asker = Asker(service)
        service.reply("Yes.")
        with asker.http:
            response = asker.chat(model=models[0], **fields)
            assert asker.chat(model=models[0], temperature=0).status_code == 400
        assert text_of(response) == text
        *_, finish, end = chunks(response)
        usage = end["usage"]
        assert finish["choices"][0]["finish_reason"] == ("stop" if text == "Yes." else "length")
        assert usage["completion_tokens_details"]["reasoning_tokens"] == thought
        assert usage["completion_tokens"] == thought + {"": 0, "Yes": 1, "Yes.": 2}[text]
        assert service.charges[0].usd == 0


@pytest.mark.parametrize("option", ["models", "fields"])
def test_a_lone_text_is_no_list_of_names(option: str) -> None:
    options: dict[str, Any] = {option: "gpt-5"}
    with pytest.raises(TypeError, match="allowed: lists of names"), sandbox.running(**options):
        raise AssertionError


def test_a_request_is_kept_without_its_key(ask: Asker, service: sandbox.Service) -> None:
    ask.chat("Hei", temperature=0.5)
    ask.http.post("/chat-completions/", content=b"{", headers={"Authorization": "Bearer x"})
    first, second = service.requests
    assert (first.method, first.path) == ("POST", "/api/chat-completions/")
    assert first.body["messages"] == [{"role": "user", "content": "Hei"}]
    assert first.authorized
    assert (second.body, second.authorized) == (None, False)
    assert service.api_key not in str(service.requests)


def test_scripted_answers_come_in_order_then_the_default_ones(
    ask: Asker, service: sandbox.Service
) -> None:
    service.reply("One.")
    service.reply("Now.", DRAW)
    service.reply(lambda body: body["messages"][-1]["content"].upper())
    assert text_of(ask.chat()) == "One."
    assert text_of(ask.chat()) == (
        'Now.\n<tool_call>\n{"name": "draw", "arguments": {"prompt": "a fox"}}\n</tool_call>'
    )
    assert text_of(ask.chat("loud")) == "LOUD"
    assert "Hello" in text_of(ask.chat())


def test_a_script_that_raises_is_reported_in_one_line(ask: Asker, service: sandbox.Service) -> None:
    service.reply(lambda body: body["nothing"])
    response = ask.chat()
    assert response.status_code == 400
    assert "KeyError" in response.json()["error"]["message"]


def test_a_mistake_in_a_script_fails_the_test_that_made_it(service: sandbox.Service) -> None:
    service.reply(lambda body: body["nothing"])
    model = ChatMiniToolAI(base_url=service.base_url, api_key=service.api_key)
    with pytest.raises(BadRequestError, match="the scripted answer fails: KeyError"):
        model.invoke("Hello")
    assert len(service.requests) == 1


def test_the_pause_before_each_token_is_kept() -> None:
    with sandbox.running(token_seconds=0.01) as service, Asker(service).http as http:
        service.reply("a b c")
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}
        started = time.monotonic()
        http.post("/chat-completions/", json=body)
        assert time.monotonic() - started > 0.05


def test_answers_and_ids_repeat_for_a_seed() -> None:
    ids = []
    for _ in range(2):
        with sandbox.running(seed=3, job_seconds=0) as service, Asker(service).http as http:
            body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}
            chat = chunks(http.post("/chat-completions/", json=body))
            ids.append((chat[0]["id"], http.post("/texttoimage/", json=IMAGE).json()))
    assert ids[0] == ids[1]


# --- Refusals ---------------------------------------------------------------------


def error(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status
    found: dict[str, Any] = response.json()["error"]
    assert set(found) == {"message", "type", "param", "code"}
    return found


@pytest.mark.parametrize("key", ["Bearer wrong", "wrong", ""])
def test_a_wrong_key_is_a_401_and_costs_nothing(
    ask: Asker, service: sandbox.Service, key: str
) -> None:
    ask.http.headers["Authorization"] = key
    assert error(ask.chat(), 401)["code"] == "invalid_api_key"
    assert error(ask.submit(), 401)["code"] == "invalid_api_key"
    assert service.charges == []


def test_what_is_not_documented_is_a_400_that_names_it(ask: Asker) -> None:
    assert error(ask.chat(stream=True), 400)["param"] == "stream"
    assert error(ask.submit(steps=9), 400)["param"] == "steps"
    assert error(ask.poll({"jobid": "", "signature": "x"}), 400)["param"] == "jobid"
    assert error(ask.http.post("/chat-completions/", content=b"{}"), 400)["param"] == "Content-Type"
    broken = ask.http.post(
        "/chat-completions/", content=b"{", headers={"Content-Type": "application/json"}
    )
    assert "JSON object" in error(broken, 400)["message"]


def test_an_empty_balance_is_a_402(ask: Asker, service: sandbox.Service) -> None:
    service.balance = IMAGE_PRICE / 2
    assert error(ask.submit(), 402)["code"] == "insufficient_balance"
    assert ask.chat().status_code == 200
    service.balance = 0
    assert error(ask.chat(), 402)["type"] == "insufficient_quota"
    assert len(service.charges) == 1


def test_more_than_the_model_reads_is_a_400(ask: Asker) -> None:
    found = error(ask.chat("x " * 130_000), 400)
    assert found["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/chat-completions/", 405),
        ("POST", "/chat-completions", 404),
        ("POST", "/texttospeech/", 404),
    ],
)
def test_an_unknown_address_is_answered_in_json(
    ask: Asker, method: str, path: str, status: int
) -> None:
    assert error(ask.http.request(method, path), status)["code"] == "unknown_url"


# --- Images ---------------------------------------------------------------------


def test_an_image_is_submitted_polled_and_fetched(ask: Asker, service: sandbox.Service) -> None:
    job = ask.submit().json()
    assert set(job) == {"status", "jobid", "signature"}
    assert (job["status"], type(job["jobid"])) == ("success", int)
    state = ask.poll(job).json()
    assert (state["status"], state["message"]) == ("success", "success")
    response = httpx.get(state["image_url"], trust_env=False)
    assert response.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(response.content)).size == (256, 300)
    charge = service.charges[0]
    assert (charge.kind, charge.usd, charge.facts["jobid"]) == ("image", 0.0015, job["jobid"])


def test_an_image_that_is_not_there_is_a_404(ask: Asker, service: sandbox.Service) -> None:
    assert httpx.get(f"{service.origin}/files/x.png", trust_env=False).status_code == 404
    assert ask.poll({"jobid": 1, "signature": "x"}).status_code == 404


def test_an_image_takes_its_time() -> None:
    with sandbox.running(job_seconds=lambda body: body["steps"] * 100) as service:
        asker = Asker(service)
        with asker.http:
            job = asker.submit(steps=8).json()
            assert asker.poll(job).json()["image_url"] is None


def test_drawing_does_not_hold_up_others(ask: Asker) -> None:
    job = ask.submit(width=1344, height=1344).json()
    url = ask.poll(job).json()["image_url"]
    with ThreadPoolExecutor() as pool:
        image = pool.submit(httpx.get, url, trust_env=False)
        assert ask.chat().status_code == 200
        assert image.result().status_code == 200


# --- Faults -----------------------------------------------------------------------


def test_a_status_comes_with_its_headers_and_costs_nothing(
    ask: Asker, service: sandbox.Service
) -> None:
    service.fault(faults.status(429, headers={"Retry-After": "1"}))
    response = ask.chat()
    assert (response.status_code, response.headers["retry-after"]) == (429, "1")
    assert service.charges == []
    assert ask.chat().status_code == 200


def test_a_fault_can_strike_after_the_charge(ask: Asker, service: sandbox.Service) -> None:
    service.fault(faults.status(500, charged=True), on="image")
    assert ask.submit().status_code == 500
    service.fault(faults.drop(charged=True), on="image")
    with pytest.raises(httpx.RemoteProtocolError):
        ask.submit()
    service.fault(faults.stall(seconds=0.01, charged=True), on="image")
    assert ask.submit().status_code == 200
    assert len(service.charges) == 3


def test_a_page_comes_in_place_of_a_job_s_status(ask: Asker, service: sandbox.Service) -> None:
    job = ask.submit().json()
    service.fault(faults.html_page(200), on="job")
    assert ask.poll(job).text.startswith("<!DOCTYPE html>")
    assert ask.poll(job).json()["status"] == "success"


@pytest.mark.parametrize(
    ("reset", "kind"), [(False, httpx.RemoteProtocolError), (True, httpx.ReadError)]
)
def test_a_connection_can_be_dropped(
    ask: Asker, service: sandbox.Service, *, reset: bool, kind: type[Exception]
) -> None:
    service.fault(faults.drop(reset=reset))
    with pytest.raises(kind):
        ask.chat()


def test_a_dropped_connection_is_one_alone(ask: Asker, service: sandbox.Service) -> None:
    other = Asker(service)
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}
    service.fault(faults.stall(1, seconds=0.1))
    with other.http, other.http.stream("POST", "/chat-completions/", json=body) as response:
        service.fault(faults.drop())
        with pytest.raises(httpx.RemoteProtocolError):
            ask.chat()
        assert response.read().endswith(b"[DONE]\n\n")


def test_a_stream_can_be_cut_after_some_events(ask: Asker, service: sandbox.Service) -> None:
    service.fault(faults.cut(2))
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}
    with ask.http.stream("POST", "/chat-completions/", json=body) as response:
        stream = response.iter_bytes()
        received = next(stream)
        while received.count(b"data: ") < 2:
            received += next(stream)
        with pytest.raises(httpx.RemoteProtocolError):
            next(stream)
    assert received.count(b"data: ") == 2
    assert len(service.charges) == 1


def test_a_stream_can_be_reset(ask: Asker, service: sandbox.Service) -> None:
    service.fault(faults.cut(2, ending="reset"))
    with pytest.raises(httpx.ReadError):
        ask.chat()


def test_a_stream_can_end_cleanly_before_its_end(ask: Asker, service: sandbox.Service) -> None:
    service.fault(faults.cut(2, ending="clean"))
    assert len(chunks(ask.chat())) == 2


def test_an_event_can_be_garbled(ask: Asker, service: sandbox.Service) -> None:
    service.fault(faults.garbled(1))
    events = ask.chat().text.split("\n\n")
    assert events[1] == 'data: {"id":"chatcmpl-'
    assert "data: [DONE]" in events


def test_an_error_can_end_a_stream(ask: Asker, service: sandbox.Service) -> None:
    service.fault(faults.error_event(2, message="out of memory"))
    last = chunks(ask.chat())[-1]
    assert last["error"]["message"] == "out of memory"


def test_a_fault_beyond_a_stream_s_end_strikes_there(ask: Asker, service: sandbox.Service) -> None:
    service.fault(faults.garbled(1000))
    assert ask.chat().text.endswith('data: [DONE]\n\ndata: {"id":"chatcmpl-\n\n')


def test_a_stall_can_send_comments_and_pass(ask: Asker, service: sandbox.Service) -> None:
    service.fault(faults.stall(1, seconds=0.03, comments=0.01))
    text = ask.chat().text
    assert text.count(": keep-alive\n\n") == 3
    assert text.endswith("[DONE]\n\n")
    service.fault(faults.stall(1, seconds=0.01))
    assert ": keep-alive" not in ask.chat().text


@pytest.mark.parametrize("after", [None, 1])
def test_a_stall_lasts_until_the_client_leaves(
    ask: Asker, service: sandbox.Service, after: int | None
) -> None:
    service.fault(faults.stall(after))
    ask.http.timeout = httpx.Timeout(0.1)
    with pytest.raises(httpx.ReadTimeout):
        ask.chat()


def test_a_stall_before_the_headers_passes(ask: Asker, service: sandbox.Service) -> None:
    service.fault(faults.stall(seconds=0.01))
    assert ask.chat().status_code == 200


def test_jobs_fail_vanish_or_never_end(ask: Asker, service: sandbox.Service) -> None:
    service.fault(faults.job_fails("nsfw"))
    service.fault(faults.job_vanishes())
    service.fault(faults.job_never_ends())
    failed, gone, stuck = (ask.poll(ask.submit().json()) for _ in range(3))
    assert failed.json() == {"status": "failed", "image_url": None, "message": "nsfw"}
    assert gone.status_code == 404
    assert stuck.json()["status"] == "processing"
    assert len(service.charges) == 3


def test_a_submission_can_be_refused(ask: Asker, service: sandbox.Service) -> None:
    service.fault(faults.submission_refused(), on="image")
    assert ask.submit().json() == {"status": "error", "jobid": None, "signature": None}
    assert service.charges == []


# --- Native tools -----------------------------------------------------------------

NATIVE = [{"type": "function", "function": {"name": "draw", "parameters": {"type": "object"}}}]


def test_native_calls_are_streamed_as_openai_does() -> None:
    with sandbox.running(native_tools=True) as service:
        asker = Asker(service)
        service.reply(DRAW)
        with asker.http:
            *tokens, finish, _ = chunks(asker.chat(tools=NATIVE, tool_choice="auto", stop="x"))
            assert "<tool_call>" not in text_of(asker.chat("draw()", tools=NATIVE))
            assert "Hello" in text_of(asker.chat(stop=["zzz"]))
    assert finish["choices"][0]["finish_reason"] == "tool_calls"
    calls = [token["choices"][0]["delta"]["tool_calls"][0] for token in tokens]
    assert calls[0]["function"] == {"name": "draw", "arguments": ""}
    assert calls[0]["id"].startswith("call_")
    arguments = "".join(call["function"]["arguments"] for call in calls)
    assert json.loads(arguments) == {"prompt": "a fox"}


# --- Life cycle -------------------------------------------------------------------


def test_it_ends_at_once_whatever_is_open() -> None:
    threads = threading.active_count()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with ThreadPoolExecutor() as pool:
            with sandbox.running() as service:
                asker = Asker(service)
                asker.chat()
                service.fault(faults.stall(), times=2)
                service.fault(faults.stall(1), times=2)
                waiting = [pool.submit(asker.chat) for _ in range(4)]
                while len(service.requests) < 5:
                    time.sleep(0.005)
                started = time.monotonic()
            assert time.monotonic() - started < 0.3
            assert all(isinstance(one.exception(), httpx.HTTPError) for one in waiting)
        asker.http.close()
        gc.collect()
    assert threading.active_count() == threads
    with pytest.raises(httpx.ConnectError):
        httpx.get(service.base_url, trust_env=False)


def test_a_client_that_leaves_before_its_request_is_whole_is_no_news(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with sandbox.running() as service:
        asker = Asker(service)
        address = (asker.http.base_url.host, asker.http.base_url.port or 0)
        with socket.create_connection(address) as half:
            half.sendall(b"POST /api/chat-completions/ HTTP/1.1\r\nHost: a\r\n")
            half.sendall(b"Content-Length: 100\r\n\r\n{")
            assert asker.chat().status_code == 200
        assert asker.chat().status_code == 200
        assert len(service.requests) == 2
        asker.http.close()
    assert caplog.records == []


def test_several_run_at_once_with_keys_and_books_of_their_own() -> None:
    with sandbox.running() as one, sandbox.running(api_key="k") as other:
        assert one.base_url != other.base_url
        assert other.api_key == "k"
        with Asker(one).http as http:
            http.base_url = httpx.URL(other.base_url)
            assert http.post("/texttoimage/", json=IMAGE).status_code == 401
        assert (len(one.requests), len(other.requests)) == (0, 1)


def test_many_clients_are_served_at_once(ask: Asker, service: sandbox.Service) -> None:
    service.reply("x", times=8)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: text_of(ask.chat()), range(8)))
    assert answers == ["x"] * 8
    assert len(service.charges) == len(service.requests) == 8


async def test_it_runs_beside_an_event_loop() -> None:
    with sandbox.running() as service:
        headers = {"Authorization": f"Bearer {service.api_key}"}
        async with httpx.AsyncClient(
            base_url=service.base_url, headers=headers, trust_env=False
        ) as http:
            body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
            posts = [http.post("/chat-completions/", json=body) for _ in range(3)]
            assert {r.status_code for r in await asyncio.gather(*posts)} == {200}


def test_what_prevents_the_start_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    async def startup(*_: Any, **__: Any) -> None:
        raise OSError("no more sockets")

    monkeypatch.setattr(uvicorn.Server, "startup", startup)
    with pytest.raises(OSError, match="no more sockets"), sandbox.running():
        raise AssertionError


def test_a_taken_port_is_an_error(service: sandbox.Service) -> None:
    port = int(service.origin.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"), sandbox.running(port=port):
        raise AssertionError
