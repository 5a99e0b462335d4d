import pytest
from hubspoke.hub import config
from pydantic import ValidationError

SHARES = [{"interpolations": (0.5, share)} for share in (-0.5, 0.0, 1.5)]
WRONG = {
    config.HubConfig: [{"image_share": 1.1}, {"recency_decay": 0.0}, {"recent_events": 0}, {"fusion": {"hidden": 0}}],
    config.ContrastiveConfig: [{"batch_size": 1}, {"temperature": 0}, {"steps": -1}, {"window": 0}, *SHARES],
    config.CalibrationConfig: [{"power": 1.5}, {"prior_items": 0}, {"max_rank": 0}],
    config.TextEncoderConfig: [{"max_tokens": 0}, {"batch_size": 0}],
    config.ImageEncoderConfig: [{"image_size": 2}, {"batch_size": 0}],
}


def test_the_config_survives_its_json_cannot_be_changed_and_names_an_encoder():
    made = config.HubConfig(
        text=config.TextEncoderConfig(name="tiny"), image=None, fusion=config.FusionConfig(hidden=3), image_share=0.25
    )
    assert config.HubConfig.model_validate_json(made.model_dump_json()) == made
    with pytest.raises(ValidationError):
        made.seed = 3
    with pytest.raises(ValidationError, match="name an encoder"):
        config.HubConfig(text=None, image=None)


@pytest.mark.parametrize(("kind", "wrong"), [(kind, own) for kind in WRONG for own in (*WRONG[kind], {"colour": 1})])
def test_nonsense_is_refused(kind, wrong):
    with pytest.raises(ValidationError):
        kind.model_validate(wrong)
