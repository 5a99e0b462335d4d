"""What pictures are worth to a category without behaviour, before and after; and what words find of them.

Before: the last layer of EfficientNet-Lite0. After: all of its stages. Tables: zero-shot ranking of new items by text,
by pictures and by both, beside heads that other categories taught by image-text contrast, and with a share by how far
texts and pictures of the catalog agree; recall of pictures by words and of words by pictures on products that nothing
was fitted on; and, where `sets.parquet` names products that share a room, how near those lie.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from hubspoke.arrays import DoubleArray
from hubspoke.evaluation.bootstrap import mean_interval, paired_difference
from hubspoke.evaluation.evaluate import evaluate
from hubspoke.evaluation.protocols import EvaluationSet, Protocol, leave_one_out
from hubspoke.hub.calibration import unit_rows
from hubspoke.hub.config import FusionConfig
from hubspoke.hub.content import fit_content_space
from hubspoke.hub.cross_modal import fit_image_to_text, in_text_space, recall
from hubspoke.hub.fusion import BaseFusion, EncodedItems
from hubspoke.spokes.mixture import floor_mixture
from hubspoke.spokes.spoke import Spoke, floor_settings
from hubspoke.workflows.datasets import load_dataset
from hubspoke.workflows.loading import encode_items, load_hub

from benchmarks.categories import parser_of, run, workspace
from benchmarks.launch_floor import machine, versions
from benchmarks.taught import Catalog, Taught

PLAIN: Mapping[str, Any] = {"contrastive": {"steps": 0}, "reading": {"sessions": 0}}
BEFORE: Mapping[str, Any] = {**PLAIN, "image": {"name": "package:efficientnet-lite0"}}
AGREEMENT = 0.1  # tried: pictures have their whole share from there on
SEEDS = (0, 1, 2)
PROTOCOL = Protocol(exclude_seen=True)


def ndcg(catalog: Catalog, encoded: EncodedItems, users: EvaluationSet, share: float | None = None) -> DoubleArray:
    """(U,) zero-shot NDCG@10 from these encoder outputs; pictures with another share where one is given."""
    space, hub = fit_content_space(encoded, catalog.hub.config), catalog.hub
    ranked, filtered = floor_settings(hub, space)
    if share is not None:
        filtered = replace(filtered, image_share=share)
    fusion = BaseFusion(encoded.text.shape[1], encoded.image.shape[1], FusionConfig())  # untrained: the identity
    spoke = Spoke(fusion, hub.fingerprint, space, None, floor_mixture(ranked, filtered))
    ids = catalog.dataset.items["item_id"].to_list()
    scorer = spoke.recommender("pictures", spoke.embed_items(ids, encoded), exclude_seen=True)
    return evaluate(scorer.score, users)["all"].metrics["ndcg@10"].astype(np.float64)


def zero_shot(before: Catalog, after: Catalog, taught: Taught) -> dict[str, Any]:
    """NDCG@10 by system, and differences with paired intervals."""
    users = leave_one_out(after.dataset.sequences, settings=PROTOCOL)
    only = {"text": {"text"}, "pictures": {"image"}, "both": {"text", "image"}}
    own = {f"{name}, before": ndcg(before, before.encoded.only(kept), users) for name, kept in only.items()}
    own |= {name: ndcg(after, after.encoded.only(kept), users) for name, kept in only.items()}
    agreed = after.space.image_share(after.hub.config.model_copy(update={"image_agreement": AGREEMENT}))
    own["both, by agreement"] = ndcg(after, after.encoded, users, share=agreed)
    heads = [ndcg(after, taught.under(after, taught.heads(seed)[0]), users) for seed in SEEDS]
    own["pictures, taught"] = np.mean(heads, axis=0)
    better = max(("text", "pictures"), key=lambda name: own[name].mean())
    compared = {
        "pictures": ("pictures", "pictures, before"),
        "both": ("both", "both, before"),
        "both against the better": ("both", better),
        "by agreement against the better": ("both, by agreement", better),
        "taught": ("pictures, taught", "pictures"),
    }
    return {
        "target": after.name,
        "users": len(own["text"]),  # whose target is new to them
        "agreement": after.space.agreement,
        "share by agreement": agreed,
        "better": better,
        "ndcg": {name: vars(mean_interval(values)) for name, values in own.items()},
        "differences": {name: vars(paired_difference(own[a], own[b])) for name, (a, b) in compared.items()},
    }


def recalls(catalog: Catalog, taught: Taught) -> dict[str, Any]:
    """Recall@1 and @10 on the items of one side of `lines`: fitted on the other side, or taught by other categories."""
    sides, groups = catalog.lines[catalog.both], catalog.groups[catalog.both]
    asked = np.flatnonzero(sides == 1)
    embedded = catalog.space.embed(catalog.encoded)[catalog.both]
    text, image = (embedded[:, catalog.space.columns[name]] for name in ("text", "image"))
    fitted = fit_image_to_text(text[sides == 0], image[sides == 0])
    x, y = taught.shared(catalog)
    found = {"closed form of others": [(unit_rows(x @ taught.ridge()), unit_rows(y))]}
    heads = [taught.heads(seed) for seed in SEEDS]
    found["InfoNCE of others"] = [(unit_rows(x @ own), unit_rows(y @ words)) for own, words in heads]
    if fitted is not None:
        found["closed form of its own"] = [(in_text_space(image, fitted), text)]
    rows = {
        name: [
            float(np.mean([recall(*(side[asked] for side in pair[::step]), groups[asked], k) for pair in pairs]))
            for step in (1, -1)
            for k in (1, 10)
        ]
        for name, pairs in found.items()
    }
    return {"target": catalog.name, "fitted": int((sides == 0).sum()), "items": len(asked), "recall": rows}


def rooms(before: Catalog, after: Catalog, sets: pl.DataFrame) -> dict[str, Any]:
    """How near products of one room lie: the share of random pairs that are less alike, averaged by room."""
    place = {item: row for row, item in enumerate(after.dataset.items["item_id"].to_list())}
    has = set(after.both.tolist())
    grouped = sets.unique(["set_id", "item_id"]).sort("set_id", "item_id").group_by("set_id", maintain_order=True)
    members = [sorted({place[item] for item in own} & has) for own in grouped.agg("item_id")["item_id"].to_list()]
    pairs = [np.array(list(combinations(own, 2))) for own in members if len(own) > 1]
    drawn = np.random.default_rng(0).choice(after.both, (200_000, 2))
    drawn = drawn[drawn[:, 0] != drawn[:, 1]]
    found = {}
    for name, catalog in (("before", before), ("after", after)):
        embedded = catalog.space.embed(catalog.encoded)
        for kind in ("image", "text"):
            x = embedded[:, catalog.space.columns[kind]]
            chance = np.sort(np.einsum("pr,pr->p", x[drawn[:, 0]], x[drawn[:, 1]]))
            near = [np.searchsorted(chance, np.einsum("pr,pr->p", x[p[:, 0]], x[p[:, 1]])) for p in pairs]
            found[f"{kind} {name}"] = np.array([own.mean() / len(chance) for own in near])
    change = paired_difference(found["image after"], found["image before"])
    return {
        "target": after.name,
        "rooms": len(pairs),
        "auc": {name: vars(mean_interval(own)) for name, own in found.items()},
        "difference": vars(change),
    }


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All tables."""
    report: dict[str, Any] = {"zero_shot": [], "recall": [], "rooms": []}
    with workspace(arguments) as ws:
        refs = [str(ws.hub.train(domains=[], config=config).ref) for config in (BEFORE, PLAIN)]
        hubs = [load_hub(ws, ref)[0] for ref in refs]
        found: list[list[Catalog]] = [[], []]
        for name in arguments.category:
            dataset = load_dataset(ws, name)
            for own, hub in zip(found, hubs, strict=True):
                own.append(Catalog(dataset, hub, encode_items(ws, hub, dataset)))
        for before, after in zip(*found, strict=True):
            taught = Taught([other for other in found[1] if other is not after])
            if len(after.dataset.sequences):
                report["zero_shot"].append(zero_shot(before, after, taught))
            report["recall"].append(recalls(after, taught))
            sets = arguments.category[after.name] / "sets.parquet"
            if sets.exists():
                report["rooms"].append(rooms(before, after, pl.read_parquet(sets, glob=False)))
    about = {"date": datetime.now(UTC).date().isoformat(), "protocol": PROTOCOL.describe(), "seeds": list(SEEDS)}
    return {**about, **report, "machine": machine(arguments.device), "versions": versions()}


