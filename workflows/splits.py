"""What a spoke may see and what it is chosen on, cut before anything is trained."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from ..errors import InvalidDataError
from .models import fingerprint

if TYPE_CHECKING:
    from ..catalog.sequences import Sequences
    from ..spokes.config import SpokeConfig
    from .datasets import Dataset
    from .measures import Validation

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

    train: Sequences
    refit: Sequences
    validation: Validation
    until: int | None = None


def held_out(dataset: Dataset) -> str:
    """SHA-256 over what leave-one-out tests: each user's last event and its place in the history.

    Another catalog or other session settings change which event is a user's last, and with it what a model may see.
    """
    from ..evaluation.protocols import leave_one_out

    ids = dataset.items["item_id"].to_list()
    users = leave_one_out(dataset.sequences, "test")
    asked = zip(users.users, users.histories, users.targets, strict=True)
    return fingerprint([[user, len(history), *(ids[row] for row in target)] for user, history, target in asked])


def split_parts(sequences: Sequences, split: str, test_from: datetime | None, config: SpokeConfig) -> SplitParts:
    """Cut sequences into what a spoke is trained on and what it is chosen on.

    Raises:
        InvalidDataError: nobody has enough events.
    """
    from ..evaluation.protocols import Protocol, leave_one_out, training_mask
    from .measures import validation

    until = int(test_from.timestamp() * 1_000_000) if test_from is not None else None
    if until is not None:
        sequences = sequences.keep_events(sequences.timestamps < until)
    if split == "leave-one-out":
        users = leave_one_out(sequences, "validation")
        train, refit = (
            sequences.keep_events(training_mask(sequences, Protocol(refit=refitted))) for refitted in (False, True)
        )
    else:
        # Nothing is kept for a test: the last event of each user is what the choice is made on.
        users = leave_one_out(sequences, "test")
        train, refit = sequences.keep_events(training_mask(sequences, Protocol(refit=True))), sequences
    if not len(users) or not (train.lengths >= 2).any():
        raise InvalidDataError(
            f"Of {len(sequences.user_ids)} users with events none has the three that training needs; "
            "wait for more events and serve the hub alone meanwhile."
        )
    # What may be seen decides the serving policy of the choice too, so that not even that depends on the test.
    return SplitParts(train, refit, validation(users, refit, config.training.validation_users, config.seed), until)
