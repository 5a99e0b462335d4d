"""Adapted heads of the encoders: they start as the encoders, learn alone, and come back from their file to the bit."""

import json
from dataclasses import replace

import numpy as np
import open_clip
import polars as pl
import pytest
import torch
from hubspoke.errors import CorruptArtifactError, IncompatibleError, UsageError
from hubspoke.hub.cache import EmbeddingCache
from hubspoke.hub.config import HubConfig
from hubspoke.hub.content import fit_content_space
from hubspoke.hub.fusion import EncodedItems
from hubspoke.hub.model import Hub
from hubspoke.spokes import encoder_adapter as encoders_module
from hubspoke.spokes.config import SpokeConfig
from hubspoke.spokes.encoder_adapter import PREFIX, adapt_encoders
from hubspoke.spokes.model import BehaviourModel
from hubspoke.spokes.parts import spoke_parts
from hubspoke.spokes.spoke import Behaviour, Spoke
from hubspoke.spokes.training.checkpoints import Checkpoints
from hubspoke.spokes.training.distributed import Team
from hubspoke.spokes.training.loop import train_behaviour
from hubspoke.spokes.training.objective import Objective
from hubspoke.spokes.training.optimiser import rate_groups
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

BOTH = {"rank": 2, "encoders": ["text", "image"]}
SHAPE = {"transformer": {"dimension": 8, "max_length": 5}, "adapter": {"rank": 2}}
TITLES = ["red rose", "green fern in a pot", None, "steel spade", "clay pot, large", "red shoe"]
IDS = [f"i{row}" for row in range(6)]


def config(encoder_adapter=BOTH, **settings):
    return SpokeConfig.model_validate({**SHAPE, "encoder_adapter": encoder_adapter, **settings})


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """The first item has two pictures, the second none, the third one and no text, the fourth neither of its own."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    paths = [folder / f"{i}.png" for i in range(5)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(path)
    return [paths[:2], [], [paths[2]], [], [paths[3]], [paths[4]]]


@pytest.fixture(scope="module")
def shop(tmp_path_factory, pictures):
    """A hub of tiny encoders, its vectors and states of six items, and their content space."""
    return make_shop({"text": {"name": "tiny"}, "image": {"name": "tiny"}}, tmp_path_factory, pictures)


def make_shop(encoders, tmp_path_factory, pictures, heads=None):
    hub = Hub(HubConfig.model_validate({**encoders, "fusion": {"hidden": 8}}), device="cpu")
    with torch.no_grad():
        hub.fusion.up.weight.normal_(std=0.05, generator=torch.Generator().manual_seed(1))
    cache = EmbeddingCache(tmp_path_factory.mktemp("cache"))
    items = pl.DataFrame({"item_id": IDS, "title": TITLES})
    encoded = hub.encode_items(items, pictures, cache, heads=heads or {"text": 1, "image": 1})
    return hub, encoded, fit_content_space(hub.fusion.fuse(encoded), hub.config)


def model_of(shop, settings):
    hub, _, space = shop
    torch.manual_seed(0)
    return BehaviourModel(settings, hub.fusion, space, 6, encoders=adapt_encoders(hub, settings)).eval()


def inputs_of(model, shop):
    return model.inputs(shop[1], np.arange(1, 7))


def moved(model):
    """The adapters as a training might leave them."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name.startswith(PREFIX) and weight.requires_grad:
                weight.normal_(std=0.3, generator=torch.Generator().manual_seed(len(name)))
    return model


def spoke_of(shop, model, settings):
    hub, _, space = shop
    from hubspoke.spokes.spoke import launch_floor

    floor = launch_floor(hub, space)
    return replace(floor, behaviour=Behaviour(settings, model, tuple(IDS)))