def markdown(report: Mapping[str, Any]) -> str:
    """The tables of a report."""
    tables = [
        _zero_shot_table(report["zero_shot"]),
        _better_table(report["zero_shot"]),
        _recall_table(report["recall"]),
    ]
    tables += [_rooms_table(report["rooms"])] if report["rooms"] else []
    return "\n\n".join([f"{report['protocol']}; heads: means of seeds {report['seeds']}.", *tables])


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(headers)} |", f"|{'---|' * len(headers)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def _change(row: Mapping[str, Any], name: str, base: str) -> str:
    change = row["differences"][name]
    start = row["ndcg"][base]["value"]
    gain = f"{change['value'] / start:+.1%} " if start else ""
    return f"{gain}[{change['low']:+.4f}, {change['high']:+.4f}]"


def _zero_shot_table(rows: Sequence[Mapping[str, Any]]) -> str:
    names = ("pictures, before", "pictures", "pictures, taught", "both, before", "both")
    headers = ["target", "users", *names, "pictures: difference", "taught: to pictures", "both: difference"]
    return _table(
        headers,
        [
            [
                row["target"],
                f"{row['users']:,}",
                *(f"{row['ndcg'][name]['value']:.4f}" for name in names),
                _change(row, "pictures", "pictures, before"),
                _change(row, "taught", "pictures"),
                _change(row, "both", "both, before"),
            ]
            for row in rows
        ],
    )


def _better_table(rows: Sequence[Mapping[str, Any]]) -> str:
    headers = [
        "target",
        "text",
        "pictures",
        "both",
        "against the better",
        "agreement",
        "share by it",
        "both",
        "against",
    ]
    return _table(
        headers,
        [
            [
                row["target"],
                *(f"{row['ndcg'][name]['value']:.4f}" for name in ("text", "pictures", "both")),
                _change(row, "both against the better", row["better"]),
                f"{row['agreement']:.3f}",
                f"{row['share by agreement']:.2f}",
                f"{row['ndcg']['both, by agreement']['value']:.4f}",
                _change(row, "by agreement against the better", row["better"]),
            ]
            for row in rows
        ],
    )


def _recall_table(rows: Sequence[Mapping[str, Any]]) -> str:
    names = ["picture to text @1", "@10", "text to picture @1", "@10"]
    return _table(
        ["target", "items", "map", *names, "chance @10"],
        [
            [row["target"], f"{row['items']:,}", name, *(f"{own:.3f}" for own in found), f"{10 / row['items']:.3f}"]
            for row in rows
            for name, found in row["recall"].items()
        ],
    )


def _rooms_table(rows: Sequence[Mapping[str, Any]]) -> str:
    def told(own: Mapping[str, float], form: str) -> str:
        return f"{own['value']:{form}} [{own['low']:{form}}, {own['high']:{form}}]"

    names = ("text after", "image before", "image after")
    return _table(
        ["target", "rooms", "text", "pictures, before", "pictures", "difference"],
        [
            [
                row["target"],
                f"{row['rooms']:,}",
                *(told(row["auc"][name], ".3f") for name in names),
                told(row["difference"], "+.3f"),
            ]
            for row in rows
        ],
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write the report."""
    parser = parser_of(__doc__, needed="items.parquet")
    run(parser, argv, measure, markdown)


if __name__ == "__main__":
    main()
