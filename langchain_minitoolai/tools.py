"""`MiniToolAIImageTool`, a tool that draws, for agents, chains and programs."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import AsyncCallbackManagerForToolRun, CallbackManagerForToolRun
from langchain_core.messages import BaseMessage
from langchain_core.prompt_values import PromptValue
from pydantic import ValidationError
from typing_extensions import Unpack, override

from langchain_minitoolai._images.arguments import refusal
from langchain_minitoolai._images.orders import ImageOrders
from langchain_minitoolai._images.result import (
    GeneratedImage,
    ImageJob,
    ImageProgress,
    content_of,
)
from langchain_minitoolai._images.tool_errors import ImageToolError, told
from langchain_minitoolai._signatures import ImageToolOptions
from langchain_minitoolai.errors import MiniToolAIError

__all__ = ["GeneratedImage", "ImageJob", "ImageProgress", "ImageToolError", "MiniToolAIImageTool"]

_CALL_ID: ContextVar[str | None] = ContextVar("minitoolai_tool_call_id", default=None)


class MiniToolAIImageTool(ImageOrders):
    """A tool that draws pictures, never pays twice for one, and never waits for ever.

    A call that comes again with the same `tool_call_id` and arguments, as from a retry, a
    replayed checkpoint or a restarted process, takes up the job that is paid for.

    Example:
        ```python
        from langchain_minitoolai import MiniToolAIImageTool

        tool = MiniToolAIImageTool(save_to="pictures")  # the key is in MINITOOLAI_API_KEY
        print(tool.invoke("a lighthouse at dusk, oil painting"))
        ```

    Raises:
        MissingAPIKeyError: If there is no key.
        pydantic.ValidationError: If an option is unknown or out of its range.
    """

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[ImageToolOptions]) -> None:
            """Take every option by its name or its alias."""

    @override
    def run(self, tool_input: Any, *args: Any, tool_call_id: str | None = None, **kw: Any) -> Any:
        """Run the tool; see `BaseTool.run`. A text or a prompt is what to draw."""
        with _called(tool_call_id):
            return super().run(_as_input(tool_input), *args, tool_call_id=tool_call_id, **kw)

    @override
    async def arun(
        self, tool_input: Any, *args: Any, tool_call_id: str | None = None, **kw: Any
    ) -> Any:
        """Run the tool; see `BaseTool.arun`. A text or a prompt is what to draw."""
        with _called(tool_call_id):
            return await super().arun(_as_input(tool_input), *args, tool_call_id=tool_call_id, **kw)

    @override
    def _parse_input(self, tool_input: Any, tool_call_id: str | None) -> Any:
        try:
            return super()._parse_input(tool_input, tool_call_id)
        except ValidationError as caught:
            error = refusal(caught, self._schema())
        raise self._failure(error)

    @override
    def _run(self, run_manager: CallbackManagerForToolRun | None = None, **arguments: Any) -> Any:
        client = self._sync_client()
        try:
            image = client.execute(self._draw(arguments, client.clock, _CALL_ID.get(), run_manager))
        except MiniToolAIError as caught:
            error = caught
        else:
            return content_of(image, self.show_to_model), image.artifact()
        raise self._failure(error)

    @override
    async def _arun(
        self, run_manager: AsyncCallbackManagerForToolRun | None = None, **arguments: Any
    ) -> Any:
        client = self._async_client()
        try:
            image = await client.execute(
                self._draw(arguments, client.clock, _CALL_ID.get(), run_manager)
            )
        except MiniToolAIError as caught:
            error = caught
        else:
            return content_of(image, self.show_to_model), image.artifact()
        raise self._failure(error)

    def _failure(self, error: MiniToolAIError) -> Exception:
        """Give what to raise, as the option says: for the model to read, or as it is."""
        return told(error) if self.handle_tool_error else error


@contextmanager
def _called(call_id: str | None) -> Iterator[None]:
    """Keep the id of a tool call, which does not reach `_run` otherwise."""
    token = _CALL_ID.set(call_id)
    try:
        yield
    finally:
        _CALL_ID.reset(token)


def _as_input(given: Any) -> Any:
    """Take a text, a prompt or a message for what to draw."""
    if isinstance(given, PromptValue):
        given = given.to_messages()[-1]
    if isinstance(given, BaseMessage):
        given = str(given.text)
    return {"prompt": given} if isinstance(given, str) else given
