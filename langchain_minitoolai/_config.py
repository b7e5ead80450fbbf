"""Configuration shared by the model and the tool: key, URL, timeouts, retries, HTTP clients."""

import os
import pickle
import re
import ssl
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import cached_property, lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from langchain_core.rate_limiters import BaseRateLimiter, InMemoryRateLimiter
from langchain_core.utils.utils import from_env
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from langchain_minitoolai import contract
from langchain_minitoolai._http.async_client import AsyncClient
from langchain_minitoolai._http.client import SyncClient
from langchain_minitoolai._http.pool import (
    TransportConfig,
    client_pool,
    is_client_instance,
    validate_client,
)
from langchain_minitoolai._http.transport import is_loopback
from langchain_minitoolai._redaction import is_secret_name
from langchain_minitoolai.errors import InvalidInputError, MissingAPIKeyError

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, a header's name
_PROXIES = ("http", "https", "socks5", "socks5h")
_CLIENT_FIELDS = ("http_client", "http_async_client")


def _key_from_environment() -> SecretStr:
    if key := os.environ.get(contract.API_KEY_VARIABLE):
        return SecretStr(key)
    raise MissingAPIKeyError(
        f"No API key: pass api_key=… or set {contract.API_KEY_VARIABLE}. "
        "To try without one, start the sandbox: python -m langchain_minitoolai.sandbox"
    )


