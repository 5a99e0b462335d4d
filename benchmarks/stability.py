"""What retraining a category every week does to its vectors and its quality: from scratch, or held to its parent.

A catalog is cut into a base and cycles that bring so many new items each, drawn at random; with every cycle each
shopper's history goes on. In every cycle one spoke is trained by each recipe, from the recipe's own last version, and
ranked for the last event of every shopper by leave-one-out. With `--hub` a hub's fusion goes through the cycles in the
place of a spoke: all of each training is kept, and judged zero-shot on validation, as hubs are. Prints a Markdown table
and writes the same as JSON.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import hubspoke
import numpy as np
import polars as pl
from hubspoke.arrays import DoubleArray, FloatArray, IntArray
from hubspoke.commands.options import read_config
from hubspoke.commands.progress import make_progress
from hubspoke.evaluation.bootstrap import paired_difference
from hubspoke.evaluation.evaluate import evaluate
from hubspoke.evaluation.protocols import Protocol, evaluation_set
from hubspoke.hub.config import HubConfig
from hubspoke.hub.drift import embedding_drift
from hubspoke.hub.model import Hub
from hubspoke.hub.warm_start import take_over
from hubspoke.spokes.regimes import deep_merge
from hubspoke.spokes.spoke import Spoke
from hubspoke.workflows.datasets import Dataset, load_dataset
from hubspoke.workflows.hub_stages.fusion import FusionStage
from hubspoke.workflows.hub_training import category_of
from hubspoke.workflows.hub_warm_start import HubParent
from hubspoke.workflows.loading import over_catalog
from hubspoke.workflows.workspace import Workspace

from benchmarks.launch_floor import machine, publish, seeds, versions

SCRATCH = "from scratch"
# What `stability` is in each recipe; None trains without a parent. The last is the default.
RECIPES: Mapping[str, Mapping[str, Any] | None] = {
    SCRATCH: None,
    "warm start, nothing held": {"anchor": 0.0, "consolidation": 0.0, "keep_calibration": False},
    "calibration kept, items anchored": {"consolidation": 0.0},
    "and weights consolidated": {},
}
# What `contrastive.anchor` is in each recipe of a hub; None trains without a parent, and nothing given is the default.
HUB_RECIPES: Mapping[str, Mapping[str, Any] | None] = {
    SCRATCH: None,
    "warm start, nothing held": {"anchor": 0.0},
    "items anchored": {},
}
# Share of each shopper's history that a cycle brings.
NEW_EVENTS = 0.1
POLICY = Protocol(exclude_seen=True)
METRIC = "ndcg@10"


@dataclass(frozen=True)
class Cycle:
    """One week of a category: its data, and which of its items were there the week before."""

    number: int
    dataset: Dataset
    common: IntArray  # rows


def cycle_tables(
    items: pl.DataFrame, events: pl.DataFrame, cycles: int, growth: float, seed: int
) -> Iterator[tuple[pl.DataFrame, pl.DataFrame]]:
    """The base's items and events, then those of each cycle: `growth` more items, and histories a tenth longer."""
    order = np.random.default_rng(seed).permutation(items.height)
    place = [name for name in ("timestamp", "position") if name in events.columns]
    events = events.sort("user_id", *place, maintain_order=True).with_columns(
        part=(pl.int_range(pl.len()).over("user_id") + 1) / pl.len().over("user_id")
    )
    for left in reversed(range(cycles + 1)):
        known = items[np.sort(order[: round(items.height / (1 + growth) ** left)])]
        on_known = pl.col("item_id").is_in(known["item_id"].implode())
        seen = events.filter(pl.col("part") <= 1 - NEW_EVENTS * left, on_known)
        yield known, seen.drop("part")


def ingested(ws: Workspace, domain: str, tables: Iterator[tuple[pl.DataFrame, pl.DataFrame]]) -> Iterator[Cycle]:
    """Every cycle's data in the workspace; what a run that was killed had brought in is found there."""
    before: list[str] = []
    for number, (items, events) in enumerate(tables):
        if domain not in {own.name for own in ws.domain.list()}:
            ws.domain.add(domain, items, events)
        taken = ws.data.ingest(domain, items=items, events=events)
        assert taken.items is not None and taken.events is not None
        dataset = load_dataset(ws, domain, items=taken.items.ref, events=taken.events.ref)
        yield Cycle(number, dataset, np.flatnonzero(dataset.items["item_id"].is_in(before).to_numpy()))
        before = dataset.items["item_id"].to_list()


