"""One training on several processes (torchrun): each takes a share of every batch, gradients are summed.

Promise: as long as no dropout is drawn, the result is that of one process on the same config; the config's batch is the
batch of all processes together, so `tokens_per_batch` is what to raise with their number.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from ...errors import HubspokeError
from .batches import Batch

# How long a process waits for the others at a step that all take together.
PATIENCE = timedelta(minutes=30)
# Seconds between two looks for an order.
PAUSE = 0.05
# How long the first process waits in the end for the others to have heard that it is the end.
GRACE = timedelta(seconds=5)


class TeamLostError(HubspokeError):
    """Another process of the team is gone, or does not come along."""


@contextmanager
def _together() -> Iterator[None]:
    """A step that all processes take; whatever goes wrong in it is that not all took it."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).partition("]")[2].partition(". ")[0].strip() or type(error).__name__
        raise TeamLostError(
            f"Another process of the team is gone or stuck ({reason}); see what it told, and repeat the command."
        ) from error


@dataclass(frozen=True)
class Team:
    """The processes of a training.

    Attributes:
        rank: of this one; rank 0 validates and stores.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def alone(self) -> bool:
        """Whether this process is all there is."""
        return self.size == 1

    @property
    def leads(self) -> bool:
        """Whether this process validates, stores and reports."""
        return self.rank == 0

    def windows(self, batch: Batch) -> npt.NDArray[np.bool_]:
        """(B,) true on the windows of a batch that are this process's."""
        ours: npt.NDArray[np.bool_] = np.arange(len(batch.inputs)) % self.size == self.rank
        return ours

    def share(self, batch: Batch) -> Batch:
        """The windows of a batch that are this process's."""
        if self.alone:
            return batch
        own = self.windows(batch)
        whole: dict[str, Any] = {field.name: getattr(batch, field.name) for field in fields(batch)}
        parts: dict[str, Any] = {name: None if part is None else part[own] for name, part in whole.items()}
        return replace(batch, **parts)

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

    def align(self, model: nn.Module) -> None:
        """Give every process the weights of rank 0."""
        if not self.alone:
            with _together():
                for tensor in model.state_dict().values():
                    dist.broadcast(tensor, src=0)

    def told(self, value: float, device: torch.device) -> float:
        """What rank 0 says this number is."""
        if self.alone:
            return value
        tensor = torch.tensor([value], dtype=torch.float64, device=device)
        with _together():
            dist.broadcast(tensor, src=0)
        return float(tensor)

    def agrees(self, value: float, device: torch.device) -> bool:
        """Whether this number is the same in every process."""
        parts = self.gather(torch.tensor([value], dtype=torch.float64), device)
        return all(float(part) == value for part in parts)

    def gather(self, tensor: Tensor, device: torch.device) -> list[Tensor]:
        """A tensor (of one shape everywhere) of every process, by rank."""
        if self.alone:
            return [tensor]
        parts = [torch.empty_like(tensor, device=device) for _ in range(self.size)]
        with _together():
            dist.all_gather(parts, tensor.to(device))
        return [part.to(tensor.device) for part in parts]


def join_team(device: torch.device) -> Team:
    """The processes that torchrun started, or this one alone.

    Joins the group that its environment variables name unless the process has joined one already.
    """
    if not dist.is_available():
        return Team()
    if not dist.is_initialized():
        if int(os.environ.get("WORLD_SIZE", "1")) < 2:
            return Team()
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Team(dist.get_rank(), dist.get_world_size())


class Orders:
    """What the first process tells the others between their common steps: JSON, one after the other.

    They lie in the store through which the processes found each other, which waits as long as it takes: the first one
    may spend hours on what it does alone.
    """

    def __init__(self, store: Store, rank: int, size: int) -> None:
        self._store = store
        self._rank = rank
        self._size = size
        self._number = 0

    def give(self, order: Mapping[str, Any]) -> None:
        """Tell the next order."""
        # Whoever should have heard it may be gone with the store.
        with suppress(RuntimeError):
            self._store.set(f"order/{self._number}", json.dumps(order))
        self._number += 1

    def take(self) -> dict[str, Any]:
        """Wait for the next order.

        Raises:
            TeamLostError: the store is gone, and the first process with it.
        """
        key = f"order/{self._number}"
        self._number += 1
        try:
            while not self._store.check([key]):
                time.sleep(PAUSE)
            order: dict[str, Any] = json.loads(self._store.get(key))
        except RuntimeError as error:
            raise TeamLostError("The first process of the team is gone; see what it told.") from error
        return order

    def part(self) -> None:
        """Tell that the last order was heard; the first process waits a little for all to have told so.

        It may hold the store, which would otherwise go with it before the others have looked.
        """
        with suppress(RuntimeError):
            if self._rank:
                self._store.set(f"heard/{self._rank}", "")
            else:
                self._store.wait([f"heard/{rank}" for rank in range(1, self._size)], GRACE)


@contextmanager
def assembled(device: torch.device) -> Iterator[Orders]:
    """Meet the processes that torchrun started, and part from them in the end.

    No step that all take together waits longer than `PATIENCE` for one that is gone or stuck.

    Raises:
        TeamLostError: another process did not come, or went while they took a step together.
    """
    with _together():
        store, rank, size = next(iter(rendezvous("env://", timeout=PATIENCE)))
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        group = PrefixStore("team", store)
        dist.init_process_group(backend, store=group, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        yield Orders(PrefixStore("orders", store), rank, size)
    finally:
        dist.destroy_process_group()
