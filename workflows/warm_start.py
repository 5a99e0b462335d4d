"""Trainings that go on from an earlier version: what it has seen of the events, and what is new to it.

Promise: no version that has seen an event which a split tests on is gone on from, and no version is chosen on an event
that an ancestor of it was trained on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from ..arrays import BoolArray
from ..catalog.sequences import Sequences
from ..catalog.streams import SequenceSource
from ..errors import InvalidDataError, NotFoundError, UsageError
from ..hub.content import ContentSpace
from ..registry.kinds import Relation
from ..registry.records import EdgeRecord, ModelRecord
from ..spokes.config import SpokeConfig
from ..spokes.training.splits import Split, SplitSettings, split, split_masks
from ..spokes.training.warm_start import Common, LoadedParent, require_same_shapes
from .context import Context
from .datasets import Dataset, load_dataset, read_table
from .loading import over_catalog

# A calibration serves a catalog of up to so many times the items that it was fitted on.
OUTGROWN = 2


@dataclass(frozen=True)
class WarmStart:
    """An earlier version that a training goes on from, held against what the training's split keeps out."""

    record: ModelRecord
    split: Split  # users whose validation event the version has been trained on are not chosen on
    events: tuple[SequenceSource, SequenceSource]  # what is trained on, before and after a refit
    seen: Sequences  # of the dataset, what the version or one that it goes back on was trained on
    common: Common
    items: frozenset[str]  # of the catalog that it was trained on; another domain's ids mean other products, so none
    new_events: int  # of those before a refit, events that it has not been trained on
    left_out: int  # users that are not chosen on
    newest: int | None  # microseconds UTC of the newest event that it may have seen; None for another domain's version


def warm_start(
    context: Context,
    record: ModelRecord,
    hub: str | None,
    on: str,
    dataset: Dataset,
    settings: SplitSettings,
    config: SpokeConfig,
) -> WarmStart:
    """Hold a version against a training's config, hub and split, event by event."""
    ours, theirs = (context.registry.models.get(hub) if hub else None, context.registry.models.hub_of(record.ref))
    same_hub = ours is not None and ours.space_fingerprint == theirs.space_fingerprint
    common = Common(same_hub, same_domain=record.domain == dataset.domain.name)
    require_same_shapes(config, SpokeConfig.from_stored(record.config), record.ref, common)
    if dataset.stream is not None:
        raise UsageError(
            f"{dataset.stream.n_events:,} events are read in shards, and a parent is held against events in memory; "
            "raise training.stream_above beyond the rows of the event table, or train without a parent."
        )
    sequences = dataset.sequences
    train, refit = split_masks(sequences, settings)
    edges = context.registry.lineage.upstream(record.ref).edges
    trained, known = _seen(context, record, edges, dataset)
    if seen := int((known & ~refit).sum()):
        about = record.summary.get("split", {})
        how = f"--split {about.get('name')}{' --refit' if about.get('refit') else ''}"
        raise UsageError(
            f"{record.ref} ({how}), or a version that it goes back on, has seen {seen} of the events that this split "
            f"keeps for the test; go on from one trained with --split {settings.name} on this data, or train with "
            "--split all."
        )
    validated = np.repeat(sequences.users, sequences.lengths)[trained & refit & ~train]
    users = frozenset(sequences.user_ids[user] for user in np.unique(validated))
    parts = split(sequences, settings, config, leave_out=users)
    if not len(parts.validation.users):
        raise UsageError(
            f"{record.ref} has been trained on the event that each of the {len(users)} users of this split would be "
            "validated on; ingest newer events, or go on from a version trained without --refit."
        )
    events = (parts.train, parts.refit)
    if on == "new":
        reach = config.transformer.max_length
        events = new_sequences(sequences, train, trained, reach), new_sequences(sequences, refit, trained, reach)
        if not (events[0].length_counts()[0] >= 2).any():
            raise InvalidDataError(
                f"{record.ref} has been trained on all of the {int(train.sum())} events that this split lets it see, "
                "or on all that follow another; ingest newer events, or train with --on all."
            )
    items = frozenset[str]()
    if common.same_domain:
        catalog = _snapshots(record, edges).get("items")
        if catalog is None:
            raise NotFoundError(f"{record.ref} records no items that it was trained on; train it again with --force.")
        items = frozenset(read_table(context, context.registry.snapshots.get(catalog))["item_id"])
    newest = record.summary.get("training_end") if common.same_domain else None
    seen_events = sequences.keep_events(trained)
    new = int((train & ~trained).sum())
    return WarmStart(record, parts, events, seen_events, common, items, new, len(users), newest)


