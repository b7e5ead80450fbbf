"""`python -m langchain_minitoolai.sandbox`: serve until Ctrl-C."""

import argparse
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Final, get_args

from langchain_minitoolai import sandbox

_EXPOSED: Final = (
    "Warning: listening on {host}, so anyone who can reach this port can use the sandbox; "
    "there is no TLS: the key, questions and answers travel unencrypted."
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the two lines to export, and serve until interrupted."""
    options = _parser().parse_args(arguments)
    options.models = dict(options.models)
    try:
        with _ended_by_signals(), sandbox.running(**vars(options)) as service:
            for name, value in service.environment.items():
                print(f"export {name}={value}")
            if not _is_loopback(options.host):
                print(_EXPOSED.format(host=options.host), file=sys.stderr)
            print("Serving until Ctrl-C.", file=sys.stderr)
            sys.stdout.flush()
            threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    except (ImportError, OSError) as error:
        print(f"The sandbox can't start: {error}", file=sys.stderr)
    return 1


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let the signals that ask a process to end do what Ctrl-C does; only the main thread can.

    A process that a script starts in the background ignores Ctrl-C's own signal otherwise.
    """
    can = threading.current_thread() is threading.main_thread()
    signals = (signal.SIGTERM, signal.SIGINT) if can else ()
    before = [signal.signal(each, _interrupt) for each in signals]
    try:
        yield
    finally:
        for each, handler in zip(signals, before, strict=True):
            signal.signal(each, handler)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def model_with_price(text: str) -> tuple[str, tuple[float, float] | None]:
    """Read `NAME` or `NAME=READ,WRITTEN`."""
    name, equals, prices = text.partition("=")
    if not equals:
        return name, None
    read, written = map(float, prices.split(","))
    return name, (read, written)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m langchain_minitoolai.sandbox",
        description="The documented MiniToolAI service on a loopback port.",
    )
    parser.add_argument(
        "--host",
        default=sandbox.LOOPBACK,
        metavar="ADDRESS",
        help="the address to listen on, such as 0.0.0.0 in a container (default: %(default)s)",
    )
    parser.add_argument("--port", type=int, default=0, help="the port (default: any free one)")
    parser.add_argument("--api-key", help="the key to accept (default: made up)")
    parser.add_argument("--upstream", metavar="URL", help="let this OpenAI-compatible server chat")
    parser.add_argument("--upstream-model", metavar="NAME", help="that server's model to use")
    parser.add_argument(
        "--native-tools", action="store_true", help="accept OpenAI's fields for tools as well"
    )
    parser.add_argument(
        "--call-form",
        choices=get_args(sandbox.CallForm),
        default="keyed",
        help="how calls are written (default: %(default)s)",
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        dest="models",
        metavar="NAME[=READ,WRITTEN]",
        type=model_with_price,
        help="serve this chat model too, at these USD per million tokens; can be repeated",
    )
    parser.add_argument(
        "--field",
        action="append",
        default=[],
        dest="fields",
        metavar="NAME",
        help="accept this field of chat requests too, such as reasoning_effort; can be repeated",
    )
    parser.add_argument(
        "--token-seconds",
        type=float,
        default=0.02,
        metavar="S",
        help="the pause before each token (default: %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
