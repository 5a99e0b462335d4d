import subprocess
import sys

import numpy as np
import polars as pl
import pytest
import torch
from hubspoke.errors import CorruptArtifactError, IncompatibleError
from hubspoke.hub.cache import EmbeddingCache
from hubspoke.hub.distributed import World
from hubspoke.hub.model import Hub
from hubspoke.hub.parts import hub_parts
from hubspoke.hub.training.checkpoints import Checkpoints
from hubspoke.hub.training.encoders import (
    EncoderTraining,
    between,
    encoded_by,
    layer_distances,
    rate_factor,
    train_encoders,
    trained_layers,
)

KINDS = {
    "tiny": ("tiny", "tiny", {}),
    "bert": ("bert", None, {"text_layers": 2}),
    "bert whole": ("bert", None, {"text_layers": "all", "rank": None, "layer_decay": 0.5}),
    "clip": ("clip", "clip", {}),
    "clip whole": ("clip", "clip", {"text_layers": "all", "image_layers": "all", "rank": None}),
    "packaged image": (None, "efficientnet", {"image_layers": 1}),
    "own": ("own text", "own image", {"text_layers": "all", "image_layers": "all", "rank": None, "layer_decay": 0.5}),
}


def state(hub):
    return {
        f"{name}.{key}": weight.clone()
        for name in trained_layers(hub, hub.config.encoders)
        for key, weight in hub.encoder(name).module.state_dict().items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_an_encoder_with_the_trained_weights_gives_what_the_training_saw(kind, hub_of, examples_of, names):
    text, image, settings = KINDS[kind]
    hub = hub_of(text and names[text], image and names[image], steps=3, **settings)
    own, before = examples_of(hub), state(hub)
    weights, losses = train_encoders(hub, [own])
    assert len(losses) == 3 and set(weights) == set(trained_layers(hub, hub.config.encoders))
    # The hub's own encoders stay as they are, to the bit.
    assert all(torch.equal(before[name], weight) for name, weight in state(hub).items())
    seen = encoded_by(hub, weights, own.encoded)
    assert not np.allclose(seen.joined(), own.encoded.joined(), atol=1e-4)
    for name in weights:
        whole = encoded_by(hub, {name: weights[name]}, own.encoded)
        other = "image" if name == "text" else "text"
        np.testing.assert_allclose(getattr(whole, other), getattr(own.encoded, other), atol=1e-6)


def items_of(n=8):
    return pl.DataFrame({"item_id": [str(row) for row in range(n)], "title": ["red shoe", "blue hose"] * (n // 2)})


@pytest.mark.parametrize("kind", ["tiny", "bert", "bert whole", "clip"])
def test_a_hub_embeds_with_its_trained_encoders_everywhere(kind, hub_of, examples_of, names, noise, tmp_path):
    text, image, settings = KINDS[kind]
    hub = hub_of(text and names[text], image and names[image], steps=3, **settings)
    weights, _ = train_encoders(hub, [examples_of(hub)])
    cache, layers = EmbeddingCache(tmp_path / "other"), trained_layers(hub, hub.config.encoders)
    asked = items_of(), [[noise[row % 5]] for row in range(8)], cache
    before, fingerprint, named = hub.encode_items(*asked, heads=layers), hub.fingerprint, hub.encoder_fingerprints
    expected = encoded_by(hub, weights, before)
    hub.replace_encoders(weights)
    after = hub.encode_items(*asked, heads=layers)  # the same cache: what the old encoders gave is not found
    np.testing.assert_allclose(after.joined(), expected.joined(), atol=1e-5)
    assert hub.fingerprint != fingerprint
    assert {name for name in named if hub.encoder_fingerprints[name] != named[name]} == set(weights)
    # The head of an encoder that was trained is the trained one, so that a spoke's adapter stands on it.
    np.testing.assert_allclose(encoded_by(hub, {}, after).joined(), after.joined(), atol=1e-5)
    folder = tmp_path / "hub"
    folder.mkdir()
    hub.save(folder)
    loaded = Hub.load(folder, device="cpu")
    assert loaded.fingerprint == hub.fingerprint
    np.testing.assert_array_equal(loaded.encode_items(*asked).joined(), after.joined())
    assert hub_parts(loaded) == hub_parts(hub)
    part = next(part for part in hub_parts(hub) if part.name == "text encoder")
    assert part.fingerprint == hub.encoder_fingerprints["text"]
    assert part.parameters == sum(weight.numel() for weight in weights["text"].values())


def test_damaged_weights_of_encoders_and_such_of_another_encoder_are_refused(hub_of, examples_of, tmp_path):
    hub = hub_of(steps=2)
    hub.replace_encoders(train_encoders(hub, [examples_of(hub)])[0])
    hub.save(tmp_path)
    (path,) = (tmp_path / "encoders").iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-8])
    with pytest.raises(CorruptArtifactError, match="encoders"):
        Hub.load(tmp_path, device="cpu")
    path.unlink()
    with pytest.raises(IncompatibleError, match="text encoder"):
        Hub.load(tmp_path, device="cpu")
    other = hub_of().text.with_weights({"no.such": torch.zeros(2)})
    with pytest.raises(IncompatibleError, match=r"no weight 'no\.such'"):
        _ = other.module


def test_a_hub_with_trained_encoders_is_used_without_peft(hub_of, examples_of, tmp_path):
    hub = hub_of(steps=2)
    hub.replace_encoders(train_encoders(hub, [examples_of(hub)])[0])
    hub.save(tmp_path)
    program = (
        "import sys; from pathlib import Path; from hubspoke.hub.model import Hub; "
        f"Hub.load(Path({str(tmp_path)!r}), device='cpu').text.encode(['red shoe']); print('peft' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


@pytest.mark.parametrize("objective", ["bounded", "info_nce", "views"])
def test_each_objective_brings_what_belongs_together_closer(objective, hub_of, examples_of):
    hub = hub_of(objectives=[objective], steps=60, text_layers=1, temperature=0.2, hard_negatives=1)
    own = examples_of(hub)
    weights, losses = train_encoders(hub, [own, examples_of(hub, n=32, seed=1)])
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.05
    if objective != "views":
        # On items that it has not seen, whose partners share the same words.
        unseen = examples_of(hub, n=40, seed=2)

        def closeness(encoded):
            z = unseen.space.embed(encoded)
            own, other = z[unseen.pairs].transpose(1, 0, 2)
            return (own * other).sum(axis=1).mean() - (z @ z.T).mean()

        assert closeness(encoded_by(hub, weights, unseen.encoded)) > closeness(unseen.encoded) + 0.02


def test_objectives_take_turns_and_categories_by_size_to_a_power(hub_of, examples_of):
    hub = hub_of(objectives=["bounded", "views"], steps=400, size_power=0.5)
    small, large = examples_of(hub, n=8), examples_of(hub, n=32, seed=1)
    turns = EncoderTraining(hub, [small, large], World()).turns
    assert [objective for _, objective in turns] == ["bounded", "views"] * 200
    pairs = [category for category, objective in turns if objective == "bounded"]
    roots = np.sqrt([len(small.pairs), len(large.pairs)])
    assert np.mean(pairs) == pytest.approx(roots[1] / roots.sum(), abs=0.08)


def test_nothing_to_learn_from_changes_nothing(hub_of, examples_of):
    hub = hub_of()
    weights, losses = train_encoders(hub, [])
    assert losses == []
    own = examples_of(hub)
    np.testing.assert_allclose(encoded_by(hub, weights, own.encoded).joined(), own.encoded.joined(), atol=1e-6)


def test_between_start_and_training(hub_of, examples_of):
    hub = hub_of(steps=3)
    trained, _ = train_encoders(hub, [examples_of(hub)])
    start, weight = hub.text.module.state_dict(), trained["text"]["project.weight"]
    for share in (0.25, 1.0):
        expected = (1 - share) * start["project.weight"] + share * weight
        torch.testing.assert_close(between(hub, trained, share)["text"]["project.weight"], expected)


@pytest.mark.parametrize("settings", [{}, {"objectives": ["views", "info_nce"]}, {"rank": None}])
def test_a_killed_training_goes_on_to_the_same_losses_and_weights(settings, hub_of, examples_of, tmp_path):
    hub = hub_of(steps=9, **settings)
    own = [examples_of(hub), examples_of(hub, n=12, seed=1)]
    whole, losses = train_encoders(hub, own)
    kept = Checkpoints(tmp_path / "kept", every=4)

    def dies(done, total):
        if done == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_encoders(hub, own, dies, checkpoints=kept)
    (folder,) = kept.folder.iterdir()
    assert [path.name for path in folder.iterdir()] == ["epoch-000004"]
    steps = []
    resumed, again = train_encoders(hub, own, lambda done, _: steps.append(done), checkpoints=kept)
    assert again == losses and steps == [5, 6, 7, 8, 9]
    assert all(torch.equal(resumed["text"][name], weight) for name, weight in whole["text"].items())
    # What is done is not done again, and another training does not go on from it.
    steps.clear()
    assert train_encoders(hub, own, lambda done, _: steps.append(done), checkpoints=kept)[1] == losses and not steps
    train_encoders(hub, own[:1], lambda done, _: steps.append(done), checkpoints=kept)
    assert steps == [*range(1, 10)]


def test_the_rate_rises_and_falls():
    assert [rate_factor(step, 20) for step in (0, 1, 2)] == [0.5, 1.0, 1.0]
    assert rate_factor(11, 20) == pytest.approx(0.5)
    assert rate_factor(19, 20) == pytest.approx((1 + np.cos(np.pi * 17 / 18)) / 2)
    assert rate_factor(0, 1) == 1.0


def test_lower_layers_learn_more_slowly(hub_of, examples_of, names):
    hub = hub_of(names["bert"], text_layers="all", rank=None, layer_decay=0.5)
    training = EncoderTraining(hub, [examples_of(hub)], World())
    assert training.optimiser is not None
    groups = training.optimiser.param_groups
    shares = {name: group["share"] for name, group in zip(training.named, groups, strict=True)}
    for layer, share in ((0, 0.25), (1, 0.5), (2, 1.0)):
        assert {own for name, own in shares.items() if f"layers.{layer}." in name} == {share}


def test_how_far_weights_lie_from_the_output():
    whole = [f"heads.text.model.{own}.weight" for own in ("embeddings.word", "encoder.layer.0.q", "encoder.layer.1.q")]
    stages = ["heads.image.blocks.0.1.conv", "heads.image.blocks.2.0.conv", "heads.image.conv_head"]
    assert layer_distances([*whole, *stages]) == dict(zip([*whole, *stages], (2, 1, 0, 2, 0, 0), strict=True))
