"""`hubspoke evaluate`: measure one recommender, or compare several, under a protocol printed with the numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ..spokes.baselines import FITTED
from .call import Call, Noun
from .models import dict_table
from .options import choice, cutoffs, events_ref, names, protocol_options, together
from .output import facts, table

if TYPE_CHECKING:
    from ..evaluation.protocols import Protocol
    from ..workflows.evaluations import CompareResult, EvaluationResult


@click.group(cls=Noun)
def evaluate() -> None:
    """Evaluations: full ranking over the whole catalog, with confidence intervals."""


_lengths = click.option(
    "-k", "--k", "ks", type=cutoffs, metavar="K,...", default="10,20,100", show_default=True, help="List lengths."
)
_measured = together(
    protocol_options(_lengths, choice("--part", ("test", "validation"), "What is ranked.")),
    events_ref,
    click.option("--no-record", is_flag=True, help="Do not keep the numbers in the registry."),
)
_BASELINES = " or ".join([", ".join([*FITTED][:-1]), [*FITTED][-1]])
_domain = click.option("--domain", required=True, metavar="NAME", help="Category to measure on.")


@evaluate.command(example="hubspoke evaluate run --domain garden --model garden:7 --protocol leave-one-out -k 10")
@_domain
@click.option("--model", required=True, metavar="REF", help=f"garden, garden:7, hub, hub:4, hub-recency, {_BASELINES}.")
@_measured
def run(call: Call, domain: str, model: str, protocol: Protocol, events: str | None, no_record: bool) -> None:
    """Measure one recommender."""
    result = call.workspace().evaluate.run(domain, model, protocol, events=events, record=not no_record)
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
