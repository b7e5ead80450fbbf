"""The user's own HTTP clients, of any library, and what is promised about them."""

import asyncio
import multiprocessing
import os
import pickle
import ssl
import subprocess
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Self

import httpx
import httpx2
import pytest
import trustme
from httpx_aiohttp import HttpxAiohttpClient
from langchain_core.messages import ToolMessage
from PIL import Image
from pydantic import ValidationError

from langchain_minitoolai import ChatMiniToolAI, MiniToolAIImageTool, contract, sandbox
from langchain_minitoolai.errors import (
    APIConnectionError,
    InvalidInputError,
    InvalidResponseError,
    MiniToolAIError,
)
from tests.faults.server import FaultServer
from tests.faults.wire import GOOD, TEXT

QUESTION, ANSWER = "What is 2 + 2?", "2 + 2 = 4."
CALL = {
    "name": "generate_image",
    "args": {"prompt": "a red fox", "width": 256, "height": 256},
    "id": "call_1",
    "type": "tool_call",
}
MARK = {"X-Made-By": "the user"}
SECRET = "do-not-show-this-text"
OWNERS: list[Any] = [ChatMiniToolAI, MiniToolAIImageTool]
both_owners = pytest.mark.parametrize("owner", OWNERS)
both_forms = pytest.mark.parametrize("form", ["instance", "callable"])


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A sandbox whose images take no time; the environment names it."""
    with sandbox.running(job_seconds=0.05) as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        yield running


class CountingTransport(httpx.BaseTransport):
    """A transport of a user's own: it counts, and leaves the work to another."""

    def __init__(self) -> None:
        self.count = 0
        self._inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.count += 1
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


class AsyncCountingTransport(httpx.AsyncBaseTransport):
    """The same, async."""

    def __init__(self) -> None:
        self.count = 0
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.count += 1
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


SYNC: dict[str, Callable[..., Any]] = {"httpx": httpx.Client, "httpx2": httpx2.Client}
ASYNC: dict[str, Callable[..., Any]] = {
    "httpx": httpx.AsyncClient,
    "httpx2": httpx2.AsyncClient,
    "aiohttp": HttpxAiohttpClient,
}


class Factory:
    """Makes clients that mark their requests, and keeps them to be looked at."""

    def __init__(self, make: Callable[..., Any], **options: Any) -> None:
        self._make = make
        self._options = options
        self.made: list[Any] = []

    def __call__(self) -> Any:
        client = self._make(headers=MARK, **self._options)
        self.made.append(client)
        return client

    def given(self, form: str) -> Any:
        return self if form == "callable" else self()


def check_requests(service: sandbox.Service, *, marked: bool) -> None:
    """Check that all went over the marked client, but the download without its headers."""
    for request in service.requests:
        is_ours = request.path.startswith("/api")
        assert ("x-made-by" in request.headers) == (marked and is_ours), request.path
        is_poll = request.path.endswith(contract.IMAGE_JOB_PATH)  # by the job's signature
        assert request.authorized == (is_ours and not is_poll)
    chats, images = (
        sum(request.path == f"/api{path}" for request in service.requests)
        for path in (contract.CHAT_PATH, contract.IMAGE_PATH)
    )
    assert (chats, images, len(service.charges)) == (2, 1, 3)


def check_image(message: Any) -> None:
    assert isinstance(message, ToolMessage)
    assert message.status == "success", message.content
    with Image.open(message.artifact["path"]) as image:
        image.load()
        assert image.size == (256, 256)


def call_all(directory: Path, **options: Any) -> None:
    """Call everything that there is, sync."""
    model = ChatMiniToolAI(**options)
    assert model.invoke(QUESTION).text == ANSWER
    assert "".join(chunk.text for chunk in model.stream(QUESTION)) == ANSWER
    draw = MiniToolAIImageTool(save_to=directory, poll_interval=0.02, **options)
    check_image(draw.invoke(CALL))


async def acall_all(directory: Path, **options: Any) -> None:
    """Call everything that there is, async."""
    model = ChatMiniToolAI(**options)
    assert (await model.ainvoke(QUESTION)).text == ANSWER
    assert "".join([chunk.text async for chunk in model.astream(QUESTION)]) == ANSWER
    draw = MiniToolAIImageTool(save_to=directory, poll_interval=0.02, **options)
    check_image(await draw.ainvoke(CALL))


# --- Every client -------------------------------------------------------------------


def test_all_calls_go_over_clients_of_our_own(service: sandbox.Service, tmp_path: Path) -> None:
    call_all(tmp_path)
    check_requests(service, marked=False)
    service.reset()
    asyncio.run(acall_all(tmp_path))
    check_requests(service, marked=False)


