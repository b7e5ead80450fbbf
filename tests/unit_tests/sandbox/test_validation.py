from typing import Any

import pytest

from langchain_minitoolai.contract import CHAT_MODELS, IMAGE_MODELS, SCHEDULERS
from langchain_minitoolai.sandbox._validation import (
    APIError,
    check_chat,
    check_image,
    check_job,
    insufficient_balance,
)

USER = {"role": "user", "content": "Hello"}
PIXEL = "data:image/png;base64,iVBORw0KGgo="


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [USER], **fields}


def message(**fields: Any) -> dict[str, Any]:
    return chat(messages=[{**USER, **fields}])


def shown(url: Any = PIXEL, model: str = "gpt-4o", **more: Any) -> dict[str, Any]:
    part = {"type": "image_url", "image_url": {"url": url, **more}}
    return chat(model=model, messages=[{"role": "user", "content": [part]}])


def image(**fields: Any) -> dict[str, Any]:
    return {"model": "realvision", "prompt": "a fox", **fields}


def tool(**function: Any) -> dict[str, Any]:
    return {"type": "function", "function": function}


def refused(check: Any, body: Any, **options: Any) -> APIError:
    with pytest.raises(APIError) as caught:
        check(body, **options)
    return caught.value


@pytest.mark.parametrize("model", CHAT_MODELS)
def test_every_documented_chat_passes(model: str) -> None:
    roles = [{"role": role, "content": "x"} for role in ("developer", "user", "assistant")]
    check_chat(chat(model=model, messages=roles, temperature=0.5, max_completion_tokens=5))
    check_chat(chat(model=model, temperature=None, max_completion_tokens=None))


@pytest.mark.parametrize("url", [PIXEL, "https://example.com/a.jpg", "http://127.0.0.1/a.png"])
def test_images_pass_by_address_and_by_data(url: str) -> None:
    check_chat(shown(url))
    check_chat(shown(url, "gpt-4o-mini", detail="low"))


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        (None, "the body", "JSON object"),
        ([], "the body", "JSON object"),
        (chat(stream=True), "stream", "'temperature'"),
        (chat(tools=[]), "tools", "'messages'"),
        (chat(model="gpt-5"), "model", "'gpt-4.1-nano'"),
        (chat(model=None), "model", "None"),
        (chat(model=["gpt-4o"]), "model", "'gpt-4o'"),
        (chat(messages=[]), "messages", "at least one"),
        (chat(messages="Hello"), "messages", "list"),
        (chat(messages=["Hello"]), "messages[0]", "JSON object"),
        (message(role="system"), "messages[0].role", "'developer'"),
        (message(role="tool"), "messages[0].role", "'tool'"),
        (message(name="Ada"), "messages[0].name", "'content'"),
        (message(content=None), "messages[0].content", "string"),
        (message(content=[]), "messages[0].content", "list of parts"),
        (
            message(role="assistant", content=[{"type": "text", "text": "x"}]),
            "messages[0].content",
            "",
        ),
        (message(content=["x"]), "messages[0].content[0].type", "'image_url'"),
        (
            message(content=[{"type": "input_audio"}]),
            "messages[0].content[0].type",
            "'input_audio'",
        ),
        (message(content=[{"type": "text", "text": 1}]), "messages[0].content[0].text", "string"),
        (message(content=[{"type": "text"}]), "messages[0].content[0].text", "string"),
        (
            message(content=[{"type": "text", "text": "x", "id": 1}]),
            "messages[0].content[0].id",
            "",
        ),
        (shown(model="gpt-4.1"), "messages[0].content[0].image_url", "'gpt-4.1' reads no images"),
        (shown("file:///etc/x"), "messages[0].content[0].image_url.url", "'image/webp'"),
        (shown("data:image/bmp;base64,AA"), "messages[0].content[0].image_url.url", "bmp"),
        (shown(""), "messages[0].content[0].image_url.url", "not empty"),
        (shown(detail="best"), "messages[0].content[0].image_url.detail", "'high'"),
        (shown(detail=None), "messages[0].content[0].image_url.detail", "'high'"),
        (chat(temperature=2.1), "temperature", "from 0 to 2"),
        (chat(temperature="1"), "temperature", "number"),
        (chat(temperature=True), "temperature", "True"),
        (chat(max_completion_tokens=0), "max_completion_tokens", "integer from 1;"),
        (chat(max_completion_tokens=1.5), "max_completion_tokens", "1.5"),
        (chat(max_completion_tokens=True), "max_completion_tokens", "True"),
    ],
)
def test_what_is_not_documented_of_chats_is_refused_by_name(
    body: Any, param: str, words: str
) -> None:
    refusal = refused(check_chat, body)
    assert refusal.status == 400
    assert refusal.error["param"] == param
    assert words.rstrip(";") in str(refusal)
    assert refusal.error["message"] == str(refusal)


