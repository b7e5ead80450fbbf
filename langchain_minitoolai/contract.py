"""The service as data: addresses, names, ranges, defaults, prices and profiles.

Everything here is what the provider's page documents, except the token limits, the tokens of
images and the dated names, which are OpenAI's published ones of the same models. Code, argument
schemas, the sandbox and the tables in the documentation all read these values. A chat model is
added here alone; what a field or an argument needs besides stands in `CONTRIBUTING.md`.
"""

from typing import Final, Literal, NamedTuple, get_args

API_BASE: Final = "https://minitoolai.com/api"
CHAT_PATH: Final = "/chat-completions/"
IMAGE_PATH: Final = "/texttoimage/"
IMAGE_JOB_PATH: Final = "/texttoimage/jobs/"

API_KEY_VARIABLE: Final = "MINITOOLAI_API_KEY"
API_BASE_VARIABLE: Final = "MINITOOLAI_API_BASE"


class Range(NamedTuple):
    """An inclusive range of numbers and the value the service takes when none is sent."""

    minimum: float
    maximum: float
    default: float


class TokenPrice(NamedTuple):
    """Price of a chat model, in USD per million tokens."""

    input: float
    output: float


class ImageTokens(NamedTuple):
    """Tokens of an image in a prompt: a base and so much a tile, or so many times its patches."""

    base: int = 0
    tile: int = 0
    patch: float = 0


class TokenLimits(NamedTuple):
    """Limits of the tokens that a chat model reads and writes."""

    input: int
    output: int


# --- Chat -----------------------------------------------------------------------

ChatModelName = Literal["gpt-4o-mini", "gpt-4o", "gpt-4.1", "gpt-4.1-mini", "gpt-4.1-nano"]
CHAT_MODELS: Final[tuple[str, ...]] = get_args(ChatModelName)
DEFAULT_CHAT_MODEL: Final = "gpt-4o-mini"
VISION_MODELS: Final = ("gpt-4o-mini", "gpt-4o")
"""The models for which the page documents image input."""

CHAT_FIELDS: Final = ("model", "messages", "temperature", "max_completion_tokens")
CHAT_ROLES: Final = ("developer", "user", "assistant")

TEMPERATURE: Final = Range(0.0, 2.0, 1.0)
DEFAULT_MAX_COMPLETION_TOKENS: Final = 1000

ImageDetail = Literal["auto", "low", "high"]
IMAGE_DETAILS: Final[tuple[str, ...]] = get_args(ImageDetail)
INPUT_IMAGE_TYPES: Final = ("image/png", "image/jpeg", "image/webp", "image/gif")

FinishReason = Literal["stop", "length", "content_filter", "tool_calls"]

CHAT_PRICES: Final[dict[str, TokenPrice]] = {
    "gpt-4o-mini": TokenPrice(0.15, 0.60),
    "gpt-4o": TokenPrice(2.50, 10.00),
    "gpt-4.1": TokenPrice(2.00, 8.00),
    "gpt-4.1-mini": TokenPrice(0.40, 1.60),
    "gpt-4.1-nano": TokenPrice(0.10, 0.40),
}

TOKEN_LIMITS: Final[dict[str, TokenLimits]] = {
    "gpt-4o-mini": TokenLimits(128_000, 16_384),
    "gpt-4o": TokenLimits(128_000, 16_384),
    "gpt-4.1": TokenLimits(1_047_576, 32_768),
    "gpt-4.1-mini": TokenLimits(1_047_576, 32_768),
    "gpt-4.1-nano": TokenLimits(1_047_576, 32_768),
}

IMAGE_TOKENS: Final[dict[str, ImageTokens]] = {
    "gpt-4o-mini": ImageTokens(base=2833, tile=5667),
    "gpt-4o": ImageTokens(base=85, tile=170),
    "gpt-4.1": ImageTokens(base=85, tile=170),
    "gpt-4.1-mini": ImageTokens(patch=1.62),
    "gpt-4.1-nano": ImageTokens(patch=2.46),
}
"""By tiles of 512 × 512 pixels, or by patches of 32 × 32."""

SNAPSHOTS: Final = {
    "gpt-4o-mini": "gpt-4o-mini-2024-07-18",
    "gpt-4o": "gpt-4o-2024-08-06",
    "gpt-4.1": "gpt-4.1-2025-04-14",
    "gpt-4.1-mini": "gpt-4.1-mini-2025-04-14",
    "gpt-4.1-nano": "gpt-4.1-nano-2025-04-14",
}
"""The dated names that answers give."""

# --- Text to image --------------------------------------------------------------

ImageModelName = Literal[
    "realvision",
    "juggernaut",
    "autismmix",
    "dreamshaper",
    "valhalla",
    "mixrealistic",
    "campursari",
    "reality",
    "extrarealistic",
    "realism",
    "realgirls",
    "realityreborn",
    "amigo",
    "simplemix",
    "beautifulrealistic",
]
IMAGE_MODELS: Final[tuple[str, ...]] = get_args(ImageModelName)
DEFAULT_IMAGE_MODEL: Final = "realvision"

SchedulerName = Literal[
    "Euler a",
    "Euler",
    "LMS",
    "Heun",
    "DPM2",
    "DPM2 a",
    "DPM++ 2S a",
    "DPM++ 2M",
    "DPM++ SDE",
    "DPM++ 2M SDE",
    "DPM fast",
    "LMS Karras",
    "DPM2 Karras",
    "DPM2 a Karras",
    "DPM++ 2S a Karras",
    "DPM++ 2M Karras",
    "DPM++ SDE Karras",
    "DPM++ 2M SDE Karras",
]
SCHEDULERS: Final[tuple[str, ...]] = get_args(SchedulerName)
DEFAULT_SCHEDULER: Final = "DPM++ SDE"

IMAGE_FIELDS: Final = (
    "model",
    "prompt",
    "negativePrompt",
    "scheduler",
    "steps",
    "cfgScale",
    "width",
    "height",
)
IMAGE_JOB_FIELDS: Final = ("jobid", "signature")

STEPS: Final = Range(1, 8, 4)
CFG_SCALE: Final = Range(1.0, 7.0, 2.0)
IMAGE_SIZE: Final = Range(256, 1344, 1024)
"""Width and height, each, in pixels."""

IMAGE_PRICE: Final = 0.0015
"""Price of one image in USD, whatever the model."""
