"""Shared configuration: fields that are checked, secrets that stay secret, late clients."""

import copy
import pickle
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from langchain_core.rate_limiters import BaseRateLimiter, InMemoryRateLimiter
from pydantic import BaseModel, SecretStr, ValidationError

from langchain_minitoolai import ChatMiniToolAI, MiniToolAIImageTool, _config, contract
from langchain_minitoolai._config import ClientConfig, unknown_names, validate_base_url
from langchain_minitoolai._http.async_client import AsyncClient
from langchain_minitoolai._http.client import SyncClient
from langchain_minitoolai.errors import InvalidInputError, MissingAPIKeyError

KEY = "sk-test-0123456789"
BASE = "https://service.test/api"


class Owner(ClientConfig):
    """The least that has a configuration."""

    name: str = "owner"


def owner(**fields: Any) -> Owner:
    return Owner(**{"api_key": KEY, "base_url": BASE, **fields})


def refusal(**fields: Any) -> str:
    with pytest.raises(ValidationError) as raised:
        owner(**fields)
    return str(raised.value)


# --- Names ----------------------------------------------------------------------------


def test_an_unknown_name_is_refused_with_the_like_one_and_without_its_value() -> None:
    text = refusal(max_retrys="hush", other=1)
    assert "max_retrys is no parameter of Owner (is it max_retries?)" in text
    assert "other is no parameter of Owner" in text
    assert "hush" not in text
    assert "model_kwargs" not in text


def test_where_there_are_model_kwargs_a_refused_name_is_sent_there() -> None:
    text = unknown_names("Chat", ["model", "zz"], frozenset({"model", "model_kwargs"}))
    assert text == (
        "zz is no parameter of Chat; what the service does not document goes into model_kwargs"
    )


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("openai_api_key", "api_key"),
        ("openai_api_base", "base_url"),
        ("request_timeout", "timeout"),
        ("openai_proxy", "proxy"),
        ("headers", "default_headers"),
        ("extra_body", "model_kwargs"),
        ("max_output_tokens", "max_tokens"),
    ],
)
def test_another_provider_s_name_gets_the_right_name_and_not_model_kwargs(
    name: str, right: str
) -> None:
    with pytest.raises(ValidationError) as raised:
        ChatMiniToolAI(**{"api_key": KEY, name: "hush"})
    text = str(raised.value)
    assert f"{name} is no parameter of ChatMiniToolAI (is it {right}?)" in text
    assert "what the service does not document" not in text
    assert "hush" not in text


@pytest.mark.parametrize("name", ["stream_usage", "organization"])
def test_another_provider_s_name_that_is_not_needed_is_to_be_left_out(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name} is no parameter .*; leave it out"):
        ChatMiniToolAI(**{"api_key": KEY, name: True})


def test_a_name_that_secrets_have_is_not_sent_to_model_kwargs() -> None:
    assert "model_kwargs" not in unknown_names("Chat", ["bot_token"], frozenset({"model_kwargs"}))


def test_a_name_that_a_class_does_not_have_is_not_suggested_to_it() -> None:
    assert "max_tokens" not in refusal(max_output_tokens=1)


def test_a_configuration_that_is_one_already_is_taken_as_it_is() -> None:
    made = owner()
    assert Owner.model_validate(made) is made


# --- The key --------------------------------------------------------------------------


