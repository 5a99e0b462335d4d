"""`hubspoke promote`, `rollback` and `history`: which versions serve, and since when."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .call import Call, command_options
from .options import dry_run
from .output import facts, table

if TYPE_CHECKING:
    from ..workflows.releases import Promotion


@click.command()
@click.argument("ref")
@click.option("--to", "alias", metavar="ALIAS", default="live", show_default=True, help="Alias to move.")
@click.option("--reason", help="Why, for the history.")
@click.option("--rules", metavar="REF|none", help="Merchandising rules to release along (default: those in force).")
@click.option("--override", is_flag=True, help="Move it although the category's gate is not met; needs --reason.")
@dry_run
@command_options
def promote(
    call: Call, ref: str, alias: str, reason: str | None, rules: str | None, override: bool, dry_run: bool
) -> None:
    """Point an alias at a spoke (with its newest index), an index, a release, or a hub version.

    Where the category has a gate (`hubspoke gate set`), what does not meet it is refused with exit code 3.

    \b
    Example:
      hubspoke promote garden:7 --reason "better on cold items"
      hubspoke promote garden:7 --rules rules:garden/2
      hubspoke promote hub:4
    """
    result = call.workspace().promote(ref, alias, reason=reason, dry_run=dry_run, rules=rules, override=override)
    call.show(result, lambda: moved(result))


@click.command()
@click.argument("scope", metavar="DOMAIN|hub")
@click.option("--alias", default="live", show_default=True, help="Alias to move.")
@click.option("--reason", help="Why, for the history.")
@dry_run
@command_options
def rollback(call: Call, scope: str, alias: str, reason: str | None, dry_run: bool) -> None:
    """Point an alias back at what it pointed at before its last promotion, the release whole; no gate is asked.

    \b
    Example:
      hubspoke rollback garden --reason "complaints"
    """
    result = call.workspace().rollback(scope, alias, reason=reason, dry_run=dry_run)
    call.show(result, lambda: moved(result))


@click.command()
@click.argument("scope", metavar="DOMAIN|hub")
@command_options
def history(call: Call, scope: str) -> None:
    """Every move of the aliases of a category, or of the hub, oldest first.

    \b
    Example:
      hubspoke history garden
    """
    moves = call.workspace().history(scope)
    rows = [(m.at, m.ref, m.action, m.from_ref, m.to_ref, m.actor, m.reason, m.overridden) for m in moves]
    headers = ("when", "alias", "action", "from", "to", "by", "why", "overridden")
    call.show_list("history", moves, lambda: table(headers, rows, "No alias has been moved yet."))


def moved(result: Promotion) -> str:
    """Where an alias points now, and at what before."""
    verb = "points already" if result.cached else "would point" if result.dry_run else "points"
    head = f"{result.scope}@{result.alias} {verb} at {result.after or 'a new release'}."
    parts = [(name, getattr(result, name)) for name in ("hub", "spoke", "index", "reranker", "rules", "overridden")]
    # What is seldom there is not shown as missing.
    shown = [(name, ref) for name, ref in parts if ref is not None or name in ("hub", "spoke", "index")]
    return f"{head}\n" + facts([("before", result.before or "nothing"), *shown])