def load_parent(context: Context, start: WarmStart, dataset: Dataset) -> LoadedParent:
    """The earlier version on its own hub, over the training's catalog."""
    spoke, encoded = over_catalog(context, start.record, dataset)
    if spoke.behaviour is None:
        raise UsageError(f"{start.record.ref} has no behaviour that could be trained on; train without a parent.")
    catalog = (dataset.items["item_id"].to_list(), encoded, dataset.items)
    vectors = spoke.embed_items(*catalog)
    return LoadedParent(spoke, spoke.behaviour, spoke.behaviour.inputs(*catalog), vectors, start.common)


def calibrated_items(start: WarmStart) -> int:
    """Items of the catalog that the version's calibration was fitted on."""
    about = start.record.summary.get("warm_start", {})
    return int(about.get("calibrated_items") or len(start.items))


def kept_calibration(
    start: WarmStart, parent: LoadedParent, config: SpokeConfig, own: ContentSpace, items: int
) -> ContentSpace | None:
    """The parent's calibration, where it serves a catalog of so many items that would be calibrated as `own`.

    So content stays where it was. Of another hub or domain it means nothing, and a catalog that has outgrown it, or
    has come to pictures, is calibrated anew.
    """
    common, kept = start.common, parent.spoke.space
    fits = config.stability.keep_calibration and common.same_domain and [*kept.columns] == [*own.columns]
    fits &= common.same_hub and parent.behaviour.config.hub_fusion == config.hub_fusion
    return kept if fits and items <= OUTGROWN * calibrated_items(start) else None


def new_sequences(sequences: Sequences, visible: BoolArray, seen: BoolArray, reach: int) -> Sequences:
    """Of the visible sequences those with events that were not seen: from `reach` events before the first on."""
    kept, new = sequences.keep_events(visible), ~seen[visible]
    owner, place = np.repeat(np.arange(len(kept)), kept.lengths), np.arange(len(new))
    first = np.full(len(kept), len(new) + reach)
    np.minimum.at(first, owner[new], place[new])
    return kept.keep_events(place >= first[owner] - reach)


def _seen(
    context: Context, record: ModelRecord, edges: Collection[EdgeRecord], dataset: Dataset
) -> tuple[BoolArray, BoolArray]:
    """Of a dataset's events those that a version and all that it goes back on were trained on, or chosen on too.

    Compared event by event, from the snapshots and splits that their records name; `edges` are the version's lineage.
    A version of another domain has seen none.
    """
    events = _keys(dataset)
    trained = np.zeros(events.height, np.bool_)
    known = trained.copy()
    parents = {edge.child: edge.parent for edge in edges if edge.relation == Relation.WARM_STARTED_FROM}
    ref: str | None = record.ref
    while ref is not None:
        ancestor = context.registry.models.get(ref)
        if ancestor.domain == dataset.domain.name:
            own_trained, own_known = _seen_keys(context, ancestor, _snapshots(ancestor, edges))
            trained |= _among(events, own_trained)
            known |= _among(events, own_known)
        ref = parents.get(ref)
    return trained, known


def _seen_keys(
    context: Context, record: ModelRecord, snapshots: Mapping[str, str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The events that one version was trained on, and those that it was trained or chosen on."""
    dataset = load_dataset(context, str(record.domain), items=snapshots.get("items"), events=snapshots.get("events"))
    keys, about = _keys(dataset), record.summary.get("split", {})
    test_from = about.get("test_from")
    settings = SplitSettings(about.get("name", "all"), datetime.fromisoformat(test_from) if test_from else None)
    train, refit = split_masks(dataset.sequences, settings)
    trained = refit if about.get("refit") else train
    if int(trained.sum()) != record.summary.get("training_events"):
        # Sessions are cut in another way by now: nobody can tell what it saw, so it has seen all there was.
        return keys, keys
    return keys.filter(pl.Series(trained)), keys.filter(pl.Series(refit))


def _snapshots(record: ModelRecord, edges: Collection[EdgeRecord]) -> dict[str, str]:
    """The snapshots that a version was trained on, by kind."""
    own = [edge for edge in edges if edge.child == record.ref and edge.relation == Relation.TRAINED_ON]
    return {edge.part: edge.parent for edge in own if edge.part}


def _keys(dataset: Dataset) -> pl.DataFrame:
    """What tells each event of a dataset from all others, in its order, whatever snapshot it is read from."""
    sequences = dataset.sequences
    users = np.repeat(sequences.users, sequences.lengths)
    events = pl.DataFrame(
        {
            "user": pl.Series(sequences.user_ids, dtype=pl.String).gather(users),
            "item": dataset.items["item_id"].gather(sequences.items),
            "at": sequences.timestamps,
        }
    )
    # Where times are coarse a user may meet an item twice at one moment.
    return events.with_columns(nth=pl.int_range(pl.len()).over("user", "item", "at"))


def _among(events: pl.DataFrame, keys: pl.DataFrame) -> BoolArray:
    """(E,) which events are among the keys."""
    found = events.join(keys.with_columns(found=True), on=events.columns, how="left", maintain_order="left")["found"]
    return np.asarray(found.fill_null(False).to_numpy(), dtype=np.bool_)
