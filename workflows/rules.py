"""A domain's merchandising rules: checked against its catalog, kept as versions, and in force as part of a release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InvalidDataError, NotFoundError, UsageError
from ..registry.records import RulesRecord
from ..results import Record
from .models import parse_config
from .releases import NO_RULES, Promotion, promote

if TYPE_CHECKING:
    import polars as pl

    from ..retrieval.rules import Catalog, CatalogRules
    from .context import Context


@dataclass(frozen=True)
class RulesVersions(Record):
    """Every version of a domain's rules, oldest first, and the one that is in force."""

    domain: str
    live: str | None
    rules: Sequence[RulesRecord]


@dataclass(frozen=True)
class RulesResult(Record):
    """A version of a domain's rules that was registered, now or before (`cached`)."""

    ref: str | None  # None in a dry run
    domain: str
    content: Mapping[str, Any]  # every field
    cached: bool
    hidden: int  # items of the newest catalog that they hide
    dry_run: bool = False


@dataclass(frozen=True)
class RulesCheck(Record):
    """A version of the rules against the newest catalog."""

    ref: str
    domain: str
    ok: bool
    hidden: int  # items that they hide
    unknown: Mapping[str, Sequence[str]]  # names that the catalog lacks, by field


class RuleVersions:
    """The noun `rules`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def show(self, domain: str) -> RulesVersions:
        """Every version of a domain's rules, and which is in force."""
        return RulesVersions(domain, self._live(domain), self._context.registry.rules.list(domain))

    def set(self, domain: str, content: Mapping[str, Any], dry_run: bool = False) -> RulesResult:
        """Register rules, of the keys of `retrieval.rules.Rules`; they are in force once a release holds them."""
        full, hidden, unknown = self._against_catalog(domain, content)
        if unknown:
            named = "; ".join(f"{field}: {', '.join(names[:5])}" for field, names in unknown.items())
            raise InvalidDataError(f"The newest catalog of {domain} does not hold {named}; correct these names.")
        if dry_run:
            return RulesResult(None, domain, full, False, hidden, dry_run=True)
        record, created = self._context.registry.rules.add(domain, full)
        return RulesResult(record.ref, domain, full, not created, hidden)

    def clear(self, domain: str, reason: str | None = None, dry_run: bool = False) -> Promotion:
        """Let a domain serve without rules: what is live is released anew without them; the versions stay."""
        return promote(self._context, domain, reason=reason, dry_run=dry_run, rules=NO_RULES)

    def check(self, domain: str, ref: str | None = None) -> RulesCheck:
        """Hold a version of the rules, by default the one in force, against the newest catalog."""
        ref = ref or self._live(domain)
        if ref is None:
            raise NotFoundError(f"No rules are in force in {domain}; name a version, such as rules:{domain}/1.")
        record = self._context.registry.rules.get(ref)
        if record.domain != domain:
            raise UsageError(f"{ref} holds rules of {record.domain}; name a version like rules:{domain}/1.")
        _, hidden, unknown = self._against_catalog(domain, record.content)
        return RulesCheck(record.ref, domain, not unknown, hidden, unknown)

    def _live(self, domain: str) -> str | None:
        live = self._context.registry.domains.get(domain).live
        return self._context.registry.releases.get(live).rules if live else None

    def _against_catalog(
        self, domain: str, content: Mapping[str, Any]
    ) -> tuple[dict[str, Any], int, Mapping[str, Sequence[str]]]:
        """The rules with every field, how many items of the newest catalog they hide, and names that it lacks."""
        from ..retrieval.rules import CatalogRules, Rules, unknown_names
        from .datasets import load_dataset

        rules = parse_config(Rules, content, "rules")
        catalog = _columns(load_dataset(self._context, domain, with_events=False).items)
        hidden = int(CatalogRules(rules, catalog).hidden.sum())
        return rules.model_dump(mode="json"), hidden, unknown_names(rules, catalog)


def catalog_rules(context: Context, ref: str | None, items: pl.DataFrame) -> CatalogRules:
    """A version of the rules over a catalog; None is no rules."""
    from ..retrieval.rules import CatalogRules, Rules

    content = context.registry.rules.get(ref).content if ref else {}
    return CatalogRules(parse_config(Rules, content, "rules"), _columns(items))


def _columns(items: pl.DataFrame) -> Catalog:
    from ..retrieval.rules import Catalog

    # A category counts with all that lies above it, so paths are kept whole.
    paths = [tuple(path or ()) for path in items["category_path"].to_list()]
    return Catalog(items["item_id"].to_list(), items["brand"].to_list(), paths)
