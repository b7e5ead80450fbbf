"""Write the tables of the documentation from the contract.

A page marks a table's place with `<!-- generated: NAME -->` and `<!-- end -->`; what stands
between them is replaced. `python docs/generate.py` writes the pages, `--check` only says
which ones are behind.
"""

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from langchain_core.messages import BaseMessage, HumanMessage
from pydantic import SecretStr

from langchain_minitoolai import contract, errors

ROOT = Path(__file__).parents[1]
TOOL_COUNTS = (1, 5, 20)
BATCH_READS, BATCH_WRITES = 200, 300
"""Tokens of a prompt and of its answer, in the costs of a batch."""
TOOL: dict[str, Any] = {
    "description": "Look up how many people live in a city, in a year.",
    "parameters": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "The city's English name"},
            "year": {"type": "integer", "default": 2025},
        },
        "required": ["city"],
    },
}
"""A tool of common size: a sentence, and two parameters."""
_WORDS = {True: "yes", False: "no"}
PLACE = re.compile(r"(<!-- generated: (?P<name>[\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def code(value: object) -> str:
    """Set a value as code; a whole number without its point."""
    number = isinstance(value, float) and value == int(value)
    return f"`{int(value) if number else value}`"  # type: ignore[call-overload]


def values(limits: contract.Range) -> str:
    """Say a range in words."""
    return f"{code(limits.minimum)} to {code(limits.maximum)}"


def chat_models() -> str:
    """The chat models: what they see, how much they read and write, what they cost."""
    header = (
        "Model",
        "Image input",
        "Reads, tokens",
        "Writes, tokens",
        "Input, USD per 1M tokens",
        "Output, USD per 1M tokens",
    )
    rows = [
        (
            code(model),
            "yes" if model in contract.VISION_MODELS else "no",
            f"{contract.TOKEN_LIMITS[model].input:,}",
            f"{contract.TOKEN_LIMITS[model].output:,}",
            f"{contract.CHAT_PRICES[model].input:.2f}",
            f"{contract.CHAT_PRICES[model].output:.2f}",
        )
        for model in contract.CHAT_MODELS
    ]
    return table(header, rows)


def chat_parameters() -> str:
    """The fields of a chat request, with their ranges and defaults."""
    rows = [
        ("`model`", ", ".join(map(code, contract.CHAT_MODELS)), code(contract.DEFAULT_CHAT_MODEL)),
        (
            "`temperature`",
            values(contract.TEMPERATURE),
            f"the service's {code(contract.TEMPERATURE.default)}",
        ),
        (
            "`max_tokens`",
            "at least `1`",
            f"the service's {code(contract.DEFAULT_MAX_COMPLETION_TOKENS)}",
        ),
    ]
    return table(("Parameter", "Values", "Default"), rows)


def input_images() -> str:
    """The images that a chat model takes."""
    rows = [
        ("Models", ", ".join(map(code, contract.VISION_MODELS))),
        ("Types", ", ".join(map(code, contract.INPUT_IMAGE_TYPES))),
        ("`detail`", ", ".join(map(code, contract.IMAGE_DETAILS))),
    ]
    return table(("Images", "Values"), rows)


def image_parameters() -> str:
    """The arguments of an image."""
    size = (values(contract.IMAGE_SIZE) + " pixels", code(contract.IMAGE_SIZE.default))
    rows = [
        ("`prompt`", "`prompt`", "text, not empty", "required"),
        ("`negative_prompt`", "`negativePrompt`", "text", "none"),
        (
            "`model`",
            "`model`",
            f"one of {len(contract.IMAGE_MODELS)} models",
            code(contract.DEFAULT_IMAGE_MODEL),
        ),
        ("`width`", "`width`", *size),
        ("`height`", "`height`", *size),
        ("`steps`", "`steps`", values(contract.STEPS), code(contract.STEPS.default)),
        ("`cfg_scale`", "`cfgScale`", values(contract.CFG_SCALE), code(contract.CFG_SCALE.default)),
        (
            "`scheduler`",
            "`scheduler`",
            f"one of {len(contract.SCHEDULERS)} schedulers",
            code(contract.DEFAULT_SCHEDULER),
        ),
    ]
    return table(("Argument", "Sent as", "Values", "Default"), rows)


def image_names() -> str:
    """The image models and schedulers by name, and what an image costs."""
    rows = [
        ("Models", ", ".join(map(code, contract.IMAGE_MODELS))),
        ("Schedulers", ", ".join(map(code, contract.SCHEDULERS))),
        ("Price", f"USD {contract.IMAGE_PRICE} an image, whatever the model"),
    ]
    return table(("What", "Names"), rows)


def all_faults() -> str:
    """Every fault that is provoked in the tests, and what holds then."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from tests.faults.catalog import faults  # noqa: PLC0415 - this table needs the tests

    rows = [(chapter, fault.name, fault.promise) for chapter, fault in faults()]
    return table(("Chapter", "Fault", "What holds"), rows)


def known_faults() -> str:
    """Every fault that a kind of client can't hold, and why."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from tests.faults.targets import TARGETS  # noqa: PLC0415 - this table needs the tests

    rows = [
        (target.title, name, reason)
        for target in TARGETS.values()
        for name, reason in target.known.items()
    ]
    return table(("Over", "Fault", "Why"), rows)


def tool_tokens() -> str:
    """Tokens that bound tools add to every request, by the model's own estimate."""
    from langchain_minitoolai import ChatMiniToolAI  # noqa: PLC0415 - only this table needs it

    model = ChatMiniToolAI(minitoolai_api_key=SecretStr("none"))
    asked: list[BaseMessage] = [HumanMessage("Hello")]
    alone = model.get_num_tokens_from_messages(asked)
    rows = []
    for count in TOOL_COUNTS:
        tools = [{**TOOL, "name": f"population_{number}"} for number in range(count)]
        tokens = model.get_num_tokens_from_messages(asked, tools) - alone
        usd = tokens * contract.CHAT_PRICES[contract.DEFAULT_CHAT_MODEL].input / 1_000
        rows.append((str(count), f"{tokens:,}", f"{usd:.2f}"))
    header = ("Tools bound", "Tokens more", f"USD more per 1,000 requests, {code(model.model)}")
    return table(header, rows)


def batch_costs() -> str:
    """What a million prompts cost by model, and a million images."""
    rows = [
        (code(model), f"{BATCH_READS * price.input + BATCH_WRITES * price.output:,.0f}")
        for model, price in contract.CHAT_PRICES.items()
    ]
    rows.append(("an image each", f"{contract.IMAGE_PRICE * 1_000_000:,.0f}"))
    return table(("Model", "USD for 1,000,000 rows"), rows)


def error_classes() -> str:
    """Every error class: when it is raised, what it is for LangChain, whether to ask again."""
    public = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.MiniToolAIError)
    ]
    rows = [
        (
            code(kind.__name__),
            inspect.cleandoc(kind.__doc__ or "").splitlines()[0].rstrip("."),
            ", ".join(code(base.__name__) for base in _core_bases(kind)),
            *(
                ("by case", "by case")
                if issubclass(kind, errors.ImageError)
                else (_WORDS[kind.is_retryable], _WORDS[kind.maybe_charged])
            ),
        )
        for kind in public
    ]
    return table(("Error", "When", "LangChain's own", "Retryable", "May be charged"), rows)


