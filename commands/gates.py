"""What `hubspoke evaluate gate` does beside calling the workflow: read its conditions, show gates and verdicts."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import QualityGateError, UsageError
from .call import Call
from .output import facts, table

if TYPE_CHECKING:
    from ..workflows.gatekeeping import GateCheck, GateResult

_VERBS = {"check": "--check", "history": "--history", "clear": "--clear"}


def gate_verb(options: Mapping[str, Any]) -> str:
    """What a call of `evaluate gate` asks for: `show`, `set`, `clear`, `check` or `history`.

    Raises:
        UsageError: several of them at once, or options of a gate without a condition.
    """
    asked = [verb for verb in _VERBS if options[verb]]
    if options["minimum"] or options["max_drop"]:
        asked.append("set")
    if len(asked) > 1:
        named = ", ".join(_VERBS.get(verb, "--min or --max-drop") for verb in asked)
        raise UsageError(f"{named} ask for different things; give one of them at a time.")
    verb = asked[0] if asked else "show"
    _check_options(verb, options)
    return verb


def _check_options(verb: str, options: Mapping[str, Any]) -> None:
    """Refuse what would be ignored silently."""
    fitting = {"clear": ("reason", "dry_run"), "check": ("aliases",)}.get(verb, ())
    of_gates = ("exclude_seen", "test_from", "test_until", "aliases", "reason", "dry_run")
    given = [name for name in of_gates if options[name] and name not in fitting]
    if options["protocol"] != "leave-one-out":
        given.append("protocol")
    if verb != "set" and given:
        flags = ", ".join(f"--{'alias' if name == 'aliases' else name.replace('_', '-')}" for name in given)
        raise UsageError(f"{flags} belong to a gate that is set; give --min or --max-drop too, or leave them out.")
    if verb == "check" and len(options["aliases"]) > 1:
        raise UsageError("A version is checked for one alias at a time; give one --alias.")


def thresholds(option: str, texts: Sequence[str]) -> dict[str, float]:
    """`ndcg@10=0.05`, `cold:ndcg@10=0.02` as metric to number.

    Raises:
        UsageError: something else, or a metric twice.
    """
    found: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            name = ""
        if not name.strip():
            raise UsageError(f"{option} {text!r} is no condition; write METRIC=X, as in {option} ndcg@10=0.05.")
        if name.strip() in found:
            raise UsageError(f"{option} names {name.strip()} twice; give each metric once.")
        found[name.strip()] = value
    return found


def show_check(call: Call, found: GateCheck) -> None:
    """A verdict condition by condition; the process ends with 3 where the version does not pass."""
    call.show(found, lambda: _check_text(found))
    if not found.passes:
        sys.exit(QualityGateError.exit_code)


def _check_text(found: GateCheck) -> str:
    verdict = "passes" if found.passes else "does not pass"
    head = f"{found.subject} {verdict} the gate of {found.domain}@{found.alias}."
    if not found.conditions:
        return f"{head} There is no condition."
    rows = [("yes" if judged.passes else "NO", judged.says) for judged in found.conditions]
    remedy = f"\n\nTo go on, {found.remedy}." if found.remedy else ""
    return f"{head}\n\n{table(('holds', 'condition'), rows)}{remedy}"


def gate_text(shown: GateResult) -> str:
    """A gate as a table of its conditions."""
    if not shown.conditions:
        return f"{shown.domain} {'would have' if shown.dry_run else 'has'} no gate; every version may be promoted."
    head = f"The gate of {shown.domain}{' would be' if shown.dry_run else ''}"
    said = facts([("by", shown.actor), ("since", shown.at), ("why", shown.reason)])
    return f"{head}:\n\n{_conditions(shown)}\n\n{said}"


def gate_history(gates: Sequence[GateResult]) -> str:
    """Every gate that there was, one line each."""
    rows = [(g.at, "; ".join(map(_in_words, g.conditions)) or "none", g.actor, g.reason) for g in gates]
    return table(("since", "conditions", "by", "why"), rows, "No gate has been set yet.")


def _conditions(shown: GateResult) -> str:
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
    return table(headers, rows)


def _in_words(condition: Mapping[str, Any]) -> str:
    sign = ">=" if condition["kind"] == "minimum" else "drops by at most"
    where = "" if condition["slice"] == "all" else f"{condition['slice']}:"
    return f"{where}{condition['metric']} {sign} {condition['value']:g}"
