"""Which column of a file is which canonical column: guessed from common names, overridden by option or YAML."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from ..errors import InvalidDataError, NotFoundError, UsageError
from .schema import SCHEMAS, Kind

# Best name first; compared without case, spaces and punctuation.
SYNONYMS: dict[Kind, dict[str, tuple[str, ...]]] = {
    "items": {
        "item_id": ("product_id", "sku", "asin", "parent_asin", "article_id", "movie_id", "id", "item", "product_code",
                    "stock_code", "product", "article", "handle"),
        "title": ("name", "product_name", "item_name", "product_title", "item_title", "prod_name", "display_name"),
        "description": ("product_description", "detail_desc", "desc", "body", "body_html", "long_description",
                        "details", "overview", "text"),
        "brand": ("brand_name", "manufacturer", "vendor", "maker"),
        "category_path": ("categories", "category", "product_category", "category_name", "google_product_category",
                          "product_type", "genres", "main_category"),
        "price": ("list_price", "unit_price", "sale_price", "retail_price", "amount"),
        "currency": ("price_currency", "currency_code"),
        "image": ("images", "image_path", "image_file", "picture", "photo", "image_name", "img", "image_link"),
        "available": ("availability", "in_stock", "is_available", "active"),
        "created_at": ("created", "date_added", "launch_date", "first_seen", "added_at", "create_time"),
        "cost": ("unit_cost", "purchase_price", "cost_price", "cogs"),
    },
    "events": {
        "user_id": ("user", "uid", "customer_id", "customer", "household_id", "visitor_id", "client_id", "shopper_id",
                    "reviewer_id", "member_id", "account_id", "user_pseudo_id"),
        "item_id": ("product_id", "sku", "asin", "parent_asin", "article_id", "movie_id", "item", "product",
                    "stock_code", "product_code", "article"),
        "timestamp": ("event_time", "datetime", "transaction_timestamp", "event_timestamp", "ts", "unix_timestamp",
                      "unix_review_time", "invoice_date", "order_date", "purchase_date", "t_dat", "created_at",
                      "date", "time", "visit_time"),
        "event_type": ("event", "event_name", "action", "behavior", "behaviour", "behavior_type", "action_type",
                       "interaction", "type"),
        "session_id": ("session", "basket_id", "order_id", "invoice", "invoice_no", "visit_id", "user_session",
                       "transaction_id"),
        "query": ("search_query", "search_term", "keywords", "search_text"),
        "value": ("sales_value", "revenue", "amount", "total", "total_price", "sales"),
        "quantity": ("qty", "count", "units", "quantity_sold"),
        "position": ("sequence", "seq", "seq_no", "event_index"),
    },
}  # fmt: skip


def guess_mapping(columns: Sequence[str], kind: Kind) -> dict[str, str]:
    """The mapping that the column names suggest: canonical names first, then common other names, without case."""
    free = {_plain(column): column for column in reversed(columns)}
    found: dict[str, str] = {}
    for name in SCHEMAS[kind]:
        if _plain(name) in free:
            found[name] = free.pop(_plain(name))
    for name, synonyms in SYNONYMS[kind].items():
        match = next((s for s in map(_plain, synonyms) if s in free), None)
        if name not in found and match is not None:
            found[name] = free.pop(match)
    return found


def resolve_mapping(
    columns: Sequence[str],
    kind: Kind,
    overrides: Mapping[str, str] | None = None,
    known: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Source column by canonical column: the guess, or what is known, under the overrides; an empty source is none."""
    changes = dict(overrides or {})
    guess = guess_mapping(columns, kind) if known is None else known
    # A source column that is claimed by hand is no longer free for a guess.
    merged = {name: source for name, source in guess.items() if source not in changes.values()}
    for name, source in changes.items():
        if name not in SCHEMAS[kind]:
            raise InvalidDataError(f"{name!r} is no column of {kind}; map one of: {', '.join(SCHEMAS[kind])}.")
        if source and source not in columns:
            raise InvalidDataError(
                f"The mapping reads {name} from column {source!r}, which the table lacks; "
                f"use one of: {', '.join(columns)}."
            )
    merged |= changes
    return {name: merged[name] for name in SCHEMAS[kind] if merged.get(name)}


def parse_map_option(text: str) -> dict[str, str]:
    """`title=name,price=cost_eur` as a dict of overrides; `title=` takes the guess for title away."""
    changes: dict[str, str] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        name, equals, source = (p.strip() for p in part.partition("="))
        if not equals or not name:
            raise UsageError(f"{part!r} is no column mapping; write CANONICAL=SOURCE, as in title=name,price=cost_eur.")
        if name in changes:
            raise UsageError(f"{name!r} is mapped to both {changes[name]!r} and {source!r}; name it once.")
        changes[name] = source
    return changes


def load_mapping(path: Path | str, kind: Kind | None = None) -> dict[str, str]:
    """Overrides from a YAML file: `canonical: source` lines, or such lines under `items:` and `events:`."""
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFoundError(f"There is no mapping file {path}; check the path.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidDataError(f"{path} is no valid YAML in UTF-8; write lines such as 'title: name'.") from error
    if isinstance(content, dict) and content and set(content) <= {"items", "events"}:
        content = content.get(kind) if kind else None
    content = {} if content is None else content
    flat = isinstance(content, dict) and all(isinstance(v, str | int | float) or v is None for v in content.values())
    if not isinstance(content, dict) or not flat:
        raise InvalidDataError(
            f"{path} is no flat list of 'canonical: source' lines; write lines such as 'title: name'."
        )
    return {str(name): "" if source is None else str(source) for name, source in content.items()}


def _plain(name: str) -> str:
    return re.sub(r"[^0-9a-z]", "", name.lower()) or name
