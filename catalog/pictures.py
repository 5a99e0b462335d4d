"""Which pictures a catalog names: lists in one cell, addresses, and files that are named by item ids."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from . import parsing
from .images import find_picture

SEPARATORS = (";", "|", ",")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
ADDRESS = r"^(?i:https?:)?//"
# Before an address one of these begins a new picture; inside of addresses they mean nothing.
_BEFORE_ADDRESS = re.compile(r"[\s;,|]+(?=(?:https?:)?//)", re.IGNORECASE)
_AFTER_ADDRESS = re.compile(r"\s*[;,|]\s+")
_PICTURE = re.compile("(" + "|".join(map(re.escape, SUFFIXES)) + ")$", re.IGNORECASE)
_NUMBERED = re.compile(r"^(.+)[_-](\d+)$")
_LISTS = pl.List(pl.String)


def picture_lists(column: pl.Series, root: Path | None) -> pl.Series:
    """Lists of paths and addresses from lists, or from texts of one or several; a name that exists is never split."""
    lists = parsing.pictures(column).values
    cells = pl.DataFrame({"cell": lists}).with_row_index("row").explode("cell").drop_nulls()
    odd = cells["cell"].str.contains(r"[;|,\\]|\s(?i:https?:)?//")
    if not odd.any():
        return lists
    split = column.dtype == pl.String
    names = cells["cell"].filter(odd).unique(maintain_order=True)
    parts = pl.DataFrame([names, pl.Series("parts", [_parts(name, root, split) for name in names], dtype=_LISTS)])
    cells = cells.join(parts, on="cell", how="left", maintain_order="left")
    cells = cells.with_columns(pl.coalesce("parts", pl.concat_list("cell")).alias("cell"))
    whole = cells.explode("cell").group_by("row", maintain_order=True).agg("cell")
    rows = pl.DataFrame({"row": range(len(lists))}, {"row": whole.schema["row"]})
    return rows.join(whole, on="row", how="left", maintain_order="left")["cell"]


def _parts(cell: str, root: Path | None, split: bool) -> list[str]:
    """The pictures that one text names."""
    if root is not None and find_picture(cell, root):
        return [cell]
    found = []
    for part in _BEFORE_ADDRESS.split(cell) if split else [cell]:
        if re.match(ADDRESS, part):
            # Addresses hold commas, but no blanks.
            address, *others = _AFTER_ADDRESS.split(part) if split else [part]
            found += [address, *(path for text in others for path in _paths(text, root))]
        else:
            found += _paths(part, root) if split else [part.replace("\\", "/")]
    return found


def _paths(text: str, root: Path | None, separators: tuple[str, ...] = SEPARATORS) -> list[str]:
    path = text.strip().replace("\\", "/")
    if not separators or not path or (root is not None and find_picture(path, root)):
        return [path] if path else []
    first, *others = separators
    parts = [part for part in path.split(first) if part.strip()]
    # A comma is also part of names: only a list of pictures is one.
    if len(parts) > 1 and (first != "," or all(_PICTURE.search(part.strip()) for part in parts)):
        return [found for part in parts for found in _paths(part, root, tuple(others))]
    return _paths(path, root, tuple(others))


def pictures_by_id(item_ids: pl.Series, root: Path) -> pl.Series:
    """(items,) what lies under `root` by the name of an item: `ID.jpg`, `ID/1.jpg`, `ID_2.jpg`, in any folder."""
    ids = set(item_ids.drop_nulls().to_list())
    found: dict[str, list[str]] = {}
    for path in _files(root):
        inside = [*path.parts[:-1]][::-1]
        numbered = _NUMBERED.match(path.stem)
        names = [path.stem, *([numbered[1]] if numbered else []), *inside]
        owner = next((name for name in names if name in ids), None)
        if owner is not None:
            found.setdefault(owner, []).append(path.as_posix())
    lists = [found.get(item) for item in item_ids.to_list()]
    return pl.Series([own and sorted(own, key=_in_order) for own in lists], dtype=_LISTS)


def _files(root: Path) -> Iterable[Path]:
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in files:
            if name.lower().endswith(SUFFIXES):
                yield Path(folder, name).relative_to(root)


def _in_order(path: str) -> tuple[int, list[tuple[int, str]]]:
    """`ID.jpg` before `ID/1.jpg`, 2 before 10."""
    return path.count("/"), [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", path)]
