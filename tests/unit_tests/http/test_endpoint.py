"""Where calls go and as whom."""

import json
from typing import Any

import httpx
import pytest

from langchain_minitoolai._http.deadline import Budget
from langchain_minitoolai._http.endpoint import Endpoint
from langchain_minitoolai._http.network import Route
from langchain_minitoolai._http.pool import Network
from langchain_minitoolai._version import __version__
from langchain_minitoolai.errors import InvalidInputError
from tests.unit_tests.shells import BASE, KEY, Clock, call

ROUTE = Route(verify=False)


def endpoint(**headers: str) -> Endpoint:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Endpoint(Network(ROUTE), BASE, KEY, named)


def request(**headers: str) -> httpx.Request:
    return endpoint(**headers).request(call(body={"a": "ø"}), Budget(Clock(), 9.0, None))


@pytest.mark.parametrize(
    ("base", "place"),
    [
        ("https://service.test/api", "service.test:443"),
        ("https://service.test:8443/api", "service.test:8443"),
        ("http://localhost/api", "localhost:80"),
        ("http://[::1]:8000/api", "[::1]:8000"),
        ("https://user:pass@service.test/api", "service.test:443"),
    ],
)
def test_the_place_is_host_and_port_alone(base: str, place: str) -> None:
    assert Endpoint(Network(ROUTE), base, KEY).place == place


def test_a_request_is_a_post_of_json() -> None:
    made = request(x_mine="1")
    assert (made.method, str(made.url)) == ("POST", f"{BASE}/chat-completions/")
    assert json.loads(made.read()) == {"a": "ø"}
    assert made.headers["content-length"] == str(len(made.read()))
    assert made.headers["host"] == "service.test"
    assert made.headers["accept-encoding"] == "identity"
    assert made.headers["user-agent"] == f"langchain-minitoolai/{__version__}"
    assert made.headers["x-mine"] == "1"
    assert made.extensions["timeout"]["pool"] == 9.0


def test_requests_are_made_anew_each_time() -> None:
    asking = endpoint(Host="mine.test", Content_Length="7", x_mine="1")
    one, two = (asking.request(call(body={"n": n}), Budget(Clock(), 9.0, None)) for n in (1, 22))
    assert (one.read(), two.read()) == (b'{"n":1}', b'{"n":22}')
    assert (one.headers["content-length"], two.headers["content-length"]) == ("7", "8")
    assert one.headers["host"] == "mine.test"
    one.headers["x-mine"] = "2"
    assert two.headers["x-mine"] == "1"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"fine": [1, "two"], "x": object}, "x is <class 'object'>; allowed: what JSON can hold"),
        ({"a": [{"b": (1, "\ud800")}]}, r"a[0].b[1] is '\ud800'; allowed"),
        ({"a": {"b": "\ud800" + "x" * 99}}, r"a.b is '\ud800" + "x" * 53 + "…; allowed"),
        ({"\ud800": 1}, "the request is something; allowed"),
    ],
)
def test_what_json_can_t_hold_is_refused_by_its_place(body: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        endpoint().request(call(body=body), Budget(Clock(), 9.0, None))
    assert words in str(raised.value)
    assert raised.value.__context__ is None


@pytest.mark.parametrize("name", ["user_agent", "User_Agent", "USER_AGENT"])
def test_a_user_s_header_replaces_ours_in_any_case(name: str) -> None:
    assert request(**{name: "mine"}).headers.get_list("user-agent") == ["mine"]


def test_the_key_is_set_when_a_request_is_sent_and_not_before() -> None:
    made = request()
    assert KEY not in repr(made.headers.raw)
    auth = endpoint().auth(call())
    assert auth is not None
    sent = next(auth.auth_flow(made))
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert endpoint().auth(call(send_auth=False)) is None


def test_the_key_is_in_no_repr() -> None:
    shown = endpoint(x_secret="s3cr3t")
    texts = [repr(thing) for thing in (shown, shown.auth(call()), shown.network, request())]
    assert not any(KEY in text or "s3cr3t" in text for text in texts)


def test_a_reply_is_without_the_key() -> None:
    response = httpx.Response(201, headers={"X-Request-ID": "r"})
    reply = endpoint().reply(response, f"{KEY} {KEY}".encode(), answer=7)
    assert (reply.status, reply.headers, reply.body) == (201, {"x-request-id": "r"}, b"[key] [key]")
    assert reply.answer == 7
    assert Endpoint(Network(ROUTE), BASE, "").reply(response, b"abc").body == b"abc"
    assert endpoint().reply(response).body == b""
