"""Image rendering: a landscape in the prompt's colors, with the prompt as its caption.

Only this module imports Pillow, and it is imported only when an image is rendered.
"""

import io
import math
import random
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, PngImagePlugin

from langchain_minitoolai.sandbox._palette import Palette, mixed, palette_of

_RIDGES: Final = 5
_STARS: Final = 160


@lru_cache(maxsize=16)
def render(prompt: str, width: int, height: int, variation: str) -> bytes:
    """Draw an image; the same arguments give the same bytes.

    Args:
        prompt: What the image is to show; written into it, and into its metadata.
        width: In pixels.
        height: In pixels.
        variation: Every other parameter of the image, as a text.

    Returns:
        A PNG of exactly that size.
    """
    dice = random.Random(f"{prompt}/{variation}")  # noqa: S311 - an image, not a secret
    palette = palette_of(prompt, dice)
    image = _sky(palette, width, height)
    _light(image, palette, dice)
    for layer in range(_RIDGES):
        _ridge(image, palette, layer, dice)
    _caption(image, prompt)
    notes = PngImagePlugin.PngInfo()
    notes.add_itxt("Description", prompt)
    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=notes, compress_level=4)
    return file.getvalue()


def draw(parameters: Mapping[str, Any]) -> bytes:
    """Draw a job's image from its parameters."""
    rest = {k: v for k, v in parameters.items() if k not in ("prompt", "width", "height")}
    variation = "/".join(f"{name}={rest[name]}" for name in sorted(rest))
    return render(parameters["prompt"], parameters["width"], parameters["height"], variation)


def _sky(palette: Palette, width: int, height: int) -> Image.Image:
    column = Image.new("RGB", (1, height))
    top, middle, low = palette.high, palette.sky, palette.low
    for y in range(height):
        share = min(y / (0.72 * height), 1.0) * 2
        column.putpixel(
            (0, y), mixed(top, middle, share) if share < 1 else mixed(middle, low, share - 1)
        )
    return column.resize((width, height), Image.Resampling.NEAREST)


def _light(image: Image.Image, palette: Palette, dice: random.Random) -> None:
    """Put the sun or the moon into the sky, with its glow, and stars where it is dark."""
    width, height = image.size
    x, y = width * dice.uniform(0.22, 0.78), height * dice.uniform(0.2, 0.42)
    if palette.is_dark:
        brush = ImageDraw.Draw(image)
        for _ in range(_STARS):
            spot = (dice.uniform(0, width), dice.uniform(0, height * 0.6))
            size = dice.uniform(0.3, 1.6) * height / 1024
            brush.ellipse(_round(*spot, size), fill=mixed(palette.sky, (255, 255, 255), 0.8))
    radius = min(width, height) * dice.uniform(0.055, 0.085)
    glow = Image.new("L", (max(width // 8, 1), max(height // 8, 1)))
    ImageDraw.Draw(glow).ellipse(_round(x / 8, y / 8, radius / 3), fill=150)
    glow = glow.filter(ImageFilter.GaussianBlur(radius / 6)).resize(image.size)
    image.paste(palette.light, mask=glow)
    disc = Image.new("L", image.size)
    ImageDraw.Draw(disc).ellipse(_round(x, y, radius), fill=255)
    image.paste(palette.light, mask=disc.filter(ImageFilter.GaussianBlur(1)))


def _round(x: float, y: float, radius: float) -> tuple[float, float, float, float]:
    return x - radius, y - radius, x + radius, y + radius


def _ridge(image: Image.Image, palette: Palette, layer: int, dice: random.Random) -> None:
    """Lay one ridge before those behind it, the nearer the darker, with haze at its foot."""
    width, height = image.size
    share = layer / (_RIDGES - 1)
    base = height * (0.5 + 0.32 * share)
    outline = _outline(width, base, height * (0.11 - 0.05 * share), dice)
    mask = Image.new("L", (width * 2, height * 2))
    double = [(2 * x, 2 * y) for x, y in outline]
    ImageDraw.Draw(mask).polygon([*double, (2 * width, 2 * height), (0, 2 * height)], fill=255)
    mask = mask.resize((width, height), Image.Resampling.BOX)
    hazy = mixed(palette.low, palette.land, 0.25 + 0.5 * share)
    color = mixed(hazy, palette.near, share**2)
    foot = mixed(color, palette.low, 0.3 * (1 - share))
    shade = Image.new("RGB", (1, height), color)
    for y in range(round(base - height * 0.08), height):
        along = min(max((y - base) / (height * 0.2) + 0.4, 0.0), 1.0)
        shade.putpixel((0, y), mixed(color, foot, along))
    image.paste(shade.resize((width, height), Image.Resampling.NEAREST), mask=mask)


def _outline(
    width: int, base: float, swing: float, dice: random.Random
) -> Sequence[tuple[float, float]]:
    waves = [(dice.uniform(0.6, 1.4) * 2**n, dice.uniform(0, math.tau), 0.55**n) for n in range(6)]
    return [
        (x, base - swing * sum(a * math.sin(math.tau * f * x / width + p) for f, p, a in waves))
        for x in range(0, width + 8, 8)
    ]


def _caption(image: Image.Image, prompt: str) -> None:
    """Write the prompt at the foot, on a darker band, whole as far as four lines hold it."""
    width, height = image.size
    size = max(round(min(width, height) / 32), 13)
    font = ImageFont.load_default(size)
    margin = size
    lines = wrapped(prompt, lambda line: font.getlength(line) <= width - 2 * margin)
    tall = round(len(lines) * size * 1.3) + margin
    band = image.crop((0, height - tall, width, height))
    dark = Image.new("RGB", band.size, (70, 70, 78))
    foot = ImageChops.multiply(band.filter(ImageFilter.GaussianBlur(6)), dark)
    image.paste(foot, (0, height - tall))
    brush = ImageDraw.Draw(image)
    for index, line in enumerate(lines):
        spot = (margin, height - tall + margin / 2 + index * size * 1.3)
        brush.text(spot, line, font=font, fill=(250, 248, 240))


def wrapped(text: str, fits: Callable[[str], bool], most: int = 4) -> list[str]:
    """Break a text into at most `most` lines that fit, the last with an ellipsis if need be."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if fits(longer):
            lines[-1] = longer
        else:
            lines += _broken(word, fits)
    lines = [line for line in lines if line]
    if len(lines) <= most:
        return lines
    last = lines[most - 1]
    while last and not fits(last + "…"):
        last = last[:-1]
    return [*lines[: most - 1], last + "…"]


def _broken(word: str, fits: Callable[[str], bool]) -> list[str]:
    """Break a word into parts that fit, of one character at least."""
    parts = [""]
    for character in word:
        if parts[-1] and not fits(parts[-1] + character):
            parts.append("")
        parts[-1] += character
    return parts
