"""The registry's views in words: what questions in SQL may rely on, release after release.

A view keeps its name and its columns; new columns come last. The migrations make them, a test holds the two equal.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import NotFoundError
from ..results import Record

TEXT, INTEGER, NUMBER, TIME = "text", "integer", "number", "timestamp"


@dataclass(frozen=True)
class Column(Record):
    """One column of a view; `type` is text, integer, number or timestamp (UTC)."""

    name: str
    type: str
    meaning: str


@dataclass(frozen=True)
class View(Record):
    """One view and what a row of it is."""

    name: str
    meaning: str
    columns: tuple[Column, ...]


def _view(name: str, meaning: str, *columns: tuple[str, str, str]) -> View:
    return View(name, meaning, tuple(Column(*column) for column in columns))


_DOMAIN = ("domain", TEXT, "name of the domain")
_CREATED = ("created_at", TIME, "when it was registered")
_ARTIFACT = ("artifact", TEXT, "SHA-256 of its directory in the artifact store")
_BYTES = ("bytes", INTEGER, "size of that directory")

VIEWS: tuple[View, ...] = (
    _view(
        "v_domains",
        "One row per domain, with the parts that serve it now and its newest data.",
        _DOMAIN,
        ("status", TEXT, "active or archived"),
        ("description", TEXT, "what the domain sells, in a person's words"),
        _CREATED,
        ("live", TEXT, "release that garden@live points at; null before the first promotion"),
        ("hub", TEXT, "hub version of the live release"),
        ("spoke", TEXT, "spoke version of the live release; null where the hub alone serves"),
        ("index", TEXT, "index version of the live release (a reserved word: write it in double quotes)"),
        ("items", TEXT, "newest item snapshot"),
        ("item_rows", INTEGER, "items in it"),
        ("events", TEXT, "newest event snapshot"),
        ("event_rows", INTEGER, "events in it"),
    ),
    _view(
        "v_snapshots",
        "One row per snapshot of a domain's items or events.",
        ("ref", TEXT, "reference, such as snapshot:garden/items/3"),
        _DOMAIN,
        ("kind", TEXT, "items or events"),
        ("version", INTEGER, "number within the domain and the kind"),
        ("rows", INTEGER, "items or events in it"),
        ("as_of", TIME, "last moment that the data speaks of, where it says so"),
        (
            "content_hash",
            TEXT,
            "SHA-256 of the content, with +2 where it was taken again",
        ),
        _ARTIFACT,
        _BYTES,
        _CREATED,
    ),
    _view(
        "v_models",
        "One row per hub, spoke and re-ranker version, failed and unfinished ones too.",
        ("ref", TEXT, "reference, such as hub:4, garden:7 or reranker:garden/2"),
        ("kind", TEXT, "hub, spoke or reranker"),
        ("domain", TEXT, "name of the domain; null for a hub"),
        ("version", INTEGER, "number within the domain and the kind"),
        ("status", TEXT, "training, ready or failed"),
        ("aliases", TEXT, "aliases that point at it, joined by commas; null where none does"),
        ("seed", INTEGER, "seed of everything random in its training"),
        ("code_version", TEXT, "version of hubspoke that trained it"),
        ("started_at", TIME, "when its training began; later by the time that it lay killed"),
        ("finished_at", TIME, "when it ended; null while it goes on"),
        ("seconds", NUMBER, "what the training took"),
        ("fingerprint", TEXT, "hash of inputs and config; equal trainings have an equal one"),
        ("space_fingerprint", TEXT, "hash of the embedding space; only equal spaces may be compared"),
        _ARTIFACT,
        _BYTES,
        ("error", TEXT, "why it failed"),
    ),
    _view(
        "v_parts",
        "One row per named part of a model version.",
        ("model", TEXT, "reference of the model"),
        ("domain", TEXT, "name of the domain; null for a hub"),
        ("part", TEXT, "name of the part, such as adapter"),
        ("inherited_from", TEXT, "model that it was taken from unchanged; null for one of its own"),
        ("parameters", INTEGER, "numbers that it holds"),
        ("bytes", INTEGER, "size of its weights"),
        ("fingerprint", TEXT, "SHA-256 of it; equal parts have an equal one"),
    ),
    _view(
        "v_lineage",
        "One row per edge of the lineage graph: the child came from the parent.",
        ("child", TEXT, "reference of what was made"),
        ("child_kind", TEXT, "its kind, such as spoke or release"),
        ("child_domain", TEXT, "its domain; null for a hub"),
        (
            "relation",
            TEXT,
            "trained_on, adapted_from, warm_started_from, inherits, embeds, built_from, evaluated_on or released_as",
        ),
        ("part", TEXT, "which part came from it; null is the whole"),
        ("parent", TEXT, "reference of what it was made from"),
        ("parent_kind", TEXT, "its kind"),
        ("parent_domain", TEXT, "its domain; null for a hub"),
        ("reason", TEXT, "why, where somebody said so"),
    ),
    _view(
        "v_indexes",
        "One row per index version.",
        ("ref", TEXT, "reference, such as index:garden/12"),
        _DOMAIN,
        ("version", INTEGER, "number within the domain"),
        ("model", TEXT, "spoke or hub version that filled it"),
        ("items", TEXT, "item snapshot that is in it"),
        ("n_items", INTEGER, "vectors in it"),
        ("dimension", INTEGER, "length of a vector"),
        ("metric", TEXT, "how vectors are compared, such as inner_product"),
        ("factory", TEXT, "FAISS factory string, such as Flat"),
        ("space_fingerprint", TEXT, "embedding space of the vectors"),
        ("seconds", NUMBER, "what building it took"),
        _ARTIFACT,
        _BYTES,
        _CREATED,
    ),
    _view(
        "v_releases",
        "One row per release: the exact set that serves a domain, or did, or may.",
        ("ref", TEXT, "reference, such as release:garden/2"),
        _DOMAIN,
        ("version", INTEGER, "number within the domain"),
        ("aliases", TEXT, "aliases that point at it, joined by commas; null where none does"),
        ("hub", TEXT, "hub version"),
        ("spoke", TEXT, "spoke version; null where the hub alone serves"),
        ("index", TEXT, "index version (a reserved word: write it in double quotes)"),
        ("reranker", TEXT, "re-ranker version, if any"),
        ("rules", TEXT, "version of the merchandising rules, if any"),
        _CREATED,
    ),
    _view(
        "v_history",
        "One row per move of an alias; those of one alias form a chain in the order of `move`.",
        ("move", INTEGER, "number that grows with time"),
        ("scope", TEXT, "name of the domain, or hub"),
        ("alias", TEXT, "such as live"),
        ("action", TEXT, "promote or rollback"),
        ("from_ref", TEXT, "what it pointed at before; null for the first move"),
        ("to_ref", TEXT, "what it pointed at from then on"),
        ("actor", TEXT, "who moved it"),
        ("reason", TEXT, "why, where somebody said so"),
        ("overridden", TEXT, "gate that was not met and overridden; null where none was in the way"),
        ("at", TIME, "when"),
    ),
    _view(
        "v_metrics",
        "One row per number of an evaluation.",
        ("evaluation", TEXT, "reference, such as evaluation:garden/3"),
        _DOMAIN,
        ("model", TEXT, "what was evaluated: a reference, or the name of a baseline"),
        ("protocol", TEXT, "leave-one-out or temporal; quality or drift of an assessment"),
        ("part", TEXT, "validation or test"),
        ("events", TEXT, "event snapshot that it was evaluated on; the item snapshot where there was none"),
        ("n_users", INTEGER, "users that were evaluated"),
        ("slice", TEXT, "all, or a part of users or items such as cold"),
        ("metric", TEXT, "such as ndcg@10"),
        ("value", NUMBER, "the number"),
        ("low", NUMBER, "lower bound of its 95 % confidence interval, where there is one"),
        ("high", NUMBER, "upper bound"),
        _CREATED,
    ),
    _view(
        "v_experiments",
        "One row per experiment on the shoppers of a domain.",
        ("experiment", TEXT, "reference, such as experiment:garden/1"),
        _DOMAIN,
        ("control", TEXT, "release that was live when it started"),
        ("candidate", TEXT, "release that is tried beside it"),
        ("share", NUMBER, "share of the shoppers who see the candidate"),
        ("planned", INTEGER, "shoppers in all that it is planned for"),
        ("window_seconds", NUMBER, "how long after the first list what a shopper does counts"),
        ("metric", TEXT, "what decides"),
        ("actor", TEXT, "who started it"),
        ("reason", TEXT, "why, where somebody said so"),
        ("started_at", TIME, "when"),
        ("stopped_at", TIME, "when it ended; null while it runs"),
        ("stopped_by", TEXT, "who ended it"),
        ("stop_reason", TEXT, "why, where somebody said so"),
    ),
)


def find_views(names: tuple[str, ...] = ()) -> tuple[View, ...]:
    """The views of these names, or all."""
    known = {view.name: view for view in VIEWS}
    for name in names:
        if name not in known:
            raise NotFoundError(f"There is no view {name!r}; the views are {', '.join(known)}.")
    return tuple(known[name] for name in names) if names else VIEWS
