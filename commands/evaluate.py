"""`hubspoke evaluate`: measure one recommender, compare several, or assess a version, the protocol always printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..evaluation.catalogue import DIMENSIONS, bound
from ..spokes.baselines import FITTED
from ..workflows.typed_lists import names
from .call import Call, Noun
from .models import dict_table
from .options import choice, cutoffs, events_ref, how_many, protocol_options, table_files, together
from .output import Columns, facts, records_table, table

if TYPE_CHECKING:
    from ..catalog.tables import Files
    from ..evaluation.protocols import Protocol
    from ..workflows.assessment.business import BusinessCard
    from ..workflows.assessment.records import CardRow
    from ..workflows.evaluations import CompareResult, EvaluationResult
    from ..workflows.quality import QualityCard, VersionDrift


@click.group(cls=Noun)
def evaluate() -> None:
    """Evaluations: full ranking over the whole catalog, with confidence intervals."""


_lengths = click.option(
    "-k", "--k", "ks", type=cutoffs, metavar="K,...", default="10,20,100", show_default=True, help="List lengths."
)
_no_record = click.option("--no-record", is_flag=True, help="Do not keep the numbers in the registry.")
_measured = together(
    protocol_options(_lengths, choice("--part", ("test", "validation"), "What is ranked.")),
    events_ref,
    click.option(
        "--by",
        type=click.Choice(("category", "brand", "price", "length")),
        multiple=True,
        help="Also slices by leaf category, brand, price band or length of the history; repeatable.",
    ),
    _no_record,
)
_BASELINES = " or ".join([", ".join([*FITTED][:-1]), [*FITTED][-1]])
_domain = click.option("--domain", required=True, metavar="NAME", help="Category to measure on.")


@evaluate.command(example="hubspoke evaluate run --domain garden --model garden:7 --protocol leave-one-out -k 10")
@_domain
@click.option("--model", required=True, metavar="REF", help=f"garden, garden:7, hub, hub:4, hub-recency, {_BASELINES}.")
@_measured
def run(call: Call, domain: str, model: str, protocol: Protocol, no_record: bool, **options: Any) -> None:
    """Measure one recommender."""
    result = call.workspace().evaluate.run(domain, model, protocol, record=not no_record, **options)
    call.show(result, evaluated)


@evaluate.command(example="hubspoke evaluate compare --domain garden --models popularity,item-cf,hub,garden:7")
@_domain
@click.option("--models", required=True, metavar="A,B,C", help="Recommenders, written like --model of `run`.")
@click.option("--baseline", metavar="REF", help="Recommender that the others are compared with (default: the first).")
@_measured
def compare(
    call: Call, /, domain: str, models: str, baseline: str | None, protocol: Protocol, no_record: bool, **options: Any
) -> None:
    """Compare recommenders on the same test, with intervals of their differences paired by user."""
    compare = call.workspace().evaluate.compare
    call.show(compare(domain, names(models), baseline, protocol, record=not no_record, **options), compared)


_of_hub = click.option("--domain", metavar="NAME", help="Category, where a hub is named.")


@evaluate.command(example=("hubspoke evaluate quality garden", "hubspoke evaluate quality hub:4 --domain garden"))
@click.argument("ref")
@_of_hub
@click.option(
    "--dimension",
    "dimensions",
    type=click.Choice(DIMENSIONS[:-1]),
    multiple=True,
    help="Measure this dimension alone; repeatable (default: all).",
)
@protocol_options()
@events_ref
@click.option(
    "--sample",
    type=click.IntRange(min=100),
    default=100_000,
    show_default=True,
    help="Items that the space is measured on, where there are more.",
)
@click.option("--slices", is_flag=True, help="Print every part and slice, not the whole alone.")
@_no_record
def quality(call: Call, /, ref: str, slices: bool, no_record: bool, **options: Any) -> None:
    """Assess a version: its space, its recommendations, its index, each number beside its threshold.

    REF is a category, release, spoke, index or hub. The space needs no events, so a new category can be assessed on its
    first day.
    """
    card = call.workspace().quality.card(ref, record=not no_record, **options)
    call.show(card, lambda shown: _card(shown, slices))


@evaluate.command(example="hubspoke evaluate drift garden:6 garden:7")
@click.argument("a")
@click.argument("b")
@_of_hub
@events_ref
@_no_record
def drift(call: Call, a: str, b: str, domain: str | None, events: str | None, no_record: bool) -> None:
    """How far version B has gone from version A: vectors, neighbours and recommendations."""
    call.show(call.workspace().quality.drift(a, b, domain, events=events, record=not no_record), _drifted)


@evaluate.command(
    example=(
        "hubspoke evaluate business garden:7 --log impressions.parquet",
        "hubspoke evaluate business garden:7 --protocol temporal --test-from 2026-01-05",
    )
)
@click.argument("ref")
@table_files("--log", "Impressions: user_id, revenue, logged, target; cost and seller_rank where known.")
@_of_hub
@click.option("--clip", type=click.FloatRange(min=0, min_open=True), help="Cut weights to this (default: no clip).")
@how_many(10, "Length of a simulated list.")
@protocol_options()
@events_ref
@_no_record
def business(
    call: Call,
    ref: str,
    log: Files | None,
    domain: str | None,
    clip: float | None,
    no_record: bool,
    **simulated: Any,
) -> None:
    """What version REF would have earned, from a log of impressions with the probabilities of what was shown.

    `logged` is the probability with which the version in service showed the product there, `target` that with which REF
    would have (docs/business.md). A log that cannot carry the claim is refused. Without --log it is a SIMULATION on the
    purchases that the protocol holds out, which ranks versions and forecasts nothing.
    """
    quality, record = call.workspace().quality, not no_record
    if log:
        found = quality.business(ref, log, domain, clip=clip, record=record)
    else:
        if clip is not None:
            raise click.UsageError("--clip cuts the weights of a log; give --log FILE too.")
        found = quality.simulated_business(ref, domain, record=record, **simulated)
    call.show(found, _earned)


def evaluated(result: EvaluationResult) -> str:
    """One recommender's numbers, slice by slice, under their protocol."""
    head = [(name, getattr(result, name) or "-") for name in ("model", "domain", "evaluation", "n_users")]
    rows = [
        (part, name, value, *result.intervals.get(part, {}).get(name, (None, None)), result.n_targets.get(part))
        for part, values in result.metrics.items()
        for name, value in values.items()
    ]
    told = facts([*head, ("note", result.note), ("protocol", result.protocol["description"])])
    return f"{told}\n\n{table(('slice', 'metric', 'value', 'low', 'high', 'targets'), rows)}"


