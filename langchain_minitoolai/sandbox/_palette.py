"""Color palettes, chosen by the words of a prompt."""

import random
from typing import Final, NamedTuple, TypeAlias

from langchain_minitoolai.sandbox._text import words

Color: TypeAlias = tuple[int, int, int]


class Palette(NamedTuple):
    """The colors of a scene, the sky's from the top down."""

    high: Color
    sky: Color
    low: Color
    light: Color
    land: Color
    near: Color

    @property
    def is_dark(self) -> bool:
        """Whether the sky is dark."""
        return sum(self.high) < _NIGHT


_NIGHT: Final = 100
_PALETTES: Final = {
    "090c26 1c2354 524a8c f4f0da 2c2e62 080916": (
        "night dark moon star stars midnight black deep shadows space"
    ),
    "2c2058 cd5462 ffbe70 ffecb2 8a3a60 221028": (
        "sunset dusk evening orange fire warm autumn red fox rose"
    ),
    "185496 60acd6 def0ee fffce8 3e80a4 0a2a48": (
        "sea ocean water blue lake river fish wave waves rain"
    ),
    "46848c a0cca8 f4f0be fffad6 569470 0e2e24": (
        "forest green tree trees jungle garden meadow grass spring leaf"
    ),
    "5878ac acc4e0 f8e4e2 fffffa 88a0c6 223256": (
        "snow winter white ice mountain mountains cold arctic polar"
    ),
    "6296be f6ce8a ffeec4 fffade d49254 542a18": (
        "gold golden desert yellow sand summer sun honey morning lion"
    ),
    "422876 be6ab4 ffccce fff0ec 88549e 28123e": (
        "pink purple violet flower flowers dream magic fairy unicorn neon"
    ),
}
"""High, middle and low sky, light, far and near land; and the words that ask for them."""


def palette_of(prompt: str, dice: random.Random) -> Palette:
    """Choose the colors that most of a prompt's words ask for, else any."""
    found = words(prompt)
    votes = {
        codes: sum(found.count(word) for word in asking.split())
        for codes, asking in _PALETTES.items()
    }
    most = max(votes.values())
    codes = dice.choice([codes for codes, count in votes.items() if count == most])
    return Palette(*map(_color, codes.split()))


def mixed(one: Color, other: Color, share: float) -> Color:
    """Mix two colors; `share` is that of the other, from 0 to 1."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _color(code: str) -> Color:
    red, green, blue = bytes.fromhex(code)
    return red, green, blue
