"""How far an index is behind the newest catalog: what of it lists show at once, what they cannot know yet, what helps.

Lists show titles, prices, pictures and availability as the newest catalog has them. An item that is new is in no list
before the index holds it, and one whose content changed stands where its old content put it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import CorruptArtifactError, NotFoundError
from ..results import Record
from .targets import live_release

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from ..registry.records import IndexRecord, SnapshotRecord
    from .context import Context

# Items that are named of those that are counted.
NAMED = 5
# What is shown of an item, by its columns.
SHOWN = {
    "titles": ("title",),
    "prices": ("price", "currency"),
    "pictures": ("image", "image_sha256"),
    "categories": ("category_path",),
}


@dataclass(frozen=True)
class SomeItems(Record):
    """How many items, and the ids of the first of them in the order of the catalog."""

    count: int
    first: Sequence[str]

    def __str__(self) -> str:
        return f"{self.count:,} ({', '.join(self.first)}{', ...' if self.count > len(self.first) else ''})"


@dataclass(frozen=True)
class CatalogChange(Record):
    """What the newest catalog says otherwise than the one that the live index was filled from."""

    release: str
    index: str
    has: str  # item snapshot that the index was filled from
    newest: str | None  # the newest; None in a dry run that would make it
    # Shown at once.
    left: SomeItems  # no longer in the catalog, and not recommended
    unavailable: SomeItems  # no longer to be had, and not recommended
    available: SomeItems  # to be had again
    titles: SomeItems  # that changed, and so on
    prices: SomeItems
    pictures: SomeItems
    categories: SomeItems
    # Not before an index that was extended serves.
    new: SomeItems  # in no list yet
    outdated: SomeItems  # ranked by content that they no longer have
    next: str  # the command that brings the newest catalog live


@dataclass(frozen=True)
class Behind(Record):
    """What an index does not know of the newest catalog."""

    catalog: str  # the newest item snapshot
    new: int  # its items that the index lacks, which are in no list
    outdated: int  # items that are ranked by content which they no longer have
    next: str  # the command that brings the newest catalog into what was asked


def newer_catalog(context: Context, own: SnapshotRecord) -> SnapshotRecord | None:
    """The newest item snapshot of a domain where it is newer than `own` and says something else."""
    # Taken later and under a later number: a bundle brings older ones, which must not change what is live.
    known = context.registry.snapshots.list(own.domain, "items")
    later = [one for one in known if one.version > own.version and one.created_at > own.created_at]
    return later[-1] if later and later[-1].content != own.content else None


def catalog_change(
    context: Context,
    domain: str,
    newest: pl.DataFrame | None = None,
    ref: str | None = None,
    content: str | None = None,
) -> CatalogChange | None:
    """What the newest catalog of a domain changed of what its live index was filled from.

    `newest` is a catalog that is about to be the newest, `ref` its snapshot once there is one and `content` its hash;
    by default it is the newest there is. None where nothing is live, or the live index was filled from a catalog that
    says the same; also, with a note, where files of what is live are lost or damaged.
    """
    try:
        return _catalog_change(context, domain, newest, ref, content)
    except (NotFoundError, CorruptArtifactError) as error:
        context.progress.note(f"What is live in {domain} cannot be compared with its newest catalog: {error}")
        return None


def _catalog_change(
    context: Context, domain: str, newest: pl.DataFrame | None, ref: str | None, content: str | None
) -> CatalogChange | None:
    from .datasets import read_table

    live = live_release(context.registry, domain)
    if live is None:
        return None
    index = context.registry.indexes.get(live.index)
    own = context.registry.snapshots.get(index.items)
    if newest is None:
        later = newer_catalog(context, own)
        if later is None:
            return None
        newest, ref = read_table(context, later), later.ref
    elif content == own.content:
        return None
    had = read_table(context, own)
    parts = _compared(had, newest, indexed_ids(context, index))
    return CatalogChange(live.ref, index.ref, own.ref, ref, **parts, next=_step(context, index, ref))


def _compared(had: pl.DataFrame, now: pl.DataFrame, indexed: pl.Series) -> dict[str, SomeItems]:
    """Items by what became of them from the catalog of an index to another one."""
    import polars as pl

    both = now.join(had, on="item_id", how="inner", suffix="_had", maintain_order="left")

    def other(*columns: str) -> SomeItems:
        return _some(both.filter(pl.any_horizontal([pl.col(own).ne_missing(pl.col(f"{own}_had")) for own in columns])))

    sellable, was = pl.col("available"), pl.col("available_had")
    return {
        "left": _some(had.join(now, on="item_id", how="anti", maintain_order="left")),
        "unavailable": _some(both.filter(was & ~sellable)),
        "available": _some(both.filter(~was & sellable)),
        **{name: other(*columns) for name, columns in SHOWN.items()},
        "new": _some(now.filter(~pl.col("item_id").is_in(indexed.implode()))),
        "outdated": _some(outdated(had, now)),
    }


def outdated(had: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """The items of two catalogs of which the later says something else that models read."""
    from .index_loading import NOT_CONTENT

    columns = [name for name in now.columns if name not in NOT_CONTENT]
    kept = now.join(had, on="item_id", how="semi", maintain_order="left")
    return kept.join(had.select(columns), on=columns, how="anti", nulls_equal=True, maintain_order="left")


def _some(items: pl.DataFrame) -> SomeItems:
    return SomeItems(items.height, tuple(items["item_id"].head(NAMED).to_list()))


def indexed_ids(context: Context, index: IndexRecord) -> pl.Series:
    """The ids of the items of an index; whether its files are sound is for others to find out."""
    import polars as pl

    path = context.artifacts.open(index.artifact, verify=False) / "item_ids.json"
    try:
        return pl.Series("item_id", json.loads(path.read_bytes()), pl.String)
    except (OSError, ValueError, TypeError, pl.exceptions.PolarsError) as error:
        raise CorruptArtifactError(f"{path} cannot be read; build the index anew with --force.") from error


def next_step(context: Context, index: str) -> str | None:
    """The command that lets the newest catalog serve in the place of a live index; None where that has it."""
    record = context.registry.indexes.get(index)
    newest = newer_catalog(context, context.registry.snapshots.get(record.items))
    return _step(context, record, newest.ref) if newest else None


def _step(context: Context, index: IndexRecord, newest: str | None) -> str:
    known = context.registry.indexes.list(index.domain)
    built = [own for own in known if own.items == newest and own.model == index.model]
    return f"hubspoke promote {built[-1].ref}" if built else f"hubspoke index refresh {index.domain} --promote"


def way_live(context: Context, index: str | None) -> str | None:
    """The command that lets an index serve; None where there is none yet, or it serves already."""
    if index is None:
        return None
    live = live_release(context.registry, context.registry.indexes.get(index).domain)
    return None if live and live.index == index else f"hubspoke promote {index}"
