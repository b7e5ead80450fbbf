"""The contract, answers cut short, and stalls."""

import itertools

from tests.faults.fault import (
    Expect,
    Fault,
    Seen,
    Verdict,
    answers,
    both,
    connections,
    per_mode,
    raises,
)
from tests.faults.server import Exchange, Script
from tests.faults.targets import Settings
from tests.faults.wire import (
    CHUNKED,
    DONE,
    GOOD,
    TEXT,
    TOKENS,
    answer,
    body,
    chunked,
    closed_at_end,
    completion,
    drip,
    event,
    finish,
    head,
    stream,
    token,
    tokens,
    usage,
)


def _incremental(seen: Seen) -> Verdict:
    shown = seen.last.chunks
    return "" if not seen.streams or shown == len(TOKENS) else f"showed {shown} pieces"


def _counted(seen: Seen) -> Verdict:
    counts = seen.last.usage or {}
    total = (counts.get("input_tokens"), counts.get("output_tokens"), counts.get("total_tokens"))
    cached = counts.get("input_token_details", {}).get("cache_read")
    reasoning = counts.get("output_token_details", {}).get("reasoning")
    if total != (11, 5, 16):
        return f"counted {total}"
    return "" if (cached, reasoning) == (3, 2) else f"details {cached}, {reasoning}"


def _proxied(seen: Seen) -> Verdict:
    target = seen.record.requests[0].target if seen.record.requests else ""
    return "" if target.startswith("http://127.0.0.1:9/api") else f"asked for {target!r}"


