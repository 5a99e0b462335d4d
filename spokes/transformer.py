"""The sequence transformer shared by every behavioural model: pre-norm blocks over (B, T, D) item vectors.

Causal (SASRec) or bidirectional (BERT4Rec); the two share every layer, only the attention mask differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn

from ..catalog.schema import EVENT_TYPES
from .context import INTERVAL_BUCKETS, EventContext, dwell_buckets, interval_buckets
from .dropout import Dropout

ROTARY_BASE = 10_000.0


class TransformerConfig(BaseModel):
    """Shape of the sequence transformer. One block is the measured default for categories of up to a million events.

    Attributes:
        dimension: width of an item vector, D.
        blocks: attention and feed-forward pairs.
        heads: attention heads; they divide the dimension.
        expansion: width of the feed-forward layer, in dimensions.
        dropout: share of activations dropped in training.
        max_length: most recent events looked at.
        positions: `learned`, a vector for each place, or `rotary`, which turns queries and keys by their place so that
            attention knows distances only.
        residual: `plain`, or `gated`, with which deep stacks train.
        scale_inputs: whether item vectors are multiplied by the root of the dimension before places are added, as in
            Vaswani et al., 2017, and SASRec's own code.
        time_bias: whether attention knows the time between two events.
        event_types: whether an event's type is added to its item's vector.
        dwell: whether the time spent on the event before is added to an item's vector.
        context_dropout: share of training batches that are shown neither times nor types, so that sessions without
            them can be served.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dimension: int = Field(default=64, ge=4)
    blocks: int = Field(default=1, ge=1)
    heads: int = Field(default=2, ge=1)
    expansion: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    max_length: int = Field(default=50, ge=2)
    positions: Literal["learned", "rotary"] = "learned"
    residual: Literal["plain", "gated"] = "plain"
    scale_inputs: bool = False
    time_bias: bool = False
    event_types: bool = False
    dwell: bool = False
    context_dropout: float = Field(default=0.1, ge=0.0, lt=1.0)

    @property
    def needs_context(self) -> bool:
        """Whether events bring more than their items."""
        return self.time_bias or self.event_types or self.dwell

    @model_validator(mode="after")
    def _heads_divide_dimension(self) -> TransformerConfig:
        if self.dimension % self.heads:
            raise ValueError(f"dimension ({self.dimension}) must be divisible by heads ({self.heads})")
        if self.positions == "rotary" and self.dimension // self.heads % 2:
            raise ValueError(
                f"rotary positions turn pairs of columns, so dimension ({self.dimension}) must be divisible by twice "
                f"the heads ({self.heads})"
            )
        return self


@dataclass(frozen=True)
class Frame:
    """What all blocks of one pass share: who may see whom, and where and when events lie.

    T events ask and S events answer; S = T except in streaming, where the answers are remembered.

    Attributes:
        mask: (B or 1, 1, T, S) true where an event may see another; None for the plain causal triangle.
        rotation: cosines and sines of rotary positions, (B or 1, 1, T, D/H/2) each.
        intervals: (B, T, S) buckets of the time between two events.
        places: (B, T) where the events go in a memory of S; None outside streaming.
    """

    mask: Tensor | None = None
    rotation: tuple[Tensor, Tensor] | None = None
    intervals: Tensor | None = None
    places: Tensor | None = None


