"""The sequence transformer shared by every behavioural model: pre-norm blocks over (B, T, D) item vectors.

Causal (SASRec; Kang & McAuley, 2018) or bidirectional (BERT4Rec; Sun et al., 2019): only the attention mask differs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..catalog.schema import EVENT_TYPES
from .config import INTERVAL_BUCKETS, TransformerConfig
from .layers import Dropout


@dataclass(frozen=True)
class EventContext:
    """What may be known of B x T events beside their items; a part that is None is not known of any."""

    timestamps: Tensor | None = None  # (B, T) microseconds
    event_types: Tensor | None = None  # (B, T) codes as in `Sequences.event_types`; 0 is unknown


def interval_buckets(microseconds: Tensor) -> Tensor:
    """0 for less than a second, else 1 + floor(log2(seconds)), `INTERVAL_BUCKETS` - 1 at most; any shape, any sign."""
    seconds = microseconds.abs().div(1_000_000, rounding_mode="floor")
    # frexp writes s as m * 2^e with m in [1/2, 1): e is the bucket, exactly, where a logarithm would round.
    return torch.frexp(seconds.double()).exponent.long().clamp(max=INTERVAL_BUCKETS - 1)


def dwell_buckets(timestamps: Tensor) -> Tensor:
    """(B, T) buckets of the time spent on the event before, known when an event comes; none for a window's first."""
    gaps = torch.zeros_like(timestamps)
    gaps[:, 1:] = timestamps[:, 1:] - timestamps[:, :-1]
    return interval_buckets(gaps)