def test_the_key_comes_from_the_argument_or_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(contract.API_KEY_VARIABLE, f" {KEY}\n")
    assert Owner().minitoolai_api_key.get_secret_value() == KEY
    assert owner(api_key="other").minitoolai_api_key.get_secret_value() == "other"
    assert Owner(minitoolai_api_key=SecretStr("x")).minitoolai_api_key.get_secret_value() == "x"


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_key_is_an_error_that_names_the_variable_and_the_sandbox(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    if value is not None:
        monkeypatch.setenv(contract.API_KEY_VARIABLE, value)
    with pytest.raises(MissingAPIKeyError, match=r"MINITOOLAI_API_KEY.*sandbox"):
        Owner()


@pytest.mark.parametrize("key", ["", " \n", "two\nlines", "nøkkel", "a\x00b"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(key: str) -> None:
    shown = refusal(api_key=key)
    assert "api_key" in shown
    assert not key.strip() or key not in shown


# --- The URL ----------------------------------------------------------------------


def test_the_url_comes_from_the_argument_the_environment_or_the_contract(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Owner(api_key=KEY).minitoolai_api_base == contract.API_BASE
    monkeypatch.setenv(contract.API_BASE_VARIABLE, "http://localhost:8000/api/")
    assert Owner(api_key=KEY).minitoolai_api_base == "http://localhost:8000/api"
    assert owner().minitoolai_api_base == BASE


@pytest.mark.parametrize(
    ("base", "kept"),
    [
        ("https://minitoolai.com/api", "https://minitoolai.com/api"),
        (" https://minitoolai.com/api// ", "https://minitoolai.com/api"),
        ("https://gateway.test:8443/mini/api", "https://gateway.test:8443/mini/api"),
        ("http://127.0.0.1:9/api", "http://127.0.0.1:9/api"),
        ("http://[::1]:9/api", "http://[::1]:9/api"),
        ("http://localhost/api", "http://localhost/api"),
        ("http://sandbox.localhost:8000/", "http://sandbox.localhost:8000"),
        ("https://service.test", "https://service.test"),
        ("https://service.test/v1", "https://service.test/v1"),
    ],
)
def test_a_url_over_https_or_on_loopback_is_accepted(base: str, kept: str) -> None:
    assert validate_base_url(base, insecure=False) == kept


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("http://service.test/api", "allowed: https"),
        ("http://10.0.0.1/api", "allowed: https"),
        ("http://localhost.evil.test/api", "allowed: https"),
        ("ftp://localhost/api", "allowed: https"),
        ("service.test/api", "allowed: https"),
        ("", "allowed: https"),
        ("https:///api", "allowed: https"),
        ("https://service.test/api#top", "a query or a fragment"),
        ("https://[::1/api", "no URL"),
        ("https://service.test:99999/api", "no URL"),
    ],
)
def test_another_url_is_refused_with_what_is_allowed(base: str, words: str) -> None:
    with pytest.raises(ValueError, match="base_url") as raised:
        validate_base_url(base, insecure=False)
    assert words in str(raised.value)
    assert "minitoolai_api_base" in refusal(base_url=base) or "base_url" in refusal(base_url=base)


@pytest.mark.parametrize(
    "base",
    [
        "https://user:s3cr3t@service.test/api",
        "https://s3cr3t@service.test/api",
        "https://:s3cr3t@service.test/api",
        "http://user:s3cr3t@service.test/api",
        "user:s3cr3t@service.test/api",
        "https://service.test/api?key=s3cr3t",
        "ftp://service.test/api?key=s3cr3t",
    ],
)
def test_a_url_that_holds_a_secret_is_refused_without_showing_it(base: str) -> None:
    shown = refusal(base_url=base)
    assert "base_url holds user information, a query or a fragment" in shown
    assert "s3cr3t" not in shown


@pytest.mark.parametrize("base", ["http://service.test/api", "http://10.0.0.1:8000"])
def test_plain_http_beyond_loopback_has_to_be_allowed(base: str) -> None:
    shown = refusal(base_url=base)
    assert "the key would travel unencrypted" in shown
    assert "allow_insecure_http=True" in shown
    assert owner(base_url=base, allow_insecure_http=True).minitoolai_api_base == base


# --- The other fields -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", float("inf")),
        ("timeout", float("nan")),
        ("timeout", None),
        ("max_retries", -1),
        ("max_retries", 1.5),
        ("verify", None),
    ],
)
def test_a_number_out_of_its_range_is_refused_by_name(field: str, value: Any) -> None:
    assert field in refusal(**{field: value})


