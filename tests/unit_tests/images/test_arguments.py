"""Arguments of the image tool."""

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from langchain_minitoolai import contract
from langchain_minitoolai._images.arguments import (
    DEFAULTS,
    arguments_schema,
    request_body,
    validation_error,
)

SCHEMA = arguments_schema()


def accepted(**given: Any) -> dict[str, Any]:
    return SCHEMA.model_validate({"prompt": "a cat", **given}).model_dump()


def refused(**given: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        SCHEMA.model_validate({"prompt": "a cat", **given})
    error = validation_error(caught.value, SCHEMA)
    assert not error.maybe_charged
    assert "Change" in error.hint
    return str(error)


def test_a_prompt_alone_gets_the_documented_defaults() -> None:
    assert accepted() == {"prompt": "a cat", **DEFAULTS}


@pytest.mark.parametrize(
    ("given_", "expected"),
    [
        ({"prompt": "  a cat \n"}, {"prompt": "a cat"}),
        ({"scheduler": "dpm++ 2m karras"}, {"scheduler": "DPM++ 2M Karras"}),
        ({"scheduler": "DPMPP_2M_Karras"}, {"scheduler": "DPM++ 2M Karras"}),
        ({"scheduler": "euler ancestral"}, {"scheduler": "Euler a"}),
        ({"sampler": "LMS"}, {"scheduler": "LMS"}),
        ({"model": " RealVision "}, {"model": "realvision"}),
        ({"model": "Dream-Shaper"}, {"model": "dreamshaper"}),
        ({"width": "512"}, {"width": 512}),
        ({"width": "512px", "height": 512.0}, {"width": 512, "height": 512}),
        ({"size": "1024x768"}, {"width": 1024, "height": 768}),
        ({"size": "1024 × 768 px"}, {"width": 1024, "height": 768}),
        ({"size": "512"}, {"width": 512, "height": 512}),
        ({"size": 512}, {"width": 512, "height": 512}),
        ({"size": [512, 640]}, {"width": 512, "height": 640}),
        ({"size": {"width": 512, "height": 640}}, {"width": 512, "height": 640}),
        ({"size": "512x512", "width": 640}, {"width": 640, "height": 512}),
        ({"cfg": "3.5"}, {"cfg_scale": 3.5}),
        ({"cfgScale": 3, "negativePrompt": "dogs"}, {"cfg_scale": 3.0, "negative_prompt": "dogs"}),
        ({"num_inference_steps": 8}, {"steps": 8}),
        ({"steps": None, "model": None, "negative_prompt": None}, {"steps": 4}),
    ],
)
def test_harmless_slips_are_repaired(given_: dict[str, Any], expected: dict[str, Any]) -> None:
    assert accepted(**given_) == {"prompt": "a cat", **DEFAULTS, **expected}


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"width": 100}, "width is 100; allowed: a whole number from 256 to 1344"),
        ({"height": "tall"}, "height is 'tall'; allowed: a whole number from 256 to 1344"),
        ({"width": 512.5}, "width is 512.5"),
        ({"width": True}, "width is True"),
        ({"steps": 9}, "steps is 9; allowed: a whole number from 1 to 8"),
        ({"cfg_scale": 7.5}, "cfg_scale is 7.5; allowed: a number from 1 to 7"),
        ({"cfg_scale": float("nan")}, "cfg_scale is nan"),
        ({"scheduler": "magic"}, "scheduler is 'magic'; allowed: Euler a, Euler,"),
        ({"scheduler": 7}, "scheduler is 7"),
        ({"model": "dall-e-3"}, "model is 'dall-e-3'; allowed: realvision,"),
        ({"prompt": " \n"}, "prompt is ''; allowed: a text that is not empty"),
        ({"prompt": None}, "prompt is None; allowed: a text that is not empty"),
        ({"prompt": 7}, "prompt is 7"),
        ({"seed": 7}, "seed is 7; allowed: no such argument, only prompt,"),
        ({"size": "big"}, "size is 'big'; allowed: no such argument"),
        ({"size": True}, "size is True"),
        ({"size": [1, 2, 3]}, "size is [1, 2, 3]"),
    ],
)
def test_anything_else_is_refused_with_what_is_allowed(given_: dict[str, Any], words: str) -> None:
    text = refused(**given_)
    assert text.startswith("Nothing was sent or charged. ")
    assert words in text
    assert len(text) <= 400


def test_a_refusal_stays_short_however_much_is_wrong() -> None:
    text = refused(model="x" * 900, scheduler="y" * 900, steps=9, width=1, height=2, seed=3)
    assert len(text) == 400
    assert "x" * 50 not in text


def test_a_missing_prompt_is_named() -> None:
    with pytest.raises(ValidationError) as caught:
        SCHEMA.model_validate({})
    assert "prompt is missing" in str(validation_error(caught.value, SCHEMA))


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(ValidationError) as caught:
        SCHEMA.model_validate(["a cat"])
    assert "the input is ['a cat']; allowed: a text that says what to draw, or" in str(
        validation_error(caught.value, SCHEMA)
    )


def test_the_models_can_be_narrowed_and_the_defaults_changed() -> None:
    schema = arguments_schema(("amigo",), model="amigo", steps=8)
    assert schema.model_validate({"prompt": "x"}).model_dump()["steps"] == 8
    with pytest.raises(ValidationError) as caught:
        schema.model_validate({"prompt": "x", "model": "realvision"})
    assert "allowed: amigo" in str(validation_error(caught.value, schema))
    shown = schema.model_json_schema()["properties"]
    assert shown["model"]["const"] == "amigo"
    assert shown["steps"]["default"] == 8


def test_the_schema_is_compact_and_made_once() -> None:
    shown = SCHEMA.model_json_schema()
    assert shown["required"] == ["prompt"]
    assert shown["properties"]["model"]["enum"] == list(contract.IMAGE_MODELS)
    assert shown["properties"]["scheduler"]["enum"] == list(contract.SCHEDULERS)
    assert "anyOf" not in json.dumps(shown)
    assert len(json.dumps(shown)) < 1900
    assert arguments_schema() is SCHEMA


def test_the_body_has_the_documented_names_and_no_empty_negative_prompt() -> None:
    body = request_body(accepted())
    assert set(body) == set(contract.IMAGE_FIELDS) - {"negativePrompt"}
    body = request_body(accepted(negative_prompt="y"))
    assert set(body) == set(contract.IMAGE_FIELDS)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(["prompt", "size", *DEFAULTS]), ANYTHING, max_size=4))
def test_whatever_is_given_what_is_taken_is_within_the_documented_ranges(
    given_: dict[str, Any],
) -> None:
    with suppress(ValidationError):
        body = request_body(SCHEMA.model_validate(given_).model_dump())
        assert body["prompt"].strip()
        assert 256 <= body["width"] <= 1344
        assert 1 <= body["cfgScale"] <= 7
        assert body["scheduler"] in contract.SCHEDULERS


@pytest.mark.parametrize("value", [" " * 20_000, "1" + " " * 20_000 + "x", " \n" * 20_000 + "p"])
@pytest.mark.parametrize("name", ["width", "size", "cfg_scale", "scheduler"])
def test_any_value_is_read_in_no_time(name: str, value: str) -> None:
    started = time.process_time()
    with pytest.raises(ValidationError):
        arguments_schema().model_validate({"prompt": "a fox", name: value})
    assert time.process_time() - started < 0.5
