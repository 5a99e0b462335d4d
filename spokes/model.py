"""The behavioural part of a spoke: item vectors from adapted content plus an ID residual, sessions by a transformer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..arrays import FloatArray, IntArray
from ..catalog.sequences import Histories
from ..errors import UsageError
from ..hub.adapters.adapted import AdaptedEncoders, HeadInputs
from ..hub.adapters.lora import adapt, bare_fusion, frozen_copy, frozen_linear, low_rank
from ..hub.content import ContentSpace
from ..hub.fusion import BaseFusion, EncodedItems
from .config import SpokeConfig
from .context import EventContext
from .features.items import FeatureEncoder, FeatureRows, ItemFeatures
from .item_fusion import Parts, item_fusion
from .training.batches import Batch, known_times, known_types, serving_batch
from .transformer import SequenceTransformer


@dataclass(frozen=True)
class PreparedContent:
    """What the frozen layers say of N items, computed once, so that a training step pays for the adapter alone.

    Attributes:
        normed: (N, Dt + Dv) encoder outputs after the fusion's layer norm.
        hidden: (N, H) of those after the fusion's frozen first layer.
        calibrated: (N, R) encoder outputs and the second layer's bias, calibrated but not yet normalised.
        present: (N, R) one where the item has the column's modality.
    """

    normed: Tensor
    hidden: Tensor
    calibrated: Tensor
    present: Tensor

    @property
    def columns(self) -> int:
        """Numbers per item."""
        return sum(getattr(self, own.name).shape[1] for own in fields(self))

    def map(self, change: Callable[[Tensor], Tensor]) -> PreparedContent:
        """The same with every tensor changed."""
        return PreparedContent(*(change(getattr(self, own.name)) for own in fields(self)))


class ItemInputs:
    """What the behavioural part knows of N items, as tensors.

    Attributes:
        content: what the frozen layers say of them; None where the model reads no content.
        id_rows: (N,) row of each item in the ID table; 0 is `[UNK]`.
        features: their attributes and behaviour statistics, where the model reads them.
        encoded: what adapted encoders read of them; `content` is then empty until they have.
    """

    def __init__(
        self,
        content: PreparedContent | None,
        id_rows: Tensor,
        features: FeatureRows | None = None,
        encoded: HeadInputs | None = None,
    ) -> None:
        self.content = content
        self.id_rows = id_rows
        self.features = features or FeatureRows()
        self.encoded = encoded

    def __len__(self) -> int:
        return len(self.id_rows)

    def in_fold(self, fold: int) -> ItemInputs:
        """The inputs as a step that trains on a fold of the users may read them."""
        return ItemInputs(self.content, self.id_rows, self.features.in_fold(fold), self.encoded)

    @property
    def content_columns(self) -> int:
        """Numbers of prepared content per item."""
        return 0 if self.content is None else self.content.columns

    def rows(self, rows: Tensor) -> ItemInputs:
        """The inputs of some items."""

        def own(tensor: Tensor) -> Tensor:
            return tensor[rows]

        content = None if self.content is None else self.content.map(own)
        encoded = None if self.encoded is None else self.encoded.rows(rows)
        return ItemInputs(content, self.id_rows[rows], self.features.map(own), encoded)


class ContentProjection(nn.Module):
    """Adapted fusion, then the catalog's frozen calibration, then a linear map into the behavioural space."""

    def __init__(self, fusion: nn.Module, space: ContentSpace, text_dimension: int, dimension: int) -> None:
        super().__init__()
        self.fusion = fusion
        self.text_dimension = text_dimension
        self.blocks = [name for name in ("text", "image") if getattr(space, name) is not None]
        for name in self.blocks:
            block = getattr(space, name)
            self.register_buffer(f"{name}_mean", torch.from_numpy(block.mean), persistent=False)
            self.register_buffer(f"{name}_transform", torch.from_numpy(block.transform), persistent=False)
        self.ranks = [getattr(self, f"{name}_transform").shape[1] for name in self.blocks]
        self.linear = nn.Linear(max(space.dimension, 1), dimension)

    def reference(self, x: Tensor) -> Tensor:
        """(B, Dt + Dv) encoder outputs to the (B, R) content embedding under the adapted fusion, layer by layer.

        What `calibrated` computes faster; slow, and here to be compared with.
        """
        fused = self.fusion(x)
        parts = [x.new_zeros(len(x), 0)]
        for (mean, transform), raw in self._blocks(fused):
            present = (raw != 0).any(dim=1, keepdim=True)
            parts.append(nn.functional.normalize((raw - mean) @ transform, dim=1) * present)
        return torch.cat(parts, dim=1)

    @torch.no_grad()
    def prepare(self, x: Tensor) -> PreparedContent:
        """Run the frozen layers on (N, Dt + Dv) encoder outputs."""
        return self.prepare_adapted(x)

    def prepare_adapted(self, x: Tensor) -> PreparedContent:
        """The same for encoder outputs that learn; gradients reach them."""
        bare = bare_fusion(self.fusion)
        normed = bare.norm(x)
        start = x + frozen_linear(bare.up).bias
        shape = (len(x), 0)
        calibrated = [(raw - mean) @ transform for (mean, transform), raw in self._blocks(start)]
        present = [own[:, :1].expand(-1, t.shape[1]) for (_, t), own in self._blocks(bare.present(x))]
        return PreparedContent(
            normed=normed,
            hidden=frozen_linear(bare.down)(normed),
            calibrated=torch.cat([x.new_zeros(shape), *calibrated], dim=1),
            present=torch.cat([x.new_zeros(shape), *present], dim=1),
        )

    def calibrated(self, items: PreparedContent) -> Tensor:
        """(B, R) content embeddings under the adapted fusion.

        The calibration is folded into the fusion's second layer, and of the first only the adapter is computed: several
        times less work than `reference`.
        """
        bare = bare_fusion(self.fusion)
        down, up = low_rank(bare.down), low_rank(bare.up)
        hidden = items.hidden
        if down is not None:
            hidden = hidden + down.scale * (items.normed @ down.a.T) @ down.b.T
        hidden = nn.functional.gelu(hidden)
        raw = items.calibrated + hidden @ self._fold(frozen_linear(bare.up).weight)
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

    def present(self, items: PreparedContent) -> list[Tensor]:
        """(B,) true where an item has the modality, block by block."""
        return [own[:, 0] > 0 for own in items.present.split(self.ranks, dim=1)]

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
    """SASRec or BERT4Rec over item vectors that are content plus ID.

    Kang & McAuley, 2018; Sun et al., 2019. The two share every layer; BERT4Rec sees both sides of an event and has a
    vector of its own that stands for a hidden item.

    Args:
        config: the spoke's configuration.
        fusion: the hub's base fusion (copied and adapted here), or an already adapted one when loading.
        space: the catalog's content space, frozen.
        n_known: items that have an ID residual of their own.
        features: attributes and behaviour statistics that are read beside content, where `config` asks for them.
        encoders: adapted heads of the hub's encoders, where `config` asks for them.
    """

    def __init__(
        self,
        config: SpokeConfig,
        fusion: nn.Module,
        space: ContentSpace,
        n_known: int,
        features: ItemFeatures | None = None,
        encoders: AdaptedEncoders | None = None,
    ) -> None:
        super().__init__()
        if set(config.heads) != set(encoders.heads if encoders else ()):
            raise UsageError("The heads of the encoders are not those of the config; make them with `adapt_encoders`.")
        d = config.transformer.dimension
        self.reads = config.content
        self.content = _content(config, fusion, space) if config.content else None
        # Without residuals a table of no rows, so that the model has a device and names that do not depend on it.
        self.ids = nn.Embedding(n_known + 1 if config.ids else 0, d).requires_grad_(config.ids)
        self.cloze = config.model == "bert4rec"
        self.transformer = SequenceTransformer(config.transformer, causal=not self.cloze)
        self.id_dropout = config.id_dropout
        self.max_length = config.transformer.max_length
        self.initialise()
        # Last, so that all other weights start where they start without it.
        self.features = FeatureEncoder(features or ItemFeatures(), config, d)
        _refuse_nothing(config, self.content, self.features)
        self.mask = nn.Parameter(nn.init.normal_(torch.empty(d), std=0.02)) if self.cloze else None
        self.adapted_encoders = encoders
        self.item_fusion = item_fusion(config, self.part_names)

    @property
    def part_names(self) -> list[str]:
        """What an item is made of, in the order in which a fusion reads it."""
        blocks = [] if self.content is None else self.content.blocks
        return [*blocks, *(["item id"] if len(self.ids.weight) else []), *self.features.names]

    def initialise(self) -> None:
        """ID residuals N(0, 0.02); projection Xavier uniform, bias 0; the transformer initialises itself."""
        nn.init.normal_(self.ids.weight, std=0.02)
        if self.content is not None:
            nn.init.xavier_uniform_(self.content.linear.weight)
            nn.init.zeros_(self.content.linear.bias)

    def inputs(self, encoded: EncodedItems, id_rows: IntArray, features: FeatureRows | None = None) -> ItemInputs:
        """Encoder outputs, ID rows and features of N items as the model takes them, on its device."""
        device = self.ids.weight.device
        content, own = None, None
        if self.content is not None and self.adapted_encoders is not None:
            own = self.adapted_encoders.inputs(encoded.only(self.reads), device)
        elif self.content is not None:
            content = self.content.prepare(torch.from_numpy(encoded.only(self.reads).joined()).to(device))
        features = (features or FeatureRows()).map(lambda tensor: tensor.to(device))
        return ItemInputs(content, torch.from_numpy(id_rows).to(device), features, own)

    def embed_items(self, items: ItemInputs) -> Tensor:
        """(N, D) item vectors of N items; in training, a share of ID residuals is dropped."""
        items = self.through_encoders(items)
        if self.item_fusion is not None:
            fused: Tensor = self.item_fusion(self._side_by_side(items))
            return fused if self.content is None else fused + self.content.linear.bias
        parts = []
        if self.content is not None and items.content is not None:
            parts.append(self.content(items.content))
        if len(self.ids.weight):
            residual, kept = self.ids(items.id_rows), self._kept_ids(items.id_rows)
            parts.append(residual if kept is None else residual * kept[:, None])
        parts += self.features.parts(items.features).values()
        out: Tensor = sum(parts[1:], parts[0])
        return out

    def _side_by_side(self, items: ItemInputs) -> Parts:
        """The parts of the items as a gate or attention reads them."""
        vectors, present = [], []
        if self.content is not None and items.content is not None:
            blocks = self.content.parts(items.content)
            vectors += [blocks[name] for name in self.content.blocks]
            present += self.content.present(items.content)
        there = torch.ones_like(items.id_rows, dtype=torch.bool)
        if len(self.ids.weight):
            residual, kept = self.ids(items.id_rows), self._kept_ids(items.id_rows)
            vectors.append(residual if kept is None else residual * kept[:, None])
            present.append(there if kept is None else kept)
        features = self.features.parts(items.features)
        vectors += features.values()
        present += [there] * len(features)
        return Parts(torch.stack(vectors, dim=1), torch.stack(present, dim=1))

    def through_encoders(self, items: ItemInputs) -> ItemInputs:
        """The items with what the adapted encoders make of them, where encoders are adapted."""
        if self.adapted_encoders is None or self.content is None or items.encoded is None:
            return items
        # In full precision: the calibration amplifies the rounding of small directions.
        vectors = self.adapted_encoders(items.encoded)
        with torch.autocast(vectors.device.type, enabled=False):
            content = self.content.prepare_adapted(vectors)
        return ItemInputs(content, items.id_rows, items.features)

    def _kept_ids(self, id_rows: Tensor) -> Tensor | None:
        """(N,) false where a training step drops the ID residual; None where it drops none."""
        if not self.training or not self.id_dropout:
            return None
        return torch.rand(len(id_rows), device=id_rows.device) >= self.id_dropout

    def item_parts(self, items: ItemInputs) -> dict[str, Tensor]:
        """(N, D) additive parts of N item vectors by name; where nothing is dropped they sum to `embed_items`.

        What a gate or attention made of the parts is told as it weighed them, and what no part gave is the `bias`.
        """
        items = self.through_encoders(items)
        parts: dict[str, Tensor] = {}
        if self.item_fusion is not None:
            weighed, rest = self.item_fusion.contributions(self._side_by_side(items))
            bias = rest if self.content is None else rest + self.content.linear.bias
            return {**dict(zip(self.part_names, weighed.unbind(1), strict=True)), "bias": bias.expand(len(items), -1)}
        if self.content is not None and items.content is not None:
            parts |= self.content.parts(items.content)
        if len(self.ids.weight):
            parts["item id"] = self.ids(items.id_rows)
        return parts | self.features.parts(items.features)

    def encode_sessions(
        self, vectors: Tensor, valid: Tensor, hidden: Tensor | None = None, context: EventContext | None = None
    ) -> Tensor:
        """Session embeddings at real positions.

        Args:
            vectors: (P, D) item vectors of the real positions, row by row.
            valid: (B, T) true on real positions.
            hidden: (B, T) true where the mask token stands for the item.
            context: times and types of the events, where they are known.

        Returns:
            (P, D).
        """
        return _at(self._encode(vectors, valid, hidden, context), valid, len(vectors))

    def encode_batch(self, vectors: Tensor, batch: Batch) -> Tensor:
        """(Q, D) session embeddings at the Q scored positions of a batch, from (P, D) vectors of `batch.rows`."""
        hidden = self._tensor(batch.hidden) if self.cloze else None
        context = EventContext(*(_maybe(self._tensor, part) for part in (batch.timestamps, batch.event_types)))
        encoded = self._encode(vectors, self._tensor(batch.valid), hidden, context)
        return _at(encoded, self._tensor(batch.scored), int(batch.scored.sum()))

    def _encode(self, vectors: Tensor, valid: Tensor, hidden: Tensor | None, context: EventContext | None) -> Tensor:
        if len(vectors) == valid.numel():
            x = vectors.reshape(*valid.shape, vectors.shape[1])  # without padding nothing has to move
        else:
            x = vectors.new_zeros(*valid.shape, vectors.shape[1])
            x[valid] = vectors
        if hidden is not None and self.mask is not None:
            x = torch.where(hidden[..., None], self.mask, x)
        out: Tensor = self.transformer(x, valid, context)
        return out

    def _tensor(self, array: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> Tensor:
        return torch.from_numpy(array).to(self.ids.weight.device)

    @torch.inference_mode()
    def item_vectors(self, items: ItemInputs, batch_size: int = 4096) -> FloatArray:
        """(N, D) item vectors, in batches, in evaluation mode."""
        self.eval()
        parts = [self.embed_items(items.rows(rows)) for rows in torch.arange(len(items)).split(batch_size)]
        return torch.cat(parts).cpu().numpy() if parts else np.zeros((0, self.ids.embedding_dim), np.float32)

    @torch.inference_mode()
    def session_vectors(
        self,
        vectors: FloatArray,
        histories: Histories,
        batch_size: int = 512,
    ) -> FloatArray:
        """(B, D) session embedding after the last event of each history; zero for an empty one.

        Args:
            vectors: (N, D) item vectors.
            histories: item rows, oldest first.
            batch_size: histories in a forward pass; those of similar length meet, whatever their order.
        """
        self.eval()
        reads = self.transformer.config.needs_context
        times = known_times(histories) if reads else None
        types = known_types(histories) if reads else None
        table = torch.from_numpy(vectors).to(self.ids.weight.device)
        out = np.zeros((len(histories), vectors.shape[1]), np.float32)
        lengths = np.array([min(len(history), self.max_length) for history in histories], np.int64)
        order = np.argsort(lengths, kind="stable")[np.count_nonzero(lengths == 0) :]
        for start in range(0, len(order), batch_size):
            own = order[start : start + batch_size]
            batch = serving_batch(
                [histories[b] for b in own],
                self.max_length,
                cloze=self.cloze,
                times=None if times is None else [times[b] for b in own],
                types=None if types is None else [types[b] for b in own],
            )
            out[own] = self.encode_batch(table[self._tensor(batch.rows)], batch).cpu().numpy()
        return out


def _at(x: Tensor, chosen: Tensor, count: int) -> Tensor:
    """(count, D) of (B, T, D) where (B, T) `chosen` is true; the caller knows how often, so that no device is asked."""
    return x.reshape(count, x.shape[2]) if count == chosen.numel() else x[chosen]


def _content(config: SpokeConfig, fusion: nn.Module, space: ContentSpace) -> ContentProjection:
    text_dimension = fusion.text_dimension
    if isinstance(fusion, BaseFusion):
        # A copy either way: the hub's own fusion is neither frozen nor moved along with this model.
        fusion = adapt(fusion, config.adapter.rank, config.seed) if config.adapter else frozen_copy(fusion)
    assert isinstance(text_dimension, int)
    return ContentProjection(fusion, space.only(config.content), text_dimension, config.transformer.dimension)


def _refuse_nothing(config: SpokeConfig, content: ContentProjection | None, features: FeatureEncoder) -> None:
    """Refuse items that are all alike, on this catalog, before anything is trained."""
    if config.ids or (content is not None and content.blocks) or features.attributes or features.statistics:
        return
    raise UsageError(
        f"This catalog has none of what an item is made of (content: {', '.join(config.content) or 'none'}, "
        f"attributes: {config.attributes is not None}); turn on ids, or content that the catalog has."
    )


def _maybe(change: Callable[[IntArray], Tensor], array: IntArray | None) -> Tensor | None:
    return None if array is None else change(array)