@pytest.mark.parametrize(
    "proxy",
    [
        "http://proxy.test:3128",
        "https://user:pw@proxy.test",
        "socks5://127.0.0.1:1080",
        "socks5h://p",
    ],
)
def test_a_proxy_is_kept_as_a_secret(monkeypatch: pytest.MonkeyPatch, proxy: str) -> None:
    monkeypatch.setattr(_config, "find_spec", lambda name: name)
    made = owner(proxy=proxy)
    assert made.proxy is not None
    assert made.proxy.get_secret_value() == proxy
    assert proxy not in repr(made)


@pytest.mark.parametrize(
    "proxy",
    [
        "",
        "proxy.test:3128",
        "ftp://u:s3cr3t@proxy.test",
        "http://",
        "http://u:s3cr3t@[::1",
        "http://u:s3cr3t@proxy.test:99999",
        "http://u:s3cr3t@proxy.test:0",
        "http://u:s3cr3t@pro\u2100xy.test",
    ],
)
def test_what_is_no_proxy_is_refused_without_showing_it(proxy: str) -> None:
    shown = refusal(proxy=proxy)
    assert "proxy is no address of a proxy; allowed: http://host:port" in shown
    assert "s3cr3t" not in shown


@pytest.mark.parametrize("scheme", ["socks5", "socks5h", "SOCKS5"])
def test_a_socks_proxy_is_refused_where_its_package_is_missing(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    missed: list[str] = []
    monkeypatch.setattr(_config, "find_spec", missed.append)
    shown = refusal(proxy=f"{scheme}://u:s3cr3t@proxy.test:1080")
    assert 'pip install "httpx[socks]"' in shown
    assert "s3cr3t" not in shown
    assert missed == ["socksio"]
    assert owner(proxy="http://proxy.test:3128").proxy
    assert missed == ["socksio"]


@pytest.mark.parametrize(
    "headers",
    [{"": "x"}, {"a b": "x"}, {"a:": "x"}, {"å": "x"}, {"a": "s3cr3t\r\nb: c"}, {"a": "s3cr3t ø"}],
)
def test_a_header_that_can_t_be_sent_is_refused_without_its_value(headers: dict[str, str]) -> None:
    shown = refusal(default_headers=headers)
    assert "default_headers" in shown
    assert "s3cr3t" not in shown


@pytest.mark.parametrize("name", ["Authorization", "AUTHORIZATION", "authorization"])
def test_a_header_that_would_replace_the_key_is_refused(name: str) -> None:
    shown = refusal(default_headers={name: "Bearer s3cr3t"})
    assert "default_headers holds Authorization; pass the key as api_key" in shown
    assert "s3cr3t" not in shown


def test_headers_are_sent_with_every_request() -> None:
    made = owner(default_headers={"X-Team": "blue", "x-empty": ""})
    for client in (made._sync_client(), made._async_client()):
        assert client._headers["x-team"] == "blue"
        assert client._headers["x-empty"] == ""


def test_certificates_come_from_a_path_or_a_context() -> None:
    context = ssl.create_default_context()
    for given, used in ((Path("ca.pem"), "ca.pem"), ("ca.pem", "ca.pem"), (context, context)):
        assert owner(verify=given)._sync_client().pool.config.verify == used
    assert owner(verify=Path("ca.pem"))._sync_client().pool is (
        owner(verify="ca.pem")._sync_client().pool
    )


# --- The user's clients -----------------------------------------------------------------


def make_client() -> httpx.Client:
    return httpx.Client()


def make_async_client() -> httpx.AsyncClient:
    return httpx.AsyncClient()


@pytest.mark.parametrize(
    ("field", "given", "message"),
    [
        ("http_client", "x", "http_client is a str; allowed: an open httpx.Client"),
        ("http_client", httpx.AsyncClient(), "http_client is an async client; allowed"),
        ("http_async_client", httpx.Client(), "http_async_client is a sync client; allowed"),
        ("http_async_client", 7, "http_async_client is a int; allowed: an open httpx.AsyncClient"),
    ],
)
def test_what_is_no_client_of_the_right_kind_is_refused(
    field: str, given: Any, message: str
) -> None:
    assert message in refusal(**{field: given})


def test_no_client_is_no_client() -> None:
    made = owner(http_client=None, http_async_client=None, proxy="http://proxy.test")
    assert (made.http_client, made.http_async_client) == (None, None)


def test_a_closed_client_is_refused() -> None:
    client = httpx.Client()
    client.close()
    assert "http_client is closed; allowed" in refusal(http_client=client)


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_a_client_is_used_as_it_is_and_shown_nowhere(library: Any) -> None:
    client, async_client = library.Client(), library.AsyncClient()
    made = owner(http_client=client, http_async_client=async_client)
    config = made._sync_client().pool.config
    assert (config.http_client, config.http_async_client) == (client, async_client)
    assert {"http_client", "http_async_client"}.isdisjoint(made.model_dump())
    assert "Client object" not in repr(made)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"proxy": "http://proxy.test"}, "http_client and proxy are given together; set proxy in"),
        ({"verify": False}, "http_client and verify are given together; set verify in"),
        ({"verify": "ca.pem"}, "http_client and verify are given together"),
        (
            {"proxy": "http://proxy.test", "verify": False, "http_async_client": make_async_client},
            "http_client and http_async_client and proxy and verify are given together",
        ),
    ],
)
def test_a_client_together_with_an_option_of_clients_is_refused(
    options: dict[str, Any], message: str
) -> None:
    assert message in refusal(http_client=make_client, **options)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("http_client", httpx.Client(), "allowed: a callable that makes one, such as a function"),
        ("http_async_client", httpx.AsyncClient(), "http_async_client is a client, which can't be"),
        ("verify", ssl.create_default_context(), "verify is an ssl.SSLContext, which can't be"),
    ],
)
def test_what_can_t_be_pickled_is_an_error_that_says_what_can(
    field: str, value: Any, message: str
) -> None:
    made = owner(**{field: value})
    with pytest.raises(InvalidInputError, match=message):
        pickle.dumps(made)


