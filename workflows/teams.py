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
from ..progress import Progress

if TYPE_CHECKING:
    from ..spokes.training.distributed import Orders
    from .context import Context
    from .models import ModelResult

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
def leading(context: Context) -> Iterator[Leader | None]:
    """Lead the processes that torchrun started; None where this one is alone."""
    if team_size() == 1:
        yield None
        return
    from ..hub.devices import pick_device
    from ..spokes.training.distributed import TeamLostError, assembled

    with assembled(pick_device(context.settings.device)) as orders:
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


def follow(context: Context) -> ModelResult:
    """Train along as the first process of the team says; the result names no version.

    Raises:
        LeaderLostError: the first process failed.
    """
    from ..hub.devices import pick_device
    from ..spokes.training.distributed import TeamLostError, assembled
    from .models import ModelResult

    context.progress = Progress()
    lost = LeaderLostError("The first process of the team failed; see what it told, and repeat the command.")
    try:
        with assembled(pick_device(context.settings.device)) as orders:
            _obey(context, orders, lost)
    except TeamLostError as error:
        raise lost from error
    return ModelResult(None, None, False, FOLLOWED, 0.0, {})


def _obey(context: Context, orders: Orders, lost: LeaderLostError) -> None:
    from .spoke_training import SpokeBuilder, SpokeJob, SpokePlan

    builder: SpokeBuilder | None = None
    while (order := orders.take())["do"] != "end":
        if order["do"] == "choose":
            builder = SpokeBuilder(context, SpokePlan(context, SpokeJob(**order["job"])))
            builder.join_choice()
        elif order["do"] == "refit" and builder:
            builder.refit(order["epochs"])
        else:
            orders.part()
            raise lost
    orders.part()
