"""A recommender under rules that no version holds yet: what a list would be like before they are kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from .recommendations import Recommender


def under(recommender: Recommender, content: Mapping[str, Any]) -> Recommender:
    """The same recommender, with all that it holds in memory, over its catalog under other rules."""
    other = object.__new__(Recommender)
    other.__dict__ |= recommender.__dict__
    other.catalog = recommender.catalog.under(content)
    other.teller = replace(recommender.teller, catalog=other.catalog)
    return other
