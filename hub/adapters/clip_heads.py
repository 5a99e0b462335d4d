"""open_clip's own transformers cut in two: picture encoders of the ViT kind, and text encoders that read from the left.

Their attention keeps query, key and value in one matrix; a head holds views of its three parts, because LoRA on the
whole would write into frozen weights and take the rounding along.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ...errors import UsageError
from .heads import Cut, require_depth, shallow

TARGETS = ("query", "value")


class SplitAttention(nn.Module):
    """`nn.MultiheadAttention` of a tensor to itself, with its projections apart; all weights are shared.

    Args:
        whole: attention of one width throughout.
        causal: whether a place sees those on its left alone.
    """

    def __init__(self, whole: nn.MultiheadAttention, causal: bool) -> None:
        super().__init__()
        weights, biases = whole.in_proj_weight.chunk(3), whole.in_proj_bias.chunk(3)
        self.query, self.key, self.value = (_linear(weight, bias) for weight, bias in zip(weights, biases, strict=True))
        self.out = whole.out_proj
        self.heads = whole.num_heads
        self.causal = causal

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H) to (B, T, H)."""
        shape = (*x.shape[:2], self.heads, -1)
        query, key, value = (layer(x).view(shape).transpose(1, 2) for layer in (self.query, self.key, self.value))
        attended = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        out: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return out


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    layer.weight, layer.bias = (nn.Parameter(own.detach(), requires_grad=False) for own in (weight, bias))
    return layer


class Block(nn.Module):
    """A residual block of open_clip with its attention split.

    Args:
        block: the block.
        causal: whether a place sees those on its left alone.
    """

    def __init__(self, block: Any, causal: bool) -> None:
        super().__init__()
        self.attention = SplitAttention(block.attn, causal)
        self.ln_1, self.ls_1, self.ln_2, self.mlp, self.ls_2 = block.ln_1, block.ls_1, block.ln_2, block.mlp, block.ls_2

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H) to (B, T, H)."""
        x = x + self.ls_1(self.attention(self.ln_1(x)))
        out: Tensor = x + self.ls_2(self.mlp(self.ln_2(x)))
        return out


class VisionBody(nn.Module):
    """Patches and all blocks but the last ones; pictures (B, 3, S, S) to states (B, 1, T * H)."""

    def __init__(self, visual: Any) -> None:
        super().__init__()
        self.visual = visual

    def forward(self, pictures: Tensor) -> Tensor:
        """Flat states (B, 1, T * H)."""
        return self.places(pictures).flatten(1).unsqueeze(1)

    def places(self, pictures: Tensor) -> Tensor:
        """States (B, T, H) of the patches."""
        visual: Any = self.visual
        states: Tensor = visual.transformer(visual._embeds(pictures))
        return states


class VisionHead(nn.Module):
    """The last blocks, the pooling and the projection.

    Args:
        blocks: first to last.
        visual: the encoder, whose pooling is used.
        width: H.
    """

    def __init__(self, blocks: list[nn.Module], visual: Any, width: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.visual = shallow(visual)
        for name in ("transformer", "conv1", "ln_pre", "patch_dropout"):
            setattr(self.visual, name, None)
        self.width = width

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Pooled features (B, D); a picture is one place, so that the mask says nothing."""
        visual: Any = self.visual
        pooled: Tensor = visual._pool(self.blocks(states.reshape(len(states), -1, self.width)))[0]
        return pooled if visual.proj is None else pooled @ visual.proj


