import json
from typing import Any

import pytest

from langchain_minitoolai.sandbox._conversation import Result, Tool, read

ADD = {"name": "add", "description": "Add.", "parameters": {"type": "object"}}
LOOK = {"name": "look", "description": "Look."}


def developer(*tools: Any, rules: str = "") -> dict[str, Any]:
    lines = "\n".join(json.dumps(tool) for tool in tools)
    return {"role": "developer", "content": f"{rules}\n<tools>\n{lines}\n</tools>"}


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def talk(*messages: dict[str, Any], **fields: Any) -> Any:
    return read({"messages": messages, **fields})


def result(**data: Any) -> str:
    return f"<tool_response>\n{json.dumps(data)}\n</tool_response>"


def test_the_question_is_what_the_user_said_last() -> None:
    found = talk(user("One?"), {"role": "assistant", "content": "1"}, user(" Two? "))
    assert found.question == "Two?"


def test_tools_are_read_from_the_last_block_of_the_developer() -> None:
    decoy = developer({"name": "decoy"})
    found = talk(decoy, developer(ADD, LOOK), user(f"<tools>\n{json.dumps(ADD)}\n</tools>"))
    assert found.tools == [Tool("add", "Add.", {"type": "object"}), Tool("look", "Look.", {})]


@pytest.mark.parametrize("line", ["not json", "[1]", '{"description": "x"}'])
def test_a_line_that_is_no_function_is_skipped(line: str) -> None:
    message = {"role": "developer", "content": f"<tools>\n{line}\n</tools>"}
    assert talk(message, user("x")).tools == []


def test_calls_and_results_belong_to_the_last_question() -> None:
    call = '<tool_call>\n{"name": "add", "arguments": {}}\n</tool_call>'
    turn = [
        {"role": "assistant", "content": call},
        user(result(id="1", name="add", status="success", content="3")),
    ]
    found = talk(user("One?"), *turn)
    assert (found.question, found.called) == ("One?", ["add"])
    assert found.results == [Result("add", "3", failed=False)]
    again = talk(user("One?"), *turn, user("Two?"))
    assert (again.question, again.called, again.results) == ("Two?", [], [])


def test_results_may_fail_hold_data_or_be_unreadable() -> None:
    blocks = [
        result(name="add", status="error", content="no b"),
        result(name="add", status="success", content={"a": "ø"}),
        "<tool_response>\nbroken\n</tool_response>",
    ]
    assert talk(user("x"), user("\n".join(blocks))).results == [
        Result("add", "no b", failed=True),
        Result("add", '{"a": "ø"}', failed=False),
        Result("the tool", "broken", failed=False),
    ]


@pytest.mark.parametrize(
    "rule",
    [
        "You must call a tool.",
        "You MUST answer with a tool call: nothing else.",
        "Your answer must contain at least one tool call.",
        "Always use one of the tools.",
        "A tool call is required.",
        "Answer only with a call.",
        "This answer must call a tool.",
        "This answer must call the tool.",
        "Respond with exactly one call.",
        "Be kind. You have to call the function `add`!",
    ],
)
def test_rules_that_demand_a_call_are_obeyed(rule: str) -> None:
    assert talk(developer(ADD, rules=rule), user("x")).demanded


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "You may call a tool.",
        "You must not call a tool.",
        "If you need one, you must call a tool.",
        "To call a tool, you must write JSON.",
        "Every answer must be polite.",
        "For several calls in one answer, write one block after another.",
        "Call only listed tools, and never invent a result.\nEnd your answer after your calls.",
        "If no tool is needed, answer in plain words without any tag.",
    ],
)
def test_other_rules_demand_nothing(rule: str) -> None:
    assert not talk(developer(ADD, rules=rule), user("You must call a tool.")).demanded


def test_a_tool_s_own_description_demands_nothing() -> None:
    tool = {**ADD, "description": "You must call this tool."}
    assert not talk(developer(tool), user("x")).demanded


@pytest.mark.parametrize("rule", ["Make at most one call.", "One tool at a time."])
def test_a_rule_may_allow_one_call_only(rule: str) -> None:
    assert talk(developer(ADD, rules=rule), user("x")).single


def test_the_schema_of_the_answer_is_read() -> None:
    text = '<response_schema>\n{"type": "object"}\n</response_schema>'
    message = {"role": "developer", "content": text}
    assert talk(message, user("x")).schema == {"type": "object"}


def test_json_is_answered_when_the_user_asks_for_it() -> None:
    found = talk(user("A joke as JSON with 'setup' and \"punchline\" keys."))
    assert found.schema == {"properties": {"setup": {}, "punchline": {}}}
    assert talk(user("Answer in JSON.")).schema == {"properties": {"answer": {}}}
    assert talk(user("Who was Jason?")).schema is None


@pytest.mark.parametrize(
    "rule", ["Answer with one JSON object and nothing else.", "Reply only in JSON."]
)
def test_json_is_answered_when_the_rules_ask_for_it(rule: str) -> None:
    assert talk(developer(rules=rule), user("x")).schema == {"properties": {"answer": {}}}
    arguments = developer(ADD, rules="The arguments are one JSON object.")
    assert talk(arguments, user("x")).schema is None


def test_words_beside_a_result_are_the_new_question() -> None:
    found = talk(user("One?"), user(f"{result(name='add', content='3')}\nAnd two?"))
    assert found.question == "And two?"
    assert [one.content for one in found.results] == ["3"]


def test_images_are_counted() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://a/b.png"}}
    found = talk(user([image, {"type": "text", "text": "Two?"}, image]), user("Now?"))
    assert found.images == 2


NATIVE = [{"type": "function", "function": ADD}, {"type": "function", "function": LOOK}]


def test_native_fields_say_the_same() -> None:
    call = {"id": "1", "function": {"name": "add", "arguments": "{}"}}
    found = talk(
        user("1 + 2?"),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "3", "tool_call_id": "1"},
        {"role": "tool", "content": "?", "tool_call_id": "2"},
        tools=NATIVE,
        parallel_tool_calls=False,
    )
    assert [tool.name for tool in found.tools] == ["add", "look"]
    assert found.called == ["add"]
    assert found.results == [
        Result("add", "3", failed=False),
        Result("the tool", "?", failed=False),
    ]
    assert (found.demanded, found.single) == (False, True)


@pytest.mark.parametrize(
    ("choice", "names", "demanded"),
    [
        ("auto", ["add", "look"], False),
        ("none", [], False),
        ("required", ["add", "look"], True),
        ({"type": "function", "function": {"name": "look"}}, ["look"], True),
    ],
)
def test_native_tool_choice_is_obeyed(*, choice: Any, names: list[str], demanded: bool) -> None:
    found = talk(user("x"), tools=NATIVE, tool_choice=choice)
    assert [tool.name for tool in found.tools] == names
    assert found.demanded is demanded


@pytest.mark.parametrize(
    ("wanted", "schema"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"properties": {"answer": {}}}),
        ({"type": "json_schema", "json_schema": {"schema": {"type": "null"}}}, {"type": "null"}),
    ],
)
def test_native_response_format_is_obeyed(wanted: Any, schema: Any) -> None:
    assert talk(user("x"), response_format=wanted).schema == schema
