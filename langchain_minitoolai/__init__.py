"""LangChain integration of the MiniToolAI API: a chat model and a text-to-image tool."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from langchain_minitoolai._version import __version__

if TYPE_CHECKING:
    from langchain_minitoolai.chat_models import ChatMiniToolAI
    from langchain_minitoolai.errors import MiniToolAIError
    from langchain_minitoolai.tools import MiniToolAIImageTool
    from langchain_minitoolai.types import GeneratedImage, ImageJob

__all__ = [
    "ChatMiniToolAI",
    "GeneratedImage",
    "ImageJob",
    "MiniToolAIError",
    "MiniToolAIImageTool",
    "__version__",
]

_MODULES = {
    "ChatMiniToolAI": "chat_models",
    "GeneratedImage": "types",
    "ImageJob": "types",
    "MiniToolAIError": "errors",
    "MiniToolAIImageTool": "tools",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, imported or not."""
    return sorted(__all__)