@both_forms
@pytest.mark.parametrize("make", SYNC.values(), ids=SYNC)
def test_all_calls_go_over_a_users_client_which_stays_open(
    service: sandbox.Service, tmp_path: Path, make: Any, form: str
) -> None:
    factory = Factory(make)
    call_all(tmp_path, http_client=factory.given(form))
    check_requests(service, marked=True)
    [client] = factory.made
    assert client.get(service.origin).status_code == 404  # it is open, and works
    client.close()


@both_forms
@pytest.mark.parametrize("make", ASYNC.values(), ids=ASYNC)
def test_all_async_calls_go_over_a_users_client(
    service: sandbox.Service, tmp_path: Path, make: Any, form: str
) -> None:
    factory = Factory(make)

    async def main() -> None:
        await acall_all(tmp_path, http_async_client=factory.given(form))
        [client] = factory.made
        assert (await client.get(service.origin)).status_code == 404
        if form == "instance":
            await client.aclose()

    asyncio.run(main())
    check_requests(service, marked=True)
    [client] = factory.made
    assert client.is_closed  # its callable made it, so it ended with its event loop


@both_forms
def test_all_calls_go_over_a_transport_of_the_users_own(
    service: sandbox.Service, tmp_path: Path, form: str
) -> None:
    transport = CountingTransport()
    factory = Factory(httpx.Client, transport=transport)
    call_all(tmp_path, http_client=factory.given(form))
    check_requests(service, marked=True)
    assert transport.count == len(service.requests)
    factory.made[0].close()


@both_forms
async def test_all_async_calls_go_over_a_transport_of_the_users_own(
    service: sandbox.Service, tmp_path: Path, form: str
) -> None:
    transport = AsyncCountingTransport()
    factory = Factory(httpx.AsyncClient, transport=transport)
    await acall_all(tmp_path, http_async_client=factory.given(form))
    check_requests(service, marked=True)
    assert transport.count == len(service.requests)
    await factory.made[0].aclose()


def test_a_users_clients_of_both_kinds_serve_one_model(service: sandbox.Service) -> None:
    factories = Factory(httpx.Client), Factory(httpx.AsyncClient)
    model = ChatMiniToolAI(http_client=factories[0], http_async_client=factories[1])
    for _ in range(3):
        assert model.invoke(QUESTION).text == ANSWER
        assert asyncio.run(model.ainvoke(QUESTION)).text == ANSWER
    assert [len(factory.made) for factory in factories] == [1, 3]  # a process, three loops
    assert all(client.is_closed for client in factories[1].made)
    assert not factories[0].made[0].is_closed
    factories[0].made[0].close()
    assert model.invoke(QUESTION).text == ANSWER  # over a new one, since that was closed
    factories[0].made[1].close()


CLOSED_AT_EXIT = """
import httpx
from langchain_minitoolai import ChatMiniToolAI

class Client(httpx.Client):
    def close(self):
        super().close()
        print("closed")

model = ChatMiniToolAI(http_client=Client)
print(model.invoke("What is 2 + 2?").text)
"""


def test_a_client_that_a_callable_made_is_closed_with_its_process(service: sandbox.Service) -> None:
    run = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", CLOSED_AT_EXIT],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.stdout, run.stderr) == (f"{ANSWER}\nclosed\n", "")


# --- Redirects ----------------------------------------------------------------------


@pytest.mark.parametrize("make", SYNC.values(), ids=SYNC)
def test_a_redirect_is_refused_over_a_client_that_follows_redirects(
    service: sandbox.Service, make: Any
) -> None:
    with sandbox.running() as other, make(follow_redirects=True) as client:
        location = {"Location": f"{other.base_url}{contract.CHAT_PATH}"}
        service.fault(sandbox.faults.status(307, headers=location), times=None)
        with pytest.raises(InvalidResponseError, match="a redirect, which is never followed"):
            ChatMiniToolAI(http_client=client).invoke(QUESTION)
        draw = MiniToolAIImageTool(http_client=client, handle_tool_error=False)
        with pytest.raises(MiniToolAIError, match="answered with a redirect"):
            draw.submit("a fox")
        assert other.requests == []
        assert len(service.requests) == 2


