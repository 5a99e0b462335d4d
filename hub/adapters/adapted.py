"""LoRA on the last layers of the encoders: heads that run on the items of a batch, over states computed once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from ...arrays import IntArray
from ...errors import CorruptArtifactError, IncompatibleError, UsageError
from ..fusion import EncodedItems
from ..model import Hub
from .lora import adapt, load_adapter, save_adapter
from .states import ItemStates, base_fingerprint

# The first version's name of an encoder was trunk; its spokes are to load.
FOLDER, BASES = "trunks", "bodies.json"
PREFIX = "adapted_encoders."  # of the names of these weights in a behavioural model
SHORTEST = 0.7  # length of an input relative to the longest that it runs beside, at least
CHUNK_NUMBERS = 1 << 22  # numbers of states that a head takes at once: about 10,000 tokens, or 500 pictures


@dataclass(frozen=True)
class HeadInputs:
    """What the adapted heads read of N items."""

    vectors: Tensor  # (N, Dt + Dv) outputs of the unadapted encoders
    # By modality, the states of these items among others: in the machine's memory, not the device's, and never copied
    # but for the heads.
    states: Mapping[str, ItemStates]
    places: IntArray  # (N,) where these items stand in `states`

    def rows(self, rows: Tensor) -> HeadInputs:
        """The inputs of some items."""
        return HeadInputs(self.vectors[rows], self.states, self.places[rows.cpu().numpy()])


class AdaptedEncoders(nn.Module):
    """Adapted heads by modality, always in evaluation mode: with a batch's own statistics a BatchNorm would differ."""

    def __init__(self, heads: Mapping[str, nn.Module], bases: Mapping[str, str], text_dimension: int) -> None:
        super().__init__()
        self.heads = nn.ModuleDict(dict(heads))  # under their adapters
        self.bases = dict(bases)  # fingerprint of the base before each
        self.text_dimension = text_dimension  # Dt
        self.eval()

    def train(self, mode: bool = True) -> AdaptedEncoders:  # noqa: D102
        return super().train(False)

    def inputs(self, encoded: EncodedItems, device: torch.device) -> HeadInputs:
        """Encoder outputs and states of N items as the heads take them."""
        missing = [name for name in self.heads if name not in encoded.states]
        if missing:
            raise UsageError(
                f"This spoke adapts the {missing[0]} encoder, but the states of {len(encoded)} items before its last "
                "layers were not given; ask `Hub.encode_items` for them with `heads=spoke.heads`."
            )
        states = {name: encoded.states[name] for name in self.heads}
        return HeadInputs(torch.from_numpy(encoded.joined()).to(device), states, np.arange(len(encoded)))

    def forward(self, items: HeadInputs) -> Tensor:
        """(N, Dt + Dv) encoder outputs under the adapters; those without one are what they were."""
        blocks = {"text": items.vectors[:, : self.text_dimension], "image": items.vectors[:, self.text_dimension :]}
        for name, states in items.states.items():
            blocks[name] = self._adapted(name, states, items.places, blocks[name])
        return torch.cat(list(blocks.values()), dim=1)

    def _adapted(self, name: str, states: ItemStates, places: IntArray, plain: Tensor) -> Tensor:
        """(N, D) the mean direction of each item's inputs; zero for an item without any."""

        def run(own: Tensor, mask: Tensor) -> Tensor:
            return F.normalize(self.heads[name](own, mask).float(), dim=1)  # (B, T, W) to (B, D) unit vectors

        inputs, owners = states.inputs_of(places)
        lengths, width = states.lengths[inputs], states.flat.shape[1]
        chunks = chunks_of(lengths, CHUNK_NUMBERS // width)
        # With many states, the backward pass computes activations again instead of keeping them all.
        lean = int(lengths.sum()) * width > CHUNK_NUMBERS and torch.is_grad_enabled()
        out = torch.zeros_like(plain)
        if not chunks:
            return out
        vectors = []
        for chunk in chunks:
            own, mask = (torch.from_numpy(array).to(plain.device) for array in states.take(inputs[chunk]))
            # Heads run in evaluation mode and draw nothing, so that no state of a generator needs to be kept.
            again = partial(checkpoint, run, use_reentrant=False, preserve_rng_state=False)
            vectors.append(again(own, mask) if lean else run(own, mask))
        owned = torch.from_numpy(owners[np.concatenate(chunks)]).to(plain.device)  # (M,) the item of each input
        return F.normalize(out.index_add(0, owned, torch.cat(vectors)), dim=1)

    def save(self, directory: Path) -> None:
        """Write the adapters alone, each in a folder of its own, and which bases they stand on."""
        folder = directory / FOLDER
        for name, head in self.heads.items():
            save_adapter(head, folder / name)
        (folder / BASES).write_text(json.dumps(self.bases, indent=2, sort_keys=True), encoding="utf-8")


def chunks_of(lengths: IntArray, places: int) -> list[IntArray]:
    """Inputs of similar length together, the longest first; chunks of no more than `places` places where that can be.

    What is padded is computed, too: a batch of titles with one description among them would cost what descriptions do.
    """
    left, chunks = np.argsort(-lengths, kind="stable"), []
    while len(left):
        longest = int(lengths[left[0]])
        alike = int((lengths[left] >= max(1.0, SHORTEST * longest)).sum())
        size = max(1, min(alike, places // max(1, longest)))
        chunks.append(left[:size])
        left = left[size:]
    return chunks


def adapt_encoders(hub: Hub, layers: Mapping[str, int], rank: int, seed: int) -> AdaptedEncoders:
    """Adapters that start at zero on the last layers of the hub's encoders, so many by modality."""
    splits = {name: hub.encoder(name).split(count) for name, count in layers.items()}
    heads = {name: adapt(split.head, rank, seed, split.targets) for name, split in splits.items()}
    return AdaptedEncoders(heads, _bases(hub, layers), hub.text_dimension)


def load_encoders(hub: Hub, layers: Mapping[str, int], directory: Path) -> AdaptedEncoders:
    """The saved adapters on the last layers of the hub's encoders."""
    folder = directory / FOLDER
    try:
        recorded = dict(json.loads((folder / BASES).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise CorruptArtifactError(f"{folder / BASES} cannot be read; train the spoke with --force.") from error
    bases = _bases(hub, layers)
    for name, fingerprint in bases.items():
        if recorded.get(name) != fingerprint:
            raise IncompatibleError(
                f"the adapter of the {name} encoder was made for {str(recorded.get(name))[:12]} and this hub's encoder "
                f"is {fingerprint[:12]}; load the spoke with its own hub or train it on this one."
            )
    heads = {name: load_adapter(hub.encoder(name).split(count).head, folder / name) for name, count in layers.items()}
    return AdaptedEncoders(heads, bases, hub.text_dimension)


def _bases(hub: Hub, layers: Mapping[str, int]) -> dict[str, str]:
    return {name: base_fingerprint(hub.encoder(name), count) for name, count in layers.items()}
