"""Examination by place: by hand, found again in a simulation, refused where places have no clicks."""

import numpy as np
import pytest
from hubspoke.errors import InvalidDataError
from hubspoke.evaluation.examination import discounted, examination_by_rank, exposures


def test_examination_by_hand() -> None:
    # Place 1: 20 of 40. Place 2: who was there 1 time in 4 counts fourfold, (10 + 4 x 0) / (20 + 4 x 5) = 1/4.
    ranks = np.repeat([1, 2, 2], [40, 20, 5])
    clicks = np.concatenate([np.repeat([1.0, 0.0], 20), np.repeat([1.0, 0.0], 10), np.zeros(5)])
    placed = np.repeat([0.5, 1.0, 0.25], [40, 20, 5])
    assert examination_by_rank(ranks, clicks, placed).tolist() == [1.0, 0.5]


def test_the_examination_that_made_the_clicks_is_found_again() -> None:
    rng = np.random.default_rng(4)
    examined, wanted = np.array([1.0, 0.6, 0.3]), np.array([0.05, 0.2, 0.6])
    places, chances = np.arange(3), np.array([0.2, 0.2, 0.6])
    turned = rng.choice(3, 60_000, p=chances)
    shown = (places + turned[:, None]) % 3  # (lists, places); the best product stands on top most often
    clicks = rng.random(shown.shape) < examined * wanted[shown]
    ranks = np.tile(places + 1, len(shown))
    placed = np.repeat(chances[turned], 3)
    found = examination_by_rank(ranks, clicks.ravel().astype(float), placed)
    assert found == pytest.approx(examined, abs=0.03)
    naive = clicks.mean(axis=0) / clicks.mean(axis=0)[0]
    assert abs(naive - examined).max() > 0.1


def test_a_place_is_never_looked_at_more_than_the_first() -> None:
    ranks = np.repeat([1, 2], 40)
    assert examination_by_rank(ranks, (np.arange(80) >= 20).astype(float), np.ones(80)).tolist() == [1.0, 1.0]


def test_what_cannot_be_told_is_refused() -> None:
    with pytest.raises(InvalidDataError, match="Place 2 has 3 clicks"):
        examination_by_rank(np.repeat([1, 2], 20), np.repeat([1.0, 0.0], [23, 17]), np.ones(40))
    with pytest.raises(InvalidDataError, match="Places count from 1"):
        examination_by_rank(np.array([0, 1]), np.ones(2), np.ones(2))
    with pytest.raises(InvalidDataError, match="log it"):
        examination_by_rank(np.array([1, 1]), np.ones(2), np.array([0.5, np.nan]))


def test_exposure_and_the_assumed_examination() -> None:
    assert exposures(np.array([[0.5, 0.25], [0.0, 1.0]]), np.array([1.0, 0.5])).tolist() == [0.625, 0.5]
    assert discounted(3).tolist() == [1.0, 1 / np.log2(3), 0.5]
