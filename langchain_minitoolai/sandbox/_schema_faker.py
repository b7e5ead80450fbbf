"""Schema faker: JSON that fits a schema, filled from a question's words."""

import math
import re
from collections.abc import Mapping
from typing import Any, Final

from langchain_minitoolai.sandbox import _text

_DEEPEST: Final = 6
_RESULTS: Final = frozenset({"answ", "result", "add", "valu", "solution", "output", "number"})
_PLACES: Final = frozenset(
    {"location", "city", "plac", "country", "town", "region", "addres", "destination"}
)
_NO_UUID: Final = "00000000-0000-0000-0000-000000000000"
_FORMATS: Final = {
    "date": (r"\d{4}-\d\d-\d\d", "2025-01-01"),
    "date-time": (r"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)?", "2025-01-01T12:00:00Z"),
    "time": (r"\d\d:\d\d(?::\d\d)?", "12:00:00"),
    "email": (r"[\w.+-]+@[\w-]+\.[\w.]+\b", "someone@example.com"),
    "uri": (r"https?://\S+", "https://example.com/"),
    "uuid": (r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", _NO_UUID),
}
"""The pattern of each format in a question, and the value where there is none."""


def fill(schema: Mapping[str, Any], question: str, *, name: str = "", sparse: bool = False) -> Any:
    """Fill a JSON schema from a question's words, deterministically.

    What stands in brackets after a function's `name` is read first. A `sparse` filling leaves
    out the properties that are neither required nor named.
    """
    return _Filler(schema, question, name, sparse=sparse).value("", schema, 0)


class _Filler:
    """One filling; each number and quote of the question is used once."""

    def __init__(self, root: Mapping[str, Any], question: str, name: str, *, sparse: bool) -> None:
        called = re.search(re.escape(name) + r"\s*\(([^)]+)\)", question) if name else None
        self._root = root
        self._question = question
        self._sparse = sparse
        self._numbers = _text.numbers(called[1] if called else question)
        self._quotes = _text.quotes(question)
        self._sum = _text.arithmetic(question)
        self._said = 0

    def value(self, name: str, schema: Any, depth: int) -> Any:
        """Fill one schema, whose property is called `name`."""
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._chosen(schema) or schema.get("default") or schema["enum"][0]
        if self._type(schema) == "null":
            return None
        options = schema.get("anyOf") or schema.get("oneOf")
        if options:
            return self.value(name, self._option(options, depth), depth + 1)
        return self._filled(name, schema, depth)

    def _filled(self, name: str, schema: Mapping[str, Any], depth: int) -> Any:
        match self._type(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(name, schema, depth)
            case "integer" | "number":
                return self._number(name, schema)
            case "boolean":
                return self._boolean(name, schema)
        return self._string(name, schema)

    def _resolved(self, schema: Any) -> Mapping[str, Any]:
        """Follow `$ref` and join `allOf`."""
        if not isinstance(schema, Mapping):
            return {}
        if "$ref" in schema:
            target: Any = self._root
            for key in str(schema["$ref"]).removeprefix("#/").split("/"):
                target = target.get(key, {}) if isinstance(target, Mapping) else {}
            return {**target, **{key: val for key, val in schema.items() if key != "$ref"}}
        joined: dict[str, Any] = {}
        for part in schema.get("allOf", ()):
            joined = _joined(joined, self._resolved(part))
        return _joined(joined, {key: val for key, val in schema.items() if key != "allOf"})

    def _option(self, options: Any, depth: int) -> Any:
        kinds = [self._type(self._resolved(option)) for option in options]
        if depth >= _DEEPEST and "null" in kinds:
            return {"type": "null"}
        found = (option for kind, option in zip(kinds, options, strict=True) if kind != "null")
        return next(found, options[0])

    @staticmethod
    def _type(schema: Mapping[str, Any]) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((one for one in kind if one != "null"), "null")
        return str(kind or ("object" if "properties" in schema else "string"))

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        required = schema.get("required", ())
        return {
            name: self.value(name, part, depth + 1)
            for name, part in schema.get("properties", {}).items()
            if name in required or self._wanted(name, part, depth)
        }

    def _wanted(self, name: str, part: Any, depth: int) -> bool:
        if not self._sparse:
            return depth < _DEEPEST
        asked = set(_text.words(self._question))
        return set(_text.words(name)) <= asked or bool(self._chosen(self._resolved(part)))

    def _array(self, name: str, schema: Mapping[str, Any], depth: int) -> list[Any]:
        if schema.get("prefixItems"):
            return [self.value(name, item, depth + 1) for item in schema["prefixItems"]]
        items = self._resolved(schema.get("items", {}))
        least = schema.get("minItems", 0)
        if depth >= _DEEPEST and not least:
            return []
        pools: dict[str, list[Any]] = {
            "integer": self._numbers,
            "number": self._numbers,
            "string": self._quotes,
        }
        wanted = max(len(pools.get(self._type(items), ())), least, 1)
        wanted = min(wanted, schema.get("maxItems", wanted))
        return [self.value(name, items, depth + 1) for _ in range(wanted)]

    def _chosen(self, schema: Mapping[str, Any]) -> Any:
        """Find the longest of the choices that the question names."""
        text = self._question.lower()
        named = [
            choice
            for choice in schema.get("enum", ())
            if re.search(rf"(?<!\w){re.escape(str(choice).lower())}(?!\w)", text)
        ]
        return max(named, key=lambda choice: len(str(choice)), default=None)

    def _number(self, name: str, schema: Mapping[str, Any]) -> float:
        whole = self._type(schema) == "integer"
        numbers = (num for num in self._numbers if isinstance(num, int) or not whole)
        fitting = [number for number in numbers if _fits(number, schema)]
        named = self._named_number(name)
        if named in fitting:
            fitting = [named]
        elif self._sum and _text.stems(name) & _RESULTS and _fits(self._sum[1], schema):
            return round(self._sum[1]) if whole else self._sum[1]
        elif not fitting:
            least = schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
            return schema.get("default") or (0 if _fits(0, schema) else least)
        self._numbers.remove(fitting[0])
        return fitting[0]

    def _named_number(self, name: str) -> float:
        spaced, number = _spaced(name), r"(-?\d+(?:\.\d+)?)"
        pattern = rf"\b{spaced}\s*(?:is|of|=|:|to)?\s*{number}|{number}\s*{spaced}\b"
        found = re.search(pattern, self._question, re.IGNORECASE) if spaced else None
        return _text.numbers(found[1] or found[2])[0] if found else float("nan")

    def _boolean(self, name: str, schema: Mapping[str, Any]) -> bool:
        pattern = rf"\b(no\s+|not\s+|without\s+)?{_spaced(name)}\b"
        found = re.search(pattern, self._question, re.IGNORECASE) if _spaced(name) else None
        return not found[1] if found else bool(schema.get("default", True))

    def _string(self, name: str, schema: Mapping[str, Any]) -> str:
        if schema.get("format") in _FORMATS:
            pattern, example = _FORMATS[schema["format"]]
            found = re.search(pattern, self._question)
            text = found[0] if found else example
        else:
            text = self._phrase(name, schema)
        return text.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]

    def _phrase(self, name: str, schema: Mapping[str, Any]) -> str:
        stems = _text.stems(name)
        if self._sum and stems & _RESULTS:
            return str(self._sum[1])
        if stems & _PLACES and (place := _text.place(self._question)):
            return place
        if self._quotes:
            return self._quotes.pop(0)
        if isinstance(schema.get("default"), str):
            return str(schema["default"])
        self._said += 1
        subject = _text.subject(self._question) or "something"
        return subject if self._said == 1 else f"{' '.join(_text.words(name))} of {subject}"


def _spaced(name: str) -> str:
    return r"[\s_]*".join(map(re.escape, _text.words(name)))


def _joined(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    joined = {**one, **other}
    if "properties" in joined:
        joined["properties"] = {**one.get("properties", {}), **other.get("properties", {})}
    if "required" in joined:
        joined["required"] = [*one.get("required", ()), *other.get("required", ())]
    return joined


def _fits(number: float, schema: Mapping[str, Any]) -> bool:
    above, below = (
        schema.get("exclusiveMinimum", -math.inf),
        schema.get("exclusiveMaximum", math.inf),
    )
    inside = schema.get("minimum", number) <= number <= schema.get("maximum", number)
    return bool(inside and above < number < below)
