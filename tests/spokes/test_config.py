import json
from pathlib import Path

import pytest
from hubspoke.errors import IncompatibleError
from hubspoke.spokes.config import AdapterConfig, SpokeConfig, StatisticsConfig
from pydantic import ValidationError

# Defaults, with every feature on, as they were saved when there were 74 keys.
STORED = json.loads((Path(__file__).parent / "stored_config.json").read_text())
HARD = {"count": 4, "pool": 9, "refresh_every": 2, "margin": 0.9}
TRAINED = {"training.loss": "gbce", "training.sampler": "mixed", "training.hard": HARD, "training.clip_norm": 1.0}
BUILT = {"transformer.positions": "rotary", "transformer.residual": "gated", "adapter.alpha": 32}


@pytest.mark.parametrize(
    "wrong",
    [
        *({"model": "gru4rec"}, {"fusion": "bilinear"}, {"layers": 2}, {"id_dropout": 1.0}, {"min_item_count": 0}),
        *({"content": ["sound"]}, {"content": [], "ids": False}, {"adapter": {"rank": 0}}),
        *({"transformer": own} for own in ({"dropout": 1.0}, {"max_length": 1}, {"width": 3})),
        *({"training": own} for own in ({"patience": 0}, {"learning_rate": 0}, {"sampler": "nearest"})),
        *({"training": {"loss": "bce", "temperature": 0.5}}, {"training": {"loss": "softmax", "hard_negatives": 1}}),
    ],
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValidationError):
        SpokeConfig.model_validate(wrong)


def test_a_contradiction_is_told_in_one_sentence():
    with pytest.raises(ValidationError, match=r"dimension \(10\) must be divisible by heads \(4\)"):
        SpokeConfig.model_validate({"transformer": {"dimension": 10, "heads": 4}})
    with pytest.raises(ValidationError, match="nothing at all; turn one of them on"):
        SpokeConfig.model_validate({"content": [], "ids": False})
    with pytest.raises(ValidationError):
        AdapterConfig().rank = 2


def test_there_are_forty_five_keys():
    parts = {key: {} for key in ("adapter", "encoder_adapter", "attributes", "statistics")}
    settings = SpokeConfig.model_validate(parts).model_dump().values()
    assert sum(len(own) if isinstance(own, dict) else 1 for own in settings) == 45


def changed(key, value):
    """The stored config with one setting changed."""
    config = place = json.loads(json.dumps(STORED))
    *path, last = key.split(".")
    for name in path:
        place = place[name]
    place[last] = value
    return config


def test_what_an_earlier_version_stored_is_read():
    loaded = SpokeConfig.from_stored(STORED)
    on = {"adapter": {"rank": 8}, "encoder_adapter": {}, "attributes": {}, "statistics": {}}
    assert loaded == SpokeConfig.model_validate(on)
    assert SpokeConfig.from_stored(loaded.model_dump()) == loaded
    # Before there was a second model there were fewer keys.
    oldest = {"model": "sasrec", "transformer": {"dimension": 64, "blocks": 1}, "adapter": {"rank": 8, "alpha": 16}}
    assert SpokeConfig.from_stored(oldest) == SpokeConfig()


def test_how_it_was_trained_does_not_keep_a_spoke_from_serving_but_what_can_no_longer_be_built_and_unknown_keys_do():
    for key, value in {**TRAINED, "cold_items": 0.2}.items():
        assert SpokeConfig.from_stored(changed(key, value)) == SpokeConfig.from_stored(STORED)
    for key, value in BUILT.items():
        with pytest.raises(IncompatibleError, match=rf"trained with {key} {value}, .* train it again"):
            SpokeConfig.from_stored(changed(key, value))
    with pytest.raises(ValidationError):
        SpokeConfig.from_stored({**STORED, "layers": 2})


def test_what_an_item_is_made_of():
    assert SpokeConfig().content == ("text", "image") and SpokeConfig().ids
    assert SpokeConfig(content=("image", "text")) == SpokeConfig()
    assert SpokeConfig.model_validate({"content": ["text"]}).content == ("text",)
    assert SpokeConfig(content=("text",)).lora == AdapterConfig()
    # The adapter's default stays; there is nothing to put it on.
    assert SpokeConfig(content=()).adapter == AdapterConfig() and SpokeConfig(content=()).lora is None
    assert not SpokeConfig(content=()).tells_new_items_apart
    assert SpokeConfig(content=(), ids=False, statistics=StatisticsConfig()).tells_new_items_apart
