"""`hubspoke evaluate`: measure one recommender, or compare several, under a protocol printed with the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from ..registry.references import LIVE
from .call import Call, command_options
from .gates import gate_history, gate_text, gate_verb, show_check, thresholds
from .models import dict_table
from .options import cutoffs, dry_run, moment, names
from .output import facts, table

if TYPE_CHECKING:
    from ..workflows.gatekeeping import GateResult, Gates


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
                "-k",
                "--k",
                "k",
                type=cutoffs,
                metavar="K,...",
                default="10,20,100",
                show_default=True,
                help="List lengths.",
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
@click.option(
    "--model",
    required=True,
    metavar="REF",
    help="garden, garden:7, hub, hub:4, hub-recency, popularity, popularity-7d, item-cf, als, product2vec or sknn.",
)
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


@evaluate.command()
@click.argument("domain")
@click.option("--min", "minimum", metavar="METRIC=X", multiple=True, help="Least mean, as ndcg@10=0.05; repeatable.")
@click.option(
    "--max-drop", metavar="METRIC=X", multiple=True, help="How much lower than live it may be, with --confidence."
)
@click.option(
    "--protocol",
    type=click.Choice(["leave-one-out", "temporal"]),
    default="leave-one-out",
    show_default=True,
    help="How the evaluations that count were measured.",
)
@click.option("--exclude-seen", is_flag=True, help="Those with items of the history left out of the ranking count.")
@click.option("--test-from", type=moment, metavar="DATE", help="With --protocol temporal: where the test begins.")
@click.option("--test-until", type=moment, metavar="DATE", help="With --protocol temporal: where the test ends.")
@click.option(
    "--confidence",
    type=click.FloatRange(0.5, 1, max_open=True),
    default=0.95,
    show_default=True,
    help="Level of the interval that --max-drop is judged by.",
)
@click.option(
    "--alias", "aliases", metavar="ALIAS", multiple=True, help="What the gate stands in front of (default: live)."
)
@click.option("--reason", help="Why, for the history.")
@click.option("--clear", is_flag=True, help="Remove the gate.")
@click.option("--check", metavar="REF", help="Only say whether REF would pass; exit code 3 if not.")
@click.option("--history", is_flag=True, help="Only show every gate that there was, newest first.")
@dry_run
@command_options
def gate(call: Call, /, domain: str, **options: Any) -> None:
    """Show a category's quality gate, set it (--min, --max-drop), remove it (--clear), or ask it (--check).

    What does not meet the gate is not promoted, unless with --override --reason. A new gate replaces the one before.
    Judged are recorded evaluations on the test part, those on the newest events first. A slice stands before its
    metric: --min cold:ndcg@10=0.02. --min holds where the mean is at least X; --max-drop where the interval of the
    difference to what is live, paired by user, does not reach below -X, and where nothing is live yet.

    \b
    Example:
      hubspoke evaluate gate garden --min ndcg@10=0.05 --max-drop ndcg@10=0.005 --reason "no surprises"
      hubspoke evaluate gate garden --check garden:7
      hubspoke evaluate gate garden --clear
    """
    gates = call.workspace().gate
    verb = gate_verb(options)
    if verb == "check":
        show_check(call, gates.check(domain, options["check"], *options["aliases"][:1]))
    elif verb == "history":
        kept = gates.history(domain)
        call.show_list("gates", kept, lambda: gate_history(kept))
    else:
        shown = _changed(gates, verb, domain, options)
        call.show(shown, lambda: gate_text(shown))


def _changed(gates: Gates, verb: str, domain: str, options: Mapping[str, Any]) -> GateResult:
    if verb == "show":
        return gates.show(domain)
    if verb == "clear":
        return gates.clear(domain, options["reason"], options["dry_run"])
    same = ("protocol", "exclude_seen", "test_from", "test_until", "confidence", "reason", "dry_run")
    return gates.set(
        domain,
        thresholds("--min", options["minimum"]),
        thresholds("--max-drop", options["max_drop"]),
        aliases=options["aliases"] or (LIVE,),
        **{name: options[name] for name in same},
    )


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
