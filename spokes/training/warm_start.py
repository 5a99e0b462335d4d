"""What a spoke takes over from an earlier version before it is trained, and how far training has moved it from there.

What depends on the hub is never copied onto another one: the adapter starts anew there, and the content projection is
fitted so that items begin where they stood in the parent's space.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...arrays import BoolArray, FloatArray
from ...errors import IncompatibleError
from ...hub.adapters.adapted import PREFIX as ADAPTED_ENCODERS
from ...hub.drift import LIST, cosine_drift, embedding_drift, list_overlap
from ..config import SpokeConfig
from ..model import BehaviourModel, ItemInputs
from ..spoke import UNKNOWN_ID_ROW, Behaviour, Spoke
from .validation import Validation

# Settings that change how weights are trained and not what they mean; a child's may differ from its parent's.
FREE: dict[str, Any] = {
    **dict.fromkeys(
        ("hub_scorer", "hub_fusion", "id_dropout", "min_item_count", "training", "stability", "seed"), True
    ),
    "transformer": {"dropout"},
    "attributes": {"dropout"},
    "statistics": {"dropout", "folds"},
    "encoder_adapter": {"learning_rate_factor"},
}
# Parts that a version may have or lack; where only one of two has it, it starts anew.
OPTIONAL = ("adapter", "encoder_adapter", "attributes", "statistics")
# Weight of the penalty in the fit of a content projection, relative to the mean square of a column.
RIDGE = 1e-4


@dataclass(frozen=True)
class Common:
    """What two versions have in common beside their shapes: the hub, and the domain, whose ids mean products."""

    same_hub: bool
    same_domain: bool
    # What is taken of another domain's version; of one of the same domain all that fits is.
    behaviour: bool = True
    attributes: bool = False


@dataclass(frozen=True)
class Taken:
    """What a training took over from its parent."""

    parts: tuple[str, ...] = ()  # in words
    ids: int = 0  # items that brought their residual along
    weights: frozenset[str] = frozenset()  # that mean what the parent's mean, the residuals of items apart


@dataclass(frozen=True)
class LoadedParent:
    """An earlier version in memory, over the N items of the training's catalog."""

    spoke: Spoke
    behaviour: Behaviour
    inputs: ItemInputs  # the items as it takes them
    vectors: FloatArray  # (N, D) what it says of them
    common: Common  # with the training


def require_same_shapes(child: SpokeConfig, parent: SpokeConfig, name: str, common: Common) -> None:
    """Refuse the parent `name` where a setting that shapes weights, or gives them their meaning, differs."""
    left_out = {key for key in OPTIONAL if getattr(child, key) is None or getattr(parent, key) is None}
    left_out |= set() if common.same_hub else {"adapter", "encoder_adapter"}
    left_out |= set() if common.same_domain else {"attributes"}
    if not common.same_domain and child.fusion == parent.fusion == "concat":
        left_out.add("content")  # the projection is fitted anew

    def shapes(config: SpokeConfig) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in config.model_dump(mode="json", exclude={**FREE, **dict.fromkeys(left_out, True)}).items():
            nested = isinstance(value, dict)
            found |= {f"{key}.{inner}": own for inner, own in value.items()} if nested else {key: value}
        return found

    ours, theirs = shapes(child), shapes(parent)
    differing = [key for key in sorted({*ours, *theirs}) if ours.get(key) != theirs.get(key)]
    if differing:
        named = ", ".join(f"{key} {theirs.get(key)} there and {ours.get(key)} here" for key in differing)
        raise IncompatibleError(
            f"{name} cannot be trained on with this config ({named}); leave these settings out, so that the parent's "
            "are taken, or train without a parent."
        )


@torch.no_grad()
def take_over(child: Behaviour, ours: ItemInputs, parent: Behaviour, theirs: ItemInputs, common: Common) -> Taken:
    """Give a new behavioural part what fits of a trained one, in place; both have inputs of the same N items."""
    own, given = child.model.state_dict(), parent.model.state_dict()
    adapters, encoders = _of_one_meaning(child, parent, common)
    weights = set()
    for name, weight in own.items():
        if "lora_" in name:
            fits = ("encoder adapter" if name.startswith(ADAPTED_ENCODERS) else "adapter") in adapters
        elif name.startswith("features."):
            fits = name.split(".")[1] in encoders
        else:  # the content projection and the residuals of items are not copied as they are
            fits = common.behaviour and not name.startswith(("content.", "ids.", ADAPTED_ENCODERS))
        if not fits:
            continue
        source = given.get(name)
        if source is None or source.shape != weight.shape:
            shape = "nothing" if source is None else "x".join(map(str, source.shape))
            raise IncompatibleError(
                f"The parent has {shape} where {name} of this training is {'x'.join(map(str, weight.shape))}; train "
                "with the parent's settings, or without a parent."
            )
        weight.copy_(source)
        weights.add(name)
    fusion = ["item fusion"] if child.model.item_fusion is not None else []
    network = ["transformer", *fusion] if common.behaviour else []
    parts = [*network, *adapters, *(f"{name} encoder" for name in encoders)]
    if not common.behaviour:
        return Taken(tuple(parts), 0, frozenset(weights))
    if child.model.content is not None and parent.model.content is not None:
        parts.append(_take_projection(child.model, ours, parent.model, theirs))
        weights |= {name for name in own if name.startswith("content.linear.")}
    if not child.config.ids:
        return Taken(tuple(parts), 0, frozenset(weights))
    own["ids.weight"][UNKNOWN_ID_ROW] = given["ids.weight"][UNKNOWN_ID_ROW]
    if common.same_domain:  # an item that had none begins where the parent had it, too
        own["ids.weight"][:] = given["ids.weight"][UNKNOWN_ID_ROW]
    place = {item: row for row, item in enumerate(parent.known_items, 1)} if common.same_domain else {}
    rows = [(row, place[item]) for row, item in enumerate(child.known_items, 1) if item in place]
    if rows:
        to, of = (torch.tensor(side) for side in zip(*rows, strict=True))
        own["ids.weight"][to] = given["ids.weight"][of].to(own["ids.weight"])
        parts.append("item ids")
    return Taken(tuple(parts), len(rows), frozenset(weights))


