from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hubspoke.spokes import selection
from hubspoke.spokes.mixture import FloorSettings
from hubspoke.spokes.selection import PartScores, Trial, choose_floor, choose_held_back, choose_weights, probe
from hypothesis import given
from hypothesis import strategies as st

USERS, ITEMS = 8, 6
TARGETS = np.arange(USERS) % ITEMS
SETTINGS = FloorSettings(image_share=0.4, recency_decay=0.7, recent_events=5)
NO_COLD = np.zeros(ITEMS, bool)
parts = PartScores
HALF = np.arange(USERS) < 4
BEST = [1.0] * 4


def reciprocal_rank(scores, targets=TARGETS):
    own = scores[np.arange(len(scores)), targets[: len(scores)]][:, None]
    return (1 / (1 + (scores > own).sum(axis=1) + ((scores == own).sum(axis=1) - 1) / 2)).astype(np.float32)


def right(margin=1.0):
    """Scores that put every user's target first, by `margin`."""
    return (np.eye(ITEMS)[TARGETS] * margin).astype(np.float32)


def trial(scores, measure=reciprocal_rank):
    return Trial(lambda: [(scores, measure)], scores.text is not None, scores.image is not None)


def looked_up(table, read):
    """A measure that looks up what it was asked: qualities of the users by the value that `read` finds in scores."""
    return lambda scores: np.array(table[round(float(read(scores)), 3)], np.float32)


HALVES = [np.where(mask[:, None], right(3), 0).astype(np.float32) for mask in (HALF, ~HALF)]


@pytest.mark.parametrize(
    ("scores", "behaviour", "content"),
    [
        (parts(-right(100), right()), 0.0, 1.0),  # useless behaviour gives the floor
        (parts(right(), right()), 0.0, 1.0),  # and so does a tie
        (parts(right(), -right(4)), 1.0, 0.0),  # the smallest weight that is tried, 0.5, already turns the order around
        # Behaviour leads by 10, content takes 1.9 per unit of weight back: 5 is harmless, 6 is not.
        (parts(right(10), -right(1.9)), 1.0, 5.0),
        (parts(*HALVES), 1.0, max(selection.CONTENT_WEIGHTS)),  # each ranks the targets of half the users
        # Without content and cold items neither weight was measured, and new items must not be lifted by it.
        (parts(right()), 1.0, 0.0),
        (parts(np.zeros((USERS, ITEMS), np.float32)), 1.0, 0.0),  # behaviour serves however poor it is
    ],
)
def test_behaviour_and_content_weigh_what_they_are_good_for(scores, behaviour, content):
    assert choose_weights(trial(scores), SETTINGS, NO_COLD) == SETTINGS.weights(behaviour, content)


@pytest.mark.parametrize(
    ("table", "weight"),
    [
        # 2 is best. 5 loses 0.01 on average with an error of 0.01; 8 loses 0.01 from everybody, which is no chance.
        ({2.0: BEST, 5.0: [0.96, 1.0, 1.0, 1.0], 8.0: [0.99] * 4}, 5.0),
        ({2.0: BEST, 8.0: [0.96, 0.96, 1.0, 1.0]}, 2.0),  # 8 loses 0.02 with an error of 0.0115
        # However large the error, no more than a twentieth is given away: 5 loses 0.05, 8 loses 0.1, both by chance.
        ({2.0: BEST, 5.0: [0.8, 1.0, 1.0, 1.0], 8.0: [0.6, 1.0, 1.0, 1.0]}, 5.0),
        ({2.0: BEST, 3.0: [0.0] * 4, 20.0: BEST}, 20.0),  # a worse weight between two good ones is not in the way
    ],
)
def test_the_largest_weight_within_one_standard_error_wins(table, weight):
    """The table says each user's quality by content weight; content alone is worthless."""
    base, unit = np.zeros((4, ITEMS), np.float32), np.ones((4, ITEMS), np.float32)
    base[:, 1] = 1.0  # tells a mixture from content alone
    mixed = looked_up({w: table.get(w, [0] * 4) for w in selection.CONTENT_WEIGHTS}, lambda scores: scores[0, 0])

    def measure(scores):
        return mixed(scores) if scores[0, 1] != scores[0, 0] else np.full(4, -1, np.float32)

    assert choose_weights(trial(parts(base, unit), measure), SETTINGS, NO_COLD).content == weight


