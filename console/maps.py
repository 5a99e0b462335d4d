"""The products of an index in two dimensions: the two directions in which they differ most (PCA), made once per index.

Coordinates go to the browser as numbers of two bytes, with a byte each for category, price and coldness, so that a
hundred thousand products are 700 kB.
"""

from __future__ import annotations

import json
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import FloatArray
from ..errors import HubspokeError
from ..files import atomic_write
from ..workflows.recommendations import Recommender

if TYPE_CHECKING:
    from ..workflows.context import Context

FITTED_ROWS = 20_000  # that the directions are found on
NAMED = 7  # categories with a colour of their own; 255 are the others
UNKNOWN = 255
_REACH = 32_000  # of two bytes
_VERSION = 1


@dataclass(frozen=True)
class Drawing:
    """A map: its points in bytes, the names of the colours, and how much of the differences two dimensions show."""

    points: bytes
    n_items: int
    categories: list[tuple[str, int]]  # with a colour each, and how many products
    explained: float
    prices: tuple[float, float] | None  # lowest and highest


def projected(vectors: FloatArray, seed: int = 0) -> tuple[FloatArray, float]:
    """(N, 2) places of (N, D) vectors along their first two principal axes, and the share of variance there."""
    if len(vectors) < 2:
        return np.zeros((len(vectors), 2), dtype=np.float32), 1.0
    rows = np.arange(len(vectors))
    if len(vectors) > FITTED_ROWS:
        rows = np.random.default_rng(seed).choice(len(vectors), FITTED_ROWS, replace=False)
    some = vectors[rows].astype(np.float64)
    mean = some.mean(axis=0)
    values, axes = np.linalg.eigh(np.cov(some - mean, rowvar=False, bias=True).reshape(some.shape[1], -1))
    first = axes[:, ::-1][:, :2]  # (D, 2)
    first = first * np.where(first[np.abs(first).argmax(axis=0), range(first.shape[1])] < 0, -1, 1)  # one sign for all
    share = float(values[::-1][:2].sum() / max(float(values.sum()), 1e-12))
    found = np.zeros((len(vectors), 2), dtype=np.float32)
    found[:, : first.shape[1]] = (vectors - mean.astype(np.float32)) @ first.astype(np.float32)
    return found, share


def places_of(context: Context, recommender: Recommender) -> tuple[FloatArray, float]:
    """The places of the items of an index, from the workspace's cache where they were made before."""
    record = recommender.loaded.record
    # The digest names the bytes of the index.
    file = context.cache_dir / "console" / f"map-{_VERSION}-{record.artifact[:32]}.json"
    known = _read(file, len(recommender.item_ids))
    if known is not None:
        return known
    found, share = projected(directions(recommender))
    with suppress(OSError, HubspokeError):  # a workspace that cannot be written is still good to look at
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as stream:
            json.dump({"share": share, "places": np.round(found, 5).tolist()}, stream)
    return found, share


def directions(recommender: Recommender) -> FloatArray:
    """(N, R) what items are told apart by, each of length 1: their content, or all there is where none is read."""
    sessions, vectors = recommender.loaded.sessions, recommender.vectors
    found = sessions.space.alike(vectors[:, sessions.behaviour_dimension :]) if sessions.content else vectors
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9), dtype=np.float32)


def _read(file: Path, n_items: int) -> tuple[FloatArray, float] | None:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        places = np.array(known["places"], dtype=np.float32).reshape(-1, 2)
        return (places, float(known["share"])) if len(places) == n_items else None
    except (OSError, ValueError, KeyError):
        return None  # made again


def draw(context: Context, recommender: Recommender) -> Drawing:
    """The map of what a recommender shows."""
    places, share = places_of(context, recommender)
    items = recommender.shown
    names = [_leaf(path) for path in items["category_path"].to_list()]
    counted = [(name, count) for name, count in Counter(names).most_common(NAMED) if name]
    code = {name: n for n, (name, _) in enumerate(counted)}
    colours = np.array([code.get(name, UNKNOWN) for name in names], dtype=np.uint8)
    prices = np.array([np.nan if own is None else own for own in items["price"].to_list()], dtype=np.float64)
    known = np.isfinite(prices)
    points = b"".join((_whole(places), colours.tobytes(), _ranked(prices, known), recommender.cold.tobytes()))
    spread = (float(prices[known].min()), float(prices[known].max())) if known.any() else None
    return Drawing(points, len(places), counted, share, spread)


def _whole(places: FloatArray) -> bytes:
    """Places in two bytes each: what is far out is drawn nearer, so that the midst has room, and all fill the map."""
    if len(places):
        quarter, middle, most = np.quantile(places, [0.25, 0.5, 0.75], axis=0)
        places = np.arcsinh((places - middle) / np.maximum(most - quarter, 1e-9))
    low, high = np.quantile(places, [0.002, 0.998], axis=0) if len(places) else np.zeros((2, 2))
    middle, half = (low + high) / 2, np.maximum((high - low) / 2, 1e-9)
    return np.clip((places - middle) / half * _REACH * 0.92, -_REACH, _REACH).astype("<i2").tobytes()


def _ranked(prices: Any, known: Any) -> bytes:
    """A byte of each price: its place among all, 255 where it is not known."""
    found = np.full(len(prices), UNKNOWN, dtype=np.uint8)
    if known.any():
        order = prices[known].argsort(kind="stable").argsort(kind="stable")
        found[known] = (order * 254 / max(1, len(order) - 1)).astype(np.uint8)
    return found.tobytes()


def _leaf(path: list[str] | None) -> str:
    return path[-1] if path else ""
