"""What training the encoders is worth to categories that the training has not seen: one at a time is held out.

For each target and each way of training, the last layers of the encoders are trained on all other categories, and every
share of the training is judged zero-shot on the target's validation events against the packaged encoders, by the same
shoppers and in the same space: as the hub serves it, or with `--plain` one text block and a fixed recency. Prints a
Markdown table and writes the same as JSON.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hubspoke.hub.config import HubConfig
from hubspoke.hub.devices import seed_everything
from hubspoke.hub.model import Hub
from hubspoke.workflows.datasets import load_dataset
from hubspoke.workflows.hub_stages.base import Category
from hubspoke.workflows.hub_stages.encoders import EncoderStage
from hubspoke.workflows.hub_training import category_of
from hubspoke.workflows.models import prepare

from benchmarks.categories import parser_of, run, workspace
from benchmarks.hub import FLOOR
from benchmarks.launch_floor import machine, versions

WAYS: Mapping[str, Mapping[str, Any]] = {
    "bounded": {"objectives": ["bounded"]},
    "info_nce": {"objectives": ["info_nce"]},
    "views": {"objectives": ["views"]},
    "bounded and views": {"objectives": ["bounded", "views"]},
    "info_nce with all pairs": {"objectives": ["info_nce"], "nearest_share": 1.0, "hard_negatives": 0},
    "all layers": {"text_layers": "all", "rank": None, "learning_rate": 1e-5, "layer_decay": 0.8},
}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every target by every way."""
    rows = []
    with workspace(arguments) as ws:
        prepare(ws)
        for target in arguments.targets or arguments.category:
            datasets = [load_dataset(ws, name) for name in arguments.category]
            known = None
            for way in arguments.ways:
                config = HubConfig.model_validate(_settings(arguments, WAYS[way]))
                seed_everything(config.seed)
                hub = Hub(config, device=arguments.device)
                known = known or [category_of(ws, hub, dataset) for dataset in datasets]
                started = time.perf_counter()
                stage = EncoderStage(ws, hub)
                table = stage.judged(known, target)
                seconds = round(time.perf_counter() - started, 1)
                rows += [{**row, "way": way, "users": judges(known, target), "seconds": seconds} for row in table]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "categories": list(arguments.category),
        "steps": arguments.steps,
        "items": arguments.items,
        "batch": arguments.batch,
        "rate": arguments.rate,
        "space": "one text block, fixed recency" if arguments.plain else "as the hub serves it",
        "protocol": "leave-one-out, validation event, full ranking, seen items filtered where few buy twice",
        "rows": rows,
        "machine": machine(arguments.device),
        "versions": versions(),
    }


def judges(categories: Sequence[Category], target: str) -> int:
    """How many shoppers of the target judge."""
    return sum(len(own.validation.users) for own in categories if own.name == target and own.validation)


def _settings(arguments: argparse.Namespace, way: Mapping[str, Any]) -> dict[str, Any]:
    shape = {**(FLOOR if arguments.plain else {}), **({"image": None} if arguments.no_images else {})}
    size = {"steps": arguments.steps, "items": arguments.items, "batch_size": arguments.batch}
    tried = {"learning_rate": arguments.rate, "interpolations": arguments.shares}
    return {**shape, "encoders": {**size, **tried, **way}}


def shares(text: str) -> list[float]:
    """The numbers of `0.5,1.0`."""
    return [float(part) for part in text.split(",")]


def markdown(report: Mapping[str, Any]) -> str:
    """The table of a report."""
    lines = [
        "| held out | shoppers | training | share kept | NDCG@10 | difference | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        change = "the packaged encoders"
        if row["share"]:
            start = row["ndcg@10"] - row["difference"]
            change = f"{row['difference'] / start:+.1%} [{row['low']:+.4f}, {row['high']:+.4f}]"
        cells = [row["held_out"], f"{row['users']:,}", row["way"], f"{row['share']:g}", f"{row['ndcg@10']:.4f}", change]
        lines.append(f"| {' | '.join([*cells, format(row['seconds'], '.0f')])} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write the report."""
    parser = parser_of(__doc__)
    parser.add_argument("--targets", type=lambda text: text.split(","), metavar="A,B", help="default: every category")
    parser.add_argument("--ways", type=lambda text: text.split(","), default=list(WAYS), metavar="A,B")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--items", type=int, default=3000, help="of each category that are learned from")
    parser.add_argument("--batch", type=int, default=64, help="pairs in a step")
    parser.add_argument("--rate", type=float, default=2e-4, help="learning rate of the LoRA")
    parser.add_argument("--shares", type=shares, default=[0.5, 1.0], metavar="A,B", help="of the training, to be tried")
    parser.add_argument("--plain", action="store_true", help="one text block and a fixed recency")
    parser.add_argument("--no-images", action="store_true", help="leave pictures out")
    run(parser, argv, measure, markdown)


if __name__ == "__main__":
    main()
