"""How a list without a session is made: what counts as popular, over which days, and what spreading it out costs.

The target is a shopper's first item in a category, ranked by what others did before that day; shoppers whose first item
is among the first 5 % of the events have no part. Everything is shown for a validation half of the shoppers, where a
default is chosen, and for the test half, which is only reported. Prints a Markdown table and writes the same as JSON.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from math import floor
from typing import Any

import numpy as np
from hubspoke.arrays import DoubleArray, FloatArray, IntArray
from hubspoke.evaluation.bootstrap import mean_interval, paired_difference
from hubspoke.hub.calibration import fit_calibration
from hubspoke.retrieval.caps import Counts, Queue, put_off
from hubspoke.retrieval.rules import REACH, CatalogRules, Rules
from hubspoke.workflows.loading import load_hub
from hubspoke.workflows.newcomers import RECENT_DAYS, nearness

from benchmarks import categories
from benchmarks.launch_floor import machine, versions
from benchmarks.shared_shoppers import Category, Shoppers, load_category, popularity, shared_shoppers

K = 10
WINDOWS = (7, 14, 56, 90)  # days
# The shortest of these that holds so many events.
ADAPTIVE, ENOUGH = (7, 14, 28, 56, 112, 224), (500, 2000)
SHARES = (0.5, 0.3)
ARRIVALS = (0.1, 0.2)
SERVED, BEFORE = "by popularity with newcomers", "without those who began lately"


@dataclass(frozen=True)
class Catalog:
    """What a list is made of, beside what others did."""

    content: FloatArray  # (N, R) what tells items apart
    kinds: Mapping[str, IntArray]  # (N,) by what lists are spread over


def catalog_of(ws: Any, category: Category) -> Catalog:
    """The content and the kinds of a category's items."""
    hub, _ = load_hub(ws, "hub@live")
    content = fit_calibration(category.vectors, hub.config.calibration).apply(category.vectors)
    items = category.dataset.items
    depths = {"category and price": None, "level 2 and price": 2}
    rules = {name: Rules(newcomer_share=1, category_depth=depth) for name, depth in depths.items()}
    return Catalog(content, {name: CatalogRules(own, items).newcomer_kinds for name, own in rules.items()})


def counts(category: Category, shoppers: Shoppers) -> Iterator[tuple[str, DoubleArray]]:
    """Names and (U, N) scores of what is popular with newcomers."""
    first = replace(category, events=category.events.group_by("user_id", maintain_order=True).first())
    base = np.log1p(popularity(first, shoppers)) + np.log1p(popularity(category, shoppers))
    recent = base + np.log1p(popularity(category, shoppers, RECENT_DAYS))
    yield SERVED, recent + np.log1p(popularity(first, shoppers, RECENT_DAYS))
    yield BEFORE, recent
    terms, events = dict[int, FloatArray](), dict[int, DoubleArray]()
    for days in {*WINDOWS, *ADAPTIVE}:
        taken = popularity(category, shoppers, days)
        both = np.log1p(taken) + np.log1p(popularity(first, shoppers, days))
        terms[days], events[days] = both.astype(np.float32), taken.sum(axis=1)
    for days in WINDOWS:
        yield f"last {days} days", base + terms[days]
    for enough in ENOUGH:
        held = np.stack([events[days] >= enough for days in ADAPTIVE])  # (W, U)
        chosen = np.where(held.any(axis=0), held.argmax(axis=0), len(ADAPTIVE) - 1)
        adaptive = np.stack([terms[ADAPTIVE[place]][user] for user, place in enumerate(chosen)])
        yield f"shortest of {'/'.join(map(str, ADAPTIVE))} days with {enough} events", base + adaptive


def lists(category: Category, catalog: Catalog, shoppers: Shoppers, seed: int) -> Iterator[tuple[str, list[IntArray]]]:
    """Names and the first `K` rows for every shopper."""
    n_items = len(catalog.content)
    served = np.zeros((0, n_items))
    for name, scores in counts(category, shoppers):
        served = scores if name == SERVED else served
        yield name, [order[:K] for order in map(best_first, scores)]
    orders = [best_first(own) for own in served]
    for by, kinds in catalog.kinds.items():
        for share in SHARES:
            yield f"at most {share:g} of one {by}", [spread(order, kinds, share) for order in orders]
    taken = popularity(category, shoppers)
    near = [arrivals(catalog.content, own, taken[user]) for user, own in enumerate(served)]
    for share in ARRIVALS:
        pairs = zip(orders, near, strict=True)
        yield f"{share:g} of what nobody has taken", [called(order, new, share) for order, new in pairs]
    random = np.random.default_rng(seed)
    yield "only what nobody has taken, nearest to the popular", [new[:K] for new in near]
    yield "only what nobody has taken, in random order", [random.permutation(new)[:K] for new in near]
    typical = best_first(nearness(catalog.content, np.zeros(n_items)))
    yield "nothing known: typical", [typical[:K]] * len(shoppers)
    for share in SHARES:
        listed = spread(typical, catalog.kinds["category and price"], share)
        yield f"nothing known: typical, at most {share:g} of one category and price", [listed] * len(shoppers)
    yield "nothing known: in the order of the catalog", [np.arange(K)] * len(shoppers)
    yield "nothing known: random", [random.permutation(n_items)[:K] for _ in range(len(shoppers))]


