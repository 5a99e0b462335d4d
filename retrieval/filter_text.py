"""Filters as one line of text, for people and shells: `price <= 50 and category in ("garden > hoses")`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..errors import UsageError
from .filters import DEEPEST, Filter, read_filter

# A line is cut into tokens and read by one function a level of precedence.
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<number>-?\d+(?:\.\d+)?(?![\w.-]))|(?P<sign><=|>=|!=|==|[<>=(),])
    |(?P<word>[\w.:+-]+))""",
    re.VERBOSE,
)
_KEYWORDS = {"and", "or", "not", "in", "true", "false"}
_RANGES = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}


def parse_filter(text: str) -> Filter:
    """A filter from a line such as `price<=50 and brand in ("Oak", "Elm") and not attributes.color = 'red'`.

    Comparisons are `=`, `!=`, `<`, `<=`, `>`, `>=`, `in (...)` and `not in (...)`, joined by `and`, `or`, `not` and
    parentheses; `available` stands by itself. UsageError says where a line cannot be read.
    """
    return _Reader(text).read()


class _Reader:
    """A line of text on its way to a filter."""

    def __init__(self, text: str) -> None:
        self._text, self._at, self._depth = text, 0, 0
        self._tokens: list[tuple[str, str, int]] = []  # kind, text, place
        end = 0
        while text[end:].strip():
            found = _TOKEN.match(text, end)
            if found is None:
                raise self._wrong("a field, a value or a comparison", end)
            self._tokens.append((str(found.lastgroup), found.group(str(found.lastgroup)), found.start()))
            end = found.end()

    def read(self) -> Filter:
        if not self._tokens:
            raise UsageError("The filter is empty; write one like `price <= 50 and available`.")
        made = self._either()
        if self._at < len(self._tokens):
            raise self._wrong("`and`, `or` or the end")
        return read_filter(made if set(made) <= set(Filter.model_fields) else {"must": [made]})

    def _either(self) -> dict[str, Any]:
        parts = [self._both()]
        while self._took("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else {"should": parts}

    def _both(self) -> dict[str, Any]:
        parts = [self._negated()]
        while self._took("and"):
            parts.append(self._negated())
        if len(parts) == 1:
            return parts[0]
        barred = [part["must_not"][0] for part in parts if list(part) == ["must_not"]]
        wanted = [part for part in parts if list(part) != ["must_not"]]
        return {name: own for name, own in (("must", wanted), ("must_not", barred)) if own}

    def _negated(self) -> dict[str, Any]:
        if self._took("not"):
            return {"must_not": [self._nested(self._negated)]}
        if self._took("("):
            inner = self._nested(self._either)
            self._expect(")")
            return inner
        return self._condition()

    def _nested(self, read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        self._depth += 1
        if self._depth > DEEPEST:
            raise UsageError(f"The filter nests more than {DEEPEST} deep; write it flatter.")
        made = read()
        self._depth -= 1
        return made

    def _condition(self) -> dict[str, Any]:
        field = self._take({"word"}, "a field such as price, category or attributes.NAME")
        if field.lower() in _KEYWORDS:
            raise self._wrong("a field", back=1)
        if self._took("not"):
            self._expect("in")
            return {"must_not": [{"field": field, "any": self._values()}]}
        if self._took("in"):
            return {"field": field, "any": self._values()}
        sign = self._peek()
        if sign in _RANGES:
            self._at += 1
            return {"field": field, "range": {_RANGES[sign]: self._bound(field)}}
        if sign in ("=", "==", "!="):
            self._at += 1
            condition = self._equal(field, self._value())
            return {"must_not": [condition]} if sign == "!=" else condition
        return {"field": field, "is": True}

    def _bound(self, field: str) -> Any:
        """A line has no types: what can be a number is one, but for a moment."""
        value = self._value()
        try:
            return float(value) if isinstance(value, str) and field != "created_at" else value
        except ValueError:
            return value

    @staticmethod
    def _equal(field: str, value: Any) -> dict[str, Any]:
        return {"field": field, "is": value} if field == "available" else {"field": field, "any": [value]}

    def _values(self) -> list[Any]:
        self._expect("(")
        values = [self._value()]
        while self._took(","):
            values.append(self._value())
        self._expect(")")
        return values

    def _value(self) -> Any:
        token = self._take({"text", "number", "word"}, "a value")
        kind = self._tokens[self._at - 1][0]
        if kind == "text":
            return re.sub(r"\\(.)", r"\1", token[1:-1])
        if kind == "number":
            return float(token) if "." in token else int(token)
        return {"true": True, "false": False}.get(token.lower(), token)

    def _peek(self) -> str:
        """The next sign or word as written; a quoted text is neither."""
        if self._at == len(self._tokens) or self._tokens[self._at][0] == "text":
            return ""
        return self._tokens[self._at][1]

    def _took(self, wanted: str) -> bool:
        if self._peek().lower() != wanted:
            return False
        self._at += 1
        return True

    def _expect(self, wanted: str) -> None:
        if not self._took(wanted):
            raise self._wrong(f"`{wanted}`")

    def _take(self, kinds: set[str], what: str) -> str:
        if self._at == len(self._tokens) or self._tokens[self._at][0] not in kinds:
            raise self._wrong(what)
        self._at += 1
        return self._tokens[self._at - 1][1]

    def _wrong(self, expected: str, place: int | None = None, back: int = 0) -> UsageError:
        if place is None:
            at = self._at - back
            place = self._tokens[at][2] if at < len(self._tokens) else len(self._text)
        rest = self._text[place:].strip()[:20]
        return UsageError(
            f"The filter cannot be read at {f'`{rest}`' if rest else 'its end'}: {expected} is expected there; write "
            "it like `price <= 50 and category in ('garden > hoses')`."
        )
