"""`hubspoke lineage`: what a version was made from, what was made from it, what a change costs, what differs."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import MissingExtraError, UsageError
from ..registry.lineage.graph import Direction, Lineage
from ..registry.lineage.impact import Impact
from ..reports.lineage import dot as as_dot
from ..reports.lineage import mermaid as as_mermaid
from ..reports.lineage import relations, tree_lines
from .call import Call, Noun
from .differences import difference_text
from .options import together
from .output import Columns, records_table, write
from .plain import escaped_json

NAMED = 3
_drawing = together(
    click.option("--dot", is_flag=True, help="Draw it in the language of Graphviz."),
    click.option("--mermaid", is_flag=True, help="Draw it as a Mermaid flowchart."),
)


@click.group(cls=Noun)
def lineage() -> None:
    """Lineage: how each version came from the others."""


@lineage.command(example="hubspoke lineage export garden --output garden.ndjson")
@click.argument("refs", metavar="[REF]...", nargs=-1)
@click.option("--openlineage", is_flag=True, default=True, help="As OpenLineage run events: the one form so far.")
@click.option("--output", metavar="FILE", help="Write the events to FILE instead of stdout.")
def export(call: Call, refs: tuple[str, ...], openlineage: bool, output: str | None) -> None:
    """Every run upstream of REF..., or of the whole registry: ingests, trainings, indexes, evaluations, releases."""
    try:
        from ..workflows.openlineage import export as export_events
        from ..workflows.openlineage import line, run_events
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "Exporting lineage needs OpenLineage's client; install it with `pip install 'hubspoke[openlineage]'`."
        ) from error
    workspace = call.workspace()
    if output is None and not call.json:
        # One by one: the events of a large registry do not fit on a screen, nor all in memory as text.
        call.progress.close()
        for event in run_events(workspace, refs):
            write(escaped_json(line(event)))
        return
    result = export_events(workspace, refs, None if output is None else Path(output))
    call.show(result, f"{result.n_events} events are in {result.output}.")


@lineage.command(
    example=("hubspoke lineage show garden", "hubspoke lineage show snapshot:garden/events/3 --downstream --depth 2")
)
@click.argument("ref")
@click.option("--downstream", is_flag=True, help="What was made from REF instead of what it was made from.")
@click.option("--domains", is_flag=True, help="Show the category under every snapshot too.")
@click.option("--depth", type=click.IntRange(min=1), help="Levels to show under REF (default: all).")
@_drawing
def show(call: Call, ref: str, downstream: bool, domains: bool, depth: int | None, dot: bool, mermaid: bool) -> None:
    """The lineage of a release, version, index or snapshot as a tree, with days and each version's NDCG@10."""
    direction: Direction = "downstream" if downstream else "upstream"
    if not _drawn(call, ref, direction, dot, mermaid, depth, domains):
        tree = call.workspace().lineage.show(ref, direction, domains, depth)
        call.show({"lineage": tree}, lambda _: "\n".join(tree_lines(tree)))


@lineage.command(
    example=("hubspoke lineage upstream garden:7", "hubspoke lineage upstream garden --dot | dot -Tsvg > garden.svg")
)
@click.argument("ref")
@_drawing
def upstream(call: Call, ref: str, dot: bool, mermaid: bool) -> None:
    """Everything that REF was made from, nearest first."""
    if not _drawn(call, ref, "upstream", dot, mermaid):
        found = call.workspace().lineage.upstream(ref)
        call.show({"lineage": found}, lambda _: listing(found))


@lineage.command(
    example=("hubspoke lineage downstream snapshot:garden/events/3", "hubspoke lineage downstream hub:4 --mermaid")
)
@click.argument("ref")
@_drawing
def downstream(call: Call, ref: str, dot: bool, mermaid: bool) -> None:
    """Everything that was made from REF, nearest first."""
    if not _drawn(call, ref, "downstream", dot, mermaid):
        found = call.workspace().lineage.downstream(ref)
        call.show({"lineage": found}, lambda _: listing(found))


