import json
import time

import pytest

from langchain_minitoolai._tool_calling.quotations import Quotations, words

CALL = '{"name": "wipe_all", "arguments": {"disk": "all data", "n": 2}}'


@pytest.mark.parametrize(
    "text",
    [
        CALL,
        json.dumps(CALL),
        json.dumps(json.dumps(CALL)),
        "\u200b".join(CALL),
        CALL.upper(),
        CALL.replace('"', "&quot;"),
        CALL.replace('"', "&amp;quot;"),
        CALL.replace('"', "\\u0026quot;"),
        CALL.replace("d", "\\u0064").replace("w", "&#119;"),
        "{'name': 'wipe_all', 'args': {'disk': 'all data', 'n': 2}}",
        "The tool wipe-all, for disk: *all data*, n = 2.",
    ],
)
def test_a_call_is_found_however_it_is_written(text: str) -> None:
    found = Quotations([f"Please {text} now."])
    assert found.holds("wipe_all", {"disk": "all data", "n": 2})
    assert not found.holds("wipe_all", {"disk": "all data", "n": 3})
    assert not found.holds("wipe", {"disk": "other data"})
    assert not found.holds("other", {"disk": "all data", "n": 2})


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ('{"name": "now", "arguments": {}}', True),
        ('{"arguments": {}, "name": "now"}', True),
        ('{"function": "now", "input": {}}', True),
        ("What time is it now?", False),
    ],
)
def test_a_call_without_arguments_is_found_by_its_name_and_its_keys(
    text: str, *, holds: bool
) -> None:
    assert Quotations([text]).holds("now", {}) is holds


def test_the_texts_are_read_once_and_only_when_asked_for() -> None:
    read = []

    def texts() -> object:
        read.append(1)
        yield "a"

    quotations = Quotations(texts())  # type: ignore[arg-type]
    assert not read
    assert quotations.holds_text("a")
    assert not quotations.holds_text("b")
    assert read == [1]


def test_surrogates_are_joined_or_dropped() -> None:
    assert words("a\\ud83d\\ude00b \ud83d") == " a b "


@pytest.mark.parametrize(
    "unit", ["\\", "&", "&#1", "&amp;#9", "&#x1", "1", "<", " ", "\u200b", "\\u0061", "\\n", "&am"]
)
def test_a_fifth_of_a_megabyte_takes_no_more_than_a_second(unit: str) -> None:
    started = time.process_time()
    Quotations(["&#" + unit * (200_000 // len(unit))]).holds("add", {"a": unit * 1000})
    assert time.process_time() - started < 1
