"""Which pictures a catalog names: lists in one cell, addresses, and files that are named by item ids."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from ..files import atomic_write
from . import parsing
from .downloads import Downloads, download, file_of
from .images import ImageLimits, check_images, find_picture
from .intake import Intake, RowFault
from .validation import ProblemGroup

SEPARATORS = (";", "|", ",")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
ADDRESS = r"^(?i:https?:)?//"
# Before an address one of these begins a new picture; inside of addresses they mean nothing.
_BEFORE_ADDRESS = re.compile(r"[\s;,|]+(?=(?:https?:)?//)", re.IGNORECASE)
_AFTER_ADDRESS = re.compile(r"\s*[;,|]\s+|\s*\|\s*")
_PICTURE = re.compile("(" + "|".join(map(re.escape, SUFFIXES)) + ")$", re.IGNORECASE)
_NUMBERED = re.compile(r"^(.+)[_-](\d+)$")
_LISTS = pl.List(pl.String)


def add_pictures(
    intake: Intake, root: Path | None, limits: ImageLimits | None, by_id: bool, downloads: Downloads | None = None
) -> Path | None:
    """Paths and hashes of the pictures that passed, aligned, null where an item is left with none; and their folder."""
    limits = limits or ImageLimits()
    raw = intake.column("image")
    images = picture_lists(raw, root)
    message = "image {value} names neither a file nor an address; name one, or clear the value."
    intake.add("bad_image", parsing.pictures(raw).bad, message, column="image", values=raw, drop=False)
    if by_id and root is not None and not _name_files(images):
        files = pictures_by_id(intake.columns["item_id"], root)
        found = len(files) - files.null_count()
        if found or "image" not in intake.mapping:
            intake.notes.append(f"no column names files: {found} of {len(files)} items have some of their id in {root}")
        images = files.zip_with(files.is_not_null(), images)
    intake.columns["image"] = images
    intake.columns["image_sha256"] = pl.Series([None], dtype=_LISTS).new_from_index(0, len(images))
    flat = pl.DataFrame({"image": images}).with_row_index("row").drop_nulls().explode("image")
    remote = flat["image"].str.contains(ADDRESS)
    fetched = _fetch(intake, flat.filter(remote), limits, downloads) if remote.any() else {}
    local = flat.filter(~remote)
    if root is None and local.height:
        intake.notes.append("images were not looked at, as no image folder was given")
        if not remote.any():
            return root
    good = {} if root is None else _checked(intake, local, root, limits)
    if fetched and downloads:
        good = fetched | _brought(good, root, downloads.folder)
        root = downloads.folder
    names = [(path, name, sha256) for path, (name, sha256) in good.items()]
    stored = pl.DataFrame(names, {"given": pl.String, "image": pl.String, "image_sha256": pl.String}, orient="row")
    kept = flat.join(stored, left_on="image", right_on="given", how="inner", maintain_order="left", suffix=" stored")
    kept = kept.select("row", "image_sha256", image="image stored").unique(["row", "image"], maintain_order=True)
    lists = kept.group_by("row", maintain_order=True).agg("image", "image_sha256")
    every = pl.DataFrame({"row": range(len(images))}, {"row": lists.schema["row"]})
    found_lists = every.join(lists, on="row", how="left", maintain_order="left")
    intake.columns["image"], intake.columns["image_sha256"] = found_lists["image"], found_lists["image_sha256"]
    return root


def _name_files(images: pl.Series) -> bool:
    """Whether one picture is a path and no address."""
    return not images.explode().drop_nulls().str.contains(ADDRESS).all()


Good = dict[str, tuple[str, str]]  # path or address to the name in the folder and the hash


def _checked(intake: Intake, pictures: pl.DataFrame, root: Path, limits: ImageLimits) -> Good:
    """Those that can be used; what is wrong with others is recorded."""
    checks = check_images(pictures["image"].to_list(), root, limits)
    bad: dict[str, list[RowFault]] = {}
    for row, path in pictures.filter(pl.col("image").is_in([p for p, c in checks.items() if not c.ok])).iter_rows():
        bad.setdefault(checks[path].code or "", []).append((intake.rows[row], path, checks[path].message or ""))
    for code, problems in sorted(bad.items()):
        # The sentence differs from picture to picture.
        intake.add_rows(code, problems, "{detail}", column="image")
    return {path: (path, check.sha256) for path, check in checks.items() if check.sha256}


def _fetch(intake: Intake, pictures: pl.DataFrame, limits: ImageLimits, downloads: Downloads | None) -> Good:
    """Pictures at addresses, fetched where that was asked for; a warning for each that is left aside."""

    def warn(code: str, left: pl.DataFrame, message: str, details: pl.Series | None = None) -> None:
        rows = intake.rows.gather(left["row"])
        intake.groups.append(ProblemGroup("warning", code, "image", rows, left["image"], message, details))

    several = pictures["image"].n_unique()
    if downloads is None:
        message = "image {value} is an address and was left aside; fetch it with --download-images."
        warn("image_address", pictures, message)
        intake.notes.append(f"pictures that are addresses: {several}; --download-images fetches them")
        return {}
    failed = download(pictures["image"].to_list(), downloads, limits)
    names = {address: file_of(address) for address in pictures["image"].unique(maintain_order=True).to_list()}
    checks = check_images([name for address, name in names.items() if address not in failed], downloads.folder, limits)
    failed |= {
        address: check.message or "" for address, name in names.items() if (check := checks.get(name)) and not check.ok
    }
    left = pictures.filter(pl.col("image").is_in(list(failed)))
    if left.height:
        details = pl.Series([failed[address] for address in left["image"].to_list()], dtype=pl.String)
        warn("image_not_fetched", left, "image {value} was not fetched: {detail}; repeat the command.", details)
    intake.notes.append(
        f"{several - len(failed)} of {several} pictures at addresses are fetched into {downloads.folder}"
    )
    return {address: (name, str(checks[name].sha256)) for address, name in names.items() if address not in failed}


def _brought(good: Good, root: Path | None, folder: Path) -> Good:
    """Files of another folder copied beside what was fetched, as all pictures of a catalog lie in one."""
    brought = {}
    for path, (name, sha256) in good.items():
        target = folder / f"{sha256}{Path(path).suffix.lower()}"
        if root is not None and not target.is_file():
            with atomic_write(target, "wb") as stream:
                stream.write((root / name).read_bytes())
        brought[path] = (target.name, sha256)
    return brought


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
