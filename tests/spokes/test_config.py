import pytest
from hubspoke.spokes.config import AdapterConfig, SpokeConfig, TrainingConfig
from pydantic import ValidationError


def test_the_config_survives_its_json():
    made = SpokeConfig(adapter=None, training=TrainingConfig(max_epochs=0), id_dropout=0.0, seed=4)
    assert SpokeConfig.model_validate_json(made.model_dump_json()) == made


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "gru4rec"},
        {"id_dropout": 1.0},
        {"min_item_count": 0},
        {"training": {"patience": 0}},
        {"training": {"learning_rate": 0}},
        {"training": {"loss": "bpr", "temperature": 0.5}},
        {"training": {"loss": "softmax", "hard": {}}},
        {"training": {"shares": {"uniform": 0.9}}},
        {"training": {"sampler": "nearest"}},
        {"adapter": {"rank": 0}},
        {"layers": 2},
    ],
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValidationError):
        SpokeConfig.model_validate(wrong)


def test_a_config_cannot_be_changed():
    with pytest.raises(ValidationError):
        AdapterConfig().rank = 2
