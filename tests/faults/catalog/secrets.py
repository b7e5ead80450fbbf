"""Secrets: where a key, a header or a password must never show."""

import asyncio
import logging
import pprint
import ssl
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.load import dumps
from langchain_core.tracers.base import BaseTracer
from langchain_core.tracers.schemas import Run

from tests.faults.fault import Fault, Seen, Verdict, answers, both
from tests.faults.runs import MODES, QUESTION, Caught, Mode, catch
from tests.faults.server import Exchange, FaultServer, Script
from tests.faults.targets import KEY, Settings, Target
from tests.faults.wire import GOOD, answer, body, error, event, head, page, stream, tokens

ONCE = Settings(timeout=1.0, total_timeout=4.0, max_retries=0)
SECRET = "h34der-t0ken-never-show-this"
PASSWORD = "p4ssw0rd-never-show-this"


def _play(model: BaseChatModel, mode: Mode, config: Any = None) -> BaseException | None:
    """Call in a mode and return what was raised."""
    try:
        if mode == "invoke":
            model.invoke(QUESTION, config)
        elif mode == "stream":
            list(model.stream(QUESTION, config))
        else:
            asyncio.run(_aplay(model, mode, config))
    except Exception as caught:  # noqa: BLE001 - every error is looked at
        return caught
    return None


async def _aplay(model: BaseChatModel, mode: Mode, config: Any) -> None:
    if mode == "ainvoke":
        await model.ainvoke(QUESTION, config)
        return
    async for _ in model.astream(QUESTION, config):
        pass


def _shown_by(model: BaseChatModel) -> str:
    views: list[Any] = [repr(model), str(model), dumps(model), pprint.pformat(vars(model))]
    views += [model.model_dump_json(warnings=False) if _dumps_json(model) else ""]
    views += [repr(model.model_dump()), repr(model._identifying_params), repr(model.lc_secrets)]
    views += [repr(model._get_ls_params()), repr(model.bind(stop=["x"]))]
    return "\n".join(map(str, views))


def _dumps_json(model: BaseChatModel) -> bool:
    try:
        model.model_dump_json(warnings=False)
    except Exception:  # noqa: BLE001 - peers hold clients that no JSON shows
        return False
    return True


def _in_repr(target: Target, mode: Mode) -> Verdict:
    with FaultServer([GOOD]) as server:
        model = target.model(server.url, ONCE)
        _play(model, "invoke")
        return "the key shows" if KEY in _shown_by(model) else ""


def _headers_in_repr(target: Target, mode: Mode) -> Verdict:
    settings = Settings(more={"default_headers": {"X-Token": SECRET}})
    with FaultServer([GOOD]) as server:
        model = target.model(server.url, settings)
        raised = _play(model, mode)
        if raised is not None:
            return f"raised {raised!r}"[:200]
        sent = server.record.requests[0].headers.get("x-token")
        if sent != SECRET:
            return "the header was not sent"
        return "a header's value shows" if SECRET in _shown_by(model) else ""


# --- Exceptions -------------------------------------------------------------------------------


def _cut(exchange: Exchange) -> None:
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
    _cut,
    _stall,
)


def _leaks(raised: BaseException, key: str) -> Verdict:
    caught: Caught = catch(raised, key)
    if caught.leaks:
        return f"{caught.name} leaks: {', '.join(caught.leaks)}"
    trace = traceback.TracebackException.from_exception(raised, capture_locals=True)
    if key in "".join(trace.format()):
        return f"the locals below {caught.name} show the key"
    return ""


def _in_exception(target: Target, mode: Mode) -> Verdict:
    for script in _FAILURES:
        with FaultServer([script]) as server:
            raised = _play(target.model(server.url, ONCE), mode)
            if raised is None:
                continue  # another fault asks whether it must raise
            verdict = _leaks(raised, KEY)
            if verdict:
                return verdict
    return ""


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


def _echoed(target: Target, mode: Mode) -> Verdict:
    for script in _ECHOES:
        with FaultServer([script]) as server:
            raised = _play(target.model(server.url, ONCE), mode)
            if raised is not None:
                facts = catch(raised)
                if facts.leaks or KEY in repr(facts.facts):
                    return f"{facts.name} repeats it: {facts.message[:60]}"
    return ""


# --- Logs and traces ----------------------------------------------------------------------


class _Collector(logging.Handler):
    """Keeps every record, formatted, with its arguments."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{self.format(record)} {record.args!r}")


def _in_logs(target: Target, mode: Mode) -> Verdict:
    logging.disable(logging.NOTSET)
    root, collector = logging.getLogger(), _Collector()
    root.addHandler(collector)
    root.setLevel(logging.DEBUG)
    for name in ("httpx", "httpcore", "asyncio"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    try:
        for script in (GOOD, *_FAILURES[:5]):
            with FaultServer([script]) as server:
                _play(target.model(server.url, ONCE), mode)
    finally:
        root.removeHandler(collector)
    found = [line for line in collector.lines if KEY in line]
    if not collector.lines:
        return "nothing was logged: the test can't see"
    return f"logged: {found[0][:120].replace(KEY, '[key]')}" if found else ""


class _Tracer(BaseTracer):
    """Keeps what a tracing service would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []

    def _persist_run(self, run: Run) -> None:
        self.sent.append(repr(run.model_dump() if hasattr(run, "model_dump") else run.dict()))


