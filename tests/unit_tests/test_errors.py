"""The tree of errors: kinds, facts, pickles, and no secrets."""

import copy
import pickle
from typing import Any

import pytest
from langchain_core import exceptions as core

from langchain_minitoolai import errors
from langchain_minitoolai.errors import ImageError, MiniToolAIError

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, MiniToolAIError)
]
FACTS: dict[str, Any] = {
    "status_code": 429,
    "code": "slow",
    "request_id": "r-1",
    "retry_after": 2.5,
    "is_retryable": True,
}
IMAGE_FACTS: dict[str, Any] = {
    "retry_safe": True,
    "maybe_charged": True,
    "job_id": "7",
    "hint": "wait",
}


def full(kind: type[MiniToolAIError]) -> MiniToolAIError:
    facts = {**FACTS, **IMAGE_FACTS} if issubclass(kind, ImageError) else FACTS
    error = kind("what happened", **facts)
    error.maybe_sent = False
    return error


@pytest.mark.parametrize(
    ("kind", "parent", "retryable"),
    [
        (errors.InvalidInputError, core.ModelInvalidRequestError, False),
        (errors.MissingAPIKeyError, core.ModelAuthenticationError, False),
        (errors.BadRequestError, core.ModelInvalidRequestError, False),
        (errors.ContextLengthError, core.ContextOverflowError, False),
        (errors.AuthenticationError, core.ModelAuthenticationError, False),
        (errors.InsufficientCreditError, core.ModelPermissionDeniedError, False),
        (errors.PermissionDeniedError, core.ModelPermissionDeniedError, False),
        (errors.NotFoundError, core.ModelNotFoundError, False),
        (errors.RateLimitError, core.ModelRateLimitError, True),
        (errors.SpendingLimitError, core.ModelPermissionDeniedError, False),
        (errors.ServiceError, core.ModelAPIError, True),
        (errors.InvalidResponseError, core.ModelAPIError, True),
        (errors.MalformedStreamError, core.ModelAPIError, True),
        (errors.IncompleteOutputError, core.OutputParserException, False),
        (errors.APIConnectionError, core.ModelConnectionError, True),
        (errors.StreamInterruptedError, core.ModelConnectionError, True),
        (errors.APITimeoutError, core.ModelTimeoutError, False),
        (errors.ImageError, core.ModelError, False),
        (errors.ImageRequestError, core.ModelInvalidRequestError, False),
        (errors.ImageBudgetError, core.ModelPermissionDeniedError, False),
        (errors.SubmissionUnknownError, core.ModelConnectionError, False),
        (errors.ImageJobFailedError, core.ModelAPIError, False),
        (errors.ImageJobTimeoutError, core.ModelTimeoutError, False),
        (errors.ServiceUnavailableError, core.ModelAPIError, False),
        (errors.ImageDownloadError, core.ModelError, False),
        (errors.MiniToolAIError, core.ModelError, False),
    ],
)
def test_an_error_is_ours_and_core_s_and_says_whether_to_try_again(
    kind: type[MiniToolAIError], parent: type[Exception], *, retryable: bool
) -> None:
    error = kind()
    assert isinstance(error, MiniToolAIError)
    assert isinstance(error, parent)
    assert error.is_retryable is retryable


def test_the_table_above_names_every_kind() -> None:
    (mark,) = test_an_error_is_ours_and_core_s_and_says_whether_to_try_again.pytestmark  # type: ignore[attr-defined]
    assert {row[0] for row in mark.args[1]} == set(KINDS)


def test_an_interrupted_stream_is_a_connection_error_and_bad_input_a_value_error() -> None:
    assert issubclass(errors.StreamInterruptedError, errors.APIConnectionError)
    assert issubclass(errors.InvalidInputError, ValueError)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_keeps_its_facts(kind: type[MiniToolAIError]) -> None:
    error = full(kind)
    assert str(error) == "what happened"
    assert {name: getattr(error, name) for name in FACTS} == FACTS
    if isinstance(error, ImageError):
        assert {name: getattr(error, name) for name in IMAGE_FACTS} == IMAGE_FACTS


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_without_facts_has_a_message_and_no_facts(kind: type[MiniToolAIError]) -> None:
    error = kind()
    assert str(error)
    assert (error.status_code, error.code, error.request_id, error.retry_after) == (None,) * 4
    assert error.maybe_sent


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_a_pickle_and_a_copy_with_every_attribute(
    kind: type[MiniToolAIError],
) -> None:
    error = full(kind)
    error.add_note("seen by a test")
    pickled = pickle.loads(pickle.dumps(error))  # noqa: S301 - made here
    for again in (pickled, copy.deepcopy(error), copy.copy(error)):
        assert type(again) is kind
        assert again.args == error.args
        assert vars(again) == vars(error)
        assert [getattr(again, name) for name in (*IMAGE_FACTS, "kind")] == [
            getattr(error, name) for name in (*IMAGE_FACTS, "kind")
        ]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_has_nothing_that_core_copies_into_traces(kind: type[MiniToolAIError]) -> None:
    for name in ("response", "request", "body"):
        assert not hasattr(full(kind), name)


def test_each_class_has_a_kind_of_its_own() -> None:
    assert len({error.kind for error in KINDS}) == len(KINDS)
    assert errors.RateLimitError.kind == "rate_limit"


def test_a_class_that_names_no_kind_has_its_parent_s() -> None:
    class OurLimit(errors.RateLimitError):
        pass

    assert OurLimit.kind == "rate_limit"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("again", [True, False])
def test_what_an_image_error_tells_can_be_read_on_every_error(
    kind: type[MiniToolAIError], *, again: bool
) -> None:
    error = kind(is_retryable=again)
    assert (error.job_id, error.hint) == (None, "")
    may = (
        errors.ServiceError,
        errors.IncompleteOutputError,
        errors.APIConnectionError,
        errors.APITimeoutError,
    )
    assert error.maybe_charged is isinstance(error, may)
    assert error.retry_safe is (again and not isinstance(error, (*may, ImageError)))


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("charged", [True, False])
def test_a_plain_error_is_safe_to_repeat_where_that_helps_and_can_t_be_charged(
    *, again: bool, charged: bool
) -> None:
    error = errors.APIConnectionError()
    error.is_retryable, error.maybe_charged = again, charged
    assert error.retry_safe is (again and not charged)


@pytest.mark.parametrize("safe", [True, False])
def test_an_image_error_is_retryable_where_a_retry_is_safe(*, safe: bool) -> None:
    assert errors.ServiceUnavailableError("x", retry_safe=safe).is_retryable is safe
    assert errors.SubmissionUnknownError("x", is_retryable=safe).is_retryable is safe


def test_the_key_is_taken_out_of_everything_an_error_repeats() -> None:
    error = errors.ServiceError("no sk-12345 here", code="sk-12345", request_id="r sk-12345")
    assert error.redact("sk-12345") is error
    assert (str(error), error.code, error.request_id) == ("no [key] here", "[key]", "r [key]")
    assert "sk-12345" not in repr((error, vars(error)))


def test_an_error_without_facts_is_redacted_too() -> None:
    error = errors.ServiceError("fine").redact("sk-12345")
    assert (str(error), error.code, error.request_id) == ("fine", None, None)
