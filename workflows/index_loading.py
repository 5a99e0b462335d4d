"""Indexes loaded with what filled them, the index that answers for a reference, and items embedded into its space."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..registry.kinds import ModelKind
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


def load_index(context: Context, record: IndexRecord, index: ItemIndex | None = None) -> LoadedIndex:
    """An index and what filled it, refused where they are of two embedding spaces; `index` if it is loaded already."""
    from ..retrieval.base import ItemIndex
    from ..spokes.spoke import Spoke

    folder = context.artifacts.open(record.artifact)
    index = ItemIndex.load(folder) if index is None else index
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
        raise UsageError(f"{ref} is a {node.kind} and does not recommend; name a domain, spoke, release or index.")
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
