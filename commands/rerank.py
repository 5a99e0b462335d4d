"""`hubspoke rerank`: what is laid over a ranking before it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from .call import Call, command_options
from .options import config_options, dry_run, read_config
from .output import facts, table

if TYPE_CHECKING:
    from ..workflows.rerank import RulesResult


@click.group()
def rerank() -> None:
    """Merchandising rules: what a list hides, begins with, and may hold of one brand."""


@rerank.command()
@click.argument("domain")
@config_options
@click.option("--list", "listed", is_flag=True, help="Every version instead of a new one.")
@dry_run
@command_options
def rules(call: Call, domain: str, config: str | None, settings: tuple[str, ...], listed: bool, dry_run: bool) -> None:
    """Register merchandising rules; they serve once a release holds them.

    Keys: hide_items, hide_brands, hide_categories, pin (lists), max_per_brand (a number). Names that the newest
    catalog does not hold are refused.

    \b
    Example:
      hubspoke rerank rules garden --set "hide_brands=[Acme]" --set max_per_brand=3
      hubspoke promote garden --rules rules:garden/1 --reason "recall of Acme"
    """
    content = read_config(config, settings)
    if listed:
        if content is not None:
            raise UsageError("--list shows the versions that exist; leave out --config and --set.")
        records = call.workspace().rerank.list(domain)
        rows = [(r.ref, r.created_at, _said(r.content)) for r in records]
        call.show_list("rules", records, lambda: table(("ref", "created", "rules"), rows, "No rules yet."))
        return
    if content is None:
        raise UsageError("There is nothing to register; give --config FILE or --set KEY=VALUE, or --list.")
    result = call.workspace().rerank.rules(domain, content, dry_run)
    call.show(result, lambda: _registered(result))


def _registered(result: RulesResult) -> str:
    verb = "Equal rules were registered before" if result.cached else "Registered"
    head = "These rules would be registered" if result.dry_run else f"{verb}: {result.ref}"
    lines = [f"{head}.", facts([("rules", _said(result.content)), ("items hidden", result.hidden)])]
    if result.ref:
        lines.append(f"Let them serve with `hubspoke promote {result.domain} --rules {result.ref}`.")
    return "\n".join(lines)


def _said(content: object) -> str:
    rules = content if isinstance(content, dict) else {}
    return "; ".join(f"{key}: {value}" for key, value in rules.items() if value) or "none"
