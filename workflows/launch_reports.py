"""The launch report: what was read, what the vectors are like, what is recommended, and what to do next.

It is kept with the release as plain data and small pictures; the page is drawn from these whenever it is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from PIL import Image

from ..catalog.validation import PROBLEM_ROWS
from ..errors import CorruptArtifactError, NotFoundError, UsageError
from ..results import Record, jsonable
from .gates import Gates
from .loading import encode_items

if TYPE_CHECKING:
    from ..arrays import FloatArray, IntArray
    from ..registry.records import ReleaseRecord
    from .answers import Recommendations
    from .context import Context
    from .datasets import Dataset
    from .ingest import IngestResult
    from .recommendations import Recommender

FILE = "report.json"
PICTURES = "pictures"
THUMBNAIL = 240  # pixels of the longer side
# Items whose neighbours are looked at, and pairs drawn at random; the same ones every time.
SAMPLED_ITEMS, SAMPLED_PAIRS = 500, 10_000
NEIGHBOURS = 10
# Cosine from which two items are all but the same.
SAME = 0.98
# Other categories that a new one is compared with, and items looked at of each.
COMPARED, COMPARED_ITEMS = 8, 100
# Share of items without pictures, or of rows left out, from which it is worth a word.
WORTH_A_WORD = 0.05


@dataclass(frozen=True)
class SpaceCheck(Record):
    """One property of the item embeddings, and whether it is as it should be."""

    name: str
    value: float
    ok: bool
    says: str


@dataclass(frozen=True)
class NearCategory(Record):
    """Another category, and the cosine between the mean text embeddings of both."""

    domain: str
    similarity: float


@dataclass(frozen=True)
class LaunchReport(Record):
    """What a launch did, and what a careful colleague would want to know of it."""

    domain: str
    release: str
    mode: str
    at: datetime
    seconds: float  # to the first recommendation
    steps: Sequence[Mapping[str, Any]]
    read: Sequence[Mapping[str, Any]]  # as `IngestResult`, of items and of events
    n_items: int
    coverage: Mapping[str, float]  # share of items that have a title, a picture, ...
    space: Sequence[SpaceCheck]
    nearest: Sequence[NearCategory]
    samples: Sequence[Mapping[str, Any]]  # `to` one item, the `items` recommended; `picture` is a file beside the data
    gate: str
    next_steps: Sequence[str]


@dataclass(frozen=True)
class StoredReport:
    """A launch report and the folder that its pictures lie in."""

    report: LaunchReport
    folder: Path


def keep_report(
    context: Context,
    release: ReleaseRecord,
    mode: str,
    seconds: float,
    steps: Sequence[Mapping[str, Any]],
    taken: Sequence[IngestResult],
    recommender: Recommender,
    answers: Sequence[Recommendations],
) -> str:
    """Write the report of a launch beside its release, in place of an earlier one; the digest of its artifact."""
    context.progress("writing the launch report", 0, 1)
    items = recommender.dataset.items
    coverage = _coverage(items)
    with context.stage() as staged:
        report = LaunchReport(
            domain=release.domain,
            release=release.ref,
            mode=mode,
            at=datetime.now(UTC),
            seconds=seconds,
            steps=steps,
            read=[part.to_dict() for part in taken],
            n_items=items.height,
            coverage=coverage,
            space=space_checks(recommender),
            nearest=_nearest(context, release, recommender),
            samples=_samples(recommender, answers, staged),
            gate=_gate(context, release),
            next_steps=_next_steps(context, release, coverage, taken),
        )
        text = json.dumps(jsonable(report.to_dict()), ensure_ascii=False, indent=1)
        (staged / FILE).write_text(text, encoding="utf-8")
        stored = context.commit(staged, "launch report")
    context.registry.releases.keep_report(release.ref, stored)
    context.progress("writing the launch report", 1, 1)
    return stored.digest


def read_report(context: Context, ref: str) -> StoredReport:
    """The report of a release, or of what is live in a domain."""
    from pydantic import TypeAdapter, ValidationError

    node = context.registry.resolve(ref)
    if node.kind != "release":
        raise UsageError(f"{node.ref} is of kind {node.kind}; name a category or a release, as in release:garden/1.")
    digest = context.registry.releases.report(node.ref)
    if digest is None:
        raise NotFoundError(
            f"{node.ref} was not made by a launch, so there is no report of it; launch its category with "
            "`hubspoke launch NAME --catalog FILE`."
        )
    folder = context.artifacts.open(digest)
    try:
        report = TypeAdapter(LaunchReport).validate_json((folder / FILE).read_bytes())
    except (OSError, ValidationError) as error:
        raise CorruptArtifactError(f"The launch report of {node.ref} cannot be read; launch again.") from error
    return StoredReport(report, folder)


def _coverage(items: pl.DataFrame) -> dict[str, float]:
    has = {
        "title": pl.col("title") != "",
        "description": pl.col("description").is_not_null(),
        "brand": pl.col("brand").is_not_null(),
        "category": pl.col("category_path").is_not_null(),
        "price": pl.col("price").is_not_null(),
        "picture": pl.col("image_sha256").is_not_null(),
        "attributes": pl.col("attributes").list.len() > 0,
        "available": pl.col("available"),
    }
    return {name: float(items.select(given.mean()).item() or 0.0) for name, given in has.items()}


def space_checks(recommender: Recommender) -> list[SpaceCheck]:
    """What the content embeddings of a catalog are like, on items and pairs drawn with a fixed seed."""
    spoke = recommender.complete.spoke
    content = spoke.space.alike(recommender.vectors[:, spoke.behaviour_dimension :])
    vectors = np.asarray(content, dtype=np.float32)  # (N, R)
    if not vectors.shape[1]:
        return []
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    known = np.flatnonzero(norms[:, 0] > 0)
    empty = 1 - len(known) / max(1, len(vectors))
    found = [SpaceCheck("without content", empty, empty == 0, f"{empty:.1%} of items have no content embedding")]
    if len(known) <= NEIGHBOURS:
        return found
    unit = vectors[known] / norms[known]
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, len(unit), (2, SAMPLED_PAIRS))
    apart = left != right
    mean = float((unit[left[apart]] * unit[right[apart]]).sum(axis=1).mean())
    found.append(SpaceCheck("random pairs", mean, mean < 0.2, f"mean cosine {mean:.3f} of random pairs; 0 is best"))
    rows = np.sort(rng.choice(len(unit), min(SAMPLED_ITEMS, len(unit)), replace=False))
    cosines = unit[rows] @ unit.T  # (S, N)
    cosines[np.arange(len(rows)), rows] = -np.inf
    nearest = np.argpartition(-cosines, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    doubled = float((cosines.max(axis=1) > SAME).mean())
    says = f"{doubled:.1%} of items have a neighbour that is all but the same (cosine above {SAME})"
    found.append(SpaceCheck("near-duplicates", doubled, doubled < 0.25, says))
    found += _same_category(recommender.dataset.items[known.tolist()], rows, nearest)
    return found


def _same_category(items: pl.DataFrame, rows: IntArray, nearest: IntArray) -> list[SpaceCheck]:
    leaf = items["category_path"].list.last()
    if leaf.n_unique() < 2 or leaf.null_count() > len(leaf) // 2:
        return []
    codes = leaf.fill_null("").rank("dense").to_numpy()
    share = float((codes[nearest] == codes[rows][:, None]).mean())
    sizes = np.bincount(codes.astype(np.int64))
    chance = float(((sizes / len(codes)) ** 2).sum())
    says = f"{share:.0%} of the {NEIGHBOURS} nearest are of the same category; {chance:.0%} would be by chance"
    return [SpaceCheck("same category", share, share > 2 * chance or share > 0.6, says)]


def _nearest(context: Context, release: ReleaseRecord, recommender: Recommender) -> list[NearCategory]:
    """Established categories by how near their texts are, nearest first."""
    from .datasets import load_dataset

    hub = recommender.complete.hub
    if hub.text is None:
        return []
    others = [one.name for one in context.registry.domains.list() if one.live and one.name != release.domain]
    ours = _mean_text(context, recommender, recommender.dataset)
    found = []
    for name in others[:COMPARED]:
        theirs = _mean_text(context, recommender, load_dataset(context, name, with_events=False))
        found.append(NearCategory(name, round(float(ours @ theirs), 4)))
    return sorted(found, key=lambda near: -near.similarity)


def _mean_text(context: Context, recommender: Recommender, dataset: Dataset) -> FloatArray:
    """(Dt,) mean direction of the text embeddings of items spread over a catalog."""
    height = dataset.items.height
    rows = np.unique(np.linspace(0, height - 1, min(COMPARED_ITEMS, height)).astype(np.int64)).tolist()
    few = replace(dataset, items=dataset.items[rows])
    text = encode_items(context, recommender.complete.hub, few, content=("text",)).text
    mean = text.mean(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), dtype=np.float32)


def _samples(recommender: Recommender, answers: Sequence[Recommendations], folder: Path) -> list[dict[str, Any]]:
    """The first recommendations with their pictures made small, written beside the data."""
    root, made = recommender.dataset.image_root, dict[str, str | None]()

    def shown(item: Mapping[str, Any]) -> dict[str, Any]:
        image = item["image"]
        if image is not None and image not in made:
            made[image] = None if root is None else _thumbnail(root / image, folder, len(made))
        return {**item, "picture": made.get(image) if image else None}

    (folder / PICTURES).mkdir()
    return [{"to": shown(answer.session[0]), "items": [shown(item) for item in answer.items]} for answer in answers]


def _thumbnail(path: Path, folder: Path, number: int) -> str | None:
    name = f"{PICTURES}/{number}.jpg"
    try:
        with Image.open(path) as picture:
            small = picture.convert("RGB")
            small.thumbnail((THUMBNAIL, THUMBNAIL))
            small.save(folder / name, quality=82)
    except (OSError, ValueError, Image.DecompressionBombError):  # a picture that was never looked at
        return None
    return name


def _gate(context: Context, release: ReleaseRecord) -> str:
    gate = context.registry.gates.get(release.domain)
    if gate is None or not gate.conditions:
        return "no gate stands in front of live"
    check = Gates(context).check(release.domain, release.ref)
    return "the gate is met" if check.passes else f"the gate is not met: {check.failed}"


def _next_steps(
    context: Context, release: ReleaseRecord, coverage: Mapping[str, float], taken: Sequence[IngestResult]
) -> list[str]:
    name, steps = release.domain, []
    for part in taken:
        # Rows of variants that were folded, or events of kinds that are not read, are no loss.
        cuts = [step for step in part.report["waterfall"] if step["name"].endswith(PROBLEM_ROWS)]
        lost = sum(step["rows_in"] - step["rows_out"] for step in cuts)
        if lost > WORTH_A_WORD * part.report["rows_in"]:
            steps.append(f"Look at the {lost} rows of {part.kind} that were left out, correct them and launch again.")
    if coverage["picture"] < 1 - WORTH_A_WORD:
        steps.append(
            f"{1 - coverage['picture']:.0%} of items have no picture; give pictures with --images DIR, or "
            "--download-images where they are addresses."
        )
    if coverage["available"] < 0.5:
        steps.append("Fewer than half of the items are available, and only these are recommended: check that column.")
    if release.spoke is None:
        steps.append(f"Give events as they come: `hubspoke launch refresh {name} --events FILE` trains when it can.")
    steps.append(f"Let a scheduler run `hubspoke launch refresh {name}` with the newest exports.")
    if context.registry.gates.get(name) is None:
        steps.append(f"Set what a version must have shown: `hubspoke gate set {name} --max-drop ndcg@10=0.01`.")
    return steps