@dataclass(frozen=True)
class Frame:
    """What all blocks of one pass share: who may see whom, and when events lie."""

    mask: Tensor | None = None  # (B or 1, 1, T, T) true where an event may see another; None: the causal triangle
    intervals: Tensor | None = None  # (B, T, T) buckets of the time between two events


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

    def forward(self, x: Tensor, frame: Frame) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        q, k, v = self.split_heads(x)
        dropout = self.dropout.share if self.training else 0.0
        if dropout and x.device.type == "cpu":
            # No kernel of torch's drops weights on a CPU; what it does instead takes longer than this.
            y = self.dropout(self.weights(q, k, frame)) @ v
        else:
            # Sequences are padded on the right, so the causal mask alone keeps real positions from seeing padding.
            mask = self._mask(frame, q.dtype)
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout, is_causal=mask is None)
        out: Tensor = self.output(y.transpose(1, 2).reshape(x.shape))  # (B, H, T, D/H) to (B, T, D)
        return out

    def weights(self, q: Tensor, k: Tensor, frame: Frame) -> Tensor:
        """(B, H, T, T) attention, row by row: what the fused kernel computes without ever holding it."""
        t = q.shape[2]
        mask = self._mask(frame, q.dtype)
        if mask is None:
            mask = torch.ones(t, t, dtype=torch.bool, device=q.device).tril()
        logits = (q * q.shape[-1] ** -0.5) @ k.transpose(2, 3)
        # Every event sees itself, so that no row is empty.
        logits = logits.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else logits + mask
        out: Tensor = logits.softmax(dim=-1)
        return out

    def split_heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, (B, H, T, D/H) each."""
        b, t, d = x.shape
        qkv = self.query_key_value(x).view(b, t, 3, self.heads, d // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # (3, B, H, T, D/H)
        return q, k, v

    def _mask(self, frame: Frame, dtype: torch.dtype) -> Tensor | None:
        """What SDPA takes: None, a truth value, or a number to be added to each logit."""
        if frame.intervals is None or frame.mask is None or self.interval_bias is None:
            return frame.mask
        bias: Tensor = self.interval_bias(frame.intervals).permute(0, 3, 1, 2)  # (B, H, T, T)
        return bias.masked_fill(~frame.mask, float("-inf")).to(dtype)


class Block(nn.Module):
    """Pre-norm attention and feed-forward with residuals. Xiong et al., 2020."""

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

    def forward(self, x: Tensor, frame: Frame) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        x = x + self.dropout(self.attention(self.attention_norm(x), frame))
        out: Tensor = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return out


class SequenceTransformer(nn.Module):
    """Item vectors in, a session embedding per position out: of events 0 to t if causal, else of every real one."""

    def __init__(self, config: TransformerConfig, causal: bool = True) -> None:
        super().__init__()
        self.config = config
        self.causal = causal
        self.positions = nn.Parameter(torch.empty(config.max_length, config.dimension))
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.dimension)
        self.type_vectors = nn.Embedding(len(EVENT_TYPES) + 1, config.dimension) if config.event_types else None
        self.dwell_vectors = nn.Embedding(INTERVAL_BUCKETS, config.dimension) if config.dwell else None
        # Positions and weights N(0, 0.02), the last linear of each branch scaled by 1/sqrt(2 blocks); biases 0. What
        # times and types add is 0, so that a model starts as it would without them.
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
        """(B, T, D) session embeddings of (B, T, D) item vectors, right-padded; `valid` (B, T) marks real positions."""
        return self._run(*self._prepared(x, valid, context or EventContext()))

    def attention_weights(
        self, x: Tensor, valid: Tensor | None = None, context: EventContext | None = None
    ) -> tuple[Tensor, Tensor]:
        """What `forward` gives, and (blocks, B, H, T, T) what each block weighs the events by, before any dropout."""
        x, frame = self._prepared(x, valid, context or EventContext())
        weights = []
        for own in self.blocks:
            block = cast(Block, own)
            q, k, _ = block.attention.split_heads(block.attention_norm(x))
            weights.append(block.attention.weights(q, k, frame))
            x = block(x, frame)
        return self.norm(x), torch.stack(weights)

    def _prepared(self, x: Tensor, valid: Tensor | None, context: EventContext) -> tuple[Tensor, Frame]:
        """What the first block reads of whole windows, and what all of them share."""
        intervals = self._intervals(context.timestamps)
        t, mask = x.shape[1], None
        if intervals is not None or not self.causal:
            # (1, T, T) or (B, T, T) who may see whom; each sees itself, so that no row of attention is empty.
            every = torch.ones(1, t, t, dtype=torch.bool, device=x.device)
            if self.causal:
                every = every.tril()
            elif valid is not None:
                every = valid[:, None, :] | every.triu().tril()
            mask = every[:, None]
        positions = self.positions[:t]  # (T, D)
        if not self.causal:
            # Counted from the right, so that the last place, where a served session has its mask token, is the same
            # whatever the session's length.
            last = torch.tensor([[t]], device=x.device) if valid is None else valid.sum(dim=1, keepdim=True)
            places = torch.arange(t, device=x.device)
            positions = self.positions[(last - 1 - places).clamp(min=0)]  # (B or 1, T, D)
        x = self._inputs(x, positions, context.event_types, self._dwell(context.timestamps))
        return x, Frame(mask, intervals)

    def _run(self, x: Tensor, frame: Frame) -> Tensor:
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x, frame)
        out: Tensor = self.norm(x)
        return out

    def _dwell(self, timestamps: Tensor | None) -> Tensor | None:
        return None if timestamps is None or self.dwell_vectors is None else dwell_buckets(timestamps)

    def _inputs(self, x: Tensor, positions: Tensor, types: Tensor | None, dwell: Tensor | None) -> Tensor:
        """Item vectors with what places, times and types add."""
        if self.config.scale_inputs:
            x = x * self.config.dimension**0.5
        x = x + positions
        if self.type_vectors is not None and types is not None:
            x = x + self.type_vectors(types)
        if self.dwell_vectors is not None and dwell is not None:
            x = x + self.dwell_vectors(dwell)
        return x

    def _intervals(self, timestamps: Tensor | None) -> Tensor | None:
        """(B, T, T) buckets of the time between events."""
        if not self.config.time_bias or timestamps is None:
            return None
        return interval_buckets(timestamps[:, :, None] - timestamps[:, None, :])