class ClientConfig(BaseModel):
    """The fields that say how to reach the service; nothing is opened before the first call."""

    model_config = ConfigDict(
        populate_by_name=True,
        protected_namespaces=(),
        validate_assignment=True,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
    )

    minitoolai_api_key: SecretStr = Field(
        alias="api_key", default_factory=_key_from_environment, validate_default=True
    )
    """The API key; from `MINITOOLAI_API_KEY` if not given."""

    allow_insecure_http: bool = False
    """Whether `base_url` may be plain http beyond loopback: the key then travels unencrypted."""

    minitoolai_api_base: str = Field(
        alias="base_url",
        default_factory=from_env(contract.API_BASE_VARIABLE, default=contract.API_BASE),
        validate_default=True,
    )
    """The service's URL, or a gateway's, with any path; from `MINITOOLAI_API_BASE` if not given."""

    timeout: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    """Seconds without progress before a request is given up."""

    max_retries: int = Field(default=2, ge=0)
    """Attempts after the first; 0 means one attempt."""

    default_headers: dict[str, SecretStr] | None = Field(default=None, exclude=True)
    """Headers for every request but `Authorization`; their values are kept as secrets."""

    proxy: SecretStr | None = Field(default=None, exclude=True)
    """A proxy: `http`, `https`, or `socks5` (with `httpx[socks]`); by default the environment's."""

    verify: bool | str | Path | ssl.SSLContext = True
    """Whether to verify TLS certificates, the path of those to trust, or a TLS context."""

    http_client: Any = Field(default=None, exclude=True, repr=False)
    """Your own `httpx.Client` for sync calls, or a callable that makes one, once a process.

    A client that you made is yours to close; one that your callable made is closed here."""

    http_async_client: Any = Field(default=None, exclude=True, repr=False)
    """Your own `httpx.AsyncClient` for async calls, or a callable that makes one for each loop."""

    _clients: "_ClientCache" = PrivateAttr(default_factory=lambda: _ClientCache())  # noqa: PLW0108 - defined below

    def model_post_init(self, context: Any, /) -> None:
        """Call core's own step, which pydantic would skip."""
        super().model_post_init(context)

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The fields that never leave as they are, and where they are read from."""
        return {"minitoolai_api_key": contract.API_KEY_VARIABLE}

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        # Pydantic's own words on an extra field name neither a like one nor a way out.
        known = field_names(cls)
        if not given.keys() <= known:
            # On assignment, these are the instance's attributes, cached properties of core too.
            given = {
                name: value
                for name, value in given.items()
                if not isinstance(getattr(cls, name, None), cached_property)
            }
        if not given.keys() <= known:
            raise ValueError(unknown_names(cls.__name__, given, known))
        return given

    @field_validator("minitoolai_api_key")
    @classmethod
    def _check_key(cls, key: SecretStr) -> SecretStr:
        text = key.get_secret_value().strip()
        if not text or not text.isascii() or not text.isprintable():
            raise ValueError("api_key holds nothing, or characters that no key has")
        return SecretStr(text)

    @field_validator("minitoolai_api_base")
    @classmethod
    def _check_base_url(cls, base_url: str, info: ValidationInfo) -> str:
        return validate_base_url(base_url, insecure=bool(info.data.get("allow_insecure_http")))

    @field_validator("default_headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, SecretStr] | None) -> dict[str, SecretStr] | None:
        for name, value in (headers or {}).items():
            text = value.get_secret_value()
            if not _TOKEN.fullmatch(name) or not text.isascii() or not text.isprintable():
                raise ValueError(f"default_headers: {name!r} is no header that can be sent")
            if name.lower() == "authorization":
                raise ValueError("default_headers holds Authorization; pass the key as api_key")
        return headers

    @field_validator("proxy")
    @classmethod
    def _check_proxy(cls, proxy: SecretStr | None) -> SecretStr | None:
        if proxy is not None and not _is_proxy(proxy.get_secret_value()):
            allowed = ", ".join(f"{scheme}://host:port" for scheme in _PROXIES)
            raise ValueError(f"proxy is no address of a proxy; allowed: {allowed}")
        socks = proxy is not None and proxy.get_secret_value().lower().startswith("socks")
        if socks and find_spec("socksio") is None:
            raise ValueError('proxy is a SOCKS proxy; first: pip install "httpx[socks]"')
        return proxy

    @field_validator("http_client", "http_async_client")
    @classmethod
    def _check_http_client(cls, given: Any, info: ValidationInfo) -> Any:
        if given is not None:
            field = str(info.field_name)
            validate_client(field, given, is_async=field == "http_async_client")
        return given

    @model_validator(mode="after")
    def _check_client_options(self) -> Self:
        users = [name for name in _CLIENT_FIELDS if getattr(self, name) is not None]
        options = [
            name
            for name, is_set in (("proxy", self.proxy), ("verify", self.verify is not True))
            if is_set
        ]
        if users and options:
            given = " and ".join([*users, *options])
            raise ValueError(f"{given} are given together; set {options[0]} in the client itself")
        return self

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a field as the constructor does: checked, and without effect if it is refused."""
        before, was_set = dict(self.__dict__), set(self.model_fields_set)
        try:
            super().__setattr__(name, value)
        except ValidationError:
            self.__dict__.update(before)
            self.model_fields_set.intersection_update(was_set)
            raise

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy; the updated fields are checked as the constructor does."""
        copied = super().model_copy(deep=deep)
        for name, value in (update or {}).items():
            setattr(copied, name, value)
        return copied

    def __getstate__(self) -> dict[Any, Any]:
        """Pickle without clients; a callable that makes one is pickled by its name."""
        for name in _CLIENT_FIELDS:
            if is_client_instance(getattr(self, name)):
                raise InvalidInputError(
                    f"{name} is a client, which can't be pickled; allowed: a callable that makes "
                    f"one, such as a function of a module ({name}=make_client)"
                )
        if isinstance(self.verify, ssl.SSLContext):
            raise InvalidInputError(
                "verify is an ssl.SSLContext, which can't be pickled; allowed: a path"
            )
        state = super().__getstate__()
        if (limiter := getattr(self, "rate_limiter", None)) is not None:
            state["__dict__"] = {**state["__dict__"], "rate_limiter": _picklable(limiter)}
        return state

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Copy all but the user's clients, TLS context and rate limiter, which the copy shares."""
        memo = {} if memo is None else memo
        limiter = getattr(self, "rate_limiter", None)
        for shared in (self.http_client, self.http_async_client, self.verify, limiter):
            memo[id(shared)] = shared
        return super().__deepcopy__(memo)

    def _transport_config(self) -> TransportConfig:
        return TransportConfig(
            proxy=self.proxy.get_secret_value() if self.proxy else None,
            verify=str(self.verify) if isinstance(self.verify, Path) else self.verify,
            http_client=self.http_client,
            http_async_client=self.http_async_client,
        )

    @property
    def _api_key(self) -> str:
        return self.minitoolai_api_key.get_secret_value()

    def _sync_client(self) -> SyncClient:
        return self._clients.get(self)[0]

    def _async_client(self) -> AsyncClient:
        return self._clients.get(self)[1]


@lru_cache(maxsize=64)
def field_names(owner: type[BaseModel]) -> frozenset[str]:
    """Give the names a constructor takes: its fields and their aliases."""
    fields = owner.model_fields
    names = {*fields, *(field.alias for field in fields.values() if field.alias)}
    for field in fields.values():
        if isinstance(field.validation_alias, AliasChoices):
            names.update(map(str, field.validation_alias.choices))
    return frozenset(names)


_NAMES_ELSEWHERE = {
    "openai_api_key": "api_key",
    "anthropic_api_key": "api_key",
    "mistral_api_key": "api_key",
    "google_api_key": "api_key",
    "groq_api_key": "api_key",
    "openai_api_base": "base_url",
    "endpoint": "base_url",
    "api_base": "base_url",
    "request_timeout": "timeout",
    "default_request_timeout": "timeout",
    "max_retry": "max_retries",
    "openai_proxy": "proxy",
    "headers": "default_headers",
    "extra_headers": "default_headers",
    "additional_headers": "default_headers",
    "extra_body": "model_kwargs",
    "max_output_tokens": "max_tokens",
    "max_tokens_to_sample": "max_tokens",
    "n_predict": "max_tokens",
}
"""Names of other providers' parameters, and the same here."""
_NEEDLESS = ("stream_usage", "stream_options", "organization", "openai_organization")