@pytest.mark.parametrize(
    ("mixture", "behaviour"),
    [
        ([1.0, 0.5, 0.5, 0.3], 0.0),  # ahead by 0.075 with an error of 0.15: chance
        ([0.8, 0.5, 0.5, 0.5], 0.0),  # by as much as its error
        ([0.8, 0.8, 0.5, 0.5], 1.0),  # by 0.15 with an error of 0.087
        ([0.5] * 4, 0.0),
    ],
)
def test_behaviour_serves_where_it_is_better_by_more_than_chance(mixture, behaviour):
    """What each user gets of every mixture; of content alone all get a half."""
    base, unit = np.zeros((4, ITEMS), np.float32), np.ones((4, ITEMS), np.float32)
    base[:, 1] = 1.0  # tells a mixture from content alone

    def measure(scores):
        return np.array(mixture if scores[0, 1] != scores[0, 0] else [0.5] * 4, np.float32)

    assert choose_weights(trial(parts(base, unit), measure), SETTINGS, NO_COLD).behaviour == behaviour


def test_cold_items_get_back_what_training_took_but_no_bias_that_hurts():
    # Every target is cold and 0.9 behind the warm items: a bias above 0.9 repairs it, the largest stays harmless.
    cold = np.array([True] * 3 + [False] * 3)
    targets = np.arange(USERS) % 3
    behaviour = np.where(cold, 0.0, 1.0)[None].repeat(USERS, axis=0).astype(np.float32)
    behaviour[np.arange(USERS), targets] = 0.1
    content = (-9 * np.eye(ITEMS)[targets]).astype(np.float32)
    measure = partial(reciprocal_rank, targets=targets)
    chosen = choose_weights(trial(parts(behaviour, content), measure), SETTINGS, cold)
    assert (chosen.content, chosen.cold) == (0.0, max(selection.COLD_BIASES))
    # Warm targets lead the cold items by 0.6: a bias of 0.5 is harmless, 0.75 is not.
    cold = np.arange(ITEMS) == 5
    behaviour = right(1.0)[:5]
    behaviour[:, 5] = 0.4
    chosen = choose_weights(trial(parts(behaviour, -right(4)[:5])), SETTINGS, cold)
    assert (chosen.content, chosen.cold) == (0.0, 0.5)


def test_what_was_taken_before_counts_where_it_is_taken_again():
    taken = np.zeros((USERS, ITEMS), np.float32)
    taken[np.arange(USERS), TARGETS] = np.log(2)
    behaviour = np.zeros((USERS, ITEMS), np.float32)
    behaviour[:, 0] = 1.0  # everybody is shown item 0 first
    known = replace(trial(parts(behaviour, taken=taken)), taken=True)
    chosen = choose_weights(known, SETTINGS, NO_COLD)
    # In standard deviations of the scores: 4 turns the order around for all (4 * 0.373 * log 2 > 1), 3 for nobody.
    unit = float(behaviour.std(axis=1).mean())
    assert (chosen.behaviour, chosen.repeat) == (1.0, pytest.approx(4 * unit))
    assert 4 * unit * np.log(2) > 1 > 3 * unit * np.log(2)
    # Where others are taken, or nobody takes anything again, it has no weight.
    elsewhere = np.roll(taken, 1, axis=1)
    assert choose_weights(replace(trial(parts(right(), taken=elsewhere)), taken=True), SETTINGS, NO_COLD).repeat == 0
    assert choose_weights(trial(parts(behaviour, taken=taken)), SETTINGS, NO_COLD).repeat == 0
    # Content alone is lifted too, where that is best.
    content = np.where(np.arange(ITEMS) == 1, 1.0, 0.0)[None].repeat(USERS, axis=0).astype(np.float32)
    useless = (-9 * np.eye(ITEMS)[TARGETS]).astype(np.float32) * np.arange(1, USERS + 1)[:, None].astype(np.float32)
    chosen = choose_weights(replace(trial(parts(useless, content, taken=taken)), taken=True), SETTINGS, NO_COLD)
    assert (chosen.behaviour, chosen.content, chosen.repeat > 0) == (0.0, 1.0, True)


def test_a_trial_finds_the_same_in_blocks_as_at_once():
    behaviour, text, image = np.random.default_rng(0).standard_normal((3, USERS, ITEMS)).astype(np.float32)
    whole = trial(parts(behaviour, text, image))

    def blocks():
        for rows in (slice(0, 3), slice(3, 4), slice(4, USERS)):
            own = parts(behaviour[rows], text[rows], image[rows])
            yield own, lambda scores, rows=rows: reciprocal_rank(scores, TARGETS[rows])

    divided = Trial(blocks, text=True, image=True)
    mixes = [lambda scores, weight=weight: scores.behaviour + weight * scores.text for weight in (0.0, 0.5, 3.0)]
    for one, other in zip(whole(mixes), divided(mixes), strict=True):
        np.testing.assert_array_equal(one, other)
    cold = np.arange(ITEMS) == 2
    assert choose_weights(whole, SETTINGS, cold, whole) == choose_weights(divided, SETTINGS, cold, divided)
    assert choose_floor([(SETTINGS, whole)], SETTINGS) == choose_floor([(SETTINGS, divided)], SETTINGS)