def test_models_and_fields_pass_that_were_added() -> None:
    body = chat(model="gpt-5.4-nano", reasoning_effort="low", temperature=None)
    added: dict[str, Any] = {"models": ["gpt-5.4-nano"], "fields": ["reasoning_effort"]}
    check_chat(body, **added)
    check_chat(shown(model="gpt-5.4-nano"), **added)
    assert refused(check_chat, body).error["param"] == "reasoning_effort"
    assert "'gpt-5.4-nano'" in str(refused(check_chat, chat(model="gpt-5"), **added))


@pytest.mark.parametrize("model", ["gpt-5.4-nano", "o3-mini"])
def test_reasoning_models_refuse_a_temperature(model: str) -> None:
    refusal = refused(check_chat, chat(model=model, temperature=1), models=[model])
    assert (refusal.error["param"], refusal.error["code"]) == (
        "temperature",
        "unsupported_parameter",
    )
    check_chat(chat(model="llama", temperature=1), models=["llama"])


def test_a_long_value_is_not_repeated_whole() -> None:
    assert len(str(refused(check_chat, chat(model="x" * 1000)))) < 300


@pytest.mark.parametrize("model", IMAGE_MODELS)
@pytest.mark.parametrize("scheduler", [SCHEDULERS[0], SCHEDULERS[-1], None])
def test_every_documented_image_passes(model: str, scheduler: str | None) -> None:
    check_image(image(model=model, scheduler=scheduler))
    check_image(image(model=model, negativePrompt="", steps=8, cfgScale=1, width=256, height=1344))
    check_image(image(negativePrompt=None, steps=None, cfgScale=None, width=None, height=None))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ("x", "the body"),
        (image(seed=1), "seed"),
        (image(negative_prompt="x"), "negative_prompt"),
        (image(model="flux"), "model"),
        (image(prompt=" "), "prompt"),
        (image(prompt=None), "prompt"),
        (image(negativePrompt=1), "negativePrompt"),
        (image(scheduler="euler"), "scheduler"),
        (image(steps=9), "steps"),
        (image(steps=4.0), "steps"),
        (image(cfgScale=0.5), "cfgScale"),
        (image(width=255), "width"),
        (image(height=1345), "height"),
    ],
)
def test_what_is_not_documented_of_images_is_refused_by_name(body: Any, param: str) -> None:
    assert refused(check_image, body).error["param"] == param


def test_a_job_is_asked_for_by_two_texts() -> None:
    check_job({"jobid": "1", "signature": "x"})
    assert refused(check_job, {"jobid": 1, "signature": "x"}).error["param"] == "jobid"
    assert refused(check_job, {"jobid": "1"}).error["param"] == "signature"
    assert refused(check_job, {"jobid": "1", "signature": "x", "a": 1}).error["param"] == "a"


def test_tools_pass_in_openai_s_form_where_they_are_native() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "4", "tool_call_id": "1"},
    ]
    tools = [tool(name="f", description="x", parameters={})]
    check_chat(chat(messages=messages, tools=tools, tool_choice="auto", stop=["x"]), native=True)
    check_chat(chat(), native=True)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": []}, "tools"),
        ({"tools": {"a": 1}}, "tools"),
        ({"tools": [tool()]}, "tools[0].function.name"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"seed": 1}, "seed"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "assistant", "content": None}]}, "messages[0].content"),
    ],
)
def test_native_tools_are_checked_too(fields: dict[str, Any], param: str) -> None:
    assert refused(check_chat, chat(**fields), native=True).error["param"] == param


def test_an_empty_balance_is_a_402() -> None:
    assert insufficient_balance().status == 402
    assert "balance" in str(insufficient_balance())
