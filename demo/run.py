"""`hubspoke demo`: the whole story on real data. Established departments, a department launched cold, and pictures.

Every step goes through the ordinary workflows, so a second run finds every version made and says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ..catalog.sessions import SessionSettings
from ..errors import InvalidDataError
from ..evaluation.evaluate import Score, evaluate
from ..evaluation.protocols import Protocol, evaluation_set
from ..reports.lineage import tree_lines
from ..spokes.baselines.item_to_item import ItemToItem
from ..spokes.baselines.popularity import Popularity
from ..workflows.answers import Recommendations
from ..workflows.datasets import load_dataset
from ..workflows.evaluations import CompareResult, recommender_of
from ..workflows.launches import LaunchResult
from ..workflows.recommendations import Recommender
from ..workflows.workspace import Workspace
from .complete_journey import department_events, department_items
from .pictures import launch_with_pictures
from .plan import FAST, CurvePoint, DemoPlan, DemoResult
from .report import comparison_lines, write_report

Echo = Callable[[str], None]
# Grocery baskets hold one or two items of a department: a household's whole history is the session.
SESSIONS = SessionSettings(mode="per_user")
_NOTHING_KEPT = "training helped no unseen department, so none is kept"


def run_demo(
    ws: Workspace,
    fast: bool = False,
    report: Path | None = None,
    echo: Echo = lambda _: None,
    plan: DemoPlan | None = None,
) -> DemoResult:
    """Tell the whole story to `echo`, line by line, and write the report, by default into the workspace.

    `fast` has smaller data and fewer steps, for a look in a minute or two; `plan` replaces both built-in plans.
    """
    started = time.perf_counter()
    plan = plan or (FAST if fast else DemoPlan())
    story = _Story(ws, plan, echo)
    story.establish()
    launched = story.launch()
    story.grow()
    comparison = story.compare()
    systems = story.systems()
    for line in comparison_lines(comparison, systems):
        echo(line)
    result = DemoResult(
        report=(report or ws.settings.workspace / "demo-report.html").resolve(),
        first_recommendation_seconds=launched.seconds,
        hub=story.hub,
        comparison=comparison,
        systems=systems,
        curve=story.curve(),
        baskets=story.baskets(),
        lineage=story.lineage(),
        pictures=launch_with_pictures(ws, plan.pictures, echo, story.step, plan.picture_hub) if plan.pictures else None,
        released=ws.registry.domains.get(story.name).live,
        reused=not any(story.made),
        seconds=round(time.perf_counter() - started, 1),
    )
    write_report(result, plan)
    if result.reused:
        echo("Every version was there already; nothing was trained again.")
    echo(f"Done in {result.seconds:.0f} s.")
    return result


def domain_name(department: str) -> str:
    """A department's domain: `MEAT-PCKGD` is `meat_pckgd`."""
    return department.lower().replace("-", "_").replace(" ", "_")


