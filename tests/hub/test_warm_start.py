"""What a hub takes over from its parent, and which parents it refuses."""

import pytest
import torch
from hubspoke.errors import IncompatibleError
from hubspoke.hub.config import HubConfig
from hubspoke.hub.model import Hub
from hubspoke.hub.reading import Reading
from hubspoke.hub.warm_start import require_same_shapes, take_over

TINY = {"text": {"name": "tiny"}, "image": {"name": "tiny"}, "fusion": {"hidden": 8}}


def config(**changed: object) -> HubConfig:
    return HubConfig.model_validate({**TINY, **changed})


def test_all_that_the_parent_has_learned_is_taken() -> None:
    parent, child = Hub(config(), device="cpu"), Hub(config(seed=3), device="cpu")
    with torch.no_grad():
        parent.fusion.up.weight.normal_()
    parent.reading = Reading(lags={"text": (1.0, 0.5)}, crowding=-0.1)
    name, weight = next(iter(parent.encoder("text").module.named_parameters()))
    parent.replace_encoders({"text": {name: weight.detach() + 1}})
    assert child.fingerprint != parent.fingerprint
    take_over(child, parent)
    assert child.fingerprint == parent.fingerprint and child.reading == parent.reading
    assert child.trained_encoders.keys() == {"text"}
    # Training the child leaves the parent alone.
    with torch.no_grad():
        child.fusion.up.weight.zero_()
    assert parent.fusion.up.weight.any()


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"fusion": {"hidden": 9}}, "fusion.hidden 8 there and 9 here"),
        ({"image": None}, "image None|image.name tiny there and None here"),
        ({"text": {"name": "tiny", "max_tokens": 9}}, "text.max_tokens 64 there and 9 here"),
        ({"calibration": {"power": 0.5}}, "calibration.power 0.75 there and 0.5 here"),
    ],
)
def test_another_shape_or_meaning_is_refused(changed: dict[str, object], told: str) -> None:
    with pytest.raises(IncompatibleError, match=rf"hub:3 .*({told}).*leave these settings out"):
        require_same_shapes(config(**changed), config(), "hub:3")


def test_how_it_is_trained_is_free() -> None:
    free = {"contrastive": {"steps": 1}, "reading": {"sessions": 0}, "encoders": {"steps": 1}, "seed": 9}
    batches = {"text": {"name": "tiny", "batch_size": 7}, "image_share": 0.1}
    require_same_shapes(config(**free, **batches), config(), "hub:3")
