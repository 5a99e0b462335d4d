"""What the content space of a catalog is like: as the text encoder gives it, and as a hub makes it of that.

Isotropy, mean cosine of random pairs, hubness and how many of ten neighbours share the leaf category. Prints a Markdown
table and writes the same as JSON.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from hubspoke.arrays import FloatArray, IntArray
from hubspoke.evaluation.space import (
    NEIGHBOURS,
    hubness,
    isotropy,
    mean_cosine,
    neighbourhood_consistency,
    partition_isotropy,
)
from hubspoke.hub.content import fit_content_space
from hubspoke.hub.training.examples import leaf_numbers
from hubspoke.retrieval.neighbours import nearest_others
from hubspoke.workflows.datasets import Dataset, load_dataset
from hubspoke.workflows.loading import encode_items, load_hub

from benchmarks.categories import parser_of, run, workspace
from benchmarks.launch_floor import machine, versions

HUB: Mapping[str, Any] = {"image": None, "contrastive": {"steps": 0}}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every category in turn."""
    rows = []
    with workspace(arguments) as ws:
        hub, _ = load_hub(ws, str(ws.hub.train(domains=[], config=HUB).ref))
        for name in arguments.category:
            dataset = load_dataset(ws, name, with_events=False)
            encoded = encode_items(ws, hub, dataset)
            fused = hub.fusion.fuse(encoded)
            space = fit_content_space(fused, hub.config)
            content = space.alike(space.embed(fused))
            for what, embeddings in (("as encoded", encoded.text), ("content", content)):
                rows.append({"category": name, "space": what, **_measured(embeddings, leaves(dataset))})
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "rows": rows,
        "machine": machine(arguments.device),
        "versions": versions(),
    }


def leaves(dataset: Dataset) -> IntArray:
    """(N,) number of the leaf category of each item, -1 where it has none."""
    items = dataset.items
    if "category_path" not in items.columns:
        return np.full(items.height, -1)
    return np.where([bool(path) for path in items["category_path"]], leaf_numbers(items), -1)


def _measured(embeddings: FloatArray, kinds: IntArray) -> dict[str, float]:
    present = embeddings.any(axis=1)
    own, kinds = embeddings[present], kinds[present]
    neighbours = nearest_others(own, NEIGHBOURS)
    return {
        "items": len(own),
        "isotropy": isotropy(own),
        "partition": partition_isotropy(own),
        "cosine": mean_cosine(own),
        "hubness": hubness(neighbours),
        "same_leaf": neighbourhood_consistency(neighbours, kinds),
        "leaves": len(np.unique(kinds[kinds >= 0])),
    }


def markdown(report: Mapping[str, Any]) -> str:
    """The table of a report."""
    lines = [
        "| catalog | space | isotropy | partition isotropy | mean cosine | hubness | neighbours in the same leaf |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in report["rows"]:
        numbers = [f"{row[name]:.3f}" for name in ("isotropy", "partition", "cosine")]
        leaf = f"{row['same_leaf']:.0%} of {row['leaves']}" if row["leaves"] > 1 else "-"
        lines.append(f"| {row['category']} | {row['space']} | {' | '.join(numbers)} | {row['hubness']:.2f} | {leaf} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write the report."""
    parser = parser_of(__doc__)
    run(parser, argv, measure, markdown)


if __name__ == "__main__":
    main()
