"""LangChain's standard unit tests of tools."""

from typing import Any

from langchain_tests.unit_tests import ToolsUnitTests

from langchain_minitoolai.tools import MiniToolAIImageTool


class TestMiniToolAIImageTool(ToolsUnitTests):
    @property
    def tool_constructor(self) -> type[MiniToolAIImageTool]:
        return MiniToolAIImageTool

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {"api_key": "a-key"}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"prompt": "a lighthouse", "steps": 4, "width": 512, "height": 512}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        environment = {
            "MINITOOLAI_API_KEY": "a-key",
            "MINITOOLAI_API_BASE": "https://example.com/api",
        }
        expected = {
            "minitoolai_api_key": "a-key",
            "minitoolai_api_base": "https://example.com/api",
        }
        return environment, {}, expected
