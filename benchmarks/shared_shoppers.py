"""What to show shoppers who have no session in a category yet, and what their events in other categories are worth.

The target is a shopper's first item in the category, ranked among the whole catalog; the query is what the shopper did
in the others. Everything is shown for a validation half of the shoppers, where a default is chosen, and for the test
half, which is only reported. Where both categories have real times the query ends before the day of the target, and
popularity counts what others did before that day; where only an order is known, all events elsewhere are the query, and
popularity counts all events of others. Prints a Markdown table and writes the same as JSON.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import hubspoke
import numpy as np
import polars as pl
from hubspoke.arrays import DoubleArray, FloatArray, IntArray
from hubspoke.catalog.sequences import Histories
from hubspoke.catalog.streams import drop_unknown_items
from hubspoke.commands.progress import make_progress
from hubspoke.evaluation.bootstrap import mean_interval, paired_difference
from hubspoke.evaluation.metrics import target_ranks, user_metrics
from hubspoke.hub.calibration import fit_calibration
from hubspoke.hub.reading import recency_weighted
from hubspoke.workflows.datasets import Dataset, load_dataset, read_table, time_kind
from hubspoke.workflows.loading import encode_items, load_hub, over_catalog
from hubspoke.workflows.newcomers import RECENT_DAYS

from benchmarks.launch_floor import machine, publish, versions

DAY = 86_400_000_000  # microseconds
WINDOWS = (7, 28, 90)  # days
KEPT_EVENTS = 50
WARM_UP = 0.05  # of the events; whose first item is among them has no part
RECENCIES = ((5, 0.7), (50, 1.0))  # events that count, and their decay
WEIGHTS = (0.1, 0.25, 0.5)
METRICS = ("ndcg@10", "hr@10")
BASE, SERVED = "popularity", "newcomer popularity"


@dataclass(frozen=True)
class Category:
    """One category with its events, oldest first for each shopper, and what the hub makes of its items."""

    dataset: Dataset
    events: pl.DataFrame  # user_id, row, timestamp
    timed: bool
    vectors: FloatArray  # (N, D) fused text embeddings

    @property
    def name(self) -> str:
        """Its domain."""
        return self.dataset.domain.name


@dataclass(frozen=True)
class Shoppers:
    """U shoppers of a category with what they did elsewhere before."""

    user_ids: Sequence[str]
    targets: IntArray  # (U,) rows of the category
    times: IntArray  # (U,) microseconds of the target
    histories: Histories  # (U,) rows of the other categories' catalogs put after each other, oldest first

    def __len__(self) -> int:
        return len(self.targets)

    def only(self, places: IntArray) -> Shoppers:
        """Some of them."""
        return Shoppers(
            [self.user_ids[place] for place in places],
            self.targets[places],
            self.times[places],
            [self.histories[place] for place in places],
        )


def load_category(ws: Any, name: str) -> Category:
    """A category of the workspace, embedded by its live hub."""
    dataset = load_dataset(ws, name, with_events=False)
    snapshot = ws.registry.snapshots.list(name, "events")[-1]
    events, _ = drop_unknown_items(read_table(ws, snapshot), dataset.items["item_id"])
    rows = dataset.items.select("item_id").with_row_index("row")
    events = events.join(rows, on="item_id", maintain_order="left")
    hub, _ = load_hub(ws, "hub@live")
    vectors = hub.fusion.fuse(encode_items(ws, hub, dataset)).text
    columns = events.select("user_id", pl.col("row").cast(pl.Int64), pl.col("timestamp").cast(pl.Int64))
    return Category(dataset, columns, time_kind(snapshot) != "order", vectors)


def shared_shoppers(target: Category, others: Sequence[Category], seed: int) -> Shoppers:
    """The shoppers of a category with events in the others, or all of them without others, in random order."""
    first = target.events.group_by("user_id", maintain_order=True).first()
    if target.timed:  # popularity needs something to count
        first = first.filter(pl.col("timestamp") > target.events["timestamp"].quantile(WARM_UP))
    starts = np.concatenate([[0], np.cumsum([len(other.vectors) for other in others])])
    elsewhere = [
        other.events.join(first.select("user_id", until="timestamp"), on="user_id")
        .filter(pl.col("timestamp") < pl.col("until") if target.timed and other.timed else True)
        .with_columns(pl.col("row") + int(start))
        for other, start in zip(others, starts, strict=False)
    ]
    if others:
        known = pl.concat(elsewhere).sort("user_id", "timestamp", maintain_order=True).group_by("user_id")
        kept = known.agg(history=pl.col("row").tail(KEPT_EVENTS))
        shared = first.join(kept, on="user_id").sort("user_id")
    else:
        shared = first.with_columns(history=pl.lit([], dtype=pl.List(pl.Int64))).sort("user_id")
    shared = shared.sample(fraction=1.0, shuffle=True, seed=seed)
    return Shoppers(
        shared["user_id"].to_list(),
        shared["row"].to_numpy(),
        shared["timestamp"].to_numpy(),
        [np.array(history, dtype=np.int64) for history in shared["history"].to_list()],
    )


def popularity(target: Category, shoppers: Shoppers, days: int | None = None) -> DoubleArray:
    """(U, N) events of the items by others: before the target's time, in the last `days`, where times are real."""
    users, rows, times = (target.events[name].to_numpy() for name in ("user_id", "row", "timestamp"))
    n_items = len(target.vectors)
    if not target.timed:
        counts = np.bincount(rows, minlength=n_items).astype(float)
        own = target.events.filter(pl.col("user_id").is_in(shoppers.user_ids)).group_by("user_id").agg("row")
        of_user = dict(zip(own["user_id"], own["row"].to_list(), strict=True))
        return np.stack([counts - np.bincount(of_user[user], minlength=n_items) for user in shoppers.user_ids])
    order = np.argsort(times, kind="stable")
    rows, times, users = rows[order], times[order], users[order]
    found = []
    for user, until in zip(shoppers.user_ids, shoppers.times, strict=True):
        start = 0 if days is None else int(np.searchsorted(times, until - days * DAY))
        part = slice(start, int(np.searchsorted(times, until)))
        found.append(np.bincount(rows[part][users[part] != user], minlength=n_items).astype(float))
    return np.stack(found)


