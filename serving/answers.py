"""From a resident and a request to the bytes of an answer: those of the command line's `--json`, and what served it."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import NotFoundError
from ..results import SCHEMA_VERSION, Record
from ..workflows.recommendations import Recommendations
from .residents import Resident
from .schemas import RecommendBody, SimilarBody


@dataclass(frozen=True)
class Asking:
    """Who answers a request, and when it came."""

    resident: Resident
    started: float  # as time.perf_counter() told it


@dataclass(frozen=True)
class Answered:
    """An answer as it is sent, and why it is none to a shopper that is known."""

    content: bytes
    fallback: str | None = None


def recommend(asking: Asking, body: RecommendBody) -> Answered:
    """What to show a shopper; to one of whom nothing is known, what is popular with newcomers or new."""
    found, fallback = _recommended(asking, body)
    return _encoded(asking, found, body.fields, fallback=fallback)


def similar(asking: Asking, item: str, body: SimilarBody) -> Answered:
    """The items nearest to one."""
    return _encoded(asking, asking.resident.recommender.similar(item, body.k), body.fields)


def _recommended(asking: Asking, body: RecommendBody) -> tuple[Recommendations, str | None]:
    recommender = asking.resident.recommender
    options = body.k, body.exclude_seen, body.diversity, body.near
    try:
        found = recommender.recommend(body.item_ids, body.user, *options)
    except NotFoundError:  # a shopper or items that nobody knows are no fault of who asks
        newcomer = recommender.recommend([], None, *options)
        return replace(newcomer, unknown=body.item_ids), "unknown user" if body.user else "unknown session"
    if found.session:
        return found, None
    return found, "no session here" if body.user else "no session"


def _encoded(
    asking: Asking, answer: Record, fields: Sequence[str] | None = None, fallback: str | None = None
) -> Answered:
    content = {"schema_version": SCHEMA_VERSION, **answer.to_dict(), "ref": str(asking.resident.place)}
    if fields is not None:
        content["items"] = [_only(item, fields) for item in content["items"]]
    content |= {"release": asking.resident.version.release, "recommendation_id": uuid.uuid4().hex, "fallback": fallback}
    content["took_ms"] = round(1000 * (time.perf_counter() - asking.started), 2)
    return Answered(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(), fallback)


def _only(item: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name in ("rank", "item_id") or name in fields}
