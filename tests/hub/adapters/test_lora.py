import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hubspoke.errors import CorruptArtifactError
from hubspoke.hub.adapters.lora import adapt, frozen_copy, load_adapter, merged, save_adapter
from hubspoke.hub.config import FusionConfig
from hubspoke.hub.fusion import BaseFusion
from peft import PeftModel
from safetensors.torch import load_file, save_file


@pytest.fixture
def fusion():
    """A base fusion that has been moved away from the identity."""
    made = BaseFusion(32, 32, FusionConfig(hidden=8)).eval()
    torch.nn.init.normal_(made.up.weight, std=0.05, generator=torch.Generator().manual_seed(1))
    return made


@pytest.fixture
def x():
    """Four items; the second has no text, the third no picture, the fourth neither."""
    made = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 64)).astype(np.float32))
    made[[1, 3], :32] = 0
    made[[2, 3], 32:] = 0
    return made


def moved(adapted):
    """The adapter as a training might leave it."""
    for name, weight in adapted.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(len(name)))
    return adapted.eval()


def test_it_starts_as_the_module_which_stays_and_only_its_low_rank_pairs_are_trainable(fusion, x):
    before, names, made = fusion(x), list(fusion.state_dict()), adapt(fusion, 2, 0)
    assert torch.equal(made(x), before)
    trainable = {name: tuple(p.shape) for name, p in made.named_parameters() if p.requires_grad}
    assert sorted(trainable.values()) == sorted([(2, 64), (8, 2), (2, 8), (64, 2)])
    assert all("lora_" in name for name in trainable)
    moved(made)
    assert torch.equal(fusion(x), before) and list(fusion.state_dict()) == names
    assert all(p.requires_grad for p in fusion.parameters())
    # The seed decides, and the global generator is left alone.
    before = torch.random.get_rng_state()
    made = (adapt(fusion, 2, seed).state_dict().items() for seed in (1, 1, 2))
    one, same, other = (next(weight for name, weight in own if "lora_A" in name) for own in made)
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_saved_adapter_loads_exactly_and_is_small(fusion, x, tmp_path):
    made = moved(adapt(fusion, 2, 0))
    save_adapter(made, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 8000
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    assert config["target_modules"] == ["down", "up"] and list(config) == sorted(config)  # not in a set's order
    loaded = load_adapter(fusion, tmp_path)
    assert torch.equal(loaded(x), made(x)) and not torch.allclose(loaded(x), fusion(x))
    # As PEFT loads it, to the bit: names, weights, outputs and bytes.
    theirs = PeftModel.from_pretrained(frozen_copy(fusion), tmp_path)
    ours, known = loaded.state_dict(), theirs.state_dict()
    assert ours.keys() == known.keys() and all(torch.equal(own, known[name]) for name, own in ours.items())
    assert torch.equal(loaded(x), theirs(x))
    for (_, one), (_, other) in zip(merged(loaded), merged(theirs), strict=True):
        assert torch.equal(one, other)
    save_adapter(loaded, tmp_path / "again")  # read by itself and written as PEFT would
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()
    # Nor does it fit another fusion.
    save_adapter(adapt(BaseFusion(3, 3, FusionConfig(hidden=8)), 2, 0), tmp_path)
    with pytest.raises(CorruptArtifactError):
        load_adapter(fusion, tmp_path)


def test_reading_an_adapter_of_linear_layers_needs_no_peft(fusion, tmp_path):
    save_adapter(adapt(fusion, 2, 0), tmp_path)
    save_file(fusion.state_dict(), tmp_path / "fusion.safetensors")
    script = f"""
import sys
from pathlib import Path
from hubspoke.hub.adapters.lora import load_adapter
from hubspoke.hub.config import FusionConfig
from hubspoke.hub.fusion import BaseFusion
load_adapter(BaseFusion(32, 32, FusionConfig(hidden=8)), Path({str(tmp_path)!r}))
assert not {{"peft", "transformers"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("damage", ["config", "weights", "shape", "truncated"])
def test_a_damaged_adapter_is_refused(fusion, tmp_path, damage):
    save_adapter(adapt(fusion, 2, 0), tmp_path)
    config, weights = tmp_path / "adapter_config.json", tmp_path / "adapter_model.safetensors"
    own = load_file(weights)
    if damage == "config":
        config.write_text("{}")
    elif damage == "weights":
        save_file({name: weight for name, weight in own.items() if "lora_A" in name}, weights)
    elif damage == "shape":
        save_file({name: weight[:, :1].contiguous() for name, weight in own.items()}, weights)
    else:
        weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(CorruptArtifactError):
        load_adapter(fusion, tmp_path)
