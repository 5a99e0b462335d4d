"""What is worth inheriting: every policy of transfer on every target, and a hub of one category beside one of many.

Part `table`: for each target a hub is taught by the other categories; one spoke is trained under each policy, and one
policy is chosen by `--transfer auto` on validation. All are measured on the target's test. Siblings are spokes that the
categories of `--siblings` train first.

Part `union`: how sessions are read is learned on each category alone, on all of them, and on all but the one that is
measured; each is measured zero-shot on every category's test.

Prints Markdown tables and writes the same as JSON.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from hubspoke.commands.options import read_config
from hubspoke.evaluation.bootstrap import mean_interval, paired_difference
from hubspoke.evaluation.protocols import Protocol, leave_one_out
from hubspoke.hub.config import HubConfig
from hubspoke.hub.model import Hub
from hubspoke.spokes.training.validation import validation
from hubspoke.workflows.datasets import load_dataset
from hubspoke.workflows.hub_stages.reading import ReadingStage
from hubspoke.workflows.hub_training import category_of
from hubspoke.workflows.spoke_plan import SpokeJob
from hubspoke.workflows.transfer import settle
from hubspoke.workflows.workspace import Workspace

from benchmarks.categories import parser_of, workspace
from benchmarks.hub import TAUGHT
from benchmarks.launch_floor import machine, publish, versions

TEXT_ONLY = ("none", "text", "text+scorer", "text+scorer+behaviour")
PICTURED = ("none", "text", "text+image", "text+scorer", "text+image+scorer", "text+image+scorer+behaviour")
# Test users that a reading is measured on, at most, per category.
USERS = 5000
UNION, OTHERS, START = "the union", "all others", "none: the fixed recency"


def policy_table(ws: Workspace, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """For each target what every policy reached on its test, and which one `auto` chose."""
    shared = {"image": None} if arguments.no_images else {}
    config = read_config(arguments.config, ()) or {}
    packaged = str(ws.hub.train(domains=[], config={**TAUGHT, **shared}).ref)
    for name in arguments.siblings:
        ws.spoke.train(name, _capped(config, name, arguments.epochs), hub=packaged, promote=True)
    rows = []
    for target in arguments.targets or arguments.category:
        others = [name for name in arguments.category if name != target]
        hub = str(ws.hub.train(domains=others, config={**TAUGHT, **shared}).ref)
        own = _capped(config, target, arguments.epochs)
        started = time.perf_counter()
        chosen = settle(ws, SpokeJob(target, hub=hub, config=own, transfer="auto"))
        minutes = (time.perf_counter() - started) / 60
        trained = _train_all(ws, target, hub, own, chosen)
        protocol = Protocol(exclude_seen=True)
        found = ws.evaluate.compare(target, list(trained), trained_as(trained, chosen), protocol, record=False)
        evidence = dict(chosen.evidence or {})
        rows.append(
            {
                "target": target,
                "users": found.n_users,
                "auto": chosen.transfer,
                "sibling": evidence.get("sibling"),
                "minutes_of_trials": round(minutes, 1),
                "verdicts": [part["verdict"] for part in evidence.get("parts", ())],
                "policies": [_reached(found.rows, ref, *about) for ref, about in trained.items()],
            }
        )
    return rows


def trained_as(trained: Mapping[str, tuple[str, float]], chosen: SpokeJob) -> str:
    """The version that was trained under the chosen policy."""
    return next(ref for ref, (policy, _) in trained.items() if policy == chosen.transfer)


def _train_all(
    ws: Workspace, target: str, hub: str, config: Mapping[str, Any], chosen: SpokeJob
) -> dict[str, tuple[str, float]]:
    """A version under each policy, with the minutes of its training."""
    sibling = (chosen.evidence or {}).get("sibling")
    pictured = "image" in str((chosen.evidence or {})["trials"])
    found = {}
    for policy in dict.fromkeys([*(PICTURED if pictured else TEXT_ONLY), str(chosen.transfer)]):
        if "behaviour" in policy and sibling is None:
            continue
        parent = {"parent": sibling} if "behaviour" in policy else {}
        made = ws.spoke.train(target, config, hub=hub, transfer=policy, index=False, **parent)
        found[str(made.ref)] = policy, float(made.summary["seconds"]) / 60
    return found


def _capped(config: Mapping[str, Any], name: str, epochs: Mapping[str, int]) -> dict[str, Any]:
    """The config of a category's spokes, with fewer epochs where that was asked for."""
    if name not in epochs:
        return dict(config)
    return {**config, "training": {**config.get("training", {}), "max_epochs": epochs[name]}}


def _reached(rows: Sequence[Any], ref: str, policy: str, minutes: float) -> dict[str, Any]:
    """NDCG@10 of one version on all, warm and cold targets, with the paired difference to the chosen policy's."""
    own = {row.slice: row for row in rows if row.model == ref and row.metric == "ndcg@10"}
    figures = {
        name: {key: getattr(row, key) for key in ("value", "low", "high", "difference", "difference_low")}
        | {"difference_high": row.difference_high}
        for name, row in own.items()
    }
    return {"policy": policy, "ref": ref, "minutes": round(minutes, 1), **figures}


