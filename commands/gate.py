"""`hubspoke gate`: what a version must have shown before an alias of its category may point at it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from math import isfinite, nan
from typing import Any

import click

from ..errors import QualityGateError, UsageError
from ..evaluation.catalogue import find
from ..registry.references import LIVE
from ..workflows.gates import GateResult
from .call import Call, Noun
from .options import dry_run, protocol_options, reason
from .output import Columns, facts, records_table, table


@click.group(cls=Noun)
def gate() -> None:
    """Quality gates: what does not meet one is not promoted, unless with --override --reason."""


@gate.command(example="hubspoke gate show garden")
@click.argument("domain")
def show(call: Call, domain: str) -> None:
    """A category's gate."""
    call.show(call.workspace().gate.show(domain), _gate_text)


@gate.command(
    "set", example='hubspoke gate set garden --min ndcg@10=0.05 --max-drop ndcg@10=0.005 --reason "no surprises"'
)
@click.argument("domain")
@click.option("--min", "minimum", metavar="METRIC=X", multiple=True, help="Least mean, as ndcg@10=0.05; repeatable.")
@click.option(
    "--max", "maximum", metavar="METRIC=X", multiple=True, help="Most, where less is better, as hubness=2; repeatable."
)
@click.option(
    "--max-drop", metavar="METRIC=X", multiple=True, help="How much worse than live it may be, with --confidence."
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
@reason
@dry_run
def set_(
    call: Call,
    /,
    domain: str,
    minimum: Sequence[str],
    maximum: Sequence[str],
    max_drop: Sequence[str],
    aliases: Sequence[str],
    **options: Any,
) -> None:
    """Put a gate in force, in place of the one before.

    Judged are recorded evaluations on the test part, those on the newest events first, and the newest assessments
    (evaluate quality, drift and business). Metrics are those of docs/assessment.md; a slice stands before its metric:
    --min cold:ndcg@10=0.02. --max-drop holds where the interval of the difference to what is live, paired by user, does
    not reach below -X, and where nothing is live yet.
    """
    gates, asked = call.workspace().gate, (thresholds("--min", minimum), thresholds("--max-drop", max_drop))
    options["maximum"] = thresholds("--max", maximum)
    call.show(gates.set(domain, *asked, aliases=aliases or (LIVE,), **options), _gate_text)


@gate.command(example="hubspoke gate clear garden")
@click.argument("domain")
@reason
@dry_run
def clear(call: Call, domain: str, reason: str | None, dry_run: bool) -> None:
    """Remove a category's gate: every version may be promoted."""
    call.show(call.workspace().gate.clear(domain, reason=reason, dry_run=dry_run), _gate_text)


@gate.command(example="hubspoke gate check garden garden:7")
@click.argument("domain")
@click.argument("ref")
@click.option("--alias", metavar="ALIAS", default=LIVE, show_default=True, help="Alias that it would be promoted to.")
def check(call: Call, domain: str, ref: str, alias: str) -> None:
    """Whether REF would pass now, condition by condition; exit code 3 if not."""
    found = call.workspace().gate.check(domain, ref, alias)
    head = f"{found.subject} {'passes' if found.passes else 'does not pass'} the gate of {found.domain}@{found.alias}."
    rows = [("yes" if verdict.passes else "NO", verdict.says) for verdict in found.conditions]
    remedy = f"\n\nTo go on, {found.remedy}." if found.remedy else ""
    if rows:
        call.show(found, lambda _: f"{head}\n\n{table(('holds', 'condition'), rows)}{remedy}")
    else:
        call.show(found, f"{head} There is no condition.")
    if not found.passes:
        sys.exit(QualityGateError.exit_code)


@gate.command(example="hubspoke gate history garden")
@click.argument("domain")
def history(call: Call, domain: str) -> None:
    """Every gate that a category has had, newest first."""
    columns: Columns = {
        "since": "at",
        "conditions": lambda g: "; ".join(map(_in_words, g.conditions)) or "none",
        "by": "actor",
        "why": "reason",
    }
    call.show_list("gates", call.workspace().gate.history(domain), columns, "No gate has been set yet.")


def thresholds(option: str, texts: Sequence[str]) -> dict[str, float]:
    """`ndcg@10=0.05`, `cold:ndcg@10=0.02` as metric to number."""
    found: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        name = name.strip()
        try:
            value = float(number)
        except ValueError:
            value = nan
        if not name or not isfinite(value):
            raise UsageError(f"{option} {text!r} is no condition; write METRIC=X, as in {option} ndcg@10=0.05.")
        if name in found:
            raise UsageError(f"{option} names {name} twice; give each metric once.")
        found[name] = value
    return found


def _gate_text(shown: GateResult) -> str:
    if not shown.conditions:
        return f"{shown.domain} {'would have' if shown.dry_run else 'has'} no gate; every version may be promoted."
    columns: Columns = {
        "condition": _in_words,
        "protocol": lambda c: c["protocol"]["name"] if _ranked(c) else "assessment",
        "seen items": lambda c: ("excluded" if c["protocol"]["exclude_seen"] else "ranked") if _ranked(c) else None,
        "test from": lambda c: c["protocol"]["test_from"],
        "test until": lambda c: c["protocol"]["test_until"],
        "confidence": lambda c: c.get("confidence"),
        "alias": lambda c: c["aliases"],
    }
    head = f"The gate of {shown.domain}{' would be' if shown.dry_run else ''}"
    since = facts([("by", shown.actor), ("since", shown.at), ("why", shown.reason)])
    return f"{head}:\n\n{records_table(shown.conditions, columns)}\n\n{since}"


def _ranked(condition: Mapping[str, Any]) -> bool:
    """Whether the metric is of a ranking, which has a protocol; an assessment goes by none of a gate's."""
    found = find(condition["metric"])
    return found is None or found.dimension == "downstream"


def _in_words(condition: Mapping[str, Any]) -> str:
    sign = {"minimum": ">=", "maximum": "<="}.get(condition["kind"], "drops by at most")
    where = "" if condition["slice"] == "all" else f"{condition['slice']}:"
    return f"{where}{condition['metric']} {sign} {condition['value']:g}"
