from typing import Any

import pytest

from langchain_minitoolai.sandbox._schema_faker import fill

TEXT = {"type": "string"}
WHOLE = {"type": "integer"}


def filled(question: str, **properties: Any) -> Any:
    return fill({"properties": properties}, question)


def one(question: str, schema: Any, name: str = "thing") -> Any:
    return filled(question, **{name: schema})[name]


def test_numbers_are_taken_in_order_and_once() -> None:
    assert filled("What is 3 + 4.5?", a=WHOLE, b={"type": "number"}) == {"a": 3, "b": 4.5}


def test_a_named_number_goes_where_it_is_named() -> None:
    question = "Draw it with 6 steps, width 512 and height: 768"
    assert filled(question, height=WHOLE, width=WHOLE, steps=WHOLE) == {
        "height": 768,
        "width": 512,
        "steps": 6,
    }


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"minimum": 5}, 7),
        ({"maximum": 5}, 3),
        ({"exclusiveMinimum": 3}, 7),
        ({"exclusiveMaximum": 3}, 0),
        ({"minimum": 10}, 10),
        ({"minimum": 10, "default": 12}, 12),
        ({"exclusiveMinimum": 10}, 11),
    ],
)
def test_only_numbers_in_range_are_taken(schema: dict[str, Any], expected: int) -> None:
    assert one("3.5, 3 or 7", {**WHOLE, **schema}) == expected


def test_the_result_of_a_sum_is_worked_out() -> None:
    assert one("What is 2 + 2?", WHOLE, "answer") == 4
    assert one("What is 1 / 4?", {"type": "number"}, "result") == 0.25
    assert one("What is 2 + 2?", TEXT, "sum") == "4"


def test_what_stands_in_the_brackets_of_a_call_is_read_first() -> None:
    schema = {"properties": {"x": WHOLE}}
    assert fill(schema, "In 2 steps: twice(9)", name="twice") == {"x": 9}
    assert fill(schema, "In 2 steps", name="twice") == {"x": 2}


def test_choices_are_those_that_the_question_names() -> None:
    assert one("With DPM++ 2M Karras, please", {"enum": ["DPM++ 2M", "DPM++ 2M Karras"]}) == (
        "DPM++ 2M Karras"
    )
    assert one("Any", {"enum": ["a b", "c"], "default": "c"}) == "c"
    assert one("Any", {"enum": ["a b", "c"]}) == "a b"
    assert one("Any", {"const": 5}) == 5


@pytest.mark.parametrize(
    ("question", "schema", "expected"),
    [
        ("without sound", {}, False),
        ("with sound", {"default": False}, True),
        ("quick", {"default": False}, False),
        ("quick", {}, True),
    ],
)
def test_truth_is_what_the_question_mentions(
    *, question: str, schema: dict[str, Any], expected: bool
) -> None:
    assert one(question, {"type": "boolean", **schema}, "sound") is expected


@pytest.mark.parametrize("kind", ["boolean", "integer"])
def test_a_property_without_a_name_is_filled_too(kind: str) -> None:
    assert one("1", {"type": kind}, "") == 1


@pytest.mark.parametrize(
    ("question", "schema", "expected"),
    [
        ("on 2026-02-03", {"format": "date"}, "2026-02-03"),
        ("some day", {"format": "date"}, "2025-01-01"),
        ("to ada@example.org.", {"format": "email"}, "ada@example.org"),
        ("about cats", {"maxLength": 3}, "cat"),
        ("about cats", {"minLength": 6}, "cats.."),
        ("called 'Ada'", {}, "Ada"),
        ("about cats", {"default": "dogs"}, "dogs"),
        ("", {}, "something"),
        ("about cats", {"type": ["null", "string"]}, "cats"),
    ],
)
def test_texts_fit_their_format_and_length(
    question: str, schema: dict[str, Any], expected: str
) -> None:
    assert one(question, {**TEXT, **schema}) == expected


def test_texts_differ_from_each_other() -> None:
    assert filled("A joke about cats.", setup=TEXT, punchline=TEXT) == {
        "setup": "cats",
        "punchline": "punchline of cats",
    }


def test_a_place_goes_where_one_is_asked_for() -> None:
    assert one("The weather in Oslo?", TEXT, "city") == "Oslo"
    assert one("The weather here?", TEXT, "city") == "weather here"


def test_lists_hold_what_the_question_lists() -> None:
    assert one("Add 1, 2 and 3", {"type": "array", "items": WHOLE}) == [1, 2, 3]
    assert one("'a' and 'b'", {"type": "array", "items": TEXT, "maxItems": 1}) == ["a"]
    assert one("x", {"type": "array", "items": {"enum": ["p"]}, "minItems": 2}) == ["p", "p"]
    assert one("x", {"type": "array", "items": {"type": "object"}}) == [{}]
    assert one("7 x", {"type": "array", "prefixItems": [WHOLE, TEXT]}) == [7, "7 x"]


def test_references_and_unions_are_followed() -> None:
    schema = {
        "type": "object",
        "properties": {
            "pet": {"$ref": "#/$defs/Pet"},
            "age": {"anyOf": [{"type": "null"}, WHOLE], "description": "in years"},
            "void": {"oneOf": [{"type": "null"}]},
            "both": {
                "allOf": [
                    {"$ref": "#/$defs/Pet"},
                    {"properties": {"b": WHOLE}, "required": ["b"]},
                ]
            },
            "lost": {"$ref": "#/$defs/Nobody/else"},
            "odd": True,
        },
        "$defs": {"Pet": {"properties": {"name": {"const": "Rex"}}, "required": ["name"]}},
    }
    assert fill(schema, "5 or 6") == {
        "pet": {"name": "Rex"},
        "age": 5,
        "void": None,
        "both": {"name": "Rex", "b": 6},
        "lost": "5 or 6",
        "odd": "odd of 5 or 6",
    }


def test_a_schema_within_itself_comes_to_an_end() -> None:
    node = {
        "type": "object",
        "properties": {
            "value": WHOLE,
            "next": {"anyOf": [{"$ref": "#/$defs/Node"}, {"type": "null"}]},
            "more": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
        },
        "required": ["value", "next", "more"],
    }
    found = fill({"$ref": "#/$defs/Node", "$defs": {"Node": node}}, "7")
    depth = 0
    while found:
        found, depth = found["next"], depth + 1
    assert 1 < depth < 10
    optional = {**node, "required": []}
    assert fill({"$ref": "#/$defs/Node", "$defs": {"Node": optional}}, "7")["value"] == 7


def test_sparse_filling_leaves_out_what_is_not_named() -> None:
    schema = {
        "properties": {
            "prompt": TEXT,
            "width": WHOLE,
            "steps": WHOLE,
            "model": {"enum": ["amigo", "realism"]},
            "kind": {"enum": ["p", "q"]},
        },
        "required": ["prompt"],
    }
    assert fill(schema, "Draw a fox, width 512, by amigo", sparse=True) == {
        "prompt": "fox, width 512, by amigo",
        "width": 512,
        "model": "amigo",
    }
