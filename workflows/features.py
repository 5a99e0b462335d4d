"""Item features of a spoke: the vocabulary of its catalog, and statistics of the events that its training may see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .datasets import drop_unknown_items, read_table, time_kind

if TYPE_CHECKING:
    from ..catalog.sequences import Sequences
    from ..spokes.config import SpokeConfig
    from ..spokes.features import ItemFeatures
    from ..spokes.statistics import ItemStatistics, StatisticsConfig
    from .datasets import Dataset
    from .workspace import Workspace


def fit_features(
    ws: Workspace, dataset: Dataset, config: SpokeConfig, seen: Sequences, until: int | None
) -> ItemFeatures:
    """What the config asks for.

    Args:
        ws: the workspace.
        dataset: catalog and events.
        config: of the spoke.
        seen: the sequences that it is trained on.
        until: microseconds UTC of a split in time; nothing from there on counts.
    """
    from ..spokes.attributes import fit_vocabulary
    from ..spokes.features import ItemFeatures

    return ItemFeatures(
        vocabulary=fit_vocabulary(dataset.items, config.attributes) if config.attributes else None,
        statistics=_statistics(ws, dataset, config.statistics, seen, until) if config.statistics else None,
    )


def _statistics(
    ws: Workspace, dataset: Dataset, config: StatisticsConfig, seen: Sequences, until: int | None
) -> ItemStatistics | None:
    from ..spokes.statistics import counted_events, fit_statistics

    if dataset.event_snapshot is None:
        return None
    item_ids = dataset.items["item_id"]
    events, _ = drop_unknown_items(read_table(ws, dataset.event_snapshot), item_ids)
    counted = counted_events(events, item_ids, dataset.sequences, seen, until)
    return fit_statistics(counted, config, recency=time_kind(dataset.event_snapshot) != "order")