class TextBody(nn.Module):
    """Embeddings and all blocks but the last ones; ids (B, T) to states (B, T, H)."""

    def __init__(self, text: Any, transformer: Any) -> None:
        super().__init__()
        self.embedding, self.positions, self.transformer = text.token_embedding, text.positional_embedding, transformer
        self.register_buffer("hidden_from", text.attn_mask, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """States (B, T, H)."""
        length = ids.shape[1]
        hidden_from: Any = self.hidden_from
        states: Tensor = self.transformer(
            self.embedding(ids) + self.positions[:length], attn_mask=hidden_from[:length, :length]
        )
        return states


class TextHead(nn.Module):
    """The last blocks, and the projection of the last real place."""

    def __init__(self, blocks: list[nn.Module], text: Any) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.norm, self.projection = text.ln_final, text.text_projection

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:
        """Vectors (B, D)."""
        last = mask.sum(dim=1) - 1
        pooled = self.norm(self.blocks(states)[torch.arange(len(states), device=states.device), last])
        if self.projection is None:
            out: Tensor = pooled
        else:
            out = self.projection(pooled) if isinstance(self.projection, nn.Linear) else pooled @ self.projection
        return out


@torch.inference_mode()
def _first_states(body: VisionBody, side: int) -> torch.Size:
    device = next(body.parameters()).device
    return body.places(torch.zeros(1, 3, side, side, device=device)).shape


def cut_vision(name: str, visual: Any, layers: int, side: int) -> Cut:
    """A ViT of open_clip before its last blocks.

    Raises:
        UsageError: the encoder is of another kind, or has fewer blocks.
    """
    if not (hasattr(visual, "_embeds") and hasattr(visual, "_pool") and _splits(visual)):
        raise UsageError(
            f"Image encoder {name} is no ViT of open_clip's own and cannot be adapted; take image out of "
            "encoder_adapter.encoders or train a hub on another image encoder."
        )
    body = shallow(visual)
    body.transformer, last = _cut_stack(name, visual.transformer, layers, causal=False)
    whole = VisionBody(body).eval()
    _, places, width = _first_states(whole, side)
    return Cut(whole, VisionHead(last, visual, width), TARGETS, places * width)


def cut_text(name: str, model: Any, layers: int) -> Cut:
    """A text encoder of open_clip before its last blocks.

    Raises:
        UsageError: the encoder is of another kind, or has fewer blocks.
    """
    text = text_half(name, model)
    transformer, last = _cut_stack(name, text.transformer, layers, causal=True)
    return Cut(TextBody(text, transformer).eval(), TextHead(last, text), TARGETS, text.token_embedding.embedding_dim)


def text_half(name: str, model: Any) -> Any:
    """The text encoder of a dual encoder, where each text is pooled at its end and read from the left.

    Raises:
        UsageError: it is of another kind.
    """
    text = model if hasattr(model, "token_embedding") else getattr(model, "text", None)
    reads_left = getattr(text, "attn_mask", None) is not None and getattr(text, "cls_emb", None) is None
    if not (hasattr(text, "token_embedding") and reads_left and _pooling(text) in ("argmax", "eos") and _splits(text)):
        raise UsageError(
            f"Text encoder {name} is no text encoder of open_clip's own that reads from the left and cannot be "
            "adapted; take text out of encoder_adapter.encoders or train a hub on another text encoder."
        )
    return text


def ends(text: Any, ids: Tensor) -> Tensor:
    """(B,) the place where each row of ids (B, T) is pooled; what comes after is padding."""
    if _pooling(text) == "argmax":
        return ids.argmax(dim=1)
    end = text.text_eos_id if hasattr(text, "text_eos_id") else text.eos_id
    found: Tensor = (ids == end).int().argmax(dim=1)
    return found


def _pooling(text: Any) -> str:
    return str(getattr(text, "text_pool_type", None) or getattr(text, "pool_type", ""))


def _splits(encoder: Any) -> bool:
    """Whether all blocks are such as `Block` repeats."""
    blocks = getattr(getattr(encoder, "transformer", None), "resblocks", None)
    return isinstance(blocks, nn.ModuleList) and all(_is_plain(block) for block in blocks)


def _is_plain(block: Any) -> bool:
    attention = getattr(block, "attn", None)
    return (
        type(block).__name__ == "ResidualAttentionBlock"
        and isinstance(attention, nn.MultiheadAttention)
        and attention.in_proj_weight is not None
        and attention.in_proj_bias is not None
        and not hasattr(block, "ln_1_kv")
    )


def _cut_stack(name: str, transformer: Any, layers: int, causal: bool) -> tuple[Any, list[nn.Module]]:
    blocks = list(transformer.resblocks)
    require_depth(name, layers, len(blocks))
    kept = shallow(transformer)
    kept.resblocks = nn.ModuleList(blocks[:-layers])
    return kept, [Block(block, causal) for block in blocks[-layers:]]
