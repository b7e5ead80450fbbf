import json
from typing import Any, TypedDict

import pytest
from langchain_core import exceptions
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage
from langchain_core.tracers.context import collect_runs
from pydantic import BaseModel
from pydantic.v1 import BaseModel as BaseModelV1

from langchain_minitoolai import ChatMiniToolAI
from langchain_minitoolai._chat.stream import Refusal
from langchain_minitoolai._chat.structured import Method
from langchain_minitoolai.errors import IncompleteOutputError, InvalidInputError
from tests.unit_tests.fake_service import KEY, WAYS, FakeService, ask, install, make


class Point(BaseModel):
    """A point."""

    x: int
    y: int


class OldPoint(BaseModelV1):
    """A point."""

    x: int
    y: int


class DictPoint(TypedDict):
    """A point."""

    x: int
    y: int


SCHEMA = Point.model_json_schema()
FOUND = {"x": 1, "y": 2}
METHODS: list[Method] = ["function_calling", "json_schema", "json_mode"]
SCHEMAS: list[Any] = [Point, OldPoint, DictPoint, SCHEMA]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> FakeService:
    return install(monkeypatch)


@pytest.fixture
def model() -> ChatMiniToolAI:
    return make()


def name_of(schema: Any) -> str:
    return str(schema["title"] if isinstance(schema, dict) else schema.__name__)


def reply_text(method: Method, schema: Any, content: Any) -> str:
    """Write the reply of a model that is asked in this way."""
    if method != "function_calling":
        return json.dumps(content)
    call = {"name": name_of(schema), "arguments": content}
    return f'<tool_call key="{KEY}">\n{json.dumps(call)}\n</tool_call>'


async def ask_raw(way: str, asking: Any) -> Any:
    """Ask for the raw answer too; the chunks of a stream are added up."""
    if way in ("invoke", "ainvoke"):
        return await ask(way, asking, "Where?")
    if way == "stream":
        return sum_of(list(asking.stream("Where?")))
    return sum_of([chunk async for chunk in asking.astream("Where?")])


def sum_of(chunks: list[Any]) -> Any:
    total, *rest = chunks
    for chunk in rest:
        total = total + chunk
    return total


def plain(parsed: Any) -> Any:
    if isinstance(parsed, BaseModel):
        return parsed.model_dump()
    return parsed.dict() if isinstance(parsed, BaseModelV1) else parsed


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schema", SCHEMAS, ids=["pydantic", "pydantic-v1", "dict", "schema"])
async def test_an_answer_fits_the_schema_by_every_method(
    service: FakeService, model: ChatMiniToolAI, way: str, method: Method, schema: Any
) -> None:
    text = reply_text(method, schema, FOUND)
    service.reply(*(text[at : at + 7] for at in range(0, len(text), 7)))
    asking = model.with_structured_output(schema, method=method)
    parsed = await ask(way, asking, "Where?")
    assert plain(parsed) == FOUND
    if isinstance(schema, type) and schema is not DictPoint:
        assert isinstance(parsed, schema)


@pytest.mark.parametrize("method", METHODS)
def test_the_schema_is_shown_to_the_model(
    service: FakeService, model: ChatMiniToolAI, method: Method
) -> None:
    service.reply(reply_text(method, Point, FOUND))
    model.with_structured_output(Point, method=method).invoke("Where?")
    rules = service.body["messages"][0]["content"]
    tag = {
        "function_calling": "<tools>",
        "json_schema": "<response_schema key=",
        "json_mode": "JSON",
    }
    assert tag[method] in rules
    assert ('"x"' in rules) == (method != "json_mode")
    assert ("must call" in rules) == (method == "function_calling")


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_a_fence_around_the_json_does_no_harm(
    service: FakeService, model: ChatMiniToolAI, method: Method
) -> None:
    service.reply("```json\n", json.dumps(FOUND), "\n```")
    assert model.with_structured_output(SCHEMA, method=method).invoke("Where?") == FOUND


