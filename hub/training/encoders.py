"""Training of the encoders' last layers on several categories: by LoRA, which is merged in the end, or as they are.

The layers before run once per input, so that a step costs no more than the layers that it trains. What comes out is
weights by name, which an encoder takes in the place of its own: whoever uses a trained hub needs no adapter.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ...arrays import FloatArray
from ...errors import UsageError
from ...progress import StepProgress
from ..adapters.adapted import AdaptedEncoders, adapt_encoders
from ..adapters.lora import merged
from ..config import EncoderTrainingConfig
from ..distributed import World
from ..fusion import EncodedItems
from ..model import Hub
from .checkpoints import Checkpoint, Checkpoints, newest_checkpoint
from .encoder_batches import CategoryBatches
from .examples import EncoderExamples

# By encoder and by name in its module.
EncoderWeights = Mapping[str, Mapping[str, Tensor]]
WARMUP = 0.1  # of the steps, in which the learning rate rises
_LAYER = re.compile(r"\.(?:layers?|blocks)\.(\d+)\.")


def trained_layers(hub: Hub, config: EncoderTrainingConfig) -> dict[str, int]:
    """How many last layers are trained, by encoder; an encoder that has none to train is left out."""
    asked = {"text": config.text_layers if hub.text else 0, "image": config.image_layers if hub.image else 0}
    return {name: hub.encoder(name).depth if own == "all" else own for name, own in asked.items() if own}


def train_encoders(
    hub: Hub,
    categories: Sequence[EncoderExamples],
    progress: StepProgress | None = None,
    *,
    checkpoints: Checkpoints | None = None,  # where a killed training goes on from; `every` counts steps
    world: World | None = None,  # the processes that all call this with the same arguments
) -> tuple[EncoderWeights, list[float]]:
    """The weights that the hub's encoders are to have, and the loss of every step; the hub stays as it is.

    Every process of a world ends with the same weights, those of one process up to rounding; its first one reports and
    stores.
    """
    training = EncoderTraining(hub, categories, world or World())
    made_for = training.fingerprint if checkpoints else ""
    checkpoints = checkpoints.within(made_for[:16]) if checkpoints else None
    if checkpoints:
        training.resume(newest_checkpoint(checkpoints.folder, made_for), checkpoints.folder)
    while len(training.losses) < len(training.turns):
        training.step()
        done, total = len(training.losses), len(training.turns)
        if progress and training.world.leads:
            progress(done, total)
        if checkpoints and training.world.leads and (done == total or done % checkpoints.every == 0):
            checkpoints.check()
            checkpoints.write(made_for, training.checkpoint())
    return training.weights(), training.losses


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
    adapted = AdaptedEncoders(heads, {}, hub.text_dimension)
    inputs, rows = adapted.inputs(encoded, hub.device), torch.arange(len(encoded)).split(batch_size)
    made = [adapted(inputs.rows(own)).cpu().numpy() for own in rows]
    joined: FloatArray = np.concatenate(made) if made else encoded.joined()
    text, image = joined[:, : hub.text_dimension], joined[:, hub.text_dimension :]
    return EncodedItems(np.ascontiguousarray(text), np.ascontiguousarray(image), encoded.blocks)


class EncoderTraining:
    """One optimiser over the last layers of the encoders, and all that a checkpoint holds of it."""

    def __init__(self, hub: Hub, categories: Sequence[EncoderExamples], world: World) -> None:
        self._hub, self._config, self.world = hub, hub.config.encoders, world
        self._layers = trained_layers(hub, self._config)
        self.model = _trainable(hub, self._layers, self._config.rank)
        self._examples = categories
        self._categories = [CategoryBatches(own, self.model, hub, world) for own in categories]
        self.named = {name: own for name, own in self.model.named_parameters() if own.requires_grad}
        distances = layer_distances(self.named)
        groups = [
            {"params": [own], "share": self._config.layer_decay ** distances[name]} for name, own in self.named.items()
        ]
        self.optimiser = torch.optim.AdamW(groups, lr=self._config.learning_rate, weight_decay=0.0) if groups else None
        self._rng = np.random.default_rng(hub.config.seed)
        self.turns = self._drawn_turns()
        self.losses: list[float] = []  # of the steps that are done

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

    def step(self) -> None:
        """Learn from one batch."""
        category, objective = self.turns[len(self.losses)]
        loss = self._categories[category].loss(objective, self._config, self._rng)
        assert self.optimiser is not None
        factor = rate_factor(len(self.losses), len(self.turns))
        for group in self.optimiser.param_groups:
            group["lr"] = self._config.learning_rate * group["share"] * factor
        self.optimiser.zero_grad()
        if loss.requires_grad:  # not where this process has no item of the batch
            loss.backward()
        if self.world.size > 1:
            # Each has taken the loss of all rows, with gradients to its own.
            loss = self.world.sum_gradients(self.named.values(), loss) / self.world.size
        self.optimiser.step()
        self.losses.append(float(loss.detach()))

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what decides the training: its config, its encoders, what it learns from."""
        digest = hashlib.sha256(f"{self._hub.config.model_dump_json()}|{self._hub.fingerprint}".encode())
        for own in self._examples:
            digest.update(f"{own.space.fingerprint}|{len(own.encoded)}|{len(own.viewed)}".encode())
            digest.update(own.pairs.tobytes() + own.known.tobytes() + own.leaves.tobytes())
        return digest.hexdigest()

    def checkpoint(self) -> Checkpoint:
        """Weights, moments, losses and the state of the draws after the last step."""
        held = {f"model/{name}": weight for name, weight in self.named.items()}
        for name, parameter in self.named.items():
            state = self.optimiser.state.get(parameter, {}) if self.optimiser else {}
            held |= {f"adam/{name}/{key}": value for key, value in state.items()}
        facts = {"losses": self.losses, "draws": self._rng.bit_generator.state}
        return Checkpoint(len(self.losses), held, facts)

    def resume(self, found: Checkpoint | None, folder: Path) -> None:
        """Go on from a checkpoint, where there is one."""
        done = found.epoch if found else 0
        if len({*self.world.gather(done)}) > 1:
            raise UsageError(
                f"Rank {self.world.rank} finds {done} steps done in {folder}, other ranks another number; put the "
                "workspace's cache where all of them see it, or remove that folder."
            )
        if found is None or self.optimiser is None:
            return
        weights, moments = found.group("model"), found.group("adam")
        with torch.no_grad():
            for name, parameter in self.named.items():
                parameter.copy_(weights[name])
                own = {key: moments.get(f"{name}/{key}") for key in ("step", "exp_avg", "exp_avg_sq")}
                # AdamW counts its steps in the machine's memory.
                self.optimiser.state[parameter] = {
                    key: value if key == "step" else value.to(self._hub.device)
                    for key, value in own.items()
                    if value is not None
                }
        self.losses, self._rng.bit_generator.state = list(found.facts["losses"]), found.facts["draws"]

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


def _trainable(hub: Hub, layers: Mapping[str, int], rank: int | None) -> AdaptedEncoders:
    """The last layers of the encoders, under adapters that start at zero or as copies of their own."""
    if rank is not None:
        return adapt_encoders(hub, layers, rank, hub.config.seed)
    heads = {name: copy.deepcopy(hub.encoder(name).split(count).head) for name, count in layers.items()}
    return AdaptedEncoders({name: own.requires_grad_(True) for name, own in heads.items()}, {}, hub.text_dimension)


def layer_distances(names: Iterable[str]) -> dict[str, int]:
    """How many layers lie between each weight, by its name in the heads, and the last layer of its encoder.

    Embeddings lie below all layers; what is in no layer comes after them.
    """
    found: dict[str, int] = {}
    encoders: dict[str, list[str]] = {}
    for name in names:
        encoders.setdefault(name.split(".")[1], []).append(name)  # heads.ENCODER. ...
    for own in encoders.values():
        layers = {name: int(match[1]) for name in own if (match := _LAYER.search(name))}
        top = max(layers.values(), default=0)
        for name in own:
            lowest = top + 1 if ".embeddings." in name else 0
            found[name] = top - layers[name] if name in layers else lowest
    return found


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
