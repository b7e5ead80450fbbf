"""What the model and the tool share: key, address, times, retries, and lazy clients."""

import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from langchain_core.utils.utils import from_env
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    field_validator,
    model_validator,
)

from langchain_minitoolai import contract
from langchain_minitoolai._http.async_client import AsyncClient
from langchain_minitoolai._http.client import Client
from langchain_minitoolai._http.network import Route
from langchain_minitoolai._http.pool import network
from langchain_minitoolai.errors import MissingAPIKeyError, is_secret_name

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, a header's name
_PROXIES = ("http", "https", "socks5", "socks5h")


def _key_from_environment() -> SecretStr:
    if key := os.environ.get(contract.API_KEY_VARIABLE):
        return SecretStr(key)
    raise MissingAPIKeyError(
        f"No API key: pass api_key=… or set {contract.API_KEY_VARIABLE}. "
        "To try without one, start the sandbox: python -m langchain_minitoolai.sandbox"
    )


class Connection(BaseModel):
    """The fields that say how to reach the service; nothing is opened before the first call."""

    model_config = ConfigDict(populate_by_name=True, hide_input_in_errors=True)

    minitoolai_api_key: SecretStr = Field(
        alias="api_key", default_factory=_key_from_environment, validate_default=True
    )
    """The API key; from `MINITOOLAI_API_KEY` if not given."""

    minitoolai_api_base: str = Field(
        alias="base_url",
        default_factory=from_env(contract.API_BASE_VARIABLE, default=contract.API_BASE),
        validate_default=True,
    )
    """The service's address, ending in `/api`; from `MINITOOLAI_API_BASE` if not given."""

    timeout: float = Field(default=60.0, gt=0, allow_inf_nan=False)
    """Seconds without progress before a request is given up."""

    max_retries: int = Field(default=2, ge=0)
    """Attempts after the first; 0 means one attempt."""

    default_headers: dict[str, SecretStr] | None = Field(default=None, exclude=True)
    """Headers for every request; their values are kept as secrets."""

    proxy: SecretStr | None = Field(default=None, exclude=True)
    """A proxy: `http`, `https`, or `socks5` (with `httpx[socks]`); by default the environment's."""

    verify: bool | str = True
    """Whether to verify TLS certificates, or the path of those to trust."""

    _shells: "_Shells" = PrivateAttr(default_factory=lambda: _Shells())  # noqa: PLW0108 - defined below

    def model_post_init(self, context: Any, /) -> None:
        """Pass the word on, so that core's own steps are not skipped."""
        super().model_post_init(context)

    @property
    def lc_secrets(self) -> dict[str, str]:
        """The fields that never leave as they are, and where they are read from."""
        return {"minitoolai_api_key": contract.API_KEY_VARIABLE}

    @model_validator(mode="before")
    @classmethod
    def _check_names(cls, given: Any) -> Any:
        # Pydantic's own words on an extra field name neither a like one nor a way out.
        if isinstance(given, Mapping) and not given.keys() <= (known := names_of(cls)):
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
    def _check_base(cls, base: str) -> str:
        return check_base(base)

    @field_validator("default_headers")
    @classmethod
    def _check_headers(cls, headers: dict[str, SecretStr] | None) -> dict[str, SecretStr] | None:
        for name, value in (headers or {}).items():
            text = value.get_secret_value()
            if not _TOKEN.fullmatch(name) or not text.isascii() or not text.isprintable():
                raise ValueError(f"default_headers: {name!r} is no header that can be sent")
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

    def _route(self) -> Route:
        return Route(self.proxy.get_secret_value() if self.proxy else None, self.verify)

    def _client(self) -> Client:
        return self._shells.get(self)[0]

    def _async_client(self) -> AsyncClient:
        return self._shells.get(self)[1]


@lru_cache(maxsize=64)
def names_of(owner: type[BaseModel]) -> frozenset[str]:
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
def check_base(base: str) -> str:
    """Check the service's address, and give it without a slash at its end.

    Raises:
        ValueError: If the key could leak there, or it is no such address.
    """
    base = base.strip().rstrip("/")
    try:
        parts = urlsplit(base)
        _ = parts.port
    except ValueError:
        raise ValueError("base_url is no address") from None
    if "@" in base or parts.query:
        raise ValueError("base_url holds user information or a query; pass the key as api_key")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError(f"base_url is {base!r}; allowed: https, or http on loopback")
    if not parts.hostname or not parts.path.endswith("/api") or parts.fragment:
        raise ValueError(f"base_url is {base!r}; allowed: an address that ends in /api")
    return base


def _is_proxy(address: str) -> bool:
    try:
        parts = urlsplit(address)
        return parts.scheme in _PROXIES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def is_loopback(host: str | None) -> bool:
    """Say whether a host is this machine: `localhost` or a loopback address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


class _Shells:
    """The clients of one model or tool: made late, made again when a setting changed.

    They stay here: a copy or a pickle of their owner starts with none.
    """

    def __init__(self) -> None:
        self._made: tuple[tuple[Any, ...], tuple[Client, AsyncClient]] | None = None

    def __reduce__(self) -> tuple[type["_Shells"], tuple[()]]:
        return (_Shells, ())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Shells)  # owners are equal whoever of them was used

    def __hash__(self) -> int:
        return hash(_Shells)

    def get(self, owner: Connection) -> tuple[Client, AsyncClient]:
        settings = (
            owner.minitoolai_api_key,
            owner.minitoolai_api_base,
            owner.default_headers,
            owner._route(),  # noqa: SLF001 - one thing in two classes
        )
        made = self._made
        if made is None or made[0] != settings:
            made = self._made = (settings, _make(owner))
        return made[1]


def _make(owner: Connection) -> tuple[Client, AsyncClient]:
    shared = network(owner._route())  # noqa: SLF001 - one thing in two classes
    key = owner.minitoolai_api_key.get_secret_value()
    headers = _plain(owner.default_headers or {})
    base = owner.minitoolai_api_base
    return Client(shared, base, key, headers), AsyncClient(shared, base, key, headers)


def _plain(headers: Mapping[str, SecretStr]) -> dict[str, str]:
    return {name: value.get_secret_value() for name, value in headers.items()}