def _core_bases(kind: type) -> list[type]:
    """The nearest classes of langchain-core that an error is."""
    core = [base for base in kind.__mro__ if base.__module__ == "langchain_core.exceptions"]
    return [base for base in core if not any(base in other.__mro__[1:] for other in core)]


TABLES: dict[str, Callable[[], str]] = {
    "chat-models": chat_models,
    "chat-parameters": chat_parameters,
    "input-images": input_images,
    "image-parameters": image_parameters,
    "image-names": image_names,
    "errors": error_classes,
    "faults": all_faults,
    "known-faults": known_faults,
    "tool-tokens": tool_tokens,
    "batch-costs": batch_costs,
}


def render(page: str) -> str:
    """Give the page with every table anew.

    Raises:
        KeyError: For a place whose name is no table's.
    """
    return PLACE.sub(lambda m: f"{m[1]}{TABLES[m['name']]()}{m[3]}", page)


def pages() -> list[Path]:
    """List the pages that may hold tables."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def main(arguments: Sequence[str]) -> int:
    """Write the pages that are behind, or with `--check` name them."""
    check = "--check" in arguments
    behind = 0
    for page in pages():
        old = page.read_text(encoding="utf-8")
        new = render(old)
        if new == old:
            continue
        behind += 1
        print(f"{page.relative_to(ROOT)}: {'behind the contract' if check else 'written'}")
        if not check:
            page.write_text(new, encoding="utf-8")
    return 1 if check and behind else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
