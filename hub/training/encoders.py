"""Training of the encoders' last layers on several categories: by LoRA, which is merged in the end, or as they are.

The layers before run once per input, so that a step costs no more than the layers that it trains. What comes out is
weights by name, which an encoder takes in the place of its own: whoever uses a trained hub needs no adapter.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor, nn

from ...arrays import FloatArray, IntArray
from ...progress import StepProgress
from ..adapters.adapted import AdaptedEncoders, HeadInputs, adapt_encoders
from ..adapters.lora import merged
from ..adapters.states import ItemStates
from ..config import EncoderTrainingConfig
from ..contrastive import CalibratedSpace, ContrastiveDomain
from ..devices import autocast_for
from ..fusion import EncodedItems
from ..model import Hub
from .examples import EncoderExamples
from .losses import PairLoss, bounded_pair_loss, info_nce_loss

# By encoder and by name in its module.
EncoderWeights = Mapping[str, Mapping[str, Tensor]]
LOSSES: Mapping[str, PairLoss] = {
    "bounded": bounded_pair_loss,
    "info_nce": info_nce_loss,
    "views": info_nce_loss,
}
WARMUP = 0.1  # of the steps, in which the learning rate rises
_LAYER = re.compile(r"(?:layers|blocks)\.(\d+)\.")


def trained_layers(hub: Hub, config: EncoderTrainingConfig) -> dict[str, int]:
    """How many last layers are trained, by encoder; an encoder that has none to train is left out."""
    asked = {"text": config.text_layers if hub.text else 0, "image": config.image_layers if hub.image else 0}
    return {name: hub.encoder(name).depth if own == "all" else own for name, own in asked.items() if own}


def train_encoders(
    hub: Hub, categories: Sequence[EncoderExamples], progress: StepProgress | None = None
) -> tuple[EncoderWeights, list[float]]:
    """The weights that the hub's encoders are to have, and the loss of every step; the hub stays as it is."""
    training = EncoderTraining(hub, categories)
    losses: list[float] = []
    for step in range(hub.config.encoders.steps if training.turns else 0):
        losses.append(training.step(step))
        if progress:
            progress(step + 1, hub.config.encoders.steps)
    return training.weights(), losses


@torch.no_grad()
def between(hub: Hub, trained: EncoderWeights, share: float) -> EncoderWeights:
    """Weights `(1 - share) * start + share * trained`. WiSE-FT, Wortsman et al., 2022."""
    start = {name: dict(hub.encoder(name).module.named_parameters()) for name in trained}
    return {
        name: {key: torch.lerp(start[name][key], weight, share) for key, weight in own.items()}
        for name, own in trained.items()
    }


@torch.inference_mode()
def encoded_by(hub: Hub, weights: EncoderWeights, encoded: EncodedItems, batch_size: int = 2048) -> EncodedItems:
    """What the encoders would make of N items with these weights, from the states before the layers that changed."""
    layers = trained_layers(hub, hub.config.encoders)
    heads = {name: hub.encoder(name).with_weights(own).split(layers[name]).head for name, own in weights.items()}
    device = hub.fusion.down.weight.device
    adapted = AdaptedEncoders(heads, {}, hub.text_dimension)
    inputs, rows = adapted.inputs(encoded, device), torch.arange(len(encoded)).split(batch_size)
    made = [adapted(inputs.rows(own)).cpu().numpy() for own in rows]
    joined: FloatArray = np.concatenate(made) if made else encoded.joined()
    text, image = joined[:, : hub.text_dimension], joined[:, hub.text_dimension :]
    return EncodedItems(np.ascontiguousarray(text), np.ascontiguousarray(image), encoded.blocks)


class EncoderTraining:
    """One optimiser over the last layers of the encoders."""

    def __init__(self, hub: Hub, categories: Sequence[EncoderExamples]) -> None:
        self._hub, self._config = hub, hub.config.encoders
        self._device = hub.fusion.down.weight.device
        self._layers = trained_layers(hub, self._config)
        self.model = _trainable(hub, self._layers, self._config.rank)
        self._categories = [_Category(own, self.model, hub) for own in categories]
        self.named = {name: own for name, own in self.model.named_parameters() if own.requires_grad}
        groups = [
            {"params": [own], "share": self._config.layer_decay ** self._distance(name)}
            for name, own in self.named.items()
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=self._config.learning_rate, weight_decay=0.01) if groups else None
        self._rng = np.random.default_rng(hub.config.seed)
        self.turns = self._drawn_turns()

    def _distance(self, name: str) -> int:
        """How many layers lie between a weight and the output."""
        found = _LAYER.search(name)
        modality = name.split(".")[1]  # heads.MODALITY. ...
        return self._layers[modality] - 1 - int(found[1]) if found else 0

    def _drawn_turns(self) -> list[tuple[int, str]]:
        """Category and objective of each step: objectives by turns, categories by size to a power."""
        turns: list[tuple[int, str]] = []
        for step in range(self._config.steps):
            objective = self._config.objectives[step % len(self._config.objectives)]
            sizes = np.array([own.size(objective) for own in self._categories], np.float64)
            if sizes.any() and self.optimiser:
                shares = np.where(sizes > 0, sizes**self._config.size_power, 0.0)
                turns.append((int(self._rng.choice(len(sizes), p=shares / shares.sum())), objective))
        return turns

    def step(self, step: int) -> float:
        """Learn from one batch; returns its loss."""
        category, objective = self.turns[step]
        own = self._categories[category]
        loss = own.loss(objective, self._config, self._rng, autocast_for(self._device))
        assert self.optimiser is not None
        for group in self.optimiser.param_groups:
            group["lr"] = self._config.learning_rate * group["share"] * rate_factor(step, len(self.turns))
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return float(loss.detach())

    def weights(self) -> EncoderWeights:
        """By encoder, what its module's weights have become."""
        found = {}
        for name, layers in self._layers.items():
            encoder = self._hub.encoder(name)
            head = self.model.heads[name]
            if self._config.rank is not None:
                found[name] = in_module(encoder.module, merged(head))
                continue
            before = dict(encoder.split(layers).head.named_parameters())
            changed = [(before[key], own.detach()) for key, own in head.named_parameters()]
            found[name] = in_module(encoder.module, changed)
        return found


