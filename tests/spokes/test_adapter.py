import json

import numpy as np
import pytest
import torch
from hubspoke.errors import CorruptArtifactError
from hubspoke.hub.config import FusionConfig
from hubspoke.hub.fusion import BaseFusion
from hubspoke.spokes.adapter import adapt, load_adapter, save_adapter
from hubspoke.spokes.config import AdapterConfig

CONFIG = AdapterConfig(rank=2)


@pytest.fixture
def encoder_rows(encoded):
    return torch.from_numpy(encoded.joined())


def moved(adapted):
    """The adapter as a training might leave it."""
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.normal_(generator=torch.Generator().manual_seed(len(name)))
    return adapted.eval()


def test_it_starts_as_the_base_fusion(hub, encoder_rows):
    torch.testing.assert_close(adapt(hub.fusion, CONFIG, 0)(encoder_rows), hub.fusion(encoder_rows), atol=0, rtol=0)


def test_only_the_low_rank_pairs_are_trainable(hub):
    trainable = {name: tuple(p.shape) for name, p in adapt(hub.fusion, CONFIG, 0).named_parameters() if p.requires_grad}
    assert sorted(trainable.values()) == sorted([(2, 64), (8, 2), (2, 8), (64, 2)])
    assert all("lora_" in name for name in trainable)


def test_the_hub_stays_as_it_was(hub, encoder_rows):
    before = hub.fusion(encoder_rows)
    moved(adapt(hub.fusion, CONFIG, 0))
    torch.testing.assert_close(hub.fusion(encoder_rows), before, atol=0, rtol=0)
    assert list(hub.fusion.state_dict()) == [
        "norm.weight", "norm.bias", "down.weight", "down.bias", "up.weight", "up.bias",
    ]  # fmt: skip
    assert all(p.requires_grad for p in hub.fusion.parameters())


def test_the_seed_decides_and_the_global_generator_is_left_alone(hub):
    def first(seed):
        weights = adapt(hub.fusion, CONFIG, seed).state_dict()
        return next(w for name, w in weights.items() if "lora_A" in name)

    before = torch.random.get_rng_state()
    assert torch.equal(first(1), first(1)) and not torch.equal(first(1), first(2))
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_saved_adapter_loads_exactly_and_is_small(hub, encoder_rows, tmp_path):
    made = moved(adapt(hub.fusion, CONFIG, 0))
    save_adapter(made, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 8000
    loaded = load_adapter(hub.fusion, tmp_path)
    assert torch.equal(loaded(encoder_rows), made(encoder_rows))
    assert not torch.allclose(loaded(encoder_rows), hub.fusion(encoder_rows))


def test_a_full_size_adapter_stays_below_a_few_hundred_kilobytes(tmp_path):
    fusion = BaseFusion(384, 1280, FusionConfig())
    save_adapter(adapt(fusion, AdapterConfig(), 0), tmp_path)
    assert (tmp_path / "adapter_model.safetensors").stat().st_size < 300_000


def test_what_is_written_does_not_depend_on_the_order_of_a_set(hub, tmp_path):
    save_adapter(adapt(hub.fusion, CONFIG, 0), tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["target_modules"] == ["down", "up"] and list(config) == sorted(config)


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_a_damaged_adapter_is_corrupt(hub, tmp_path, name, content):
    save_adapter(adapt(hub.fusion, CONFIG, 0), tmp_path)
    (tmp_path / name).unlink()
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CorruptArtifactError, match="--force"):
        load_adapter(hub.fusion, tmp_path)


def test_an_adapter_of_another_fusion_is_corrupt(hub, tmp_path):
    save_adapter(adapt(BaseFusion(3, 3, FusionConfig(hidden=8)), CONFIG, 0), tmp_path)
    with pytest.raises(CorruptArtifactError):
        load_adapter(hub.fusion, tmp_path)


def test_a_missing_modality_stays_missing(hub, encoded):
    fused = moved(adapt(hub.fusion, CONFIG, 0))(torch.from_numpy(encoded.joined())).detach().numpy()
    assert not fused[3].any() and not fused[1, :32].any() and not fused[2, 32:].any()
    assert np.abs(fused[2, :32]).min() > 0