ELSEWHERE = """
import pickle, sys, time
model, tool = pickle.load(sys.stdin.buffer)
for made in (model, tool):
    limiter = made.rate_limiter
    began = time.monotonic()
    taken = [limiter.acquire(blocking=False) for _ in range(2)]
    assert taken == [False, False], taken  # its bucket is empty, as a new one's is
    assert limiter.acquire()
    print(limiter.requests_per_second, limiter.check_every_n_seconds, limiter.max_bucket_size)
"""


def test_a_rate_limiter_is_made_anew_in_another_process() -> None:
    limiter = InMemoryRateLimiter(
        requests_per_second=500, check_every_n_seconds=0.001, max_bucket_size=7
    )
    model = ChatMiniToolAI(api_key=KEY, base_url=BASE, rate_limiter=limiter)
    tool = MiniToolAIImageTool(api_key=KEY, base_url=BASE, rate_limiter=limiter)
    run = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        input=pickle.dumps((model, tool)),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (run.stdout.decode(), run.stderr) == ("500 0.001 7\n" * 2, b"")
    assert model.rate_limiter is limiter


@pytest.mark.parametrize("kind", [ChatMiniToolAI, MiniToolAIImageTool])
def test_a_deep_copy_shares_the_rate_limiter(kind: Any) -> None:
    limiter = InMemoryRateLimiter()
    made = kind(api_key=KEY, base_url=BASE, rate_limiter=limiter)
    assert copy.deepcopy(made).rate_limiter is limiter
    assert made.model_copy(deep=True).rate_limiter is limiter


class PlainLimiter(BaseRateLimiter):
    """A limiter that can be pickled, unless it holds a lock."""

    def __init__(self, held: Any = None) -> None:
        self.held = held

    def acquire(self, *, blocking: bool = True) -> bool:
        return True

    async def aacquire(self, *, blocking: bool = True) -> bool:
        return True


