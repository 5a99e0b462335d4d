"""The behavioural part of a spoke: item vectors from adapted content plus an ID residual, sessions by a transformer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from ..arrays import BoolArray, FloatArray, IntArray
from ..catalog.sequences import Histories
from ..errors import UsageError
from ..hub.adapters.adapted import AdaptedEncoders, HeadInputs
from ..hub.adapters.lora import adapt, bare_fusion, frozen_copy, frozen_linear, low_rank
from ..hub.content import ContentSpace
from ..hub.fusion import BaseFusion, EncodedItems
from .config import MODALITIES, SpokeConfig
from .features.items import FeatureEncoder, FeatureRows, ItemFeatures
from .item_fusion import Parts, item_fusion
from .layers import map_tensors, start_xavier
from .training.batches import Batch, serving_batch, with_context
from .transformer import EventContext, SequenceTransformer


@dataclass(frozen=True)
class PreparedContent:
    """What the frozen layers say of N items, computed once, so that a training step pays for the adapter alone."""

    normed: Tensor  # (N, Dt + Dv) encoder outputs after the fusion's layer norm
    hidden: Tensor  # (N, H) of those after the fusion's frozen first layer
    calibrated: Tensor  # (N, R) encoder outputs and the second layer's bias, calibrated but not yet normalised
    present: Tensor  # (N, R) one where the item has the column's modality


@dataclass(frozen=True)
class ItemInputs:
    """What the behavioural part knows of N items, as tensors."""

    content: PreparedContent | None  # None where the model reads none, or adapted encoders have yet to give it
    id_rows: Tensor  # (N,) row of each item in the ID table; 0 is `[UNK]`
    features: FeatureRows
    encoded: HeadInputs | None = None  # what adapted encoders read of them

    def __len__(self) -> int:
        return len(self.id_rows)

    def in_fold(self, fold: int) -> ItemInputs:
        """The inputs as a step that trains on a fold of the users may read them."""
        attributes, counted = self.features.attributes, self.features.by_fold
        return self if counted is None else replace(self, features=FeatureRows(attributes, counted[:, fold]))

    @property
    def content_columns(self) -> int:
        """Numbers of prepared content per item."""
        return 0 if self.content is None else sum(own.shape[1] for own in vars(self.content).values())

    def rows(self, rows: Tensor) -> ItemInputs:
        """The inputs of some items."""
        encoded = None if self.encoded is None else self.encoded.rows(rows)
        return replace(map_tensors(replace(self, encoded=None), lambda own: own[rows]), encoded=encoded)


class ContentProjection(nn.Module):
    """Adapted fusion, then the catalog's frozen calibration, then a linear map into the behavioural space."""

    def __init__(self, fusion: nn.Module, space: ContentSpace, text_dimension: int, dimension: int) -> None:
        super().__init__()
        self.fusion = fusion
        self.text_dimension = text_dimension
        self.blocks: list[str] = [name for name in MODALITIES if getattr(space, name) is not None]
        for name in self.blocks:
            block = getattr(space, name)
            self.register_buffer(f"{name}_mean", torch.from_numpy(block.mean), persistent=False)
            self.register_buffer(f"{name}_transform", torch.from_numpy(block.transform), persistent=False)
        self.ranks = [getattr(self, f"{name}_transform").shape[1] for name in self.blocks]
        self.linear = nn.Linear(max(space.dimension, 1), dimension)

    def prepare(self, x: Tensor) -> PreparedContent:
        """Run the frozen layers on (N, Dt + Dv) encoder outputs; gradients reach those of adapted encoders."""
        bare = bare_fusion(self.fusion)
        normed = bare.norm(x)
        start = x + frozen_linear(bare.up).bias
        none = x.new_zeros(len(x), 0)
        calibrated = [(raw - mean) @ transform for (mean, transform), raw in self._blocks(start)]
        present = [own[:, :1].expand(-1, t.shape[1]) for (_, t), own in self._blocks(bare.present(x))]
        return PreparedContent(
            normed=normed,
            hidden=frozen_linear(bare.down)(normed),
            calibrated=torch.cat([none, *calibrated], dim=1),
            present=torch.cat([none, *present], dim=1),
        )

    def calibrated(self, items: PreparedContent) -> Tensor:
        """(B, R) content embeddings under the adapted fusion.

        The calibration is folded into the fusion's second layer, and of the first only the adapter is computed: several
        times less work than layer by layer.
        """
        bare = bare_fusion(self.fusion)
        down, up = low_rank(bare.down), low_rank(bare.up)
        hidden = items.hidden
        if down is not None:
            hidden = hidden + down.scale * (items.normed @ down.a.T) @ down.b.T
        hidden = nn.functional.gelu(hidden)  # (B, H)
        raw = items.calibrated + hidden @ self._fold(frozen_linear(bare.up).weight)  # (B, R)
        if up is not None:
            raw = raw + up.scale * (hidden @ up.a.T) @ self._fold(up.b)
        blocks = raw.split(self.ranks, dim=1)
        unit = [nn.functional.normalize(block, dim=1) for block in blocks]
        return torch.cat([raw.new_zeros(len(raw), 0), *unit], dim=1) * items.present

    def forward(self, items: PreparedContent) -> Tensor:
        """(B, D) content part of B item vectors."""
        calibrated = self.calibrated(items)
        if not self.ranks:
            calibrated = calibrated.new_zeros(len(calibrated), 1)
        out: Tensor = self.linear(calibrated)
        return out

    def parts(self, items: PreparedContent) -> dict[str, Tensor]:
        """(B, D) additive parts of `forward` by name: what each modality's block adds, and the bias."""
        blocks = self.calibrated(items).split(self.ranks, dim=1)
        columns = self.linear.weight[:, : sum(self.ranks)].split(self.ranks, dim=1)
        parts = {name: own @ to.T for name, own, to in zip(self.blocks, blocks, columns, strict=True)}
        return {**parts, "bias": self.linear.bias.expand(len(items.present), -1)}

    def _fold(self, weight: Tensor) -> Tensor:
        """(Dt + Dv, K) output weights of a layer to (K, R): the layer followed by the calibration."""
        folded = [own @ transform for (_, transform), own in self._blocks(weight.T)]
        return torch.cat([weight.new_zeros(weight.shape[1], 0), *folded], dim=1)

    def _blocks(self, x: Tensor) -> Iterator[tuple[tuple[Tensor, Tensor], Tensor]]:
        """Mean and transform of each modality of the catalog, with its columns of `x` (B, Dt + Dv)."""
        columns = {"text": x[:, : self.text_dimension], "image": x[:, self.text_dimension :]}
        for name in self.blocks:
            yield (getattr(self, f"{name}_mean"), getattr(self, f"{name}_transform")), columns[name]


