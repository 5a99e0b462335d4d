"""Filters on what is recommended: conditions on what the catalog says of an item.

As JSON they have the shape that vector databases use: `{"must": [...], "should": [...], "must_not": [...]}` of
conditions such as `{"field": "price", "range": {"lte": 50}}`, `{"field": "category", "any": ["garden > hoses"]}` and
`{"field": "available", "is": true}`, or of filters again; `filter_text` reads them from a line. A condition on what is
not known of an item is not met.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Self

import polars as pl
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    FiniteFloat,
    Tag,
    ValidationError,
    model_validator,
)

from ..arrays import BoolArray
from ..errors import UsageError

NUMBERS = ("price", "cost")
TEXTS = ("item_id", "title", "brand", "currency")
FIELDS = (*TEXTS, "category", *NUMBERS, "created_at", "available")
ATTRIBUTE = "attributes."
# What one request may ask for: beyond it a filter is a program.
MOST_CONDITIONS = 200
DEEPEST = 8


def _moment(value: object) -> object:
    """A moment is text that begins with a year: digits alone would be seconds since 1970."""
    if not isinstance(value, datetime) and not (isinstance(value, str) and re.match(r"\d{4}-", value)):
        raise ValueError("write a moment as 2026-01-31 or 2026-01-31T14:05:00Z")
    return value


Value = str | bool | int | FiniteFloat
Bound = FiniteFloat | Annotated[datetime, Field(strict=False), BeforeValidator(_moment)]


class _Part(BaseModel):
    # What JSON has a type for comes in it; a list is no tuple, so that those are not strict.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Range(_Part):
    """Bounds of a number or a moment; at least one."""

    gt: Bound | None = None
    gte: Bound | None = None
    lt: Bound | None = None
    lte: Bound | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        bounds = self.bounds()
        if not bounds:
            raise ValueError("a range needs one of gt, gte, lt, lte")
        if len({isinstance(bound, datetime) for _, bound in bounds}) > 1:
            raise ValueError("the bounds of a range are numbers or moments, not both")
        return self

    def bounds(self) -> list[tuple[str, Bound]]:
        """Each bound that is given, by its name."""
        return [(name, bound) for name, bound in self if bound is not None]


class Condition(_Part):
    """One condition on one field: a range, one of several values, a truth, or whether it is known."""

    field: str
    range: Range | None = None
    any: Annotated[tuple[Value, ...], Field(strict=False, min_length=1, max_length=10_000)] | None = None
    is_: bool | None = Field(default=None, alias="is")
    exists: bool | None = None

    @model_validator(mode="after")
    def _fits_its_field(self) -> Self:
        attribute = self.field.startswith(ATTRIBUTE) and len(self.field) > len(ATTRIBUTE)
        if self.field not in FIELDS and not attribute:
            known = ", ".join(FIELDS)
            raise ValueError(f"there is no field {self.field!r}; filter by {known} or attributes.NAME")
        given = [name for name in ("range", "any", "is_", "exists") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"the condition on {self.field} needs exactly one of range, any, is, exists")
        ranged = self.field in (*NUMBERS, "created_at") or attribute
        if given == ["range"] and not ranged:
            raise ValueError(f"{self.field} has no order to range over; compare it with `any`")
        if given == ["is_"] and self.field != "available":
            raise ValueError(f"{self.field} is neither true nor false; `is` goes with available")
        if given == ["any"] and self.field in ("available", "created_at"):
            raise ValueError(f"{self.field} is not compared with values; use {'is' if ranged is False else 'range'}")
        if given == ["any"] and self.field in NUMBERS and any(isinstance(own, str | bool) for own in self.any or ()):
            raise ValueError(f"{self.field} is compared with numbers")
        if self.range and (self.field == "created_at") != isinstance(self.range.bounds()[0][1], datetime):
            raise ValueError(f"the bounds of {self.field} are {'moments' if self.field == 'created_at' else 'numbers'}")
        return self

    def expression(self, items: pl.DataFrame) -> pl.Expr:
        """True, false, or null where the catalog says nothing."""
        column = _column(self.field, items)
        if self.exists is not None:
            return column.is_not_null() == self.exists
        if self.is_ is not None:
            return column == self.is_
        if self.any is not None:
            return _one_of(self.field, column, self.any)
        assert self.range is not None
        number = column.cast(pl.Float64, strict=False) if self.field.startswith(ATTRIBUTE) else column
        met = [_COMPARED[name](number, bound) for name, bound in self.range.bounds()]
        return pl.all_horizontal(met)


def _sort_of(value: Any) -> str:
    named = "field" in value if isinstance(value, dict) else isinstance(value, Condition)
    return "condition" if named else "filter"


class Filter(_Part):
    """What must hold of every item, what of which one must hold, and what must not."""

    must: Clauses = ()
    should: Clauses = ()
    must_not: Clauses = ()

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        conditions = sum(1 for _ in self.conditions())
        if conditions > MOST_CONDITIONS:
            raise ValueError(f"a filter of {conditions} conditions; at most {MOST_CONDITIONS} may be asked for")
        if self._depth() > DEEPEST:
            raise ValueError(f"filters within filters more than {DEEPEST} deep")
        return self

    def conditions(self) -> Iterator[Condition]:
        """Every condition, at whatever depth."""
        for part in (*self.must, *self.should, *self.must_not):
            if isinstance(part, Filter):
                yield from part.conditions()
            else:
                yield part

    def _depth(self) -> int:
        below = [part._depth() for part in (*self.must, *self.should, *self.must_not) if isinstance(part, Filter)]
        return 1 + max(below, default=0)

    @property
    def names_availability(self) -> bool:
        """Whether it says itself what is to be available."""
        return any(own.field == "available" for own in self.conditions())

    def expression(self, items: pl.DataFrame) -> pl.Expr:
        """Whether an item passes; never null."""

        def met(part: Condition | Filter) -> pl.Expr:
            return part.expression(items).fill_null(False)

        all_of = [met(part) for part in self.must] + [~met(part) for part in self.must_not]
        if self.should:
            all_of.append(pl.any_horizontal([met(part) for part in self.should]))
        return pl.all_horizontal(all_of) if all_of else pl.lit(True)

    def passes(self, items: pl.DataFrame) -> BoolArray:
        """(N,) whether each of N items, with the columns of a catalog, passes."""
        _check_attributes(self, items)
        passed: BoolArray = (
            items.select(passes=self.expression(items)).with_columns(pl.col("passes").cast(bool))["passes"].to_numpy()
        )
        # A filter without conditions is one value for all.
        return passed if len(passed) == items.height else passed.repeat(items.height)

    def __str__(self) -> str:
        return self.model_dump_json(exclude_defaults=True, by_alias=True)


Clause = Annotated[Annotated[Condition, Tag("condition")] | Annotated[Filter, Tag("filter")], Discriminator(_sort_of)]
Clauses = Annotated[tuple[Clause, ...], Field(strict=False)]
Filter.model_rebuild()

_COMPARED: dict[str, Callable[[pl.Expr, Bound], pl.Expr]] = {
    "gt": lambda column, bound: column > _bound(bound),
    "gte": lambda column, bound: column >= _bound(bound),
    "lt": lambda column, bound: column < _bound(bound),
    "lte": lambda column, bound: column <= _bound(bound),
}


# How pydantic names the alternatives of a place, which say nothing to who wrote the filter.
_ALTERNATIVES = ("condition", "filter", "float", "function-before[_moment(), datetime]", "str", "bool", "int")


def read_filter(value: Any) -> Filter:
    """A filter of the JSON shape, or UsageError with what is wrong in it."""
    try:
        return Filter.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in _ALTERNATIVES)
        what = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"The filter cannot be read{f' at {where}' if where else ''}: {what}.") from None


def _bound(bound: Bound) -> pl.Expr:
    if isinstance(bound, datetime):
        moment = bound if bound.tzinfo else bound.replace(tzinfo=UTC)
        return pl.lit(moment.astimezone(UTC), pl.Datetime("us", "UTC"))
    return pl.lit(float(bound))


def _column(field: str, items: pl.DataFrame) -> pl.Expr:
    if field.startswith(ATTRIBUTE):
        name = field[len(ATTRIBUTE) :]
        pair = pl.col("attributes").list.eval(pl.element().filter(pl.element().struct.field("key") == name))
        return pair.list.first().struct.field("value")
    if field == "category":
        return pl.col("category_path")
    return pl.col(field)


def _one_of(field: str, column: pl.Expr, values: tuple[Value, ...]) -> pl.Expr:
    if field in NUMBERS:
        return column.is_in([float(value) for value in values])
    if field == "category":
        paths = [[part.strip() for part in str(value).split(">")] for value in values]
        # A category stands for all that lies below it.
        return pl.any_horizontal([column.list.head(len(path)) == pl.lit(path, pl.List(pl.String)) for path in paths])
    return column.is_in([_text(value) for value in values])


def _text(value: Value) -> str:
    """A value as a catalog's text holds it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _check_attributes(asked: Filter, items: pl.DataFrame) -> None:
    """An attribute that no item has is a slip of the pen, and would pass nothing in silence."""
    named = {own.field[len(ATTRIBUTE) :] for own in asked.conditions() if own.field.startswith(ATTRIBUTE)}
    if not named:
        return
    known = set(items["attributes"].explode().struct.field("key").drop_nulls().unique().to_list())
    for name in sorted(named - known):
        some = ", ".join(sorted(known)[:10]) or "none"
        raise UsageError(f"No item has an attribute {name!r}; the catalog has {some}.")
