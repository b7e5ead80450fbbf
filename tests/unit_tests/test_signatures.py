from pathlib import Path
from typing import get_type_hints

import pytest
from pydantic import BaseModel, SecretStr

from langchain_minitoolai import ChatMiniToolAI, MiniToolAIImageTool
from langchain_minitoolai._signatures import ChatOptions

# Fields that core keeps for itself, or that its users are not meant to pass any more.
CORES_OWN = {"args_schema", "response_format", "handle_validation_error", "callback_manager"}


@pytest.mark.parametrize(("kind", "options"), [(ChatMiniToolAI, ChatOptions)])
def test_a_type_checker_sees_every_field_by_name_and_alias(
    kind: type[BaseModel], options: type
) -> None:
    fields = kind.model_fields
    names = {*fields, *(field.alias for field in fields.values() if field.alias)}
    assert set(get_type_hints(options)) - CORES_OWN == names - CORES_OWN


def test_what_a_type_checker_allows_is_taken() -> None:
    model = ChatMiniToolAI(model="gpt-4o", api_key="k", base_url="https://a.example/api", stop="x")
    same = ChatMiniToolAI(
        model_name="gpt-4o",
        minitoolai_api_key=SecretStr("k"),
        minitoolai_api_base="https://a.example/api",
        stop_sequences="x",
    )
    assert model == same
    tool = MiniToolAIImageTool(api_key="k", model="realvision", save_to=Path("images"))
    assert tool.model == "realvision"