def rotary(places: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines for heads of `width` columns at (..., T) places, each (..., T, width/2). Su et al., 2021."""
    steps = torch.arange(0, width, 2, device=places.device) / width
    angles = places[..., None] * ROTARY_BASE**-steps
    return angles.cos(), angles.sin()


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """(B, H, T, D/H) queries or keys, turned by their places: inner products then depend on distances alone."""
    cos, sin = rotation
    left, right = x.chunk(2, dim=-1)
    return torch.cat([left * cos - right * sin, left * sin + right * cos], dim=-1).to(x.dtype)


class Attention(nn.Module):
    """Multi-head self-attention through PyTorch's fused kernel."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = Dropout(config.dropout)
        self.query_key_value = nn.Linear(config.dimension, 3 * config.dimension)
        self.output = nn.Linear(config.dimension, config.dimension)
        # A bias per bucket of time and head, as in HSTU (Zhai et al., 2024) and TiSASRec (Li et al., 2020).
        self.interval_bias = nn.Embedding(INTERVAL_BUCKETS, config.heads) if config.time_bias else None

    def forward(self, x: Tensor, frame: Frame, memory: Tensor | None = None) -> Tensor:
        """(B, T, D) to (B, T, D).

        Args:
            x: the events that ask.
            frame: what they may see.
            memory: (2, B, H, S, D/H) keys and values of S events, which the T events join at `frame.places`.
        """
        q, k, v = self._heads(x, frame)
        if memory is not None and frame.places is not None:
            k, v = _remember(memory, k, v, frame.places)
        dropout = self.dropout.share if self.training else 0.0
        if dropout and x.device.type == "cpu":
            # No kernel of torch's drops weights on a CPU; what it does instead takes longer than this.
            y = self.dropout(self._weights(q, k, frame)) @ v
        else:
            # Sequences are padded on the right, so the causal mask alone keeps real positions from seeing padding.
            mask = self._mask(frame, q.dtype)
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=mask is None)
        out: Tensor = self.output(y.transpose(1, 2).reshape(x.shape))
        return out

    def weights(self, x: Tensor, frame: Frame) -> Tensor:
        """(B, H, T, T) what `forward` weighs the events by; row t is what position t attends to."""
        q, k, _ = self._heads(x, frame)
        return self._weights(q, k, frame)

    def _weights(self, q: Tensor, k: Tensor, frame: Frame) -> Tensor:
        """(B, H, T, S) attention, row by row: what the fused kernel computes without ever holding it."""
        t = q.shape[2]
        mask = self._mask(frame, q.dtype)
        if mask is None:
            mask = torch.ones(t, t, dtype=torch.bool, device=q.device).tril()
        logits = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)
        # Every event sees itself, so that no row is empty.
        logits = logits.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else logits + mask
        out: Tensor = logits.softmax(dim=-1)
        return out

    def _heads(self, x: Tensor, frame: Frame) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, (B, H, T, D/H) each."""
        b, t, d = x.shape
        qkv = (
            self.query_key_value(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        )  # (3, B, H, T, D/H)
        q, k, v = qkv[0], qkv[1], qkv[2]
        if frame.rotation is not None:
            q, k = rotate(q, frame.rotation), rotate(k, frame.rotation)
        return q, k, v

    def _mask(self, frame: Frame, dtype: torch.dtype) -> Tensor | None:
        """What SDPA takes: None, a truth value, or a number to be added to each logit."""
        if frame.intervals is None or frame.mask is None or self.interval_bias is None:
            return frame.mask
        bias: Tensor = self.interval_bias(frame.intervals).permute(0, 3, 1, 2)  # (B, H, T, S)
        return bias.masked_fill(~frame.mask, float("-inf")).to(dtype)


def _remember(memory: Tensor, k: Tensor, v: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """Write (B, H, T, D/H) keys and values into a memory of S events, in place, and give all (B, H, S, D/H) of them."""
    rows = torch.arange(len(places), device=places.device)[:, None]
    for remembered, new in zip(memory, (k, v), strict=True):
        remembered.transpose(1, 2)[rows, places] = new.transpose(1, 2).to(remembered.dtype)
    return memory[0], memory[1]


class Block(nn.Module):
    """Pre-norm attention and feed-forward with residuals. Xiong et al., 2020.

    A gated block adds sigmoid(W x) * f(norm(x)) instead of f(norm(x)): LiGR, Borisyuk et al., 2025 (arXiv 2502.03417).
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        d = config.dimension
        self.attention_norm = nn.LayerNorm(d)
        self.attention = Attention(config)
        self.feed_forward_norm = nn.LayerNorm(d)
        self.feed_forward = nn.Sequential(
            nn.Linear(d, config.expansion * d),
            nn.GELU(),
            Dropout(config.dropout),
            nn.Linear(config.expansion * d, d),
        )
        self.dropout = Dropout(config.dropout)
        gated = config.residual == "gated"
        self.attention_gate = nn.Linear(d, d) if gated else None
        self.feed_forward_gate = nn.Linear(d, d) if gated else None

    def forward(self, x: Tensor, frame: Frame, memory: Tensor | None = None) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        attended = self.dropout(self.attention(self.attention_norm(x), frame, memory))
        x = x + (attended if self.attention_gate is None else self.attention_gate(x).sigmoid() * attended)
        fed = self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        out: Tensor = x + (fed if self.feed_forward_gate is None else self.feed_forward_gate(x).sigmoid() * fed)
        return out

    def attention_weights(self, x: Tensor, frame: Frame) -> Tensor:
        """(B, H, T, T) weights of this block's attention; see `Attention.weights`."""
        return self.attention.weights(self.attention_norm(x), frame)


