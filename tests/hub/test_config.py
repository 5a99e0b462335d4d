import pytest
from hubspoke.hub.config import ContrastiveConfig, FusionConfig, HubConfig
from hubspoke.hub.encoders.config import ImageEncoderConfig, TextEncoderConfig
from pydantic import ValidationError


def test_the_config_survives_its_json():
    made = HubConfig(text=TextEncoderConfig(name="tiny"), image=None, fusion=FusionConfig(hidden=3), image_share=0.25)
    assert HubConfig.model_validate_json(made.model_dump_json()) == made


def test_the_default_has_both_encoders():
    default = HubConfig()
    assert default.text and default.image and default.contrastive.steps > 0


def test_a_hub_without_any_encoder_is_refused():
    with pytest.raises(ValidationError, match="name an encoder"):
        HubConfig(text=None, image=None)


@pytest.mark.parametrize(
    "wrong",
    [{"image_share": 1.1}, {"recency_decay": 0.0}, {"recent_events": 0}, {"fusion": {"hidden": 0}}, {"colour": 1}],
)
def test_nonsense_is_refused(wrong):
    with pytest.raises(ValidationError):
        HubConfig.model_validate(wrong)


@pytest.mark.parametrize("wrong", [{"batch_size": 1}, {"temperature": 0}, {"steps": -1}, {"window": 0}])
def test_nonsense_training_is_refused(wrong):
    with pytest.raises(ValidationError):
        ContrastiveConfig(**wrong)


@pytest.mark.parametrize("share", [-0.5, 0.0, 1.5])
def test_a_kept_share_is_above_zero_and_at_most_one(share):
    with pytest.raises(ValidationError):
        ContrastiveConfig(interpolations=(0.5, share))


def test_a_config_cannot_be_changed():
    with pytest.raises(ValidationError):
        HubConfig(image=ImageEncoderConfig(name="tiny")).seed = 3
