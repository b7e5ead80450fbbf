"""Exception hierarchy; each class is also core's `ModelError` of its kind.

    MiniToolAIError
    ├── InvalidInputError           rejected before anything was sent
    │   └── MissingAPIKeyError
    ├── BadRequestError             400, and any other 4xx
    │   └── ContextLengthError      the conversation is longer than the model reads
    ├── AuthenticationError         401
    ├── InsufficientCreditError     402
    ├── PermissionDeniedError       403
    ├── NotFoundError               404
    ├── RateLimitError              429
    ├── ServiceError                408, 425, 5xx, or an error payload in a 200
    │   └── InvalidResponseError    no valid response: a page, junk, nothing
    │       └── MalformedStreamError    an event that can't be parsed
    ├── SpendingLimitError          the spending limit of an agent is reached
    ├── IncompleteOutputError       structured output that was cut; also an OutputParserException
    ├── APIConnectionError          no connection, or it broke
    │   └── StreamInterruptedError  the response ended before it was complete
    ├── APITimeoutError             connected, but no progress
    └── ImageError                  an image could not be had; nothing paid for is lost
        ├── ImageRequestError       the arguments, or the service, refuse the request
        ├── ImageBudgetError        the tool's own budget is spent
        ├── SubmissionUnknownError  the job may have been taken, and charged
        ├── ImageJobFailedError     the service says that the job failed
        ├── ImageJobTimeoutError    not ready in time; the job can be resumed
        ├── ServiceUnavailableError the job can't be asked for; it can be resumed
        └── ImageDownloadError      the bytes are no image, or could not be downloaded

`is_retryable` says whether asking again may help, `retry_safe` whether it can't be charged twice.
"""

from typing import Any, ClassVar

from langchain_core.exceptions import (
    ContextOverflowError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelError,
    ModelInvalidRequestError,
    ModelNotFoundError,
    ModelPermissionDeniedError,
    ModelRateLimitError,
    ModelTimeoutError,
    OutputParserException,
)

from langchain_minitoolai._redaction import tidy


class MiniToolAIError(ModelError):
    """The base of every error this package raises; each attribute can be read on all of them.

    Attributes:
        kind: The kind of failure, one for each class, for programs and logs.
        status_code: The HTTP status, where the service answered.
        code: The service's own error code, where it gave one.
        request_id: The service's id of the request, for asking its support.
        retry_after: Seconds the service asked to wait, where it did.
        is_retryable: Whether asking again may help; retries and retry middleware obey it.
        maybe_sent: Whether the request may have reached the service.
        maybe_charged: Whether the service may have charged for the request.
        job_id: The id of the image's job, where there is one.
        hint: What to change or do next, beyond the message.
        usage: The tokens that the service counted for an answer that was cut, where it did.
    """

    kind: ClassVar[str] = "error"
    default_message: ClassVar[str] = "the MiniToolAI service failed"

    maybe_sent = True
    maybe_charged = False
    job_id: str | None = None
    hint = ""
    usage: dict[str, Any] | None = None
    _retry_safe: bool | None = None

    def __init_subclass__(cls, *, kind: str = "", **kwargs: Any) -> None:
        """Set the kind of a class, by default its parent's."""
        super().__init_subclass__(**kwargs)
        cls.kind = kind or cls.kind

    def __init__(
        self,
        message: str | None = None,
        *,
        status_code: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        is_retryable: bool | None = None,
    ) -> None:
        """Store the message and the attributes; `is_retryable` defaults to the class's own."""
        super().__init__(message or self.default_message)
        self.status_code = status_code
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        if is_retryable is not None:
            self.is_retryable = is_retryable

    @property
    def retry_safe(self) -> bool:
        """Whether the call can be repeated without a second charge; a retry may risk one."""
        if self._retry_safe is None:
            return self.is_retryable and not self.maybe_charged
        return self._retry_safe

    def redact(self, secret: str) -> "MiniToolAIError":
        """Remove an API key from everything that quotes the service."""
        self.args = (tidy(str(self), secret), *self.args[1:])
        self.code = self.code and tidy(self.code, secret)
        self.request_id = self.request_id and tidy(self.request_id, secret)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with every attribute."""
        return (_rebuild, (type(self), self.args, self.__dict__.copy()))


def _rebuild(
    cls: type[MiniToolAIError], args: tuple[Any, ...], state: dict[str, Any]
) -> MiniToolAIError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class InvalidInputError(MiniToolAIError, ModelInvalidRequestError, ValueError, kind="input"):
    """The input was rejected before anything was sent or charged."""


class MissingAPIKeyError(InvalidInputError, ModelAuthenticationError, kind="missing_key"):
    """No API key was given and the environment holds none."""


class BadRequestError(MiniToolAIError, ModelInvalidRequestError, kind="bad_request"):
    """The service refused the request."""


class ContextLengthError(BadRequestError, ContextOverflowError, kind="context_length"):
    """The conversation is longer than the model reads."""


class AuthenticationError(MiniToolAIError, ModelAuthenticationError, kind="authentication"):
    """The service does not accept the API key."""


class InsufficientCreditError(MiniToolAIError, ModelPermissionDeniedError, kind="credit"):
    """The prepaid balance does not cover the request."""


class PermissionDeniedError(MiniToolAIError, ModelPermissionDeniedError, kind="permission"):
    """The service, or the firewall before it, forbids the request."""


class NotFoundError(MiniToolAIError, ModelNotFoundError, kind="not_found"):
    """The service has no such model or path."""


class RateLimitError(MiniToolAIError, ModelRateLimitError, kind="rate_limit"):
    """Too many requests; `retry_after` says how long to wait, where the service did."""


class SpendingLimitError(MiniToolAIError, ModelPermissionDeniedError, kind="spending_limit"):
    """The spending limit of an agent is reached; the call was not sent."""


class ServiceError(MiniToolAIError, ModelAPIError, kind="service"):
    """The service failed, or reported an error in its response."""

    maybe_charged = True


class InvalidResponseError(ServiceError, kind="invalid_response"):
    """The response is not valid: a page, junk, or nothing at all."""


class MalformedStreamError(InvalidResponseError, kind="malformed_stream"):
    """An event of the stream can't be parsed."""


