"""`hubspoke evaluate`: measure one recommender, or compare several, under a protocol printed with the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import click

from .call import Call, command_options
from .models import dict_table
from .options import cutoffs, moment, names
from .output import facts, table


@click.group()
def evaluate() -> None:
    """Evaluations: full ranking over the whole catalog, with confidence intervals."""


def _protocol_options(function: Any) -> Any:
    for option in reversed(
        (
            click.option("--domain", required=True, metavar="NAME", help="Category to measure on."),
            click.option(
                "--protocol",
                type=click.Choice(["leave-one-out", "temporal"]),
                default="leave-one-out",
                show_default=True,
                help="How the test is split off.",
            ),
            click.option(
                "--k", "k", type=cutoffs, metavar="K,...", default="10,20,100", show_default=True, help="List lengths."
            ),
            click.option("--exclude-seen", is_flag=True, help="Leave items of the history out of the ranking."),
            click.option(
                "--part",
                type=click.Choice(["test", "validation"]),
                default="test",
                show_default=True,
                help="What is ranked.",
            ),
            click.option(
                "--test-from", type=moment, metavar="DATE", help="With --protocol temporal: where the test begins."
            ),
            click.option(
                "--test-until", type=moment, metavar="DATE", help="With --protocol temporal: where the test ends."
            ),
            click.option("--events", metavar="REF", help="Event snapshot (default: the newest)."),
            click.option("--no-record", is_flag=True, help="Do not keep the numbers in the registry."),
        )
    ):
        function = option(function)
    return function


@evaluate.command()
@click.option("--model", required=True, metavar="REF", help="garden, garden:7, hub, hub:4, popularity or item-cf.")
@_protocol_options
@command_options
def run(
    call: Call,
    model: str,
    domain: str,
    protocol: str,
    k: tuple[int, ...],
    exclude_seen: bool,
    part: str,
    test_from: datetime | None,
    test_until: datetime | None,
    events: str | None,
    no_record: bool,
) -> None:
    """Measure one recommender.

    \b
    Example:
      hubspoke evaluate run --domain garden --model garden:7 --protocol leave-one-out --k 10
    """
    result = call.workspace().evaluate.run(
        domain,
        model,
        protocol=protocol,
        k=k,
        exclude_seen=exclude_seen,
        part=part,
        test_from=test_from,
        test_until=test_until,
        events=events,
        record=not no_record,
    )
    call.show(result, lambda: evaluated(result.to_dict()))


@evaluate.command()
@click.option("--models", required=True, metavar="A,B,C", help="Recommenders, written like --model of `run`.")
@click.option("--baseline", metavar="REF", help="Recommender that the others are compared with (default: the first).")
@_protocol_options
@command_options
def compare(
    call: Call,
    models: str,
    baseline: str | None,
    domain: str,
    protocol: str,
    k: tuple[int, ...],
    exclude_seen: bool,
    part: str,
    test_from: datetime | None,
    test_until: datetime | None,
    events: str | None,
    no_record: bool,
) -> None:
    """Compare recommenders on the same test, with intervals of their differences paired by user.

    \b
    Example:
      hubspoke evaluate compare --domain garden --models popularity,item-cf,hub,garden:7
    """
    result = call.workspace().evaluate.compare(
        domain,
        names(models),
        baseline=baseline,
        protocol=protocol,
        k=k,
        exclude_seen=exclude_seen,
        part=part,
        test_from=test_from,
        test_until=test_until,
        events=events,
        record=not no_record,
    )
    call.show(result, lambda: compared(result.to_dict()))


def evaluated(data: Mapping[str, Any]) -> str:
    """One recommender's numbers, slice by slice, under their protocol."""
    head = {name: data.get(name) for name in ("model", "domain", "evaluation", "n_users")}
    protocol = data["protocol"]
    return f"{facts([*head.items(), ('protocol', protocol['description'])])}\n\n{_metrics(data)}"


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
    return f"{facts([*head.items(), ('compared with', data['baseline'])])}\n\n{dict_table(data['rows'])}"
