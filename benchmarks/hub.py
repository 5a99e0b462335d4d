"""What a hub is worth to a category that it has never seen, taught by the others: one at a time is held out.

For each target a hub is trained on all other categories, which alone decide what is kept of the training, and
measured zero-shot on the target's test part beside the floor of version 0.1.0 (one text block, the last layer of
pictures, an event weighs 0.7 of the next; `--floor-tokens` cuts its texts) and beside the same hub with the reading
that comes with the package, which may have been learned on the target. Prints a Markdown table and writes the same as
JSON.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hubspoke.evaluation.protocols import Protocol
from hubspoke.hub.config import Preset

from benchmarks.categories import parser_of, run, workspace
from benchmarks.launch_floor import machine, versions

FLOOR: Mapping[str, Any] = {
    "image": {"name": "package:efficientnet-lite0"},
    "text_blocks": [],
    "crowding": False,
    "reading": {"sessions": 0, "packaged": False},
    "contrastive": {"steps": 0},
}
TAUGHT: Mapping[str, Any] = {"contrastive": {"steps": 0}, "reading": {"packaged": False}}
PACKAGED: Mapping[str, Any] = {"contrastive": {"steps": 0}}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every target in turn."""
    shared = {"image": None} if arguments.no_images else {}
    tokens = {"text": {"max_tokens": arguments.floor_tokens}} if arguments.floor_tokens else {}
    rows = []
    with workspace(arguments) as ws:
        floor = str(ws.hub.train(domains=[], config={**FLOOR, **shared, **tokens}).ref)
        packaged = str(ws.hub.train(domains=[], preset=arguments.preset, config={**PACKAGED, **shared}).ref)
        for target in arguments.targets or arguments.category:
            started = time.perf_counter()
            others = [name for name in arguments.category if name != target]
            config = {**TAUGHT, **shared, "seed": arguments.seed}
            taught = ws.hub.train(domains=others, preset=arguments.preset, config=config)
            seconds = time.perf_counter() - started
            protocol = Protocol(exclude_seen=True)
            asked = [floor, str(taught.ref), packaged]
            found = ws.evaluate.compare(target, asked, protocol=protocol, record=False).to_dict()
            about = {"target": target, "users": found["n_users"], "seconds": round(seconds, 1)}
            rows.append({**about, "kept": taught.summary["kept_reading"], **_compared(found["rows"], asked)})
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "categories": list(arguments.category),
        "pictures": not arguments.no_images,
        "preset": arguments.preset,
        "floor_tokens": arguments.floor_tokens,
        "seed": arguments.seed,
        "protocol": Protocol(exclude_seen=True).describe(),
        "rows": rows,
        "machine": machine(arguments.device),
        "versions": versions(),
    }


def _compared(rows: Sequence[Mapping[str, Any]], asked: Sequence[str]) -> dict[str, Any]:
    """NDCG@10 of all and of cold targets by system, with the paired difference to the floor."""
    names = dict(zip(asked, ("floor", "taught", "packaged"), strict=True))
    kept = ("value", "difference", "difference_low", "difference_high")
    return {
        f"{names[row['model']]}{' cold' if row['slice'] == 'cold' else ''}": {key: row[key] for key in kept}
        for row in rows
        if row["metric"] == "ndcg@10" and row["slice"] in ("all", "cold")
    }


def markdown(report: Mapping[str, Any]) -> str:
    """The table of a report."""
    lines = [
        "| target | users | floor | taught by others | difference | cold: floor | cold: taught | packaged reading |",
        "|---|---|---|---|---|---|---|---|",
    ]
    gains = []
    for row in report["rows"]:
        floor, taught = row["floor"]["value"], row["taught"]
        gains.append(taught["difference"] / floor if floor else 0.0)
        change = f"{gains[-1]:+.1%} [{taught['difference_low']:+.4f}, {taught['difference_high']:+.4f}]"
        cold = [f"{row[f'{name} cold']['value']:.4f}" if f"{name} cold" in row else "-" for name in ("floor", "taught")]
        cells = [row["target"], f"{row['users']:,}", f"{floor:.4f}", f"{taught['value']:.4f}", change, *cold]
        lines.append(f"| {' | '.join([*cells, format(row['packaged']['value'], '.4f')])} |")
    return "\n".join([*lines, "", f"Mean relative difference: {sum(gains) / max(1, len(gains)):+.1%}."])


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write the report."""
    parser = parser_of(__doc__)
    parser.add_argument("--targets", type=lambda text: text.split(","), metavar="A,B", help="default: every category")
    parser.add_argument("--preset", choices=[*Preset], default=Preset.BALANCED, help="tier of what is taught")
    parser.add_argument("--seed", type=int, default=0, help="of what is taught")
    parser.add_argument("--floor-tokens", type=int, metavar="N", help="cut the texts of the floor")
    parser.add_argument("--no-images", action="store_true", help="leave pictures out")
    run(parser, argv, measure, markdown)


if __name__ == "__main__":
    main()
