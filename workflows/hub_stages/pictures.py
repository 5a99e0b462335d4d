"""What texts and pictures are worth in each category of a hub: nothing is trained, it is for the record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...evaluation.bootstrap import paired_difference
from ...hub.content import fit_content_space
from ...hub.model import Hub
from ...hub.reading import fading
from .base import Category, zero_shot


def worth_of_pictures(
    hub: Hub, categories: Sequence[Category]
) -> tuple[dict[str, dict[str, float]], list[dict[str, Any]]]:
    """The agreement and the share of pictures of each category that has texts and pictures; and what each is worth.

    A category's rows are text alone (share 0), the share that serves and pictures alone (1), against the first.
    """
    told: dict[str, dict[str, float]] = {}
    rows: list[dict[str, Any]] = []
    for category in categories:
        fused = hub.fusion.fuse(category.encoded)
        space = fit_content_space(fused, hub.config)
        if space.text is None or space.image is None:
            continue
        share = space.image_share(hub.config)
        told[category.name] = {"image_share": round(share, 3)}
        if space.agreement is not None:
            told[category.name]["agreement"] = round(space.agreement, 3)
        if category.validation is None:
            continue
        recency = hub.config.recency_decay, hub.config.recent_events
        reader, embedded = hub.reading.on(space) if hub.reading else fading(space, *recency), space.embed(fused)
        text = zero_shot(reader, embedded, 0.0, category.validation, filter_seen=True)
        about = {"stage": "pictures", "held_out": category.name}
        rows.append({**about, "share": 0.0, "ndcg@10": float(text.mean()), "difference": 0.0})
        for tried in sorted({share, 1.0} - {0.0}):
            own = zero_shot(reader, embedded, tried, category.validation, filter_seen=True)
            change = paired_difference(own, text)
            found = {"difference": change.value, "low": change.low, "high": change.high}
            rows.append({**about, "share": round(tried, 3), "ndcg@10": float(own.mean()), **found})
    return told, rows