@pytest.mark.parametrize("method", METHODS)
def test_json_streams_as_it_grows(
    service: FakeService, model: ChatMiniToolAI, method: Method
) -> None:
    service.reply(*reply_text(method, SCHEMA, {"x": 1, "y": 23}))
    grown = list(model.with_structured_output(SCHEMA, method=method).stream("Where?"))
    assert len(grown) >= 3
    assert grown[-1] == {"x": 1, "y": 23}
    keys = [len(plain(each)) for each in grown]
    assert keys == sorted(keys)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("schema", SCHEMAS, ids=["pydantic", "pydantic-v1", "dict", "schema"])
@pytest.mark.parametrize("method", METHODS)
async def test_an_answer_that_can_t_be_parsed_is_raised_with_its_text(
    service: FakeService, model: ChatMiniToolAI, way: str, method: Method, schema: Any
) -> None:
    service.reply("I would ", "rather not.")
    with pytest.raises(OutputParserException, match=r"I would rather not\.") as raised:
        await ask(way, model.with_structured_output(schema, method=method), "Where?")
    assert raised.value.llm_output == "I would rather not."


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("schema", [Point, SCHEMA], ids=["pydantic", "schema"])
@pytest.mark.parametrize("method", METHODS)
async def test_an_answer_that_can_t_be_parsed_comes_back_raw_where_that_is_asked_for(
    service: FakeService, model: ChatMiniToolAI, way: str, method: Method, schema: Any
) -> None:
    service.reply("I would ", "rather not.")
    asking = model.with_structured_output(schema, method=method, include_raw=True)
    got = await ask_raw(way, asking)
    assert isinstance(got, dict)
    assert got["parsed"] is None
    assert isinstance(got["parsing_error"], OutputParserException)
    assert isinstance(got["raw"], AIMessage)
    assert got["raw"].content == "I would rather not."


@pytest.mark.parametrize("way", ["stream", "astream"])
@pytest.mark.parametrize("method", METHODS)
async def test_what_was_streamed_of_an_object_that_does_not_fit_stands_before_the_error(
    service: FakeService, model: ChatMiniToolAI, way: str, method: Method
) -> None:
    class Growing(BaseModel):
        """It has a default, so that a part of it fits."""

        x: int = 0
        y: int = 0

    service.reply(*reply_text(method, Growing, {"x": 1, "y": "two"}))
    asking = model.with_structured_output(Growing, method=method)
    grown: list[Any] = []

    async def grow() -> None:
        if way == "stream":
            for each in asking.stream("Where?"):
                grown.append(each)  # noqa: PERF402 - what came before the error counts
        else:
            async for each in asking.astream("Where?"):
                grown.append(each)  # noqa: PERF401 - what came before the error counts

    with pytest.raises(OutputParserException, match="two"):
        await grow()
    assert grown[-1] == Growing(x=1)


@pytest.mark.parametrize("way", ["stream", "astream"])
@pytest.mark.parametrize("schema", [Point, SCHEMA], ids=["pydantic", "schema"])
@pytest.mark.parametrize("method", METHODS)
async def test_a_model_that_does_not_stream_gives_the_object_once(
    service: FakeService, way: str, method: Method, schema: Any
) -> None:
    service.reply(reply_text(method, schema, FOUND))
    asking = make(streaming=False).with_structured_output(schema, method=method)
    if way == "stream":
        found = list(asking.stream("Where?"))
    else:
        found = [each async for each in asking.astream("Where?")]
    assert [plain(each) for each in found] == [FOUND]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", METHODS)
async def test_the_raw_answer_stands_beside_the_parsed_one(
    service: FakeService, model: ChatMiniToolAI, way: str, method: Method
) -> None:
    service.reply(reply_text(method, Point, FOUND))
    asking = model.with_structured_output(Point, method=method, include_raw=True)
    got = await ask_raw(way, asking)
    assert got["parsed"] == Point(x=1, y=2)
    assert got["parsing_error"] is None
    assert got["raw"].usage_metadata is not None


