import pytest
import torch
from hubspoke.errors import InvalidDataError, NotFoundError
from hubspoke.hub.encoders import weights
from hubspoke.hub.encoders.efficientnet import load_efficientnet, packaged_checkpoint, timm_names

LITE0 = "efficientnet-lite0"


def test_names_follow_the_stages():
    names = {
        "_conv_stem.weight": "conv_stem.weight",
        "_bn0.bias": "bn1.bias",
        "_blocks.0._depthwise_conv.weight": "blocks.0.0.conv_dw.weight",
        "_blocks.0._bn1.weight": "blocks.0.0.bn1.weight",
        "_blocks.0._project_conv.weight": "blocks.0.0.conv_pw.weight",
        "_blocks.0._bn2.weight": "blocks.0.0.bn2.weight",
        "_blocks.1._expand_conv.weight": "blocks.1.0.conv_pw.weight",
        "_blocks.1._bn0.weight": "blocks.1.0.bn1.weight",
        "_blocks.2._expand_conv.weight": "blocks.1.1.conv_pw.weight",
        "_blocks.2._bn2.running_mean": "blocks.1.1.bn3.running_mean",
        "_bn1.weight": "bn2.weight",
        "_fc.bias": "classifier.bias",
    }
    assert timm_names(names, [1, 2]) == names


def test_every_packaged_weight_lands_in_the_model():
    checkpoint = packaged_checkpoint(LITE0)
    model = load_efficientnet(LITE0, checkpoint, keep_classifier=True).eval()
    state = torch.load(checkpoint, weights_only=True)
    assert sum(p.numel() for p in state.values()) == sum(p.numel() for p in model.state_dict().values())
    known = state["_blocks.15._project_conv.weight"]
    torch.testing.assert_close(model.get_parameter("blocks.6.0.conv_pwl.weight"), known)
    with torch.inference_mode():
        assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
        assert load_efficientnet(LITE0, checkpoint).eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 1280)


@pytest.mark.parametrize("content", [b"", b"not an archive", None])
def test_a_broken_checkpoint_is_one_sentence(tmp_path, content):
    path = tmp_path / "w.pth"
    if content is None:
        state = torch.load(packaged_checkpoint(LITE0), weights_only=True)
        del state["_fc.bias"]
        torch.save(state, path)
    else:
        path.write_bytes(content)
    with pytest.raises(InvalidDataError, match="cannot be read as tf_efficientnet_lite0"):
        load_efficientnet(LITE0, path)


def test_a_checkpoint_cannot_run_code_and_a_package_without_one_is_named(tmp_path, monkeypatch):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    monkeypatch.setattr(weights, "package_folder", lambda package: tmp_path)
    with pytest.raises(NotFoundError, match=r"holds no \.pth checkpoint"):
        packaged_checkpoint(LITE0)
    torch.save({"_conv_stem.weight": Bomb()}, tmp_path / "w.pth")
    with pytest.raises(InvalidDataError, match="cannot be read"):
        load_efficientnet(LITE0, tmp_path / "w.pth")
    assert not (tmp_path / "ran").exists()


def test_like_pictures_are_near_and_the_fingerprint_covers_the_size(image_encoder, draw, noise, tmp_path):
    paths = [draw(tmp_path / "a.png"), draw(tmp_path / "b.png", (90, 60)), noise[0]]
    a, b, other = image_encoder(f"package:{LITE0}", image_size=64).encode(paths)
    assert a @ b > 0.8 > a @ other
    own = image_encoder(f"package:{LITE0}").fingerprint
    assert own == image_encoder(f"package:{LITE0}", image_size=160).fingerprint
    assert own != image_encoder(f"package:{LITE0}", image_size=128).fingerprint
