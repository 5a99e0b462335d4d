"""Index versions: the item vectors of one spoke (or of the hub alone) over one item snapshot."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import NotFoundError, UsageError
from ..registry.kinds import ModelKind, Relation
from ..registry.records import IndexRecord, ModelRecord, Parent
from ..registry.stores.indexes import NewIndex
from ..results import Record, fingerprint
from .loading import encode_items, load_hub, load_spoke, over_catalog, ready_model, spoke_ref
from .models import prepare
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
# Items embedded again by `check`, and how far a vector may then be from the stored one.
CHECKED_ITEMS = 64
TOLERANCE = 1e-4


@dataclass(frozen=True)
class IndexResult(Record):
    """An index version that was built, or found built already (`cached`)."""

    ref: str | None  # None in a dry run
    cached: bool
    model: str  # spoke or hub version that filled it
    items: str  # item snapshot that it covers
    n_items: int
    dimension: int | None  # columns of a vector; None in a dry run
    seconds: float


@dataclass(frozen=True)
class IndexAddition(Record):
    """An index brought up to a newer catalog."""

    ref: str | None  # the new version, or the one that holds all of it already; None in a dry run
    base: str  # index that it grew from
    cached: bool  # whether there was nothing to do
    added: int  # items embedded, new or changed
    kept: int  # items whose vectors were taken over
    removed: int  # items that left the catalog
    seconds: float


@dataclass(frozen=True)
class IndexRemoval(Record):
    """An index without some of its items."""

    ref: str | None  # the new version, or the one that lacks them already; None in a dry run
    base: str  # index that they were taken out of
    cached: bool
    removed: int
    kept: int


@dataclass(frozen=True)
class IndexCheck(Record):
    """What an inspection of an index found: one row per check, with `name`, `ok` and `detail`."""

    ref: str
    ok: bool
    checks: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class LoadedIndex:
    """An index with the spoke (or launch floor) that filled it, ready to answer."""

    record: IndexRecord
    index: ItemIndex
    spoke: Spoke
    hub: Hub


class Indexes:
    """The noun `index`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self, domain: str | None = None) -> list[IndexRecord]:
        """Every index version, oldest first, of one domain if asked."""
        return self._context.registry.indexes.list(domain)

    def build(
        self, ref: str, domain: str | None = None, items: str | None = None, force: bool = False, dry_run: bool = False
    ) -> IndexResult:
        """Embed a catalog and build its index; the same model and catalog give the same index again.

        `ref` is a spoke version, or a hub version together with `domain`; `items` an item snapshot, by default the
        newest. Items that no spoke has seen are embedded from their content.
        """
        from ..retrieval.base import ItemIndex
        from .datasets import load_dataset

        started = time.perf_counter()
        model = self._model(ref, domain)
        name = str(model.domain or domain)
        dataset = load_dataset(self._context, name, items=items, with_events=False)
        snapshot, item_ids = dataset.item_snapshot, dataset.items["item_id"].to_list()
        # The moment of training counts beside the artifact: one trained again with --force may hold the same bytes, and
        # needs an index of its own to be promoted with. The version's number may be another in another registry.
        identity = fingerprint({"model": [model.artifact, model.started_at], "items": snapshot.content_hash})
        record = None if force else self._context.registry.indexes.find(name, identity)
        cached = record is not None
        if record is None and dry_run:
            return IndexResult(None, False, model.ref, snapshot.ref, len(item_ids), None, 0.0)
        if record is None:
            # Two builds at once would embed the same catalog twice and leave two versions.
            with self._context.lock(f"index {name}"):
                prepare(self._context)
                spoke, encoded = over_catalog(self._context, model, dataset)
                vectors = spoke.embed_items(item_ids, encoded, dataset.items)  # (N, D)
                index = ItemIndex.build(vectors, item_ids, spoke.space_fingerprint)
                record = self._store(index, spoke, model, dataset, identity, started)
        seconds = round(time.perf_counter() - started, 2)
        return IndexResult(record.ref, cached, record.model, record.items, record.n_items, record.dimension, seconds)

    def add(self, ref: str, items: str | None = None, model: str | None = None, dry_run: bool = False) -> IndexAddition:
        """A new version of an index over a newer catalog: only items that are new or changed are embedded.

        `ref` is the index, or what it answers for (a domain, release or spoke); `items` an item snapshot, by default
        the newest; `model` what embeds the items, by default what filled the index. Items that left the catalog leave
        the index, and what serves changes only with `promote`.
        """
        from ..retrieval.base import ItemIndex
        from .datasets import load_dataset

        started = time.perf_counter()
        base = index_of(self._context, ref)
        dataset = load_dataset(self._context, base.domain, items=items, with_events=False)
        prepare(self._context)
        loaded = load_index(self._context, base)
        if model is not None:
            named = self._model(model, base.domain)
            # What filled the index embeds into its space; a hub's launch floor keeps the calibration it has there.
            own = named.ref == base.model
            loaded.index.require_space(base.space_fingerprint if own else str(named.space_fingerprint))
        old = load_dataset(self._context, base.domain, items=base.items, with_events=False)
        ids, kept = dataset.items["item_id"].to_list(), _unchanged(old, dataset, loaded.spoke)
        kept &= set(loaded.index.item_ids)  # what was removed is embedded again
        new = np.array([row for row, item in enumerate(ids) if item not in kept], dtype=np.int64)
        gone = len(set(loaded.index.item_ids).difference(ids))
        counts = {"added": len(new), "kept": len(ids) - len(new), "removed": gone}

        identity = fingerprint({"index": base.artifact, "items": dataset.item_snapshot.content_hash})
        known = self._context.registry.indexes.find(base.domain, identity)
        if known is None and not len(new) and not gone and dataset.item_snapshot.ref == base.items:
            known = base
        if known is not None or dry_run:
            return IndexAddition(known.ref if known else None, base.ref, known is not None, **counts, seconds=0.0)
        with self._context.lock(f"index {base.domain}"):
            row_of = {item: row for row, item in enumerate(loaded.index.item_ids)}
            vectors = np.empty((len(ids), loaded.index.dimension), np.float32)
            old_rows = np.delete(np.arange(len(ids)), new)
            vectors[old_rows] = loaded.index.vectors()[[row_of[ids[row]] for row in old_rows]]
            vectors[new] = _embed(self._context, loaded, dataset, new)
            grown = ItemIndex.build(vectors, ids, base.space_fingerprint, loaded.index.index.kind)
            filled_by = self._context.registry.models.get(base.model)
            grew_from = Parent(base.ref, Relation.BUILT_FROM, "vectors", "items added to it")
            made = self._store(grown, loaded.spoke, filled_by, dataset, identity, started, [grew_from])
        return IndexAddition(made.ref, base.ref, False, **counts, seconds=round(time.perf_counter() - started, 2))

    def remove(self, ref: str, items: Sequence[str], dry_run: bool = False) -> IndexRemoval:
        """A new version of an index without some items, until a catalog that holds them is added again.

        `ref` is as in `add`. What is to stay out whatever catalogs say is hidden by rules.
        """
        from ..retrieval.base import ItemIndex
        from .datasets import load_dataset

        started = time.perf_counter()
        base = index_of(self._context, ref)
        prepare(self._context)
        loaded = load_index(self._context, base)
        gone = set(items)
        unknown = sorted(gone.difference(loaded.index.item_ids))
        if unknown:
            raise NotFoundError(
                f"{len(unknown)} of the items are not in {base.ref} (first: {unknown[0]!r}); name items that it holds."
            )
        rows = np.array([row for row, item in enumerate(loaded.index.item_ids) if item not in gone], dtype=np.int64)
        if not len(rows):
            raise UsageError(f"Nothing would be left of {base.ref}; name fewer items.")
        identity = fingerprint({"index": base.artifact, "removed": sorted(gone)})
        known = base if not gone else self._context.registry.indexes.find(base.domain, identity)
        if known is None and not dry_run:
            with self._context.lock(f"index {base.domain}"):
                dataset = load_dataset(self._context, base.domain, items=base.items, with_events=False)
                ids = [loaded.index.item_ids[row] for row in rows.tolist()]
                vectors, kind = loaded.index.vectors()[rows], loaded.index.index.kind
                smaller = ItemIndex.build(vectors, ids, base.space_fingerprint, kind)
                came_from = Parent(base.ref, Relation.BUILT_FROM, "vectors", "items removed from it")
                filled_by = self._context.registry.models.get(base.model)
                made = self._store(smaller, loaded.spoke, filled_by, dataset, identity, started, [came_from])
            return IndexRemoval(made.ref, base.ref, False, len(gone), len(rows))
        return IndexRemoval(known.ref if known else None, base.ref, known is not None, len(gone), len(rows))

    def check(self, ref: str) -> IndexCheck:
        """Inspect an index: checksums, sizes, finite vectors, the embedding space, and items embedded once more."""
        from .datasets import load_dataset

        prepare(self._context)
        loaded = load_index(self._context, self._context.registry.indexes.get(ref))  # checks the files' checksums
        record, vectors = loaded.record, loaded.index.vectors()
        dataset = load_dataset(self._context, record.domain, items=record.items, with_events=False)
        row_of = {item: row for row, item in enumerate(dataset.items["item_id"].to_list())}
        unknown = sum(item not in row_of for item in loaded.index.item_ids)
        spaces = {loaded.index.space_fingerprint, record.space_fingerprint, loaded.spoke.space_fingerprint}
        # Spread over the catalog rather than drawn, so that a check that is repeated looks at the same items.
        rows = np.linspace(0, len(vectors) - 1, min(CHECKED_ITEMS, len(vectors))).astype(np.int64)
        rows = rows[[loaded.index.item_ids[row] in row_of for row in rows]]
        again = _embed(self._context, loaded, dataset, np.array([row_of[loaded.index.item_ids[row]] for row in rows]))
        gap = float(np.abs(again - vectors[rows]).max()) if len(rows) else 0.0
        found = (
            ("checksums", True, "every file matches"),
            ("items", unknown == 0 and len(vectors) == record.n_items, f"{len(vectors)} of {dataset.items.height}"),
            ("finite", bool(np.isfinite(vectors).all()), f"{vectors.shape[0]} x {vectors.shape[1]}"),
            ("embedding space", len(spaces) == 1, " / ".join(sorted(own[:12] for own in spaces))),
            ("vectors", gap <= TOLERANCE, f"{len(rows)} items embedded again, largest difference {gap:.1e}"),
        )
        checks = [{"name": name, "ok": ok, "detail": detail} for name, ok, detail in found]
        return IndexCheck(record.ref, all(ok for _, ok, _ in found), checks)

    def _model(self, ref: str, domain: str | None) -> ModelRecord:
        node = self._context.registry.resolve(ref)
        if node.kind == "hub":
            if domain is None:
                raise UsageError(f"{ref} is a hub and serves any category; name one with --domain NAME.")
            return ready_model(self._context, node.ref, ModelKind.HUB)
        return ready_model(self._context, spoke_ref(self._context, ref), ModelKind.SPOKE)

    def _store(
        self,
        index: ItemIndex,
        spoke: Spoke,
        model: ModelRecord,
        dataset: Dataset,
        identity: str,
        started: float,
        parents: Sequence[Parent] = (),
    ) -> IndexRecord:
        from ..retrieval.base import METRIC

        with self._context.artifacts.stage() as staged:
            index.save(staged)
            if model.kind == ModelKind.HUB:
                (staged / FLOOR_FOLDER).mkdir()
                spoke.save(staged / FLOOR_FOLDER)
            artifact = self._context.artifacts.commit(staged, "index")
        made = NewIndex(
            dataset.domain.name,
            model.ref,
            dataset.item_snapshot.ref,
            fingerprint=identity,
            space_fingerprint=spoke.space_fingerprint,
            factory=index.index.kind,
            dimension=index.dimension,
            metric=METRIC,
            n_items=len(index),
            artifact=artifact,
            seconds=round(time.perf_counter() - started, 3),
            parents=parents,
        )
        return self._context.registry.indexes.add(made)


