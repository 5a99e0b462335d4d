"""What the hub's and the spokes' commands share: how a model version and a training are shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from textwrap import indent
from typing import TYPE_CHECKING, Any

from ..errors import ProcessLostError
from ..registry.records import ModelRecord
from .call import Call, rank
from .output import Columns, facts, table

if TYPE_CHECKING:
    from ..workflows.models import ModelResult


MODEL_COLUMNS: Columns = {
    "version": "ref",
    "status": "status",
    "seed": "seed",
    "started": "started_at",
    "finished": "finished_at",
    "space": lambda model: (model.space_fingerprint or "-")[:12],
}


def trained(result: ModelResult) -> str:
    """A training's result: the version, its summary, the rows behind a choice."""
    if result.cached:
        state = "was trained already with these inputs (cached; --force trains again)."
    elif result.status == "planned":
        state = "would be trained (dry run)."
    else:
        state = f"is {result.status} after {result.seconds:.1f} s."
    head = f"{result.ref or 'A new version'} {state}"
    found = (head, facts(flat(result.summary)), dict_table(result.table, ""), transfer_audit(result.summary))
    return "\n\n".join(filter(None, found))


def show_training(call: Call, train: Callable[[], ModelResult]) -> None:
    """A training that several processes may share, and its result, which the first one shows."""
    try:
        result = train()
    except (KeyboardInterrupt, ProcessLostError):
        # What stops a training by several processes is reported once; all but the first end without a word.
        if rank() > 0:
            raise SystemExit(1) from None
        raise
    if rank() == 0:
        call.show(result, trained)


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, object]]:
    """Nested settings as dotted names; lists of mappings are left to tables."""
    pairs: list[tuple[str, object]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            pairs += flat(value, f"{prefix}{name}.")
        elif not (isinstance(value, list | tuple) and any(isinstance(v, Mapping | list | tuple) for v in value)):
            pairs.append((f"{prefix}{name}", value))
    return pairs


def dict_table(rows: Sequence[Mapping[str, Any]], empty: str = "nothing yet") -> str:
    """Mappings as a table; the first one's keys are the headers, keys of later ones follow."""
    headers = list(dict.fromkeys(name for row in rows for name in row))
    plain = [[json.dumps(v) if isinstance(v := row.get(name), Mapping) else v for name in headers] for row in rows]
    return table(headers, plain, empty)


def transfer_audit(summary: Mapping[str, Any]) -> str:
    """What was tried before a policy of transfer was chosen, and what each part was worth; nothing without an audit."""
    audit = summary.get("transfer", {})
    if "trials" not in audit:
        return ""
    slices, chosen = ("all", "warm", "cold"), audit["policy"]
    tried = [{"": "*" if row["policy"] == chosen else "", **row} for row in audit["trials"]]
    against = [{"against": row["policy"], **{name: interval(row[name]) for name in slices}} for row in audit["against"]]
    head = f"transfer audit: {audit['metric']} on {audit['part']}, {audit['users']} users"
    verdicts = "\n".join(row["verdict"] for row in audit["parts"])
    return "\n\n".join(filter(None, (head, dict_table(tried), dict_table(against), verdicts)))


def interval(effect: Mapping[str, float] | None) -> str | None:
    """A difference with its interval: `+0.021 [0.015, 0.028]`."""
    return None if effect is None else f"{effect['difference']:+.4f} [{effect['low']:.4f}, {effect['high']:.4f}]"


def model_facts(model: ModelRecord) -> str:
    """One version with its config and summary."""
    head = {
        "version": model.ref,
        "status": model.status,
        "error": model.error,
        "seed": model.seed,
        "started": model.started_at,
        "finished": model.finished_at,
        "code": model.code_version or None,
        "fingerprint": model.fingerprint[:12],
        "space": model.space_fingerprint and model.space_fingerprint[:12],
        "artifact": model.artifact and model.artifact[:12],
    }
    parts = [facts(head.items())]
    for title in ("config", "summary", "environment"):
        if values := getattr(model, title):
            parts.append(f"{title}\n{indent(facts(flat(values)), '  ')}")
    if rows := model.summary.get("table"):
        parts.append(dict_table(rows))
    parts += filter(None, [transfer_audit(model.summary)])
    return "\n\n".join(parts)
