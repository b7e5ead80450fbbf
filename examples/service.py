"""Shared by the examples: the service to use, and the text of a failure.

Without a key an example runs against the sandbox, which costs nothing. With
`MINITOOLAI_API_KEY` set it runs against the service, after saying what that costs.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from langchain_minitoolai import MiniToolAIError, contract


class Needs(NamedTuple):
    """An upper estimate of what an example uses."""

    reads: int
    writes: int
    images: int = 0
    model: str = contract.DEFAULT_CHAT_MODEL

    @property
    def usd(self) -> float:
        """The cost, in USD."""
        price = contract.CHAT_PRICES[self.model]
        tokens = self.reads * price.input + self.writes * price.output
        return tokens / 1_000_000 + self.images * contract.IMAGE_PRICE


class ExampleError(Exception):
    """The example can't go on; its text says why."""


@contextmanager
def chosen_service(needs: Needs) -> Iterator[dict[str, Any]]:
    """Choose the service, with a key and an address, or the sandbox."""
    if os.environ.get(contract.API_KEY_VARIABLE) or os.environ.get(contract.API_BASE_VARIABLE):
        address = os.environ.get(contract.API_BASE_VARIABLE, contract.API_BASE)
        print(f"Talking to {address}. This costs about ${needs.usd:.4f} of your credit.")
        yield {}
        return
    from langchain_minitoolai import sandbox  # noqa: PLC0415 - only needed without a key

    print("No MINITOOLAI_API_KEY is set: talking to the sandbox on this machine, at no cost.")
    if needs.images:
        print("It draws a landscape in the prompt's colors, whatever the prompt asks for.")
    with sandbox.running(token_seconds=0.02) as service:
        yield {"api_key": service.api_key, "base_url": service.base_url}


def run(name: str, job: Callable[[dict[str, Any]], None], needs: Needs) -> int:
    """Run an example with what points the classes at the service; a failure is one line.

    Returns:
        The exit code.
    """
    try:
        with chosen_service(needs) as access:
            job(access)
    except (MiniToolAIError, ExampleError, ImportError) as error:
        print(f"\n{name}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever reads the output, `head` for one, has enough
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for exit
        return 0
    except KeyboardInterrupt:
        print(f"\n{name}: stopped", file=sys.stderr)
        return 130
    return 0