@pytest.mark.parametrize("make", ASYNC.values(), ids=ASYNC)
async def test_a_redirect_is_refused_over_an_async_client_that_follows_redirects(
    service: sandbox.Service, make: Any
) -> None:
    with sandbox.running() as other:
        async with make(follow_redirects=True) as client:
            location = {"Location": f"{other.base_url}{contract.CHAT_PATH}"}
            service.fault(sandbox.faults.status(307, headers=location), times=None)
            with pytest.raises(InvalidResponseError, match="a redirect, which is never followed"):
                await ChatMiniToolAI(http_async_client=client).ainvoke(QUESTION)
            draw = MiniToolAIImageTool(http_async_client=client, handle_tool_error=False)
            with pytest.raises(MiniToolAIError, match="answered with a redirect"):
                await draw.asubmit("a fox")
        assert other.requests == []
        assert len(service.requests) == 2


# --- Bad input ----------------------------------------------------------------------


def send(owner: ChatMiniToolAI | MiniToolAIImageTool) -> None:
    """Send something with a model or a tool, sync."""
    if isinstance(owner, ChatMiniToolAI):
        owner.invoke(QUESTION)
    else:
        owner.submit("a fox")


async def asend(owner: ChatMiniToolAI | MiniToolAIImageTool) -> None:
    """Send something with a model or a tool, async."""
    if isinstance(owner, ChatMiniToolAI):
        await owner.ainvoke(QUESTION)
    else:
        await owner.asubmit("a fox")


