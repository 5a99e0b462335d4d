"""What a category is served as its events come in, beside what else could serve it then.

For each number of events, whole shoppers are drawn until they have that many; a spoke is trained with its defaults, and
measured on each one's last event beside popularity, item-to-item CF, ALS, IDs from scratch and the hub alone. Without
events the hub alone serves. Prints a Markdown table and writes the same as JSON.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import hubspoke
import numpy as np
import polars as pl
from hubspoke.commands.progress import make_progress
from hubspoke.evaluation.protocols import Protocol

from benchmarks.categories import add_common, category
from benchmarks.launch_floor import machine, publish, versions

EVENTS = (1_000, 5_000, 20_000)
BASELINES = ("popularity", "item-cf", "als")
HUB: Mapping[str, Any] = {"contrastive": {"steps": 0}}
SPOKE: Mapping[str, Any] = {}
IDS: Mapping[str, Any] = {"content": []}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every number of events under both policies."""
    name, folder = arguments.category
    events = pl.read_parquet(folder / "interactions.parquet", glob=False)
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="hubspoke-benchmark-") as made,
        hubspoke.open(
            create=True, progress=make_progress(arguments.quiet), workspace=made, device=arguments.device
        ) as ws,
    ):
        hub = {**HUB, "image": None} if arguments.no_images else HUB
        alone = str(ws.hub.train(domains=[], config=hub).ref)
        for count in arguments.events:
            own, file = f"{name}_{count}", Path(made) / f"{count}.parquet"
            shoppers(events, count, arguments.seed).write_parquet(file)
            pictures = {"images": str(folder)} if (folder / "images").is_dir() else {}
            ws.domain.add(own, str(folder / "items.parquet"), str(file), **pictures)
            spoke = str(ws.spoke.train(own, config={**SPOKE}).ref)
            ids = str(ws.spoke.train(own, config={**SPOKE, **IDS}).ref)
            for exclude in (False, True):
                protocol = Protocol(exclude_seen=exclude)
                found = ws.evaluate.compare(
                    own, [spoke, ids, *BASELINES, alone], protocol=protocol, record=False
                ).to_dict()
                names = {spoke: "spoke", ids: "ids", alone: "hub"}
                rows += [
                    {**row, "model": names.get(row["model"], row["model"]), "events": count, "excluded": exclude}
                    for row in found["rows"]
                    if row["metric"] == "ndcg@10" and row["slice"] in ("all", "cold")
                ]
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "category": name,
        "rows": rows,
        "machine": machine(arguments.device),
        "versions": versions(),
    }


def shoppers(events: pl.DataFrame, count: int, seed: int) -> pl.DataFrame:
    """The events of shoppers who are drawn until they have `count` events together."""
    lengths = events.group_by("user_id").len().sort("user_id")
    order = np.random.default_rng(seed).permutation(lengths.height)
    drawn = lengths[order.tolist()]
    kept = drawn.filter(pl.col("len").cum_sum().shift(1, fill_value=0) < count)
    return events.join(kept.select("user_id"), on="user_id", how="semi", maintain_order="left")


def markdown(report: Mapping[str, Any]) -> str:
    """One table per policy and slice, with what is clearly ahead of the spoke in bold."""
    lines = []
    for excluded in (False, True):
        for part in ("all", "cold"):
            own = [row for row in report["rows"] if row["excluded"] == excluded and row["slice"] == part]
            if own:
                lines += ["", f"Seen items {'excluded' if excluded else 'ranked'}, {part} targets:", "", *_table(own)]
    return "\n".join(lines[1:])


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    systems = ("spoke", "ids", *BASELINES, "hub")
    lines = [f"| events | {' | '.join(systems)} |", f"|---|{'---|' * len(systems)}"]
    for count in dict.fromkeys(row["events"] for row in rows):
        by_model = {row["model"]: row for row in rows if row["events"] == count}
        cells = []
        for system in systems:
            row = by_model[system]
            ahead = system != "spoke" and (row["difference_low"] or 0) > 0
            told = f"{row['value']:.4f}"
            cells.append(f"**{told}**" if ahead else told)
        lines.append(f"| {count:,} | {' | '.join(cells)} |")
    return lines


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("category", type=category, metavar="NAME=FOLDER")
    parser.add_argument(
        "--events", type=lambda text: [int(own) for own in text.split(",")], default=EVENTS, metavar="A,B,C"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--no-images", action="store_true", help="leave pictures out")
    add_common(parser)
    arguments = parser.parse_args(argv)
    publish(partial(measure, arguments), markdown, arguments.out)


if __name__ == "__main__":
    main()
