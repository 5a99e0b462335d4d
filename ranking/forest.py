"""Trained trees, ready to score: read from the JSON that XGBoost writes, walked by numpy.

To score a request needs no XGBoost, whose import costs a second and 160 MB, and whose own reader ends the process over
some damaged files; nor does serving need the extra that training does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import BoolArray, FloatArray, IntArray
from ..errors import CorruptArtifactError
from .features import NAMES

FILE = "trees.json"
# Keys of a tree's nodes in XGBoost's JSON.
_NODES = ("left_children", "right_children", "split_indices", "split_conditions", "default_left", "loss_changes")


@dataclass(frozen=True, eq=False)
class Forest:
    """Trees whose nodes lie one after the other; a leaf is its own child."""

    margin: float = 1.0  # of the spoke's standardised score, which trees add to
    text: bytes = b""  # what was read
    roots: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))  # (K,) node that each tree begins with
    children: IntArray = field(default_factory=lambda: np.zeros((0, 2), np.int64))  # (M, 2) where the test fails, holds
    features: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))  # (M,) column that is tested
    values: FloatArray = field(
        default_factory=lambda: np.zeros(0, np.float32)
    )  # (M,) tested to be below; of a leaf: score
    unknown: BoolArray = field(default_factory=lambda: np.zeros(0, np.bool_))  # (M,) the test's result over NaN
    gained: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))  # (M,) by the split; 0 for a leaf
    depth: int = 0

    def __len__(self) -> int:
        return len(self.roots)

    def score(self, features: FloatArray, spoke: FloatArray) -> FloatArray:
        """(n,) scores of candidates by their features (n, F) and the spoke's standardised scores (n,)."""
        first = np.float32(self.margin) * spoke
        if not len(self) or not len(features):
            return first
        node = np.broadcast_to(self.roots, (len(features), len(self)))  # (n, K)
        begins = np.arange(len(features), dtype=np.int64)[:, None] * features.shape[1]
        flat, known = features.reshape(-1), ~np.isnan(features).reshape(-1)
        for _ in range(self.depth):
            place = begins + self.features[node]
            below = np.where(known[place], flat[place] < self.values[node], self.unknown[node])
            node = self.children.reshape(-1)[2 * node + below]
        added: FloatArray = self.values[node].sum(axis=1, dtype=np.float32)
        return first + added

    @cached_property
    def gains(self) -> Mapping[str, float]:
        """Feature to its share of what all splits gained, the greatest first; those without a split are 0."""
        inner = self.children[:, 0] != np.arange(len(self.children))
        found = np.bincount(self.features[inner], self.gained[inner], len(NAMES))
        shares = dict(zip(NAMES, (found / (found.sum() or 1.0)).tolist(), strict=True))
        return dict(sorted(shares.items(), key=lambda one: -one[1]))

    def save(self, folder: Path) -> None:
        """Write the JSON that it was read from."""
        (folder / FILE).write_bytes(self.text)

    @classmethod
    def load(cls, folder: Path) -> Forest:
        """Read what `save` wrote; CorruptArtifactError for anything else."""
        try:
            return cls.parse((folder / FILE).read_bytes())
        except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:
            raise CorruptArtifactError(
                f"the trees in {folder} cannot be read ({type(error).__name__}); train the re-ranker with --force."
            ) from error

    @classmethod
    def parse(cls, text: bytes) -> Forest:
        """Trees from XGBoost's JSON; ValueError, or what lies below KeyError and TypeError, for anything else."""
        learner = json.loads(text)["learner"]
        if tuple(learner["feature_names"]) != NAMES:
            raise ValueError("its features are not a re-ranker's")
        margin, trees = float(learner["attributes"]["margin"]), learner["gradient_booster"]["model"]["trees"]
        if not trees:
            return cls(margin, text)
        parts = [_nodes(tree) for tree in trees]
        sizes = np.array([len(part[0]) for part in parts])
        roots = np.cumsum(sizes) - sizes
        children = np.concatenate([part[0] + root for part, root in zip(parts, roots.tolist(), strict=True)])
        features, values, unknown, gained = (np.concatenate([part[place] for part in parts]) for place in range(1, 5))
        depth = max(part[5] for part in parts)
        return cls(margin, text, roots, children, features, values, unknown, gained, depth)


def _nodes(tree: Mapping[str, Any]) -> tuple[IntArray, IntArray, FloatArray, BoolArray, FloatArray, int]:
    """The children, features, values, answers over NaN and gains of one tree's M nodes, and its depth."""
    left, right, feature, value, unknown, gained = (np.array(tree[name]) for name in _NODES)
    own = np.arange(len(left))
    leaf = left == -1
    children = np.where(leaf[:, None], own[:, None], np.stack([right, left], axis=1))  # (M, 2)
    # Children lie behind their parents, so that every walk ends.
    sound = (children[~leaf] > own[~leaf, None]).all() and children.max() < len(own) and np.isfinite(value).all()
    same = {len(array) for array in (left, right, feature, value, unknown, gained)} == {len(own)}
    if not (sound and same and len(own) and 0 <= feature.min() <= feature.max() < len(NAMES)):
        raise ValueError("a tree is not whole")
    depths = np.zeros(len(own), np.int64)
    for node in own[~leaf].tolist():
        depths[children[node]] = depths[node] + 1
    # A split is decided over 32 bits, as when it was learned.
    plain = children.astype(np.int64), feature.astype(np.int64), value.astype(np.float32), unknown.astype(np.bool_)
    return *plain, gained.astype(np.float32), int(depths.max())
