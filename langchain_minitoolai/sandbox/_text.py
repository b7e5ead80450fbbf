"""Text extraction for the responder: words, numbers, quotes, places, the subject."""

import math
import re
from typing import Final

_WORD: Final = re.compile(r"[^\W\d_]+")
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NUMBER: Final = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?![\d])")
_TIMES: Final = re.compile(r"(?<=\d)\s*[x×](?=\s*\d)")
_SUM: Final = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:\s*[-+*/]\s*-?\d+(?:\.\d+)?)+(?![\w])")
_QUOTES: Final = re.compile(
    r"\"([^\"]+)\"|“([^”]+)”|«([^»]+)»|`([^`]+)`|(?<!\w)['‘]([^'’]+)['’](?!\w)"
)
_PLACE: Final = re.compile(
    r"\b(?:in|at|near|from|to|for|of)\s+((?:the\s+)?[A-ZÀ-Þ][\w'-]*(?:,?\s+[A-ZÀ-Þ][\w'-]*)*)"
)
_REQUEST: Final = re.compile(
    r"(?:(?:please|now|then|just|using the tool|use the tool to|can you|could you|would you"
    r"|will you|i want you to|i would like you to|hey|hello|hi|draw|paint|sketch|generate|create"
    r"|make|show|tell|give|write|find|get|look up|search for|look for|look|search|me|us|a|an|the"
    r"|picture|image|photo|drawing|joke|story|poem|illustration|of|about|for|to)\b[\s,]*)+",
    re.IGNORECASE,
)
_STOP: Final = frozenset(
    _WORD.findall(
        "a about all also an and any are as at be by call can could create did do does for from"
        " function generate get give hello has have he how i if in into is it its make me my no not"
        " of on one or our please produce return returns she so some tell that the their then there"
        " these they this to tool tools up us use used using want was we what when where which who"
        " why will with would you your"
    )
)
_SAME: Final = {
    word: group.split()[0]
    for group in (
        "pictur imag photo draw drawn paint illustration sketch portrait",
        "weath temperatur forecast",
        "add sum plus total",
        "multiply time product",
        "find search look lookup",
    )
    for word in group.split()
}


def words(text: str) -> list[str]:
    """List a text's words in lower case, `camelCase` and `snake_case` apart."""
    return [word.lower() for word in _WORD.findall(_CAMEL.sub(" ", text).replace("_", " "))]


def stems(text: str) -> frozenset[str]:
    """Reduce a text to roughly what it is about: stems, synonyms joined, no little words."""
    return frozenset(_stem(word) for word in words(text) if word not in _STOP)


def _stem(word: str) -> str:
    for suffix in ("ing", "ed", "es", "er", "s"):
        if word.endswith(suffix) and len(word) - len(suffix) > 2:
            word = word.removesuffix(suffix)
            break
    word = word.removesuffix("e")
    if len(word) > 2 and word[-1] == word[-2]:
        word = word if word in _SAME else word[:-1]
    return _SAME.get(word, word)


def numbers(text: str) -> list[float]:
    """List a text's numbers in order, whole ones as `int`."""
    found = _NUMBER.findall(_TIMES.sub(" ", text))
    return [float(number) if "." in number else int(number) for number in found]


def quotes(text: str) -> list[str]:
    """List what stands in quotation marks."""
    return ["".join(groups).strip() for groups in _QUOTES.findall(text)]


def place(text: str) -> str | None:
    """Find the name after a preposition, as in "the weather in San Francisco, CA"."""
    found = _PLACE.search(text)
    return found[1].strip() if found else None


def subject(text: str) -> str:
    """Reduce a request to its subject: "Please draw me a red fox." is about "red fox"."""
    first = text.strip().rstrip(".?! \n")
    rest = first[found.end() :] if (found := _REQUEST.match(first)) else first
    return rest.strip() or first


def arithmetic(text: str) -> tuple[str, float] | None:
    """Work out the first sum in a text, from left to right, products first.

    Returns:
        The sum as written and its value, or `None` without a sum or with a division by zero.
    """
    found = _SUM.search(text)
    if not found:
        return None
    tokens = re.findall(r"(?<=[\d])\s*[-+*/]|-?\d+(?:\.\d+)?", found[0])
    terms = [float(tokens[0])]
    for sign, number in zip(tokens[1::2], tokens[2::2], strict=True):
        operator, value = sign.strip(), float(number)
        if operator == "*":
            terms[-1] *= value
        elif operator == "/" and value:
            terms[-1] /= value
        elif operator == "/":
            return None
        else:
            terms.append(value if operator == "+" else -value)
    total = math.fsum(terms)
    return found[0], int(total) if total.is_integer() else round(total, 6)
