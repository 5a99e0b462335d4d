"""Learning to read sessions: examples, the loss, and what is learned where one event or one block tells anything."""

import numpy as np
import pytest
from hubspoke.catalog.sequences import Sequences
from hubspoke.hub.config import HubConfig
from hubspoke.hub.content import fit_content_space
from hubspoke.hub.fusion import EncodedItems
from hubspoke.hub.reading import starting_reading
from hubspoke.hub.training.reading import reading_examples, train_reading

N, GROUPS = 120, 12
CONFIG = {
    "crowding": True,
    "recent_events": 3,
    "text_blocks": [{"name": "words", "encoder": {"name": "tiny"}}],
    "reading": {"sessions": 150, "epochs": 30, "nearest": 8, "uniform": 24, "batch_size": 32},
}


def category(teller):
    """Items of 12 groups in one block (`teller`), noise in the other; what is taken is of the group of the item two
    events before, so that the newest event tells nothing."""
    rng = np.random.default_rng(1)
    groups = np.arange(N) % GROUPS
    told = np.eye(16)[groups] + 0.3 * rng.standard_normal((N, 16))
    noise = rng.standard_normal((N, 16))
    text, words = (told, noise) if teller == "text" else (noise, told)
    encoded = EncodedItems(text.astype(np.float32), np.zeros((N, 0), np.float32), {"words": words.astype(np.float32)})
    rows = []
    for _ in range(200):
        even, odd = rng.choice(GROUPS, 2, replace=False)
        of = {own: rng.permutation(np.flatnonzero(groups == own)) for own in (even, odd)}
        rows.append([of[(even, odd)[place % 2]][place // 2] for place in range(8)])
    items = np.array(rows, np.int64).ravel()
    offsets = np.arange(0, len(items) + 1, 8)
    times = np.arange(len(items), dtype=np.int64)
    users = tuple(f"u{nth}" for nth in range(200))
    return encoded, Sequences(items, times, offsets, np.arange(200), users, N)


def examples(teller="text", **changes):
    config = HubConfig.model_validate(CONFIG | changes)
    encoded, sequences = category(teller)
    space = fit_content_space(encoded, config)
    start = starting_reading(config)
    return reading_examples(space.embed(encoded), space, sequences, start, config), space, start, config


def test_an_example_is_a_new_item_among_the_nearest_and_a_weighted_sample():
    found, _space, _, _config = examples()
    assert found.names == ("text", "words") and found.similarities.shape == (150, 33, 2, 3)
    assert found.crowding.shape == found.log_weights.shape == (150, 33) and len(found) == 150
    # The positive and the nearest stand for themselves, a drawn one for all that the sample stands for.
    np.testing.assert_array_equal(found.log_weights[:, :9], 0.0)
    drawn = found.log_weights[:, 9:]
    expected = np.log((N - 8 - 1) / 24)
    assert set(np.unique(drawn.round(4))) == {np.float32(-1e9), np.float32(expected.round(4))}
    # Similarities in units of the catalog: their spread over what was drawn is about one.
    kept = found.similarities[:, 9:][drawn > -1]
    assert kept[:, 0, 0].std() == pytest.approx(1.0, abs=0.3)
    # No more sessions than are asked for, and none where a catalog has none.
    assert len(examples(reading=CONFIG["reading"] | {"sessions": 7})[0]) == 7


@pytest.mark.parametrize(("teller", "other"), [("text", "words"), ("words", "text")])
def test_what_tells_of_the_next_item_is_learned(teller, other):
    found, _space, start, config = examples(teller)
    learned, losses = train_reading(start, [found], config.reading, seed=0)
    assert len(losses) == 30 and losses[-1] < losses[0] < 0
    told = learned.lags[teller]
    assert told[1] > told[0] and told[1] > max(learned.lags[other])
    again, _ = train_reading(start, [found], config.reading, seed=0)
    assert again == learned


def test_categories_that_lack_a_block_are_learned_from_together():
    whole, _, start, config = examples()
    lacking = examples(text_blocks=[])[0]
    assert lacking.names == ("text",)
    learned, _ = train_reading(start, [whole, lacking], config.reading, seed=0)
    assert set(learned.lags) == {"text", "image", "words"} and learned.lags["text"][1] > learned.lags["text"][0]
    assert learned.lags["image"] == pytest.approx(start.lags["image"])  # nobody had pictures
    unlearned, losses = train_reading(start, [], config.reading, seed=0)
    assert unlearned.lags["text"] == pytest.approx(start.lags["text"]) and len(losses) == 30
