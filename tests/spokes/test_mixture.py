import numpy as np
import pytest
from hubspoke.spokes.mixture import FloorSettings, Mixture
from pydantic import ValidationError

SETTINGS = FloorSettings(image_share=0.4, recency_decay=0.7, recent_events=5)


def test_a_policy_has_its_own_weights_and_they_survive_json():
    one, two = SETTINGS.weights(1.0, 3.0, 0.5), SETTINGS.weights(1.0, 8.0)
    mixture = Mixture(seen_ranked=one, seen_filtered=two)
    assert mixture.weights(exclude_seen=False) is one and mixture.weights(exclude_seen=True) is two
    assert Mixture.model_validate_json(mixture.model_dump_json()) == mixture
    with pytest.raises(ValidationError):
        SETTINGS.weights(-1.0, 1.0)


@pytest.mark.parametrize(("held_back", "hidden"), [(0, []), (2, [7, 5]), (9, [5, 7, 5])])
def test_what_was_seen_last_is_hidden_or_all_of_it(held_back, hidden):
    own = SETTINGS.weights(1.0, 3.0).model_copy(update={"held_back": held_back})
    mixture = Mixture(seen_ranked=own, seen_filtered=own)
    history = np.array([5, 7, 5])
    assert mixture.hidden(history, exclude_seen=False).tolist() == hidden
    assert mixture.hidden(history, exclude_seen=True).tolist() == [5, 7, 5]
    assert not len(mixture.hidden(history[:0], exclude_seen=False))


def test_what_was_taken_before_is_lifted_by_the_policys_weight():
    own = SETTINGS.weights(1.0, 3.0)
    mixture = Mixture(seen_ranked=own.model_copy(update={"repeat": 2.0}), seen_filtered=own)
    rows, values = mixture.lifted(np.array([5, 7, 5]), exclude_seen=False)
    assert (rows.tolist(), values.tolist()) == ([5, 7], pytest.approx([2 * np.log(3), 2 * np.log(2)]))
    assert not len(mixture.lifted(np.array([5, 7, 5]), exclude_seen=True)[0])
    assert Mixture.model_validate_json(mixture.model_dump_json()) == mixture