@both_owners
@pytest.mark.parametrize(
    ("field", "make", "message"),
    [
        ("http_client", httpx.AsyncClient, "http_client is an async client; allowed: an open "),
        ("http_client", httpx2.AsyncClient, "http_client is an async client"),
        ("http_client", HttpxAiohttpClient, "http_client is an async client"),
        ("http_async_client", httpx.Client, "http_async_client is a sync client; allowed: an open"),
        ("http_async_client", httpx2.Client, "http_async_client is a sync client"),
        ("http_client", httpx.HTTPTransport, "http_client is a HTTPTransport; allowed: an open"),
    ],
)
def test_a_client_of_the_wrong_kind_is_refused(
    service: sandbox.Service, owner: Any, field: str, make: Any, message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        owner(**{field: make()})
    if make is not httpx.HTTPTransport:
        by_callable = owner(**{field: make})
        with pytest.raises(InvalidInputError, match=message):  # at the first call
            send(by_callable) if field == "http_client" else asyncio.run(asend(by_callable))
    assert service.requests == []


@both_owners
@pytest.mark.parametrize("make", SYNC.values(), ids=SYNC)
def test_a_closed_client_is_refused(service: sandbox.Service, owner: Any, make: Any) -> None:
    client = make()
    made_before = owner(http_client=client)
    client.close()
    with pytest.raises(ValidationError, match="http_client is closed; allowed: an open"):
        owner(http_client=client)
    with pytest.raises(InvalidInputError, match="http_client is closed; allowed: an open"):
        send(made_before)
    assert service.requests == []
    assert getattr(made_before, "images_ordered", 0) == 0


@both_owners
@pytest.mark.parametrize("make", ASYNC.values(), ids=ASYNC)
async def test_a_closed_async_client_is_refused(
    service: sandbox.Service, owner: Any, make: Any
) -> None:
    client = make()
    made_before = owner(http_async_client=client)
    await client.aclose()
    with pytest.raises(ValidationError, match="http_async_client is closed; allowed: an open"):
        owner(http_async_client=client)
    with pytest.raises(InvalidInputError, match="http_async_client is closed; allowed: an open"):
        await asend(made_before)
    assert service.requests == []
    assert getattr(made_before, "images_ordered", 0) == 0


@both_owners
@pytest.mark.parametrize("make", ASYNC.values(), ids=ASYNC)
def test_a_client_of_another_event_loop_is_refused(
    service: sandbox.Service, owner: Any, make: Any
) -> None:
    with asyncio.Runner() as first, asyncio.Runner() as second:

        async def create() -> Any:
            return make()

        client = first.run(create())
        first.run(asend(owner(http_async_client=client)))
        before = len(service.requests)
        with pytest.raises(InvalidInputError, match="http_async_client belongs to another event"):
            second.run(asend(owner(http_async_client=client)))
        assert len(service.requests) == before
        first.run(client.aclose())


@both_owners
@pytest.mark.parametrize("field", ["http_client", "http_async_client"])
@pytest.mark.parametrize("option", [{"proxy": "http://127.0.0.1:9"}, {"verify": False}])
def test_a_client_together_with_a_proxy_or_certificates_is_refused(
    service: sandbox.Service, owner: Any, field: str, option: dict[str, Any]
) -> None:
    [name] = option
    with pytest.raises(ValidationError, match=f"{field} and {name} are given together"):
        owner(**{field: httpx.Client if field == "http_client" else httpx.AsyncClient}, **option)
    assert service.requests == []


def test_a_callable_that_returns_no_client_is_an_error_that_names_the_field(
    service: sandbox.Service,
) -> None:
    with pytest.raises(InvalidInputError, match=r"http_client\(\) returned a"):
        ChatMiniToolAI(http_client=lambda: lambda: None).invoke(QUESTION)
    with pytest.raises(InvalidInputError, match="http_async_client is a str"):
        asyncio.run(ChatMiniToolAI(http_async_client=lambda: "client").ainvoke(QUESTION))
    assert service.requests == []


# --- Unknown exceptions -------------------------------------------------------------


class StrangeError(Exception):
    """What no library of HTTP raises."""


class BrokenTransport(httpx.BaseTransport, httpx.AsyncBaseTransport):
    """Raises what nobody expects, with a text that nobody should see."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        raise StrangeError(SECRET)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise StrangeError(SECRET)


def check_unknown(error: BaseException) -> None:
    assert isinstance(error, APIConnectionError)
    assert "StrangeError" in str(error)
    assert not error.is_retryable
    assert SECRET not in "".join(traceback.format_exception(error))


def test_an_unknown_exception_of_a_transport_is_an_error_of_ours(service: sandbox.Service) -> None:
    with httpx.Client(transport=BrokenTransport()) as client:
        with pytest.raises(MiniToolAIError) as chat:
            ChatMiniToolAI(http_client=client).invoke(QUESTION)
        check_unknown(chat.value)
        with pytest.raises(MiniToolAIError) as image:
            MiniToolAIImageTool(http_client=client).submit("a fox")
    assert "StrangeError" in str(image.value)
    assert SECRET not in "".join(traceback.format_exception(image.value))
    assert image.value.maybe_charged  # nobody knows what such a transport has sent


async def test_an_unknown_exception_of_an_async_transport_is_an_error_of_ours(
    service: sandbox.Service,
) -> None:
    async with httpx.AsyncClient(transport=BrokenTransport()) as client:
        with pytest.raises(MiniToolAIError) as chat:
            await ChatMiniToolAI(http_async_client=client).ainvoke(QUESTION)
        check_unknown(chat.value)
        with pytest.raises(MiniToolAIError) as image:
            await MiniToolAIImageTool(http_async_client=client).asubmit("a fox")
    assert "StrangeError" in str(image.value)
    assert SECRET not in "".join(traceback.format_exception(image.value))
    assert image.value.maybe_charged


# --- Pickling -----------------------------------------------------------------------


def make_client() -> httpx.Client:
    return httpx.Client(headers=MARK)


def make_async_client() -> httpx.AsyncClient:
    return httpx.AsyncClient(headers=MARK)


def call_unpickled(data: bytes) -> tuple[str, str]:
    model: ChatMiniToolAI
    draw: MiniToolAIImageTool
    model, draw = pickle.loads(data)  # noqa: S301 - made by this test
    texts = model.invoke(QUESTION).text, asyncio.run(model.ainvoke(QUESTION)).text
    asyncio.run(draw.await_for(draw.submit("a fox")))
    return str(texts[0]), str(texts[1])


def test_callables_survive_a_pickle_into_another_process(service: sandbox.Service) -> None:
    clients = {"http_client": make_client, "http_async_client": make_async_client}
    owners = ChatMiniToolAI(**clients), MiniToolAIImageTool(poll_interval=0.02, **clients)
    assert owners[0].invoke(QUESTION).text == ANSWER  # with an open connection, which stays here
    data = pickle.dumps(owners)
    service.reset()
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(call_unpickled, data).result(60) == (ANSWER, ANSWER)
    check_requests(service, marked=True)


@both_owners
@pytest.mark.parametrize("field", ["http_client", "http_async_client"])
def test_a_client_itself_is_refused_by_pickle_which_names_the_way_out(
    service: sandbox.Service, owner: Any, field: str
) -> None:
    client = httpx.Client() if field == "http_client" else httpx.AsyncClient()
    message = rf"{field} is a client, which can't be pickled; .*\({field}=make_client\)"
    with pytest.raises(InvalidInputError, match=message):
        pickle.dumps(owner(**{field: client}))


# --- Breaks and cancellations -------------------------------------------------------


@pytest.mark.usefixtures("uncovered")
def test_after_500_breaks_and_cancellations_nothing_is_open_and_nothing_is_printed() -> None:
    command = [sys.executable, "-X", "dev", "-W", "error", "-m", f"{__package__}.breaks"]
    with sandbox.running(token_seconds=0.002) as service:
        run = subprocess.run(
            command,
            cwd=Path(__file__).parents[2],
            env={**os.environ, **service.environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


# --- Certificates -------------------------------------------------------------------


class Certificates:
    """A certificate authority of the test's own, and what it has signed."""

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        self.path = directory / "authority.pem"
        authority.cert_pem.write_to_path(str(self.path))
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.server.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(self.server)
        authority.issue_cert("127.0.0.1").configure_cert(self.server)
        self.client = ssl.create_default_context(cafile=str(self.path))
        authority.issue_cert("client@example.org").configure_cert(self.client)

    def without_client_certificate(self) -> Self:
        """Let the server accept everybody."""
        self.server.verify_mode = ssl.CERT_NONE
        return self


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def check_calls(base_url: str, **options: Any) -> None:
    """Check that a model reaches a server, sync and async."""
    model = ChatMiniToolAI(api_key="k", base_url=base_url, max_retries=0, **options)
    assert model.invoke("Hello").text == TEXT
    assert "".join(chunk.text for chunk in model.stream("Hello")) == TEXT
    assert asyncio.run(model.ainvoke("Hello")).text == TEXT


def test_a_client_certificate_is_presented_by_the_users_client(certificates: Certificates) -> None:
    with FaultServer([GOOD], tls=certificates.server) as server:
        with httpx.Client(verify=certificates.client) as client:
            check_calls(
                server.url,
                http_client=client,
                http_async_client=lambda: httpx.AsyncClient(verify=certificates.client),
            )
        assert len(server.record.requests) == 3


def test_a_client_certificate_is_presented_by_our_client(certificates: Certificates) -> None:
    with FaultServer([GOOD], tls=certificates.server) as server:
        check_calls(server.url, verify=certificates.client)
        check_calls(server.url, verify=certificates.client, async_transport="aiohttp")
        assert len(server.record.requests) == 6


def test_without_its_client_certificate_a_call_does_not_reach_the_server(
    certificates: Certificates,
) -> None:
    with FaultServer([GOOD], tls=certificates.server) as server:
        for model in (
            ChatMiniToolAI(
                api_key="k", base_url=server.url, max_retries=0, verify=certificates.path
            ),
            ChatMiniToolAI(
                api_key="k",
                base_url=server.url,
                max_retries=0,
                http_client=lambda: httpx.Client(
                    verify=ssl.create_default_context(cafile=str(certificates.path))
                ),
            ),
        ):
            with pytest.raises(APIConnectionError):
                model.invoke("Hello")
        assert server.record.requests == []


@pytest.mark.parametrize("form", [str, Path, lambda path: ssl.create_default_context(cafile=path)])
def test_an_authority_of_a_companys_own_is_trusted(certificates: Certificates, form: Any) -> None:
    certificates.without_client_certificate()
    with FaultServer([GOOD], tls=certificates.server) as server:
        check_calls(server.url, verify=form(certificates.path))
        with pytest.raises(APIConnectionError, match=r"(?i)certificate"):
            check_calls(server.url)
        assert len(server.record.requests) == 3


# --- Gateways -----------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/", "/v1", "/tenants/7/minitoolai/api/"])
def test_a_gateway_may_stand_at_any_path(path: str) -> None:
    with FaultServer([GOOD]) as server:
        check_calls(server.url + path)
        targets = {request.target for request in server.record.requests}
        assert targets == {path.rstrip("/") + contract.CHAT_PATH}


@both_owners
def test_plain_http_beyond_loopback_needs_to_be_allowed(
    service: sandbox.Service, owner: Any
) -> None:
    base_url = service.base_url.replace("127.0.0.1", "gateway.example")
    message = "the key would travel unencrypted; allowed: .*allow_insecure_http=True"
    with pytest.raises(ValidationError, match=message):
        owner(base_url=base_url)
    transport = httpx.MockTransport(lambda request: forward(service, request))
    with httpx.Client(transport=transport) as client:
        send(owner(base_url=base_url, allow_insecure_http=True, http_client=client))
    assert len(service.charges) == 1


def forward(service: sandbox.Service, request: httpx.Request) -> httpx.Response:
    """Pass a request for a gateway on to the service."""
    assert request.url.host == "gateway.example"
    response = httpx.post(
        request.url.copy_with(host="127.0.0.1"), content=request.content, headers=request.headers
    )
    return httpx.Response(response.status_code, content=response.content)
