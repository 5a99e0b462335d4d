"""A domain's merchandising rules: checked against its catalog, kept as versions, and in force as part of a release."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..door import checked
from ..errors import InvalidDataError, NotFoundError, UsageError
from ..registry.records import RulesRecord
from ..results import Record
from .models import parse_config
from .releases import NO_RULES, Promotion, promote
from .targets import live_release

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
    # By field, names that the catalog lacks; what only the live index holds may be hidden, but not pinned or boosted.
    unknown: Mapping[str, Sequence[str]]


@checked
class RuleVersions:
    """The noun `rules`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def show(self, domain: str) -> RulesVersions:
        """Every version of a domain's rules, and which is in force."""
        return RulesVersions(domain, self._live(domain), self._context.registry.rules.list(domain))

    def set(self, domain: str, content: Mapping[str, Any], dry_run: bool = False) -> RulesResult:
        """Register rules, of the keys of `retrieval.rules.Rules`; they are in force once a release holds them.

        A name that neither the newest catalog nor the one behind the live index holds is refused.
        """
        from ..retrieval.rules import CatalogRules, unknown_names

        rules, items = self._parsed(domain, content)
        reach = _reach(CatalogRules(rules, items))
        if unknown := unknown_names(rules, items, self._served(domain)):
            named = "; ".join(f"{field}: {', '.join(names[:5])}" for field, names in unknown.items())
            raise InvalidDataError(
                f"Neither the newest catalog of {domain} nor what is live there holds {named}; correct these names."
            )
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
        from ..retrieval.rules import CatalogRules, unknown_names

        ref = ref or self._live(domain)
        if ref is None:
            raise NotFoundError(f"No rules are in force in {domain}; name a version, such as rules:{domain}/1.")
        record = self._context.registry.rules.get(ref)
        if record.domain != domain:
            raise UsageError(f"{ref} holds rules of {record.domain}; name a version like rules:{domain}/1.")
        rules, items = self._parsed(domain, record.content)
        hidden = unknown_names(rules, items, self._served(domain))
        unknown = {
            field: hidden.get(field, []) if field.startswith("hide_") else names
            for field, names in unknown_names(rules, items).items()
        }
        unknown = {field: names for field, names in unknown.items() if names}
        reach = vars(_reach(CatalogRules(rules, items)))
        return RulesCheck(**reach, ref=record.ref, domain=domain, ok=not unknown, unknown=unknown)

    def _live(self, domain: str) -> str | None:
        live = live_release(self._context.registry, domain)
        return live.rules if live else None

    def _parsed(self, domain: str, content: Mapping[str, Any]) -> tuple[Rules, pl.DataFrame]:
        """The rules, and the newest catalog."""
        from ..retrieval.rules import Rules
        from .datasets import load_dataset

        return parse_config(Rules, content, "rules"), load_dataset(self._context, domain, with_events=False).items

    def _served(self, domain: str) -> pl.DataFrame | None:
        """The catalog that the live index was filled from, which may hold items that the newest lacks."""
        from .datasets import read_table

        registry = self._context.registry
        live = live_release(registry, domain)
        if live is None:
            return None
        index = registry.indexes.get(live.index)
        return read_table(self._context, registry.snapshots.get(index.items))


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
