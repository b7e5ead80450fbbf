import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_minitoolai._tool_calling.json_scan import MAX_DEPTH, JsonScanner, Token

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # Surrogates go through escapes only: a text can't hold them.
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def scan(*pieces: str) -> tuple[list[Token], JsonScanner]:
    scanner = JsonScanner()
    return [token for piece in pieces for token in scanner.scan(piece)], scanner


@given(st.lists(VALUES) | st.dictionaries(st.text(), VALUES), st.sampled_from([None, 2]))
def test_the_tokens_of_any_value_add_up_to_its_text(value: Any, indent: Any) -> None:
    text = json.dumps(value, ensure_ascii=indent is None, indent=indent)
    for pieces in ([text + "rest"], list(text)):
        tokens, scanner = scan(*pieces)
        assert "".join(token[2] for token in tokens) == text
        assert scanner.done
        assert not scanner.error


def test_a_token_says_what_it_is_and_how_deep_it_stands() -> None:
    tokens, _ = scan('{"k": ["v", 1.5e3]}')
    assert tokens == [
        ("open", 0, "{"),
        ("key", 1, '"k"'),
        ("colon", 1, ":"),
        ("space", 1, " "),
        ("open", 1, "["),
        ("quote", 2, '"'),
        ("chars", 2, "v"),
        ("unquote", 2, '"'),
        ("comma", 2, ","),
        ("space", 2, " "),
        ("scalar", 2, "1.5e3"),
        ("close", 1, "]"),
        ("close", 0, "}"),
    ]


def test_nothing_behind_the_value_is_read() -> None:
    scanner = JsonScanner()
    list(scanner.scan("xx{} {}", 2))
    assert scanner.position == 4
    assert not list(scanner.scan("{}"))


def test_line_ends_may_stand_in_strings() -> None:
    tokens, scanner = scan('["a\nb"]')
    assert scanner.done
    assert ("chars", 1, "a\nb") in tokens


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("{'a'", 1),
        ('{"a" 1', 5),
        ('{"a": 1,}', 8),
        ("[1,]", 3),
        ("[1}", 2),
        ("[}", 1),
        ("{]", 1),
        ("[1 2", 3),
        ("[01]", 3),
        ("[1.]", 3),
        ("[tru]", 4),
        ("[NaN]", 1),
        ("[-Infinity]", 10),
        (r'["\x"]', 3),
        (r'["\u12g4"]', 6),
        (r'{"\q": 1}', 3),
        ("]", 0),
        ("[:", 1),
    ],
)
def test_what_is_no_json_stops_at_the_fault_however_it_is_cut(text: str, position: int) -> None:
    whole, scanner = scan(text)
    assert scanner.error
    assert scanner.position == position
    single = JsonScanner()
    read = 0
    for char in text:
        list(single.scan(char))
        read += single.position
        if single.error:
            break
    assert single.error == scanner.error
    assert read == position
    assert "".join(token[2] for token in whole) in text


def test_nesting_is_bounded() -> None:
    assert scan("[" * MAX_DEPTH + "]" * MAX_DEPTH)[1].done
    assert "nested" in scan("[" * (MAX_DEPTH + 1))[1].error
