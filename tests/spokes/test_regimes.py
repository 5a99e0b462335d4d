import numpy as np
import pytest
from hubspoke.catalog.sequences import Sequences
from hubspoke.spokes.config import SpokeConfig
from hubspoke.spokes.regimes import LONG_SEQUENCE, WIDE_EVENTS, Regime, regime_of

IDS = {"content": []}
SCALED = [IDS, IDS | {"model": "sasrec"}]
OTHERS = [{}, {"content": ["text"]}, IDS | {"model": "bert4rec"}]


def sequences(lengths):
    lengths = np.asarray(lengths, np.int64)
    n, events = len(lengths), np.arange(lengths.sum())
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Sequences(events % 7, events, offsets, np.arange(n), tuple(map(str, range(n))), 7)


@pytest.mark.parametrize(
    ("lengths", "name", "dimension", "max_length", "negatives"),
    [
        ([], "small-sparse", 64, 50, 256),
        ([34], "small-sparse", 64, 50, 256),  # of seven items, so fewer than five events each
        ([35], "small", 64, 50, 256),
        ([10] * (WIDE_EVENTS // 10 - 1), "small", 64, 50, 256),
        ([10] * (WIDE_EVENTS // 10), "wide", 128, 50, 256),
        ([int(LONG_SEQUENCE) - 1] * 4, "small", 64, 50, 256),
        ([int(LONG_SEQUENCE)] * 4, "small-long", 64, 200, 1024),
        # Many events in long sequences pay for negatives and not for width.
        ([200] * (WIDE_EVENTS // 200), "wide-long", 64, 200, 1024),
    ],
)
def test_what_events_decide(lengths, name, dimension, max_length, negatives):
    regime = regime_of(sequences(lengths))
    assert regime.name == name
    config = SpokeConfig.model_validate(regime.fill({}))
    assert (config == SpokeConfig()) is (name == "small")
    shape, training = config.transformer, config.training
    assert (shape.dimension, shape.max_length, training.negatives) == (dimension, max_length, negatives)
    # The product is what a step moves a score by.
    assert shape.dimension * training.learning_rate == pytest.approx(0.064)
    assert (config.statistics is not None) is name.endswith("sparse")
    assert SpokeConfig.model_validate(regime.fill({"statistics": None})).statistics is None


@pytest.mark.parametrize(("length", "epochs", "patience"), [(3, (40, 120), (3, 6)), (200, (160, 240), (12, 12))])
def test_bert4rec_trains_for_longer_whatever_its_data(length, epochs, patience):
    regime = regime_of(sequences([length] * 4))
    causal, cloze = (SpokeConfig.model_validate(regime.fill({"model": name})) for name in ("sasrec", "bert4rec"))
    assert (causal.training.max_epochs, cloze.training.max_epochs) == epochs
    assert (causal.training.patience, cloze.training.patience) == patience
    assert cloze.transformer == causal.transformer
    # Long batches are trained on for as many steps.
    usual, own = SpokeConfig().training, causal.training
    assert own.max_epochs / own.tokens_per_batch == usual.max_epochs / usual.tokens_per_batch
    assert own.patience / own.tokens_per_batch == usual.patience / usual.tokens_per_batch
    assert regime.fill({"model": "bert4rec", "training": {"max_epochs": 5}})["training"]["max_epochs"] == 5


def test_what_a_config_says_wins_and_what_it_leaves_open_is_filled():
    regime = Regime("made up", {"transformer": {"dimension": 128, "blocks": 2}, "training": {"learning_rate": 5e-4}})
    filled = regime.fill({"transformer": {"dimension": 32}, "training": None, "seed": 3})
    assert filled == {"transformer": {"dimension": 32, "blocks": 2}, "training": None, "seed": 3}
    assert regime.config["transformer"] == {"dimension": 128, "blocks": 2}


@pytest.mark.parametrize(("given", "scaled"), [*((own, True) for own in SCALED), *((own, False) for own in OTHERS)])
def test_a_sasrec_of_ids_alone_scales_them(given, scaled):
    regime = Regime("any", {"transformer": {"dimension": 128}})
    config = SpokeConfig.model_validate(regime.fill(given))
    assert config.transformer.scale_inputs == scaled and config.transformer.dimension == 128
    other = regime.fill({**given, "transformer": {"scale_inputs": not scaled}})
    assert SpokeConfig.model_validate(other).transformer.scale_inputs != scaled
