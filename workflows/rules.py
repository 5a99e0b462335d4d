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

    from ..retrieval.rules import CatalogRules, Rules
    from .context import Context


@dataclass(frozen=True)
class RulesVersions(Record):
    """Every version of a domain's rules, oldest first, and the one that is in force."""

    domain: str
    live: str | None
    rules: Sequence[RulesRecord]


@dataclass(frozen=True)
class RulesReach(Record):
    """What of a catalog rules reach."""

    hidden: int  # items that are never shown
    boosted: int  # items that are lifted or held back
    new: int  # items that count as new for `fresh_share`
    margin_unknown: int  # items without a price or a cost, where a margin is asked for


@dataclass(frozen=True)
class RulesResult(RulesReach):
    """A version of a domain's rules that was registered, now or before (`cached`); counts are of the newest catalog."""

    ref: str | None  # None in a dry run
    domain: str
    content: Mapping[str, Any]  # every field
    cached: bool
    dry_run: bool = False


@dataclass(frozen=True)
class RulesCheck(RulesReach):
    """A version of the rules against the newest catalog."""

    ref: str
    domain: str
    ok: bool
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
        rules, reach, unknown = self._against_catalog(domain, content)
        if unknown:
            named = "; ".join(f"{field}: {', '.join(names[:5])}" for field, names in unknown.items())
            raise InvalidDataError(f"The newest catalog of {domain} does not hold {named}; correct these names.")
        full, store = rules.model_dump(mode="json"), self._context.registry.rules
        if dry_run:
            return RulesResult(**vars(reach), ref=None, domain=domain, content=full, cached=False, dry_run=True)
        # Older versions were written without the fields that came later.
        same = (record for record in store.list(domain) if parse_config(type(rules), record.content, "rules") == rules)
        known = next(same, None)
        record, created = (known, False) if known else store.add(domain, full)
        return RulesResult(**vars(reach), ref=record.ref, domain=domain, content=full, cached=not created)

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
        _, reach, unknown = self._against_catalog(domain, record.content)
        return RulesCheck(**vars(reach), ref=record.ref, domain=domain, ok=not unknown, unknown=unknown)

    def _live(self, domain: str) -> str | None:
        live = self._context.registry.domains.get(domain).live
        return self._context.registry.releases.get(live).rules if live else None

    def _against_catalog(
        self, domain: str, content: Mapping[str, Any]
    ) -> tuple[Rules, RulesReach, Mapping[str, Sequence[str]]]:
        """The rules, what of the newest catalog they reach, and names that it lacks."""
        from ..retrieval.rules import CatalogRules, Rules, unknown_names
        from .datasets import load_dataset

        rules = parse_config(Rules, content, "rules")
        items = load_dataset(self._context, domain, with_events=False).items
        return rules, _reach(CatalogRules(rules, items)), unknown_names(rules, items)


def catalog_rules(context: Context, ref: str | None, items: pl.DataFrame) -> CatalogRules:
    """A version of the rules over a catalog; None is no rules."""
    return parsed_rules(context.registry.rules.get(ref).content if ref else {}, items)


def parsed_rules(content: Mapping[str, Any], items: pl.DataFrame) -> CatalogRules:
    """Rules over a catalog."""
    from ..retrieval.rules import CatalogRules, Rules

    return CatalogRules(parse_config(Rules, content, "rules"), items)


def _reach(rules: CatalogRules) -> RulesReach:
    counts = (rules.hidden, rules.boosts, rules.new, rules.margin_unknown)
    return RulesReach(*(int((own != 0).sum()) for own in counts))
