"""Training losses, each a pure function with its formula. They see real positions only, never padding.

Shapes: P scored positions, K negatives (shared by all positions, or each position's own), N items of the catalog. Every
loss is a mean over positions. A negative that equals the target of its position is no negative: it is masked out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def sampled_softmax_loss(
    positive: Tensor,  # (P,) scores of the targets
    negative: Tensor,  # (P, K) scores of the negatives
    targets: Tensor,  # (P,) item of each target
    negatives: Tensor,  # (K,) or (P, K) items
    *,
    temperature: float = 1.0,  # below one it sharpens the softmax
    log_q: tuple[Tensor, Tensor] | None = None,  # (P,) of the targets and (K,) or (P, K) of the negatives
) -> Tensor:
    """Softmax cross-entropy over the target and K negatives.

    loss = mean_p [ log(exp(z_p+) + sum_k exp(z_pk)) - z_p+ ] with z = s / temperature - log q(item), where q is how
    likely an item is drawn as a negative: without the correction, items that are drawn more often are pushed down more
    than by the full softmax. Jean et al., 2015; Klenitskiy & Vasilev, 2023; the correction is that of Bengio & Senecal,
    2008, on the target as well (Yi et al., 2019). A q that is the same for all items changes nothing.
    """
    if temperature != 1.0:
        positive, negative = positive / temperature, negative / temperature
    if log_q is not None:
        positive, negative = positive - log_q[0], negative - log_q[1]
    met: Tensor | slice = slice(None)  # positions that may have false negatives
    if negatives.dim() == 1 and targets.device.type == "cpu":
        # Only those whose target was drawn, a few of many; a GPU would wait for how many there are.
        met = torch.from_numpy(np.flatnonzero(np.isin(targets.numpy(), negatives.numpy(), kind="table")))
    false = false_negatives(targets[met], negatives)
    loss: Tensor = _AgainstTarget.apply(positive.float(), negative.float(), met, false)
    return loss


class _AgainstTarget(torch.autograd.Function):
    """mean_p [ log(exp(s_p+) + sum_k exp(s_pk)) - s_p+ ] of (P,) and (P, K) scores, false negatives left out.

    Their gradients are the shares of the softmax, kept from the forward pass: neither are targets and negatives copied
    into one table nor are exponentials taken twice.
    """

    @staticmethod
    def forward(ctx: Any, positive: Tensor, negative: Tensor, met: Tensor | slice, false: Tensor) -> Tensor:
        top = torch.maximum(negative.amax(dim=1), positive)
        shares = (negative - top[:, None]).exp_()  # (P, K)
        shares[met] = shares[met].masked_fill(false, 0.0)
        own = (positive - top).exp()
        total = shares.sum(dim=1) + own
        ctx.save_for_backward(shares, own, total)
        return (total.log() + top - positive).mean()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        shares, own, total = ctx.saved_tensors
        weight = gradient / len(total)
        return weight * (own / total - 1), shares * (weight / total)[:, None], None, None


def full_softmax_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Softmax cross-entropy over the whole catalog: scores (P, N), targets (P,)."""
    return F.cross_entropy(scores.float(), targets)


def bce_loss(positive: Tensor, negative: Tensor, targets: Tensor, negatives: Tensor) -> Tensor:
    """Binary cross-entropy of the target against K negatives; arguments as in `sampled_softmax_loss`.

    loss = -mean_p [ (log sigma(s_p+) + sum_k log(1 - sigma(s_pk))) / (1 + K) ]. Kang & McAuley, 2018, with K = 1. Here
    to compare with: it is over-confident where few of many items are drawn (Petrov & Macdonald, 2023).
    """
    false = false_negatives(targets, negatives)
    # -log sigma(s) = softplus(-s) and -log(1 - sigma(s)) = softplus(s).
    against = F.softplus(negative.float()).masked_fill(false, 0.0).sum(dim=1)
    return ((F.softplus(-positive.float()) + against) / (1 + (~false).sum(dim=1))).mean()


def false_negatives(targets: Tensor, negatives: Tensor) -> Tensor:
    """(P, K) true where a negative is the target of its position."""
    return targets[:, None] == (negatives if negatives.dim() == 2 else negatives[None, :])
