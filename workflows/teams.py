"""Trainings by several processes that torchrun started: the first decides, stores and tells, the others train along.

Promise: whoever follows writes nothing to the registry or the artifact store, ends well with the leader, and ends with
an error when the leader does.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..errors import HubspokeError
from .progress import SilentProgress

if TYPE_CHECKING:
    from ..spokes.parallel import Orders
    from .models import ModelResult
    from .workspace import Workspace

FOLLOWED = "followed"


class LeaderLostError(HubspokeError):
    """The training ended before its end; the first process of the team has told why, or is gone."""


class Leader:
    """The first process of a team.

    Attributes:
        size: processes in all.
    """

    def __init__(self, orders: Orders, size: int) -> None:
        self._orders = orders
        self.size = size

    def tell(self, order: Mapping[str, Any]) -> None:
        """Tell the others what is done next."""
        self._orders.give(order)


def team_size() -> int:
    """Processes that torchrun started, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def following() -> bool:
    """Whether this process is one of a team and not its first."""
    return team_size() > 1 and int(os.environ.get("RANK", "0")) > 0


@contextmanager
def leading(ws: Workspace) -> Iterator[Leader | None]:
    """Lead the processes that torchrun started; None where this one is alone."""
    if team_size() == 1:
        yield None
        return
    from ..hub.devices import pick_device
    from ..spokes.parallel import TeamLostError, assembled

    with assembled(pick_device(ws.settings.device)) as orders:
        try:
            yield Leader(orders, team_size())
        except TeamLostError:
            raise
        except BaseException:
            orders.give({"do": "fail"})
            orders.part()
            raise
        orders.give({"do": "end"})
        orders.part()


def follow(ws: Workspace) -> ModelResult:
    """Train along as the first process of the team says; the result names no version.

    Raises:
        LeaderLostError: the first process failed.
    """
    from ..hub.devices import pick_device
    from ..spokes.parallel import TeamLostError, assembled
    from .models import ModelResult

    ws.progress = SilentProgress()
    lost = LeaderLostError("The first process of the team failed; see what it told, and repeat the command.")
    try:
        with assembled(pick_device(ws.settings.device)) as orders:
            _obey(ws, orders, lost)
    except TeamLostError as error:
        raise lost from error
    return ModelResult(None, None, False, FOLLOWED, 0.0, {})


def _obey(ws: Workspace, orders: Orders, lost: LeaderLostError) -> None:
    from .spoke_training import SpokeBuilder, SpokeJob, SpokePlan

    builder: SpokeBuilder | None = None
    while (order := orders.take())["do"] != "end":
        if order["do"] == "choose":
            builder = SpokeBuilder(ws, SpokePlan(ws, SpokeJob(**order["job"])))
            builder.join_choice()
        elif order["do"] == "refit" and builder:
            builder.refit(order["epochs"])
        else:
            orders.part()
            raise lost
    orders.part()
