"""What a version would have earned: from a log of impressions, or, where there is none, simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import UsageError
from ...registry.records import MetricRecord
from ...registry.stores.evaluations import NewEvaluation
from ...results import Record
from ..assessments import BUSINESS_PROTOCOL, SIMULATION_PROTOCOL
from ..datasets import find_snapshot
from .impressions import measure_log
from .records import CardRow, card_rows
from .simulation import simulate
from .subject import Named, find_named

if TYPE_CHECKING:
    from ...catalog.tables import Files
    from ...evaluation.protocols import Protocol
    from ..context import Context


@dataclass(frozen=True)
class BusinessCard(Record):
    """What a version would have earned in place of the one that showed the impressions of a log.

    Where `simulated` is true nothing was shown: held-out purchases are counted by where the version ranks them, and
    what belongs to a log is None. `effective_sample_size` is in shoppers; `clipped` is the share of impressions whose
    weight was cut to `clip`.
    """

    ref: str
    domain: str
    simulated: bool
    protocol: str
    n_shoppers: int
    n_impressions: int | None
    n_purchases: int | None  # held out, of a simulation
    effective_sample_size: float | None
    clip: float | None
    clipped: float | None
    evaluation: str | None
    rows: Sequence[CardRow]
    notes: Sequence[str] = ()


def from_log(
    context: Context, ref: str, domain: str | None, log: Files, clip: float | None, record: bool
) -> BusinessCard:
    """The card that a table of impressions supports."""
    named = find_named(context, ref, domain)
    if record:
        context.require_writable()
    measured = measure_log(log, clip)
    weighted = measured.weighted
    clipping = "no clip" if clip is None else f"clip {clip:g}"
    words = f"impressions weighted by target / logged, self-normalised, {clipping}"
    stored = None
    if record:
        known = (find_snapshot(context, named.domain, kind) for kind in ("events", "items"))
        source = next(found.ref for found in known if found is not None)
        protocol = {"name": BUSINESS_PROTOCOL, "description": words, "clip": clip}
        details = {"effective_sample_size": weighted.effective_sample_size}
        stored = _store(context, named, source, protocol, weighted.n_shoppers, measured.metrics, details)
    return BusinessCard(
        ref=named.ref,
        domain=named.domain,
        simulated=False,
        protocol=words,
        n_shoppers=weighted.n_shoppers,
        n_impressions=len(weighted.shoppers),
        n_purchases=None,
        effective_sample_size=weighted.effective_sample_size,
        clip=clip,
        clipped=weighted.clipped,
        evaluation=stored,
        rows=card_rows(measured.metrics),
    )


def simulated(
    context: Context,
    ref: str,
    domain: str | None,
    protocol: Protocol | None,
    k: int,
    events: str | None,
    record: bool,
) -> BusinessCard:
    """The card that held-out purchases make."""
    if k < 1:
        raise UsageError(f"A list of {k} earns nothing; give a k of at least 1.")
    named = find_named(context, ref, domain)
    if record:
        context.require_writable()
    found = simulate(context, named, protocol, k, events)
    words = f"SIMULATION on held-out purchases, lists of {k}, place r looked at by 1 / log2(1 + r), "
    words += found.protocol.describe()
    stored = None
    if record:
        kept = {**found.protocol.model_dump(mode="json"), "name": SIMULATION_PROTOCOL, "description": words, "k": k}
        details = {"n_purchases": found.n_purchases}
        stored = _store(context, named, found.events.ref, kept, found.n_shoppers, found.metrics, details)
    return BusinessCard(
        ref=named.ref,
        domain=named.domain,
        simulated=True,
        protocol=words,
        n_shoppers=found.n_shoppers,
        n_impressions=None,
        n_purchases=found.n_purchases,
        effective_sample_size=None,
        clip=None,
        clipped=None,
        evaluation=stored,
        rows=card_rows(found.metrics),
        notes=found.notes,
    )


def _store(
    context: Context,
    named: Named,
    events: str,
    protocol: Mapping[str, Any],
    n_shoppers: int,
    metrics: Sequence[MetricRecord],
    details: Mapping[str, Any],
) -> str:
    new = NewEvaluation(
        named.domain,
        named.ref,
        events,
        protocol=protocol,
        n_users=n_shoppers,
        metrics=metrics,
        details={"model": named.model.ref, **details},
    )
    return context.registry.evaluations.add(new).ref