def test_the_heads_start_as_the_encoders(shop):
    model = model_of(shop, config())
    with torch.no_grad():
        vectors = model.adapted_encoders(inputs_of(model, shop).encoded).numpy()
    np.testing.assert_allclose(vectors, shop[1].joined(), atol=1e-6)
    assert not vectors[2, :32].any() and not vectors[[1, 3], 32:].any()  # what is missing stays missing
    plain = model_of(shop, config(None))
    np.testing.assert_allclose(
        model.item_vectors(inputs_of(model, shop)), plain.item_vectors(inputs_of(plain, shop)), atol=1e-6
    )


def test_the_mean_direction_of_an_items_pictures(shop):
    """Two pictures of one item, by hand: unit vectors, summed, made a unit again."""
    model = moved(model_of(shop, config()))
    states = shop[1].states["image"]
    with torch.no_grad():
        given, mask = (torch.from_numpy(own) for own in states.take(np.arange(2)))
        each = torch.nn.functional.normalize(model.adapted_encoders.heads["image"](given, mask), dim=1)
        vectors = model.adapted_encoders(inputs_of(model, shop).encoded)
    expected = (each[0] + each[1]) / torch.linalg.norm(each[0] + each[1])
    torch.testing.assert_close(vectors[0, 32:], expected, atol=1e-6, rtol=0)
    assert not np.allclose(vectors[0, 32:], shop[1].image[0], atol=1e-3)


def test_some_items_in_any_order(shop):
    model = moved(model_of(shop, config()))
    given = inputs_of(model, shop)
    whole, rows = model.item_vectors(given), torch.tensor([4, 0, 3, 0])
    np.testing.assert_allclose(model.item_vectors(given.rows(rows)), whole[rows], atol=1e-6)
    np.testing.assert_allclose(model.item_vectors(given.rows(rows).rows(rows[1:])), whole[[4, 0, 4]], atol=1e-6)
    assert given.rows(rows).encoded.states is given.encoded.states


def test_a_modality_that_is_taken_away_is_away(shop):
    settings = config()
    made = spoke_of(shop, moved(model_of(shop, settings)), settings)
    encoded = shop[1]
    bare = replace(encoded, text=np.zeros_like(encoded.text))
    model = made.behaviour.model
    with torch.no_grad():
        vectors = model.adapted_encoders(model.inputs(encoded.without("text"), np.arange(1, 7)).encoded)
    assert not vectors[:, :32].any() and vectors[0, 32:].any()
    without = made.embed_items(IDS, encoded.without("text"))
    assert np.isfinite(without).all() and not np.allclose(without, made.embed_items(IDS, bare))


@pytest.mark.parametrize("fusion", ["gate", "cross-attention"])
def test_other_ways_of_putting_an_item_together(shop, fusion):
    settings = config(fusion=fusion)
    model = moved(model_of(shop, settings))
    given = inputs_of(model, shop)
    with torch.no_grad():
        parts = sum(model.item_parts(given).values())
    np.testing.assert_allclose(parts, model.item_vectors(given), atol=1e-5)
    model.train().embed_items(given).square().sum().backward()
    assert all(p.grad is not None for n, p in model.named_parameters() if n.startswith(PREFIX) and p.requires_grad)


def test_one_encoder_alone(shop):
    model = moved(model_of(shop, config({"rank": 2})))
    with torch.no_grad():
        vectors = model.adapted_encoders(inputs_of(model, shop).encoded).numpy()
    np.testing.assert_array_equal(vectors[:, 32:], shop[1].image)
    assert not np.allclose(vectors[:, :32], shop[1].text, atol=1e-3)


