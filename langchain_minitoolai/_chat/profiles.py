"""What each chat model can do, in LangChain's terms."""

from functools import lru_cache

from langchain_core.language_models.model_profile import ModelProfile

from langchain_minitoolai import contract


@lru_cache(maxsize=64)
def profile_of(model: str) -> ModelProfile | None:
    """Describe a documented model.

    Args:
        model: Its name.

    Returns:
        The profile, the same object each time, so copy it before handing it on; `None` for a
        model that the service does not document.
    """
    limits = contract.TOKEN_LIMITS.get(model)
    if limits is None:
        return None
    sees = model in contract.VISION_MODELS
    return ModelProfile(
        name=model,
        max_input_tokens=limits.input,
        max_output_tokens=limits.output,
        text_inputs=True,
        image_inputs=sees,
        image_url_inputs=sees,
        image_tool_message=sees,
        pdf_inputs=False,
        pdf_tool_message=False,
        audio_inputs=False,
        video_inputs=False,
        text_outputs=True,
        image_outputs=False,
        audio_outputs=False,
        video_outputs=False,
        reasoning_output=False,
        tool_calling=True,
        tool_choice=True,
        structured_output=True,
    )