def load_index(context: Context, record: IndexRecord) -> LoadedIndex:
    """An index and what filled it, refused where they are of two embedding spaces."""
    from ..retrieval.base import ItemIndex
    from ..spokes.spoke import Spoke

    folder = context.artifacts.open(record.artifact)
    index = ItemIndex.load(folder)
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


def _embed(context: Context, loaded: LoadedIndex, dataset: Dataset, rows: IntArray) -> FloatArray:
    """(K, D) vectors of some rows of a catalog, by what filled the index."""
    few = replace(dataset, items=dataset.items[rows.tolist()])
    encoded = encode_items(context, loaded.hub, few, loaded.spoke.content, loaded.spoke.heads)
    return loaded.spoke.embed_items(few.items["item_id"].to_list(), encoded, few.items)


def _unchanged(old: Dataset, new: Dataset, spoke: Spoke) -> set[str]:
    """Ids of items of which both catalogs say the same, so far as it has a part in their vectors.

    Availability never has; the price has where the spoke reads attributes.
    """
    left_out = set(NOT_CONTENT) - set(READ_WITH_ATTRIBUTES if spoke.reads_attributes else ())
    columns = [column for column in new.items.columns if column not in left_out]
    same = new.items.select(columns).join(old.items.select(columns), on=columns, how="semi", nulls_equal=True)
    return set(same["item_id"])
