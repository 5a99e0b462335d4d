import json

import pytest
from hubspoke.spokes.config import AdapterConfig, SpokeConfig, TrainingConfig
from hubspoke.spokes.features.statistics import StatisticsConfig
from pydantic import ValidationError


def test_the_config_survives_its_json():
    made = SpokeConfig(adapter=None, training=TrainingConfig(max_epochs=0), id_dropout=0.0, seed=4)
    assert SpokeConfig.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "gru4rec"},
        {"cloze": {"mask_share": 0.0}},
        {"cloze": {"last_share": 1.1}},
        {"id_dropout": 1.0},
        {"min_item_count": 0},
        {"training": {"patience": 0}},
        {"training": {"learning_rate": 0}},
        {"training": {"loss": "bpr", "temperature": 0.5}},
        {"training": {"loss": "softmax", "hard": {}}},
        {"training": {"shares": {"uniform": 0.9}}},
        {"training": {"sampler": "nearest"}},
        {"adapter": {"rank": 0}},
        {"content": ["sound"]},
        {"content": [], "ids": False},
        {"id_init": -0.1},
        {"fusion": "bilinear"},
        {"layers": 2},
    ],
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValidationError):
        SpokeConfig.model_validate(wrong)


def test_a_config_cannot_be_changed():
    with pytest.raises(ValidationError):
        AdapterConfig().rank = 2


def test_a_config_saved_before_there_was_a_second_model_loads_as_what_it_was():
    old = {
        "model": "sasrec",
        "transformer": {"dimension": 64, "blocks": 1, "heads": 2, "expansion": 2, "dropout": 0.2, "max_length": 50},
        "adapter": {"rank": 8, "alpha": 16},
        "id_dropout": 0.1,
        "min_item_count": 5,
        "training": {"max_epochs": 60, "loss": "sampled-softmax", "negatives": 256, "learning_rate": 0.001},
        "seed": 0,
    }
    loaded = SpokeConfig.model_validate_json(json.dumps(old))
    # What decides weights and scores is as it was; how one is trained may have changed since.
    assert loaded == SpokeConfig(training=loaded.training)
    assert not SpokeConfig().transformer.needs_context


def test_what_an_item_is_made_of():
    assert SpokeConfig().content == ("text", "image") and SpokeConfig().ids
    assert SpokeConfig(content=("image", "text")) == SpokeConfig()
    assert SpokeConfig.model_validate({"content": ["text"]}).content == ("text",)
    assert SpokeConfig(content=("text",)).lora == AdapterConfig()
    # The adapter's default stays; there is nothing to put it on.
    assert SpokeConfig(content=()).adapter == AdapterConfig() and SpokeConfig(content=()).lora is None
    assert not SpokeConfig(content=()).tells_new_items_apart
    assert SpokeConfig(content=(), ids=False, statistics=StatisticsConfig()).tells_new_items_apart


def test_an_item_of_nothing_is_refused_in_one_sentence():
    with pytest.raises(ValidationError, match="nothing at all; turn one of them on"):
        SpokeConfig(content=(), ids=False)
