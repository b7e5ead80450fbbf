"""Images in tools' results: moved to user messages, or put into words."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, cast

from langchain_core.messages import AnyMessage, HumanMessage, ToolMessage

from langchain_minitoolai._chat.content import image_part, is_image
from langchain_minitoolai.errors import InvalidInputError

Placement = Literal["user", "text"]


def move_images(messages: Iterable[AnyMessage], placement: Placement) -> list[AnyMessage]:
    """Move the images in tools' results out of them.

    Args:
        messages: A conversation, which is not changed.
        placement: `"user"` puts them into a user message after the results that stand together;
            `"text"` leaves their addresses in the results.
    """
    return list(_move(messages, placement))


def _move(messages: Iterable[AnyMessage], placement: Placement) -> Iterator[AnyMessage]:
    pending: list[str | dict[Any, Any]] = []
    for message in messages:
        if not isinstance(message, ToolMessage):
            if pending:
                yield HumanMessage(pending)
                pending = []
            yield message
            continue
        images = [block for block in message.content if _is_image(block)]
        if images and placement == "user":
            label = f"Images in the result of {message.name} ({message.tool_call_id}):"
            pending += [{"type": "text", "text": label}, *images]
        yield _without_images(message, placement) if images else message
    if pending:
        yield HumanMessage(pending)


def _is_image(block: object) -> bool:
    return isinstance(block, Mapping) and is_image(block)


def _without_images(message: ToolMessage, placement: Placement) -> ToolMessage:
    """Replace a result's images by words, and make it a text if nothing else is in it."""
    blocks = [
        {"type": "text", "text": _image_text(block, placement)} if _is_image(block) else block
        for block in message.content
    ]
    texts = [each if isinstance(each, str) else each.get("text") for each in blocks]
    whole = all(isinstance(each, str) for each in texts)
    content = "\n".join(cast("list[str]", texts)) if whole else blocks
    return message.model_copy(update={"content": content})


def _image_text(block: Any, placement: Placement) -> str:
    if placement == "user":
        return "[The image is in the next user message.]"
    try:
        part = image_part(block, "content")
    except InvalidInputError:
        return "[An image that is not shown here.]"
    url = part["image_url"]["url"]
    return "[An image that is not shown here.]" if url.startswith("data:") else f"[Image: {url}]"