def content_spaces(
    target: Category, others: Sequence[Category], config: Any
) -> Iterator[tuple[str, FloatArray, FloatArray]]:
    """Ways to put foreign items beside those of a category: name, (N, R) items and (M, R) foreign ones."""
    own = fit_calibration(target.vectors, config)
    items = own.apply(target.vectors)
    yield "the category's space", items, np.concatenate([own.apply(other.vectors) for other in others])
    centred = [replace(own, mean=other.vectors.mean(axis=0)).apply(other.vectors) for other in others]
    yield "the category's space, centred on the other's catalog", items, np.concatenate(centred)
    within = fit_calibration(
        np.concatenate([own.vectors - own.vectors.mean(axis=0) for own in (target, *others)]), config
    )

    def about_itself(one: Category) -> FloatArray:
        return within.apply(one.vectors - one.vectors.mean(axis=0))

    yield (
        "joint space, each centred on its catalog",
        about_itself(target),
        np.concatenate([about_itself(o) for o in others]),
    )


def spread(scores: DoubleArray) -> DoubleArray:
    """(U, N) in units of each row's spread around its mean."""
    scores = scores - scores.mean(axis=1, keepdims=True)
    return scores / np.maximum(scores.std(axis=1, keepdims=True), 1e-9)


def taken_together(
    fitted_on: Shoppers, asked: Shoppers, taken: Sequence[IntArray], n_items: int, n_foreign: int
) -> DoubleArray:
    """(U, N) how often others who had a shopper's foreign items took each item, a common foreign item counting less."""
    have, took = _incidence(fitted_on.histories, n_foreign), _incidence(taken, n_items)
    weight = 1 / np.sqrt(np.maximum(np.asarray(have.sum(axis=0)), 1))  # (1, M)
    asked_for = _incidence(asked.histories, n_foreign).multiply(weight)
    return np.asarray((asked_for @ (have.multiply(weight).T @ took)).todense())


def _incidence(histories: Histories, n: int) -> Any:
    """(F, n) sparse: 1 where a history holds an item."""
    from scipy.sparse import csr_matrix

    items = [np.unique(np.asarray(history)) for history in histories]
    owners = np.repeat(np.arange(len(items)), [len(own) for own in items])
    return csr_matrix((np.ones(len(owners)), (owners, np.concatenate(items))), shape=(len(items), n))