@pytest.mark.parametrize("schema", [Point, SCHEMA], ids=["pydantic", "schema"])
def test_a_call_that_was_cut_names_what_the_model_tried(
    service: FakeService, model: ChatMiniToolAI, schema: Any
) -> None:
    service.reply('<tool_call>\n{"name": "Point", "arguments": {"x": 1', finish_reason="length")
    with pytest.raises(OutputParserException, match="reached its length limit inside the call"):
        model.with_structured_output(schema).invoke("Where?")


CUT = '{"x": 1, "y": 2'


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["prompted", "native"])
@pytest.mark.parametrize("schema", SCHEMAS, ids=["v2", "v1", "dict", "schema"])
@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_half_an_answer_is_an_error_that_names_why_it_ended(
    monkeypatch: pytest.MonkeyPatch, way: str, mode: str, schema: Any, method: Method, reason: str
) -> None:
    service = install(monkeypatch, native=True)
    service.reply(*CUT, finish_reason=reason)
    asking = make(tool_calling=mode).with_structured_output(schema, method=method)
    with pytest.raises(IncompleteOutputError) as caught:
        await ask(way, asking, "Where?")
    error = caught.value
    assert isinstance(error, OutputParserException)
    assert (error.finish_reason, error.llm_output) == (reason, CUT)
    assert f"cut after 100 tokens (finish_reason '{reason}')" in str(error)
    assert ("max_tokens" in str(error)) == (reason == "length")
    assert CUT in str(error)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", METHODS)
async def test_half_an_answer_is_the_parsing_error_beside_the_raw_one(
    service: FakeService, model: ChatMiniToolAI, way: str, method: Method
) -> None:
    text = reply_text(method, Point, FOUND)
    service.reply(text[: text.index("2") + 1], finish_reason="length")
    asking = model.with_structured_output(Point, method=method, include_raw=True)
    got = await ask_raw(way, asking)
    assert got["parsed"] is None
    assert isinstance(got["parsing_error"], IncompleteOutputError)
    assert got["raw"].usage_metadata is not None


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("schema", [Point, SCHEMA], ids=["pydantic", "schema"])
async def test_json_that_the_model_itself_left_open_is_not_completed(
    service: FakeService, model: ChatMiniToolAI, way: str, schema: Any
) -> None:
    service.reply(*CUT, finish_reason="stop")
    asking = model.with_structured_output(schema, method="json_schema")
    with pytest.raises(OutputParserException, match=r"Invalid JSON: .*2") as caught:
        await ask(way, asking, "Where?")
    assert not isinstance(caught.value, IncompleteOutputError)


@pytest.mark.parametrize("way", WAYS)
async def test_whole_json_that_ends_at_the_limit_is_an_answer(
    service: FakeService, model: ChatMiniToolAI, way: str
) -> None:
    service.reply(json.dumps(FOUND), finish_reason="length")
    asking = model.with_structured_output(Point, method="json_schema")
    assert await ask(way, asking, "Where?") == Point(x=1, y=2)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("schema", [Point, OldPoint], ids=["pydantic", "pydantic-v1"])
@pytest.mark.parametrize("method", METHODS)
async def test_an_answer_that_does_not_fit_a_pydantic_class_is_an_error(
    service: FakeService, model: ChatMiniToolAI, way: str, method: Method, schema: Any
) -> None:
    service.reply(reply_text(method, schema, {"x": "one"}))
    with pytest.raises(OutputParserException, match="one"):
        await ask(way, model.with_structured_output(schema, method=method), "Where?")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("schema", [Point, SCHEMA], ids=["pydantic", "schema"])
async def test_a_call_of_another_tool_is_not_the_one_that_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, way: str, schema: Any
) -> None:
    service = install(monkeypatch, native=True)
    service.reply([{"index": 0, "id": "1", "function": {"name": "Line", "arguments": "{}"}}])
    asking = make(tool_calling="native").with_structured_output(schema)
    with pytest.raises(OutputParserException, match=r"Line|without the call"):
        await ask(way, asking, "Where?")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("strict", [None, True, False])
