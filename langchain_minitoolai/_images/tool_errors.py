"""Errors as a model reads them: short, with what to do and whether it cost anything."""

from typing import Final

from langchain_core.tools import ToolException

from langchain_minitoolai.errors import MiniToolAIError

LONGEST: Final = 400
"""The most characters that a model is told of an error."""


class ImageToolError(ToolException):
    """What a tool raises when its errors are to be handled; its text is for a model.

    Attributes:
        error: The error itself.
    """

    def __init__(self, text: str, error: MiniToolAIError) -> None:
        """Keep both."""
        super().__init__(text)
        self.error = error

    def __reduce__(self) -> tuple[type["ImageToolError"], tuple[str, MiniToolAIError]]:
        """Survive pickling."""
        return (type(self), (str(self), self.error))


def told(error: MiniToolAIError) -> ImageToolError:
    """Put an error into at most 400 characters for a model."""
    said = str(error)
    ends = [error.hint]
    if "charged" not in said:
        ends.append("It may have been charged." if error.maybe_charged else "Nothing was charged.")
    end = " ".join(text for text in ends if text)
    said = said if said.endswith((".", "!", "?", "…")) else f"{said}."
    room = LONGEST - len(end) - 1
    said = said if len(said) <= room else f"{said[: room - 1]}…"
    return ImageToolError(f"{said} {end}".strip(), error)
