"""What a spoke takes over from an earlier version before it is trained, and how far training has moved it from there.

What depends on the hub is never copied onto another one: the adapter starts anew there, and the content projection is
fitted so that items begin where they stood in the parent's space.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...arrays import BoolArray, FloatArray
from ...errors import IncompatibleError
from ...hub.adapters.adapted import PREFIX as ADAPTED_ENCODERS
from ..config import SpokeConfig
from ..model import BehaviourModel, ItemInputs, PreparedContent
from ..spoke import UNKNOWN_ID_ROW, Behaviour, Spoke
from .validation import Validation

# Settings that change how weights are trained and not what they mean; a child's may differ from its parent's.
FREE = ("id_dropout", "min_item_count", "training", "seed")
FREE_INSIDE = {
    "transformer": ("dropout",),
    "attributes": ("dropout",),
    "statistics": ("dropout", "folds"),
    "encoder_adapter": ("learning_rate_factor",),
}
# Parts that a version may have or lack; where only one of two has it, it starts anew.
OPTIONAL = ("adapter", "encoder_adapter", "attributes", "statistics")
QUANTILES = {"q05": 0.05, "q25": 0.25, "median": 0.5, "q75": 0.75, "q95": 0.95}
# Length of the lists that two versions' recommendations are compared by.
LIST = 10
# Weight of the penalty in the fit of a content projection, relative to the mean square of a column.
RIDGE = 1e-4


@dataclass(frozen=True)
class Common:
    """What two versions have in common beside their shapes: the hub, and the domain, whose ids mean products."""

    same_hub: bool
    same_domain: bool


@dataclass(frozen=True)
class LoadedParent:
    """An earlier version in memory, over the catalog of the training.

    Attributes:
        spoke: the version.
        behaviour: its trained part.
        inputs: the catalog's N items as it takes them.
        vectors: (N, D) what it says of them.
        common: what it has in common with the training.
    """

    spoke: Spoke
    behaviour: Behaviour
    inputs: ItemInputs
    vectors: FloatArray
    common: Common


def require_same_shapes(child: SpokeConfig, parent: SpokeConfig, name: str, common: Common) -> None:
    """Refuse the parent `name` where a setting that shapes weights, or gives them their meaning, differs."""
    left_out = set() if common.same_hub else {"adapter", "encoder_adapter"}
    left_out |= set() if common.same_domain else {"attributes"}
    left_out |= {key for key in OPTIONAL if getattr(child, key) is None or getattr(parent, key) is None}
    ours, theirs = (dict(_shapes(config, left_out)) for config in (child, parent))
    differing = [key for key in sorted({*ours, *theirs}) if ours.get(key) != theirs.get(key)]
    if differing:
        named = ", ".join(f"{key} {theirs.get(key)} there and {ours.get(key)} here" for key in differing)
        raise IncompatibleError(
            f"{name} cannot be trained on with this config ({named}); leave these settings out, so that the parent's "
            "are taken, or train without a parent."
        )


def _shapes(config: SpokeConfig, left_out: set[str]) -> Iterator[tuple[str, Any]]:
    """Every setting that shapes weights, nested keys joined with dots."""
    for key, value in config.model_dump(mode="json").items():
        if key in FREE or key in left_out:
            continue
        if not isinstance(value, dict):
            yield key, value
            continue
        free = FREE_INSIDE.get(key, ())
        yield from ((f"{key}.{inner}", deeper) for inner, deeper in value.items() if inner not in free)


@torch.no_grad()
def take_over(
    child: Behaviour, ours: ItemInputs, parent: Behaviour, theirs: ItemInputs, common: Common
) -> tuple[tuple[str, ...], int]:
    """Give a new behavioural part what fits of a trained one, in place.

    Args:
        child: as it was initialised.
        ours: inputs of the catalog's N items as the child takes them.
        parent: the earlier version.
        theirs: inputs of the same items as the parent takes them.
        common: what the two have in common.

    Returns:
        What was taken, in words, and how many items brought their residual along.
    """
    own, given = child.model.state_dict(), parent.model.state_dict()
    adapters = _adapters(child.config, parent.config, common)
    encoders = _readable(child, parent, common)
    for name, weight in own.items():
        if _is_taken(name, adapters, encoders):
            _copy(weight, given.get(name), name)
    fusion = ["item fusion"] if child.model.item_fusion is not None else []
    parts = ["transformer", *fusion, *adapters, *(f"{name} encoder" for name in encoders)]
    if child.model.content is not None and parent.model.content is not None:
        parts.append(_take_projection(child.model, ours, parent.model, theirs))
    ids = _take_ids(child, parent) if common.same_domain and child.config.ids else 0
    if child.config.ids:
        own["ids.weight"][UNKNOWN_ID_ROW] = given["ids.weight"][UNKNOWN_ID_ROW]
    return (*parts, "item ids") if ids else tuple(parts), ids


def _adapters(child: SpokeConfig, parent: SpokeConfig, common: Common) -> list[str]:
    """The adapters that mean in the child what they mean in the parent: those of one frozen base."""
    pairs = {"adapter": (child.lora, parent.lora), "encoder adapter": (child.encoder_adapter, parent.encoder_adapter)}
    rate = {"learning_rate_factor"}
    return [
        name
        for name, (own, given) in pairs.items()
        if common.same_hub and own and given and own.model_dump(exclude=rate) == given.model_dump(exclude=rate)
    ]


def _readable(child: Behaviour, parent: Behaviour, common: Common) -> list[str]:
    """The encoders of item features that read in both versions what they read in the parent."""
    ours, theirs, found = child.features, parent.features, []
    if common.same_domain and ours.vocabulary is not None and ours.vocabulary == theirs.vocabulary:
        found.append("attributes")
    if ours.statistics is not None and theirs.statistics is not None:
        found += ["statistics"] if ours.statistics.columns == theirs.statistics.columns else []
    return found


def _is_taken(name: str, adapters: list[str], encoders: list[str]) -> bool:
    """Whether a weight is copied as it is; the content projection and the residuals of items are not."""
    if "lora_" in name:
        return ("encoder adapter" if name.startswith(ADAPTED_ENCODERS) else "adapter") in adapters
    if name.startswith("features."):
        return name.split(".")[1] in encoders
    return not name.startswith(("content.", "ids.", ADAPTED_ENCODERS))


def _copy(weight: Tensor, source: Tensor | None, name: str) -> None:
    if source is None or source.shape != weight.shape:
        shape = "nothing" if source is None else "x".join(map(str, source.shape))
        raise IncompatibleError(
            f"The parent has {shape} where {name} of this training is {'x'.join(map(str, weight.shape))}; train with "
            "the parent's settings, or without a parent."
        )
    weight.copy_(source)


def _take_ids(child: Behaviour, parent: Behaviour) -> int:
    """Residuals of the items that both know; returns how many."""
    place = {item: row for row, item in enumerate(parent.known_items, 1)}
    rows = [(row, place[item]) for row, item in enumerate(child.known_items, 1) if item in place]
    if rows:
        ours, theirs = (torch.tensor(side) for side in zip(*rows, strict=True))
        child.model.ids.weight[ours] = parent.model.ids.weight[theirs].to(child.model.ids.weight)
    return len(rows)


def _take_projection(child: BehaviourModel, ours: ItemInputs, parent: BehaviourModel, theirs: ItemInputs) -> str:
    """Let items begin where their content stood in the parent's space; returns how, in words."""
    assert child.content is not None and parent.content is not None
    mine, given = child.content.linear, parent.content.linear
    weights, known = _content_weights(child), _content_weights(parent)
    # The same encoders, fusion and calibration see the same content embedding of an item.
    if weights.keys() == known.keys() and all(
        own.shape == known[name].shape and torch.equal(own, known[name]) for name, own in weights.items()
    ):
        mine.load_state_dict(given.state_dict())
        return "content projection"
    weight, bias = _fit(child, ours, parent, theirs)
    mine.weight.copy_(weight)
    mine.bias.copy_(bias)
    return "content projection (fitted to another content space)"