class _Story:
    """The telling, chapter by chapter, and what it remembers: the hub, the spoke of each week, what was made anew."""

    def __init__(self, ws: Workspace, plan: DemoPlan, echo: Echo) -> None:
        self.ws, self.plan, self.echo = ws, plan, echo
        self.name = domain_name(plan.launched)
        self.hub = ""
        self.spokes: dict[int, str] = {}
        self.made: list[bool] = []

    def step(self, text: str, cached: bool, seconds: float | None = None) -> None:
        took = "" if seconds is None or cached else f" ({seconds:.1f} s)"
        self.made.append(not cached)
        self.echo(f"  {text}{' (reused)' if cached else took}")

    def establish(self) -> None:
        """Domains with history, a hub trained on their union, a spoke for each."""
        plan, ws = self.plan, self.ws
        self.echo(f"1. Established departments, with what was known on {plan.launch_date:%d %B %Y}")
        for department in plan.established:
            items, events = department_items(department), department_events(department)
            name, about, until = domain_name(department), department.title(), plan.launch_date
            added = ws.domain.add(name, items=items, events=events, sessions=SESSIONS, until=until, description=about)
            rows = [part.rows for part in (added.items, added.events) if part is not None]
            self.step(f"{name}: {rows[0]} products, {rows[1]} purchases", added.cached)
        names = [domain_name(department) for department in plan.established]
        hub = ws.hub.train(domains=names, config=plan.hub)
        self.hub = str(hub.ref)
        kept = {
            name: hub.summary.get(f"kept_{key}", 0.0) for name, key in (("fusion", "share"), ("reading", "reading"))
        }
        told = " and ".join(f"{share:.0%} of how its {name} was trained" for name, share in kept.items() if share)
        verdict = f"keeps {told}" if told else _NOTHING_KEPT
        read = f"{hub.summary.get('items')} products of {len(names)} departments"
        self.step(f"{hub.ref}: {read}; {verdict}", hub.cached, hub.seconds)
        ws.promote(self.hub, reason="demo")
        for name in names:
            spoke = ws.spoke.train(name, hub=self.hub, config=plan.established_spoke, split="all", refit=False)
            score = spoke.summary["validation_ndcg@10"]
            self.step(f"{spoke.ref}: spoke, NDCG@10 {score:.3f} on its validation events", spoke.cached, spoke.seconds)

    def launch(self) -> LaunchResult:
        """The new department on day zero: a catalog, no events."""
        plan, title = self.plan, self.plan.launched.title()
        self.echo(f"2. {title} opens on {plan.launch_date:%d %B %Y}: a catalog, not one purchase")
        items, about = department_items(plan.launched), f"{title}, launched cold"
        result = self.ws.launch(self.name, items, hub=self.hub, sessions=SESSIONS, description=about)
        cached = all(step["cached"] for step in result.steps if step["step"] in ("snapshot of items", "index"))
        by = result.recommendations[0].served_by
        served = f"{self.hub} alone" if by == self.hub else by
        self.step(f"first recommendation {result.seconds:.1f} s after `launch`, served by {served}", cached)
        self._show(result.recommendations[0])
        return result

    def grow(self) -> None:
        """Let the weeks pass: snapshots of the events so far, and a spoke trained on each."""
        plan, ws, name = self.plan, self.ws, self.name
        events = department_events(plan.launched)
        self.echo("3. Weeks pass: snapshots of the purchases so far, and a spoke trained on each")
        for week in plan.weeks:
            snapshot = ws.data.ingest(name, events=events, since=plan.launch_date, until=plan.after(week)).events
            if snapshot is None or snapshot.ref is None:
                raise InvalidDataError(f"{plan.launched} sold nothing in {week} weeks; choose another department.")
            config, last = plan.launched_spoke, week == max(plan.weeks)
            try:
                spoke = ws.spoke.train(name, config=config, events=snapshot.ref, split="all", refit=True, promote=last)
            except InvalidDataError as error:
                why = f"{snapshot.rows} purchases train no spoke yet"
                self.echo(f"  week {week:2d}: {why}; the hub serves on ({error})")
                continue
            cached = spoke.cached and snapshot.cached
            self.step(f"week {week:2d}: {spoke.ref}, trained on {snapshot.rows} purchases", cached, spoke.seconds)
            self.spokes[week] = str(spoke.ref)
        ws.data.ingest(name, events=events, since=plan.launch_date, until=plan.test_until)

    def compare(self) -> CompareResult:
        plan = self.plan
        self.echo(f"4. Measured on what households bought from {plan.test_from:%d %B} to {plan.test_until:%d %B %Y}")
        # Every week is measured, for the curve that the console draws; the table shows some of them.
        models = ["popularity", "item-cf", self.hub, *self.spokes.values()]
        protocol = Protocol(name="temporal", test_from=plan.test_from, test_until=plan.test_until)
        return self.ws.evaluate.compare(self.name, models, baseline=self.hub, protocol=protocol)

    def systems(self) -> dict[str, str]:
        """What the table calls each version."""
        own = {ref: f"spoke, week {week}" for week, ref in self.spokes.items() if week in self.plan.table_weeks}
        return {"popularity": "popularity", "item-cf": "item-to-item CF", self.hub: "hub alone", **own}

    def curve(self) -> list[CurvePoint]:
        """NDCG@10 on the table's test window of systems that know the first weeks only, with the test's histories."""
        plan, weeks = self.plan, (0, *self.plan.weeks)
        dataset = load_dataset(self.ws, self.name)
        protocol = Protocol(name="temporal", test_from=plan.test_from, test_until=plan.test_until, refit=True)
        users = evaluation_set(dataset.sequences, protocol)

        def point(system: str, week: int, score: Score) -> CurvePoint:
            found = evaluate(score, users)["all"].estimate("ndcg@10")
            return CurvePoint(system, week, found.value, found.low, found.high)

        alone = point("hub alone", 0, recommender_of(self.ws, self.hub, dataset, protocol).score)
        found = [CurvePoint("hub alone", week, alone.value, alone.low, alone.high) for week in weeks]
        for week in weeks:
            known_until = int(plan.after(week).timestamp() * 1_000_000)
            known = dataset.sequences.keep_events(dataset.sequences.timestamps < known_until)
            found.append(point("popularity", week, Popularity(known).score))
            found.append(point("item-to-item CF", week, ItemToItem(known).score))
            if week in self.spokes:
                spoke = recommender_of(self.ws, self.spokes[week], dataset, protocol)
                found.append(point("spoke", week, spoke.score))
        return found

    def baskets(self) -> list[Recommendations]:
        """Recommendations for three real households, by what they bought last."""
        self.echo("5. Three real baskets")
        sequences = load_dataset(self.ws, self.name).sequences.by_user()
        shop = Recommender(self.ws, self.name)
        typical = [row for row, length in enumerate(sequences.lengths) if 4 <= length <= 12]
        baskets = []
        for row in typical[:: max(1, len(typical) // 3)][:3]:
            last = [shop.item_ids[item] for item in sequences[row][-4:]]
            baskets.append(shop.recommend(last, k=5, exclude_seen=True))
            self._show(baskets[-1])
        return baskets

    def _show(self, answer: Recommendations) -> None:
        self.echo(f"    bought: {'; '.join(item['title'] for item in answer.session)}")
        for item in answer.items[:5]:
            self.echo(f"      {item['rank']}. {item['title']}  [{item['category']}]")

    def lineage(self) -> str:
        """The tree of the live release."""
        self.echo("6. Where the live release came from")
        lines = tree_lines(self.ws.lineage.show(self.name))
        for line in lines:
            self.echo(f"  {line}")
        return "\n".join(lines)
