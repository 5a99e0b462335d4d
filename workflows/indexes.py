"""Index versions: the item vectors of one spoke (or of the hub alone) over one item snapshot."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..door import checked
from ..errors import NotFoundError, UsageError
from ..registry.kinds import ModelKind, Relation
from ..registry.records import IndexRecord, ModelRecord, Parent
from ..registry.stores.indexes import NewIndex
from ..results import Record, fingerprint
from ..retrieval.measurement import IndexRequest
from .catalog_change import way_live
from .index_check import IndexCheck, check_index
from .index_growth import Grown, grow, retrain, retrain_due
from .index_loading import FLOOR_FOLDER, LoadedIndex, embed, index_of, load_index, unchanged
from .index_measurement import IndexBench, ask, bench, build_chosen
from .loading import over_catalog, ready_model, spoke_ref
from .models import prepare
from .releases import promote as promote_release

if TYPE_CHECKING:
    from ..arrays import IntArray
    from ..spokes.spoke import Spoke
    from .context import Context
    from .datasets import Dataset

AS_IT_COMES = IndexRequest()


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
    kind: str | None = None  # None in a dry run; what was measured, too
    why: str | None = None  # what the choice of the kind rests on
    recall: float | None = None  # recall@10
    p50_ms: float | None = None
    p99_ms: float | None = None
    bytes_per_vector: float | None = None
    next: str | None = None  # the command that lets it serve; None where it does


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
    retrained: str | None = None  # why its structure was trained anew; None where it was not
    next: str | None = None  # the command that lets it serve; None where it does


@dataclass(frozen=True)
class IndexRemoval(Record):
    """An index without some of its items."""

    ref: str | None  # the new version, or the one that lacks them already; None in a dry run
    base: str  # index that they were taken out of
    cached: bool
    removed: int
    kept: int
    retrained: str | None = None  # why its structure was trained anew; None where it was not
    next: str | None = None  # the command that lets it serve; None where it does


@dataclass(frozen=True)
class IndexRefresh(Record):
    """The index of what serves a category brought up to date: to the newest catalog, and trained anew where due."""

    addition: IndexAddition
    release: str | None  # release that it serves in from now on; None where it was not promoted


@dataclass(frozen=True)
class _Filled:
    """What an index was filled by, and over which catalog."""

    spoke: Spoke
    model: ModelRecord
    dataset: Dataset


@checked
class Indexes:
    """The noun `index`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self, domain: str | None = None) -> list[IndexRecord]:
        """Every index version, oldest first, of one domain if asked."""
        return self._context.registry.indexes.list(domain)

    def show(self, ref: str) -> IndexRecord:
        """The index that answers for a reference, with what was measured of it."""
        return index_of(self._context, ref)

    def build(
        self,
        ref: str,
        domain: str | None = None,
        items: str | None = None,
        request: IndexRequest = AS_IT_COMES,
        force: bool = False,
        dry_run: bool = False,
    ) -> IndexResult:
        """Embed a catalog, build its index and measure it; the same model, catalog and request give the same again.

        `ref` is a spoke version, or a hub version together with `domain`; `items` an item snapshot, by default the
        newest. Items that no spoke has seen are embedded from their content. QualityGateError where the index, or for
        the kind `auto` every kind, misses what is requested.
        """
        from ..retrieval.base import ItemIndex
        from .datasets import load_dataset

        started = time.perf_counter()
        model = self._model(ref, domain)
        name = str(model.domain or domain)
        dataset = load_dataset(self._context, name, items=items, with_events=False)
        item_ids = dataset.items["item_id"].to_list()
        identity = _identity(model, dataset, request)
        record = None if force else self._context.registry.indexes.find(name, identity)
        cached = record is not None
        if record is None and dry_run:
            return IndexResult(None, False, model.ref, dataset.item_snapshot.ref, len(item_ids), None, 0.0)
        if record is None:
            # Two builds at once would embed the same catalog twice and leave two versions.
            with self._context.lock(f"index {name}"):
                prepare(self._context)
                spoke, encoded = over_catalog(self._context, model, dataset)
                vectors = spoke.embed_items(item_ids, encoded, dataset.items)  # (N, D)
                flat = ItemIndex.build(vectors, item_ids, spoke.space_fingerprint)
                asked = ask(self._context, spoke, dataset, item_ids, flat.vectors())
                made = Grown(*build_chosen(flat, asked, request), retrained=None)
                record = self._store(made, _Filled(spoke, model, dataset), identity, started)
        return replace(_result(record, cached, started), next=way_live(self._context, record.ref))

    def add(self, ref: str, items: str | None = None, model: str | None = None, dry_run: bool = False) -> IndexAddition:
        """A new version of an index over a newer catalog: only items that are new or changed are embedded.

        `ref` is the index, or what it answers for (a domain, release or spoke); `items` an item snapshot, by default
        the newest; `model` what embeds the items, by default what filled the index. Items that left the catalog leave
        the index, and what serves changes only with `promote`. A structure is kept until it is worth training anew.
        """
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
        ids, old_rows = self._taken_over(loaded, dataset)
        new = np.flatnonzero(old_rows < 0)
        gone = len(set(loaded.index.item_ids).difference(ids))
        counts: dict[str, Any] = {"added": len(new), "kept": len(ids) - len(new), "removed": gone, "seconds": 0.0}

        identity = fingerprint({"index": base.artifact, "items": dataset.item_snapshot.content_hash})
        known = self._context.registry.indexes.find(base.domain, identity)
        if known is None and not len(new) and not gone and dataset.item_snapshot.ref == base.items:
            known = base
        if known is not None or dry_run:
            there = known.ref if known else None
            return IndexAddition(there, base.ref, known is not None, **counts, next=way_live(self._context, there))
        with self._context.lock(f"index {base.domain}"):
            vectors = np.empty((len(ids), loaded.index.dimension), np.float32)
            vectors[old_rows >= 0] = loaded.index.vectors()[old_rows[old_rows >= 0]]
            vectors[new] = embed(self._context, loaded, dataset, new)
            asked = ask(self._context, loaded.spoke, dataset, ids, vectors)
            grown = grow(loaded.index, base.config, vectors, ids, old_rows, asked)
            made = self._store_from(loaded, grown, dataset, identity, started, "items added to it")
        counts["seconds"] = round(time.perf_counter() - started, 2)
        step = way_live(self._context, made.ref)
        return IndexAddition(made.ref, base.ref, False, retrained=grown.retrained, **counts, next=step)

    def _taken_over(self, loaded: LoadedIndex, dataset: Dataset) -> tuple[Sequence[str], IntArray]:
        """The ids of a catalog, and (N,) rows of an index that say the same of these items, -1 where there is none."""
        from .datasets import load_dataset

        record = loaded.record
        old = load_dataset(self._context, record.domain, items=record.items, with_events=False)
        ids, same = dataset.items["item_id"].to_list(), unchanged(old, dataset, loaded.spoke)
        row_of = {item: row for row, item in enumerate(loaded.index.item_ids)}  # what was removed is embedded again
        return ids, np.array([row_of.get(item, -1) if item in same else -1 for item in ids], dtype=np.int64)

    def remove(self, ref: str, items: Sequence[str], dry_run: bool = False) -> IndexRemoval:
        """A new version of an index without some items, until a catalog that holds them is added again.

        `ref` is as in `add`. What is to stay out whatever catalogs say is hidden by rules.
        """
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
        if known is not None or dry_run:
            there = known.ref if known else None
            step = way_live(self._context, there)
            return IndexRemoval(there, base.ref, known is not None, len(gone), len(rows), next=step)
        with self._context.lock(f"index {base.domain}"):
            dataset = load_dataset(self._context, base.domain, items=base.items, with_events=False)
            ids, vectors = [loaded.index.item_ids[row] for row in rows.tolist()], loaded.index.vectors()[rows]
            asked = ask(self._context, loaded.spoke, dataset, ids, vectors)
            smaller = grow(loaded.index, base.config, vectors, ids, rows, asked)
            made = self._store_from(loaded, smaller, dataset, identity, started, "items removed from it")
        step = way_live(self._context, made.ref)
        return IndexRemoval(made.ref, base.ref, False, len(gone), len(rows), smaller.retrained, step)

    def refresh(self, domain: str, promote: bool = False, dry_run: bool = False) -> IndexRefresh:
        """Bring the index of what serves a category up to its newest catalog, and train it anew where that is due.

        `promote` lets the new version serve; where the category's gate refuses it, that is a QualityGateError.
        """
        base = index_of(self._context, domain)
        found = self.add(base.ref, dry_run=dry_run)
        if found.ref == base.ref and not dry_run:
            found = self._retrained(base, found)
        if not promote or found.ref in (None, base.ref):
            return IndexRefresh(found, None)
        moved = promote_release(self._context, str(found.ref), reason="index refresh")
        return IndexRefresh(replace(found, next=None), moved.after)

    def _retrained(self, base: IndexRecord, found: IndexAddition) -> IndexAddition:
        """An index that covers its catalog already, trained anew where the newest sessions find too little in it."""
        from .datasets import load_dataset

        started = time.perf_counter()
        loaded = load_index(self._context, base)
        if not loaded.index.index.state:
            return found
        dataset = load_dataset(self._context, base.domain, items=base.items, with_events=False)
        asked = ask(self._context, loaded.spoke, dataset, loaded.index.item_ids, loaded.index.vectors())
        request = IndexRequest.model_validate({**base.config.get("requested", {}), "kind": loaded.index.index.kind})
        measured, trained = asked.sample.measured(loaded.index), base.config.get("trained", {})
        why = retrain_due(loaded.index.index.state, trained, measured, request)
        if why is None:
            return found
        with self._context.lock(f"index {base.domain}"):
            made = retrain(loaded.index, request, asked, why)
            if not loaded.index.index.state["growth"] and made.config["measured"]["recall"] <= measured.recall:
                return found  # what was trained over the same vectors is no better for being trained again
            identity = fingerprint({"index": base.artifact, "trained": made.config["measured"]})
            record = self._store_from(loaded, made, dataset, identity, started, "trained anew")
        seconds = round(time.perf_counter() - started, 2)
        step = way_live(self._context, record.ref)
        return IndexAddition(record.ref, base.ref, False, 0, base.n_items, 0, seconds, why, step)

    def bench(self, ref: str, request: IndexRequest = AS_IT_COMES) -> IndexBench:
        """Build and measure every kind over the vectors of an index; nothing is stored."""
        return bench(self._context, ref, request)

    def check(self, ref: str) -> IndexCheck:
        """Inspect an index: checksums, sizes, finite vectors, the embedding space, and items embedded once more."""
        return check_index(self._context, ref)

    def _model(self, ref: str, domain: str | None) -> ModelRecord:
        node = self._context.registry.resolve(ref)
        if node.kind == "hub":
            if domain is None:
                raise UsageError(f"{ref} is a hub and serves any category; name one with --domain NAME.")
            return ready_model(self._context, node.ref, ModelKind.HUB)
        return ready_model(self._context, spoke_ref(self._context, ref), ModelKind.SPOKE)

    def _store_from(
        self, loaded: LoadedIndex, made: Grown, dataset: Dataset, identity: str, started: float, how: str
    ) -> IndexRecord:
        """Register an index that came from another one."""
        filled = _Filled(loaded.spoke, self._context.registry.models.get(loaded.record.model), dataset)
        parent = Parent(loaded.record.ref, Relation.BUILT_FROM, "vectors", how)
        return self._store(made, filled, identity, started, [parent])

    def _store(
        self, made: Grown, filled: _Filled, identity: str, started: float, parents: Sequence[Parent] = ()
    ) -> IndexRecord:
        from ..retrieval.base import METRIC

        index = made.index
        with self._context.stage() as staged:
            index.save(staged)
            if filled.model.kind == ModelKind.HUB:
                (staged / FLOOR_FOLDER).mkdir()
                filled.spoke.save(staged / FLOOR_FOLDER)
            artifact = self._context.commit(staged, "index")
        new = NewIndex(
            filled.dataset.domain.name,
            filled.model.ref,
            filled.dataset.item_snapshot.ref,
            fingerprint=identity,
            space_fingerprint=filled.spoke.space_fingerprint,
            factory=index.index.kind,
            dimension=index.dimension,
            metric=METRIC,
            n_items=len(index),
            artifact=artifact,
            seconds=round(time.perf_counter() - started, 3),
            parents=parents,
            config=made.config,
        )
        return self._context.registry.indexes.add(new)


def _identity(model: ModelRecord, dataset: Dataset, request: IndexRequest) -> str:
    """What an index is made from: equal ones are made once."""
    # The moment of training counts beside the artifact: one trained again with --force may hold the same bytes, and
    # needs an index of its own to be promoted with. The version's number may be another in another registry.
    made_from = {"model": [model.artifact, model.started_at], "items": dataset.item_snapshot.content_hash}
    return fingerprint(made_from if request == AS_IT_COMES else {**made_from, "request": request.model_dump()})


def _result(record: IndexRecord, cached: bool, started: float) -> IndexResult:
    measured = record.config.get("measured", {})
    return IndexResult(
        record.ref,
        cached,
        record.model,
        record.items,
        record.n_items,
        record.dimension,
        seconds=round(time.perf_counter() - started, 2),
        kind=record.factory.lower(),
        why=record.config.get("why"),
        recall=measured.get("recall"),
        p50_ms=measured.get("p50_ms"),
        p99_ms=measured.get("p99_ms"),
        bytes_per_vector=measured.get("bytes_per_vector"),
    )