def test_only_the_low_rank_pairs_learn(shop):
    model = model_of(shop, config()).train()
    learns = {n: tuple(p.shape) for n, p in model.named_parameters() if n.startswith(PREFIX) and p.requires_grad}
    assert sorted(learns.values()) == sorted([(2, 32), (32, 2), (2, 64), (32, 2)])
    model.embed_items(inputs_of(model, shop)).square().sum().backward()
    reached = {n for n, p in model.named_parameters() if p.grad is not None and n.startswith(PREFIX)}
    assert reached == set(learns) and all("lora_" in name for name in reached)
    # The first factor starts at random and the second at zero, so that only the second has a gradient at once.
    assert all(model.get_parameter(name).grad.any() == ("lora_B" in name) for name in reached)
    hub = shop[0]
    assert all(p.grad is None for encoder in (hub.text, hub.image) for p in encoder.module.parameters())


def test_it_stays_in_evaluation_mode(shop):
    model = model_of(shop, config())
    assert model.train().training and not any(part.training for part in model.adapted_encoders.modules())


@pytest.fixture(scope="module")
def efficient(tmp_path_factory, pictures):
    encoders = {"text": None, "image": {"name": "package:efficientnet-lite0", "image_size": 32}}
    return make_shop(encoders, tmp_path_factory, pictures, {"image": 2})


def test_the_packaged_image_encoder_learns_without_the_batchs_statistics(efficient, tmp_path):
    settings = config({"rank": 2, "layers": 2, "encoders": ["image"]})
    model = moved(model_of(efficient, settings)).train()
    adapted = {name.split(".lora_A")[0].rsplit(".", 1)[-1] for name, _ in model.named_parameters() if "lora_A" in name}
    assert adapted == {"conv_pw", "conv_pwl", "conv_head", "down", "up"}
    before = {name: buffer.clone() for name, buffer in model.adapted_encoders.named_buffers()}
    model.embed_items(inputs_of(model, efficient)).square().sum().backward()
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.adapted_encoders.named_buffers())
    assert sum("running_mean" in name for name in before) == 4
    made = spoke_of(efficient, model, settings)
    made.save(tmp_path)
    loaded = Spoke.load(tmp_path, efficient[0])
    np.testing.assert_array_equal(loaded.embed_items(IDS, efficient[1]), made.embed_items(IDS, efficient[1]))


def test_open_clip_encoders_learn_by_query_and_value(tmp_path_factory, pictures, sequences, tmp_path):
    folder = tmp_path_factory.mktemp("clip")
    whole = {
        "embed_dim": 12,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 16},
        "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
    }
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": whole}))
    torch.manual_seed(0)
    save_file(open_clip.CLIP(**whole).state_dict(), folder / "open_clip_model.safetensors")
    name = {"name": f"open_clip:local-dir:{folder}"}
    shop = make_shop({"text": name, "image": name}, tmp_path_factory, pictures)
    settings = config({**BOTH, "learning_rate_factor": 1.0}, training=TRAINING)
    model = model_of(shop, settings)
    with torch.no_grad():
        start = model.adapted_encoders(inputs_of(model, shop).encoded).numpy()
    np.testing.assert_allclose(start, shop[1].joined(), atol=1e-6)
    before = {
        encoder: encoder.encode(given) for encoder, given in ((shop[0].text, ["red"]), (shop[0].image, pictures[0]))
    }
    train_behaviour(model, inputs_of(model, shop), sequences_of(sequences), settings, epochs=2)
    adapters = {n: p for n, p in model.named_parameters() if n.startswith(PREFIX) and p.requires_grad}
    assert len(adapters) == 2 * 2 * 2 and all(p.abs().sum() > 0 for p in adapters.values())
    for encoder, vectors in before.items():
        np.testing.assert_array_equal(encoder.encode(["red"] if encoder is shop[0].text else pictures[0]), vectors)
    made = spoke_of(shop, model.eval(), settings)
    made.save(tmp_path)
    loaded = Spoke.load(tmp_path, shop[0])
    np.testing.assert_array_equal(loaded.embed_items(IDS, shop[1]), made.embed_items(IDS, shop[1]))