@pytest.mark.parametrize("kind", [ChatMiniToolAI, MiniToolAIImageTool])
def test_another_rate_limiter_is_pickled_if_it_can_be(kind: Any) -> None:
    made = kind(api_key=KEY, base_url=BASE, rate_limiter=PlainLimiter("mine"))
    assert pickle.loads(pickle.dumps(made)).rate_limiter.held == "mine"  # noqa: S301
    made = kind(api_key=KEY, base_url=BASE, rate_limiter=PlainLimiter(threading.Lock()))
    with pytest.raises(InvalidInputError, match="rate_limiter is a PlainLimiter, which can't be"):
        pickle.dumps(made)


def test_a_callable_that_makes_a_client_is_pickled_by_its_name() -> None:
    made = owner(http_client=make_client, http_async_client=make_async_client)
    twin = pickle.loads(pickle.dumps(made))  # noqa: S301
    assert twin.http_client is make_client
    assert twin.http_async_client is make_async_client
    assert twin._sync_client().pool is made._sync_client().pool


def test_a_deep_copy_shares_the_user_s_clients_and_context() -> None:
    given = {"http_client": httpx.Client(), "http_async_client": httpx.AsyncClient()}
    twin = copy.deepcopy(owner(**given, default_headers={"X": "1"}))
    assert (twin.http_client, twin.http_async_client) == tuple(given.values())
    context = ssl.create_default_context()
    assert copy.deepcopy([owner(verify=context)])[0].verify is context


# --- Secrets --------------------------------------------------------------------------


def test_no_secret_is_in_a_repr_or_a_dump() -> None:
    made = owner(proxy="http://u:s3cr3t@proxy.test", default_headers={"X": "s3cr3t"})
    made._sync_client()
    for shown in (repr(made), str(made), made.model_dump_json(), repr(made.model_dump())):
        assert KEY not in shown
        assert "s3cr3t" not in shown
    assert {"proxy", "default_headers"}.isdisjoint(made.model_dump())
    assert made.lc_secrets == {"minitoolai_api_key": "MINITOOLAI_API_KEY"}


def test_an_error_does_not_show_what_was_put_in() -> None:
    shown = refusal(timeout="s3cr3t", default_headers={"X": ["s3cr3t"]}, proxy=["s3cr3t"])
    assert "s3cr3t" not in shown


# --- Clients --------------------------------------------------------------------------


def test_nothing_is_opened_before_it_is_asked_for() -> None:
    made = owner(proxy="http://nobody-else-s.test:3128")
    assert made._clients._made is None
    client, twin = made._sync_client(), made._async_client()
    assert isinstance(client, SyncClient)
    assert isinstance(twin, AsyncClient)
    assert client.pool is twin.pool
    assert client.pool._sync == {}


def test_clients_are_made_once() -> None:
    made = owner()
    assert made._sync_client() is made._sync_client()
    assert made._async_client() is made._async_client()


def test_owners_with_the_same_transport_share_connections() -> None:
    one, two, three = owner(), owner(api_key="other"), owner(verify=False)
    assert one._sync_client().pool is two._sync_client().pool
    assert one._sync_client().pool is not three._sync_client().pool


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("minitoolai_api_key", SecretStr("other")),
        ("minitoolai_api_base", "https://other.test/api"),
        ("default_headers", {"X": SecretStr("1")}),
        ("proxy", SecretStr("http://proxy.test")),
        ("verify", False),
    ],
)
def test_a_setting_that_changes_is_obeyed_by_the_next_call(field: str, value: Any) -> None:
    made = owner()
    before = made._sync_client()
    setattr(made, field, value)
    assert made._sync_client() is not before
    assert made._sync_client() is made._sync_client()


