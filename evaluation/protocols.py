"""Who is tested on what: leave-one-out and temporal splits, and the training events that belong to them.

A test set and its training mask are cut by the same function, so a model that saw only the masked events has seen
neither validation nor test. `Protocol.describe()` is the one line that is printed with every number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal, Self

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from ..arrays import BoolArray, IntArray
from ..catalog.sequences import History, Sequences
from ..errors import UsageError

Part = Literal["test", "validation"]

# One event for the test, one for validation, at least one to start from.
MIN_EVENTS = 3
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Protocol(BaseModel):
    """How a number was measured: the one parameter of everything that measures."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Literal["leave-one-out", "temporal"] = "leave-one-out"  # the last event of each user, or one cut for all
    part: Part = "test"  # `validation` is for choosing a model, `test` for reporting
    exclude_seen: bool = False  # whether items of the user's history are taken out of the ranking
    refit: bool = False  # whether the model was trained again on everything but the test part after it was chosen
    ks: tuple[int, ...] = (10, 20, 100)
    # Temporal only. Training events lie before `train_until`, validation between it and `test_from`; where it is None
    # there is no validation part. Then, and with `refit`, training ends at `test_from`.
    train_until: AwareDatetime | None = None
    test_from: AwareDatetime | None = None
    test_until: AwareDatetime | None = None  # not included; None for open
    max_history: int = Field(default=50, ge=1)  # most recent events of a user that a recommender is shown
    cold_threshold: int = Field(default=5, ge=1)  # an item with fewer training events is cold

    @model_validator(mode="after")
    def _windows_fit(self) -> Self:
        windows = (self.train_until, self.test_from, self.test_until)
        if self.name == "leave-one-out" and any(windows):
            raise ValueError("leave-one-out takes no dates; use the temporal protocol for a cut in time.")
        if self.name == "temporal" and self.test_from is None:
            raise ValueError("the temporal protocol needs test_from; name the first moment of the test window.")
        if self.name == "temporal" and self.part == "validation" and self.train_until is None:
            raise ValueError("a temporal validation part needs train_until; name the moment where training ends.")
        if self.refit and self.part == "validation":
            raise ValueError("a refitted model has seen the validation part; measure it on test.")
        given = [moment for moment in windows if moment is not None]
        if given != sorted(given) or (self.test_until is not None and self.test_until == self.test_from):
            raise ValueError("train_until, test_from and test_until must follow each other; put the dates in order.")
        return self

    def describe(self) -> str:
        """One line for people, e.g. `leave-one-out test, full ranking, seen items ranked, history <= 50`."""
        words = [f"{self.name} {self.part}"]
        if self.name == "temporal":
            start, end = self.window()
            span = f"{_day(start)} to {_day(end)}" if end else f"from {_day(start)}"
            words += [f"window {span}", f"training before {_day(self.training_end())}"]
        words += ["full ranking", "seen items excluded" if self.exclude_seen else "seen items ranked"]
        words += [f"history <= {self.max_history}", f"cold < {self.cold_threshold} training events"]
        return ", ".join([*words, "refitted on all but test"] if self.refit else words)

    def training_end(self) -> datetime:
        """Temporal: the first moment whose events are kept from training."""
        assert self.test_from is not None  # which the validator holds a temporal protocol to
        return self.test_from if self.refit or self.train_until is None else self.train_until

    def window(self) -> tuple[datetime, datetime | None]:
        """Temporal: start and end (not included) of the events that are to be predicted."""
        start, end = (self.test_from, self.test_until) if self.part == "test" else (self.train_until, self.test_from)
        assert start is not None
        return start, end


@dataclass(frozen=True)
class EvaluationSet:
    """What a recommender is asked of each user, and what the right answers are."""

    histories: list[History]  # oldest event first, whole: the protocol's `max_history` is applied later
    targets: list[IntArray]  # item rows, at least one for each user, without repeats
    users: list[str]
    train_counts: IntArray  # (N,) events of each item in the training part
    n_left_out: int  # users that could not be tested: too few events, or nothing before the window
    protocol: Protocol

    def __len__(self) -> int:
        return len(self.users)

    @property
    def n_items(self) -> int:
        """Items in the catalog, N."""
        return len(self.train_counts)

    def drawn(self, at_most: int, seed: int) -> EvaluationSet:
        """At most so many users, in their order; the same for the same seed."""
        return self if len(self) <= at_most else self.only(drawn_rows(len(self), at_most, seed).tolist())

    def only(self, rows: Sequence[int]) -> EvaluationSet:
        """The same set with the users of these rows."""
        return replace(
            self,
            histories=[self.histories[row] for row in rows],
            targets=[self.targets[row] for row in rows],
            users=[self.users[row] for row in rows],
        )


def drawn_rows(total: int, at_most: int, seed: int) -> IntArray:
    """At most so many of `total` rows, in their order; the same for the same seed."""
    if total <= at_most:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, at_most, replace=False))