@pytest.mark.parametrize("lean", [True, False])
def test_chunks_change_nothing_and_are_not_kept(shop, monkeypatch, lean):
    """Gradients of chunks whose activations are computed twice, against those of one pass over all items."""

    def gradients(numbers):
        monkeypatch.setattr(encoders_module, "CHUNK_NUMBERS", numbers)
        model = moved(model_of(shop, config())).train()
        calls = []
        for head in model.adapted_encoders.heads.values():
            head.register_forward_hook(lambda head, given, out: calls.append(len(out)))
        given = inputs_of(model, shop)
        if lean:
            out = model.adapted_encoders(given.encoded)
            out.square().mul(torch.arange(64.0)).sum().backward()
        else:
            with torch.no_grad():
                out = model.adapted_encoders(given.encoded)
        found = {n: p.grad for n, p in model.named_parameters() if n.startswith(PREFIX) and p.requires_grad}
        return out.detach(), found, calls

    whole, expected, once = gradients(1 << 22)
    out, found, calls = gradients(5 * 32)
    torch.testing.assert_close(out, whole, atol=1e-6, rtol=0)
    assert sorted(once) == [5, 5]
    assert sum(calls) == 20 if lean else sum(calls) == 10
    assert max(calls) < 5
    if lean:
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-4)


def sequences_of(sequences):
    return sequences(*([(0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5), (3, 4, 5, 0)] * 3), n_items=6)


TRAINING = {"max_epochs": 4, "tokens_per_batch": 16, "negatives": 4, "learning_rate": 0.01}


def test_training_moves_behaviour_and_leaves_the_floor(shop, sequences):
    settings = config({**BOTH, "learning_rate_factor": 1.0}, training=TRAINING, id_dropout=0.0)
    hub, encoded, _ = shop
    before = hub.fingerprint
    model = model_of(shop, settings)
    start = spoke_of(shop, model, settings).embed_items(IDS, encoded)
    adapters = {n: p.clone() for n, p in model.named_parameters() if n.startswith(PREFIX)}
    train_behaviour(model, inputs_of(model, shop), sequences_of(sequences), settings, epochs=4)
    after = spoke_of(shop, model.eval(), settings).embed_items(IDS, encoded)
    changed = {n for n, p in model.named_parameters() if n in adapters and not torch.equal(p, adapters[n])}
    assert changed == {n for n in adapters if "lora_" in n}
    np.testing.assert_array_equal(after[:, 9:], start[:, 9:])  # the content block, out of the gradient's reach
    assert not np.allclose(after[:, :8], start[:, :8]) and hub.fingerprint == before


def test_what_is_not_asked_for_is_not_there(shop, sequences):
    """Without the option the states change nothing, to the bit."""
    settings = config(None, training=TRAINING)
    encoded = shop[1]
    found = []
    for given in (encoded, EncodedItems(encoded.text, encoded.image)):
        model = model_of(shop, settings)
        inputs = model.inputs(given, np.arange(1, 7))
        assert inputs.encoded is None
        train_behaviour(model, inputs, sequences_of(sequences), settings, epochs=2)
        assert not any(name.startswith(PREFIX) for name in model.state_dict())
        found.append(spoke_of(shop, model.eval(), settings).embed_items(IDS, given))
    np.testing.assert_array_equal(*found)


def test_a_killed_training_goes_on_with_the_same_bits(shop, sequences, tmp_path, monkeypatch):
    settings = config(training=TRAINING)
    given = sequences_of(sequences)

    def train(**how):
        model = model_of(shop, settings)
        train_behaviour(model, inputs_of(model, shop), given, settings, epochs=4, **how)
        return model.state_dict()

    expected = train()
    kept = Checkpoints(tmp_path, every=1)
    start = Objective.start

    def die(self, epoch):
        if epoch == 2:
            raise KeyboardInterrupt
        start(self, epoch)

    monkeypatch.setattr(Objective, "start", die)
    with pytest.raises(KeyboardInterrupt):
        train(checkpoints=kept)
    begun = []
    monkeypatch.setattr(Objective, "start", lambda self, epoch: (begun.append(epoch), start(self, epoch)))
    resumed = train(checkpoints=kept)
    assert begun == [2, 3]
    assert all(torch.equal(weight, resumed[name]) for name, weight in expected.items())


