from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hubspoke.catalog.parsing import DAY_US as DAY
from hubspoke.catalog.sequences import Sequences
from hubspoke.errors import UsageError
from hubspoke.evaluation.protocols import Protocol
from hubspoke.spokes.config import SpokeConfig
from hubspoke.spokes.training.splits import WINDOW_USERS, SplitSettings, split, split_masks, validation_protocol

START = datetime(2024, 1, 1, tzinfo=UTC)
TEST = START + timedelta(days=40)
IN_TIME = SplitSettings("temporal", TEST)
ZERO = int(START.timestamp()) * 1_000_000


def sequences(days, users=WINDOW_USERS):
    """Every user took an item at noon of each of the days, the days' numbers as items."""
    each, moments = np.tile(np.asarray(days, np.int64), users), np.tile(np.asarray(days) * DAY + DAY // 2 + ZERO, users)
    offsets, own = np.arange(users + 1) * len(days), np.arange(users)
    return Sequences(each, moments.astype(np.int64), offsets, own, tuple(f"u{user}" for user in own), 60)


def window(days, users=WINDOW_USERS, test=TEST):
    """Days of the validation window after the start, None where the last event of each user is asked for."""
    protocol = validation_protocol(sequences(days, users), SplitSettings("temporal", test))
    if protocol == Protocol(part="test"):
        return None
    assert (protocol.name, protocol.part, protocol.test_from) == ("temporal", "validation", test)
    return (protocol.train_until - START) / timedelta(days=1)


@pytest.mark.parametrize(
    ("days", "first"),
    [
        (range(50), 35),  # 40 days with an event each before the cut: the last five of them
        ([*range(20), 38, 39, 39, 39], 39),  # busy days make a short window
        *(([39], None), ([39, 39, 39], None), ([41, 42], None)),  # nothing lies before it
    ],
)
def test_a_window_of_an_eighth_of_the_events_before_the_test(days, first):
    assert window(days) == first


def test_days_are_whole_days_before_the_test_and_too_few_users_are_asked_for_their_last_event():
    # An event a day at noon, a test that begins at six in the morning: days last from six to six.
    assert window(range(50), test=TEST + timedelta(hours=6)) == 35.25
    assert window(range(50), users=WINDOW_USERS - 1) is None
    train, refit = split_masks(sequences(range(50), users=1), IN_TIME)
    assert train.tolist() == [day < 39 for day in range(50)]
    assert refit.tolist() == [day < 40 for day in range(50)]


def test_validation_asks_for_the_window_and_training_ends_before_it():
    parts = split(sequences(range(50)), IN_TIME, SpokeConfig())
    assert parts.as_tested and parts.settings.until == ZERO + 40 * DAY
    assert parts.train.newest == ZERO + 34 * DAY + DAY // 2
    assert parts.refit.newest == ZERO + 39 * DAY + DAY // 2
    users = parts.validation.users
    assert len(users) == WINDOW_USERS
    assert np.asarray(users.histories[0]).tolist() == list(range(35))
    assert users.targets[0].tolist() == [35, 36, 37, 38, 39]


@pytest.mark.parametrize(("name", "as_tested", "left"), [("leave-one-out", True, (48, 49)), ("all", False, (49, 50))])
def test_the_last_events_are_kept(name, as_tested, left):
    parts = split(sequences(range(50)), SplitSettings(name), SpokeConfig())
    assert (parts.as_tested, parts.settings.until) == (as_tested, None)
    assert tuple(part.lengths[0] for part in (parts.train, parts.refit)) == left
    assert parts.validation.users.targets[0].tolist() == [left[0]]


def test_some_users_are_not_chosen_on():
    events, config = sequences(range(5)), SpokeConfig.model_validate({"training": {"mixture_users": 4}})
    whole = split(events, SplitSettings(), config, leave_out={"u0", "u7"}).validation.users
    assert len(whole) == 4 and not {"u0", "u7"} & {*whole.users}
    assert whole.train_counts.sum() == 3 * WINDOW_USERS
    assert not len(split(events, SplitSettings(), config, leave_out=set(events.user_ids)).validation.users)


@pytest.mark.parametrize(
    ("name", "test_from", "told"),
    [
        ("random", None, "no split 'random'"),
        ("temporal", None, "--test-from"),
        ("all", TEST, "--test-from"),
        ("temporal", TEST.replace(tzinfo=None), "time zone"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(name, test_from, told):
    with pytest.raises(UsageError, match=told):
        SplitSettings(name, test_from)