def _in_traces(target: Target, mode: Mode) -> Verdict:
    settings = Settings(timeout=1.0, total_timeout=4.0, max_retries=0)
    for script in (GOOD, *_FAILURES[:5], *_ECHOES[:4]):
        tracer = _Tracer()
        with FaultServer([script]) as server:
            _play(target.model(server.url, settings), mode, {"callbacks": [tracer]})
        if not tracer.sent:
            return "nothing was traced: the test can't see"
        if any(KEY in sent for sent in tracer.sent):
            return "a trace shows the key"
        if target.ours and any("<p>Ray</p>" in sent for sent in tracer.sent):
            return "a trace shows a page"
    return ""


# --- Addresses ------------------------------------------------------------------------------


def _redirected(status: str) -> Callable[[Target, Mode], Verdict]:
    def scenario(target: Target, mode: Mode) -> Verdict:
        with FaultServer([GOOD]) as other:
            place = f"http://localhost:{other.port}/api/chat-completions/"

            def redirect(exchange: Exchange) -> None:
                exchange.send(head(status, None, {"Location": place, "Content-Length": "0"}))

            with FaultServer([redirect]) as server:
                raised = _play(target.model(server.url, Settings()), mode)
                if any(KEY in str(one.headers) for one in other.record.requests):
                    return "sent the key to another host"
                if any(QUESTION.encode() in one.body for one in other.record.requests):
                    return "sent the conversation to another host"
                if raised is None or other.record.requests:
                    return "followed the redirect"
                if target.ours and len(server.record.requests) != 1:
                    return f"asked {len(server.record.requests)} times"
                return _typed(target, raised)

    return scenario


def _typed(target: Target, raised: BaseException) -> Verdict:
    caught = catch(raised)
    if not any(kind.startswith(target.errors) for kind in caught.kinds):
        return f"untyped {caught.kinds[0]}"
    if target.ours and caught.facts["is_retryable"]:
        return f"{caught.name} is called retryable"
    return ""


def certificate(directory: Path) -> ssl.SSLContext:
    """Make a certificate that nobody vouches for, and a server's context with it."""
    key, cert = directory / "key.pem", directory / "cert.pem"
    subject: Sequence[str] = ("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-keyout", str(key), "-out", str(cert), *subject]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


def _self_signed(target: Target, mode: Mode) -> Verdict:
    with (
        tempfile.TemporaryDirectory() as directory,
        FaultServer([GOOD], tls=certificate(Path(directory))) as server,
    ):
        raised = _play(target.model(server.url, Settings()), mode)
        if raised is None or server.record.requests:
            return "talked to a server nobody vouches for"
        if target.ours and len(server.record.connections) != 1:
            return f"tried {len(server.record.connections)} times"
        verdict = _typed(target, raised)
        if verdict or not target.ours:
            return verdict
        trusting = Settings(more={"verify": str(Path(directory) / "cert.pem")})
        raised = _play(target.model(server.url, trusting), mode)
        return f"with `verify`: {raised!r}"[:200] if raised else ""


def _user_info(target: Target, mode: Mode) -> Verdict:
    with FaultServer([GOOD]) as server:
        address = f"http://user:{PASSWORD}@127.0.0.1:{server.port}"
        try:
            model = target.model(address, ONCE)
        except ValueError as refused:
            leak = PASSWORD in f"{refused} {refused!r}"
            return "the refusal shows the password" if leak else ""
        if target.ours:
            return "user info was accepted"
        return "the password shows" if PASSWORD in _shown_by(model) else ""


def _cookieless(seen: Seen) -> Verdict:
    sent = [one.headers["cookie"] for one in seen.record.requests if "cookie" in one.headers]
    return f"sent the cookie {sent[0]!r}" if sent else ""


def _secret(
    name: str, promise: str, scenario: Callable[[Target, Mode], Verdict], *modes: Mode
) -> Fault:
    return Fault("secrets", name, promise, scenario=scenario, modes=modes or MODES, isolated=True)


SECRETS = (
    _secret("key in repr", "no view of a model shows the key", _in_repr, "invoke"),
    _secret(
        "key in an exception",
        "no error, its chain, its pickle or its locals show the key",
        _in_exception,
    ),
    _secret("key in logs", "no log shows the key, at DEBUG neither", _in_logs, "invoke", "ainvoke"),
    _secret(
        "headers in repr",
        "no view of a model shows its headers' values",
        _headers_in_repr,
        "invoke",
    ),
    _secret("key echoed by the server", "what the service repeats is scrubbed", _echoed),
    Fault(
        "secrets",
        "cookies of an earlier answer",
        "no call can be traced to who made an earlier one",
        scripts=(stream(answer(), headers={"Set-Cookie": "visitor=17; Path=/"}),),
        expect=both(answers(requests=2), _cookieless),
        calls=2,
    ),
    _secret("key in traces", "no trace shows the key or a page", _in_traces),
    _secret("302 to another host", "redirects are not followed", _redirected("302 Found")),
    _secret(
        "307 to another host",
        "redirects are not followed, with the body neither",
        _redirected("307 Temporary Redirect"),
    ),
    _secret(
        "self-signed TLS",
        "an unknown certificate ends the call, and is not tried again",
        _self_signed,
        "invoke",
        "astream",
    ),
    _secret(
        "user info in the address",
        "an address with a password is refused, unrepeated",
        _user_info,
        "invoke",
    ),
)
