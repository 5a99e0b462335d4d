import numpy as np
import pytest
import torch
from hubspoke.errors import UsageError
from hubspoke.hub.encoders.efficientnet import load_efficientnet, packaged_checkpoint
from hubspoke.hub.encoders.stages import CHANNELS, pooled
from PIL import Image


def test_a_map_is_pooled_to_the_direction_of_its_means_and_of_its_deviations():
    # Means 3 and 4, deviations 0 and 2.
    maps = torch.tensor([[[[3.0, 3.0]], [[2.0, 6.0]]]])
    np.testing.assert_allclose(pooled(maps)[0], [0.6, 0.8, 0.0, 1.0], atol=1e-3)
    maps.requires_grad_()
    pooled(maps).sum().backward()
    assert torch.isfinite(maps.grad).all()  # also where a channel is the same all over


def test_each_stage_of_the_packaged_network_is_seen_by_its_channels(image_encoder, noise):
    encoder = image_encoder("stages:efficientnet-lite0", image_size=64)
    model = load_efficientnet("efficientnet-lite0", packaged_checkpoint("efficientnet-lite0")).eval()
    own, maps, expected = encoder.encode(noise[:2]), None, []
    with torch.inference_mode():
        maps = model.bn1(model.conv_stem(torch.stack([encoder._prepare(path) for path in noise[:2]])))
        for stage, channels in zip(model.blocks, CHANNELS["efficientnet-lite0"], strict=True):
            maps = stage(maps)
            assert maps.shape[1] == channels
            expected.append(pooled(maps))
    # Fourteen unit vectors side by side, made one unit vector.
    np.testing.assert_allclose(own, torch.cat(expected, dim=1) / 14**0.5, atol=1e-5)


def test_it_tells_colours_apart_that_the_last_layer_takes_for_the_same(image_encoder, tmp_path):
    """Two colours of one shape and another shape of the first colour."""
    paths = []
    for name, colour, box in (("red", "red", (20, 20)), ("green", "green", (20, 20)), ("bar", "red", (44, 10))):
        picture = Image.new("RGB", (64, 64), "white")
        picture.paste(colour, (10, 10, 10 + box[0], 10 + box[1]))
        picture.save(tmp_path / f"{name}.png")
        paths.append(tmp_path / f"{name}.png")
    stages, last = (image_encoder(f"{kind}:efficientnet-lite0").encode(paths) for kind in ("stages", "package"))
    # What another colour costs, relative to what another shape costs.
    costs = [(1 - own[0] @ own[1]) / (1 - own[0] @ own[2]) for own in (stages, last)]
    assert costs[0] > costs[1]


def test_no_more_stages_than_there_are_are_split_off(image_encoder):
    with pytest.raises(UsageError, match="has 7 layers that can be adapted, not 8"):
        image_encoder("stages:efficientnet-lite0", image_size=32).split(8)
