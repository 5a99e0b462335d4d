"""`hubspoke demo`: the whole story on real data. Established departments, a department launched cold, and pictures.

Every step goes through the ordinary workflows, so a second run finds every version made and says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..catalog.sessions import SessionSettings
from ..errors import InvalidDataError
from ..evaluation.evaluate import evaluate
from ..evaluation.protocols import Protocol, evaluation_set
from ..reports.lineage import tree_lines
from ..workflows.datasets import load_dataset
from ..workflows.models import ModelResult
from .complete_journey import department_events, department_items
from .pictures import launch_with_pictures
from .plan import FAST, CurvePoint, DemoPlan, DemoResult
from .report import comparison_lines, write_report

if TYPE_CHECKING:
    from ..evaluation.evaluate import Evaluation
    from ..workflows.evaluations import CompareResult
    from ..workflows.launches import LaunchResult
    from ..workflows.recommendations import Recommendations
    from ..workflows.workspace import Workspace

Echo = Callable[[str], None]
# Grocery baskets hold one or two items of a department: a household's whole history is the session.
SESSIONS = SessionSettings(mode="per_user")


@dataclass
class _Story:
    """What the telling needs to remember."""

    ws: Workspace
    plan: DemoPlan
    echo: Echo
    made: list[bool] = field(default_factory=list)

    def step(self, text: str, cached: bool, seconds: float | None = None) -> None:
        took = "" if seconds is None or cached else f" ({seconds:.1f} s)"
        self.made.append(not cached)
        self.echo(f"  {text}{' (reused)' if cached else took}")


def run_demo(
    ws: Workspace,
    fast: bool = False,
    report: Path | None = None,
    echo: Echo = lambda _: None,
    plan: DemoPlan | None = None,
) -> DemoResult:
    """Tell the whole story and write the report.

    Args:
        ws: where it happens.
        fast: smaller data and fewer steps, for a look in a minute or two.
        report: the HTML page; by default `demo-report.html` in the workspace.
        echo: receives the story, line by line.
        plan: what to do, in place of the two built-in plans.
    """
    started = time.perf_counter()
    story = _Story(ws, plan or (FAST if fast else DemoPlan()), echo)
    hub = _establish(story)
    launched = _launch(story, hub.ref or "")
    spokes = _grow(story)
    comparison = _compare(story, hub.ref or "", spokes)
    systems = _systems(story.plan, str(hub.ref), spokes)
    for line in comparison_lines(comparison, systems):
        echo(line)
    curve = _curve(story, hub.ref or "", spokes)
    name = domain_name(story.plan.launched)
    baskets = _baskets(story, name)
    lineage = _lineage(story, name)
    pictures = None
    if story.plan.pictures:
        pictures = launch_with_pictures(ws, story.plan.pictures, echo, story.step, story.plan.picture_hub)
    result = DemoResult(
        report=(report or ws.settings.workspace / "demo-report.html").resolve(),
        seconds=round(time.perf_counter() - started, 1),
        first_recommendation_seconds=launched.seconds,
        hub=str(hub.ref),
        released=ws.registry.domains.get(name).live,
        comparison=comparison,
        systems=systems,
        curve=curve,
        baskets=baskets,
        lineage=lineage,
        pictures=pictures,
        reused=not any(story.made),
    )
    write_report(result, story.plan)
    if result.reused:
        echo("Every version was there already; nothing was trained again.")
    echo(f"Done in {result.seconds:.0f} s.")
    return result


def domain_name(department: str) -> str:
    """A department's domain: `MEAT-PCKGD` is `meat_pckgd`."""
    return department.lower().replace("-", "_").replace(" ", "_")


def _establish(story: _Story) -> ModelResult:
    """Domains with history, a hub trained on their union, a spoke for each."""
    plan, ws = story.plan, story.ws
    story.echo(f"1. Established departments, with what was known on {plan.launch_date:%d %B %Y}")
    names = [_take_in(story, department) for department in plan.established]
    hub = ws.hub.train(domains=names, config=plan.hub)
    kept = hub.summary.get("kept_share", 0.0)
    verdict = f"keeps {kept:.0%} of its training" if kept else "training helped no unseen department, so none is kept"
    items = hub.summary.get("items")
    story.step(f"{hub.ref}: {items} products of {len(names)} departments; {verdict}", hub.cached, hub.seconds)
    ws.promote(str(hub.ref), reason="demo")
    for name in names:
        spoke = ws.spoke.train(name, hub=hub.ref, config=plan.established_spoke, split="all", refit=False)
        score = spoke.summary["validation_ndcg@10"]
        story.step(f"{spoke.ref}: spoke, NDCG@10 {score:.3f} on its validation events", spoke.cached, spoke.seconds)
    return hub


def _take_in(story: _Story, department: str) -> str:
    name = domain_name(department)
    items, events = department_items(department), department_events(department)
    until, title = story.plan.launch_date, department.title()
    added = story.ws.domain.add(name, items=items, events=events, sessions=SESSIONS, until=until, description=title)
    rows = [part.rows for part in (added.items, added.events) if part is not None]
    story.step(f"{name}: {rows[0]} products, {rows[1]} purchases", added.cached)
    return name


