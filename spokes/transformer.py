"""The sequence transformer shared by every behavioural model: pre-norm blocks over (B, T, D) item vectors."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor, nn


class TransformerConfig(BaseModel):
    """Shape of the sequence transformer. One block is the measured default for categories of up to a million events."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dimension: int = Field(default=64, ge=4)
    blocks: int = Field(default=1, ge=1)
    heads: int = Field(default=2, ge=1)
    expansion: int = Field(default=2, ge=1)
    dropout: float = Field(default=0.2, ge=0.0, lt=1.0)
    max_length: int = Field(default=50, ge=2)

    @model_validator(mode="after")
    def _heads_divide_dimension(self) -> TransformerConfig:
        if self.dimension % self.heads:
            raise ValueError(f"dimension ({self.dimension}) must be divisible by heads ({self.heads})")
        return self


class Attention(nn.Module):
    """Multi-head causal self-attention through PyTorch's fused kernel."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = config.dropout
        self.query_key_value = nn.Linear(config.dimension, 3 * config.dimension)
        self.output = nn.Linear(config.dimension, config.dimension)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        b, t, d = x.shape
        qkv = (
            self.query_key_value(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        )  # (3, B, H, T, D/H)
        dropout = self.dropout if self.training else 0.0
        # Sequences are padded on the right, so the causal mask alone keeps real positions from seeing padding.
        y = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], dropout_p=dropout, is_causal=True)
        out: Tensor = self.output(y.transpose(1, 2).reshape(b, t, d))
        return out


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
            nn.Dropout(config.dropout),
            nn.Linear(config.expansion * d, d),
        )
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) to (B, T, D)."""
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        out: Tensor = x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        return out


class SequenceTransformer(nn.Module):
    """Item vectors in, one session embedding per position out; position t has seen events 0 to t only (SASRec).

    Kang & McAuley, 2018, with pre-norm and learned positions.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.positions = nn.Parameter(torch.empty(config.max_length, config.dimension))
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(config.dimension)
        self.initialise()

    def initialise(self) -> None:
        """Positions and weights N(0, 0.02), the last linear of each branch scaled by 1/sqrt(2 blocks); biases 0."""
        nn.init.normal_(self.positions, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        for block in self.blocks:
            for name, weight in block.named_parameters():
                if name in ("attention.output.weight", "feed_forward.3.weight"):
                    nn.init.normal_(weight, std=0.02 / (2 * self.config.blocks) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) item vectors, T <= max_length, to (B, T, D) session embeddings."""
        x = self.dropout(x + self.positions[: x.shape[1]])
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.norm(x)
        return out
