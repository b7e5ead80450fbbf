"""Errors as a model reads them."""

import pickle

import pytest

from langchain_minitoolai import errors
from langchain_minitoolai._images.tool_errors import ImageToolError, told


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.AuthenticationError("HTTP 401: no"), "HTTP 401: no. Nothing was charged."),
        (
            errors.ImageJobFailedError("It failed.", maybe_charged=True, hint="Change it."),
            "It failed. Change it. It may have been charged.",
        ),
        (errors.ImageRequestError("No. Nothing was charged."), "No. Nothing was charged."),
    ],
)
def test_it_says_what_to_do_and_whether_it_cost_anything(
    error: errors.MiniToolAIError, expected: str
) -> None:
    assert str(told(error)) == expected


def test_a_long_error_keeps_its_hint_and_its_charge_within_400_characters() -> None:
    error = errors.ImageJobTimeoutError("x" * 900, maybe_charged=True, hint="Resume it.")
    text = str(told(error))
    assert len(text) == 400
    assert text.endswith("… Resume it. It may have been charged.")


def test_the_error_itself_comes_along_and_survives_pickling() -> None:
    error = told(errors.ImageJobTimeoutError("late", job="7"))
    twin = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert isinstance(twin, ImageToolError)
    assert str(twin) == str(error)
    assert isinstance(twin.error, errors.ImageJobTimeoutError)
    assert twin.error.job == "7"