def union_table(ws: Workspace, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """For each category what a reading learned on itself, on others and on all of them is worth on its test."""
    config = HubConfig.model_validate({**TAUGHT, **({"image": None} if arguments.no_images else {})})
    hub = Hub(config, device=arguments.device)
    hub.reading = None
    found = []
    for name in arguments.category:
        own = category_of(ws, hub, load_dataset(ws, name))
        asked = leave_one_out(own.dataset.sequences, "test")
        if not len(asked):
            continue
        drawn = validation(asked, own.seen, USERS, config.seed).sample(USERS, config.seed)
        found.append(replace(own, validation=drawn))
    stage = ReadingStage(ws, hub, found)
    taught = {own.name: [own] for own in found} | {UNION: found}
    readings = {START: stage.start()} | {name: stage.train(own, name)[0] for name, own in taught.items()}
    rows = []
    for own in found:
        others = stage.train([other for other in found if other is not own], OTHERS)[0]
        tried = {**readings, OTHERS: others}
        values = {name: stage.quality(reading, own, own.validation) for name, reading in tried.items()}
        for name, got in values.items():
            change = paired_difference(got, values[START])
            mean = mean_interval(got)
            figures = {"value": mean.value, "difference": change.value, "low": change.low, "high": change.high}
            rows.append({"target": own.name, "taught_on": name, "users": len(got), **figures})
    return rows


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The parts that were asked for."""
    with workspace(arguments) as ws:
        started = time.perf_counter()
        report = {part: PARTS[part](ws, arguments) for part in arguments.part}
    return {
        **report,
        "date": datetime.now(UTC).date().isoformat(),
        "categories": list(arguments.category),
        "protocol": Protocol(exclude_seen=True).describe(),
        "epochs": dict(arguments.epochs),
        "minutes": round((time.perf_counter() - started) / 60, 1),
        "machine": machine(arguments.device),
        "versions": versions(),
    }


PARTS = {"table": policy_table, "union": union_table}


def markdown(report: Mapping[str, Any]) -> str:
    """The tables of a report."""
    parts = []
    if "table" in report:
        parts.append(_policies(report["table"]))
    if "union" in report:
        parts.append(_union(report["union"]))
    return "\n\n".join([*parts, f"Protocol: {report['protocol']}. {report['minutes']:g} minutes. {report['date']}."])


def _policies(rows: Sequence[Mapping[str, Any]]) -> str:
    head = "| target | policy | NDCG@10 | warm | cold | against auto's choice | training, min |"
    lines = [head, "|---|---|---|---|---|---|---|"]
    for row in rows:
        for own in row["policies"]:
            chosen = own["policy"] == row["auto"]
            cells = [f"{own[name]['value']:.4f}" if name in own else "-" for name in ("all", "warm", "cold")]
            told = "chosen by auto" if chosen else _interval(own["all"], "difference_low", "difference_high")
            policy = f"**{own['policy']}**" if chosen else own["policy"]
            lines.append(f"| {' | '.join([row['target'], policy, *cells, told, format(own['minutes'], '.1f')])} |")
    about = [
        f"{row['target']} ({row['users']:,} users, sibling {row['sibling'] or 'none'}, "
        f"trials {row['minutes_of_trials']:g} min): {'; '.join(row['verdicts'])}."
        for row in rows
    ]
    beaten = [
        f"{own['policy']} on {row['target']}"
        for row in rows
        for own in row["policies"]
        if own["policy"] != row["auto"] and own["all"]["difference_low"] > 0
    ]
    held = f"auto is beaten beyond the interval by: {', '.join(beaten) or 'nothing'}."
    return "\n".join([*lines, "", *about, "", held])


def _union(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| target | users | learned on | NDCG@10 | against the fixed recency |", "|---|---|---|---|---|"]
    for row in rows:
        told = "" if row["taught_on"] == START else _interval(row, "low", "high")
        of_itself = "itself" if row["taught_on"] == row["target"] else row["taught_on"]
        cells = [row["target"], f"{row['users']:,}", of_itself, f"{row['value']:.4f}", told]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _interval(figures: Mapping[str, Any], low: str, high: str) -> str:
    return f"{figures['difference']:+.4f} [{figures[low]:+.4f}, {figures[high]:+.4f}]"


def _epochs(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not number.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=EPOCHS")
    return name, int(number)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write the report."""
    names = partial(str.split, sep=",")
    parser = parser_of(__doc__)
    parser.add_argument("--targets", type=names, metavar="A,B", help="of the table; default: every category")
    parser.add_argument("--siblings", type=names, default=[], metavar="A,B", help="categories that train a spoke first")
    parser.add_argument("--part", action="append", choices=[*PARTS], help="repeatable; default: both")
    parser.add_argument(
        "--epochs", action="append", type=_epochs, default=[], metavar="NAME=N", help="cap of a category"
    )
    parser.add_argument("--config", metavar="FILE", help="keys of every spoke's config")
    parser.add_argument("--no-images", action="store_true", help="leave pictures out")
    arguments = parser.parse_args(argv)
    arguments.category, arguments.epochs = dict(arguments.category), dict(arguments.epochs)
    arguments.part = arguments.part or [*PARTS]
    publish(partial(measure, arguments), markdown, arguments.out)


if __name__ == "__main__":
    main()
