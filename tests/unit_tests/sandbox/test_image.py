import io
import random

import pytest
from PIL import Image

from langchain_minitoolai.sandbox._image import draw, render, wrapped
from langchain_minitoolai.sandbox._jobs import full
from langchain_minitoolai.sandbox._palette import mixed, palette_of


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
    assert palette_of(prompt, random.Random(0)).is_dark is dark


def test_a_prompt_without_colors_takes_any() -> None:
    assert len({palette_of("hello", random.Random(seed)) for seed in range(40)}) > 3


def test_colors_mix() -> None:
    assert mixed((0, 0, 0), (10, 20, 30), 0.5) == (5, 10, 15)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("a b c", ["a b c"]),
        ("aaa bbb ccc", ["aaa", "bbb", "ccc"]),
        ("abcdefgh i", ["abcde", "fgh i"]),
        ("aaaa bbbb cccc dddd eeee", ["aaaa", "bbbb", "cccc", "dddd…"]),
        ("aaaaa bbbbb ccccc ddddd eeeee", ["aaaaa", "bbbbb", "ccccc", "dddd…"]),
    ],
)
def test_a_caption_is_broken_into_lines_that_fit(text: str, lines: list[str]) -> None:
    assert wrapped(text, lambda line: len(line) <= 5) == lines


def test_a_caption_in_no_space_at_all_still_ends() -> None:
    assert wrapped("abc def", lambda _: False) == ["a", "b", "c", "…"]