def test_a_changed_copy_has_a_key_of_its_own() -> None:
    made = owner()
    made._sync_client()
    changed = made.model_copy(update={"minitoolai_api_key": SecretStr("other")})
    assert changed._sync_client().api_key == "other"
    assert made._sync_client().api_key == KEY


CLASSES = pytest.mark.parametrize("made_by", [Owner, ChatMiniToolAI, MiniToolAIImageTool])


@CLASSES
@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("minitoolai_api_base", "http://example.com/api", "unencrypted"),
        ("timeout", -1, "greater than 0"),
        ("max_retries", "many", "valid integer"),
        ("default_headers", {"Authorization": "x"}, "pass the key as api_key"),
        ("proxy", "proxy.test", "no address of a proxy"),
        ("timeuot", 7, "is it timeout"),
    ],
)
def test_an_assigned_or_copied_setting_is_checked_as_in_the_constructor(
    made_by: Any, field: str, value: Any, words: str
) -> None:
    made = made_by(api_key=KEY, base_url=BASE)
    before, was_set = dict(made.__dict__), set(made.model_fields_set)
    with pytest.raises(ValidationError, match=words):
        setattr(made, field, value)
    assert (made.__dict__, made.model_fields_set) == (before, was_set)
    with pytest.raises(ValidationError, match=words):
        made.model_copy(update={field: value})


@CLASSES
def test_a_changed_copy_counts_and_its_original_stays(made_by: Any) -> None:
    made = made_by(api_key=KEY, base_url=BASE)
    twin = made.model_copy(update={"minitoolai_api_base": f"{BASE}/", "timeout": "7"})
    assert (twin.minitoolai_api_base, twin.timeout) == (BASE, 7.0)
    assert made.timeout == 60.0
    assert made.model_copy() == made


@CLASSES
def test_headers_that_change_in_place_are_sent_and_checked(made_by: Any) -> None:
    made = made_by(api_key=KEY, base_url=BASE, default_headers={"X-One": "1"})
    before = made._sync_client()._headers
    made.default_headers["X-Two"] = "2"
    after = made._sync_client()._headers
    assert made._async_client()._headers == after
    assert {name: value for name, value in after.items() if before.get(name) != value} == {
        "x-two": "2"
    }
    made.default_headers["Authorization"] = "mine"
    with pytest.raises(InvalidInputError, match="pass the key as api_key"):
        made._sync_client()


@pytest.mark.parametrize(
    "again",
    [copy.copy, copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))],  # noqa: S301
)
def test_an_owner_can_be_copied_and_pickled_after_use(again: Any) -> None:
    made = owner(
        proxy="http://u:pw@proxy.test", default_headers={"X": "1"}, timeout=7, verify=False
    )
    made._sync_client()
    twin = again(made)
    assert twin.model_dump() == made.model_dump()
    assert (twin.proxy, twin.default_headers) == (made.proxy, made.default_headers)
    assert twin._sync_client().api_key == KEY


def test_a_deep_copy_and_a_pickle_start_without_clients() -> None:
    made = owner()
    made._sync_client()
    for twin in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):  # noqa: S301
        assert twin._clients._made is None


def test_threads_that_ask_at_once_get_clients_that_share_connections() -> None:
    made = owner()
    found: list[SyncClient] = []
    threads = [threading.Thread(target=lambda: found.append(made._sync_client())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len({id(client.pool) for client in found}) == 1


def test_two_owners_with_the_same_fields_are_equal_used_or_not() -> None:
    one, two = owner(), owner()
    one._sync_client()
    assert one == two
    assert len({one._clients, two._clients}) == 1
    assert copy.deepcopy(one) == one
    assert one != owner(timeout=7)


def test_core_s_own_steps_after_making_an_owner_are_taken() -> None:
    steps: list[str] = []

    class Base(BaseModel):
        def model_post_init(self, context: Any, /) -> None:
            steps.append("core")

    class Both(ClientConfig, Base):
        pass

    Both(api_key=KEY)
    assert steps == ["core"]