def unknown_names(owner: str, given: Iterable[str], known: frozenset[str]) -> str:
    """Describe the names that a constructor does not take, and what to do instead.

    Args:
        owner: The class's name.
        given: The names that were given; their values are never shown.
        known: Those it takes.
    """
    hints = []
    undocumented = False
    for name in (name for name in given if name not in known):
        like = [_NAMES_ELSEWHERE.get(name, ""), *get_close_matches(name, sorted(known), 1, 0.8)]
        right = next((each for each in like if each in known), None)
        needless = "; leave it out" if name in _NEEDLESS else ""
        undocumented |= not (right or needless or is_secret_name(name))
        hints.append(
            f"{name} is no parameter of {owner}" + (f" (is it {right}?)" if right else needless)
        )
    if undocumented and "model_kwargs" in known:
        hints.append("what the service does not document goes into model_kwargs")
    return "; ".join(hints)


@lru_cache(maxsize=64)
def validate_base_url(base_url: str, *, insecure: bool) -> str:
    """Check the service's URL, and return it without a slash at its end.

    Args:
        base_url: What the user gave.
        insecure: Whether plain http is allowed beyond loopback.

    Raises:
        ValueError: If it is no such URL, or the key could leak on the way.
    """
    base_url = base_url.strip().rstrip("/")
    try:
        parts = urlsplit(base_url)
        _ = parts.port
    except ValueError:
        raise ValueError("base_url is no URL") from None
    if "@" in base_url or parts.query or parts.fragment:
        raise ValueError("base_url holds user information, a query or a fragment")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"base_url is {base_url!r}; allowed: https://host/path")
    if parts.scheme == "http" and not insecure and not is_loopback(parts.hostname):
        raise ValueError(
            f"base_url is {base_url!r}, where the key would travel unencrypted; allowed: https, "
            "http on loopback, or any http with allow_insecure_http=True"
        )
    return base_url


def _is_proxy(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in _PROXIES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


class _LimiterSettings:
    """What is pickled of core's rate limiter: unpickling makes a new one with its settings."""

    def __init__(self, limiter: InMemoryRateLimiter) -> None:
        self._make = partial(
            InMemoryRateLimiter,
            requests_per_second=limiter.requests_per_second,
            check_every_n_seconds=limiter.check_every_n_seconds,
            max_bucket_size=limiter.max_bucket_size,
        )

    def __reduce__(self) -> tuple[partial[InMemoryRateLimiter], tuple[()]]:
        return self._make, ()


def _picklable(limiter: BaseRateLimiter) -> Any:
    if type(limiter) is InMemoryRateLimiter:
        return _LimiterSettings(limiter)
    try:
        pickle.dumps(limiter)
    except TypeError as refused:  # any other error may be none to `cloudpickle`
        reason = str(refused)
    else:
        return limiter
    raise InvalidInputError(
        f"rate_limiter is a {type(limiter).__name__}, which can't be pickled ({reason}); allowed: "
        "langchain_core's InMemoryRateLimiter, or one that can be"
    )


class _ClientCache:
    """The clients of one model or tool: made late, made again when a setting changed.

    They stay here: a copy or a pickle of their owner starts with none.
    """

    def __init__(self) -> None:
        self._made: tuple[tuple[Any, ...], tuple[SyncClient, AsyncClient]] | None = None

    def __reduce__(self) -> tuple[type["_ClientCache"], tuple[()]]:
        return (_ClientCache, ())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ClientCache)  # owners are equal whichever of them was used

    def __hash__(self) -> int:
        return hash(_ClientCache)

    def get(self, owner: ClientConfig) -> tuple[SyncClient, AsyncClient]:
        settings = (
            owner.minitoolai_api_key,
            owner.minitoolai_api_base,
            dict(owner.default_headers or {}),  # a copy: it may be changed in place
            owner._transport_config(),  # noqa: SLF001 - one thing in two classes
        )
        made = self._made
        if made is None or made[0] != settings:
            made = self._made = (settings, _make_clients(owner))
        return made[1]


def _make_clients(owner: ClientConfig) -> tuple[SyncClient, AsyncClient]:
    pool = client_pool(owner._transport_config())  # noqa: SLF001 - one thing in two classes
    key = owner._api_key  # noqa: SLF001 - one thing in two classes
    try:
        owner.default_headers = owner.default_headers  # changed in place, it is unchecked
    except ValidationError as error:
        raise InvalidInputError(error.errors()[0]["msg"]) from None
    given = owner.default_headers or {}
    headers = {name: value.get_secret_value() for name, value in given.items()}
    base_url = owner.minitoolai_api_base
    return SyncClient(pool, base_url, key, headers), AsyncClient(pool, base_url, key, headers)
