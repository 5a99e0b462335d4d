"""Answers about lineage as text: flat listings, what a change costs, two versions side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..reports.lineage import relations
from .output import cell, table

if TYPE_CHECKING:
    from ..registry.lineage.differences import DataSide, Difference
    from ..registry.lineage.graph import Lineage
    from ..registry.lineage.impact import Impact, ImpactStep
    from ..registry.records import ModelPart

NAMED = 3
# Metrics that the text of a difference shows; --json has all of them.
HEADLINES = ("hr@10", "ndcg@10")
# What a training says of itself that differs each time and tells nothing of what it made.
UNTOLD = ("seconds", "windows_per_second")
DIGEST = 12


def listing(lineage: Lineage) -> str:
    """Every node but the root, nearest first, with the edges that the shortest ways to it end with."""
    nearest = lineage.nearest()
    rows = [
        (
            reached.ref,
            reached.node.kind.replace("_", " "),
            reached.node.domain,
            reached.depth,
            reached.node.created_at,
            ", ".join(dict.fromkeys(relations([edge]) for edge in nearest[reached.ref])),
        )
        for reached in lineage.nodes[1:]
    ]
    made = "was made from nothing" if lineage.direction == "upstream" else "has had nothing made from it"
    headers = ("ref", "kind", "domain", "depth", "created", "relation")
    return table(headers, rows, f"{lineage.root.ref} {made}.")


# ---- impact ----


def impact_text(impact: Impact) -> str:
    """The steps as a table, and what they add up to in one line."""
    if not impact.steps:
        what = "serves from" if impact.live else "has to be made again because of"
        return f"Nothing {what} {impact.root.ref}; {_beside(impact)}."
    headers = ("#", "do", "ref", "items", "took", "serves", "after")
    return f"{table(headers, map(_step, impact.steps))}\n\n{_totals(impact)}"


def _step(step: ImpactStep) -> tuple[object, ...]:
    after = [*step.depends_on[:NAMED]]
    after += [f"{len(step.depends_on) - NAMED} more"] if len(step.depends_on) > NAMED else []
    serves = ", ".join(step.aliases) or step.serves
    took = None if step.seconds is None else duration(step.seconds)
    return step.order, step.action, step.ref, step.n_items, took, serves, after


def _totals(impact: Impact) -> str:
    totals = impact.totals
    actions = ", ".join(f"{action} {count}" for action, count in totals.actions.items() if count)
    live = f" ({totals.live_releases} live)" if totals.live_releases else ""
    took = f"; {duration(totals.seconds)} last time" if totals.seconds else ""
    return f"{_count(len(impact.steps), 'step')}: {actions}{live}{took}; {_beside(impact)}."


def _beside(impact: Impact) -> str:
    totals = impact.totals
    speak = "speaks" if totals.evaluations == 1 else "speak"
    parts = [f"{_count(totals.evaluations, 'evaluation')} {speak} of this"]
    parts += [_count(totals.rule_sets, "version") + " of rules made from it"] if totals.rule_sets else []
    parts += [f"{_count(totals.old_releases, 'old release')} left out"] if totals.old_releases else []
    return "; ".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """A duration in its two largest units."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours:,} h {minutes:02} min"


# ---- differences ----


def difference_text(difference: Difference) -> str:
    """One table per section, only what differs; of the metrics the headline ones, whether or not they differ."""
    head = f"{difference.a.ref} and {difference.b.ref}"
    sections = [f"{title}\n{text}" for title, text in _sections(difference) if text]
    verdict = f"{head} do not differ." if difference.same else f"{head} differ."
    return "\n\n".join([verdict, *sections])


def _sections(difference: Difference) -> Iterator[tuple[str, str]]:
    a, b = difference.a.ref, difference.b.ref
    yield (
        "data",
        table(("data", a, b), [(d.name, data_cell(d.a), data_cell(d.b)) for d in _differing(difference.data)], ""),
    )
    for title in ("config", "code"):
        values = _differing(getattr(difference, title))
        yield title, table((title, a, b), [(v.key, value_cell(v.a), value_cell(v.b)) for v in values], "")
    parents = [(said_of(p.relation, p.part), p.a, p.b) for p in _differing(difference.parents)]
    yield "parents", table(("relation", a, b), parents, "")
    parts = [(p.name, part_cell(p.a), part_cell(p.b)) for p in _differing(difference.parts)]
    yield "parts", table(("part", a, b), parts, "")
    for title in ("outcome", "summary"):
        values = [
            (v.key, value_cell(v.a), value_cell(v.b))
            for v in _differing(getattr(difference, title))
            if v.key not in UNTOLD
        ]
        yield title, table((title, a, b), values, "")
    told = [m for m in difference.metrics if m.name in HEADLINES]
    metrics = [(m.name, m.slice, m.a, m.b, m.difference, m.events) for m in told]
    yield "metrics", table(("metric", "slice", a, b, "difference", "on"), metrics, "")


def _differing(section: Sequence[Any]) -> list[Any]:
    return [one for one in section if not one.same]


def said_of(relation: str, part: str | None) -> str:
    """A relation in words: `inherits (text)`."""
    return f"{relation.replace('_', ' ')}{f' ({part})' if part else ''}"


def data_cell(side: DataSide | None) -> str | None:
    """A snapshot with its size, the beginning of its hash and its day."""
    if side is None:
        return None
    moment = f", as of {cell(side.as_of)}" if side.as_of else ""
    return f"{side.ref}: {_count(side.rows, 'row')}, {side.content_hash[:DIGEST]}{moment}"


def part_cell(part: ModelPart | str | None) -> str | None:
    """A part by the beginning of its fingerprint, its size and where it came from."""
    if part is None or isinstance(part, str):
        return part
    inherited = f", inherited from {part.source}" if part.source else ""
    size = "" if part.parameters is None else f", {part.parameters:,} parameters"
    return f"{part.fingerprint[:DIGEST]}{size}{inherited}"


def value_cell(value: object) -> object:
    """Digests are cut; what is nested stays on its line."""
    is_digest = isinstance(value, str) and len(value) == 64 and value.isalnum()
    return str(value)[:DIGEST] if is_digest else value