def test_strict_goes_into_the_schema_that_native_mode_sends(
    monkeypatch: pytest.MonkeyPatch, method: Method, *, strict: bool | None
) -> None:
    service = install(monkeypatch, native=True)
    call = {"name": "Point", "arguments": json.dumps(FOUND)}
    if method == "function_calling":
        service.reply([{"index": 0, "id": "call_1", "function": call}])
    else:
        service.reply(json.dumps(FOUND))
    model = make(tool_calling="native")
    asking = model.with_structured_output(Point, method=method, strict=strict)
    assert asking.invoke("Where?") == Point(x=1, y=2)
    body = service.body
    if method == "json_mode":
        assert body["response_format"] == {"type": "json_object"}
        return
    if method == "json_schema":
        sent = body["response_format"]["json_schema"]
        schema = sent["schema"]
        assert sent["name"] == "Point"
    else:
        sent = body["tools"][0]["function"]
        schema = sent["parameters"]
        assert body["tool_choice"]["function"]["name"] == "Point"
        assert body["parallel_tool_calls"] is False
    assert sent.get("strict") is strict
    assert (schema.get("additionalProperties") is False) == bool(strict)


@pytest.mark.parametrize("method", METHODS)
def test_further_parameters_of_the_call_go_along(
    service: FakeService, model: ChatMiniToolAI, method: Method
) -> None:
    service.reply(reply_text(method, Point, FOUND))
    model.with_structured_output(Point, method=method, temperature=1).invoke("Where?")
    assert service.body["temperature"] == 1


@pytest.mark.parametrize("method", METHODS)
def test_tracing_records_the_schema(
    service: FakeService, model: ChatMiniToolAI, method: Method
) -> None:
    service.reply(reply_text(method, Point, FOUND))
    with collect_runs() as runs:
        model.with_structured_output(Point, method=method).invoke("Where?")
    (run,) = [run for run in runs.traced_runs[0].child_runs if run.run_type == "llm"]
    recorded = (run.extra or {})["options"]["ls_structured_output_format"]
    assert recorded["kwargs"] == {"method": method, "strict": None}
    assert recorded["schema"]["title"] == "Point"


def test_an_unknown_method_is_refused(model: ChatMiniToolAI) -> None:
    error = "method is 'magic'; allowed: function_calling, json_schema, json_mode"
    with pytest.raises(InvalidInputError, match=error):
        model.with_structured_output(Point, method="magic")  # type: ignore[arg-type]


@pytest.mark.parametrize("schema", [5, "Point", None, {"type": "object"}, int])
@pytest.mark.parametrize("method", METHODS)
def test_a_schema_that_is_none_is_refused(
    model: ChatMiniToolAI, method: Method, schema: Any
) -> None:
    with pytest.raises(InvalidInputError, match=r"schema is .*; allowed: a pydantic class"):
        model.with_structured_output(schema, method=method)


LOOP: dict[str, Any] = {"title": "Loop", "type": "object", "properties": {}}
LOOP["properties"]["inner"] = LOOP
DEEP: dict[str, Any] = {"type": "integer"}
for _ in range(20_000):
    DEEP = {"title": "Deep", "type": "object", "properties": {"inner": DEEP}}
EITHER: dict[str, Any] = {
    "title": "Either",
    "anyOf": [
        {"type": "object", "properties": {"x": {"type": "integer"}}},
        {"type": "object", "properties": {"name": {"type": "string"}}},
    ],
}
REFUSED: list[Any] = [
    {},
    [],
    [1],
    {"anyOf": EITHER["anyOf"]},
    {"title": 5, "type": "object", "properties": {}},
    {"type": "function"},
    {"type": "function", "function": {}},
    list[int],
    LOOP,
    DEEP,
]


