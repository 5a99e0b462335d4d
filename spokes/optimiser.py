"""AdamW as torch computes it, to the bit, without what makes it slow on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

# Below it a second moment's root is lost beside epsilon; at zero and below normal numbers a CPU's square root is slow.
SMALLEST = 1e-36


class AdamW(torch.optim.AdamW):
    """Loshchilov & Hutter, 2019. On a CPU the steps of torch's own, in place and in one scratch buffer.

    The rows of an item table that no batch has met have moments of zero, whose square root costs several times that of
    other numbers; raising it to `SMALLEST` changes no denominator, as long as epsilon is not far below its default.
    """

    def __init__(self, parameters: Sequence[Tensor] | Sequence[dict[str, Any]], **options: Any) -> None:
        super().__init__(parameters, **options)
        self._scratch = torch.empty(0)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """One update of all parameters that have a gradient; `closure` is not used."""
        owned = [(group, p) for group in self.param_groups for p in group["params"] if p.grad is not None]
        if any(p.device.type != "cpu" for _, p in owned):
            super().step()
            return
        largest = max((p.numel() for _, p in owned), default=0)
        if len(self._scratch) < largest:
            self._scratch = torch.empty(largest)
        for group, parameter in owned:
            self._update(group, parameter, self._scratch[: parameter.numel()].view_as(parameter))

    def _update(self, group: dict[str, Any], parameter: Tensor, scratch: Tensor) -> None:
        state, gradient = self.state[parameter], parameter.grad
        assert gradient is not None
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        state["step"] += 1
        (beta1, beta2), steps = group["betas"], state["step"].item()
        if group["weight_decay"]:
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
        state["exp_avg"].lerp_(gradient, 1 - beta1)
        second = state["exp_avg_sq"].mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        torch.clamp(second, min=SMALLEST, out=scratch)
        scratch.sqrt_().div_((1 - beta2**steps) ** 0.5).add_(group["eps"])
        parameter.addcdiv_(state["exp_avg"], scratch, value=-(group["lr"] / (1 - beta1**steps)))


def rate_groups(named: Mapping[str, Tensor], rate: float, shares: Mapping[str, float]) -> list[dict[str, Any]]:
    """Parameters in groups of one learning rate.

    Args:
        named: parameters by name.
        rate: of those that no share is given for.
        shares: what the rate is multiplied by for parameters whose names begin so.

    Returns:
        Groups of `params`, `lr` and the `share` that made it; none is empty.
    """
    groups: dict[float, list[Tensor]] = {}
    for name, parameter in named.items():
        share = next((share for prefix, share in shares.items() if name.startswith(prefix)), 1.0)
        groups.setdefault(share, []).append(parameter)
    return [{"params": own, "lr": rate * share, "share": share} for share, own in groups.items()]
