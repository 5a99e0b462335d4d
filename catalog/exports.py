"""Canonical tables as files that other tools read: CSV, JSON Lines, Parquet, and RecBole's atomic files.

Read again, each gives the rows that were written; pictures are named and not copied.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import polars as pl

from .schema import ATTRIBUTES, TIMESTAMP, Kind, TimeKind

ExportFormat = Literal["csv", "jsonl", "parquet", "recbole"]
RECBOLE_SUFFIXES: dict[Kind, str] = {"items": ".item", "events": ".inter"}
# The type of each column in RecBole, and its name where that is another; what is not here stays behind.
RECBOLE_COLUMNS: dict[Kind, dict[str, tuple[str, str]]] = {
    "items": {
        "item_id": ("item_id", "token"),
        "title": ("title", "token_seq"),
        "description": ("description", "token_seq"),
        "brand": ("brand", "token"),
        "category_path": ("categories", "token_seq"),
        "price": ("price", "float"),
        "currency": ("currency", "token"),
        "available": ("available", "token"),
        "created_at": ("created_at", "float"),
        "cost": ("cost", "float"),
        "attributes": ("attributes", "token"),
    },
    "events": {
        "user_id": ("user_id", "token"),
        "item_id": ("item_id", "token"),
        "timestamp": ("timestamp", "float"),
        "event_type": ("event_type", "token"),
        "session_id": ("session_id", "token"),
        "query": ("query", "token_seq"),
        "value": ("value", "float"),
        "quantity": ("quantity", "float"),
        "position": ("position", "float"),
        "attributes": ("attributes", "token"),
    },
}
NEEDED = ("user_id", "item_id", "timestamp", "title")
# Taken anew from the pictures themselves.
LEFT = ("image_sha256",)


def file_name(kind: Kind, format: ExportFormat, domain: str) -> str:
    """What the file of a table is called."""
    return f"{domain}{RECBOLE_SUFFIXES[kind]}" if format == "recbole" else f"{kind}.{format}"


def write_export(frame: pl.DataFrame, kind: Kind, path: Path, format: ExportFormat, time_kind: TimeKind) -> None:
    """Write a table of canonical columns, or of some of them; see `files.atomic_files`."""
    frame = frame.drop(LEFT, strict=False)
    if format == "parquet":
        frame.write_parquet(path)
    elif format == "csv":
        plain = _with_plain(frame, time_kind)
        lists = [_json_text(column) for column in plain if column.dtype == pl.List]
        plain.with_columns(lists).write_csv(path)
    elif format == "jsonl":
        lines = _json_lines(_with_plain(frame, time_kind))
        lines.to_frame("line").write_csv(path, include_header=False, quote_style="never")
    else:
        _recbole(frame, kind).write_csv(path, separator="\t")


def _with_plain(frame: pl.DataFrame, time_kind: TimeKind) -> pl.DataFrame:
    """Times and attributes as text, which every reader takes for what they are."""
    columns = []
    for name, dtype in frame.schema.items():
        if dtype == TIMESTAMP:
            counts = time_kind == "order" and name == "timestamp"
            columns.append(_seconds(name) if counts else pl.col(name).dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ"))
        elif dtype == ATTRIBUTES:
            columns.append(pl.lit(_json_objects(frame[name])))
    return frame.with_columns(columns)


def _seconds(name: str) -> pl.Expr:
    """Seconds since 1970 to the microsecond, which a float would round."""
    micros = pl.col(name).cast(pl.Int64)
    parts = (micros // 1_000_000).cast(pl.String), (micros % 1_000_000).cast(pl.String).str.zfill(6)
    return pl.when(micros % 1_000_000 == 0).then(parts[0]).otherwise(parts[0] + "." + parts[1]).alias(name)


def _json_text(values: pl.Series) -> pl.Series:
    """Any values as JSON."""
    texts = values.alias("x").to_frame().to_struct().struct.json_encode().str.strip_prefix('{"x":').str.head(-1)
    return texts.set(values.is_null(), None).alias(values.name)


def _json_objects(attributes: pl.Series) -> pl.Series:
    """Keys and values as JSON objects; null where there are none."""
    flat = pl.DataFrame({"row": pl.int_range(len(attributes), eager=True), "pair": attributes}).explode("pair")
    flat = flat.filter(pl.col("pair").is_not_null()).unnest("pair").drop_nulls("value")
    pairs = _json_text(flat["key"]) + ":" + _json_text(flat["value"])
    inside = ("{" + pl.col("pairs").str.join(",") + "}").alias("pairs")
    objects = flat.select("row", pairs.alias("pairs")).group_by("row", maintain_order=True).agg(inside)
    rows = pl.DataFrame({"row": pl.int_range(len(attributes), eager=True)})
    return rows.join(objects, on="row", how="left", maintain_order="left")["pairs"].alias(attributes.name)


def _json_lines(frame: pl.DataFrame) -> pl.Series:
    """A JSON object a row, with its attributes as an object of its own."""
    plain = frame.drop("attributes", strict=False).to_struct().struct.json_encode()
    if "attributes" not in frame.columns:
        return plain
    return plain.str.head(-1) + ',"attributes":' + frame["attributes"].fill_null("null") + "}"


def _recbole(frame: pl.DataFrame, kind: Kind) -> pl.DataFrame:
    """The table as an atomic file has it: columns that hold nothing left out, ratings as `rating`."""
    known = RECBOLE_COLUMNS[kind]
    if "event_type" in frame.columns and frame.height and (frame["event_type"] == "rating").all():
        frame = frame.drop("event_type")
        known = {**known, "value": ("rating", "float")}
    columns = []
    for name, (own, type_) in known.items():
        if name not in frame.columns or (name not in NEEDED and frame[name].null_count() == frame.height):
            continue
        values = frame[name]
        if name in ("timestamp", "created_at"):
            values = frame.select(_seconds(name)).to_series()
        elif name == "category_path":
            values = values.list.eval(_sequence_value(pl.element())).list.join(" ")
        elif name == "attributes":
            values = _json_objects(values)
            if values.null_count() == len(values):
                continue
        columns.append(values.alias(f"{own}:{type_}"))
    return pl.DataFrame(columns)


def _sequence_value(value: pl.Expr) -> pl.Expr:
    """A value of a sequence, in quotes where a blank or a comma would end it."""
    bare = '"' + value.str.replace_all('"', "", literal=True) + '"'
    quoted = pl.when(value.str.contains("'", literal=True)).then(bare).otherwise("'" + value + "'")
    return pl.when(value.str.contains(r"[\s,'\"]")).then(quoted).otherwise(value)
