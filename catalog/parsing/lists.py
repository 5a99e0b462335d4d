"""Columns of lists: category paths and pictures, from lists, objects, JSON, Python, or text with separators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from .hierarchies import hierarchy
from .markup import strip_markup
from .nested import NAMES, PICTURES, ShapelessError, decode, filled, flat, is_plain_list, keyed, looks_nested
from .texts import text
from .translations import in_one_language

CATEGORY_SEPARATORS = (">", "»", "›", "→", "|")
# Keys of an object that hold the path to it, its levels, or what stands above it.
PATHS = ("path", "breadcrumb", "breadcrumbs", "fullpath", "fullname", "categories", "categorypath")
PARENTS = ("parent", "parentcategory")
LEVELS = r"^(?:l|lvl|level|cat|category|c)?\d+$"


class Lists(NamedTuple):
    """A column of lists of text."""

    values: pl.Series
    bad: pl.Series  # cells of which no list of text can be made
    several: int = 0  # cells that held several paths, of which one was taken
    note: str | None = None  # what the column decided


def string_lists(column: pl.Series, separators: Sequence[str]) -> pl.Series:
    """Lists of text from lists, JSON lists, or text split at the first of `separators` that occurs in the row."""
    return lists(column, separators).values


def pictures(column: pl.Series) -> Lists:
    """Paths or addresses of pictures; an object is its largest picture."""
    return lists(column, (), PICTURES)


def paths(column: pl.Series) -> Lists:
    """One category path per row, its first; HTML is taken out."""
    dtype = column.dtype
    if dtype == pl.List(pl.String) and not column.list.join("\n", ignore_nulls=True).str.contains(" > ").any():
        found = _tidy(column)
    elif dtype.is_nested() or dtype == pl.Object:
        found = _from_cells(column.to_list(), _path)
    else:
        raw = text(column)
        strings = strip_markup(raw).str.replace_all("->", ">", literal=True)
        first = _first_path(strings)
        told = hierarchy(first.set(looks_nested(first), None))
        several = int((first != strings).fill_null(False).sum()) + told.several
        first = told.values.zip_with(told.values.is_not_null(), first)
        found = _with_nested(raw, _split(first, CATEGORY_SEPARATORS), _path, several)
        found = found._replace(note=told.note or found.note)
    return found._replace(values=_without_markup(found.values))


def _without_markup(column: pl.Series) -> pl.Series:
    parts = column.explode(empty_as_null=True)
    clean = strip_markup(parts)
    if clean.equals(parts):
        return column
    rows = pl.int_range(len(column), eager=True).alias("row")
    frame = pl.DataFrame({"row": rows, "parts": column}).explode("parts").with_columns(clean.alias("parts"))
    joined = frame.group_by("row", maintain_order=True).agg("parts")
    return _tidy(joined["parts"]).values


def lists(column: pl.Series, separators: Sequence[str], keys: Sequence[str] = NAMES) -> Lists:
    """Lists of text, objects by the first of `keys`."""

    def parts(cell: Any) -> tuple[list[str], bool]:
        cells = cell if isinstance(cell, list | tuple) else [cell]
        return [part for part in (flat(own, keys) for own in cells) if part], False

    if is_plain_list(column.dtype):
        return _tidy(column.cast(pl.List(pl.String), strict=False))
    if column.dtype.is_nested() or column.dtype == pl.Object:
        return _from_cells(column.to_list(), parts)
    strings = text(column)
    return _with_nested(strings, _split(strings, separators), parts, 0)


def _split(strings: pl.Series, separators: Sequence[str]) -> pl.Series:
    found = strings.str.split("\x00")
    for separator in reversed(separators):
        has = strings.str.contains(separator, literal=True).fill_null(False)
        found = strings.str.split(separator).zip_with(has, found)
    return found


def _first_path(strings: pl.Series) -> pl.Series:
    """The first of several paths in one text: `A > B | C > D`, `A > B; C > D`."""
    for pattern, rest in ((r"^[^|]*>[^|]*\|.*>", r"\s*\|.*$"), (r"^[^;]*>[^;]*(?:;[^;]*>[^;]*)+;?$", r"\s*;.*$")):
        several = strings.str.contains(pattern).fill_null(False)
        if several.any():
            strings = strings.str.replace(rest, "").zip_with(several, strings)
    return strings


def _with_nested(strings: pl.Series, split: pl.Series, cut: Any, several: int) -> Lists:
    """Texts that were split, and those that print a list or an object by `cut`."""
    nested = looks_nested(strings)
    if not nested.any():
        own = _tidy(split)
        return own._replace(several=several)
    decoded = [decode(cell) if shaped else None for cell, shaped in zip(strings, nested, strict=True)]
    cells = _from_cells(decoded, cut)
    really = pl.Series([isinstance(cell, list | dict) for cell in decoded], dtype=pl.Boolean)
    values = cells.values.zip_with(really, _tidy(split).values)
    return Lists(values, cells.bad, several + cells.several, cells.note)


def _from_cells(cells: Sequence[Any], cut: Any) -> Lists:
    found: list[list[str] | None] = []
    bad: list[bool] = []
    several = 0
    cells, note = in_one_language(cells)
    for cell in cells:
        try:
            own, more = cut(cell) if cell is not None else (None, False)
        except ShapelessError:
            own, more = None, False
            bad.append(True)
        else:
            bad.append(False)
        several += more
        found.append(own)
    return _tidy(pl.Series(found, dtype=pl.List(pl.String)))._replace(
        bad=pl.Series(bad, dtype=pl.Boolean), several=several, note=note
    )


def _tidy(column: pl.Series) -> Lists:
    """Parts without surrounding spaces, without empty ones; an empty list is null."""
    column = column.list.eval(pl.element().str.strip_chars())
    column = column.list.eval(pl.element().filter(pl.element().is_not_null() & (pl.element() != "")))
    column = column.set((column.list.len() == 0).fill_null(False), None)
    return Lists(column, pl.repeat(False, len(column), dtype=pl.Boolean, eager=True))


# ---- one category path ----


def _path(cell: Any) -> tuple[list[str], bool]:
    """The first path in a cell, and whether there are others."""
    if isinstance(cell, Mapping):
        return _object_path(filled(cell))
    if not isinstance(cell, list | tuple):
        own = flat(cell)
        return ([] if own is None else _split_text(own)), False
    parts = [part for part in cell if part is not None and part != "" and part != []]
    nested = [part for part in parts if isinstance(part, list | tuple)]
    if nested:
        return _path(nested[0])[0], len(parts) > 1
    found = [_path(part)[0] for part in parts]
    longer = [path for path in found if len(path) > 1]
    if longer:
        return longer[0], len(found) > 1
    return [part for path in found for part in path], False


def _object_path(value: dict[str, Any]) -> tuple[list[str], bool]:
    names = keyed(value)
    levels = pl.Series(list(names), dtype=pl.String)
    if names and bool(levels.str.contains(LEVELS).all()):
        found = [_path(names[key])[0] for key in sorted(names, key=lambda key: int("".join(filter(str.isdigit, key))))]
        # Levels may each name the whole way to them.
        return (found[-1] if len(found[-1]) > 1 else [part for path in found for part in path]), False
    key = next((key for key in PATHS if key in names), None)
    if key is not None:
        return _named_path(names[key])
    own = flat(value)
    above = next((names[key] for key in PARENTS if isinstance(names.get(key), Mapping)), None)
    return [*(_path(above)[0] if above else []), *([] if own is None else _split_text(own))], False


def _named_path(cell: Any) -> tuple[list[str], bool]:
    """What a field holds that is called a path: `/` tells its levels apart where no other sign does."""
    path, several = _path(cell)
    one = path[0] if len(path) == 1 else ""
    return ([part.strip() for part in one.split("/") if part.strip()] if "/" in one else path), several


def _split_text(own: str) -> list[str]:
    for separator in CATEGORY_SEPARATORS[:-1]:
        if separator in own:
            return [part.strip() for part in own.split(separator) if part.strip()]
    return [own]
