"""What an item is made of, and how: fusion by concatenation, gate or cross-attention over ever more parts.

Text, pictures, both, and then attributes, behaviour statistics and IDs beside them, each trained as a spoke of one
category and shown with its validation score, which the choice is made on, and its test.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import Any

from benchmarks.launch_floor import publish
from benchmarks.spokes.head_to_head import Plan, add_data_options, check, measure, names, verdict

FUSIONS = ("concat", "gate", "cross-attention")
BASELINES = ("popularity", "hub")
# From one row to the next an item is made of more.
PARTS: Mapping[str, Mapping[str, Any]] = {
    "text": {"content": ["text"], "ids": False},
    "pictures": {"content": ["image"], "ids": False},
    "text and pictures": {"content": ["text", "image"], "ids": False},
    "content, attributes": {"ids": False, "attributes": {}},
    "content, attributes, statistics": {"ids": False, "attributes": {}, "statistics": {}},
    "content, attributes, statistics, ID": {"attributes": {}, "statistics": {}},
    "content, statistics, ID": {"statistics": {}},
    "content, ID": {},
    "ID": {"content": []},
}
# What is not named is not read, whatever the regime of the data would read by default.
NOTHING_ELSE: Mapping[str, Any] = {"attributes": None, "statistics": None}
# One part leaves nothing to weigh.
SINGLE = ("text", "pictures", "ID")


def variants(fusions: Sequence[str], with_pictures: bool) -> dict[str, dict[str, Any]]:
    """Settings of every combination by its name, `PARTS / FUSION`; a part alone is taken once, as it is."""
    return {
        f"{parts} / {fusion}": {**NOTHING_ELSE, **own, "fusion": fusion}
        for parts, own in PARTS.items()
        if with_pictures or "image" not in own.get("content", ())
        for fusion in (("concat",) if parts in SINGLE else fusions)
    }


def markdown(report: Mapping[str, Any]) -> str:
    """A table per serving policy, then what stands behind it."""
    place, data = report["machine"], report["data"]
    facts = (
        f"{data['source']}: {data['n_items']} items ({data['with_text']} with text, {data['with_image']} with "
        "pictures).",
        f"Chosen on validation: {report['best']}. Against it: NDCG@10 by the paired bootstrap, first seed.",
        f"Means of seeds {', '.join(map(str, report['settings']['seeds']))}; the served spoke, its content floor mixed "
        "in where it reads content.",
        f"Machine: {place['cpu']}, {place['cores']} cores, {place['memory_gib']:g} GiB, on {place['device']}.",
        f"Versions: {', '.join(f'{name} {number}' for name, number in report['versions'].items())}.",
        f"Date: {report['date']}.",
    )
    tables = [_table(compared, report) for compared in report["compared"].values()]
    return "\n\n".join([*tables, "\n".join(f"- {fact}" for fact in facts)])


def _table(compared: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    spokes = report["spokes"]
    lines = [
        f"{compared['protocol']['description']}; {compared['n_users']} users.",
        "",
        "| item made of | fusion | validation NDCG@10 | HR@10 | NDCG@10 | NDCG@10 cold | against the chosen "
        "| training, s |",
        f"|---|---|{'---|' * 6}",
    ]
    for result in compared["results"]:
        if result["model"] not in spokes:
            name = "hub alone" if result["model"].startswith("hub:") else result["model"]
            cells = ["", "", *_tested([result]), verdict(compared, result["model"]), ""]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    for name in dict.fromkeys(own["variant"] for own in spokes.values()):
        lines.append(_line(name, compared, report))
    return "\n".join(lines)


def _line(name: str, compared: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    spokes = report["spokes"]
    refs = [ref for ref, own in spokes.items() if own["variant"] == name]
    results = {result["model"]: result for result in compared["results"]}
    chosen = "**" if name == report["best"] else ""
    parts, _, fusion = name.partition(" / ")
    validation = fmean(spokes[ref]["summary"]["validation_ndcg@10"] for ref in refs)
    cells = [
        f"{chosen}{parts}{chosen}",
        "-" if parts in SINGLE else fusion,
        f"{validation:.4f}",
        *_tested([results[ref] for ref in refs]),
        verdict(compared, refs[0]),
        f"{fmean(spokes[ref]['summary']['seconds'] for ref in refs):.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _tested(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """HR@10, NDCG@10 and NDCG@10 on cold items: the interval of one seed, or mean, lowest and highest of several."""
    cells = []
    for part, metric in (("all", "hr@10"), ("all", "ndcg@10"), ("cold", "ndcg@10")):
        own = [result for result in results if part in result["metrics"]]
        if not own:
            cells.append("no target")
            continue
        values = [result["metrics"][part][metric] for result in own]
        low, high = own[0]["intervals"][part][metric]
        spread = f"[{low:.4f}, {high:.4f}]" if len(own) == 1 else f"({min(values):.4f} to {max(values):.4f})"
        cells.append(f"{fmean(values):.4f} {spread}")
    return cells


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_data_options(parser)
    parser.add_argument("--fusions", type=names, default=list(FUSIONS), metavar="A,B,C", help=", ".join(FUSIONS))
    arguments = parser.parse_args(argv)
    check(parser, arguments)
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write the report."""
    arguments = parse(argv)
    plan = Plan(
        variants=partial(variants, arguments.fusions),
        baselines=BASELINES,
        seeds=arguments.seeds,
        refit=arguments.refit,
        protocol=arguments.protocol,
        test_from=arguments.test_from,
        policies=(False, True),
    )
    publish(partial(measure, arguments, plan), markdown, arguments.out)


if __name__ == "__main__":
    main()
