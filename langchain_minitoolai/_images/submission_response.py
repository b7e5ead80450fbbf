"""What a submit's answer means: a job, a refusal, or that nobody knows.

Only what proves that nothing was taken counts as uncharged.
"""

from collections.abc import Mapping
from typing import Any, Final

from pydantic_core import from_json

from langchain_minitoolai import errors
from langchain_minitoolai._http.effects import Response
from langchain_minitoolai._http.error_mapping import (
    error_from_response,
    retry_after,
    summarize_body,
)
from langchain_minitoolai._images.result import ImageJob

_TOO_MANY: Final = 429
_UNAVAILABLE: Final = 503
_TIMED_OUT: Final = 408
_SERVER: Final = 500
_REFUSED: Final = 400
_REDIRECT: Final = 300
_TYPED: Final = (401, 402, 403, 404)
_LONGEST_ID: Final = 200


def not_taken(reply: Response) -> bool:
    """Tell whether a reply proves that the service did not take the request."""
    waits = reply.status == _UNAVAILABLE and retry_after(reply.headers) is not None
    return reply.status == _TOO_MANY or waits


def job_of(
    reply: Response, arguments: Mapping[str, Any], call: str | None, sent_at: float
) -> ImageJob:
    """Give the job that a submit's answer tells of.

    Raises:
        MiniToolAIError: If there is none; `maybe_charged` says whether there may be one.
    """
    page = reply.body.lstrip()[:1] == b"<"
    refused = _REFUSED <= reply.status < _SERVER and reply.status != _TIMED_OUT
    if refused and not page:
        raise _refusal(reply)
    words = summarize_body(reply.body)
    if reply.status >= _REDIRECT or page:
        kind = "a redirect" if reply.status < _REFUSED and not page else f"HTTP {reply.status}"
        raise uncertain(f"the service answered with {kind}: {words}")
    payload = _object(reply.body)
    job, signature = _text(payload.get("jobid")), _text(payload.get("signature"))
    if job and signature:
        return ImageJob(
            id=job,
            signature=signature,
            arguments=dict(arguments),
            submitted_at=sent_at,
            call=call,
        )
    if not job and str(payload.get("status", "")).lower() in ("error", "failed", "failure"):
        raise errors.ImageRequestError(
            f"The service refused the picture: {_message(payload)}. Nothing was charged.",
            hint="Change the prompt or the parameters.",
        )
    raise uncertain("the service answered without a job id or without its signature")


def _refusal(reply: Response) -> errors.MiniToolAIError:
    error = error_from_response(reply)
    if reply.status in _TYPED:
        return error
    return errors.ImageRequestError(
        f"The service refused the picture: {error}. Nothing was charged.",
        status_code=reply.status,
        code=error.code,
        request_id=error.request_id,
        hint="Change the prompt or the parameters.",
    )


def _message(payload: Mapping[str, Any]) -> str:
    said = payload.get("message") or payload.get("error")
    return errors.tidy(said) if isinstance(said, str) else "no reason given"


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        payload = from_json(body)
    except ValueError:
        return {}
    return payload if isinstance(payload, dict) else {}


def _text(value: object) -> str | None:
    """Read an id: a text, or a whole number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    if isinstance(value, float):
        value = int(value) if value.is_integer() else str(value)
    text = str(value).strip()
    return text if 0 < len(text) <= _LONGEST_ID and text.isprintable() else None


def uncertain(reason: str) -> errors.SubmissionUncertainError:
    """Say that a picture may have been paid for."""
    return errors.SubmissionUncertainError(
        f"The picture may have been ordered and charged, but no job came back: {reason}",
        maybe_charged=True,
        hint="It is not ordered again by itself. Ask the user before drawing it again.",
    )


def unreached(reason: str, *, again: bool) -> errors.ServiceUnavailableError:
    """Say that a picture could not be ordered."""
    return errors.ServiceUnavailableError(
        f"The picture could not be ordered: {reason}. Nothing was charged.",
        retry_safe=again,
        hint="Try again later." if again else "",
    )


def no_store(error: Exception) -> errors.ImageRequestError:
    """Say that nothing was ordered, for want of a job store."""
    said = errors.tidy(f"{type(error).__name__}: {error}")
    return errors.ImageRequestError(
        f"The job store can't be used ({said}), so nothing was sent or charged.",
        retry_safe=True,
        hint="Without the store a second charge could not be ruled out.",
    )