def best_first(scores: DoubleArray) -> IntArray:
    """(N,) rows by score, equal ones by row."""
    return np.argsort(-scores, kind="stable")


def arrivals(content: FloatArray, scores: DoubleArray, taken: DoubleArray) -> IntArray:
    """The rows that nobody has taken, nearest to what is popular first."""
    new = np.flatnonzero(taken == 0)
    return new[np.argsort(-nearness(content, scores)[new], kind="stable")]


def spread(order: IntArray, kinds: IntArray, share: float) -> IntArray:
    """The beginning of an order of which one kind holds a share at most."""
    ranked = ((row, 0.0) for row in order.tolist())
    return np.array([row for row, _ in islice(put_off(ranked, kinds, share, REACH), K)])


def called(order: IntArray, new: IntArray, share: float) -> IntArray:
    """The beginning of an order of which a share at least is new."""
    queue = Queue(
        ((row, 0.0) for row in order.tolist()), ((row, 0.0) for row in new.tolist()), Counts((), ()), (), None
    )
    known, found = set(new.tolist()), list[int]()
    while len(found) < K:
        due = floor(share * (len(found) + 1) + 1e-9) > sum(row in known for row in found)
        taken = queue.take(new=due)
        if taken is None:
            break
        found.append(taken[0])
    return np.array(found)


def values(listed: Sequence[IntArray], targets: IntArray, kinds: IntArray) -> dict[str, DoubleArray]:
    """(U,) NDCG@10 and HR@10, and how many categories and price thirds a list holds."""
    places = [np.flatnonzero(rows == target) for rows, target in zip(listed, targets, strict=True)]
    gains = [1 / np.log2(found[0] + 2) if len(found) else 0.0 for found in places]
    return {
        "ndcg@10": np.array(gains),
        "hr@10": np.array([float(len(found) > 0) for found in places]),
        "kinds": np.array([float(len(np.unique(kinds[rows]))) for rows in listed]),
    }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """The whole run."""
    rows = []
    with categories.workspace(arguments) as ws:
        ws.hub.train(domains=[], config={"image": None})
        for name in arguments.category:
            category = load_category(ws, name)
            catalog = catalog_of(ws, category)
            everybody = shared_shoppers(category, [], arguments.seed)
            half = min(arguments.shoppers, len(everybody) // 2)
            kinds = catalog.kinds["category and price"]
            found: dict[str, dict[str, dict[str, DoubleArray]]] = {}
            for part, places in {"validation": np.arange(half), "test": np.arange(half, 2 * half)}.items():
                own = everybody.only(places)
                for label, listed in lists(category, catalog, own, arguments.seed):
                    found.setdefault(label, {})[part] = values(listed, own.targets, kinds)
            rows += [{"category": name, "shoppers": half, **row} for row in rows_of(found)]
    about = {"rows": rows, "machine": machine("cpu"), "versions": versions()}
    return {"date": datetime.now(UTC).date().isoformat(), **about}


def rows_of(found: Mapping[str, Mapping[str, Mapping[str, DoubleArray]]]) -> list[dict[str, Any]]:
    """A row per list, with its distance to the first."""
    rows = []
    for label, parts in found.items():
        row: dict[str, Any] = {"list": label}
        for part, own in parts.items():
            for metric, numbers in own.items():
                row[f"{part} {metric}"] = vars(mean_interval(numbers))
            row[f"{part} difference"] = vars(paired_difference(own["ndcg@10"], found[SERVED][part]["ndcg@10"]))
        rows.append(row)
    return rows


def markdown(report: Mapping[str, Any]) -> str:
    """One table for each category."""
    lines = []
    for name in dict.fromkeys(row["category"] for row in report["rows"]):
        own = [row for row in report["rows"] if row["category"] == name]
        lines += [f"{name}, {own[0]['shoppers']} shoppers in each part, {report['date']}:", ""]
        lines += [
            "| list | validation NDCG@10 | beside served | test NDCG@10 | beside served | test HR@10 | kinds in ten |"
        ]
        lines += ["|---|---|---|---|---|---|---|"]
        for row in own:
            cells = [row["list"]]
            for part in ("validation", "test"):
                gap = row[f"{part} difference"]
                cells.append(f"{row[f'{part} ndcg@10']['value']:.4f}")
                cells.append(f"{gap['value']:+.4f} [{gap['low']:+.4f}, {gap['high']:+.4f}]")
            cells += [f"{row['test hr@10']['value']:.4f}", f"{row['test kinds']['value']:.1f}"]
            lines.append(f"| {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = categories.parser_of(__doc__)
    parser.add_argument("--shoppers", type=int, default=1000, metavar="N", help="at most so many in each part")
    parser.add_argument("--seed", type=int, default=0)
    categories.run(parser, argv, measure, markdown)


if __name__ == "__main__":
    main()
