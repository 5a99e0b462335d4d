import pytest
from hubspoke.hub.config import ContrastiveConfig, FusionConfig, HubConfig, TextEncoderConfig
from pydantic import ValidationError


def test_the_config_survives_its_json_cannot_be_changed_and_names_an_encoder():
    made = HubConfig(text=TextEncoderConfig(name="tiny"), image=None, fusion=FusionConfig(hidden=3), image_share=0.25)
    assert HubConfig.model_validate_json(made.model_dump_json()) == made
    with pytest.raises(ValidationError):
        made.seed = 3
    with pytest.raises(ValidationError, match="name an encoder"):
        HubConfig(text=None, image=None)


WRONG = [{"image_share": 1.1}, {"recency_decay": 0.0}, {"recent_events": 0}, {"fusion": {"hidden": 0}}, {"colour": 1}]
WRONG_TRAINING = [{"batch_size": 1}, {"temperature": 0}, {"steps": -1}, {"window": 0}]
WRONG_SHARES = [{"interpolations": (0.5, share)} for share in (-0.5, 0.0, 1.5)]


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [(HubConfig, own) for own in WRONG] + [(ContrastiveConfig, own) for own in (*WRONG_TRAINING, *WRONG_SHARES)],
)
def test_nonsense_is_refused(kind, wrong):
    with pytest.raises(ValidationError):
        kind.model_validate(wrong)