@lineage.command(example=("hubspoke lineage impact hub:4", "hubspoke lineage impact snapshot:garden/events/3 --live"))
@click.argument("ref")
@click.option("--live", is_flag=True, help="Only what serves now.")
def impact(call: Call, ref: str, live: bool) -> None:
    """What must be retrained, rebuilt or released again if REF changes, in an order in which it can be done."""
    call.show(call.workspace().lineage.impact(ref, live), impact_text)


@lineage.command(example=("hubspoke lineage diff garden:6 garden:7", "hubspoke lineage diff release:garden/2 garden"))
@click.argument("a")
@click.argument("b")
def diff(call: Call, a: str, b: str) -> None:
    """What differs between two versions of one kind: data, config, code, parents, parts, outcome and metrics."""
    call.show(call.workspace().lineage.diff(a, b), difference_text)


def _drawn(
    call: Call, ref: str, direction: Direction, dot: bool, mermaid: bool, depth: int | None = None, domains: bool = True
) -> bool:
    """Whether a drawing was asked for, which is on stdout then."""
    asked = [name for name, given in (("--json", call.json), ("--dot", dot), ("--mermaid", mermaid)) if given]
    if len(asked) > 1:
        raise UsageError(f"{' and '.join(asked)} are forms of one answer; ask for one at a time.")
    if dot or mermaid:
        store = call.workspace().lineage
        found = (store.upstream if direction == "upstream" else store.downstream)(ref).within(depth, domains)
        call.show({}, as_dot(found) if dot else as_mermaid(found))
    return dot or mermaid


def listing(found: Lineage) -> str:
    """Every node but the root, nearest first, with the edges that the shortest ways to it end with."""
    nearest = found.nearest()
    columns: Columns = {
        "ref": "ref",
        "kind": lambda reached: reached.node.kind.replace("_", " "),
        "domain": "node.domain",
        "depth": "depth",
        "created": "node.created_at",
        "relation": lambda reached: ", ".join(dict.fromkeys(relations([edge]) for edge in nearest[reached.ref])),
    }
    made = "was made from nothing" if found.direction == "upstream" else "has had nothing made from it"
    return records_table(found.nodes[1:], columns, f"{found.root.ref} {made}.")


def impact_text(impact: Impact) -> str:
    """The steps as a table, and what they add up to in one line."""
    totals = impact.totals
    beside = [f"{_count(totals.evaluations, 'evaluation')} {'speaks' if totals.evaluations == 1 else 'speak'} of this"]
    beside += [_count(totals.rule_sets, "version") + " of rules made from it"] if totals.rule_sets else []
    beside += [f"{_count(totals.old_releases, 'old release')} left out"] if totals.old_releases else []
    if not impact.steps:
        what = "serves from" if impact.live else "has to be made again because of"
        return f"Nothing {what} {impact.root.ref}; {'; '.join(beside)}."
    actions = ", ".join(f"{action} {count}" for action, count in totals.actions.items() if count)
    live = f" ({totals.live_releases} live)" if totals.live_releases else ""
    took = f"; {duration(totals.seconds)} last time" if totals.seconds else ""
    line = f"{_count(len(impact.steps), 'step')}: {actions}{live}{took}; {'; '.join(beside)}."
    return f"{records_table(impact.steps, STEPS)}\n\n{line}"


STEPS: Columns = {
    "#": "order",
    "do": "action",
    "ref": "ref",
    "items": "n_items",
    "took": lambda step: None if step.seconds is None else duration(step.seconds),
    "serves": lambda step: ", ".join(step.aliases) or step.serves,
    "after": lambda step: [
        *step.depends_on[:NAMED],
        *([f"{len(step.depends_on) - NAMED} more"] if len(step.depends_on) > NAMED else []),
    ],
}


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """A duration in its two largest units."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
