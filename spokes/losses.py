"""Training losses, each a pure function with its formula. They see real positions only, never padding."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def sampled_softmax_loss(positive: Tensor, negative: Tensor, targets: Tensor, negatives: Tensor) -> Tensor:
    """Softmax cross-entropy over the target and K shared negatives.

    loss = mean_p [ log(exp(s_p+) + sum_k exp(s_pk)) - s_p+ ], where a negative that equals the target of position p is
    masked out of its sum (a false negative). Jean et al., 2015; in recommendation, Klenitskiy & Vasilev, 2023.

    Args:
        positive: (P,) scores of the targets.
        negative: (P, K) scores of the shared negatives.
        targets: (P,) item of each target.
        negatives: (K,) items drawn.
    """
    false_negative = targets[:, None] == negatives[None, :]  # (P, K)
    logits = torch.cat([positive[:, None], negative.masked_fill(false_negative, float("-inf"))], dim=1)  # (P, 1 + K)
    return F.cross_entropy(logits.float(), torch.zeros(len(logits), dtype=torch.long, device=logits.device))


def full_softmax_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Softmax cross-entropy over the whole catalog: scores (P, N), targets (P,)."""
    return F.cross_entropy(scores.float(), targets)