class IncompleteOutputError(MiniToolAIError, OutputParserException, kind="incomplete_output"):
    """The answer was cut before the structured output in it was complete.

    Attributes:
        finish_reason: Why the answer ended, such as `"length"`.
        llm_output: The text so far.
    """

    maybe_charged = True

    def __init__(
        self,
        message: str | None = None,
        *,
        finish_reason: str | None = None,
        llm_output: str = "",
        **attributes: Any,
    ) -> None:
        """Store the attributes; `attributes` are those of `MiniToolAIError`."""
        super().__init__(message, **attributes)
        self.args = (message or self.default_message,)  # without the address that core appends
        self.finish_reason = finish_reason
        self.llm_output = llm_output


class APIConnectionError(MiniToolAIError, ModelConnectionError, kind="connection"):
    """The service could not be reached, or the connection broke.

    Attributes:
        stale: A connection kept from an earlier call dropped before the first byte.
    """

    stale = False
    maybe_charged = True


class StreamInterruptedError(APIConnectionError, kind="interrupted"):
    """The response ended before it was complete."""


class APITimeoutError(MiniToolAIError, ModelTimeoutError, kind="no_progress"):
    """No progress for the time allowed; the request may have been charged."""

    is_retryable = False
    maybe_charged = True


class ImageError(MiniToolAIError, kind="image"):
    """An image could not be had; `job_id` is what `resume` takes, where there is one."""

    def __init__(
        self,
        message: str | None = None,
        *,
        retry_safe: bool = False,
        maybe_charged: bool = False,
        job_id: str | None = None,
        hint: str = "",
        **attributes: Any,
    ) -> None:
        """Store the attributes; `attributes` are those of `MiniToolAIError`."""
        attributes.setdefault("is_retryable", retry_safe)
        super().__init__(message, **attributes)
        self._retry_safe = retry_safe
        self.maybe_charged = maybe_charged
        self.job_id = job_id
        self.hint = hint


class ImageRequestError(ImageError, ModelInvalidRequestError, kind="refused"):
    """The request was refused; nothing was charged."""


class ImageBudgetError(ImageError, ModelPermissionDeniedError, kind="budget"):
    """The tool's own budget is spent; nothing was sent."""


class SubmissionUnknownError(ImageError, ModelConnectionError, kind="unknown_submission"):
    """The job may have been taken and charged, and no handle came back."""


class ImageJobFailedError(ImageError, ModelAPIError, kind="failed"):
    """The service says that the job failed."""


class ImageJobTimeoutError(ImageError, ModelTimeoutError, kind="timeout"):
    """The image was not ready in time; the job can be resumed."""


class ServiceUnavailableError(ImageError, ModelAPIError, kind="unavailable"):
    """The service stopped answering for the job; the job can be resumed."""


class ImageDownloadError(ImageError, kind="download"):
    """The bytes are no image, or could not be downloaded."""
