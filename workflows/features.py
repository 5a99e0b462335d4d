"""Item features of a spoke: the vocabulary of its catalog, and statistics of the events that its training may see."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING

from .datasets import event_ranges, time_kind

if TYPE_CHECKING:
    import polars as pl

    from ..catalog.sequences import Sequences, SequenceSource
    from ..spokes.config import SpokeConfig, StatisticsConfig
    from ..spokes.features.items import ItemFeatures
    from ..spokes.features.statistics import ItemStatistics
    from .context import Context
    from .datasets import Dataset


def fit_features(
    context: Context,
    dataset: Dataset,
    config: SpokeConfig,
    seen: SequenceSource,
    until: int | None,
    parent: ItemFeatures | None = None,
) -> ItemFeatures:
    """What the config asks for.

    Args:
        context: the workspace.
        dataset: catalog and events.
        config: of the spoke.
        seen: the sequences that it is trained on.
        until: microseconds UTC of a split in time; nothing from there on counts.
        parent: of the version whose weights are trained on: its vocabulary is kept and its columns are counted again,
            so that the weights still mean what they did.
    """
    from ..spokes.features.attributes import fit_vocabulary
    from ..spokes.features.items import ItemFeatures

    kept = parent or ItemFeatures()
    columns = kept.statistics.columns if kept.statistics else None
    vocabulary = kept.vocabulary
    if vocabulary is None and config.attributes:
        vocabulary = fit_vocabulary(dataset.items, config.attributes)
    return ItemFeatures(
        vocabulary=vocabulary if config.attributes else None,
        statistics=_statistics(context, dataset, config.statistics, seen, until, columns)
        if config.statistics
        else None,
    )


def _statistics(
    context: Context,
    dataset: Dataset,
    config: StatisticsConfig,
    seen: SequenceSource,
    until: int | None,
    columns: tuple[str, ...] | None,
) -> ItemStatistics | None:
    from ..spokes.features.statistics import statistics_of

    if dataset.event_snapshot is None:
        return None
    counts = _event_counts(context, dataset, seen, until, config.folds)
    recency = time_kind(dataset.event_snapshot) != "order"
    return statistics_of(counts, recency=recency, columns=columns)


def _event_counts(
    context: Context, dataset: Dataset, seen: SequenceSource, until: int | None, folds: int
) -> list[pl.DataFrame]:
    """What training may count, fold by fold of the users."""
    from ..catalog.streams import SequenceStream
    from ..spokes.features.statistics import add_counts, count_folds, counted_events

    item_ids = dataset.items["item_id"]

    def counted(events: pl.DataFrame, whole: Sequences) -> list[pl.DataFrame]:
        kept = seen.kept_of(whole) if isinstance(seen, SequenceStream) else seen.shard(0)
        return count_folds(counted_events(events, item_ids, whole, kept, until), folds)

    ranges = (counted(events, whole) for events, whole in event_ranges(context, dataset))
    return reduce(lambda all_, own: [*map(add_counts, all_, own)], ranges)
