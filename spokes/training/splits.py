"""What a spoke may see and what it is chosen on, cut before anything is trained."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from ...arrays import BoolArray
from ...errors import InvalidDataError

if TYPE_CHECKING:
    from ...catalog.sequences import Sequences, SequenceSource
    from ...evaluation.protocols import Protocol
    from ...workflows.datasets import Dataset
    from ..config import SpokeConfig
    from .validation import Validation

# What a training from a parent may be on.
ON = ("all", "new")
SPLITS = ("leave-one-out", "temporal", "all")
# A split in time is validated as it is tested: on the last days before its test that hold this share of the events,
# and where that asks too few users, on the last event of each.
WINDOW_SHARE = 1 / 8
WINDOW_USERS = 30
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class SplitParts:
    """What a spoke may see, and what it is chosen on.

    Attributes:
        train: events for choosing epochs and weights.
        refit: those and the validation events.
        validation: users that the choice is made on.
        as_tested: whether validation asks what the test does: the next event, or those of a window of time.
        until: microseconds UTC from where on nothing at all may be seen; None where the split is not one in time.
    """

    train: SequenceSource
    refit: SequenceSource
    validation: Validation
    as_tested: bool
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
    from ...evaluation.protocols import leave_one_out

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


@dataclass(frozen=True)
class Cut:
    """Where a split cuts events.

    Attributes:
        split: one of `SPLITS`.
        until: microseconds UTC; first moment of the test window of a split in time.
        since: microseconds UTC; first moment of its validation window, None where each user's last event is validated.
    """

    split: str
    until: int | None = None
    since: int | None = None

    @property
    def as_tested(self) -> bool:
        """Whether validation asks what the test does."""
        return self.split == "leave-one-out" or self.since is not None

    def masks(self, sequences: Sequences) -> SplitMasks:
        """Which events the split lets a spoke see."""
        from ...evaluation.protocols import Protocol, training_mask

        if self.split == "leave-one-out":
            train, refit = (training_mask(sequences, Protocol(refit=refitted)) for refitted in (False, True))
            return SplitMasks(train, refit)
        # Nothing but the window is kept for a test.
        every = np.ones(len(sequences.items), np.bool_)
        refit = every if self.until is None else sequences.timestamps < self.until
        if self.since is not None:
            return SplitMasks(sequences.timestamps < self.since, refit)
        train = refit.copy()
        train[refit] = training_mask(sequences.keep_events(refit), Protocol(refit=True))
        return SplitMasks(train, refit)

    def validation(self) -> Protocol:
        """What is asked for validation, of all events or, where the split is one in time, of those before the test."""
        from ...evaluation.protocols import Protocol

        if self.since is not None and self.until is not None:
            since, until = (EPOCH + timedelta(microseconds=moment) for moment in (self.since, self.until))
            return Protocol(name="temporal", part="validation", train_until=since, test_from=until)
        return Protocol(part="validation" if self.split == "leave-one-out" else "test")


def cut_of(events: SequenceSource, split: str, test_from: datetime | None) -> Cut:
    """Where a split cuts these events.

    The validation window of a split in time is as many of the last whole days before the test as hold an eighth of the
    events before it.
    """
    until = microseconds(test_from)
    if until is None:
        return Cut(split)
    since = _window_start(events, until)
    window = Cut(split, until, since)
    if since is None or _asked(events, window) < WINDOW_USERS:
        return Cut(split, until)
    return window


def _window_start(events: SequenceSource, until: int) -> int | None:
    """Microseconds of the first moment of the validation window; None where nothing lies before it."""
    from ...catalog.parsing import DAY_US

    ages: Counter[int] = Counter()
    for number in range(events.n_shards):
        times = events.shard(number).timestamps
        found = np.unique((until - 1 - times[times < until]) // DAY_US, return_counts=True)
        ages.update(dict(zip(*(own.tolist() for own in found), strict=True)))
    wanted, held = ages.total() * WINDOW_SHARE, 0
    for age in sorted(ages):
        held += ages[age]
        if held >= wanted:
            return until - (age + 1) * DAY_US if held < ages.total() else None
    return None


def _asked(events: SequenceSource, cut: Cut) -> int:
    from ...evaluation.protocols import asked_users

    protocol = cut.validation()
    return sum(len(asked_users(events.shard(number), protocol)[0]) for number in range(events.n_shards))


def split_dataset(dataset: Dataset, split: str, test_from: datetime | None, config: SpokeConfig) -> SplitParts:
    """Cut what a domain has, in memory or not, into what a spoke is trained on and what it is chosen on.

    Raises:
        InvalidDataError: nobody has enough events.
    """
    if dataset.stream is None:
        return split_parts(dataset.sequences, split, test_from, config)
    from ...workflows.large_tables import split_stream

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
    from ...evaluation.protocols import evaluation_set
    from .validation import validation

    cut = cut_of(sequences, split, test_from)
    masks = cut.masks(sequences)
    train, refit = sequences.keep_events(masks.train), sequences.keep_events(masks.refit)
    users = evaluation_set(sequences if cut.until is None else refit, cut.validation())
    if not len(users) or not (train.lengths >= 2).any():
        raise too_few(len(sequences.user_ids))
    users = users.without(leave_out) if leave_out else users
    # What may be seen decides the serving policy of the choice too, so that not even that depends on the test.
    checked = validation(users, refit, config.training.mixture_users, config.seed)
    return SplitParts(train, refit, checked, cut.as_tested, cut.until)


def too_few(users: int) -> InvalidDataError:
    """What is wrong where so many users have events and none of them enough."""
    return InvalidDataError(
        f"Of {users} users with events none has the three that training needs; "
        "wait for more events and serve the hub alone meanwhile."
    )


def microseconds(moment: datetime | None) -> int | None:
    """A moment as events tell it."""
    return None if moment is None else int(moment.timestamp() * 1_000_000)
