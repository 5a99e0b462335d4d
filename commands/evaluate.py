"""`hubspoke evaluate`: measure one recommender, or compare several, under a protocol printed with the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from .call import Call, command_options
from .models import dict_table
from .options import cutoffs, names, protocol_options
from .output import facts, table

if TYPE_CHECKING:
    from ..evaluation.protocols import Protocol


@click.group()
def evaluate() -> None:
    """Evaluations: full ranking over the whole catalog, with confidence intervals."""


_measured = protocol_options(
    click.option(
        "-k", "--k", "ks", type=cutoffs, metavar="K,...", default="10,20,100", show_default=True, help="List lengths."
    ),
    click.option(
        "--part", type=click.Choice(["test", "validation"]), default="test", show_default=True, help="What is ranked."
    ),
)
_domain = click.option("--domain", required=True, metavar="NAME", help="Category to measure on.")
_events = click.option("--events", metavar="REF", help="Event snapshot (default: the newest).")
_no_record = click.option("--no-record", is_flag=True, help="Do not keep the numbers in the registry.")


@evaluate.command()
@_domain
@click.option(
    "--model",
    required=True,
    metavar="REF",
    help="garden, garden:7, hub, hub:4, hub-recency, popularity, popularity-7d, item-cf, als, product2vec or sknn.",
)
@_measured
@_events
@_no_record
@command_options
def run(call: Call, domain: str, model: str, protocol: Protocol, events: str | None, no_record: bool) -> None:
    """Measure one recommender.

    \b
    Example:
      hubspoke evaluate run --domain garden --model garden:7 --protocol leave-one-out -k 10
    """
    result = call.workspace().evaluate.run(domain, model, protocol, events=events, record=not no_record)
    call.show(result, lambda: evaluated(result.to_dict()))


@evaluate.command()
@_domain
@click.option("--models", required=True, metavar="A,B,C", help="Recommenders, written like --model of `run`.")
@click.option("--baseline", metavar="REF", help="Recommender that the others are compared with (default: the first).")
@_measured
@_events
@_no_record
@command_options
def compare(
    call: Call,
    domain: str,
    models: str,
    baseline: str | None,
    protocol: Protocol,
    events: str | None,
    no_record: bool,
) -> None:
    """Compare recommenders on the same test, with intervals of their differences paired by user.

    \b
    Example:
      hubspoke evaluate compare --domain garden --models popularity,item-cf,hub,garden:7
    """
    result = call.workspace().evaluate.compare(
        domain, names(models), baseline, protocol, events=events, record=not no_record
    )
    call.show(result, lambda: compared(result.to_dict()))


def evaluated(data: Mapping[str, Any]) -> str:
    """One recommender's numbers, slice by slice, under their protocol."""
    head = [(name, data.get(name)) for name in ("model", "domain", "evaluation", "n_users")]
    head += [("note", data["note"])] if data.get("note") else []
    protocol = data["protocol"]
    return f"{facts([*head, ('protocol', protocol['description'])])}\n\n{_metrics(data)}"


def _metrics(data: Mapping[str, Any]) -> str:
    rows = [
        (slice_, name, value, *data["intervals"].get(slice_, {}).get(name, (None, None)), data["n_targets"].get(slice_))
        for slice_, values in data["metrics"].items()
        for name, value in values.items()
    ]
    return table(("slice", "metric", "value", "low", "high", "targets"), rows)


def compared(data: Mapping[str, Any]) -> str:
    """Several recommenders' numbers side by side under their protocol."""
    head = {"domain": data["domain"], "events": data["events"], "protocol": data["protocol"]["description"]}
    notes = [(one["model"], one["note"]) for one in data.get("results", ()) if one.get("note")]
    return f"{facts([*head.items(), ('compared with', data['baseline']), *notes])}\n\n{dict_table(data['rows'])}"
