"""What is laid over a ranking: a domain's merchandising rules, checked against its catalog and kept as versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import InvalidDataError
from ..registry.records import RulesRecord
from ..results import Record
from .models import parse_config

if TYPE_CHECKING:
    import polars as pl

    from ..retrieval.rules import CatalogItem, CatalogRules
    from .context import Context


@dataclass(frozen=True)
class RulesResult(Record):
    """A version of a domain's rules.

    Attributes:
        ref: the version; None in a dry run.
        domain: the category.
        content: the rules, every field.
        cached: whether equal rules were registered before.
        hidden: items of the newest catalog that they hide.
        dry_run: whether nothing was changed.
    """

    ref: str | None
    domain: str
    content: Mapping[str, Any]
    cached: bool
    hidden: int
    dry_run: bool = False


class Rerank:
    """The noun `rerank`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def list(self, domain: str) -> list[RulesRecord]:
        """Every version of a domain's rules, oldest first."""
        return self._context.registry.rules.list(domain)

    def rules(self, domain: str, content: Mapping[str, Any], dry_run: bool = False) -> RulesResult:
        """Register rules for a domain; they serve once a release holds them (`promote REF --rules REF`).

        Args:
            domain: the category.
            content: keys of `spokes.rules.Rules`.
            dry_run: check everything, change nothing.

        Raises:
            NotFoundError: there is no such domain, or it has no catalog.
            UsageError: an unknown key or a value of the wrong type.
            InvalidDataError: the rules name what the newest catalog does not hold.
        """
        from ..retrieval.rules import CatalogRules, Rules, unknown_names
        from .datasets import load_dataset

        rules = parse_config(Rules, content, "rules")
        items = catalog_items(load_dataset(self._context, domain, with_events=False).items)
        unknown = unknown_names(rules, items)
        if unknown:
            said = "; ".join(f"{field}: {', '.join(names[:5])}" for field, names in unknown.items())
            raise InvalidDataError(f"The newest catalog of {domain} does not hold {said}; correct these names.")
        hidden = len(CatalogRules(rules, items).hidden)
        full = rules.model_dump(mode="json")
        if dry_run:
            return RulesResult(None, domain, full, False, hidden, dry_run=True)
        record, created = self._context.registry.rules.add(domain, full)
        return RulesResult(record.ref, domain, full, not created, hidden)


def catalog_items(items: pl.DataFrame) -> list[CatalogItem]:
    """What rules look at, of every item, in row order."""
    from ..retrieval.rules import CatalogItem

    columns = items.select("item_id", "brand", "category_path").iter_rows()
    return [CatalogItem(item_id, brand, tuple(path or ())) for item_id, brand, path in columns]


def catalog_rules(context: Context, ref: str | None, items: pl.DataFrame) -> CatalogRules:
    """A version of the rules over a catalog; None is no rules, which need not look at the catalog."""
    from ..retrieval.rules import CatalogRules, Rules

    if ref is None:
        return CatalogRules(Rules(), ())
    return CatalogRules(parse_config(Rules, context.registry.rules.get(ref).content, "rules"), catalog_items(items))
