from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hubspoke.catalog.parsing import DAY_US as DAY
from hubspoke.catalog.sequences import Sequences
from hubspoke.evaluation.protocols import Protocol
from hubspoke.spokes.config import SpokeConfig
from hubspoke.spokes.training.splits import WINDOW_USERS, Cut, cut_of, split_parts

START = datetime(2024, 1, 1, tzinfo=UTC)
TEST = START + timedelta(days=40)
ZERO = int(START.timestamp()) * 1_000_000


def sequences(days, users=WINDOW_USERS):
    """Every user took an item at noon of each of the days, the days' numbers as items."""
    moments = np.tile((np.asarray(days) * DAY + DAY // 2 + ZERO).astype(np.int64), users)
    each = len(days)
    return Sequences(
        np.tile(np.asarray(days, np.int64), users),
        moments,
        np.arange(users + 1) * each,
        np.arange(users),
        tuple(f"u{user}" for user in range(users)),
        60,
    )


def test_a_window_of_an_eighth_of_the_events_before_the_test():
    # 40 days with an event each before the cut: the last five of them.
    cut = cut_of(sequences(range(50)), "temporal", TEST)
    assert cut == Cut("temporal", ZERO + 40 * DAY, ZERO + 35 * DAY)
    assert cut.as_tested
    masks = cut.masks(sequences(range(50), users=1))
    assert masks.train.tolist() == [day < 35 for day in range(50)]
    assert masks.refit.tolist() == [day < 40 for day in range(50)]
    asked = cut.validation()
    assert (asked.name, asked.part) == ("temporal", "validation")
    assert (asked.train_until, asked.test_from) == (START + timedelta(days=35), TEST)


def test_days_are_whole_days_before_the_test():
    # An event a day at noon, a test that begins at six in the morning: days last from six to six.
    cut = cut_of(sequences(range(50)), "temporal", TEST + timedelta(hours=6))
    assert cut.since == ZERO + 35 * DAY + DAY // 4


def test_busy_days_make_a_short_window():
    assert cut_of(sequences([*range(20), 38, 39, 39, 39]), "temporal", TEST).since == ZERO + 39 * DAY


@pytest.mark.parametrize("days", [[39], [39, 39, 39], [41, 42]])
def test_without_events_before_it_there_is_no_window(days):
    cut = cut_of(sequences(days), "temporal", TEST)
    assert cut.since is None and not cut.as_tested


def test_too_few_users_are_asked_for_their_last_event():
    events = sequences(range(50), users=WINDOW_USERS - 1)
    cut = cut_of(events, "temporal", TEST)
    assert cut.since is None and not cut.as_tested
    assert cut.validation() == Protocol(part="test")
    assert cut.masks(sequences(range(50), users=1)).train.tolist() == [day < 39 for day in range(50)]


def test_validation_asks_for_the_window_and_training_ends_before_it():
    parts = split_parts(sequences(range(50)), "temporal", TEST, SpokeConfig())
    assert parts.as_tested and parts.until == ZERO + 40 * DAY
    assert parts.train.newest == ZERO + 34 * DAY + DAY // 2
    assert parts.refit.newest == ZERO + 39 * DAY + DAY // 2
    users = parts.validation.users
    assert len(users) == WINDOW_USERS
    assert users.histories[0].items.tolist() == list(range(35)) and users.targets[0].tolist() == [35, 36, 37, 38, 39]


@pytest.mark.parametrize(("split", "as_tested"), [("leave-one-out", True), ("all", False)])
def test_other_splits_have_no_window(split, as_tested):
    cut = cut_of(sequences(range(50)), split, None)
    assert cut == Cut(split) and cut.as_tested == as_tested
