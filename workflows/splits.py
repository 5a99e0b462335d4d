"""What a spoke may see and what it is chosen on, cut before anything is trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..errors import InvalidDataError

if TYPE_CHECKING:
    from ..catalog.sequences import Sequences, SequenceSource
    from ..spokes.config import SpokeConfig
    from .datasets import Dataset
    from .measures import Validation

BoolArray = npt.NDArray[np.bool_]
# What a training from a parent may be on.
ON = ("all", "new")
SPLITS = ("leave-one-out", "temporal", "all")


@dataclass(frozen=True)
class SplitParts:
    """What a spoke may see, and what it is chosen on.

    Attributes:
        train: events for choosing epochs and weights.
        refit: those and the validation events.
        validation: users that the choice is made on.
        until: microseconds UTC from where on nothing at all may be seen; None where the split is not one in time.
    """

    train: SequenceSource
    refit: SequenceSource
    validation: Validation
    until: int | None = None

    def checkpoint_users(self, config: SpokeConfig) -> Validation:
        """Those of the validation that checkpoints are compared on; the mixture is chosen on all."""
        return self.validation.sample(config.training.validation_users, config.seed)


@dataclass(frozen=True)
class SplitMasks:
    """The events of a split, as masks over all of them.

    Attributes:
        train: (E,) events for choosing epochs and weights.
        refit: (E,) those and the validation events; all others are the test's.
    """

    train: BoolArray
    refit: BoolArray


def held_out(dataset: Dataset) -> str:
    """SHA-256 over what leave-one-out tests: each user's last event and its place in the history.

    Another catalog or other session settings change which event is a user's last, and with it what a model may see.
    """
    from ..evaluation.protocols import leave_one_out

    ids, source = dataset.items["item_id"].to_list(), dataset.source
    digest, before = hashlib.sha256(), "["
    for number in range(source.n_shards):
        users = leave_one_out(source.shard(number), "test")
        for user, history, target in zip(users.users, users.histories, users.targets, strict=True):
            # Piece by piece what `fingerprint` would make of a list of them all, which may be long.
            digest.update(f"{before}{json.dumps([user, len(history), *(ids[row] for row in target)])}".encode())
            before = ", "
    digest.update(b"[]" if before == "[" else b"]")
    return digest.hexdigest()


def split_masks(sequences: Sequences, split: str, until: int | None = None) -> SplitMasks:
    """Which events a split lets a spoke see.

    Args:
        sequences: all that there are.
        split: one of `SPLITS`.
        until: microseconds UTC; first moment of the test window of a split in time.
    """
    from ..evaluation.protocols import Protocol, training_mask

    if split == "leave-one-out":
        train, refit = (training_mask(sequences, Protocol(refit=refitted)) for refitted in (False, True))
        return SplitMasks(train, refit)
    # Nothing but the window is kept for a test: the last event of each user is what the choice is made on.
    refit = sequences.timestamps < until if until is not None else np.ones(len(sequences.items), np.bool_)
    train = refit.copy()
    train[refit] = training_mask(sequences.keep_events(refit), Protocol(refit=True))
    return SplitMasks(train, refit)


def split_dataset(dataset: Dataset, split: str, test_from: datetime | None, config: SpokeConfig) -> SplitParts:
    """Cut what a domain has, in memory or not, into what a spoke is trained on and what it is chosen on.

    Raises:
        InvalidDataError: nobody has enough events.
    """
    if dataset.stream is None:
        return split_parts(dataset.sequences, split, test_from, config)
    from .large_tables import split_stream

    return split_stream(dataset.stream, split, test_from, config)


def split_parts(
    sequences: Sequences,
    split: str,
    test_from: datetime | None,
    config: SpokeConfig,
    leave_out: Collection[str] = (),
) -> SplitParts:
    """Cut sequences into what a spoke is trained on and what it is chosen on.

    Args:
        sequences: all that there are.
        split: one of `SPLITS`.
        test_from: first moment of the test window of a split in time.
        config: of the spoke.
        leave_out: users that nothing is chosen on; where that is all of them, the validation is empty.

    Raises:
        InvalidDataError: nobody has enough events.
    """
    from ..evaluation.protocols import leave_one_out
    from .measures import validation

    until = microseconds(test_from)
    masks = split_masks(sequences, split, until)
    if until is not None:
        users = leave_one_out(sequences.keep_events(masks.refit), "test")
    else:
        users = leave_one_out(sequences, "validation" if split == "leave-one-out" else "test")
    train, refit = sequences.keep_events(masks.train), sequences.keep_events(masks.refit)
    if not len(users) or not (train.lengths >= 2).any():
        raise too_few(len(sequences.user_ids))
    users = users.without(leave_out) if leave_out else users
    # What may be seen decides the serving policy of the choice too, so that not even that depends on the test.
    return SplitParts(train, refit, validation(users, refit, config.training.mixture_users, config.seed), until)


def too_few(users: int) -> InvalidDataError:
    """What is wrong where so many users have events and none of them enough."""
    return InvalidDataError(
        f"Of {users} users with events none has the three that training needs; "
        "wait for more events and serve the hub alone meanwhile."
    )


def microseconds(moment: datetime | None) -> int | None:
    """A moment as events tell it."""
    return None if moment is None else int(moment.timestamp() * 1_000_000)