def _launch(story: _Story, hub: str) -> LaunchResult:
    """The new department on day zero: a catalog, no events."""
    plan = story.plan
    name = domain_name(plan.launched)
    story.echo(f"2. {plan.launched.title()} opens on {plan.launch_date:%d %B %Y}: a catalog, not one purchase")
    items = department_items(plan.launched)
    description = f"{plan.launched.title()}, launched cold"
    result = story.ws.launch(name, items, hub=hub, sessions=SESSIONS, description=description)
    cached = all(step["cached"] for step in result.steps if step["step"] in ("snapshot of items", "index"))
    by = result.recommendations[0].served_by
    served = f"{hub} alone" if by == hub else by
    story.step(f"first recommendation {result.seconds:.1f} s after `launch`, served by {served}", cached)
    _show(story, result.recommendations[0])
    return result


def _grow(story: _Story) -> dict[int, str]:
    """Let the weeks pass: snapshots of the events so far, and a spoke trained on each."""
    plan, ws = story.plan, story.ws
    name = domain_name(plan.launched)
    events = department_events(plan.launched)
    story.echo("3. Weeks pass: snapshots of the purchases so far, and a spoke trained on each")
    spokes = {}
    for week in plan.weeks:
        taken = ws.data.ingest(name, events=events, since=plan.launch_date, until=plan.after(week)).events
        if taken is None or taken.ref is None:
            raise InvalidDataError(f"{plan.launched} sold nothing in {week} weeks; choose another department.")
        config, last = plan.launched_spoke, week == max(plan.weeks)
        try:
            spoke = ws.spoke.train(name, config=config, events=taken.ref, split="all", refit=True, promote=last)
        except InvalidDataError as error:
            story.echo(f"  week {week:2d}: {taken.rows} purchases train no spoke yet; the hub serves on ({error})")
            continue
        cached = spoke.cached and taken.cached
        story.step(f"week {week:2d}: {spoke.ref}, trained on {taken.rows} purchases", cached, spoke.seconds)
        spokes[week] = str(spoke.ref)
    ws.data.ingest(name, events=events, since=plan.launch_date, until=plan.test_until)
    return spokes


def _compare(story: _Story, hub: str, spokes: Mapping[int, str]) -> CompareResult:
    from ..evaluation.protocols import Protocol

    plan = story.plan
    story.echo(f"4. Measured on what households bought from {plan.test_from:%d %B} to {plan.test_until:%d %B %Y}")
    models = ["popularity", "item-cf", hub, *(spokes[week] for week in plan.table_weeks if week in spokes)]
    return story.ws.evaluate.compare(
        domain_name(plan.launched),
        models,
        baseline=hub,
        protocol=Protocol(name="temporal", test_from=plan.test_from, test_until=plan.test_until),
    )


def _systems(plan: DemoPlan, hub: str, spokes: Mapping[int, str]) -> dict[str, str]:
    """What the table calls each version."""
    own = {ref: f"spoke, week {week}" for week, ref in spokes.items() if week in plan.table_weeks}
    return {"popularity": "popularity", "item-cf": "item-to-item CF", hub: "hub alone", **own}


def _curve(story: _Story, hub: str, spokes: Mapping[int, str]) -> list[CurvePoint]:
    """NDCG@10 on the table's test window of systems that know the first weeks only; histories are those of the test."""
    from ..spokes.baselines import ItemToItem, Popularity
    from ..workflows.evaluations import recommender_of

    plan = story.plan
    dataset = load_dataset(story.ws, domain_name(plan.launched))
    protocol = Protocol(name="temporal", test_from=plan.test_from, test_until=plan.test_until, refit=True)
    users = evaluation_set(dataset.sequences, protocol)
    found: list[CurvePoint] = []
    measured = evaluate(recommender_of(story.ws, hub, dataset, protocol).score, users)
    found += [_point("hub alone", week, measured) for week in (0, *plan.weeks)]
    for week in (0, *plan.weeks):
        cut = int(plan.after(week).timestamp() * 1_000_000)
        known = dataset.sequences.keep_events(dataset.sequences.timestamps < cut)
        found.append(_point("popularity", week, evaluate(Popularity(known).score, users)))
        found.append(_point("item-to-item CF", week, evaluate(ItemToItem(known).score, users)))
        if week in spokes:
            spoke = recommender_of(story.ws, spokes[week], dataset, protocol)
            found.append(_point("spoke", week, evaluate(spoke.score, users)))
    return found


def _point(system: str, week: int, evaluation: Evaluation) -> CurvePoint:
    estimate = evaluation["all"].estimate("ndcg@10")
    return CurvePoint(system, week, estimate.value, estimate.low, estimate.high)


def _baskets(story: _Story, name: str) -> list[Recommendations]:
    """Recommendations for three real households, by what they bought last."""
    from ..workflows.recommendations import Recommender

    story.echo("5. Three real baskets")
    sequences = load_dataset(story.ws, name).sequences.by_user()
    shop = Recommender(story.ws, name)
    lengths = sequences.lengths
    typical = [row for row in range(len(sequences)) if 4 <= lengths[row] <= 12]
    chosen = typical[:: max(1, len(typical) // 3)][:3]
    ids = shop.item_ids
    baskets = [shop.recommend([ids[item] for item in sequences[row][-4:]], k=5, exclude_seen=True) for row in chosen]
    for basket in baskets:
        _show(story, basket)
    return baskets


def _show(story: _Story, answer: Recommendations) -> None:
    story.echo(f"    bought: {'; '.join(item['title'] for item in answer.session)}")
    for item in answer.items[:5]:
        story.echo(f"      {item['rank']}. {item['title']}  [{item['category']}]")


def _lineage(story: _Story, name: str) -> str:
    story.echo("6. Where the live release came from")
    lines = tree_lines(story.ws.lineage.show(name))
    for line in lines:
        story.echo(f"  {line}")
    return "\n".join(lines)