def _content_weights(model: BehaviourModel) -> dict[str, Tensor]:
    """All that is between an encoder's vectors and the projection, and the adapted heads before."""
    named = {**model.state_dict(), **dict(model.named_buffers())}
    kept = ("content.", ADAPTED_ENCODERS)
    return {n: own for n, own in named.items() if n.startswith(kept) and not n.startswith("content.linear.")}


def _fit(
    child: BehaviourModel, ours: ItemInputs, parent: BehaviourModel, theirs: ItemInputs, batch_size: int = 4096
) -> tuple[Tensor, Tensor]:
    """(D, R) weight and (D,) bias that take the child's content embeddings to the parent's content parts.

    Ridge regression over the catalog, in float64, from sums over batches.
    """
    child.eval()
    parent.eval()
    assert child.content is not None and parent.content is not None
    linear = child.content.linear
    inputs, outputs, device = linear.in_features, linear.out_features, linear.weight.device
    sums = torch.zeros(inputs + 1, inputs + 1 + outputs, dtype=torch.float64, device=device)
    for rows in torch.arange(len(ours), device=device).split(batch_size):
        x = child.content.calibrated(_encoded(child, ours.rows(rows))).double()  # (B, R)
        x = torch.cat([x, x.new_zeros(len(x), inputs - x.shape[1]), x.new_ones(len(x), 1)], dim=1)  # (B, R + 1)
        y = parent.content(_encoded(parent, theirs.rows(rows))).double()  # (B, D)
        sums += x.T @ torch.cat([x, y], dim=1)
    gram, moments = sums.split([inputs + 1, outputs], dim=1)
    penalty = gram.new_full((inputs + 1,), RIDGE * max(float(gram.diagonal()[:-1].mean()), 1e-12))
    penalty[-1] = 0.0  # the bias is free
    solved = torch.linalg.solve(gram + torch.diag(penalty), moments)
    return solved[:-1].T.float(), solved[-1].float()


