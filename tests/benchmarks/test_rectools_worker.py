"""Leaving padding out of RecTools' scores changes neither its loss nor its gradients."""

import pytest
import torch

from benchmarks.spokes.workers import rectools_sasrec


def test_padding_left_out_changes_neither_loss_nor_gradients() -> None:
    reason = "rectools is not installed here; see benchmarks/README.md"
    similarity = pytest.importorskip("rectools.models.nn.transformers.similarity", reason=reason)
    lightning = pytest.importorskip("rectools.models.nn.transformers.lightning", reason=reason)
    torch.manual_seed(0)
    targets = torch.randint(1, 100, (8, 10))
    targets[:, :4] = 0
    targets[3] = 0
    candidates = torch.cat([targets[..., None], torch.randint(1, 100, (8, 10, 20))], dim=-1)
    base, found = lightning.TransformerLightningModule, []
    for module in (similarity.DistanceSimilarityModule, rectools_sasrec._real_positions()):
        torch.manual_seed(1)
        sessions, items = torch.randn(8, 10, 16, requires_grad=True), torch.randn(100, 16, requires_grad=True)
        logits = module()(sessions, items, candidates)
        loss = base._calc_sampled_softmax_loss(base, logits, targets, (targets != 0).float())
        loss.backward()
        found.append((loss, sessions.grad, items.grad))
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-6)
