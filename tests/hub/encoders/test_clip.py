import json

import numpy as np
import open_clip
import pytest
import torch
from hubspoke.errors import InvalidDataError, NotFoundError, UsageError
from hubspoke.hub.encoders.clip import find_open_clip
from PIL import Image
from safetensors.torch import save_file


@pytest.fixture(scope="module")
def clip(make_clip):
    """A dual encoder that open_clip knows by name, and the folder of its weights, which has its own way to look."""
    folder = make_clip()
    content = json.loads((folder / "open_clip_config.json").read_text())
    (folder / "hubspoke-test-encoder.json").write_text(json.dumps(content["model_cfg"]))
    open_clip.add_model_config(folder / "hubspoke-test-encoder.json")
    preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bilinear", "resize_mode": "squash"}
    (folder / "open_clip_config.json").write_text(json.dumps({**content, "preprocess_cfg": preprocess}))
    return f"open_clip:hubspoke-test-encoder/{folder / 'open_clip_model.safetensors'}", folder


def test_both_halves_are_open_clips_own_output(clip, text_encoder, image_encoder, draw, tmp_path):
    name, folder = clip
    path, encoder, weights = draw(tmp_path / "a.png"), image_encoder(name), str(folder / "open_clip_model.safetensors")
    model, preprocess = open_clip.create_model_from_pretrained("hubspoke-test-encoder", pretrained=weights)
    ids = open_clip.get_tokenizer("hubspoke-test-encoder")(["a red shirt", ""])
    expected = model.eval().encode_text(ids, normalize=True).detach().numpy()
    np.testing.assert_allclose(text_encoder(name).encode(["a red shirt", ""]), expected, atol=1e-6)
    expected = model.encode_image(preprocess(Image.open(path))[None], normalize=True).detach().numpy()
    np.testing.assert_allclose(encoder.encode([path]), expected, atol=1e-6)
    assert encoder.image_size == 32
    # A folder brings its own picture settings, and a size may be forced.
    local, larger = image_encoder(f"open_clip:local-dir:{folder}"), image_encoder(name, image_size=48)
    assert not np.allclose(local.encode([path]), expected) and larger.encode([path]).shape == (1, 12)
    assert len({own.fingerprint for own in (text_encoder(name), encoder, larger, local)}) == 4


def test_weights_of_another_architecture_are_refused(clip, image_encoder, draw, tmp_path):
    save_file({"visual.conv1.weight": torch.zeros(1)}, tmp_path / "w.safetensors")
    encoder = image_encoder(f"open_clip:hubspoke-test-encoder/{tmp_path / 'w.safetensors'}")
    with pytest.raises(InvalidDataError, match="cannot be read as open_clip hubspoke-test-encoder"):
        encoder.encode([draw(tmp_path / "a.png")])


def test_a_hugging_face_text_half_is_open_clips_own_output_and_its_own_code_is_never_run(bert, text_encoder, tmp_path):
    text = {"hf_model_name": str(bert), "hf_tokenizer_name": str(bert), "hf_proj_type": "linear"}
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
    text |= {"hf_pooler_type": "mean_pooler", "context_length": 16}
    config = {"embed_dim": 8, "vision_cfg": vision, "text_cfg": text}
    (tmp_path / "dual-test-encoder.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "dual-test-encoder.json")
    model = open_clip.create_model("dual-test-encoder", pretrained_hf=False).eval()
    folder, own = tmp_path / "dual", tmp_path / "own"
    folder.mkdir()
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    ids = open_clip.tokenizer.HFTokenizer(str(bert), context_length=16)(["red shirt", "dog food"])
    expected = model.encode_text(ids, normalize=True).detach().numpy()
    found = text_encoder(f"open_clip:local-dir:{folder}").encode(["red shirt", "dog food"])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    own.mkdir()
    (own / "config.json").write_text(json.dumps({"model_type": "bert", "auto_map": {"AutoConfig": "own.Config"}}))
    text["hf_model_name"] = str(own)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    with pytest.raises(InvalidDataError, match="needs code of its own"):
        text_encoder(f"open_clip:local-dir:{folder}").encode(["red shirt"])


def test_texts_are_read_up_to_their_end_and_other_halves_cannot_be_split(names, make_clip, text_encoder, image_encoder):
    text = text_encoder(names["clip"])
    assert [len(own) for own in text.tokens(["red shoe", "hose"])] == [4, 3]  # of a context of twelve
    assert text.tokens([]) == []
    vision = {"timm_model_name": "tf_efficientnet_lite0", "timm_pool": "avg", "timm_proj": "linear"}
    folder = make_clip(custom_text=True, text_cfg={"no_causal_mask": True}, vision_cfg=vision)
    with pytest.raises(UsageError, match="no text encoder of open_clip's own that reads from the left"):
        text_encoder(f"open_clip:local-dir:{folder}").tokens(["red"])
    with pytest.raises(UsageError, match="no ViT of open_clip's own and cannot be adapted"):
        image_encoder(f"open_clip:local-dir:{folder}").split(1)


def test_unknown_architectures_files_and_bad_folders(tmp_path):
    (tmp_path / "w.npz").write_bytes(b"x")
    for name, kind, told in (
        ("Nothing/tag", NotFoundError, "no architecture 'Nothing'"),
        (f"ViT-B-32/{tmp_path}/n.safetensors", NotFoundError, "neither a tag of open_clip's ViT-B-32 nor a weights"),
        (f"ViT-B-32/{tmp_path}/w.npz", InvalidDataError, r"give a .safetensors file"),
        (f"local-dir:{tmp_path}/none", NotFoundError, "does not exist"),
        (f"local-dir:{tmp_path}", InvalidDataError, "or weights; add them"),
    ):
        with pytest.raises(kind, match=told):
            find_open_clip(name)
    (tmp_path / "open_clip_model.safetensors").write_text("w")
    for config, told in (("[]", "holds a list"), ("{}", "no complete model_cfg")):
        (tmp_path / "open_clip_config.json").write_text(config)
        with pytest.raises(InvalidDataError, match=told):
            find_open_clip(f"local-dir:{tmp_path}")
