import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai.sandbox import _text


def test_words_come_apart_at_case_and_underscores() -> None:
    assert _text.words("getWeather my_tool, Æble 3x") == [
        "get", "weather", "my", "tool", "æble", "x",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("draw", "a picture"),
        ("images", "photo"),
        ("adder", "the sum"),
        ("generators", "generator"),
        ("stopped", "stop it"),
        ("weather", "temperature"),
    ],
)
def test_words_of_one_meaning_have_one_stem(one: str, other: str) -> None:
    assert _text.stems(one) & _text.stems(other)


def test_little_words_have_no_stem() -> None:
    assert _text.stems("What is the use of the tool?") == frozenset()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2", [1, 2]),
        ("-3.5 and 4", [-3.5, 4]),
        ("512x768 or 3 × 4", [512, 768, 3, 4]),
        ("gpt4, v2, a_1", []),
        ("none", []),
    ],
)
def test_numbers_are_read_in_order(text: str, expected: list[float]) -> None:
    found = _text.numbers(text)
    assert found == expected
    assert [type(n) for n in found] == [type(n) for n in expected]


@pytest.mark.parametrize("quote", ['"a b"', "“a b”", "«a b»", "`a b`", "'a b'", "‘a b’"])
def test_quotes_are_read_in_every_form(quote: str) -> None:
    assert _text.quotes(f"say {quote} now") == ["a b"]


def test_an_apostrophe_is_no_quote() -> None:
    assert _text.quotes("it's what isn't") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is the weather in San Francisco, CA?", "San Francisco, CA"),
        ("the forecast for Tromsø tomorrow", "Tromsø"),
        ("Is it warm?", None),
    ],
)
def test_a_place_is_the_name_after_a_preposition(text: str, expected: str | None) -> None:
    assert _text.place(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Please draw me a picture of a red fox in the snow.", "red fox in the snow"),
        ("Tell me a joke about cats.", "cats"),
        ("Hello", "Hello"),
        ("Why?", "Why"),
        ("", ""),
    ],
)
def test_a_request_is_reduced_to_its_subject(text: str, expected: str) -> None:
    assert _text.subject(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What is 2 + 2?", ("2 + 2", 4)),
        ("2*3-4/2", ("2*3-4/2", 4)),
        ("1 / 3", ("1 / 3", 0.333333)),
        ("2 - -3", ("2 - -3", 5)),
        ("1 / 0", None),
        ("24 hours", None),
    ],
)
def test_sums_are_worked_out(text: str, expected: tuple[str, float] | None) -> None:
    assert _text.arithmetic(text) == expected


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    _text.numbers(text)
    _text.arithmetic(text)
    _text.stems(text)
    assert _text.subject(text) in text