def _encoded(model: BehaviourModel, items: ItemInputs) -> PreparedContent:
    content = model.through_encoders(items).content
    assert content is not None
    return content


def measured_drift(
    child: Spoke, ours: FloatArray, parent: LoadedParent, common: BoolArray, users: Validation
) -> dict[str, Any]:
    """How far a version has gone from its parent: item vectors of behaviour, and what is recommended.

    Args:
        child: the version.
        ours: (N, D) what it says of its catalog's items.
        parent: that it was trained from.
        common: (N,) items that the parent was trained on; vectors are compared there.
        users: that the child was chosen on; lists are compared there, each version with its own mixture.
    """
    width, theirs = child.width, parent.vectors
    return {
        "items": int(common.sum()),
        "cosine": vector_drift(ours[common, :width], theirs[common, :width]),
        "users": len(users.users),
        f"overlap@{LIST}": list_overlap(_shown(child, ours, users), _shown(parent.spoke, theirs, users), LIST),
    }


def _shown(spoke: Spoke, vectors: FloatArray, users: Validation) -> FloatArray:
    """(U, N) scores for the validation users, minus infinity where the policy does not show an item."""
    recommender = spoke.recommender("", vectors, exclude_seen=users.filter_seen)
    scores: FloatArray = np.array(recommender.score(users.histories))
    if users.filter_seen:
        for row, history in enumerate(users.users.histories):
            scores[row, np.asarray(history)] = -np.inf
    return scores


def vector_drift(ours: FloatArray, theirs: FloatArray) -> dict[str, float]:
    """Mean and quantiles of the cosine between the (N, D) vectors of the same items in two versions."""
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines = (ours * theirs).sum(axis=1) / np.maximum(norms, 1e-12)
    if not len(cosines):
        return {}
    levels = {name: float(np.quantile(cosines, level)) for name, level in QUANTILES.items()}
    return {name: round(value, 5) for name, value in ({"mean": float(cosines.mean())} | levels).items()}


def list_overlap(ours: FloatArray, theirs: FloatArray, k: int) -> float:
    """Mean share of the first `k` items of the lists by (U, N) scores that stand among the first `k` of the others."""
    k = min(k, ours.shape[1])
    if not k or not len(ours):
        return float("nan")
    # Ties go to the lower row in both, so that equal scores make equal lists.
    first, second = (np.argsort(-scores, axis=1, kind="stable")[:, :k] for scores in (ours, theirs))
    shared = (first[:, :, None] == second[:, None, :]).any(axis=2)
    return round(float(shared.mean()), 5)