def candidates(
    ws: Any, target: Category, others: Sequence[Category], asked: Shoppers, known: Shoppers, spoke: Any
) -> Iterator[tuple[str, str, DoubleArray]]:
    """Every way to rank the category for some shoppers, with the family that it belongs to: (U, N) scores.

    `known` are the other shoppers whom what is learned across categories may be learned from.
    """
    counts = popularity(target, asked)
    yield BASE, BASE, counts
    first = target.events.group_by("user_id", maintain_order=True).first()
    begun = popularity(replace(target, events=first), asked)
    # Items that tie go by all events.
    yield "first items", "first items", begun + 1e-6 * counts
    logarithms = np.log1p(begun) + np.log1p(counts)
    yield "first items x events", "first items x events", logarithms
    served = logarithms
    for days in WINDOWS if target.timed else ():
        recent = popularity(target, asked, days)
        yield "recent popularity", f"popularity, last {days} days", recent + 1e-6 * counts
        if days == RECENT_DAYS:
            served = logarithms + np.log1p(recent)
    yield SERVED, SERVED, served
    if not others:
        return
    bases = {BASE: spread(np.log1p(counts)), SERVED: spread(served)}

    def mixed(family: str, name: str, scores: DoubleArray) -> Iterator[tuple[str, str, DoubleArray]]:
        yield family, name, scores
        scaled = spread(scores)
        for base, known_scores in bases.items():
            for weight in WEIGHTS:
                yield f"{base} + {family}", f"{base} + {weight:g} x {name}", known_scores + weight * scaled

    hub, _ = load_hub(ws, "hub@live")
    for name, items, foreign in content_spaces(target, others, hub.config.calibration):
        for events, decay in RECENCIES:
            queries = recency_weighted(foreign, asked.histories, decay, events)
            told = f"content ({name}; last {events}, decay {decay:g})"
            yield from mixed("content", told, (queries @ items.T).astype(np.float64))
    n_foreign = sum(len(other.vectors) for other in others)
    all_rows = dict(target.events.group_by("user_id").agg("row").iter_rows())
    for name, taken in (
        ("first items", list(known.targets[:, None])),
        ("all items", [np.array(all_rows[user]) for user in known.user_ids]),
    ):
        scores = taken_together(known, asked, taken, len(target.vectors), n_foreign)
        yield from mixed("taken together", f"taken together ({name})", scores)
    if spoke is not None:
        yield from mixed("spoke", "spoke", spoke(asked))


def values(scores: DoubleArray, shoppers: Shoppers) -> dict[str, DoubleArray]:
    """(U,) of each metric."""
    users = np.arange(len(shoppers))
    found = user_metrics(target_ranks(scores, users, shoppers.targets), users, len(shoppers), (10,))
    return {name: found[name] for name in METRICS}


def spoke_scores(
    ws: Any, target: Category, others: Sequence[Category], asked: Shoppers
) -> Callable[[Shoppers], DoubleArray]:
    """What a spoke makes of foreign items, new ones to it; it is trained without the shoppers who are asked about."""
    name = f"{target.name}_others"
    snapshot = ws.registry.snapshots.list(target.name, "events")[-1]
    events = read_table(ws, snapshot).filter(~pl.col("user_id").is_in(asked.user_ids))
    order = [] if target.timed else ["position"]
    events = events.with_columns(pl.col("timestamp").cast(pl.Int64) // 1_000_000).select(
        "user_id", "item_id", "timestamp", "event_type", *order
    )
    if name not in {own.name for own in ws.domain.list()}:
        ws.domain.add(name, target.dataset.items, events)
    spoke, encoded = over_catalog(ws, ws.registry.models.get(str(ws.spoke.train(name).ref)), target.dataset)

    def embed(one: Category, outputs: Any) -> FloatArray:
        return spoke.embed_items(one.dataset.items["item_id"].to_list(), outputs, one.dataset.items)

    items, (hub, _) = embed(target, encoded), load_hub(ws, "hub@live")
    foreign = np.concatenate(
        [embed(other, encode_items(ws, hub, other.dataset, spoke.content, spoke.heads)) for other in others]
    )

    def score(shoppers: Shoppers) -> DoubleArray:
        return (spoke.embed_sessions(foreign, shoppers.histories, exclude_seen=True) @ items.T).astype(np.float64)

    return score


