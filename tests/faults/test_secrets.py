import logging
import pprint
import ssl
import traceback
from pathlib import Path
from typing import Any

import pytest
import trustme
from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumps
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run

from tests.faults.client import Client, check_answered, class_names, leaks_of
from tests.faults.fault import ONE_EACH, fault
from tests.faults.server import Exchange, FaultServer, Script
from tests.faults.targets import KEY
from tests.faults.wire import GOOD, answer, body, error, event, head, page, stream, tokens

SECRET = "h34der-t0ken-never-show-this"
PASSWORD = "p4ssw0rd-never-show-this"
ONCE = {"timeout": 0.5, "total_timeout": 4.0, "max_retries": 0}


def _reset(exchange: Exchange) -> None:
    exchange.reset()


def _stall(exchange: Exchange) -> None:
    exchange.pause(3)
    exchange.close()


_FAILURES: tuple[Script, ...] = (
    error("401 Unauthorized"),
    error("503 Busy"),
    page("403 Forbidden"),
    stream(tokens()),
    stream([event("junk")]),
    _reset,
    _stall,
)
_ECHO = f"Incorrect API key provided: {KEY}. Authorization: Bearer {KEY}"
_ESCAPED = f"\\u{ord(KEY[0]):04x}{KEY[1:]}"
_ECHOES: tuple[Script, ...] = (
    error("401 Unauthorized", _ECHO, {"X-Request-Id": KEY}, code=KEY),
    body("400 Bad", _ECHO, "text/plain"),
    page("403 Forbidden", _ECHO),
    page("200 OK", _ECHO),
    body("200 OK", {"status": "error", "message": _ECHO}),
    stream([event({"error": {"message": _ECHO, "code": KEY}})]),
    stream([event(f'junk "{_ECHO}"')]),
    stream([_ECHO.encode()]),
    body("503 Busy", f'{{"error": {{"message": "no {_ESCAPED}", "code": "{_ESCAPED}"}}}}'),
    stream([f'data: {{"error": {{"message": "no {_ESCAPED}"}}}}\n\n'.encode()]),
)


def _call(client: Client, script: Script, config: Any = None) -> Exception | None:
    """Call against a server of one script; return what was raised."""
    with FaultServer([script]) as server:
        [made] = client.call(client.target.model(server.url, **ONCE), config=config)
    return made.error


def _views(model: BaseChatModel) -> str:
    """Return everything that shows a model."""
    views: list[Any] = [repr(model), str(model), dumps(model), pprint.pformat(vars(model))]
    views += [repr(model.model_dump()), repr(model._identifying_params), repr(model.lc_secrets)]
    views += [repr(model._get_ls_params()), repr(model.bind(stop=["x"]))]
    try:
        views.append(model.model_dump_json(warnings=False))
    except Exception:  # noqa: BLE001 - clients that a model holds are no JSON
        views.append("")
    return "\n".join(map(str, views))


@fault("key in repr", "no view of a model shows the key", modes=("invoke",))
def test_no_view_of_a_model_shows_the_key(client: Client) -> None:
    with FaultServer([GOOD]) as server:
        model = client.target.model(server.url)
        client.call(model)
    assert KEY not in _views(model)


@fault("headers in repr", "no view of a model shows its headers' values", modes=("invoke",))
def test_no_view_of_a_model_shows_its_headers(client: Client) -> None:
    with FaultServer([GOOD]) as server:
        model = client.target.model(server.url, default_headers={"X-Token": SECRET})
        [made] = client.call(model)
    assert made.error is None
    assert server.record.requests[0].headers["x-token"] == SECRET
    assert SECRET not in _views(model)


@fault(
    "key in an exception",
    "no error, its chain, its pickle or its locals show the key",
    modes=ONE_EACH,
)
def test_no_error_shows_the_key(client: Client) -> None:
    for script in _FAILURES:
        raised = _call(client, script)
        if raised is not None:  # another fault asks whether it must be raised
            assert leaks_of(raised) == []
            trace = traceback.TracebackException.from_exception(raised, capture_locals=True)
            assert KEY not in "".join(trace.format()), "the locals below show the key"


