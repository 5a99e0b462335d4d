"""Every dimension of the catalogue of metrics for several categories: the card of a spoke, and its drift as it goes on.

A hub as its preset says, one spoke with attributes for each category (leave-one-out), and a second trained from it.
`--demo` adds the demo's department NUTRITION. Prints Markdown tables and writes whole cards as JSON.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hubspoke.demo.complete_journey import department_events, department_items
from hubspoke.demo.run import SESSIONS
from hubspoke.errors import InvalidDataError
from hubspoke.evaluation.catalogue import CATALOGUE, DIMENSIONS, find
from hubspoke.evaluation.protocols import Protocol
from hubspoke.workflows.workspace import Workspace

from benchmarks.categories import parser_of, run, workspace
from benchmarks.launch_floor import machine, versions

DEPARTMENT = "NUTRITION"
# Keys of HubConfig, over those of the preset; tests put a tiny encoder here.
HUB: Mapping[str, Any] = {"contrastive": {"steps": 0}}
# Attributes are read so that their part of the vectors is there to be measured.
SPOKE: Mapping[str, Any] = {"attributes": {}}
PARTS = ("all", "behaviour", "content", "text", "image", "attributes", "head", "torso", "tail", "cold")
IN_PARTS = ("partition_isotropy", "mean_cosine", "effective_rank", "hubness", "anti_hubs", "same_category")
# What is smaller is what rounding leaves of 0.
ROUNDING = 1e-12
# Lists of other lengths say little more in a table.
SHOWN = (
    "hr@10",
    "recall@10",
    "ndcg@10",
    "simulated_revenue_per_impression@10",
    "simulated_margin_per_impression@10",
    "simulated_tail_revenue_share@10",
)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Every category in turn."""
    protocol = Protocol(exclude_seen=arguments.exclude_seen)
    with workspace(arguments) as ws:
        names = list(arguments.category)
        if arguments.demo:
            names.append(_add_department(ws))
        ws.hub.train(domains=[], preset=arguments.preset, config=HUB)
        cards = {name: _assessed(ws, name, arguments.epochs, protocol) for name in names}
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "protocol": protocol.describe(),
        "preset": arguments.preset,
        "epochs": arguments.epochs,
        "cards": cards,
        "machine": machine(arguments.device),
        "versions": versions(),
    }


def _add_department(ws: Workspace) -> str:
    name = DEPARTMENT.lower()
    if name not in {domain.name for domain in ws.domain.list()}:
        ws.domain.add(name, department_items(DEPARTMENT), department_events(DEPARTMENT), sessions=SESSIONS)
    return name


def _assessed(ws: Workspace, name: str, epochs: int, protocol: Protocol) -> dict[str, Any]:
    """The card of a category's spoke as plain data, with the drift of the one that goes on from it."""
    config = {**SPOKE, "training": {"max_epochs": epochs}}
    first = str(ws.spoke.train(name, config=config).ref)
    card = ws.quality.card(first, protocol=protocol).to_dict()
    try:
        card["rows"] += ws.quality.simulated_business(first, protocol=protocol).to_dict()["rows"]
    except InvalidDataError as error:  # reviews are no purchases, and a catalog may tell no price
        card["notes"] += [f"business: {error}"]
    second = str(ws.spoke.train(name, config={"seed": 1}, parent=first).ref)
    drift = ws.quality.drift(first, second).to_dict()
    return {**card, "rows": card["rows"] + drift["rows"], "drifted_to": second}


def markdown(report: Mapping[str, Any]) -> str:
    """One table for each dimension, categories side by side, and one of parts and slices."""
    cards = report["cards"]
    head = f"{report['protocol']}; preset {report['preset']}, at most {report['epochs']} epochs; {report['date']}."
    tables = [_dimension(cards, dimension) for dimension in DIMENSIONS]
    notes = [f"{name}: {note}" for name, card in cards.items() for note in card["notes"]]
    return "\n\n".join([head, *filter(None, tables), _parts(cards), *notes])


def _dimension(cards: Mapping[str, Any], dimension: str) -> str:
    rows = []
    for metric in _metrics(cards, dimension):
        definition = find(metric)
        if definition is None or (definition.name.endswith("@k") and metric not in SHOWN):
            continue
        wanted = "-" if definition.threshold is None else f"{definition.threshold:g}"
        rows.append([metric, definition.better, wanted, *(_cell(card, "all", metric) for card in cards.values())])
    return _table([dimension, "better", "threshold", *cards], rows) if rows else ""


def _metrics(cards: Mapping[str, Any], dimension: str) -> list[str]:
    """The metrics that any card has on the whole, in the order of the catalogue."""
    found = {row["metric"] for card in cards.values() for row in card["rows"] if row["dimension"] == dimension}
    order = list(CATALOGUE)
    return sorted(found, key=lambda name: (order.index(getattr(find(name), "name", name)), name))


def _parts(cards: Mapping[str, Any]) -> str:
    rows = [
        [name, part, *(_cell(card, part, metric) for metric in IN_PARTS)]
        for name, card in cards.items()
        for part in PARTS
        if any(row["slice"] == part and row["metric"] in IN_PARTS for row in card["rows"])
    ]
    return _table(["category", "part", *IN_PARTS], rows)


def _cell(card: Mapping[str, Any], part: str, metric: str) -> str:
    row = next((row for row in card["rows"] if (row["slice"], row["metric"]) == (part, metric)), None)
    if row is None:
        return "-"
    interval = "" if row["low"] is None else f" [{row['low']:.3g}, {row['high']:.3g}]"
    value = 0.0 if abs(row["value"]) < ROUNDING else row["value"]
    return f"{value:.4g}{interval}"


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(headers)} |", f"|{'---|' * len(headers)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write the report."""
    parser = parser_of(__doc__)
    parser.add_argument("--preset", default="fast", help="of the hub (default: fast, which reads no pictures)")
    parser.add_argument("--epochs", type=int, default=10, help="most epochs of a spoke (default: 10)")
    parser.add_argument("--exclude-seen", action="store_true", help="rank without what the history holds")
    parser.add_argument("--demo", action="store_true", help=f"also the demo's department {DEPARTMENT}")
    run(parser, argv, measure, markdown)


if __name__ == "__main__":
    main()
