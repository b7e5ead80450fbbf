"""The facts about the service, beside the examples and the words of the provider's page."""

import json
import subprocess
import sys

import pytest

from langchain_minitoolai import contract
from langchain_minitoolai.contract import Range

# The page's own requests.
CHAT = {
    "model": "gpt-4o-mini",
    "messages": [
        {"role": "developer", "content": "You are a helpful assistant."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "How can I help you today?"},
        {"role": "user", "content": "What's the largest U.S. state by area?"},
    ],
    "temperature": 1.0,
    "max_completion_tokens": 1000,
}
IMAGE = {
    "model": "realvision",
    "prompt": "Ultra realistic portrait",
    "negativePrompt": "unrealistic eyes, malformed features, ugly drawn",
    "scheduler": "DPM++ SDE",
    "steps": 4,
    "cfgScale": 2.0,
    "width": 1152,
    "height": 768,
}
JOB = {"jobid": "12345678", "signature": "abcxyz123"}


def test_the_addresses_are_the_page_s() -> None:
    assert contract.API_BASE + contract.CHAT_PATH == "https://minitoolai.com/api/chat-completions/"
    assert contract.API_BASE + contract.IMAGE_PATH == "https://minitoolai.com/api/texttoimage/"
    job = contract.API_BASE + contract.IMAGE_JOB_PATH
    assert job == "https://minitoolai.com/api/texttoimage/jobs/"


def test_the_page_s_requests_are_made_of_the_fields() -> None:
    assert set(CHAT) == set(contract.CHAT_FIELDS)
    assert set(IMAGE) == set(contract.IMAGE_FIELDS)
    assert set(JOB) == set(contract.IMAGE_JOB_FIELDS)
    assert {message["role"] for message in CHAT["messages"]} == set(contract.CHAT_ROLES)  # type: ignore[attr-defined]


def test_the_page_s_values_are_among_those_allowed() -> None:
    assert CHAT["model"] in contract.CHAT_MODELS
    assert IMAGE["model"] in contract.IMAGE_MODELS
    assert IMAGE["scheduler"] in contract.SCHEDULERS
    for name, numbers in (
        ("steps", contract.STEPS),
        ("cfgScale", contract.CFG_SCALE),
        ("width", contract.IMAGE_SIZE),
        ("height", contract.IMAGE_SIZE),
    ):
        assert numbers.minimum <= float(str(IMAGE[name])) <= numbers.maximum


@pytest.mark.parametrize(
    ("numbers", "documented"),
    [
        (contract.TEMPERATURE, (0.0, 2.0, 1)),
        (contract.STEPS, (1, 8, 4)),
        (contract.CFG_SCALE, (1, 7, 2)),
        (contract.IMAGE_SIZE, (256, 1344, 1024)),
    ],
)
def test_the_ranges_are_the_page_s(numbers: Range, documented: tuple[float, ...]) -> None:
    assert numbers == documented
    assert numbers.minimum <= numbers.default <= numbers.maximum


def test_the_defaults_are_the_page_s() -> None:
    assert contract.DEFAULT_MAX_COMPLETION_TOKENS == 1000
    assert contract.DEFAULT_SCHEDULER == "DPM++ SDE"
    assert contract.DEFAULT_CHAT_MODEL in contract.CHAT_MODELS
    assert contract.DEFAULT_IMAGE_MODEL in contract.IMAGE_MODELS
    assert contract.DEFAULT_SCHEDULER in contract.SCHEDULERS


def test_the_models_are_the_page_s() -> None:
    chat = "gpt-4o, gpt-4o-mini, gpt-4.1, gpt-4.1-mini, gpt-4.1-nano"
    assert set(contract.CHAT_MODELS) == set(chat.split(", "))
    image = (
        "realvision, juggernaut, autismmix, dreamshaper, valhalla, mixrealistic, campursari, "
        "reality, extrarealistic, realism, realgirls, realityreborn, amigo, simplemix, "
        "beautifulrealistic"
    )
    assert list(contract.IMAGE_MODELS) == image.split(", ")
    assert contract.VISION_MODELS == ("gpt-4o-mini", "gpt-4o")


def test_the_schedulers_are_the_page_s() -> None:
    schedulers = (
        "Euler a, Euler, LMS, Heun, DPM2, DPM2 a, DPM++ 2S a, DPM++ 2M, DPM++ SDE, DPM++ 2M SDE, "
        "DPM fast, LMS Karras, DPM2 Karras, DPM2 a Karras, DPM++ 2S a Karras, DPM++ 2M Karras, "
        "DPM++ SDE Karras, DPM++ 2M SDE Karras"
    )
    assert list(contract.SCHEDULERS) == schedulers.split(", ")


def test_the_prices_are_the_page_s() -> None:
    assert contract.CHAT_PRICES == {
        "gpt-4o-mini": (0.15, 0.60),
        "gpt-4o": (2.50, 10.00),
        "gpt-4.1": (2.00, 8.00),
        "gpt-4.1-mini": (0.40, 1.60),
        "gpt-4.1-nano": (0.10, 0.40),
    }
    assert contract.IMAGE_PRICE == 0.0015


def test_every_chat_model_has_a_price_and_limits() -> None:
    for facts in (contract.CHAT_PRICES, contract.TOKEN_LIMITS, contract.IMAGE_TOKENS):
        assert set(facts) == set(contract.CHAT_MODELS)
    assert set(contract.SNAPSHOTS) == set(contract.CHAT_MODELS)
    for limits in contract.TOKEN_LIMITS.values():
        assert contract.DEFAULT_MAX_COMPLETION_TOKENS < limits.output < limits.input


def test_images_are_of_the_page_s_kinds() -> None:
    kinds = {kind.removeprefix("image/") for kind in contract.INPUT_IMAGE_TYPES}
    assert kinds == {"jpeg", "png", "webp", "gif"}
    assert set(contract.IMAGE_DETAILS) == {"auto", "high", "low"}


def test_the_facts_need_nothing_but_the_standard_library() -> None:
    program = (
        "import sys, json; before = set(sys.modules); import langchain_minitoolai.contract;"
        "print(json.dumps([name.split('.')[0] for name in set(sys.modules) - before]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    found = set(json.loads(run.stdout)) - set(sys.stdlib_module_names)
    assert found == {"langchain_minitoolai"}
