import json
from typing import Any

import pytest

from langchain_minitoolai.sandbox._chat import ToolCall
from langchain_minitoolai.sandbox._responder import LONGEST, answer

TEXT = {"type": "string"}
WHOLE = {"type": "integer"}


def tool(name: str, description: str, **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"name": name, "description": description, "parameters": parameters}


WEATHER = tool("get_weather", "Get the weather at a location.", location=TEXT)
DRAW = tool("generate_image", "Draw an image from a description.", prompt=TEXT)
ADD = tool("adder", "Take two integers, and return their sum.", a=WHOLE, b=WHOLE)
DOUBLE = tool("double_it", "Apply a function to an input.", input=WHOLE)
NOTHING = tool("ping", "See whether it is there.")
ALL = [WEATHER, DRAW, ADD, DOUBLE, NOTHING]


def ask(question: Any, *tools: Any, rules: str = "", after: tuple[dict[str, Any], ...] = ()) -> Any:
    lines = "\n".join(json.dumps(one) for one in tools)
    developer = {"role": "developer", "content": f"{rules}\n<tools>\n{lines}\n</tools>"}
    return answer({"messages": [developer, {"role": "user", "content": question}, *after]})


def called(name: str, status: str = "success", content: str = "ok") -> tuple[dict[str, Any], ...]:
    call = json.dumps({"name": name, "arguments": {}})
    result = json.dumps({"id": "1", "name": name, "status": status, "content": content})
    return (
        {"role": "assistant", "content": f"<tool_call>\n{call}\n</tool_call>"},
        {"role": "user", "content": f"<tool_response>\n{result}\n</tool_response>"},
    )


@pytest.mark.parametrize(
    ("question", "name", "arguments"),
    [
        ("What is the weather in Paris, France?", "get_weather", {"location": "Paris, France"}),
        ("Please draw a red fox.", "generate_image", {"prompt": "red fox"}),
        ("A photo of the sea", "generate_image", {"prompt": "sea"}),
        ("What is 3 + 4?", "adder", {"a": 3, "b": 4}),
        ("What is double_it(21)?", "double_it", {"input": 21}),
        ("Double it: 21", "double_it", {"input": 21}),
        ("Call ping()", "ping", {}),
    ],
)
def test_a_tool_that_is_named_or_fits_is_called(
    question: str, name: str, arguments: dict[str, Any]
) -> None:
    assert ask(question, *ALL) == [ToolCall(name, arguments)]


def test_every_tool_that_is_named_is_called_unless_one_is_allowed() -> None:
    question = "First ping, then double_it(4)."
    assert [call.name for call in ask(question, *ALL)] == ["double_it", "ping"]
    assert len(ask(question, *ALL, rules="Make at most one call.")) == 1


def test_a_question_that_fits_no_tool_is_answered_in_words() -> None:
    assert isinstance(ask("Who are you?", *ALL)[0], str)


def test_a_tool_is_used_when_the_question_says_so() -> None:
    assert ask("Use the tool for 5.", DOUBLE) == [ToolCall("double_it", {"input": 5})]


def test_a_call_that_is_demanded_is_made() -> None:
    assert ask("Hello!", *ALL, rules="You must call a tool.")[0].name in {t["name"] for t in ALL}


def test_a_demand_after_a_result_goes_to_a_tool_not_called_yet() -> None:
    rules = "You must call a tool."
    assert ask("Hello!", DOUBLE, NOTHING, rules=rules, after=called("ping"))[0].name == "double_it"
    assert ask("Hello!", NOTHING, rules=rules, after=called("ping"))[0].name == "ping"


def test_a_demand_without_tools_is_answered_in_words() -> None:
    assert isinstance(ask("Hello!", rules="You must call a tool.")[0], str)


def test_a_result_is_quoted() -> None:
    after = called("generate_image", content="saved to /images/fox.png")
    assert ask("Draw a red fox.", *ALL, after=after) == ["generate_image: saved to /images/fox.png"]


def test_a_failed_result_is_repeated() -> None:
    after = called("adder", "error", "b is missing")
    assert ask("What is 1 + 2", *ALL, after=after) == ["adder failed: b is missing"]


def test_a_tool_named_beside_the_one_called_is_called_next() -> None:
    question = "Use ping and then double_it(2)."
    assert ask(question, *ALL, after=called("ping")) == [ToolCall("double_it", {"input": 2})]


def test_a_schema_is_answered_with_json() -> None:
    schema = {"properties": {"answer": WHOLE}, "required": ["answer"]}
    rules = f"<response_schema>\n{json.dumps(schema)}\n</response_schema>"
    assert ask("What is 2 + 2?", rules=rules) == ['{"answer": 4}']


def test_sums_are_answered() -> None:
    assert ask("What is 6 * 7?") == ["6 * 7 = 42."]


def test_answers_repeat_the_question_the_same_way_each_time() -> None:
    first = ask("Why is the sky blue?")
    assert first == ask("Why is the sky blue?")
    assert "Why is the sky blue?" in first[0]
    assert "nothing" in ask("")[0]
    assert len(ask("x" * 10_000)[0]) < LONGEST + 200


@pytest.mark.parametrize(
    ("question", "start"),
    [
        ("Hello", "You said: “Hello”. This"),
        ("Who are you?", "You said: “Who are you?” This"),
        ("Stop!", "You said: “Stop!” This"),
        ("I see.", "You said: “I see.” This"),
        ("", "You said nothing. This"),
    ],
)
def test_the_first_sentence_ends_with_one_mark(question: str, start: str) -> None:
    assert ask(question)[0].startswith(start)


@pytest.mark.parametrize("count", [1, 3])
def test_answers_say_how_many_images_were_shown(count: int) -> None:
    image = {"type": "image_url", "image_url": {"url": "https://a/b.png"}}
    text = {"type": "text", "text": "Describe the image."}
    reply = ask([text, *[image] * count], *ALL)[0]
    assert f"I was shown {count} image{'s' if count > 1 else ''}." in reply