class SequenceTransformer(nn.Module):
    """Item vectors in, one session embedding per position out.

    Causal, position t has seen events 0 to t only: SASRec (Kang & McAuley, 2018), with pre-norm. Otherwise every
    position has seen every real one: BERT4Rec (Sun et al., 2019).
    """

    def __init__(self, config: TransformerConfig, causal: bool = True) -> None:
        super().__init__()
        self.config = config
        self.causal = causal
        learned = config.positions == "learned"
        self.positions = nn.Parameter(torch.empty(config.max_length, config.dimension)) if learned else None
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.dimension)
        self.type_vectors = nn.Embedding(len(EVENT_TYPES) + 1, config.dimension) if config.event_types else None
        self.dwell_vectors = nn.Embedding(INTERVAL_BUCKETS, config.dimension) if config.dwell else None
        self.initialise()

    def initialise(self) -> None:
        """Positions and weights N(0, 0.02), the last linear of each branch scaled by 1/sqrt(2 blocks); biases 0.

        What times and types add is 0, so that a model starts as it would without them.
        """
        if self.positions is not None:
            nn.init.normal_(self.positions, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
            if isinstance(module, nn.Embedding):
                nn.init.zeros_(module.weight)
        for block in self.blocks:
            for name, weight in block.named_parameters():
                if name in ("attention.output.weight", "feed_forward.3.weight"):
                    nn.init.normal_(weight, std=0.02 / (2 * self.config.blocks) ** 0.5)

    def forward(self, x: Tensor, valid: Tensor | None = None, context: EventContext | None = None) -> Tensor:
        """Session embeddings of whole windows.

        Args:
            x: (B, T, D) item vectors, padded on the right, T <= max_length.
            valid: (B, T) true on real positions; a causal model does not need it.
            context: times and types of the events, where they are known.

        Returns:
            (B, T, D).
        """
        return self._run(*self._prepared(x, valid, context))

    def attention_weights(
        self, x: Tensor, valid: Tensor | None = None, context: EventContext | None = None
    ) -> tuple[Tensor, Tensor]:
        """What `forward` gives, and (blocks, B, H, T, T) what each block weighs the events by; see `Attention.weights`.

        Meant for evaluation mode: dropout is not part of the weights.
        """
        x, frame = self._prepared(x, valid, context)
        weights = []
        for block in self.blocks:
            weights.append(cast(Block, block).attention_weights(x, frame))
            x = block(x, frame)
        return self.norm(x), torch.stack(weights)

    def _prepared(self, x: Tensor, valid: Tensor | None, context: EventContext | None) -> tuple[Tensor, Frame]:
        context = context or EventContext()
        t = x.shape[1]
        places = torch.arange(t, device=x.device)[None]  # (1, T)
        positions = None if self.positions is None else self._window_positions(self.positions, places, valid)
        intervals = self._intervals(context.timestamps, context.timestamps)
        mask = self._seen(places, valid) if intervals is not None or not self.causal else None
        return self._inputs(x, positions, context), Frame(mask, self._rotation(places), intervals)

    def advance(self, x: Tensor, places: Tensor, memory: Tensor, context: EventContext | None = None) -> Tensor:
        """Session embeddings of new events of a causal model whose earlier ones are remembered, not computed again.

        Args:
            x: (B, T, D) item vectors of the new events.
            places: (B, T) where they stand in their windows.
            memory: (blocks, 2, B, H, S, D/H) keys and values of every block; changed in place.
            context: of all S events of the windows, the new ones included.

        Returns:
            (B, T, D).
        """
        context = context or EventContext()
        new = EventContext(*(_at(part, places) for part in (context.timestamps, context.event_types)))
        seen = torch.arange(memory.shape[4], device=x.device) <= places[..., None]  # (B, T, S)
        intervals = self._intervals(new.timestamps, context.timestamps)
        frame = Frame(seen[:, None], self._rotation(places), intervals, places)
        dwell = None if context.timestamps is None else _at(dwell_buckets(context.timestamps), places)
        positions = None if self.positions is None else self.positions[places]
        return self._run(self._inputs(x, positions, new, dwell), frame, memory)

    def _run(self, x: Tensor, frame: Frame, memory: Tensor | None = None) -> Tensor:
        x = self.dropout(x)
        for nth, block in enumerate(self.blocks):
            x = block(x, frame, None if memory is None else memory[nth])
        out: Tensor = self.norm(x)
        return out

    def _inputs(
        self, x: Tensor, positions: Tensor | None, context: EventContext, dwell: Tensor | None = None
    ) -> Tensor:
        """Item vectors with what places, times and types add."""
        if self.config.scale_inputs:
            x = x * self.config.dimension**0.5
        if positions is not None:
            x = x + positions
        if self.type_vectors is not None and context.event_types is not None:
            x = x + self.type_vectors(context.event_types)
        if self.dwell_vectors is not None and context.timestamps is not None:
            x = x + self.dwell_vectors(dwell_buckets(context.timestamps) if dwell is None else dwell)
        return x

    def _window_positions(self, vectors: Tensor, places: Tensor, valid: Tensor | None) -> Tensor:
        """(T, D) or (B, T, D) learned positions of whole windows, from the left in a causal model.

        A bidirectional one counts from the right, so that the last place, where a served session has its mask token, is
        the same whatever the session's length.
        """
        t = places.shape[1]
        if self.causal:
            return vectors[:t]
        if valid is None:
            return vectors[:t].flip(0)
        return vectors[(valid.sum(dim=1, keepdim=True) - 1 - places).clamp(min=0)]

    def _rotation(self, places: Tensor) -> tuple[Tensor, Tensor] | None:
        if self.positions is not None:
            return None
        cos, sin = rotary(places, self.config.dimension // self.config.heads)
        return cos[:, None], sin[:, None]

    def _intervals(self, asking: Tensor | None, answering: Tensor | None) -> Tensor | None:
        """(B, T, S) buckets of the time between events."""
        if not self.config.time_bias or asking is None or answering is None:
            return None
        return interval_buckets(asking[:, :, None] - answering[:, None, :])

    def _seen(self, places: Tensor, valid: Tensor | None) -> Tensor:
        """(B or 1, 1, T, T) which position may see which; each sees itself, so that no row of attention is empty."""
        t = places.shape[1]
        every = torch.ones(1, t, t, dtype=torch.bool, device=places.device)
        if self.causal:
            return every.tril()[:, None]
        return (every if valid is None else valid[:, None, :] | every.triu().tril())[:, None]


def _at(events: Tensor | None, places: Tensor) -> Tensor | None:
    """(B, S) events at (B, T) places."""
    return None if events is None else events.gather(1, places)
