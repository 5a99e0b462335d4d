"""Spoke versions side by side: `lineage diff` of the first with each of the others, laid into one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UsageError
from ..registry.kinds import ModelKind
from ..results import Record
from .loading import ready_model, spoke_ref

if TYPE_CHECKING:
    from ..registry.lineage.differences import Difference
    from .context import Context

SECTIONS = ("data", "config", "code", "parents", "parts", "outcome", "summary")


@dataclass(frozen=True)
class ComparedRow(Record):
    """One thing that versions are told by, with its value in each, None where a version lacks it."""

    section: str
    name: str
    values: tuple[Any, ...]
    same: bool


@dataclass(frozen=True)
class ComparedMetric(Record):
    """One metric of recorded evaluations under one protocol on one event snapshot."""

    name: str  # such as `ndcg@10`
    slice: str  # of the users or items
    events: str  # snapshot that was measured on
    values: tuple[float | None, ...]  # of each version; None for one that was not measured so
    evaluations: tuple[str | None, ...]  # where they are recorded, likewise


@dataclass(frozen=True)
class SpokeComparison(Record):
    """Spoke versions side by side, everything listed whether or not it differs."""

    versions: tuple[str, ...]  # exact references, in the order asked for
    rows: tuple[ComparedRow, ...]  # data, config, code, parents, parts, outcome, and what each training found
    metrics: tuple[ComparedMetric, ...]  # of the first version, and of the others measured in the same way


def compare_spokes(context: Context, refs: Sequence[str]) -> SpokeComparison:
    """What differs between two spoke versions or more."""
    named = [ready_model(context, spoke_ref(context, ref), ModelKind.SPOKE).ref for ref in refs]
    if len(named) < 2 or len({*named}) < len(named):
        raise UsageError(f"There are not two versions to compare in {', '.join(refs)}; name each one once.")
    pairs = [context.registry.lineage.diff(named[0], other) for other in named[1:]]
    rows = [row for section in SECTIONS for row in _rows(section, pairs)]
    return SpokeComparison(tuple(named), tuple(rows), tuple(_metrics(pairs)))


def _rows(section: str, pairs: Sequence[Difference]) -> list[ComparedRow]:
    def name_of(one: Any) -> str:
        """What a difference is of: a key, a name, or a relation with its part."""
        if hasattr(one, "relation"):
            return f"{one.relation} {one.part}" if one.part else str(one.relation)
        return str(getattr(one, "key", None) or one.name)

    sides: list[dict[str, Any]] = [{name_of(one): one for one in getattr(pair, section)} for pair in pairs]
    rows = []
    for name in sorted({name for side in sides for name in side}):
        found = [side.get(name) for side in sides]
        first = next(one.a for one in found if one is not None)
        # What a pair does not list neither of its versions has, so that the other is as the first.
        same = all(one is None or one.same for one in found)
        rows.append(ComparedRow(section, name, (first, *(first if one is None else one.b for one in found)), same))
    return rows


def _metrics(pairs: Sequence[Difference]) -> list[ComparedMetric]:
    found: dict[tuple[str, str, str, str], dict[int, tuple[float, str]]] = {}
    for place, pair in enumerate(pairs, 1):
        for metric in pair.metrics:
            key = (metric.events, metric.evaluations[0], metric.slice, metric.name)
            values = found.setdefault(key, {0: (metric.a, metric.evaluations[0])})
            values[place] = metric.b, metric.evaluations[1]
    compared = []
    for (events, _, slice_, name), values in sorted(found.items()):
        measured, where = zip(*(values.get(place, (None, None)) for place in range(len(pairs) + 1)), strict=True)
        compared.append(ComparedMetric(name, slice_, events, measured, where))
    return compared
