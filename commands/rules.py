"""`hubspoke rules`: what a category's lists hide, begin with, and may hold of one brand."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import click

from ..errors import InvalidDataError, UsageError
from .call import Call, Noun
from .options import config_options, dry_run, read_config, reason
from .output import Columns, facts, records_table
from .release import moved


@click.group(cls=Noun)
def rules() -> None:
    """Merchandising rules: what a list hides, begins with, and may hold of one brand."""


@rules.command(example="hubspoke rules show garden")
@click.argument("domain")
def show(call: Call, domain: str) -> None:
    """Every version of a category's rules, and which is in force."""
    found = call.workspace().rules.show(domain)
    columns: Columns = {
        "ref": "ref",
        "created": "created_at",
        "in force": lambda version: version.ref == found.live,
        "rules": lambda version: _in_words(version.content),
    }
    call.show(found, lambda _: records_table(found.rules, columns, "No rules yet."))


@rules.command(
    "set",
    example=(
        'hubspoke rules set garden --set "hide_brands=[Acme]" --set max_per_brand=3',
        'hubspoke promote garden --rules rules:garden/1 --reason "recall of Acme"',
    ),
)
@click.argument("domain")
@config_options
@dry_run
def set_(call: Call, domain: str, config: str | None, settings: tuple[str, ...], dry_run: bool) -> None:
    """Register rules; they are in force once a release holds them.

    Keys: hide_items, hide_brands, hide_categories, pin (lists), max_per_brand (a number). Names that the newest
    catalog does not hold are refused.
    """
    content = read_config(config, settings)
    if content is None:
        raise UsageError("There is nothing to register; give --config FILE or --set KEY=VALUE.")
    result = call.workspace().rules.set(domain, content, dry_run)
    verb = "Equal rules were registered before" if result.cached else "Registered"
    head = "These rules would be registered" if dry_run else f"{verb}: {result.ref}"
    remedy = f"\nLet them serve with `hubspoke promote {domain} --rules {result.ref}`." if result.ref else ""
    shown = facts([("rules", _in_words(result.content)), ("items hidden", result.hidden)])
    call.show(result, f"{head}.\n{shown}{remedy}")


@rules.command(example='hubspoke rules clear garden --reason "recall is over"')
@click.argument("domain")
@reason
@dry_run
def clear(call: Call, domain: str, reason: str | None, dry_run: bool) -> None:
    """Let a category serve without rules: what is live is released anew without them."""
    call.show(call.workspace().rules.clear(domain, reason, dry_run), moved)


@rules.command(example="hubspoke rules check garden")
@click.argument("domain")
@click.argument("ref", required=False)
def check(call: Call, domain: str, ref: str | None) -> None:
    """Hold the rules in force, or the version REF, against the newest catalog. Ends with 4 where it lacks a name."""
    result = call.workspace().rules.check(domain, ref)
    head = f"{result.ref} {'fits' if result.ok else 'does not fit'} the newest catalog of {domain}."
    rows = [("items hidden", result.hidden), *((f"unknown in {name}", names) for name, names in result.unknown.items())]
    call.show(result, f"{head}\n{facts(rows)}")
    if not result.ok:
        sys.exit(InvalidDataError.exit_code)


def _in_words(content: Mapping[str, Any]) -> str:
    return "; ".join(f"{key}: {value}" for key, value in content.items() if value) or "none"
