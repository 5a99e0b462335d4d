"""`hubspoke rules`: what a category's lists hide, begin with, lift, and may hold of one kind."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from ..errors import InvalidDataError, UsageError
from .call import Call, Noun
from .options import config_options, dry_run, read_config, reason
from .output import Columns, facts, records_table
from .release import moved

if TYPE_CHECKING:
    from ..workflows.rules import RulesReach


@click.group(cls=Noun)
def rules() -> None:
    """Merchandising rules: what a list hides, begins with, lifts, and may hold of one kind."""


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
        "hubspoke rules set garden --set 'boost=[{brands: [Tindra], by: 1}]' --set min_margin=0.2 --dry-run",
        "hubspoke rules set garden --config rules.json",
        'hubspoke promote garden --rules rules:garden/1 --reason "recall of Acme"',
    ),
)
@click.argument("domain")
@config_options
@dry_run
def set_(call: Call, domain: str, config: str | None, settings: tuple[str, ...], dry_run: bool) -> None:
    """Register rules; they are in force once a release holds them.

    Keys: hide_items, hide_brands, hide_categories, pin (lists), min_margin, hide_unknown_margin, boost (a list of what
    is lifted and by how much), max_per_brand, max_per_category, category_depth, fresh_share, fresh_days. Names that
    neither the newest catalog nor the one behind the live index holds are refused.
    """
    content = read_config(config, settings)
    if content is None:
        raise UsageError("There is nothing to register; give --config FILE or --set KEY=VALUE.")
    result = call.workspace().rules.set(domain, content, dry_run)
    verb = "Equal rules were registered before" if result.cached else "Registered"
    head = "These rules would be registered" if dry_run else f"{verb}: {result.ref}"
    remedy = f"\nLet them serve with `hubspoke promote {domain} --rules {result.ref}`." if result.ref else ""
    shown = facts([("rules", _in_words(result.content)), *_reach(result)])
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
    rows = [*_reach(result), *((f"unknown in {name}", names) for name, names in result.unknown.items())]
    call.show(result, f"{head}\n{facts(rows)}")
    if not result.ok:
        sys.exit(InvalidDataError.exit_code)


def _reach(result: RulesReach) -> list[tuple[str, object]]:
    """What of the catalog rules reach: always what they hide, the rest where there is something to say."""
    more = {"boosted": result.boosted, "new": result.new, "without a known margin": result.margin_unknown}
    return [("items hidden", result.hidden), *((f"items {name}", count) for name, count in more.items() if count)]


def _in_words(content: Mapping[str, Any]) -> str:
    """The fields that say something, each boost by itself."""
    said = {key: value for key, value in content.items() if value is not None and value is not False and value != []}
    boosts = said.pop("boost", [])
    if "fresh_share" not in said:
        said.pop("fresh_days", None)
    words = [f"{key}: {value}" for key, value in said.items()]
    for boost in boosts:
        conditions = "; ".join(f"{key} {value}" for key, value in boost.items() if value and key != "by")
        words.append(f"boost by {boost['by']:g}: {conditions}")
    return "; ".join(words) or "none"