@fault("key echoed by the server", "what the service repeats is scrubbed", modes=ONE_EACH)
def test_a_key_that_the_service_repeats_is_scrubbed(client: Client) -> None:
    for script in _ECHOES:
        raised = _call(client, script)
        if raised is not None:
            assert leaks_of(raised) == []
            assert KEY not in repr(vars(raised))


# --- Logs and traces ----------------------------------------------------------------------


@fault("key in logs", "no log shows the key, at DEBUG neither", modes=("invoke", "ainvoke"))
def test_no_log_shows_the_key(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    logging.disable(logging.NOTSET)
    for name in ("", "httpx", "httpcore", "asyncio"):
        caplog.set_level(logging.DEBUG, name)
    for script in (GOOD, *_FAILURES[:5]):
        _call(client, script)
    lines = [f"{caplog.handler.format(one)} {one.args!r}" for one in caplog.records]
    assert lines, "nothing was logged: the test can't see"
    assert [line for line in lines if KEY in line] == []


class _Tracer(BaseTracer):
    """Keeps what a tracing service would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []

    def _persist_run(self, run: Run) -> None:
        self.sent.append(repr(run.model_dump()))


@fault("key in traces", "no trace shows the key or a page", modes=ONE_EACH)
def test_no_trace_shows_the_key(client: Client) -> None:
    for script in (GOOD, *_FAILURES[:5], *_ECHOES[:4]):
        tracer = _Tracer()
        _call(client, script, {"callbacks": [tracer]})
        assert tracer.sent, "nothing was traced: the test can't see"
        assert KEY not in "".join(tracer.sent)
        assert not client.ours or "<p>Ray</p>" not in "".join(tracer.sent)


# --- Addresses ------------------------------------------------------------------------------


def _check_final(client: Client, raised: Exception | None) -> None:
    """Assert that a call ended with a typed error which says that trying again is no use."""
    assert raised is not None
    assert any(name.startswith(client.target.errors) for name in class_names(raised))
    assert not client.ours or not getattr(raised, "is_retryable", None)


@fault("302 to another host", "redirects are not followed", status="302 Found")
@fault(
    "307 to another host",
    "redirects are not followed, with the body neither",
    status="307 Temporary Redirect",
)
def test_a_redirect_is_not_followed(client: Client, status: str) -> None:
    with FaultServer([GOOD]) as other:
        place = f"http://localhost:{other.port}/api/chat-completions/"

        def redirect(exchange: Exchange) -> None:
            exchange.send(head(status, None, {"Location": place, "Content-Length": "0"}))

        with FaultServer([redirect]) as server:
            [made] = client.call(client.target.model(server.url))
    assert other.record.requests == []
    assert not client.ours or len(server.record.requests) == 1
    _check_final(client, made.error)


@fault(
    "self-signed TLS",
    "an unknown certificate ends the call, and is not tried again",
    modes=("invoke", "astream"),
)
def test_an_unknown_certificate_ends_the_call(client: Client, tmp_path: Path) -> None:
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with FaultServer([GOOD], tls=context) as server:
        [made] = client.call(client.target.model(server.url))
        assert server.record.requests == []
        assert not client.ours or len(server.record.connections) == 1
        _check_final(client, made.error)
        if client.ours:
            authority.cert_pem.write_to_path(tmp_path / "ca.pem")
            model = client.target.model(server.url, verify=str(tmp_path / "ca.pem"))
            [made] = client.call(model)
            assert made.error is None


@fault(
    "user info in the address",
    "an address with a password is refused, unrepeated",
    modes=("invoke",),
)
def test_an_address_with_a_password_is_refused(client: Client) -> None:
    address = f"http://user:{PASSWORD}@127.0.0.1:9"
    if not client.ours:
        assert PASSWORD not in _views(client.target.model(address))
        return
    with pytest.raises(ValueError, match="user") as refused:
        client.target.model(address)
    assert PASSWORD not in f"{refused.value} {refused.value!r}"


@fault(
    "cookies of an earlier answer",
    "no call can be traced to who made an earlier one",
    modes=ONE_EACH,
)
def test_no_cookie_is_sent(client: Client) -> None:
    with_cookie = stream(answer(), headers={"Set-Cookie": "visitor=17; Path=/"})
    _, record = check_answered(client, [with_cookie], calls=2)
    assert [one.headers for one in record.requests if "cookie" in one.headers] == []
