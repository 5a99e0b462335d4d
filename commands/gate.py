"""`hubspoke gate`: what a version must have shown before an alias of its category may point at it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from ..errors import QualityGateError, UsageError
from ..registry.references import LIVE
from .call import Call, command_options
from .options import dry_run, protocol_options
from .output import facts, table

if TYPE_CHECKING:
    from ..evaluation.protocols import Protocol
    from ..workflows.gates import GateCheck, GateResult


@click.group()
def gate() -> None:
    """Quality gates: what does not meet one is not promoted, unless with --override --reason."""


@gate.command()
@click.argument("domain")
@command_options
def show(call: Call, domain: str) -> None:
    """A category's gate.

    \b
    Example:
      hubspoke gate show garden
    """
    shown = call.workspace().gate.show(domain)
    call.show(shown, lambda: _gate_text(shown))


@gate.command("set")
@click.argument("domain")
@click.option("--min", "minimum", metavar="METRIC=X", multiple=True, help="Least mean, as ndcg@10=0.05; repeatable.")
@click.option(
    "--max-drop", metavar="METRIC=X", multiple=True, help="How much lower than live it may be, with --confidence."
)
@protocol_options()
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
@dry_run
@command_options
def set_(
    call: Call,
    /,
    domain: str,
    minimum: tuple[str, ...],
    max_drop: tuple[str, ...],
    protocol: Protocol,
    aliases: tuple[str, ...],
    **options: Any,
) -> None:
    """Put a gate in force, in place of the one before.

    Judged are recorded evaluations on the test part, those on the newest events first. A slice stands before its
    metric: --min cold:ndcg@10=0.02. --min holds where the mean is at least X; --max-drop where the interval of the
    difference to what is live, paired by user, does not reach below -X, and where nothing is live yet.

    \b
    Example:
      hubspoke gate set garden --min ndcg@10=0.05 --max-drop ndcg@10=0.005 --reason "no surprises"
    """
    shown = call.workspace().gate.set(
        domain,
        thresholds("--min", minimum),
        thresholds("--max-drop", max_drop),
        protocol=protocol,
        aliases=aliases or (LIVE,),
        **options,
    )
    call.show(shown, lambda: _gate_text(shown))


@gate.command()
@click.argument("domain")
@click.option("--reason", help="Why, for the history.")
@dry_run
@command_options
def clear(call: Call, domain: str, reason: str | None, dry_run: bool) -> None:
    """Remove a category's gate: every version may be promoted.

    \b
    Example:
      hubspoke gate clear garden
    """
    shown = call.workspace().gate.clear(domain, reason=reason, dry_run=dry_run)
    call.show(shown, lambda: _gate_text(shown))


@gate.command()
@click.argument("domain")
@click.argument("ref")
@click.option("--alias", metavar="ALIAS", default=LIVE, show_default=True, help="Alias that it would be promoted to.")
@command_options
def check(call: Call, domain: str, ref: str, alias: str) -> None:
    """Whether REF would pass now, condition by condition; exit code 3 if not.

    \b
    Example:
      hubspoke gate check garden garden:7
    """
    found = call.workspace().gate.check(domain, ref, alias)
    call.show(found, lambda: _check_text(found))
    if not found.passes:
        sys.exit(QualityGateError.exit_code)


@gate.command()
@click.argument("domain")
@command_options
def history(call: Call, domain: str) -> None:
    """Every gate that a category has had, newest first.

    \b
    Example:
      hubspoke gate history garden
    """
    gates = call.workspace().gate.history(domain)
    rows = [(g.at, "; ".join(map(_in_words, g.conditions)) or "none", g.actor, g.reason) for g in gates]
    headers = ("since", "conditions", "by", "why")
    call.show_list("gates", gates, lambda: table(headers, rows, "No gate has been set yet."))


def thresholds(option: str, texts: Sequence[str]) -> dict[str, float]:
    """`ndcg@10=0.05`, `cold:ndcg@10=0.02` as metric to number."""
    found: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        name = name.strip()
        try:
            value = float(number)
        except ValueError:
            name = ""
        if not name:
            raise UsageError(f"{option} {text!r} is no condition; write METRIC=X, as in {option} ndcg@10=0.05.")
        if name in found:
            raise UsageError(f"{option} names {name} twice; give each metric once.")
        found[name] = value
    return found


def _check_text(found: GateCheck) -> str:
    verdict = "passes" if found.passes else "does not pass"
    head = f"{found.subject} {verdict} the gate of {found.domain}@{found.alias}."
    if not found.conditions:
        return f"{head} There is no condition."
    rows = [("yes" if verdict.passes else "NO", verdict.says) for verdict in found.conditions]
    remedy = f"\n\nTo go on, {found.remedy}." if found.remedy else ""
    return f"{head}\n\n{table(('holds', 'condition'), rows)}{remedy}"


def _gate_text(shown: GateResult) -> str:
    if not shown.conditions:
        return f"{shown.domain} {'would have' if shown.dry_run else 'has'} no gate; every version may be promoted."
    headers = ("condition", "protocol", "seen items", "test from", "test until", "confidence", "alias")
    rows = [
        (
            _in_words(condition),
            condition["protocol"]["name"],
            "excluded" if condition["protocol"]["exclude_seen"] else "ranked",
            condition["protocol"]["test_from"],
            condition["protocol"]["test_until"],
            condition.get("confidence"),
            condition["aliases"],
        )
        for condition in shown.conditions
    ]
    head = f"The gate of {shown.domain}{' would be' if shown.dry_run else ''}"
    since = facts([("by", shown.actor), ("since", shown.at), ("why", shown.reason)])
    return f"{head}:\n\n{table(headers, rows)}\n\n{since}"


def _in_words(condition: Mapping[str, Any]) -> str:
    sign = ">=" if condition["kind"] == "minimum" else "drops by at most"
    where = "" if condition["slice"] == "all" else f"{condition['slice']}:"
    return f"{where}{condition['metric']} {sign} {condition['value']:g}"
