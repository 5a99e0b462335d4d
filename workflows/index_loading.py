"""Indexes loaded with what filled them, the index that answers for a reference, and items embedded into its space."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CorruptArtifactError, UsageError
from ..registry.kinds import ModelKind, with_article
from ..registry.records import IndexRecord
from .loading import encode_items, load_hub, load_spoke
from .targets import newest_index

if TYPE_CHECKING:
    from ..arrays import FloatArray, IntArray
    from ..hub.model import Hub
    from ..retrieval.base import ItemIndex
    from ..spokes.spoke import Spoke
    from .context import Context
    from .datasets import Dataset

# Inside an index artifact: the launch floor that filled it, where no spoke did.
FLOOR_FOLDER = "floor"
# Columns of an item that no encoder reads, and those of them that the attribute encoder does.
NOT_CONTENT = ("price", "currency", "available", "created_at", "cost")
READ_WITH_ATTRIBUTES = ("price", "currency")


@dataclass(frozen=True)
class LoadedIndex:
    """An index with the spoke (or launch floor) that filled it, ready to answer."""

    record: IndexRecord
    index: ItemIndex
    spoke: Spoke
    hub: Hub


def read_index(context: Context, record: IndexRecord) -> tuple[Path, ItemIndex]:
    """An index and its folder, its bytes checked; one that is not what its record says, row by row an item of the
    catalog that it was filled from in that catalog's order, is a CorruptArtifactError."""
    from ..retrieval.base import ItemIndex
    from .datasets import read_table

    folder = context.artifacts.open(record.artifact)
    index = ItemIndex.load(folder)
    items = read_table(context, context.registry.snapshots.get(record.items))["item_id"].to_list()
    # What was removed is passed over. Ids in another order would give every product the score of another one.
    left = iter(items)
    in_order = list(index.item_ids) == items or all(item in left for item in index.item_ids)
    written = (index.index.kind, index.dimension, len(index))
    if not in_order or written != (record.factory.lower(), record.dimension, record.n_items):
        what = "the items of its catalog in their order" if not in_order else "what the registry says"
        raise CorruptArtifactError(
            f"{record.ref} does not hold {what}; build it with `hubspoke index build {record.model} --domain "
            f"{record.domain} --force`."
        )
    return folder, index


def load_index(context: Context, record: IndexRecord, index: ItemIndex | None = None) -> LoadedIndex:
    """An index and what filled it, refused where they are of two embedding spaces; `index` if it is loaded already."""
    from ..spokes.spoke import Spoke

    folder, index = read_index(context, record) if index is None else (context.artifacts.open(record.artifact), index)
    model = context.registry.models.get(record.model)
    if model.kind == ModelKind.HUB:
        hub, _ = load_hub(context, model.ref)
        spoke = Spoke.load(folder / FLOOR_FOLDER, hub)
    else:
        spoke, hub = load_spoke(context, model)
    index.require_space(spoke.space_fingerprint)
    return LoadedIndex(record, index, spoke, hub)


def index_of(context: Context, ref: str) -> IndexRecord:
    """The index that answers for a reference: a domain's live release, a release, an index, or a spoke's newest one."""
    node = context.registry.resolve(ref)
    if node.kind == "release":
        return context.registry.indexes.get(context.registry.releases.get(node.ref).index)
    if node.kind == "index":
        return context.registry.indexes.get(node.ref)
    if node.kind != "spoke":
        raise UsageError(
            f"{ref} is {with_article(node.kind)} and recommends nothing; name a domain, spoke, release or index."
        )
    return newest_index(context.registry, node.ref)


def embed(context: Context, loaded: LoadedIndex, dataset: Dataset, rows: IntArray) -> FloatArray:
    """(K, D) vectors of some rows of a catalog, by what filled the index."""
    few = replace(dataset, items=dataset.items[rows.tolist()])
    encoded = encode_items(context, loaded.hub, few, loaded.spoke.content, loaded.spoke.heads)
    return loaded.spoke.embed_items(few.items["item_id"].to_list(), encoded, few.items)


def unchanged(old: Dataset, new: Dataset, spoke: Spoke) -> set[str]:
    """Ids of items of which both catalogs say the same, so far as it has a part in their vectors.

    Availability never has; the price has where the spoke reads attributes.
    """
    left_out = set(NOT_CONTENT) - set(READ_WITH_ATTRIBUTES if spoke.reads_attributes else ())
    columns = [column for column in new.items.columns if column not in left_out]
    same = new.items.select(columns).join(old.items.select(columns), on=columns, how="semi", nulls_equal=True)
    return set(same["item_id"])
