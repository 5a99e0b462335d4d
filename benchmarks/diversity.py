"""What lists cost and gain that show a product once, near-duplicates once, or are spread out: relevance and repetition.

One spoke on one category, leave-one-out: everything is shown for the validation part, where a default is chosen, and
for the test part, which is only reported. Prints a Markdown table and writes the same as JSON.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import hubspoke
import numpy as np
from hubspoke.arrays import FloatArray, IntArray
from hubspoke.commands.progress import make_progress
from hubspoke.evaluation.bootstrap import mean_interval
from hubspoke.evaluation.protocols import Protocol, evaluation_set
from hubspoke.workflows.datasets import load_dataset
from hubspoke.workflows.diversity import duplicate_groups, first_of_each, passed_over, spread_out
from hubspoke.workflows.evaluations import recommender_of
from hubspoke.workflows.loading import over_catalog

from benchmarks.launch_floor import machine, versions, write

DOMAIN, K, POOL = "category", 10, 200
DIVERSITIES = (0.1, 0.2, 0.3, 0.5)
# Cosines of content from which two products count as near-duplicates: where a list shows one of them, and in a column.
NEAR = (0.98, 0.95, 0.9)
COUNTED = 0.95
COLUMNS = ("hr@10", "ndcg@10", "products in 10 items", "mean cosine distance", "lists with a near-duplicate")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole run in a temporary workspace."""
    with (
        tempfile.TemporaryDirectory(prefix="hubspoke-benchmark-") as folder,
        hubspoke.open(create=True, progress=make_progress(arguments.quiet), workspace=folder) as ws,
    ):
        ws.domain.add(DOMAIN, arguments.items, arguments.events)
        ws.hub.train(domains=[])
        spoke = str(ws.spoke.train(DOMAIN).ref)
        dataset = load_dataset(ws, DOMAIN)
        groups = duplicate_groups(dataset.items)
        loaded, encoded = over_catalog(ws, ws.registry.models.get(spoke), dataset)
        vectors = loaded.embed_items(dataset.items["item_id"].to_list(), encoded, dataset.items)
        content = vectors[:, loaded.behaviour_dimension :]
        rows = []
        for part in ("validation", "test"):
            protocol = Protocol(part=part, exclude_seen=True)
            users = evaluation_set(dataset.sequences, protocol).drawn(arguments.users, 0)
            recommender = recommender_of(ws, spoke, dataset, protocol)
            rows += _settings(recommender, users, groups, content, part)
        return {
            "date": datetime.now(UTC).date().isoformat(),
            "files": [Path(arguments.items).name, Path(arguments.events).name],
            "protocol": Protocol(exclude_seen=True).describe(),
            "items": len(groups),
            "products": len(np.unique(groups)),
            "rows": rows,
            "machine": machine("cpu"),
            "versions": versions(),
        }


def _settings(recommender: Any, users: Any, groups: IntArray, content: FloatArray, part: str) -> list[dict[str, Any]]:
    found: dict[str, list[tuple[float, ...]]] = {}
    unit = content / np.maximum(np.linalg.norm(content, axis=1, keepdims=True), 1e-9)
    for start in range(0, len(users), 256):
        batch = users.only(range(start, min(start + 256, len(users))))
        scores = recommender.score([history[-50:] for history in batch.histories])
        for own, history, targets in zip(scores, batch.histories, batch.targets, strict=True):
            own[np.unique(history.items)] = -np.inf
            best = np.argpartition(-own, POOL)[:POOL]
            best = best[np.lexsort((best, -own[best]))]
            ranked = [(int(row), float(own[row])) for row in best if np.isfinite(own[row])]
            lists = {"by score": ranked, "one product once": list(first_of_each(ranked, groups))}
            for diversity in DIVERSITIES:
                spread = partial(spread_out, vectors=content, diversity=diversity)
                lists[f"once, diversity {diversity}"] = list(islice(first_of_each(ranked, groups, arrange=spread), K))
            for near in NEAR:
                over = partial(passed_over, vectors=content, near=near)
                lists[f"once, nothing nearer than {near}"] = list(first_of_each(ranked, groups, arrange=over))
            for name, listed in lists.items():
                shown = np.array([row for row, _ in listed[:K]])
                hits = np.flatnonzero(np.isin(shown, targets))
                gain = 1 / np.log2(hits[0] + 2) if len(hits) else 0.0
                cosines = unit[shown] @ unit[shown].T
                apart = 1 - (cosines.sum() - np.trace(cosines)) / (len(shown) * (len(shown) - 1))
                alike = float((np.triu(cosines, 1) >= COUNTED).any())
                products = len(np.unique(groups[shown])) / len(shown)
                found.setdefault(name, []).append((float(len(hits) > 0), float(gain), products, float(apart), alike))
    return [{"part": part, "list": name, **_means(np.array(values))} for name, values in found.items()]


def _means(values: FloatArray) -> dict[str, Any]:
    means = {name: vars(mean_interval(values[:, place])) for place, name in enumerate(COLUMNS)}
    return means | {"users": len(values)}


def markdown(report: dict[str, Any]) -> str:
    """The rows as a table, with what they were measured on."""
    lines = [f"| part | list | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 2) + "|"]
    for row in report["rows"]:
        cells = [f"{row[name]['value']:.4f} [{row[name]['low']:.4f}, {row[name]['high']:.4f}]" for name in COLUMNS]
        lines.append(f"| {row['part']} | {row['list']} | {' | '.join(cells)} |")
    head = f"{report['items']} items, {report['products']} products, {report['rows'][0]['users']} users; "
    return head + f"{report['protocol']}; {report['machine']['cpu']}, {report['date']}\n\n" + "\n".join(lines)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", required=True)
    parser.add_argument("--events", required=True)
    parser.add_argument("--users", type=int, default=3000)
    parser.add_argument("--out")
    parser.add_argument("--quiet", action="store_true")
    arguments = parser.parse_args()
    report = measure(arguments)
    if arguments.out:
        write(arguments.out, report)
    sys.stdout.write(markdown(report) + "\n")


if __name__ == "__main__":
    main()