def measure_seed(
    ws: Workspace, seed: int, items: pl.DataFrame, events: pl.DataFrame, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """Every recipe through every cycle with one seed, which also draws the cycles."""
    spoke = {**(read_config(arguments.config, ()) or {}).get("spoke", {}), "seed": seed}
    last, rows = dict.fromkeys(RECIPES, ""), []
    for cycle in ingested(ws, f"seed_{seed}", cycle_tables(items, events, arguments.cycles, arguments.growth, seed)):
        for name, stability in RECIPES.items():
            options: dict[str, Any] = {"config": spoke}
            if cycle.number and stability is not None:
                options = {"config": deep_merge(spoke, {"stability": stability}), "parent": last[name]}
            ref = trained(ws, cycle.dataset, **options)
            if cycle.number:
                rows.append({"seed": seed, "recipe": name, **measured(ws, ref, last[name], cycle)})
            last[name] = ref
    return rows


def trained(ws: Workspace, dataset: Dataset, **options: Any) -> str:
    """The spoke of a cycle."""
    assert dataset.event_snapshot is not None
    snapshots = {"items": dataset.item_snapshot.ref, "events": dataset.event_snapshot.ref}
    return str(ws.spoke.train(dataset.domain.name, index=False, **options, **snapshots).ref)


def measured(ws: Workspace, ref: str, parent: str, cycle: Cycle) -> dict[str, Any]:
    """How far a spoke has gone from the one before it, over the items that both know, and how well it ranks."""
    (spoke, ours), (former, theirs) = (vectors_of(ws, own, cycle.dataset) for own in (ref, parent))
    users, summary = evaluation_set(cycle.dataset.sequences, POLICY), ws.spoke.show(ref).summary
    found = evaluate(spoke.recommender(ref, ours, exclude_seen=POLICY.exclude_seen).score, users)
    ours, theirs = ours[cycle.common], theirs[cycle.common]
    return {
        "cycle": cycle.number,
        "spoke": ref,
        "drift": embedding_drift(ours[:, : spoke.width], theirs[:, : former.width]),
        "content": embedding_drift(ours[:, spoke.behaviour_dimension :], theirs[:, former.behaviour_dimension :]),
        "lists": summary.get("drift", {}).get("overlap@10"),
        "validation": summary["validation_ndcg@10"],
        "seconds": summary["seconds"],
        "values": {name: part.metrics[METRIC] for name, part in found.slices.items() if name in ("all", "cold")},
    }


def vectors_of(ws: Workspace, ref: str, dataset: Dataset) -> tuple[Spoke, FloatArray]:
    """A spoke with its vectors of a catalog."""
    spoke, encoded = over_catalog(ws, ws.registry.models.get(ref), dataset)
    return spoke, spoke.embed_items(dataset.items["item_id"].to_list(), encoded, dataset.items)


def measure_hubs(
    ws: Workspace, seed: int, items: pl.DataFrame, events: pl.DataFrame, arguments: argparse.Namespace
) -> list[dict[str, Any]]:
    """A hub's fusion by every recipe through every cycle, all of its training kept."""
    record = ws.hub.show()
    base = {**HubConfig.from_stored(record.config).model_dump(), "seed": seed}
    last: dict[str, HubParent] = {}
    rows = []
    for cycle in ingested(ws, f"seed_{seed}", cycle_tables(items, events, arguments.cycles, arguments.growth, seed)):
        for name, given in HUB_RECIPES.items():
            started, before = time.perf_counter(), last.get(name)
            config = HubConfig.model_validate(deep_merge(base, {"contrastive": given or {}}))
            parent = None if given is None else before
            hub = Hub(config, device="cpu")
            if parent:
                take_over(hub, parent.hub)
            category, stage = category_of(ws, hub, cycle.dataset, parent=parent), FusionStage(ws, hub)
            hub.fusion, _ = stage.train([category], f"{name}, cycle {cycle.number}")
            seconds = time.perf_counter() - started
            if before:
                assert category.validation is not None
                told = before.told(hub, [category], [category])["drift"]  # the encoders are the same in both
                quality = stage.quality(hub.fusion, category, category.validation)
                about = {"cycle": cycle.number, "drift": told[category.name], "seconds": seconds}
                rows.append({"seed": seed, "recipe": name, **about, "values": {"all": quality}})
            known = {category.name: frozenset(cycle.dataset.items["item_id"])}
            last[name] = HubParent(record, hub, known)
    return rows


def pooled(rows: Sequence[Mapping[str, Any]], recipe: str) -> dict[str, Any]:
    """A recipe over all cycles and seeds, with its difference to training from scratch by shopper and cycle."""
    own, scratch = ([row for row in rows if row["recipe"] == name] for name in (recipe, SCRATCH))

    def values(part: Sequence[Mapping[str, Any]], slice_name: str) -> DoubleArray:
        found = [row["values"][slice_name] for row in part if slice_name in row["values"]]
        return np.concatenate([np.zeros(0), *found])

    all_own, cold = values(own, "all"), values(own, "cold")
    return {
        "recipe": recipe,
        "drift": fmean(row["drift"]["distance"] for row in own),
        "highest": max(row["drift"]["distance"] for row in own),
        "neighbours@10": fmean(row["drift"]["neighbours@10"] for row in own),
        "content": fmean(row["content"]["distance"] for row in own) if "content" in own[0] else None,
        METRIC: float(all_own.mean()),
        "difference": vars(paired_difference(all_own, values(scratch, "all"))),
        "cold": float(cold.mean()) if len(cold) else None,
        "minutes": fmean(row["seconds"] for row in own) / 60,
    }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every seed in turn; a workspace that is named is kept, and with it what was trained."""
    items = pl.read_parquet(arguments.data / "items.parquet", glob=False)
    events = pl.read_parquet(arguments.data / "interactions.parquet", glob=False)
    if arguments.users:
        users = events["user_id"].unique().sort().sample(arguments.users, seed=0, shuffle=True)
        events = events.filter(pl.col("user_id").is_in(users.implode()))
    hub = (read_config(arguments.config, ()) or {}).get("hub", {"image": None})
    progress, device = make_progress(arguments.quiet), "cpu"
    with (
        tempfile.TemporaryDirectory(prefix="hubspoke-benchmark-") as folder,
        hubspoke.open(create=True, progress=progress, workspace=arguments.workspace or folder, device=device) as ws,
    ):
        ws.hub.train(domains=[], config=hub)
        through = measure_hubs if arguments.hub else measure_seed
        rows = [row for seed in arguments.seeds for row in through(ws, seed, items, events, arguments)]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "data": {"name": arguments.data.name, "items": items.height, "events": events.height},
        "settings": {name: getattr(arguments, name) for name in ("seeds", "cycles", "growth", "users", "hub")},
        "protocol": "the fusion alone, zero-shot, leave-one-out validation" if arguments.hub else POLICY.describe(),
        "recipes": [pooled(rows, name) for name in (HUB_RECIPES if arguments.hub else RECIPES)],
        "rows": [
            {**row, "values": {name: float(own.mean()) for name, own in row["values"].items() if len(own)}}
            for row in rows
        ],
        "machine": machine(device),
        "versions": versions(),
    }


def markdown(report: Mapping[str, Any]) -> str:
    """A line per recipe over all cycles and seeds, then what stands behind it."""
    asked, data, place = report["settings"], report["data"], report["machine"]
    lines = [
        "| recipe | drift a cycle (highest) | neighbours@10 | drift of content | NDCG@10 | to from scratch | cold "
        "| minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for own in report["recipes"]:
        change = own["difference"]
        cells = [
            own["recipe"],
            f"{own['drift']:.3f} ({own['highest']:.3f})",
            f"{own['neighbours@10']:.2f}",
            "" if own["content"] is None else f"{own['content']:.3f}",
            f"{own[METRIC]:.4f}",
            "" if own["recipe"] == SCRATCH else f"{change['value']:+.4f} [{change['low']:+.4f}, {change['high']:+.4f}]",
            "" if own["cold"] is None else f"{own['cold']:.4f}",
            f"{own['minutes']:.1f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    facts = (
        f"{data['name']}: {data['items']:,} items, {data['events']:,} events"
        f"{' of ' + format(asked['users'], ',') + ' shoppers' if asked['users'] else ''}; {asked['cycles']} cycles of "
        f"{asked['growth']:.0%} new items; seeds {', '.join(map(str, asked['seeds']))}.",
        f"{report['protocol']}; 95 % intervals, paired by shopper and cycle.",
        f"Machine: {place['cpu']}, {place['cores']} cores. Date: {report['date']}.",
    )
    return "\n".join([*lines, "", *(f"- {fact}" for fact in facts)])


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, metavar="FOLDER", help="of items.parquet and interactions.parquet")
    parser.add_argument("--cycles", type=int, default=3, metavar="N")
    parser.add_argument("--growth", type=float, default=0.1, metavar="SHARE", help="new items in a cycle (default: .1)")
    parser.add_argument("--users", type=int, metavar="N", help="draw so many shoppers (default: all)")
    parser.add_argument("--hub", action="store_true", help="train a hub's fusion in the place of spokes")
    parser.add_argument("--seeds", type=seeds, default=[0], metavar="A,B,C", help="(default: 0)")
    parser.add_argument("--workspace", metavar="DIR", help="kept from run to run (default: a temporary one)")
    parser.add_argument("--out", required=True, metavar="FILE", help="where the JSON report goes")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    # For machines without weights and for tests: YAML or JSON with `hub:` and `spoke:` settings.
    parser.add_argument("--config", metavar="FILE", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write the report."""
    arguments = parse(argv)
    publish(partial(measure, arguments), markdown, arguments.out)


if __name__ == "__main__":
    main()