def compared(result: CompareResult) -> str:
    """Several recommenders' numbers side by side under their protocol."""
    head = [("domain", result.domain), ("events", result.events), ("protocol", result.protocol["description"])]
    notes = [(one.model, one.note) for one in result.results]
    return f"{facts([*head, ('compared with', result.baseline), *notes])}\n\n{dict_table(result.to_dict()['rows'])}"


_ROWS: Columns = {
    "metric": "metric",
    "slice": "slice",
    "value": "value",
    "low": "low",
    "high": "high",
    "unit": "unit",
    "threshold": lambda row: _threshold(row),
    "met": lambda row: {True: "yes", False: "NO", None: "-"}[row.met],
}


def _threshold(row: CardRow) -> str:
    return "-" if row.threshold is None else bound(row.better, row.threshold)


def _card(card: QualityCard, slices: bool) -> str:
    """One table for each dimension, under what was measured how."""
    head = [(name, getattr(card, name)) for name in ("ref", "domain", "model", "index", "items", "events")]
    told = facts([*head, *card.protocols.items(), ("recorded", list(card.evaluations.values()) or None)])
    parts = [told]
    for dimension in DIMENSIONS:
        rows = [row for row in card.rows if row.dimension == dimension and (slices or row.slice == "all")]
        parts.append(f"{dimension.upper()}\n{records_table(rows, _ROWS, 'not measured')}")
    return "\n\n".join([*parts, *card.notes])


def _drifted(found: VersionDrift) -> str:
    """How far two versions are apart, part by part."""
    head = facts([("domain", found.domain), ("protocol", found.protocol), ("recorded", found.evaluation)])
    return f"{head}\n\n{records_table(found.rows, _ROWS)}"


def _earned(found: BusinessCard) -> str:
    """What a version would have earned, under what it rests on."""
    told = ["domain", "protocol", "n_shoppers"]
    told += ["n_purchases"] if found.simulated else ["n_impressions", "effective_sample_size", "clip", "clipped"]
    head = [(name.removeprefix("n_").replace("_", " "), getattr(found, name)) for name in told]
    notes = [("note", note) for note in found.notes]
    return f"{facts([*head, *notes, ('recorded', found.evaluation)])}\n\n{records_table(found.rows, _ROWS)}"
