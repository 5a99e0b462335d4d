"""`hubspoke promote`, `rollback` and `history`: which versions serve, and since when."""

from __future__ import annotations

import click

from ..workflows.releases import Promotion
from .call import Call, command
from .options import dry_run, reason
from .output import facts


@command(
    example=(
        'hubspoke promote garden:7 --reason "better on cold items"',
        "hubspoke promote garden:7 --rules rules:garden/2",
        "hubspoke promote garden --reranker reranker:garden/1",
        "hubspoke promote hub:4",
    )
)
@click.argument("ref")
@click.option("--to", "alias", metavar="ALIAS", default="live", show_default=True, help="Alias to move.")
@reason
@click.option("--rules", metavar="REF|none", help="Merchandising rules to release along (default: those in force).")
@click.option(
    "--reranker", metavar="REF|none", help="Re-ranker to release along (default: the one in service, if it fits)."
)
@click.option("--override", is_flag=True, help="Move it although the category's gate is not met; needs --reason.")
@dry_run
def promote(
    call: Call,
    ref: str,
    alias: str,
    reason: str | None,
    rules: str | None,
    reranker: str | None,
    override: bool,
    dry_run: bool,
) -> None:
    """Point an alias at a spoke (with its newest index), an index, a release, or a hub version.

    Where the category has a gate (`hubspoke gate set`), what does not meet it is refused with exit code 3.
    """
    result = call.workspace().promote(
        ref, alias, reason=reason, dry_run=dry_run, rules=rules, reranker=reranker, override=override
    )
    call.show(result, moved)


@command(example='hubspoke rollback garden --reason "complaints"')
@click.argument("scope", metavar="DOMAIN|hub")
@click.option("--alias", default="live", show_default=True, help="Alias to move.")
@reason
@dry_run
def rollback(call: Call, scope: str, alias: str, reason: str | None, dry_run: bool) -> None:
    """Point an alias back at what it pointed at before its last promotion, the release whole; no gate is asked."""
    result = call.workspace().rollback(scope, alias, reason=reason, dry_run=dry_run)
    call.show(result, moved)


@command(example="hubspoke history garden")
@click.argument("scope", metavar="DOMAIN|hub")
def history(call: Call, scope: str) -> None:
    """Every move of the aliases of a category, or of the hub, oldest first."""
    headers = ("when", "alias", "action", "from", "to", "by", "why", "overridden")
    fields = ("at", "ref", "action", "from_ref", "to_ref", "actor", "reason", "overridden")
    columns = dict(zip(headers, fields, strict=True))
    call.show_list("history", call.workspace().history(scope), columns, "No alias has been moved yet.")


def moved(result: Promotion) -> str:
    """Where an alias points now, and at what before."""
    verb = "points already" if result.cached else "would point" if result.dry_run else "points"
    head = f"{result.scope}@{result.alias} {verb} at {result.after or 'a new release'}."
    parts = [(name, getattr(result, name)) for name in ("hub", "spoke", "index", "reranker", "rules", "overridden")]
    # What is seldom there is not shown as missing.
    shown = [(name, ref) for name, ref in parts if ref is not None or name in ("hub", "spoke", "index")]
    lines = [head, facts([("before", result.before or "nothing"), *shown])]
    if result.next:
        lines.append(f"The newest catalog is not in {result.index} yet; bring it live with `{result.next}`.")
    return "\n".join(lines)
