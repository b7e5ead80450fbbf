"""LangChain's standard integration tests of tools, against the sandbox or the service."""

from typing import Any

import pytest
from langchain_tests.integration_tests import ToolsIntegrationTests

from langchain_minitoolai.tools import MiniToolAIImageTool
from tests.integration_tests.conftest import Endpoint


class TestMiniToolAIImageTool(ToolsIntegrationTests):
    @pytest.fixture(autouse=True)
    def _reachable(self, endpoint: Endpoint) -> None:
        """The environment names the service."""

    @property
    def tool_constructor(self) -> type[MiniToolAIImageTool]:
        return MiniToolAIImageTool

    @property
    def tool_constructor_params(self) -> dict[str, Any]:
        return {}

    @property
    def tool_invoke_params_example(self) -> dict[str, Any]:
        return {"prompt": "a lighthouse", "steps": 1, "width": 256, "height": 256}
