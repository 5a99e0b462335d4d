"""A trained re-ranker: its trees, and what it knows of the past, in one folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ..arrays import IntArray
from ..errors import CorruptArtifactError, IncompatibleError
from .config import RerankConfig
from .counts import WINDOWS, Counts
from .features import FEATURES
from .forest import Forest
from .neighbours import Neighbours

CONTRACT: Mapping[str, Any] = {
    "features": [[feature.name, feature.says] for feature in FEATURES],
    "windows": list(WINDOWS),
}


@dataclass(frozen=True, eq=False)
class Past:
    """What generators and features know of N items from a category's events, by row of `item_ids`."""

    item_ids: tuple[str, ...]
    counts: Counts
    neighbours: Neighbours
    clock: bool  # whether timestamps tell the time of day

    def onto(self, item_ids: Sequence[str]) -> Past:
        """The same over another catalog; items that were not known have no past."""
        wanted = tuple(item_ids)
        if wanted == self.item_ids:
            return self
        place = {item: row for row, item in enumerate(wanted)}
        rows: IntArray = np.array([place.get(item, -1) for item in self.item_ids], np.int64)
        moved = (self.counts.onto(rows, len(wanted)), self.neighbours.onto(rows, len(wanted)))
        return Past(wanted, *moved, self.clock)


@dataclass(frozen=True, eq=False)
class Reranker:
    """Trees with their settings and their past."""

    config: RerankConfig
    trees: Forest
    past: Past
    floor: Mapping[str, Any]  # how the hub alone reads a session, as whoever made it writes and reads that

    def onto(self, item_ids: Sequence[str]) -> Reranker:
        """The same over another catalog."""
        return replace(self, past=self.past.onto(item_ids))

    def save(self, folder: Path) -> None:
        """Write trees and settings as JSON, numbers as safetensors."""
        counts, neighbours = self.past.counts, self.past.neighbours
        about = {
            "config": self.config.model_dump(mode="json"),
            "floor": self.floor,
            "contract": CONTRACT,
            "moment": counts.moment,
            "dated": counts.dated,
            "clock": self.past.clock,
        }
        (folder / "reranker.json").write_text(json.dumps(about, indent=2), encoding="utf-8")
        (folder / "items.json").write_text(json.dumps(self.past.item_ids, ensure_ascii=False), encoding="utf-8")
        arrays = {name: getattr(counts, name) for name in ("taken", "first", "last", "again")}
        arrays |= {f"neighbours.{name}": getattr(neighbours, name) for name in ("offsets", "items", "values")}
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / "past.safetensors")
        self.trees.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Reranker:
        """Read what `save` wrote; features of other names or meaning are an IncompatibleError."""
        try:
            about = json.loads((folder / "reranker.json").read_text(encoding="utf-8"))
            _require_contract(about["contract"])
            config = RerankConfig.model_validate(about["config"])
            past, floor = _read_past(folder, about), dict(about["floor"])
        except (SafetensorError, OSError, ValidationError, ValueError, TypeError, KeyError, IndexError) as error:
            raise CorruptArtifactError(
                f"the re-ranker in {folder} cannot be read ({type(error).__name__}); train it with --force."
            ) from error
        return cls(config, Forest.load(folder), past, floor)


def _read_past(folder: Path, about: Mapping[str, Any]) -> Past:
    item_ids = tuple(map(str, json.loads((folder / "items.json").read_text(encoding="utf-8"))))
    arrays, n = load_file(folder / "past.safetensors"), len(item_ids)
    neighbours = Neighbours(*(arrays[f"neighbours.{name}"] for name in ("offsets", "items", "values")))
    counted = [arrays[name] for name in ("taken", "first", "last", "again")]
    shapes = [(n, 1 + len(WINDOWS)), (n,), (n,), (n,)]
    fits = [array.shape for array in counted] == shapes and neighbours.offsets.shape == (n + 1,)
    if not fits or not (len(neighbours.items) == len(neighbours.values) == neighbours.offsets[-1]):
        raise ValueError("its parts do not fit together")
    if len(neighbours.items) and not 0 <= neighbours.items.min() <= neighbours.items.max() < n:
        raise ValueError("neighbours lie outside the catalog")
    counts = Counts(int(about["moment"]), bool(about["dated"]), *counted)
    return Past(item_ids, counts, neighbours, bool(about["clock"]))


def _require_contract(stored: Mapping[str, Any]) -> None:
    own = {name for name, _ in stored["features"]}
    known = {feature.name for feature in FEATURES}
    if stored != CONTRACT:
        differ = ", ".join(sorted(own ^ known)) or "the meaning or the order of some"
        raise IncompatibleError(
            f"the re-ranker reads other features than this version makes ({differ}); train it again with "
            "`hubspoke rerank train`."
        )
