"""A re-ranker beside its spoke alone, item-to-item CF and popularity, on time that none of them has seen.

For each category a spoke is trained on what lies before the last eighth of the events, a re-ranker for it with its
defaults, and both are measured by full ranking on that eighth, with seen items ranked and excluded; differences are
paired by shopper. A category is NAME=FOLDER, or NAME=DEPARTMENT of the Complete Journey (`deli=DELI`). Prints Markdown
and writes the same as JSON.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import hubspoke
import numpy as np
from hubspoke.commands.options import read_config
from hubspoke.commands.progress import make_progress
from hubspoke.demo.complete_journey import department_events, department_items
from hubspoke.evaluation.protocols import EPOCH, Protocol
from hubspoke.spokes.training.splits import window_start
from hubspoke.workflows.datasets import load_dataset
from hubspoke.workflows.workspace import Workspace

from benchmarks.categories import add_common
from benchmarks.launch_floor import machine, publish, versions

BASELINES = ("item-cf", "popularity-7d")
HUB: Mapping[str, Any] = {"image": None, "contrastive": {"steps": 0}}
SPOKE: Mapping[str, Any] = {}
RERANK: Mapping[str, Any] = {}
SLICES = ("all", "cold")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Spoke, re-ranker and comparison of one category."""
    name, source = arguments.category
    with workspace(arguments) as ws:
        ws.hub.train(domains=[], config=HUB)
        add(ws, name, source)
        cut = test_from(ws, name)
        config = {**SPOKE, **({"training": {"max_epochs": arguments.epochs}} if arguments.epochs else {})}
        spoke = str(ws.spoke.train(name, config, split="temporal", test_from=cut, refit=True).ref)
        # The spokes of the past are found again where the workspace is kept; the trees are grown anew.
        made = ws.rerank.train(name, {**RERANK, **arguments.rerank}, spoke=spoke, force=True)
        models = [spoke, str(made.ref), *BASELINES]
        names = {spoke: "spoke", str(made.ref): "re-ranked"}
        rows = []
        for exclude in (False, True):
            protocol = Protocol(name="temporal", test_from=cut, exclude_seen=exclude)
            found = ws.evaluate.compare(name, models, protocol=protocol, record=False)
            rows += [
                {**row, "model": names.get(row["model"], row["model"]), "excluded": exclude}
                for row in found.to_dict()["rows"]
                if row["metric"] == "ndcg@10" and row["slice"] in SLICES
            ]
        latency = milliseconds(ws, spoke, str(made.ref))
        data = load_dataset(ws, name)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "category": name,
        "items": data.items.height,
        "events": data.sequences.n_events,
        "test_from": cut.isoformat(),
        "protocol": found.protocol["description"].replace("seen items excluded, ", ""),
        "epochs": arguments.epochs,
        "summary": {key: value for key, value in made.summary.items() if key != "judged"},
        "gains": [row for row in made.table if row["gain"] > 0][:8],
        "rows": rows,
        "milliseconds": latency,
        "machine": machine(arguments.device),
        "versions": versions(),
    }


@contextmanager
def workspace(arguments: argparse.Namespace) -> Iterator[Workspace]:
    """The workspace that is kept, or a temporary one."""
    with tempfile.TemporaryDirectory(prefix="hubspoke-benchmark-") as folder:
        kept, progress = arguments.keep_workspace or folder, make_progress(arguments.quiet)
        with hubspoke.open(create=True, progress=progress, workspace=kept, device=arguments.device) as ws:
            yield ws


def add(ws: Workspace, name: str, source: str) -> None:
    """The category, unless the workspace has it already."""
    if name in {domain.name for domain in ws.domain.list()}:
        return
    if Path(source).is_dir():
        ws.domain.add(name, str(Path(source) / "items.parquet"), str(Path(source) / "interactions.parquet"))
    else:
        ws.domain.add(name, department_items(source), department_events(source))


def test_from(ws: Workspace, name: str) -> datetime:
    """The first moment of the last whole days that hold an eighth of the events."""
    events = load_dataset(ws, name).sequences
    start = window_start(events, (events.newest or 0) + 1)
    if start is None:
        raise hubspoke.InvalidDataError(f"The events of {name} are of one day; bring some of several.")
    return EPOCH + timedelta(microseconds=start)