def test_a_saved_spoke_holds_the_adapters_alone_and_loads_bit_for_bit(shop, tmp_path):
    hub, encoded, _ = shop
    settings = config()
    made = spoke_of(shop, moved(model_of(shop, settings)), settings)
    made.save(tmp_path)
    files = {path.relative_to(tmp_path).as_posix(): path.stat().st_size for path in tmp_path.glob("trunks/**/*.*")}
    names = ("adapter_config.json", "adapter_model.safetensors")
    assert set(files) == {
        "trunks/bodies.json",
        *(f"trunks/{own}/{name}" for own in ("text", "image") for name in names),
    }
    assert sum(files.values()) < 10_000
    loaded = Spoke.load(tmp_path, Hub(hub.config, device="cpu", fusion=hub.fusion))
    assert loaded.heads == {"text": 1, "image": 1} and loaded.space_fingerprint == made.space_fingerprint
    np.testing.assert_array_equal(loaded.embed_items(IDS, encoded), made.embed_items(IDS, encoded))


def test_the_fingerprint_covers_the_adapters(shop):
    settings = config()
    made = spoke_of(shop, model_of(shop, settings), settings)
    before = made.space_fingerprint
    assert spoke_of(shop, moved(made.behaviour.model), settings).space_fingerprint != before


@pytest.mark.parametrize("content", [b"", b"garbage", b"[1]"])
@pytest.mark.parametrize(
    "name", ["bodies.json", "text/adapter_config.json", "text/adapter_model.safetensors", "image/adapter_config.json"]
)
def test_a_damaged_adapter_is_corrupt(shop, tmp_path, name, content):
    settings = config()
    spoke_of(shop, model_of(shop, settings), settings).save(tmp_path)
    (tmp_path / "trunks" / name).write_bytes(content)
    with pytest.raises(CorruptArtifactError, match="--force"):
        Spoke.load(tmp_path, shop[0])


def test_an_adapter_that_lacks_weights_is_corrupt(shop, tmp_path):
    settings = config()
    spoke_of(shop, model_of(shop, settings), settings).save(tmp_path)
    path = tmp_path / "trunks/text/adapter_model.safetensors"
    save_file(dict(list(load_file(path).items())[:1]), path)
    with pytest.raises(CorruptArtifactError, match="--force"), pytest.warns(UserWarning, match="missing"):
        Spoke.load(tmp_path, shop[0])


def test_the_adapter_of_another_encoder_is_refused(shop, tmp_path):
    settings = config()
    spoke_of(shop, model_of(shop, settings), settings).save(tmp_path)
    path = tmp_path / "trunks/bodies.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"text": "0" * 64}))
    with pytest.raises(IncompatibleError, match="adapter of the text encoder was made for 000000000000"):
        Spoke.load(tmp_path, shop[0])


def test_the_parts_name_it(shop):
    settings = config({"rank": 2})
    parts = {part.name: part for part in spoke_parts(spoke_of(shop, model_of(shop, settings), settings), shop[0])}
    assert parts["encoder adapter"].parameters == 2 * 32 + 32 * 2 and parts["encoder adapter"].inherited is None
    assert "adapter on its last layers" in parts["text encoder"].inherited
    assert "adapter" not in parts["image encoder"].inherited
    plain = config(None)
    parts = {part.name: part for part in spoke_parts(spoke_of(shop, model_of(shop, plain), plain), shop[0])}
    assert "encoder adapter" not in parts and parts["text encoder"].inherited.startswith("frozen, so that")


