"""A service that takes nothing but what it documents, written from the contract alone."""

import base64
import re
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_minitoolai import contract

DATA = re.compile(r"data:([a-z]+/[a-z]+);base64,([A-Za-z0-9+/]+={0,2})")


def check_body(body: Mapping[str, Any]) -> None:
    """Refuse what is not documented, by an assertion."""
    assert set(body) <= set(contract.CHAT_FIELDS), sorted(body)
    assert isinstance(body["model"], str)
    assert "temperature" not in body or 0.0 <= body["temperature"] <= 2.0
    assert "max_completion_tokens" not in body or body["max_completion_tokens"] >= 1
    check_messages(body["messages"])


def check_messages(wire: Sequence[Mapping[str, Any]]) -> None:
    """Refuse messages whose roles, fields or parts are not documented."""
    assert wire
    for message in wire:
        assert set(message) == {"role", "content"}
        assert message["role"] in contract.CHAT_ROLES
        content = message["content"]
        if isinstance(content, str):
            continue
        assert message["role"] == "user", "only a user shows images"
        assert isinstance(content, list)
        assert content
        for part in content:
            check_part(part)


def check_part(part: Mapping[str, Any]) -> None:
    """Refuse a part that is neither text nor an image."""
    if part["type"] == "text":
        assert set(part) == {"type", "text"}
        assert isinstance(part["text"], str)
        return
    assert part["type"] == "image_url"
    assert set(part) == {"type", "image_url"}
    image = part["image_url"]
    assert {"url"} <= set(image) <= {"url", "detail"}
    assert image.get("detail", "auto") in contract.IMAGE_DETAILS
    url = image["url"]
    assert isinstance(url, str)
    if not url.startswith(("https://", "http://")):
        data = DATA.fullmatch(url)
        assert data, url[:60]
        assert data[1] in contract.INPUT_IMAGE_TYPES
        assert base64.b64decode(data[2], validate=True)
