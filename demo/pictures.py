"""The demo's second half: a simulated category with pictures, launched with text, with pictures, and with both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..evaluation.bootstrap import Estimate, paired_difference
from ..evaluation.evaluate import evaluate
from ..evaluation.protocols import Protocol, leave_one_out
from ..results import Record
from ..workflows.answers import Recommendations
from ..workflows.datasets import load_dataset
from ..workflows.loading import encode_items, load_hub
from ..workflows.recommendations import Recommender
from ..workflows.workspace import Workspace
from .simulation import CategoryName, MarketplaceSettings, simulate_marketplace

CATEGORIES: tuple[CategoryName, ...] = ("lamps", "mugs", "rugs")
LAUNCHED = "mugs"


@dataclass(frozen=True)
class ModalityRow:
    """Quality of the zero-shot recommender, or of a spoke, that reads some modalities only."""

    system: str
    ndcg: Estimate
    hit_rate: Estimate
    difference: Estimate | None


@dataclass(frozen=True)
class PictureLaunch(Record):
    """What the launch with pictures found: text alone, pictures alone, both; `examples` are similar items by both."""

    domain: str
    rows: Sequence[ModalityRow]
    protocol: str
    n_users: int
    examples: Sequence[Recommendations]
    image_root: Path


def launch_with_pictures(
    ws: Workspace,
    items_per_category: int,
    echo: Callable[[str], None],
    step: Callable[..., None],
    hub_config: Mapping[str, Any] | None = None,
) -> PictureLaunch:
    """Simulate a marketplace, launch one of its categories with pictures on day zero, and take modalities away.

    `echo` receives the story, `step` each step of it: text, whether it was cached, seconds.
    """
    echo(f"7. Pictures: simulated {LAUNCHED}, whose colour is only in the picture and material only in the text")
    folder = ws.settings.workspace / "simulated" / str(items_per_category)
    settings = MarketplaceSettings(categories=CATEGORIES, items_per_category=items_per_category)
    files = simulate_marketplace(settings, folder)
    hub = ws.hub.train(domains=[], config=hub_config)
    step(f"{hub.ref}: text and image encoders, nothing trained", hub.cached, hub.seconds)
    own = files[LAUNCHED]
    launched = ws.launch(LAUNCHED, own.items, hub=hub.ref, images=own.items.parent)
    cached = all(row["cached"] for row in launched.steps if row["step"] in ("snapshot of items", "index"))
    step(f"{launched.release}: live {launched.seconds:.1f} s after `launch`", cached)
    ws.data.ingest(LAUNCHED, events=own.events)
    rows, protocol, n_users = _compare_modalities(ws, str(hub.ref))
    for row in rows:
        echo(f"    {row.system:<16} NDCG@10 {row.ndcg.value:.4f} [{row.ndcg.low:.4f}, {row.ndcg.high:.4f}]")
    echo(f"    {protocol}; {n_users} simulated shoppers")
    recommender = Recommender(ws, LAUNCHED)
    ids = recommender.item_ids
    examples = [recommender.similar(item, k=6) for item in ids[:: max(1, len(ids) // 3)][:3]]
    return PictureLaunch(LAUNCHED, rows, protocol, n_users, examples, own.items.parent)


def _compare_modalities(ws: Workspace, hub_ref: str) -> tuple[list[ModalityRow], str, int]:
    from ..hub.content import fit_content_space
    from ..spokes.spoke import launch_floor

    dataset = load_dataset(ws, LAUNCHED)
    hub, _ = load_hub(ws, hub_ref)
    encoded = encode_items(ws, hub, dataset)
    users = leave_one_out(dataset.sequences, settings=Protocol(exclude_seen=True))
    ids = dataset.items["item_id"].to_list()
    rows: list[ModalityRow] = []
    both = None  # NDCG@10 of every user, by the one that reads both
    for system, own in (
        ("picture + text", encoded),
        ("text alone", encoded.without("image")),
        ("picture alone", encoded.without("text")),
    ):
        floor = launch_floor(hub, fit_content_space(hub.fusion.fuse(own), hub.config))
        scorer = floor.recommender(system, floor.embed_items(ids, own), exclude_seen=True)
        found = evaluate(scorer.score, users)["all"]
        ndcg = found.metrics["ndcg@10"]
        lost = None if both is None else paired_difference(both, ndcg)
        rows.append(ModalityRow(system, found.estimate("ndcg@10"), found.estimate("hr@10"), lost))
        both = ndcg if both is None else both
    return rows, users.protocol.describe(), len(users)
