"""Ids of events that almost match the catalog: in another form, in another column, or with the catalog's in another.

Such a match is proposed and never made in silence, for only people know whether 123 and 00123 are the same product.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import polars as pl

from . import parsing
from .guessing import MATCHED, share_known
from .transforms import Origin, as_option, in_words, transformed

# Tried one by one, and two together where they are not enough.
FORMS = ("int", "strip", "upper", "lower", "nfc", "nfkc", "last", "digits", "plain")
# Share of a column's ids in the catalog from which it is worth naming.
WORTH = 0.2
SHOWN = 4  # ways that are told


class NearMatch(NamedTuple):
    """A way to read ids by which more of them are in the catalog."""

    remedy: str  # an option, such as `--event-map item_id=sku:upper`
    words: str  # how, in words that follow "would match"
    rows: int  # that would then match


def near_matches(
    ids: pl.Series,
    known: pl.Series,
    origins: Sequence[Origin],
    frame: pl.DataFrame,
    attributes: pl.Series | None = None,
) -> list[NearMatch]:
    """Ways to read ids by which more of them are in the catalog than as they stand, best first.

    `ids` are read from `origins`, `frame` holds the other columns of their rows; `known` are those of the catalog,
    whose other columns are `attributes`.
    """
    known = known.drop_nulls()
    counts = ids.drop_nulls().rename("id").value_counts(sort=True)
    now = _matches(counts, (), known)
    found = [*_other_forms(counts, known, origins), *_other_columns(frame, known)]
    found += [] if attributes is None else _other_ids(counts, attributes)
    found = found or _other_catalog(counts, known)
    return sorted((match for match in found if match.rows > now), key=lambda match: -match.rows)


def _other_forms(counts: pl.DataFrame, known: pl.Series, origins: Sequence[Origin]) -> Iterator[NearMatch]:
    """Every single form that helps, and two together where they help more than all of these."""
    if len(origins) != 1:
        return
    some = counts.head(MATCHED)
    total, best = some["count"].sum(), 0
    found: list[tuple[str, ...]] = []
    for forms in _forms(known):
        rows = _matches(some, forms, known)
        if rows > (best if len(forms) > 1 else 0):
            found.append(forms)
        best = max(best, rows)
        if best == total:
            found = found[-1:]
            break
    for forms in found:
        origin = Origin(origins[0].column, (*origins[0].transforms, *forms))
        yield NearMatch(
            as_option("--event-map", "item_id", str(origin)), in_words(forms), _matches(counts, forms, known)
        )


def _forms(known: pl.Series) -> Iterator[tuple[str, ...]]:
    """Single forms, then pairs; leading zeros to the lengths that the catalog's numbers have."""
    lengths = known.filter(known.str.contains(r"^0\d{1,98}$")).str.len_chars().unique().sort()
    # Padding to more than a few lengths would be guesswork.
    singles = [*(f"zfill{length}" for length in lengths.to_list()[:3]), *FORMS]
    yield from ((form,) for form in singles)
    yield from ((first, second) for first in FORMS for second in singles if first != second)


def _other_columns(frame: pl.DataFrame, known: pl.Series) -> Iterator[NearMatch]:
    for column in frame.columns:
        if frame[column].dtype.is_nested() or frame[column].dtype.is_temporal():
            continue
        if share_known(frame[column], known) >= WORTH:
            rows = int(parsing.identifiers(frame[column]).is_in(known.implode()).fill_null(False).sum())
            yield NearMatch(as_option("--event-map", "item_id", column), f"from column {column}", rows)


def _other_ids(counts: pl.DataFrame, attributes: pl.Series) -> Iterator[NearMatch]:
    """Columns of the catalog that tell its items apart and hold the ids of the events."""
    pairs = attributes.alias("pair").to_frame().explode("pair").drop_nulls().unnest("pair")
    for (name,), pair in pairs.group_by("key", maintain_order=True):
        values = pair["value"]
        if values.n_unique() == len(values) and (rows := _matches(counts, (), values)):
            yield NearMatch(as_option("--map", "item_id", str(name)), f"if items were named by column {name}", rows)


def _other_catalog(counts: pl.DataFrame, known: pl.Series) -> list[NearMatch]:
    """The form of the catalog's ids, where none of the events' own does."""
    rows = {form: _matches(counts, (), transformed(known, (form,))) for form in FORMS}
    best = max(rows, key=lambda form: rows[form])
    words = f"if the catalog's ids were read {in_words((best,))}"
    return [NearMatch(f"--map item_id=COLUMN:{best}", words, rows[best])] if rows[best] else []


def _matches(counts: pl.DataFrame, forms: Sequence[str], known: pl.Series) -> int:
    """Rows whose ids in these forms are among the known ones."""
    inside = transformed(counts["id"], forms).is_in(known.implode()).fill_null(False)
    return int(counts["count"].filter(inside).sum())


def proposal(matches: Sequence[NearMatch], total: int) -> str:
    """The near matches of `total` rows as a clause: how many would match how, with the option."""
    if matches and matches[0].rows == total:
        return f"all {total} would match {matches[0].words}: {matches[0].remedy}"
    said = (f"{match.rows} of {total} would match {match.words}: {match.remedy}" for match in matches[:SHOWN])
    return "; ".join(said)
