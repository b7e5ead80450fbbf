"""Preloaded imports of the forked processes, so that each starts fast."""

import contextlib
import importlib

__all__: list[str] = []

for _name in ("langchain_minitoolai", "langchain_openai", "langchain_mistralai", "httpx"):
    with contextlib.suppress(ImportError):
        importlib.import_module(_name)
with contextlib.suppress(ImportError, AttributeError):
    _ = importlib.import_module("langchain_minitoolai").ChatMiniToolAI
with contextlib.suppress(ImportError):
    importlib.import_module("tests.faults.catalog")
