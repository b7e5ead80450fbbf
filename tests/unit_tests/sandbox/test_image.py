import io
import random

import pytest
from PIL import Image

from langchain_minitoolai.sandbox._image import draw, palette, render
from langchain_minitoolai.sandbox._jobs import full


def parameters(**fields: object) -> dict[str, object]:
    return full({"model": "amigo", "prompt": "a fox", "width": 256, "height": 300, **fields})


def opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    image.load()
    return image


@pytest.mark.parametrize(("width", "height"), [(256, 256), (1344, 256), (256, 1344)])
def test_an_image_is_a_png_of_the_asked_size(width: int, height: int) -> None:
    image = opened(draw(parameters(width=width, height=height)))
    assert (image.format, image.size, image.mode) == ("PNG", (width, height), "RGB")


def test_an_image_carries_its_prompt() -> None:
    assert opened(draw(parameters(prompt="en rød rev"))).info["Description"] == "en rød rev"


def test_an_image_shows_its_prompt() -> None:
    fox, hen = (opened(render(prompt, 256, 256, "x")) for prompt in ("fox", "fox hen"))
    foot = (0, 230, 256, 256)
    bright = [sum(band.crop(foot).convert("L").histogram()[200:]) for band in (fox, hen)]
    assert 0 < bright[0] < bright[1]


def test_the_same_parameters_give_the_same_image_and_others_another() -> None:
    first = draw(parameters())
    render.cache_clear()
    assert draw(parameters()) == first
    for other in ({"prompt": "a hen"}, {"steps": 5}, {"model": "reality"}, {"cfgScale": 7.0}):
        assert draw(parameters(**other)) != first


def test_an_image_is_no_flat_surface() -> None:
    colors = opened(draw(parameters(prompt="stars at night"))).getcolors(2**24)
    assert colors is not None
    assert len(colors) > 200


@pytest.mark.parametrize(
    ("prompt", "dark"), [("the moon at midnight", True), ("a sunny desert, golden", False)]
)
def test_the_prompt_colors_the_sky(*, prompt: str, dark: bool) -> None:
    assert (sum(palette(prompt, random.Random(0))[0]) < 100) is dark


def test_a_prompt_without_colors_takes_any() -> None:
    assert len({palette("hello", random.Random(seed))[0] for seed in range(40)}) > 3


def test_stars_stand_in_a_dark_sky_alone() -> None:
    def bright(prompt: str) -> int:
        sky = opened(render(prompt, 512, 512, "x")).crop((0, 0, 512, 50)).convert("L")
        return sum(sky.histogram()[200:])

    assert bright("stars at night") > 20
    assert bright("dusk, red") == 0


@pytest.mark.parametrize("prompt", ["W" * 500, "i" * 500, "a few words " * 50, "å 漢字" * 100])
def test_a_caption_stays_in_its_image(prompt: str) -> None:
    image = opened(render(prompt, 256, 256, "x")).convert("L")
    text, margin = (image.crop((left, 190, left + 12, 256)) for left in (12, 244))
    assert sum(text.histogram()[200:]) > 0
    assert sum(margin.histogram()[200:]) == 0


@pytest.mark.parametrize("prompt", ["two\nlines", "\u200b", "\u200bx", "x"])
def test_any_text_makes_a_caption(prompt: str) -> None:
    assert opened(draw(parameters(prompt=prompt))).info["Description"] == prompt