def _of_one_meaning(child: Behaviour, parent: Behaviour, common: Common) -> tuple[list[str], list[str]]:
    """The adapters of one frozen base, and the encoders of item features that read in both what the parent's read."""
    ours, theirs = child.config, parent.config
    pairs = {"adapter": (ours.lora, theirs.lora), "encoder adapter": (ours.encoder_adapter, theirs.encoder_adapter)}
    rate = {"learning_rate_factor"}
    same_base = common.same_hub and common.behaviour and ours.hub_fusion == theirs.hub_fusion
    adapters = [
        name
        for name, (own, given) in pairs.items()
        if same_base and own and given and own.model_dump(exclude=rate) == given.model_dump(exclude=rate)
    ]
    read, known = child.features, parent.features
    same = {
        "attributes": (common.same_domain or common.attributes)
        and read.vocabulary is not None
        and read.vocabulary == known.vocabulary,
        "statistics": common.behaviour
        and read.statistics is not None
        and known.statistics is not None
        and read.statistics.columns == known.statistics.columns,
    }
    return adapters, [name for name, equal in same.items() if equal]


def _take_projection(child: BehaviourModel, ours: ItemInputs, parent: BehaviourModel, theirs: ItemInputs) -> str:
    """Let items begin where their content stood in the parent's space; returns how, in words."""

    def before(model: BehaviourModel) -> dict[str, Tensor]:
        """All that is between an encoder's vectors and the projection, and the adapted heads before."""
        named = {**model.state_dict(), **dict(model.named_buffers())}
        kept = ("content.", ADAPTED_ENCODERS)
        return {n: own for n, own in named.items() if n.startswith(kept) and not n.startswith("content.linear.")}

    assert child.content is not None and parent.content is not None
    weights, known = before(child), before(parent)
    # The same encoders, fusion and calibration see the same content embedding of an item.
    if weights.keys() == known.keys() and all(
        own.shape == known[name].shape and torch.equal(own, known[name]) for name, own in weights.items()
    ):
        child.content.linear.load_state_dict(parent.content.linear.state_dict())
        return "content projection"
    weight, bias = _fit(child, ours, parent, theirs)
    child.content.linear.weight.copy_(weight)
    child.content.linear.bias.copy_(bias)
    return "content projection (fitted to another content space)"


def _fit(child: BehaviourModel, ours: ItemInputs, parent: BehaviourModel, theirs: ItemInputs) -> tuple[Tensor, Tensor]:
    """(D, R) weight and (D,) bias from the child's embeddings to the parent's content parts: ridge regression."""
    child.eval()
    parent.eval()
    assert child.content is not None and parent.content is not None
    linear = child.content.linear
    inputs, outputs, device = linear.in_features, linear.out_features, linear.weight.device
    sums = torch.zeros(inputs + 1, inputs + 1 + outputs, dtype=torch.float64, device=device)
    for rows in torch.arange(len(ours), device=device).split(4096):
        own, given = child.through_encoders(ours.rows(rows)).content, parent.through_encoders(theirs.rows(rows)).content
        assert own is not None and given is not None
        x = child.content.calibrated(own).double()  # (B, R)
        x = torch.cat([x, x.new_zeros(len(x), inputs - x.shape[1]), x.new_ones(len(x), 1)], dim=1)  # (B, R + 1)
        sums += x.T @ torch.cat([x, parent.content(given).double()], dim=1)  # (R + 1, R + 1 + D)
    gram, moments = sums.split([inputs + 1, outputs], dim=1)
    penalty = gram.new_full((inputs + 1,), RIDGE * max(float(gram.diagonal()[:-1].mean()), 1e-12))
    penalty[-1] = 0.0  # the bias is free
    solved = torch.linalg.solve(gram + torch.diag(penalty), moments)
    return solved[:-1].T.float(), solved[-1].float()


def measured_drift(
    child: Spoke, ours: FloatArray, parent: LoadedParent, common: BoolArray, users: Validation
) -> dict[str, Any]:
    """How far a version has gone from its parent: item vectors, and what is recommended.

    Vectors, the child's (N, D) `ours`, are compared on the (N,) `common` items, which the parent was trained on: those
    of behaviour, and apart from them the content embeddings, where both have as many columns. Lists are compared for
    the `users` that the child was chosen on, each version with its own mixture.
    """

    def shown(spoke: Spoke, vectors: FloatArray) -> FloatArray:
        """(U, N) scores, minus infinity where the policy does not show an item."""
        recommender = spoke.recommender("", vectors, exclude_seen=users.filter_seen)
        scores: FloatArray = np.array(recommender.score(users.histories))
        if users.filter_seen:
            for row, history in enumerate(users.users.histories):
                scores[row, np.asarray(history)] = -np.inf
        return scores

    own, known, width = ours[common], parent.vectors[common], child.width
    content, before = own[:, child.behaviour_dimension :], known[:, parent.spoke.behaviour_dimension :]
    return {
        "items": len(own),
        **embedding_drift(own[:, :width], known[:, :width]),
        "cosine": cosine_drift(own[:, :width], known[:, :width]),
        "content": embedding_drift(content, before) if content.shape == before.shape and content.size else {},
        "users": len(users.users),
        f"overlap@{LIST}": list_overlap(shown(child, ours), shown(parent.spoke, parent.vectors), LIST),
    }