def _hinted(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
    GOOD(exchange)


CONTRACT = (
    Fault(
        "contract",
        "plain stream",
        "each piece is shown as it comes",
        expect=both(answers(), _incremental),
    ),
    Fault(
        "contract",
        "invoke over SSE",
        "`invoke` collects the stream that the service sends",
        modes=("invoke", "ainvoke"),
        expect=answers(),
        plain=True,
    ),
    Fault(
        "contract",
        "usage chunk kept",
        "the counts and their details arrive",
        expect=both(answers(), _counted),
    ),
    Fault(
        "contract",
        "103 Early Hints",
        "informational answers are passed over",
        scripts=(_hinted,),
        expect=answers(),
    ),
    Fault(
        "contract",
        "proxy variables honoured",
        "`HTTP_PROXY` and its kin are obeyed",
        expect=both(answers(), _proxied),
        origin="http://127.0.0.1:9",
        isolated=True,
        environ={"HTTP_PROXY": "{url}", "http_proxy": "{url}", "NO_PROXY": "", "no_proxy": ""},
    ),
    Fault(
        "contract",
        "JSON in place of SSE",
        "one JSON document is an answer as well",
        scripts=(body("200 OK", completion()),),
        expect=answers(),
    ),
    Fault(
        "contract",
        "five calls on one connection",
        "a connection is used again",
        expect=both(answers(requests=5), connections(1)),
        calls=5,
    ),
)

# --- Truncation -------------------------------------------------------------------------

_CUT = event(token("never whole"))[:40]


def _reset_after(packets: list[bytes]) -> Script:
    def cut(exchange: Exchange) -> None:
        exchange.pause(0.1)
        exchange.reset()

    return stream(packets, then=cut)


def _close(exchange: Exchange) -> None:
    exchange.close()


def _malformed(exchange: Exchange) -> None:
    exchange.send(b"not-a-size\r\nwhatever\r\n")
    exchange.close()


def _lingers(exchange: Exchange) -> None:
    exchange.stall()


_interrupted = raises("StreamInterruptedError", retryable=True, requests=1, shown=TEXT)
_healed = per_mode(_interrupted, answers(requests=2))
_twice = per_mode(_interrupted, raises("StreamInterruptedError", retryable=True, requests=2))


def _shown_or_healed(seen: Seen) -> Verdict:
    """Either it is an error after whatever was shown, or it was asked again and is whole."""
    if seen.last.caught is None:
        return answers(requests=2)(seen)
    shown = seen.last.text
    verdict = raises("StreamInterruptedError", retryable=True, requests=1)(seen)
    return verdict or ("" if TEXT.startswith(shown) else f"showed {shown[:60]!r}")


def _healed_or_typed(seen: Seen) -> Verdict:
    """Ours asks again in `invoke`; a peer that raises there is right as well."""
    if seen.target.swallows and seen.streams:
        return _shown_or_healed(seen)
    if seen.target.ours or seen.last.caught is None:
        return _healed(seen)
    return raises()(seen)


def _done_soon(seen: Seen) -> Verdict:
    return answers(within=1.5)(seen) or ("" if seen.record.wait_closed(1) else "stays connected")


def _length(seen: Seen) -> Verdict:
    reason = seen.last.metadata.get("finish_reason")
    return "" if reason == "length" else f"finish_reason is {reason!r}"


TRUNCATION = (
    Fault(
        "truncation",
        "clean end mid-stream",
        "no end mark, no answer",
        scripts=(stream(tokens()), GOOD),
        expect=_healed_or_typed,
    ),
    Fault(
        "truncation",
        "cut chunked body",
        "a chunked body without its end is cut",
        scripts=(stream(tokens(), then=_close), GOOD),
        expect=_healed_or_typed,
    ),
    Fault(
        "truncation",
        "close-delimited body",
        "a body that just closes is cut",
        scripts=(closed_at_end(tokens()), GOOD),
        expect=_healed_or_typed,
    ),
    Fault(
        "truncation",
        "reset after tokens",
        "what was shown stays, then the error comes",
        scripts=(_reset_after(tokens()),),
        expect=_twice,
    ),
    Fault(
        "truncation",
        "malformed chunk",
        "a broken frame of HTTP is a cut",
        scripts=(stream(tokens(), then=_malformed), GOOD),
        expect=_healed_or_typed,
    ),
    Fault(
        "truncation",
        "cut inside an event",
        "half an event is no event",
        scripts=(stream([*tokens(), _CUT]), GOOD),
        expect=_healed_or_typed,
    ),
    Fault(
        "truncation",
        "finish without [DONE]",
        "a finish reason completes the answer",
        scripts=(stream([*tokens(), event(finish()), event(usage())]),),
        expect=answers(),
    ),
    Fault(
        "truncation",
        "[DONE] without newline",
        "a last `[DONE]` counts",
        scripts=(stream([*tokens(), event(finish()), event(usage()), DONE.rstrip()]),),
        expect=answers(),
    ),
    Fault(
        "truncation",
        "server lingers after [DONE]",
        "nobody waits for a server that lingers",
        scripts=(stream(answer(), then=_lingers),),
        expect=_done_soon,
    ),
    Fault(
        "truncation",
        "finish length",
        "an answer cut by the token limit says so",
        scripts=(stream(answer(reason="length")),),
        expect=both(answers(), _length),
    ),
)

# --- Stalls -------------------------------------------------------------------------------

QUICK = Settings(timeout=1.0, total_timeout=8.0)
TOTAL = Settings(timeout=1.0, total_timeout=2.0)
_LONG = 7.0


def _silent(exchange: Exchange) -> None:
    exchange.pause(_LONG)
    exchange.close()


def _late(shown: str | None = None, within: float = 3.0) -> Expect:
    def judge(seen: Seen) -> Verdict:
        if not seen.target.ours:
            return raises(within=within * 2)(seen)
        late = raises("APITimeoutError", retryable=False, requests=1, shown=shown, within=within)(
            seen
        )
        return late or ("" if seen.record.wait_closed(0) else "the connection stays open")

    return judge


_COMMENTED = drip(
    itertools.repeat(chunked(b": keep-alive\n\n")),
    0.2,
    _LONG,
    head(headers=CHUNKED) + b"".join(map(chunked, tokens())),
)
_ENDLESS = drip(itertools.repeat(chunked(event(token("x")))), 0.1, _LONG, head(headers=CHUNKED))
_DRIPPED = drip([bytes([byte]) for byte in head(headers=CHUNKED)], 0.2, _LONG)

_HINTS = drip(itertools.repeat(b"HTTP/1.1 103 Early Hints\r\n\r\n"), 0.2, _LONG)

STALLS = (
    Fault(
        "stalls",
        "before headers",
        "silence ends after `timeout`",
        scripts=(_silent,),
        expect=_late(),
        settings=QUICK,
    ),
    Fault(
        "stalls",
        "mid-stream",
        "silence ends after `timeout`, between events too",
        scripts=(stream(tokens(), then=_silent),),
        expect=_late(shown=TEXT),
        settings=QUICK,
    ),
    Fault(
        "stalls",
        "with keep-alive comments",
        "comments are no progress",
        scripts=(_COMMENTED,),
        expect=_late(shown=TEXT),
        settings=QUICK,
    ),
    Fault(
        "stalls",
        "endless stream",
        "`total_timeout` ends what never ends",
        scripts=(_ENDLESS,),
        expect=_late(within=3.5),
        settings=TOTAL,
    ),
    Fault(
        "stalls",
        "endless informational answers",
        "hints that an answer will come are no progress",
        scripts=(_HINTS,),
        expect=_late(),
        settings=QUICK,
    ),
    Fault(
        "stalls",
        "headers dripped slowly",
        "dripped bytes are no progress",
        scripts=(_DRIPPED,),
        expect=_late(),
        settings=QUICK,
    ),
)
