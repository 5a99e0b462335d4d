"""The closed vocabularies of the registry: what a node is, what an edge says, what state a thing is in.

Each is a `StrEnum`, stored as its text and guarded by a CHECK constraint of the same words.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from ..errors import UsageError


class NodeKind(StrEnum):
    """What a node of the lineage graph stands for."""

    DOMAIN = "domain"
    ITEM_SNAPSHOT = "item_snapshot"
    EVENT_SNAPSHOT = "event_snapshot"
    HUB = "hub"
    SPOKE = "spoke"
    INDEX = "index"
    EVALUATION = "evaluation"
    RELEASE = "release"
    RERANKER = "reranker"
    RULES = "rules"


def in_words(kind: str) -> str:
    """A kind of node as a person writes it: `item snapshot`."""
    return kind.replace("_", " ")


def with_article(kind: str) -> str:
    """The same as one of them: `an item snapshot`, `a hub`, and `rules`, of which there are always several."""
    article = "" if kind.endswith("s") else "an " if kind[0] in "aeio" else "a "
    return f"{article}{in_words(kind)}"


class Relation(StrEnum):
    """What an edge says: how the child came from the parent."""

    TRAINED_ON = "trained_on"
    ADAPTED_FROM = "adapted_from"
    WARM_STARTED_FROM = "warm_started_from"
    INHERITS = "inherits"
    EMBEDS = "embeds"
    BUILT_FROM = "built_from"
    EVALUATED_ON = "evaluated_on"
    RELEASED_AS = "released_as"


class DomainStatus(StrEnum):
    """An archived domain keeps its history and leaves the listings."""

    ACTIVE = "active"
    ARCHIVED = "archived"


class SnapshotKind(StrEnum):
    """The two tables that a domain is made of."""

    ITEMS = "items"
    EVENTS = "events"

    @property
    def node_kind(self) -> NodeKind:
        """The kind of the snapshot's node."""
        return NodeKind.ITEM_SNAPSHOT if self is SnapshotKind.ITEMS else NodeKind.EVENT_SNAPSHOT


class ModelKind(StrEnum):
    """The models that have versions of their own."""

    HUB = "hub"
    SPOKE = "spoke"
    RERANKER = "reranker"

    @property
    def node_kind(self) -> NodeKind:
        """The kind of the model's node."""
        return NodeKind(self.value)


class ModelStatus(StrEnum):
    """A version number is taken when training starts, so a row exists before the model does."""

    TRAINING = "training"
    READY = "ready"
    FAILED = "failed"


class AliasAction(StrEnum):
    """The two ways in which an alias moves."""

    PROMOTE = "promote"
    ROLLBACK = "rollback"


_E = TypeVar("_E", bound=StrEnum)


def choice(enum: type[_E], value: str, what: str) -> _E:
    """The member of `enum` that `value` spells."""
    try:
        return enum(value)
    except ValueError:
        raise UsageError(f"{value!r} is no {what}; use one of {', '.join(enum)}.") from None