def milliseconds(ws: Workspace, spoke: str, reranker: str, requests: int = 200) -> dict[str, float]:
    """Of one recommendation on one thread by the spoke alone and with the re-ranker: the median of many."""
    from hubspoke.workflows.ranker import load_ranker
    from hubspoke.workflows.recommendations import Recommender

    served = Recommender(ws, spoke)
    rng, found = np.random.default_rng(0), {}
    sessions = [[served.item_ids[row] for row in rng.integers(0, len(served.item_ids), 10)] for _ in range(requests)]
    for name in ("spoke", "re-ranked"):
        served.ranker = load_ranker(ws, reranker, served.loaded, served.shown) if name == "re-ranked" else None
        took = []
        for session in sessions:
            began = time.perf_counter()
            served.recommend(session)
            took.append(time.perf_counter() - began)
        found[name] = round(1000 * float(np.median(took)), 2)
    return found


def markdown(report: Mapping[str, Any]) -> str:
    """One table for both policies, then what stands behind it."""
    summary, found = report["summary"], report["summary"]["candidates"]
    seconds = {step["step"]: step["seconds"] for step in summary["steps"]}
    limit = f", {report['epochs']} epochs at most" if report["epochs"] else ""
    facts = (
        f"{report['category']}: {report['items']:,} items, {report['events']:,} events; {report['protocol']}; spoke "
        f"with its defaults{limit}, refitted on all before the test, on a hub as it comes, of text alone.",
        f"Re-ranker: {summary['trees']} trees on {summary['requests']:,} requests; a request has {found['mean']:g} "
        f"candidates, which hold {found['recall']:.3f} of the targets (the spoke's alone "
        f"{found['recall_of_the_spoke_alone']:.3f}). Features that gain most: "
        + ", ".join(f"{row['feature']} {row['gain']:.2f}" for row in report["gains"])
        + ".",
        f"The command's own verdict: it {'wins' if summary['wins'] else 'does not win and is not promoted'}.",
        f"Trees and judgement took {seconds['trees']:g} and {seconds['judgement']:g} s beside the spokes. A "
        f"recommendation takes {report['milliseconds']['spoke']:g} ms, and {report['milliseconds']['re-ranked']:g} ms "
        "re-ranked.",
        f"Machine: {report['machine']['cpu']}, {report['machine']['cores']} cores (shared), on "
        f"{report['machine']['device']}. Versions: "
        f"{', '.join(f'{name} {number}' for name, number in report['versions'].items())}. Date: {report['date']}.",
    )
    return "\n".join([*_table(report["rows"]), "", *(f"- {fact}" for fact in facts)])


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [
        "| seen items | targets | shoppers | spoke | re-ranked | difference, 95 % | item-cf | popularity-7d |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for excluded in (False, True):
        for part in SLICES:
            own = {row["model"]: row for row in rows if (row["excluded"], row["slice"]) == (excluded, part)}
            if own:
                new = own["re-ranked"]
                gap = f"{new['difference']:+.4f} ({new['difference_low']:+.4f} to {new['difference_high']:+.4f})"
                values = [f"{own[name]['value']:.4f}" for name in ("spoke", "re-ranked")]
                others = [f"{own[name]['value']:.4f}" for name in BASELINES]
                words = ["excluded" if excluded else "ranked", part, f"{new['n_users']:,}"]
                lines.append(f"| {' | '.join([*words, *values, f'**{gap}**' if new['clear'] else gap, *others])} |")
    return lines


def category(text: str) -> tuple[str, str]:
    """The name and the source of NAME=SOURCE."""
    name, _, source = text.partition("=")
    if not source or not (source.isupper() or (Path(source) / "interactions.parquet").exists()):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FOLDER of tables, or NAME=DEPARTMENT")
    return name, source


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("category", type=category, metavar="NAME=FOLDER|DEPARTMENT")
    parser.add_argument("--epochs", type=int, metavar="N", help="at most so many epochs of the spoke")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the re-ranker")
    parser.add_argument("--keep-workspace", metavar="DIR", help="work there, so that nothing is trained twice")
    add_common(parser)
    arguments = parser.parse_args(argv)
    arguments.rerank = read_config(None, tuple(arguments.set)) or {}
    publish(partial(measure, arguments), markdown, arguments.out)


if __name__ == "__main__":
    main()
