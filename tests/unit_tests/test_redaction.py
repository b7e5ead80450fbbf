"""Texts that users see: without keys, printable, short; warnings at the user's line."""

import html
import json
import logging
import string
import warnings
from collections.abc import Callable
from threading import Thread
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai import ChatMiniToolAI
from langchain_minitoolai._redaction import (
    MIN_KEY,
    hiding,
    is_secret_name,
    redact,
    safe_warn,
    tidy,
    warn,
)

KEY = "sk-te/st+0123456789"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tand \x1b[31mcolours\x00", "two lines and [31mcolours"),
        ("key sk-secret.", "key [key]."),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer [key]"),
        ("bearer\n  xyz, and more", "Bearer [key], and more"),
        ('{"a": "BEARER t"}', '{"a": "Bearer [key]"}'),
        ("\u202eevil\u2028", "evil"),
        ("", ""),
    ],
)
def test_foreign_text_is_made_fit_to_show(text: str, shown: str) -> None:
    assert tidy(text, "sk-secret") == shown


def test_what_is_too_long_ends_in_an_ellipsis() -> None:
    assert tidy("x" * 300) == "x" * 300
    assert tidy("x" * 301) == "x" * 299 + "…"


@given(st.text(), st.text(), st.text(string.ascii_letters + string.digits + "-", min_size=MIN_KEY))
def test_no_text_shows_a_secret_or_grows_too_long(before: str, after: str, key: str) -> None:
    shown = tidy(before + key + after, key)
    assert key not in shown
    assert len(shown) <= 300
    assert shown.isprintable()


def unicode_escapes(text: str) -> str:
    return "".join(f"\\u{ord(character):04X}" for character in text)


ESCAPES: list[Callable[[str], str]] = [
    unicode_escapes,
    lambda text: text.replace("s", "\\u0073"),
    lambda text: text.replace("/", "\\/"),
    lambda text: "".join(f"\\x{ord(character):02x}" for character in text),
    lambda text: quote(text, safe=""),
    lambda text: quote(quote(text, safe=""), safe=""),
    lambda text: "".join(f"&#{ord(character)};" for character in text),
    lambda text: "".join(f"&#x{ord(character):X};" for character in text),
    lambda text: text.replace("/", "&sol;").replace("+", "&plus;"),
    lambda text: html.escape(text.replace("/", "&#47;")),
    lambda text: json.dumps(json.dumps(text.replace("/", "\\/"))),
    lambda text: json.dumps(unicode_escapes(text))[1:-1],
]


@pytest.mark.parametrize("escape", ESCAPES)
def test_an_escaped_key_is_redacted_as_well(escape: Callable[[str], str]) -> None:
    shown = tidy(f'{{"error": "no such key: {escape(KEY)}."}}', KEY)
    assert "[key]" in shown
    assert escape(KEY).strip('"') not in shown
    assert shown.startswith('{"error": "no such key: ')


@pytest.mark.parametrize("escape", [str, *ESCAPES])
@pytest.mark.parametrize("before", range(275, 301, 4))
def test_a_key_is_redacted_before_the_text_is_cut(
    escape: Callable[[str], str], before: int
) -> None:
    shown = tidy("x" * before + escape(KEY) + "y" * 99, KEY)
    assert escape(KEY)[:4].strip('"') not in shown
    assert KEY[:4] not in shown


def test_text_without_the_key_keeps_its_escapes() -> None:
    text = r"C:\u0073ers\/100%25 &amp; more"
    assert redact(text, KEY) == text


def test_a_key_that_stands_inside_ordinary_words_is_not_looked_for() -> None:
    assert tidy("the latest", "test") == "the latest"
    assert tidy("the latest", "") == "the latest"
    assert redact("a" * MIN_KEY, "a" * MIN_KEY) == "[key]"


def test_a_hidden_key_needs_not_be_passed() -> None:
    with hiding(KEY):
        assert tidy(f"a {KEY}") == "a [key]"
    assert tidy(f"a {KEY}") == f"a {KEY}"


@pytest.mark.parametrize("name", ["api_key", "X-Api-Key", "token", "Authorization", "password"])
def test_names_of_secrets_are_recognised(name: str) -> None:
    assert is_secret_name(name)
    assert not is_secret_name(name + "izer")


# --- Warnings -------------------------------------------------------------------------


def test_a_warning_points_at_the_line_that_called_the_package() -> None:
    scope: dict[str, Any] = {"__name__": "langchain_minitoolai._chat.request", "warn": warn}
    exec("def ours(): warn('odd')", scope)  # noqa: S102 - a frame of the package
    with pytest.warns(UserWarning, match="odd") as caught:
        scope["ours"]()
    assert caught[0].filename == __file__


def test_a_warning_passes_by_pydantic_and_langchain() -> None:
    with pytest.warns(UserWarning, match="is not among those") as caught:
        ChatMiniToolAI(api_key="a-key", model="a-model-of-this-test")
    assert caught[0].filename == __file__


def test_without_a_line_of_a_user_a_warning_still_comes() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        thread = Thread(target=warn, args=("odd",))
        thread.start()
        thread.join()
    assert [str(one.message) for one in caught] == ["odd"]


def test_where_warnings_are_errors_a_safe_one_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning, match="odd"):
            warn("odd")
        safe_warn("something is odd")
    assert [(one.levelno, one.getMessage()) for one in caplog.records] == [
        (logging.WARNING, "something is odd")
    ]


def test_a_safe_warning_points_at_the_user_s_line_too() -> None:
    with pytest.warns(UserWarning, match="odd") as caught:
        safe_warn("odd")
    assert caught[0].filename == __file__