def measure_target(
    ws: Any, target: Category, others: Sequence[Category], arguments: argparse.Namespace
) -> dict[str, dict[str, dict[str, DoubleArray]]]:
    """Values by candidate and part; what is learned across categories knows none of those that it is judged on."""
    shared = shared_shoppers(target, others, arguments.seed)
    asked = min(arguments.shoppers, len(shared))
    half, places = asked // 2, np.arange(len(shared))
    spoke = None
    if arguments.spokes:
        spoke = spoke_scores(ws, target, others, shared.only(places[:asked]))
    # The validation half is judged in two folds, so that no test shopper has a part in the choice.
    folds = {
        "validation": [places[: half // 2], places[half // 2 : half]],
        "test": [places[half:asked]],
    }
    found: dict[str, dict[str, dict[str, DoubleArray]]] = {}
    for part, groups in folds.items():
        for group in groups:
            left_out = np.concatenate([group, folds["test"][0]])
            own = shared.only(group)
            for family, name, scores in candidates(
                ws, target, others, own, shared.only(np.setdiff1d(places, left_out)), spoke
            ):
                to = found.setdefault(name, {"family": family}).setdefault(
                    part, {metric: np.zeros(0) for metric in METRICS}
                )
                for metric, value in values(scores, own).items():
                    to[metric] = np.concatenate([to[metric], value])
    return found


def pooled(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The shoppers of several categories taken together."""
    return {
        name: {
            "family": own["family"],
            **{
                part: {metric: np.concatenate([one[name][part][metric] for one in parts]) for metric in METRICS}
                for part in ("validation", "test")
            },
        }
        for name, own in parts[0].items()
        if all(name in one for one in parts)
    }


def rows_of(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per candidate: its means, and how far it is from popularity on both parts."""
    rows = []
    for name, own in found.items():
        row: dict[str, Any] = {"family": own["family"], "candidate": name}
        for part in ("validation", "test"):
            for metric in METRICS:
                mine, base = own[part][metric], found[BASE][part][metric]
                row[f"{part} {metric}"] = vars(mean_interval(mine))
                row[f"{part} {metric} difference"] = vars(paired_difference(mine, base))
                if metric == METRICS[0]:
                    row[f"{part} {metric} beside {SERVED}"] = vars(paired_difference(mine, found[SERVED][part][metric]))
        rows.append(row)
    return rows


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole run; a workspace that is named is kept, and with it what the encoders made."""
    with (
        tempfile.TemporaryDirectory(prefix="hubspoke-benchmark-") as folder,
        hubspoke.open(
            create=True, progress=make_progress(arguments.quiet), workspace=arguments.workspace or folder
        ) as ws,
    ):
        known = {own.name for own in ws.domain.list()}
        ws.hub.train(domains=[], config={"image": None})
        for name in sorted(set(arguments.categories) - known):
            source = Path(arguments.data) / name
            ws.domain.add(name, source / "items.parquet", source / "interactions.parquet")
        categories = {name: load_category(ws, name) for name in arguments.categories}
        parts = []
        for target in arguments.targets:
            others = [own for name, own in categories.items() if name != target and not arguments.everybody]
            parts.append(measure_target(ws, categories[target], others, arguments))
        found = pooled(parts)
        return {
            "date": datetime.now(UTC).date().isoformat(),
            "categories": arguments.categories,
            "targets": arguments.targets,
            "everybody": arguments.everybody,
            "shoppers": {part: len(found[BASE][part][METRICS[0]]) for part in ("validation", "test")},
            "rows": rows_of(found),
            "machine": machine("cpu"),
            "versions": versions(),
        }


def markdown(report: dict[str, Any]) -> str:
    """The best candidate of each family on validation."""
    shoppers = report["shoppers"]
    known = "everybody" if report["everybody"] else f"known from others of {', '.join(report['categories'])}"
    lines = [
        f"First item of {shoppers['validation']} and {shoppers['test']} shoppers in {', '.join(report['targets'])}, "
        f"{known}; full ranking; 95 % intervals of the paired difference.",
        "",
        f"| best of its family on validation | validation NDCG@10 | beside {BASE} | beside {SERVED} | test NDCG@10 "
        f"| beside {BASE} | beside {SERVED} | test HR@10 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for family in dict.fromkeys(row["family"] for row in report["rows"]):
        row = max((r for r in report["rows"] if r["family"] == family), key=lambda r: r["validation ndcg@10"]["value"])
        cells = [row["candidate"]]
        for part in ("validation", "test"):
            cells.append(f"{row[f'{part} ndcg@10']['value']:.4f}")
            for beside in ("difference", f"beside {SERVED}"):
                difference = row[f"{part} ndcg@10 {beside}"]
                cells.append(f"{difference['value']:+.4f} [{difference['low']:+.4f}, {difference['high']:+.4f}]")
        lines.append(f"| {' | '.join([*cells, format(row['test hr@10']['value'], '.4f')])} |")
    return "\n".join(lines)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""

    def names(text: str) -> list[str]:
        return text.split(",")

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data", required=True, metavar="DIR", help="holds NAME/items.parquet and NAME/interactions.parquet"
    )
    parser.add_argument("--categories", required=True, type=names, metavar="A,B,C", help="that share their shoppers")
    parser.add_argument("--targets", required=True, type=names, metavar="A,B", help="judged on, shoppers put together")
    parser.add_argument(
        "--shoppers", type=int, default=2000, metavar="N", help="at most so many a target (default: 2000)"
    )
    parser.add_argument(
        "--everybody", action="store_true", help="shoppers whom nobody else knows too; popularity alone"
    )
    parser.add_argument("--spokes", action="store_true", help="train a spoke of each target too")
    parser.add_argument("--workspace", metavar="DIR", help="kept from run to run (default: a temporary one)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", required=True, metavar="FILE", help="where the JSON report goes")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write the report."""
    arguments = parse(argv)
    publish(partial(measure, arguments), markdown, arguments.out)


if __name__ == "__main__":
    main()
