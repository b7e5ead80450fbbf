"""The documented MiniToolAI service on a loopback port: no key, no cost, and every fault.

    from langchain_minitoolai import sandbox

    with sandbox.running() as service:
        service.base_url, service.api_key   # for the client
        service.reply("Hello!")             # script an answer
        service.fault(sandbox.faults.status(429, headers={"Retry-After": "1"}))
        service.charges, service.requests   # what was charged and received

It needs the extra `sandbox`; importing it loads nothing of that.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Final

from langchain_minitoolai.sandbox import faults
from langchain_minitoolai.sandbox._chat import CallForm, ToolCall
from langchain_minitoolai.sandbox._jobs import JobSeconds
from langchain_minitoolai.sandbox._service import (
    Charge,
    RecordedRequest,
    Script,
    Service,
    Settings,
)

__all__ = [
    "LOOPBACK",
    "CallForm",
    "Charge",
    "JobSeconds",
    "RecordedRequest",
    "Script",
    "Service",
    "ToolCall",
    "faults",
    "running",
]

LOOPBACK: Final = "127.0.0.1"
"""Where the service listens if nothing else is asked for."""


@contextmanager
def running(  # noqa: PLR0913 - each is a switch of its own
    *,
    host: str = LOOPBACK,
    port: int = 0,
    api_key: str | None = None,
    balance: float = 10.0,
    seed: int = 0,
    job_seconds: JobSeconds = None,
    token_seconds: float = 0.0,
    native_tools: bool = False,
    call_form: CallForm = "keyed",
    models: Iterable[str] | Mapping[str, tuple[float, float] | None] = (),
    fields: Iterable[str] = (),
    upstream: str | None = None,
    upstream_model: str | None = None,
) -> Iterator[Service]:
    """Run the service on a port of its own while the block runs; several may run at once.

    Args:
        host: The address to listen on. With any but a loopback address, such as `0.0.0.0` in a
            container, anyone who can reach the port can use the service, without TLS.
        port: The port; zero takes any that is free.
        api_key: The only key to accept; made up by default.
        balance: The prepaid credit, in USD.
        seed: What jobs' numbers, durations and the answers' ids are drawn from.
        job_seconds: How long an image takes: a number, a function of the job's parameters,
            or by default 1 to 4 seconds, drawn by model, steps and size.
        token_seconds: The pause before each event of an answer.
        native_tools: Whether OpenAI's fields for tools are accepted, and calls come so.
        call_form: How calls are written where tools stand in the prompt. `"keyed"` is as the
            prompt asks for; the rest are what models do instead: `"unkeyed"`, `"wrong_key"`,
            `"single_line"`, `"unclosed"`, `"string_arguments"`, `"fenced"` and `"bare"` JSON.
            `"quoted"` calls as asked, and repeats results and questions word for word.
        models: Chat models to serve besides the documented ones: names, or a mapping of names to
            prices in USD per million tokens read and written; what has no price costs nothing.
            Those named like OpenAI's reasoning models (`gpt-5…`, `o3…`) refuse `temperature`
            and spend tokens on thinking.
        fields: Fields of chat requests to accept besides the documented ones, with any value.
        upstream: The address of an OpenAI-compatible server that answers in place of the
            built-in responder.
        upstream_model: That server's name of the model to use; by default the one asked for
            if the server has it, else its first.

    Yields:
        The running service.

    Raises:
        ImportError: The extra `sandbox` is not installed.
        TypeError: `models` or `fields` is one text.
        OSError: The port is taken, or the address is not this machine's.
    """
    _check_extra()
    if isinstance(models, str) or isinstance(fields, str):
        raise TypeError(f"models is {models!r} and fields {fields!r}; allowed: lists of names")
    from langchain_minitoolai.sandbox._server import served  # noqa: PLC0415 - needs the extra

    settings = Settings(
        balance=balance,
        seed=seed,
        job_seconds=job_seconds,
        token_seconds=token_seconds,
        native_tools=native_tools,
        call_form=call_form,
        models=dict(models) if isinstance(models, Mapping) else dict.fromkeys(models),
        fields=tuple(fields),
        upstream=upstream,
        upstream_model=upstream_model,
    )
    with served(host, port, api_key, settings) as service:
        yield service


def _check_extra() -> None:
    missing = [name for name in ("starlette", "uvicorn", "PIL") if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"The sandbox needs {', '.join(missing)}, not installed here: "
            'pip install "langchain-minitoolai[sandbox]"'
        )