def leave_one_out(sequences: Sequences, part: Part = "test", settings: Protocol | None = None) -> EvaluationSet:
    """The last event of every user (`test`) or the last but one (`validation`), with everything before it as history.

    A user's last event is the last one over all of that user's sessions; `settings` give everything but the part.
    """
    # What most papers on sequences report (SASRec, BERT4Rec), so it is the default. It lets a model learn from events
    # that are later than another user's test (Meng et al., 2020); the temporal protocol does not.
    settings = settings or Protocol()
    if settings.name != "leave-one-out":
        raise UsageError(f"Leave-one-out was asked for with {settings.name} settings; pass settings of one kind.")
    # A refit comes after the choice on validation, so the validation part is always measured before it.
    refit = settings.refit and part == "test"
    return evaluation_set(sequences, settings.model_copy(update={"part": part, "refit": refit}))


def evaluation_set(sequences: Sequences, protocol: Protocol) -> EvaluationSet:
    """Cut the part that `protocol` names; `sequences` may be by user or by session."""
    order = _by_user_and_time(sequences)
    asked, answers = _roles(sequences, protocol)
    whom, n_left_out = asked_users(sequences, protocol)
    users = _event_users(sequences)[order]
    items, asked, answers = sequences.items[order], asked[order], answers[order]
    testable = np.zeros(len(sequences.user_ids), np.bool_)
    testable[whom] = True
    histories: list[History] = []
    targets, kept = [], []
    for start, end in pairwise([*np.flatnonzero(np.diff(users, prepend=-1)).tolist(), len(users)]):
        if testable[users[start]]:
            span = slice(start, end)
            histories.append(sequences.events_at(order[span][asked[span]]))
            wanted = items[span][answers[span]]
            # An item bought twice in a window is one target; the first time gives its place.
            targets.append(wanted[np.sort(np.unique(wanted, return_index=True)[1])])
            kept.append(sequences.user_ids[users[start]])
    return EvaluationSet(
        histories=histories,
        targets=targets,
        users=kept,
        train_counts=sequences.keep_events(training_mask(sequences, protocol)).item_counts(),
        n_left_out=n_left_out,
        protocol=protocol,
    )


def asked_users(sequences: Sequences, protocol: Protocol) -> tuple[IntArray, int]:
    """The users that a protocol's part is asked of, and how many others it leaves out.

    A user needs events to start from and events to be asked for. One who did nothing inside a window of time poses no
    question and is not left out; under leave-one-out every user should pose one.
    """
    asked, answers = _roles(sequences, protocol)
    users = _event_users(sequences)
    testable = np.flatnonzero((np.bincount(users, weights=asked) > 0) & (np.bincount(users, weights=answers) > 0))
    candidates = np.unique(users[answers] if protocol.name == "temporal" else users)
    return testable, len(candidates) - len(testable)


def training_mask(sequences: Sequences, protocol: Protocol) -> BoolArray:
    """(E,) events that a model may be trained on before it is measured under `protocol`.

    Neither the validation nor the test part is in it; with `protocol.refit` validation is, test is not. Under
    leave-one-out, users with too few events to be tested train with all they have.
    """
    if protocol.name == "temporal":
        return sequences.timestamps < microseconds(protocol.training_end())
    after, enough = _events_after(sequences)
    return (after >= (1 if protocol.refit else 2)) | ~enough


def _roles(sequences: Sequences, protocol: Protocol) -> tuple[BoolArray, BoolArray]:
    """(E,) events that make the histories and (E,) events that make the targets."""
    if protocol.name == "temporal":
        start, end = protocol.window()
        before = sequences.timestamps < microseconds(start)
        inside = ~before if end is None else ~before & (sequences.timestamps < microseconds(end))
        return before, inside
    place = 0 if protocol.part == "test" else 1
    after, enough = _events_after(sequences)
    return (after > place) & enough, (after == place) & enough


def _event_users(sequences: Sequences) -> IntArray:
    return np.repeat(sequences.users, sequences.lengths)


def _by_user_and_time(sequences: Sequences) -> IntArray:
    """(E,) stable order by user and time: ties keep their place, so order-only data stays as it is."""
    return np.lexsort((sequences.timestamps, _event_users(sequences))).astype(np.int64)


def _events_after(sequences: Sequences) -> tuple[IntArray, BoolArray]:
    """(E,) later events of the same user, over all sequences, and (E,) whether that user has `MIN_EVENTS`."""
    order, own = _by_user_and_time(sequences), _event_users(sequences)
    users = own[order]
    after = np.empty(len(order), dtype=np.int64)
    after[order] = np.searchsorted(users, users, side="right") - 1 - np.arange(len(order))
    return after, (np.bincount(own) >= MIN_EVENTS)[own]


def microseconds(moment: datetime) -> int:
    """Since 1970, as events count them."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def _day(moment: datetime) -> str:
    moment = moment.astimezone(UTC)
    midnight = (moment.hour, moment.minute, moment.second) == (0, 0, 0)
    return moment.strftime("%Y-%m-%d" if midnight else "%Y-%m-%d %H:%M")