@given(st.integers(0, 1000))
def test_the_choice_is_never_worse_than_the_floor_or_plain_behaviour_by_more_than_one_error(seed):
    rng = np.random.default_rng(seed)
    scores = parts(*(rng.standard_normal((USERS, ITEMS)).astype(np.float32) for _ in range(3)))
    chosen = choose_weights(trial(scores), SETTINGS, NO_COLD)
    content = scores.content(0.4)
    own = reciprocal_rank(chosen.behaviour * scores.behaviour + chosen.content * content)
    floor, tried = reciprocal_rank(content), selection.CONTENT_WEIGHTS
    if chosen.behaviour == 0:
        np.testing.assert_array_equal(own, floor)
    candidates = [reciprocal_rank(scores.behaviour + w * content) for w in tried] if chosen.behaviour else []
    best = max([floor, *candidates], key=lambda quality: quality.mean())
    error = (best - own).std(ddof=1) / USERS**0.5
    assert (best - own).mean() <= error + 1e-6


def test_the_content_score_mixes_by_share():
    both = parts(None, right(1), right(3))
    np.testing.assert_allclose(both.content(0.25), right(0.75) + right(0.75))
    np.testing.assert_array_equal(parts(None, right(1), None).content(0.9), right(1))
    np.testing.assert_array_equal(parts(None, None, right(3)).content(0.1), right(3))
    assert parts(right()).content(0.5) is None


def by_recency(scores, default=SETTINGS, better=None):
    """The same scores however a session is read, or `better` ones with a decay of 0.85."""
    ways = selection.ways_to_read(default)
    return [(own, trial(better if better and own.recency_decay == 0.85 else scores)) for own in ways]


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        (by_recency(parts(None, right(), -right(9))), FloorSettings(0.0, 0.7, 5)),
        (by_recency(parts(None, -right(9), right())), FloorSettings(1.0, 0.7, 5)),
        (by_recency(parts(None, -right()), better=parts(None, right())), FloorSettings(0.4, 0.85, 10)),
    ],
)
def test_the_modality_and_the_recency_that_rank_best_win(trials, expected):
    assert choose_floor(trials, SETTINGS) == expected
    measure = looked_up({share: [share == 0.6] for share in selection.IMAGE_SHARES}, lambda own: own[0, 0])
    scores = parts(None, np.zeros((1, 1), np.float32), np.ones((1, 1), np.float32))
    mixed = [(own, trial(scores, measure)) for own in selection.ways_to_read(SETTINGS)]
    assert choose_floor(mixed, SETTINGS).image_share == 0.6


@pytest.mark.parametrize("default", [SETTINGS, FloorSettings(0.3, 0.95, 50), FloorSettings(1.0, 0.85, 10)])
def test_the_default_is_kept_unless_something_is_better(default):
    for own in (parts(None, right(), right()), parts(None, right(), None), parts()):
        assert choose_floor(by_recency(own, default), default) == default


@pytest.mark.parametrize(
    ("better", "chosen"),
    [
        ([1.0, 0.5, 0.5, 0.3], SETTINGS),  # ahead by 0.075 with an error of 0.15: chance
        ([0.8, 0.8, 0.5, 0.5], FloorSettings(0.4, 0.95, 50)),  # by 0.15 with an error of 0.087
    ],
)
def test_another_reading_is_taken_where_it_is_better_by_more_than_chance(better, chosen):
    def told(quality):
        return trial(parts(None, right(), None), lambda scores: np.array(quality, np.float32))

    other = FloorSettings(0.4, 0.95, 50)
    assert choose_floor([(SETTINGS, told([0.5] * 4)), (other, told(better))], SETTINGS) == chosen


def test_the_probe_is_the_best_of_a_few_mixtures():
    assert probe(right(1), -right(4), reciprocal_rank) == 1.0
    assert probe(-right(1), right(4), reciprocal_rank) == 1.0
    assert probe(-right(1), None, reciprocal_rank) == pytest.approx(1 / ITEMS)
    assert probe(right(1), -right(4), reciprocal_rank, weights=[2.0]) == pytest.approx(1 / ITEMS)