@pytest.mark.parametrize("strict", [None, True])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schema", REFUSED, ids=range(len(REFUSED)))
def test_a_schema_that_can_t_be_described_is_refused_by_every_method(
    model: ChatMiniToolAI, schema: Any, method: Method, *, strict: bool | None
) -> None:
    with pytest.raises(InvalidInputError, match=r"^schema is .*; allowed: a pydantic class") as no:
        model.with_structured_output(schema, method=method, strict=strict)
    assert len(str(no.value)) < 1000


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("strict", [None, True])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "schema",
    [
        EITHER,
        {"title": "Self", "$ref": "#"},
        {"title": "Any", "description": "Any object.", "type": "object"},
        {"title": "a b/ü <tools>", "type": "object", "properties": {"x": {"type": "integer"}}},
        {"title": "Open", "type": "object", "additionalProperties": {"type": "integer"}},
        {"title": "Lost", "type": "object", "properties": {"x": {"$ref": "#/$defs/none"}}},
    ],
    ids=lambda schema: schema["title"],
)
async def test_a_schema_of_an_odd_form_reaches_the_model_and_is_answered(
    service: FakeService,
    model: ChatMiniToolAI,
    schema: dict[str, Any],
    method: Method,
    strict: bool | None,  # noqa: FBT001
    way: str,
) -> None:
    service.reply(reply_text(method, schema, {"x": 1}))
    asking = model.with_structured_output(schema, method=method, strict=strict)
    assert await ask(way, asking, "Where?") == {"x": 1}
    prompt = str(service.body["messages"])
    described = [key for key in ("anyOf", "$ref", "additionalProperties") if key in schema]
    assert method == "json_mode" or all(key in prompt for key in described)


@pytest.mark.parametrize("way", WAYS)
async def test_json_may_be_of_any_type_and_a_call_s_arguments_are_an_object(
    service: FakeService, model: ChatMiniToolAI, way: str
) -> None:
    numbers = {"title": "Numbers", "type": "array", "items": {"type": "integer"}}
    service.reply("[1, 2]")
    asking = model.with_structured_output(numbers, method="json_schema", strict=True)
    assert await ask(way, asking, "Which?") == [1, 2]
    assert "'type': 'array'" in str(service.body) or '"array"' in str(service.body)
    with pytest.raises(InvalidInputError, match=r"of type 'array'; allowed: .*'json_schema'"):
        model.with_structured_output(numbers)


# Since langchain-core 1.7.5; before, the answer is one that can't be parsed.
REFUSAL = getattr(exceptions, "ModelRefusalError", OutputParserException)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("method", METHODS)
async def test_a_refusal_is_core_s_error_and_the_parsing_error_beside_the_raw_answer(
    service: FakeService, model: ChatMiniToolAI, way: str, method: Method
) -> None:
    for _ in range(2):
        service.reply(Refusal("I can't."))
    with pytest.raises(REFUSAL, match="I can't"):
        await ask(way, model.with_structured_output(Point, method=method), "Where?")
    asking = model.with_structured_output(Point, method=method, include_raw=True)
    both = await ask_raw(way, asking)
    assert both["raw"].text == "I can't."
    assert both["parsed"] is None
    assert isinstance(both["parsing_error"], REFUSAL)


@pytest.mark.parametrize("method", METHODS)
def test_a_chain_names_the_type_of_its_output(model: ChatMiniToolAI, method: Method) -> None:
    asking = model.with_structured_output(Point, method=method)
    name = "Point" if method != "function_calling" else "Any"
    assert name in str(asking.OutputType)


def test_the_parser_takes_a_text_alone_too(model: ChatMiniToolAI) -> None:
    asking: Any = model.with_structured_output(Point, method="json_schema")
    assert asking.last.parse(json.dumps(FOUND)) == Point(**FOUND)
    with pytest.raises(OutputParserException, match="Invalid JSON"):
        asking.last.parse(CUT)
