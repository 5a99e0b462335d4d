"""The split: what a spoke is trained on, what it is chosen on, and by exclusion what is kept for its test.

All is decided user by user, and no user is in two shards: a stream is split as the same table in memory.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from ...arrays import BoolArray, IntArray
from ...catalog.parsing import DAY_US
from ...catalog.sequences import Sequences
from ...catalog.streams import SequenceSource, SequenceStream, ahead
from ...errors import InvalidDataError, UsageError
from ...evaluation.protocols import (
    EPOCH,
    EvaluationSet,
    Protocol,
    asked_users,
    drawn_rows,
    evaluation_set,
    leave_one_out,
    microseconds,
    training_mask,
)
from ..config import SpokeConfig
from .validation import MAX_MIXTURE_SCORES, REPEAT_SHARE, Validation, distinct_events, user_limit

SPLITS = ("leave-one-out", "temporal", "all")
# A split in time is validated as it is tested: on the last days before its test that hold this share of the events,
# and where that asks too few users, on the last event of each.
WINDOW_SHARE = 1 / 8
WINDOW_USERS = 30


@dataclass(frozen=True)
class SplitSettings:
    """What is kept from a training."""

    # `leave-one-out`: each user's last event is the test; `temporal`: everything from `test_from` on is; `all`: nothing
    # is, for serving and not for measuring.
    name: str = "leave-one-out"
    test_from: datetime | None = None  # first moment of the test window of a temporal split

    def __post_init__(self) -> None:
        if self.name not in SPLITS:
            raise UsageError(f"There is no split {self.name!r}; choose one of {', '.join(SPLITS)}.")
        if (self.name == "temporal") != (self.test_from is not None):
            raise UsageError("The temporal split and --test-from go together; give both or neither.")
        if self.test_from is not None and self.test_from.tzinfo is None:
            raise UsageError(
                f"The start of the test window ({self.test_from}) names no time zone; give one, such as UTC."
            )

    @property
    def until(self) -> int | None:
        """Microseconds UTC from where on nothing at all may be seen; None where the split is not one in time."""
        return None if self.test_from is None else microseconds(self.test_from)


@dataclass(frozen=True)
class Split:
    """The parts of a split."""

    settings: SplitSettings
    train: SequenceSource  # for choosing epochs and weights
    refit: SequenceSource  # those and the validation's; all others are the test's
    validation: Validation  # users that the choice is made on

    @property
    def as_tested(self) -> bool:
        """Whether validation asks what the test does: the next event, or those of a window of time."""
        return self.validation.users.protocol.part == "validation"

    def checkpoint_users(self, config: SpokeConfig) -> Validation:
        """Those of the validation that checkpoints are compared on; the mixture is chosen on all."""
        return self.validation.sample(config.training.validation_users, config.seed)


def split(
    source: SequenceSource, settings: SplitSettings, config: SpokeConfig, leave_out: Collection[str] = ()
) -> Split:
    """Split all events of a domain; nothing is chosen on the users that are left out, should it be all of them."""
    protocol = validation_protocol(source, settings)

    def parts(events: Sequences) -> tuple[Sequences, Sequences]:
        train, refit = split_masks(events, settings, protocol)
        return events.keep_events(train), events.keep_events(refit)

    train: SequenceSource
    refit: SequenceSource
    if isinstance(source, SequenceStream):
        train, refit = source.filter(lambda shard: parts(shard)[0]), source.filter(lambda shard: parts(shard)[1])
    else:
        train, refit = parts(source.shard(0))
    found = _Survey(np.zeros(source.n_items, np.int64))
    for shard in _shards(source):
        seen = parts(shard)[1]
        found.add(shard, seen, shard if settings.until is None else seen, protocol, leave_out)
    if not found.askable or not (train.length_counts()[0] >= 2).any():
        raise InvalidDataError(
            f"Of {found.known} users with sessions none has the three events that training needs; wait for more events "
            "and serve the hub alone meanwhile, or ingest with --sessions per_user, which keeps short sessions."
        )
    users = _draw(source if settings.until is None else refit, found, protocol, config)
    # What may be seen decides the serving policy of the choice too, so that not even that depends on the test.
    filter_seen = 1.0 - found.distinct / found.events < REPEAT_SHARE if found.events else True
    return Split(settings, train, refit, Validation(users, filter_seen))


def split_masks(
    sequences: Sequences, settings: SplitSettings, protocol: Protocol | None = None
) -> tuple[BoolArray, BoolArray]:
    """(E,) events that are trained on before the choice, and (E,) those and the validation's.

    `protocol` is that of the validation; by default the one that these sequences ask for.
    """
    protocol = protocol or validation_protocol(sequences, settings)
    if protocol.part == "validation":
        tested = protocol.model_copy(update={"part": "test", "refit": True})
        return training_mask(sequences, protocol), training_mask(sequences, tested)
    refit = np.ones(len(sequences.items), np.bool_)
    if settings.until is not None:
        refit = sequences.timestamps < settings.until
    train = refit.copy()
    # The last event of each user that may be seen stands in for the test, and everything before it trains.
    train[refit] = training_mask(sequences.keep_events(refit), Protocol(refit=True))
    return train, refit


def validation_protocol(source: SequenceSource, settings: SplitSettings) -> Protocol:
    """What is asked for validation: of part `validation` where that is what the test asks, else the last event."""
    if settings.name == "leave-one-out":
        return Protocol(part="validation")
    since = None if settings.until is None else window_start(source, settings.until)
    if since is not None:
        start = EPOCH + timedelta(microseconds=since)
        window = Protocol(name="temporal", part="validation", train_until=start, test_from=settings.test_from)
        if sum(len(asked_users(shard, window)[0]) for shard in _shards(source)) >= WINDOW_USERS:
            return window
    return Protocol(part="test")


def window_start(source: SequenceSource, until: int) -> int | None:
    """Microseconds of the first of the last whole days that hold an eighth of the events; None if that is all days."""
    ages: Counter[int] = Counter()
    for shard in _shards(source):
        times = shard.timestamps
        found = np.unique((until - 1 - times[times < until]) // DAY_US, return_counts=True)
        ages.update(dict(zip(*(own.tolist() for own in found), strict=True)))
    wanted, held = ages.total() * WINDOW_SHARE, 0
    for age in sorted(ages):
        held += ages[age]
        if held >= wanted:
            return until - (age + 1) * DAY_US if held < ages.total() else None
    return None


def _shards(source: SequenceSource) -> Iterator[Sequences]:
    return ahead(source.shard, range(source.n_shards))


@dataclass
class _Survey:
    """What one pass over all shards finds."""

    train_counts: IntArray  # (N,) events of each item in the training part of the validation's protocol
    choosable: list[IntArray] = field(default_factory=list)  # of each shard, the users that may be chosen on
    askable: int = 0  # users who can be asked, whether or not they may be chosen on
    n_left_out: int = 0  # users who should be asked and cannot be
    known: int = 0  # users that the domain has
    events: int = 0  # that may be seen before the test
    distinct: int = 0  # those of them that are a user's first on their item

    def add(
        self, shard: Sequences, seen: Sequences, asked: Sequences, protocol: Protocol, leave_out: Collection[str]
    ) -> None:
        """Count a shard: what may be seen of it before the test, and what the validation is asked of."""
        users, left_out = asked_users(asked, protocol)
        self.choosable.append(users[np.array([shard.user_ids[user] not in leave_out for user in users], np.bool_)])
        self.askable += len(users)
        self.n_left_out += left_out
        self.known += len(shard.user_ids)
        self.train_counts += asked.keep_events(training_mask(asked, protocol)).item_counts()
        self.events += seen.n_events
        self.distinct += distinct_events(seen)


def _draw(asked: SequenceSource, survey: _Survey, protocol: Protocol, config: SpokeConfig) -> EvaluationSet:
    """At most as many users as the config and the catalog's size allow; the same for the same seed."""
    limit = user_limit(config.training.mixture_users, asked.n_items, MAX_MIXTURE_SCORES)
    rows = drawn_rows(sum(map(len, survey.choosable)), limit, config.seed)
    found, start = [], 0
    for number, users in enumerate(survey.choosable):
        chosen = users[rows[(rows >= start) & (rows < start + len(users))] - start]
        start += len(users)
        if len(chosen):  # shards without any are not read again
            shard = asked.shard(number)
            mine = np.isin(np.repeat(shard.users, shard.lengths), chosen)
            found.append(evaluation_set(shard.keep_events(mine), protocol))
    return EvaluationSet(
        histories=[history for own in found for history in own.histories],
        targets=[target for own in found for target in own.targets],
        users=[user for own in found for user in own.users],
        train_counts=survey.train_counts,
        n_left_out=survey.n_left_out,
        protocol=protocol,
    )


def held_out_fingerprint(source: SequenceSource, item_ids: Sequence[str]) -> str:
    """SHA-256 over what leave-one-out tests: each user's last event and its place in the history.

    Another catalog or other session settings change which event is a user's last, and with it what a model may see.
    """
    digest, before = hashlib.sha256(), "["
    for shard in _shards(source):
        users = leave_one_out(shard, "test")
        for user, history, target in zip(users.users, users.histories, users.targets, strict=True):
            # Piece by piece what a fingerprint of a list of them all would be made of, which may be long.
            asked = [user, len(history), *(item_ids[row] for row in target)]
            digest.update(f"{before}{json.dumps(asked)}".encode())
            before = ", "
    digest.update(b"[]" if before == "[" else b"]")
    return digest.hexdigest()