@pytest.mark.parametrize(
    ("warm", "cold", "n_cold", "chosen"),
    [
        # A bias of 2 gives cold targets the 0.6 of the floor; warm ones lose a hundredth per unit.
        (lambda bias: 0.5 - 0.01 * bias, lambda bias: 0.3 * bias * (bias <= 2), 20, 2.0),
        # It stops where it costs a twentieth of the best, 0.9: each unit costs warm users 0.03 and brings cold ones a
        # little, 1.5 leaves 0.864 and 2 only 0.852.
        (lambda bias: 1 - 0.03 * bias, lambda bias: 0.5 + 1e-4 * bias, 20, 1.5),
        # Nothing is paid for nothing; what helps up to 0.75 and no further is taken up to there.
        (lambda bias: 1 - 0.03 * bias, lambda bias: 0.5, 20, 0.0),
        (lambda bias: 1 - 0.03 * bias, lambda bias: 0.5 + 0.01 * min(bias, 0.75), 20, 0.75),
        (lambda bias: 0.5 - 0.01 * bias, lambda bias: 0.0, 19, 0.0),  # too few cold targets tell nothing
    ],
)
def test_the_guard_pays_for_cold_targets_what_they_are_worth(warm, cold, n_cold, chosen):
    """`warm` and `cold` say what users of such targets get by bias; content has no weight: of 100 users `n_cold` took
    the cold item 5, content alone gives nothing to warm and 0.6 to cold targets."""
    # Users of cold targets come last, so that both trials can be told apart by their size.
    targets = np.array([0] * (100 - n_cold) + [5] * n_cold)
    behaviour, content = np.zeros((2, 100, ITEMS), np.float32)
    behaviour[:, 2] = content[:, 1] = 1.0  # the first tells a mixture from content alone

    def measure(scores):
        weight, mixed, bias = (round(float(own), 3) for own in (scores[0, 1], scores[0, 2], scores[0, 5]))
        own = targets[-len(scores) :]
        if weight or not mixed:
            return np.where(own == 5, 0 if mixed else 0.6, 0).astype(np.float32)
        return np.where(own == 5, cold(bias), warm(bias)).astype(np.float32)

    both, of_cold = (trial(parts(behaviour[:n], content[:n]), measure) for n in (100, n_cold))
    assert choose_weights(both, SETTINGS, np.arange(ITEMS) == 5, of_cold).cold == chosen


def test_the_fewest_events_are_held_back_that_help():
    shut = {0: -right(), 1: right(), 2: right(), 5: -right()}
    assert choose_held_back({events: trial(parts(own)) for events, own in shut.items()}) == 1
    assert choose_held_back({events: trial(parts(right())) for events in shut}) == 0


def test_what_everybody_takes_is_asked_for_where_that_is_better():
    # All took item 0 or 1, which behaviour cannot tell from the others; last week's events can.
    measure, lately = partial(reciprocal_rank, targets=np.arange(USERS) % 2), np.array([3, 3, 1, 0, 0, 0], np.float32)
    scores, ever = parts(np.zeros((USERS, ITEMS), np.float32)), lately[::-1].copy()
    chosen = choose_weights(trial(scores, measure), SETTINGS, NO_COLD, trends={0: ever, 7: lately})
    assert (chosen.trend, chosen.trend_days) == (selection.TREND_WEIGHTS[0], 7)
    none = choose_weights(trial(scores, measure), SETTINGS, NO_COLD, trends={0: ever})
    assert (none.trend, none.trend_days) == (0.0, 0)


def test_a_trend_that_content_hides_is_found_beside_none_and_content_is_weighed_beside_the_trend():
    # Content puts every target second, behind item 5, and no trend as small as this changes that. Beside no content it
    # puts both targets before all others.
    targets, text = np.arange(USERS) % 2, np.zeros((USERS, ITEMS), np.float32)
    text[np.arange(USERS), targets], text[:, 5] = 1.0, 1.5
    lately, measure = np.array([0.01, 0.01, 0, 0, 0, 0], np.float32), partial(reciprocal_rank, targets=targets)
    chosen = choose_weights(trial(parts(-right(0.0), text), measure), SETTINGS, NO_COLD, trends={7: lately})
    assert (chosen.trend, chosen.trend_days, chosen.content) == (selection.TREND_WEIGHTS[0], 7, 0.0)
    # The trend lifts item 0 above every target; content brings the targets back.
    measure = partial(reciprocal_rank, targets=np.where(HALF, 0, 1))
    behaviour, text = np.zeros((2, USERS, ITEMS), np.float32)
    text[~HALF, 1] = 1.0
    lately = np.array([1, 0, 0, 0, 0, 0], np.float32)
    chosen = choose_weights(trial(parts(behaviour, text), measure), SETTINGS, NO_COLD, trends={7: lately})
    assert chosen.trend == selection.TREND_WEIGHTS[0] and chosen.content == max(selection.CONTENT_WEIGHTS)