def test_states_have_to_come_along(shop):
    hub, encoded, _ = shop
    model = model_of(shop, config())
    with pytest.raises(UsageError, match="adapts the text encoder, but the states of 6 items"):
        model.inputs(EncodedItems(encoded.text, encoded.image), np.arange(1, 7))
    with pytest.raises(UsageError, match="heads of the encoders are not those of the config"):
        BehaviourModel(config(), hub.fusion, shop[2], 6)


def test_an_encoder_that_is_not_there_or_not_so_deep_is_refused(shop, pictures):
    hub = Hub(HubConfig.model_validate({"text": {"name": "tiny"}, "image": None}), device="cpu")
    with pytest.raises(UsageError, match="hub has no image encoder to adapt"):
        adapt_encoders(hub, config())
    with pytest.raises(UsageError, match="has 1 layers that can be adapted, not 2"):
        adapt_encoders(shop[0], config({"layers": 2}))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"content": ["image"]}, "adapts the text encoder, which content does not read"),
        ({"training": {"loss": "softmax"}}, "loss softmax embeds the whole catalog in every step"),
        ({"encoder_adapter": {"encoders": []}}, "at least 1 item"),
        ({"encoder_adapter": {"layers": 0}}, "greater than or equal to 1"),
    ],
)
def test_configs_that_make_no_sense(settings, told):
    with pytest.raises(ValidationError, match=told):
        config(**{"encoder_adapter": {}, **settings})


def test_equal_settings_are_equal():
    assert config({"encoders": ["image", "text", "text"]}) == config({"encoders": ["text", "image"]})
    old = SpokeConfig.from_stored({"trunk_adapter": {"rank": 2, "trunks": ["image"]}})  # as 0.1.0 stored it
    assert old.encoder_adapter == config({"rank": 2, "encoders": ["image"]}).encoder_adapter
    assert config({"layers": 2, "encoders": ["image"]}).heads == {"image": 2} and config(None).heads == {}


def test_adapters_learn_at_a_rate_of_their_own(shop):
    model = model_of(shop, config())
    named = dict(model.named_parameters())
    rest, own = rate_groups(named, 0.01, {PREFIX: 0.2})
    if not any(p is next(model.adapted_encoders.parameters()) for p in own["params"]):
        rest, own = own, rest
    assert own["lr"] == pytest.approx(0.002) and rest["lr"] == 0.01
    assert len(own["params"]) == len(list(model.adapted_encoders.parameters())) and len(rest["params"]) > 5
    (alone,) = rate_groups(named, 0.01, {})
    assert alone["lr"] == 0.01 and alone["share"] == 1.0 and alone["params"] == list(named.values())


def test_half_precision_reaches_the_heads_and_not_the_calibration(shop):
    model = moved(model_of(shop, config())).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model.embed_items(inputs_of(model, shop))
        adapted = model.through_encoders(inputs_of(model, shop))
    out.float().square().sum().backward()
    assert {own.dtype for own in vars(adapted.content).values()} == {torch.float32}
    assert all(p.grad is not None for n, p in model.named_parameters() if n.startswith(PREFIX) and p.requires_grad)


def test_a_step_reads_the_states_of_the_items_in_use_alone(shop, sequences, monkeypatch):
    from hubspoke.spokes.training.batches import training_batches

    settings = config(training={**TRAINING, "negatives": 1}, id_dropout=0.0)
    model = model_of(shop, settings).train()
    counts = np.ones(6, np.int64)
    objective = Objective(model, inputs_of(model, shop), counts, settings, Team())
    seen = []
    forward = model.adapted_encoders.forward
    monkeypatch.setattr(
        model.adapted_encoders, "forward", lambda items: (seen.append(len(items.vectors)), forward(items))[1]
    )
    batch = next(iter(training_batches(sequences((0, 1), n_items=6), settings).epoch(0)))
    objective.start(0)
    objective.loss(batch).backward()
    assert seen[0] in (2, 3)
