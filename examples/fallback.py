"""From one model to another: when the first can't answer, the second does."""

import sys
import warnings
from typing import Any

from service import Needs, run

from langchain_minitoolai import ChatMiniToolAI, MiniToolAIError

FIRST, SECOND = "gpt-4.5-not-yet", "gpt-4.1-mini"
QUESTION = "Name a fjord."


def ask(access: dict[str, Any]) -> None:
    """Ask a model that the service may not have, with another behind it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the name is not among those documented
        first = ChatMiniToolAI(model=FIRST, **access)
    second = ChatMiniToolAI(model=SECOND, **access)
    model = first.with_fallbacks([second], exceptions_to_handle=(MiniToolAIError,))
    print(f"\nyou:   {QUESTION}\nmodel: ", end="")
    answered_by = ""
    for chunk in model.stream(QUESTION):
        print(chunk.text, end="", flush=True)
        answered_by = chunk.response_metadata.get("model_name", answered_by)
    print(f"\n       (asked {FIRST}, answered by {answered_by})")


if __name__ == "__main__":
    sys.exit(run("fallback", ask, Needs(reads=50, writes=200, model=SECOND)))