class _Category:
    """The batches of one category, and their loss in its content space."""

    def __init__(self, examples: EncoderExamples, model: AdaptedEncoders, hub: Hub) -> None:
        self._examples, self._model, self._hub = examples, model, hub
        device = hub.fusion.down.weight.device
        self._inputs = model.inputs(examples.encoded, device)
        domain = ContrastiveDomain(examples.encoded, examples.space, examples.pairs)
        self._space = CalibratedSpace(domain, hub.config.image_share, device)

    def size(self, objective: str) -> int:
        """How much there is to learn from."""
        if not self._examples.space.dimension:
            return 0
        return len(self._examples.viewed if objective == "views" else self._examples.pairs)

    def loss(
        self,
        objective: str,
        config: EncoderTrainingConfig,
        rng: np.random.Generator,
        precision: AbstractContextManager[object],
    ) -> Tensor:
        """The loss of one batch that is drawn."""
        with precision:
            if objective == "views":
                similarity, false = self._views(config, rng)
            else:
                similarity, false = self._together(config, rng)
        return LOSSES[objective](similarity.float() / config.temperature, false)

    def _together(self, config: EncoderTrainingConfig, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Of B pairs drawn: similarities (B, C) to partners and hard negatives, and which are no negatives."""
        examples = self._examples
        anchors, partners = examples.pairs[rng.integers(len(examples.pairs), size=config.batch_size)].T
        candidates = np.concatenate([partners, examples.hard_negatives(partners, config.hard_negatives, rng)])
        false = examples.false_negatives(anchors, candidates) | (partners[:, None] == candidates[None, :])
        # An anchor that is drawn twice is no negative of its own partner either.
        false[:, : len(anchors)] |= anchors[:, None] == anchors[None, :]
        rows, inverse = np.unique(np.concatenate([anchors, candidates]), return_inverse=True)
        z = self._embed(self._inputs.rows(torch.from_numpy(rows)))  # (rows, R)
        left, right = z[inverse[: len(anchors)]], z[inverse[len(anchors) :]]
        return left @ right.T, torch.from_numpy(false).to(z.device)

    def _views(self, config: EncoderTrainingConfig, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Of B items drawn: similarities (B, B) of their first views to their second ones; all others are negatives."""
        assert self._examples.views is not None
        viewed = self._examples.viewed
        rows = rng.choice(viewed, size=min(config.batch_size, len(viewed)), replace=False)
        left, right = (self._embed(self._view(own, rows)) for own in self._examples.views)
        return left @ right.T, torch.zeros(len(rows), len(rows), dtype=torch.bool, device=left.device)

    def _view(self, states: ItemStates, rows: IntArray) -> HeadInputs:
        """Texts alone."""
        width = self._hub.text_dimension + self._hub.image_dimension
        nothing = torch.zeros(len(rows), width, device=self._inputs.vectors.device)
        return HeadInputs(nothing, {"text": states}, rows)

    def _embed(self, items: HeadInputs) -> Tensor:
        return self._space.embed(self._hub.fusion(self._model(items)))


def _trainable(hub: Hub, layers: Mapping[str, int], rank: int | None) -> AdaptedEncoders:
    """The last layers of the encoders, under adapters that start at zero or as copies of their own."""
    if rank is not None:
        return adapt_encoders(hub, layers, rank, hub.config.seed)
    heads = {name: copy.deepcopy(hub.encoder(name).split(count).head) for name, count in layers.items()}
    return AdaptedEncoders({name: own.requires_grad_(True) for name, own in heads.items()}, {}, hub.text_dimension)


def rate_factor(step: int, steps: int) -> float:
    """What the learning rate is multiplied by: a rise over the first `WARMUP`, then half a cosine to zero."""
    warmup = max(1.0, WARMUP * steps)
    if step < warmup:
        return (step + 1) / warmup if step + 1 < warmup else 1.0
    return float(1 + np.cos(np.pi * (step - warmup) / max(1.0, steps - warmup))) / 2


def in_module(module: nn.Module, changed: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
    """Whole weights of a module by name, where some parts of its memory have new numbers.

    `changed` has views of the module's own memory and what is to stand there: the layers of a head may hold a third of
    a matrix that the module keeps in one.
    """
    found: dict[str, Tensor] = {}
    for old, new in changed:
        for name, weight in module.named_parameters():
            place = (old.data_ptr() - weight.data_ptr()) // weight.element_size()
            if 0 <= place < weight.numel():
                whole = found.setdefault(name, weight.detach().clone())
                whole.view(-1)[place : place + old.numel()] = new.flatten()
    return found
