"""Image rendering: a landscape in the prompt's colors, with the prompt as its caption.

Only this module imports Pillow, and it is imported only when an image is rendered.
"""

import io
import math
import random
import textwrap
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeAlias

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFilter, ImageFont, ImageOps
from PIL.PngImagePlugin import PngInfo

from langchain_minitoolai.sandbox._text import words

_Color: TypeAlias = tuple[int, ...]

_RIDGES: Final = 5
_STARS: Final = 160
_NIGHT: Final = 100
_PALETTES: Final = {
    "090c26 1c2354 524a8c f4f0da 2c2e62 080916": "night dark moon star stars midnight black space",
    "2c2058 cd5462 ffbe70 ffecb2 8a3a60 221028": "sunset dusk evening orange fire red fox rose",
    "185496 60acd6 def0ee fffce8 3e80a4 0a2a48": "sea ocean water blue lake river fish waves rain",
    "46848c a0cca8 f4f0be fffad6 569470 0e2e24": "forest green tree trees jungle garden grass leaf",
    "5878ac acc4e0 f8e4e2 fffffa 88a0c6 223256": "snow winter white ice mountain mountains cold",
    "6296be f6ce8a ffeec4 fffade d49254 542a18": "gold golden desert yellow sand summer sunny",
    "422876 be6ab4 ffccce fff0ec 88549e 28123e": "pink purple violet flower flowers dream magic",
}
"""High, middle and low sky, light, far and near land; and the words that ask for them."""


def draw(parameters: Mapping[str, Any]) -> bytes:
    """Draw a job's image from its parameters."""
    rest = {k: v for k, v in parameters.items() if k not in ("prompt", "width", "height")}
    variation = "/".join(f"{name}={rest[name]}" for name in sorted(rest))
    return render(parameters["prompt"], parameters["width"], parameters["height"], variation)


@lru_cache(maxsize=16)
def render(prompt: str, width: int, height: int, variation: str) -> bytes:
    """Draw a PNG; the same arguments give the same bytes.

    Args:
        prompt: What the image is to show; written into it, and into its metadata.
        width: In pixels.
        height: In pixels.
        variation: Every other parameter of the image, as a text.
    """
    dice = random.Random(f"{prompt}/{variation}")  # noqa: S311 - an image, not a secret
    high, sky, low, light, land, near = palette(prompt, dice)
    slope = Image.linear_gradient("L").resize((width, height))
    image = ImageOps.colorize(slope, high, low, mid=sky, whitepoint=184, midpoint=92)
    _light(image, light, dice, stars=_STARS if sum(high) < _NIGHT else 0)
    for layer in range(_RIDGES):
        share = layer / (_RIDGES - 1)
        hazy = _mixed(low, land, 0.25 + 0.5 * share)
        _ridge(image, _mixed(hazy, near, share**2), share, dice)
    _caption(image, prompt)
    notes = PngInfo()
    notes.add_itxt("Description", prompt)
    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=notes, compress_level=4)
    return file.getvalue()


def palette(prompt: str, dice: random.Random) -> Sequence[_Color]:
    """Choose the colors that most of a prompt's words ask for, else any."""
    found = words(prompt)
    votes = {codes: sum(map(found.count, asking.split())) for codes, asking in _PALETTES.items()}
    most = max(votes.values())
    codes = dice.choice([codes for codes, count in votes.items() if count == most])
    return [ImageColor.getrgb(f"#{code}") for code in codes.split()]


def _mixed(one: _Color, other: _Color, share: float) -> _Color:
    return tuple(round(a + (b - a) * share) for a, b in zip(one, other, strict=True))


def _light(image: Image.Image, color: _Color, dice: random.Random, stars: int) -> None:
    """Put the sun or the moon into the sky, with its glow, and stars where it is dark."""
    width, height = image.size
    brush = ImageDraw.Draw(image)
    for _ in range(stars):
        spot = (dice.uniform(0, width), dice.uniform(0, height * 0.6))
        brush.circle(spot, dice.uniform(0.3, 1.6) * height / 1024, fill=color)
    center = (width * dice.uniform(0.22, 0.78), height * dice.uniform(0.2, 0.42))
    radius = min(width, height) * dice.uniform(0.055, 0.085)
    for size, strength, blur in ((radius * 2.5, 150, radius), (radius, 255, 1.0)):
        mask = Image.new("L", image.size)
        ImageDraw.Draw(mask).circle(center, size, fill=strength)
        image.paste(color, mask=mask.filter(ImageFilter.BoxBlur(blur)))


def _ridge(image: Image.Image, color: _Color, share: float, dice: random.Random) -> None:
    """Lay one ridge before those behind it, twice as large at first for a smooth edge."""
    width, height = image.size
    base, swing = height * (0.5 + 0.32 * share), height * (0.11 - 0.05 * share)
    waves = [(dice.uniform(0.6, 1.4) * 2**n, dice.uniform(0, math.tau), 0.55**n) for n in range(6)]
    outline = [
        (
            2 * x,
            2
            * (base - swing * sum(a * math.sin(math.tau * f * x / width + p) for f, p, a in waves)),
        )
        for x in range(0, width + 8, 8)
    ]
    mask = Image.new("1", (width * 2, height * 2))
    ImageDraw.Draw(mask).polygon([*outline, (2 * width, 2 * height), (0, 2 * height)], fill=1)
    image.paste(color, mask=mask.convert("L").reduce(2))


def _caption(image: Image.Image, prompt: str) -> None:
    """Write the prompt at the foot, on a darker band, whole as far as four lines hold it."""
    width, height = image.size
    size = max(round(min(width, height) / 32), 13)
    font = ImageFont.load_default(size)
    text = " ".join(prompt.split())
    columns = 0.9 * (width - 2 * size) * len(text) / max(font.getlength(text), 1)
    lines = textwrap.wrap(text, max(round(columns), 1), max_lines=4, placeholder="…")
    tall = round(len(lines) * size * 1.3) + size
    band = image.crop((0, height - tall, width, height)).filter(ImageFilter.BoxBlur(6))
    image.paste(
        ImageChops.multiply(band, Image.new("RGB", band.size, (70, 70, 78))), (0, height - tall)
    )
    spot = (size, height - tall + size / 2)
    ImageDraw.Draw(image).multiline_text(
        spot, "\n".join(lines), (250, 248, 240), font, spacing=size * 0.2
    )
