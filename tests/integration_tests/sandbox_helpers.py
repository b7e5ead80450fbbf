"""Helpers for a running sandbox: how to reach it, and the requests it received."""

from typing import Any

from langchain_minitoolai import contract, sandbox

CHAT = f"/api{contract.CHAT_PATH}"


def access(service: sandbox.Service) -> dict[str, Any]:
    """Return the arguments that point a class at a sandbox."""
    return {"api_key": service.api_key, "base_url": service.base_url}


def bodies(service: sandbox.Service) -> list[dict[str, Any]]:
    """Return the chat requests that came in, in order."""
    return [request.body for request in service.requests if request.path == CHAT]


def undocumented(service: sandbox.Service) -> list[str]:
    """Name the fields and roles of the chat requests that the service does not document."""
    found = []
    for place, body in enumerate(bodies(service)):
        fields = [name for name in body if name not in contract.CHAT_FIELDS]
        for message in body["messages"]:
            fields += [name for name in message if name not in ("role", "content")]
            if message["role"] not in contract.CHAT_ROLES:
                fields.append(f"role {message['role']}")
        found += [f"request {place}: {field}" for field in fields]
    return found
