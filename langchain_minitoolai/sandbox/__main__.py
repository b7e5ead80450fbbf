"""`python -m langchain_minitoolai.sandbox`: serve until Ctrl-C."""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from functools import partial
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
    options.models = dict(getattr(options, "models", ()))
    try:
        with sandbox.running(**vars(options)) as service:
            for name, value in service.environment.items():
                print(f"export {name}={value}")
            if not _is_loopback(options.host):
                print(_EXPOSED.format(host=options.host or "every address"), file=sys.stderr)
            print("Serving until Ctrl-C.", file=sys.stderr)
            sys.stdout.flush()
            threading.Event().wait()
    except KeyboardInterrupt:
        return 0
    except (ImportError, OSError) as error:
        print(f"The sandbox can't start: {error}", file=sys.stderr)
    return 1


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
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = partial(parser.add_argument, default=argparse.SUPPRESS)
    add("--host", metavar="ADDRESS", default=sandbox.LOOPBACK, help="where to listen")
    add("--port", type=int, help="the port, else any that is free")
    add("--api-key", help="the key to accept, else one that is made up")
    add("--upstream", metavar="URL", help="let this OpenAI-compatible server chat")
    add("--upstream-model", metavar="NAME", help="that server's model to use")
    add("--native-tools", action="store_true", help="accept OpenAI's fields for tools as well")
    forms = get_args(sandbox.CallForm)
    add("--call-form", choices=forms, default=forms[0], help="how calls are written")
    often = partial(add, action="append")
    often(
        "--model",
        dest="models",
        metavar="NAME[=READ,WRITTEN]",
        type=model_with_price,
        help="serve this chat model too, at these USD per million tokens; can be repeated",
    )
    often(
        "--field",
        dest="fields",
        metavar="NAME",
        help="accept this field of chat requests too, such as reasoning_effort; can be repeated",
    )
    pause = "the pause before each token"
    add("--token-seconds", type=float, default=0.02, metavar="S", help=pause)
    return parser


if __name__ == "__main__":
    # A process that a script starts in the background ignores Ctrl-C's signal otherwise.
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    sys.exit(main())
