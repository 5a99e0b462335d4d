import numpy as np
import pytest
from hubspoke.catalog.sequences import Sequences
from hubspoke.spokes.config import SpokeConfig
from hubspoke.spokes.regimes import LONG_SEQUENCE, WIDE_EVENTS, Regime, regime_of


def sequences(lengths):
    lengths = np.asarray(lengths, np.int64)
    events = int(lengths.sum())
    items = np.arange(events) % 7
    users = np.arange(len(lengths))
    return Sequences(
        items, np.arange(events), np.concatenate([[0], np.cumsum(lengths)]), users, tuple(map(str, users)), 7
    )


def test_a_new_category_keeps_the_defaults():
    regime = regime_of(sequences([3, 4, 5] * 3))
    assert regime.name == "small"
    assert SpokeConfig.model_validate(regime.fill({})) == SpokeConfig()
    assert regime_of(sequences([])).name == "small-sparse"


@pytest.mark.parametrize(("events", "name"), [(34, "small-sparse"), (35, "small")])
def test_few_events_an_item_are_told_as_statistics(events, name):
    # Seven items, five events each.
    regime = regime_of(sequences([events]))
    assert regime.name == name
    config = SpokeConfig.model_validate(regime.fill({}))
    assert (config.statistics is not None) == (name == "small-sparse")
    assert SpokeConfig.model_validate(regime.fill({"statistics": None})).statistics is None


@pytest.mark.parametrize(("events", "name"), [(WIDE_EVENTS - 10, "small"), (WIDE_EVENTS, "wide")])
def test_many_events_carry_a_wider_model_with_shorter_steps(events, name):
    regime = regime_of(sequences([10] * (events // 10)))
    assert regime.name == name
    config = SpokeConfig.model_validate(regime.fill({}))
    # The product is what a step moves a score by.
    assert config.transformer.dimension * config.training.learning_rate == pytest.approx(0.064)


@pytest.mark.parametrize(("length", "name"), [(LONG_SEQUENCE - 1, "small"), (LONG_SEQUENCE, "small-long")])
def test_long_sequences_get_long_windows(length, name):
    regime = regime_of(sequences([int(length)] * 4))
    assert regime.name == name
    longest = SpokeConfig.model_validate(regime.fill({})).transformer.max_length
    assert longest == (200 if name == "small-long" else 50)


def test_many_events_in_long_sequences_pay_for_negatives_and_not_for_width():
    regime = regime_of(sequences([200] * (WIDE_EVENTS // 200)))
    config = SpokeConfig.model_validate(regime.fill({}))
    assert regime.name == "wide-long"
    assert (config.transformer.dimension, config.transformer.max_length, config.training.negatives) == (64, 200, 1024)
    assert config.transformer.dimension * config.training.learning_rate == pytest.approx(0.064)


def test_long_batches_are_trained_on_for_as_many_steps():
    short, long = (
        SpokeConfig.model_validate(regime_of(sequences([n] * 4)).fill({})).training for n in (3, int(LONG_SEQUENCE))
    )
    assert long.max_epochs / long.tokens_per_batch == short.max_epochs / short.tokens_per_batch
    assert long.patience / long.tokens_per_batch == short.patience / short.tokens_per_batch


@pytest.mark.parametrize(("length", "epochs", "patience"), [(3, (40, 120), (3, 6)), (200, (160, 240), (12, 12))])
def test_bert4rec_trains_for_longer_whatever_its_data(length, epochs, patience):
    regime = regime_of(sequences([length] * 4))
    causal, cloze = (SpokeConfig.model_validate(regime.fill({"model": name})) for name in ("sasrec", "bert4rec"))
    assert (causal.training.max_epochs, cloze.training.max_epochs) == epochs
    assert (causal.training.patience, cloze.training.patience) == patience
    assert cloze.transformer == causal.transformer
    assert regime.fill({"model": "bert4rec", "training": {"max_epochs": 5}})["training"]["max_epochs"] == 5


def test_what_a_config_says_wins_and_what_it_leaves_open_is_filled():
    regime = Regime("made up", {"transformer": {"dimension": 128, "blocks": 2}, "training": {"learning_rate": 5e-4}})
    filled = regime.fill({"transformer": {"dimension": 32}, "training": None, "seed": 3})
    assert filled == {"transformer": {"dimension": 32, "blocks": 2}, "training": None, "seed": 3}
    assert regime.config["transformer"] == {"dimension": 128, "blocks": 2}


@pytest.mark.parametrize(
    ("given", "scaled"),
    [
        ({"content": []}, True),
        ({"content": ["text"]}, False),
        ({}, False),
        ({"content": [], "model": "sasrec"}, True),
        ({"content": [], "model": "bert4rec"}, False),
    ],
)
def test_a_sasrec_of_ids_alone_scales_them(given, scaled):
    regime = Regime("any", {"transformer": {"dimension": 128}})
    config = SpokeConfig.model_validate(regime.fill(given))
    assert config.transformer.scale_inputs == scaled and config.transformer.dimension == 128
    other = regime.fill({**given, "transformer": {"scale_inputs": not scaled}})
    assert SpokeConfig.model_validate(other).transformer.scale_inputs != scaled
