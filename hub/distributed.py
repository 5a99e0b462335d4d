"""Data-parallel training by torchrun: every process takes a share of each batch, and gradients are summed.

Promise: as long as no dropout is drawn, the result is that of one process on the same config; the config's batch is the
batch of all processes together, so its size is what to raise with their number.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..arrays import BoolArray
from ..errors import ProcessLostError
from .devices import pick_device

# How long a process waits for the others at a step that all take together, and how long for what one passes, which may
# have validated, chosen a mixture or encoded a catalog before. One that has died is noticed at once, by its closed
# connection.
PATIENCE = timedelta(minutes=30)
LONG_PATIENCE = timedelta(days=7)


@contextmanager
def _together() -> Iterator[None]:
    """A step that all processes take; whatever goes wrong in it is that not all took it."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition("]")[2].partition(". ")[0].strip() or type(error).__name__
        raise ProcessLostError(
            f"Another process of this training is gone or stuck ({reason}); see what it said, and repeat the command."
        ) from error


@dataclass(frozen=True)
class World:
    """The processes of a training: this one is `rank` of `size`."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process validates, stores and reports."""
        return self.rank == 0

    def own(self, n: int) -> BoolArray:
        """(n,) true on the rows of a batch of n that are this process's."""
        return np.asarray(np.arange(n) % self.size == self.rank)

    def joint(self, own: Tensor, n: int) -> Tensor:
        """(n, D) the rows of all processes, of which this one passes its own; gradients flow into these alone.

        Where every process takes the loss of all rows, the sum of their gradients is that of one process.
        """
        if self.size == 1:
            return own
        places = torch.from_numpy(np.flatnonzero(self.own(n))).to(own.device)
        whole = own.new_zeros(n, own.shape[1]).index_copy(0, places, own.detach())
        with _together():
            dist.all_reduce(whole)
        return whole.index_copy(0, places, own)

    def sum_gradients(self, parameters: Iterable[Tensor], loss: Tensor) -> Tensor:
        """Add up the gradients of all processes in place; returns the sum of their losses."""
        owned = list(parameters)
        gradients = [p.new_zeros(p.shape) if p.grad is None else p.grad for p in owned]
        flat = torch.cat([gradient.flatten() for gradient in gradients] + [loss.detach().to(gradients[0]).flatten()])
        with _together():
            dist.all_reduce(flat)
        parts = flat.split([gradient.numel() for gradient in gradients] + [1])
        for parameter, part in zip(owned, parts, strict=False):
            parameter.grad = part.view_as(parameter)
        summed: Tensor = parts[-1][0]
        return summed

    def share_weights(self, model: nn.Module) -> None:
        """Give every process the weights of rank 0."""
        if self.size > 1:
            with _together():
                for tensor in model.state_dict().values():
                    dist.broadcast(tensor, src=0)

    def broadcast(self, value: Any) -> Any:
        """What rank 0 passes."""
        values = [value]
        if self.size > 1:
            with _together():
                dist.broadcast_object_list(values, src=0, group=_patient_group())
        return values[0]

    def gather(self, value: Any) -> list[Any]:
        """What every process passes, by rank."""
        values = [value] * self.size
        if self.size > 1:
            with _together():
                dist.all_gather_object(values, value, group=_patient_group())
        return values


@cache
def _patient_group() -> Any:
    """The same processes, as all of them make it when they join."""
    return dist.new_group(backend="gloo", timeout=LONG_PATIENCE)


def join_world(device: torch.device) -> World:
    """The processes that torchrun started, or this one alone; joins their group unless it has joined already."""
    if not dist.is_available():
        return World()
    if not dist.is_initialized():
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return World()
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        with _together():
            dist.init_process_group(backend, timeout=PATIENCE)
            _patient_group()
    return World(dist.get_rank(), dist.get_world_size())


@contextmanager
def joined(device: str) -> Iterator[World]:
    """Join the processes that torchrun started, and leave them in the end."""
    world = join_world(pick_device(device))
    try:
        yield world
    finally:
        # Whoever waits for a process that has left learns so at once.
        if world.size > 1:
            _patient_group.cache_clear()
            dist.destroy_process_group()