class BehaviourModel(nn.Module):
    """SASRec (Kang & McAuley, 2018) or BERT4Rec (Sun et al., 2019) over item vectors that are content plus ID."""

    def __init__(
        self,
        config: SpokeConfig,
        fusion: nn.Module,  # the hub's base fusion (copied and adapted here), or an already adapted one when loading
        space: ContentSpace,  # of the catalog, frozen
        n_known: int,  # items that have an ID residual of their own
        features: ItemFeatures | None = None,  # read beside content where `config` asks for them
        encoders: AdaptedEncoders | None = None,  # adapted heads of the hub's encoders, likewise
    ) -> None:
        super().__init__()
        if set(config.heads) != set(encoders.heads if encoders else ()):
            raise UsageError("The heads of the encoders are not those of the config; make them with `adapt_encoders`.")
        d = config.transformer.dimension
        self.reads = config.content
        self.content: ContentProjection | None = None
        if config.content:
            text_dimension = fusion.text_dimension
            assert isinstance(text_dimension, int)
            if isinstance(fusion, BaseFusion):
                # A copy either way: the hub's own fusion is neither frozen nor moved along with this model.
                fusion = adapt(fusion, config.adapter.rank, config.seed) if config.adapter else frozen_copy(fusion)
            self.content = ContentProjection(fusion, space.fused.only(config.content), text_dimension, d)
        # Without residuals a table of no rows, so that the model has a device and names that do not depend on it.
        self.ids = nn.Embedding(n_known + 1 if config.ids else 0, d).requires_grad_(config.ids)
        self.cloze = config.model == "bert4rec"
        self.transformer = SequenceTransformer(config.transformer, causal=not self.cloze)
        self.id_dropout = config.id_dropout
        self.max_length = config.transformer.max_length
        nn.init.normal_(self.ids.weight, std=0.02)
        if self.content is not None:
            start_xavier(self.content.linear)
        # Last, so that all other weights start where they start without it.
        self.features = FeatureEncoder(features or ItemFeatures(), config, d)
        # Stands for a hidden item.
        self.mask = nn.Parameter(nn.init.normal_(torch.empty(d), std=0.02)) if self.cloze else None
        self.adapted_encoders = encoders
        if not self.part_names:
            raise UsageError(
                f"This catalog has none of what an item is made of (content: {', '.join(config.content) or 'none'}, "
                f"attributes: {config.attributes is not None}); turn on ids, or content that the catalog has."
            )
        self.item_fusion = item_fusion(config, self.part_names)

    @property
    def part_names(self) -> list[str]:
        """What an item is made of, in the order in which a fusion reads it."""
        blocks = [] if self.content is None else self.content.blocks
        return [*blocks, *(["item id"] if len(self.ids.weight) else []), *self.features]

    def inputs(self, encoded: EncodedItems, id_rows: IntArray, features: FeatureRows | None = None) -> ItemInputs:
        """Encoder outputs, ID rows and features of N items as the model takes them, on its device."""
        device = self.ids.weight.device
        content, own = None, None
        if self.content is not None and self.adapted_encoders is not None:
            own = self.adapted_encoders.inputs(encoded.only(self.reads), device)
        elif self.content is not None:
            with torch.no_grad():
                content = self.content.prepare(torch.from_numpy(encoded.only(self.reads).joined()).to(device))
        features = map_tensors(features or FeatureRows(), lambda tensor: tensor.to(device))
        return ItemInputs(content, torch.from_numpy(id_rows).to(device), features, own)

    def embed_items(self, items: ItemInputs) -> Tensor:
        """(N, D) item vectors of N items; in training, a share of ID residuals is dropped."""
        items = self.through_encoders(items)
        if self.item_fusion is not None:
            fused: Tensor = self.item_fusion(self._side_by_side(items))
            return fused if self.content is None else fused + self.content.linear.bias
        # Not block by block, as below: one product for all of content is less work.
        parts = [] if self.content is None or items.content is None else [self.content(items.content)]
        parts += [residual for residual, _ in self._residuals(items)]
        parts += self.features.parts(items.features).values()
        out: Tensor = sum(parts[1:], parts[0])
        return out

    def _residuals(self, items: ItemInputs) -> list[tuple[Tensor, Tensor]]:
        """(N, D) ID residuals and (N,) which of them are there, as a training step drops some; nothing without IDs."""
        if not len(self.ids.weight):
            return []
        residual: Tensor = self.ids(items.id_rows)
        if not (self.training and self.id_dropout):
            return [(residual, torch.ones_like(items.id_rows, dtype=torch.bool))]
        kept = torch.rand(len(items), device=items.id_rows.device) >= self.id_dropout
        return [(residual * kept[:, None], kept)]

    def _side_by_side(self, items: ItemInputs) -> Parts:
        """The parts of the items as a gate or attention reads them."""
        found: list[tuple[Tensor, Tensor]] = []
        if self.content is not None and items.content is not None:
            blocks = self.content.parts(items.content)
            there = [own[:, 0] > 0 for own in items.content.present.split(self.content.ranks, dim=1)]  # (N,) each
            found += zip((blocks[name] for name in self.content.blocks), there, strict=True)
        found += self._residuals(items)
        always = torch.ones_like(items.id_rows, dtype=torch.bool)
        found += ((own, always) for own in self.features.parts(items.features).values())
        vectors, present = zip(*found, strict=True)
        return Parts(torch.stack(vectors, dim=1), torch.stack(present, dim=1))

    def through_encoders(self, items: ItemInputs) -> ItemInputs:
        """The items with what the adapted encoders make of them, where encoders are adapted."""
        if self.adapted_encoders is None or self.content is None or items.encoded is None:
            return items
        # In full precision: the calibration amplifies the rounding of small directions.
        vectors = self.adapted_encoders(items.encoded)
        with torch.autocast(vectors.device.type, enabled=False):
            content = self.content.prepare(vectors)
        return ItemInputs(content, items.id_rows, items.features)

    def item_parts(self, items: ItemInputs) -> dict[str, Tensor]:
        """(N, D) additive parts of N item vectors by name, as a fusion weighs them; in all they are `embed_items`."""
        items = self.through_encoders(items)
        if self.item_fusion is not None:
            weighed, rest = self.item_fusion.contributions(self._side_by_side(items))
            bias = rest if self.content is None else rest + self.content.linear.bias
            return {**dict(zip(self.part_names, weighed.unbind(1), strict=True)), "bias": bias.expand(len(items), -1)}
        parts = {} if self.content is None or items.content is None else self.content.parts(items.content)
        for residual, _ in self._residuals(items):
            parts["item id"] = residual
        return parts | self.features.parts(items.features)

    def encode_batch(self, vectors: Tensor, batch: Batch) -> Tensor:
        """(Q, D) session embeddings at the Q scored positions of a batch, from (P, D) vectors of `batch.rows`."""
        valid = self._tensor(batch.valid)  # (B, T)
        if len(vectors) == valid.numel():
            x = vectors.reshape(*valid.shape, vectors.shape[1])  # without padding nothing has to move
        else:
            x = vectors.new_zeros(*valid.shape, vectors.shape[1])  # (B, T, D)
            x[valid] = vectors
        if self.mask is not None:
            x = torch.where(self._tensor(batch.hidden)[..., None], self.mask, x)
        known = (None if own is None else self._tensor(own) for own in (batch.timestamps, batch.event_types))
        encoded: Tensor = self.transformer(x, valid, EventContext(*known))
        # Counted here, where the batch is: a GPU would have to be waited for.
        scored, count = self._tensor(batch.scored), int(batch.scored.sum())
        return encoded.reshape(count, encoded.shape[2]) if count == scored.numel() else encoded[scored]

    def _tensor(self, array: IntArray | BoolArray) -> Tensor:
        return torch.from_numpy(array).to(self.ids.weight.device)

    @torch.inference_mode()
    def item_vectors(self, items: ItemInputs, batch_size: int = 4096) -> FloatArray:
        """(N, D) item vectors, in batches, in evaluation mode."""
        if self.training:
            self.eval()
        parts = [self.embed_items(items.rows(rows)) for rows in torch.arange(len(items)).split(batch_size)]
        return torch.cat(parts).cpu().numpy() if parts else np.zeros((0, self.ids.embedding_dim), np.float32)

    @torch.inference_mode()
    def attribute_vectors(self, features: FeatureRows) -> FloatArray | None:
        """(N, D) what attributes add to N item vectors, in evaluation mode; None where the model reads none."""
        if self.training:
            self.eval()
        device = self.ids.weight.device
        found = self.features.parts(map_tensors(features, lambda tensor: tensor.to(device))).get("attributes")
        return None if found is None else found.cpu().numpy()

    @torch.inference_mode()
    def session_vectors(self, vectors: FloatArray, histories: Histories, batch_size: int = 512) -> FloatArray:
        """(B, D) session embedding after the last event of each history, by (N, D) item vectors; zero for an empty one.

        A model that reads times and types takes them from each `History`; those of similar length share a pass.
        """
        if self.training:  # walking all modules would take a fifth of an answer, and write to what threads share
            self.eval()
        known = with_context(histories, self.transformer.config.needs_context)
        # Vectors that come from a file are read-only, of which torch warns.
        table = torch.from_numpy(np.require(vectors, requirements="W")).to(self.ids.weight.device)
        out = np.zeros((len(known), vectors.shape[1]), np.float32)
        lengths = np.array([min(len(history), self.max_length) for history in known], np.int64)
        order = np.argsort(lengths, kind="stable")[np.count_nonzero(lengths == 0) :]
        for start in range(0, len(order), batch_size):
            own = order[start : start + batch_size]
            batch = serving_batch([known[b] for b in own], self.max_length, cloze=self.cloze)
            out[own] = self.encode_batch(table[self._tensor(batch.rows)], batch).cpu().numpy()
        return out
